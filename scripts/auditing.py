"""Runs pip-audit, and tells a finding from an advisory service out of reach."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

SECONDS_FOR_AN_ANSWER = "5"
SECONDS_FOR_ALL = 60
OUT_OF_REACH = re.compile("ConnectionError|Timeout|Could not connect|timed out")
SKIPPED = "The audit is skipped, as the advisory service cannot be reached"


def main() -> int:
    """Audit the pins that are named first; other arguments go to pip-audit."""
    pins, *more = sys.argv[1:]
    try:
        done = asked(pins, more)
    except subprocess.TimeoutExpired:
        print(f"{SKIPPED} within {SECONDS_FOR_ALL} seconds.")
        return 0
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return excuse(done)
    return tell(pins, dependencies)


def asked(pins: str, more: list[str]) -> "subprocess.CompletedProcess[str]":
    """What pip-audit says of some pins."""
    program = Path(sys.executable).with_name("pip-audit")
    options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    options += ["--timeout", SECONDS_FOR_AN_ANSWER, "--format", "json", "--desc", "off"]
    return subprocess.run(  # noqa: S603  # what people and CI name
        [program, *options, "-r", pins, *more],
        capture_output=True,
        text=True,
        timeout=SECONDS_FOR_ALL,
        check=False,
    )


def excuse(done: "subprocess.CompletedProcess[str]") -> int:
    """Being out of reach is no fault of the pins; anything else is told as it is."""
    if OUT_OF_REACH.search(done.stderr):
        print(f"{SKIPPED}.")
        return 0
    print(done.stderr.strip() or "pip-audit says nothing.", file=sys.stderr)
    return 2


def tell(pins: str, dependencies: list[dict[str, Any]]) -> int:
    """Print the findings; exit code 1 where there is one."""
    known = [each for each in dependencies if "vulns" in each]
    found = [(each, flaw) for each in known for flaw in each["vulns"]]
    for package, flaw in found:
        mended = ", ".join(flaw["fix_versions"]) or "no version yet"
        name = f"{package['name']} {package['version']}"
        print(f"{name}: {flaw['id']}, mended in {mended}")
    if not known:
        print(f"{SKIPPED}: what answers knows none of {len(dependencies)} packages.")
        return 0
    unknown = [each["name"] for each in dependencies if "vulns" not in each]
    rest = f"; not known to the service: {', '.join(unknown)}" if unknown else ""
    print(f"{pins}: {len(known)} packages audited, {len(found)} findings{rest}.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
