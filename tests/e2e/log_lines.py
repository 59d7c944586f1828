"""What the command wrote to its log, with all that no test can foresee made equal."""

import re

UNFORESEEN = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", "TIME"),
    (r"127\.0\.0\.1:\d+", "HOST"),
    (r'((?:wait_)?seconds"?[=:] ?)\d+(\.\d+)?(e-\d+)?', r"\1S"),
]


def normalised(text: str) -> list[str]:
    """The lines, their times, seconds and ports made equal."""
    for pattern, name in UNFORESEEN:
        text = re.sub(pattern, name, text)
    return text.splitlines()


def in_text(level: str, message: str, facts: str) -> str:
    """A line in the format for people."""
    return f"TIME  {level:<7}  {message:<18}  {facts}"


def in_json(level: str, logger: str, message: str, facts: str) -> str:
    """A line in the format for machines."""
    about = f'"time": "TIME", "level": "{level}", "logger": "{logger}"'
    return f'{{{about}, "message": "{message}", {facts}}}'
