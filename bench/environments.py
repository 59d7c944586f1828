"""One virtual environment for each peer, with what its pins say."""

import hashlib
import re
import sys
import venv
from pathlib import Path

from bench.measuring import measure
from bench.places import FOLDER, ROOT


def prepared(name: str) -> Path:
    """The folder of a peer's programs; made anew where its pins or its place changed.

    Raises CommandError where pip fails.
    """
    pins, place = _pins(name), FOLDER / "peers" / name
    stamp = f"{place} {hashlib.sha256(pins.read_bytes()).hexdigest()}"
    installed = place / "installed"
    if not installed.exists() or installed.read_text(encoding="utf-8") != stamp:
        sys.stderr.write(f"Installing the peer {name} into {place.relative_to(ROOT)} …\n")
        venv.create(place, clear=True, with_pip=True)
        options = ["-qq", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        options += ["--only-binary", ":all:", "-r", str(pins)]
        measure(
            (place / "bin" / "python", "-m", "pip", "install", *options), directory=ROOT
        )
        installed.write_text(stamp, encoding="utf-8")
    return place / "bin"


def versions(pins: str, packages: tuple[str, ...]) -> list[str]:
    """Names and versions of some packages, as `requirements/{pins}.txt` pins them."""
    text = (ROOT / "requirements" / f"{pins}.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w.-]+)(?:\[.*?\])?==([^ ;]+)", text, re.MULTILINE))
    return [f"{package} {pinned[package]}" for package in packages]


def _pins(name: str) -> Path:
    return ROOT / "requirements" / f"bench-{name}.txt"
