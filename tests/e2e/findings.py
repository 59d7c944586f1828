"""What the doctor prints, by place."""


def lines(out: str, place: str) -> str:
    """The lines about one place."""
    return "".join(
        f"{line}\n" for line in out.splitlines() if line[10:].startswith(f"{place}, ")
    )
