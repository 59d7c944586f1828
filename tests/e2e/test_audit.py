"""scripts/auditing.py with the real pip-audit, and an advisory service on loopback."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread as Worker
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
FLAW = {
    "id": "PYSEC-2026-1",
    "summary": "made up",
    "affected": [
        {
            "package": {"name": "httpx", "ecosystem": "PyPI"},
            "ranges": [
                {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}
            ],
        }
    ],
}


class _Service(ThreadingHTTPServer):
    flaws: dict[str, list[dict[str, Any]]]


class _Handler(BaseHTTPRequestHandler):
    server: _Service

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        flaws = self.server.flaws.get(asked["package"]["name"], [])
        body = json.dumps({"vulns": flaws} if flaws else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def advising(flaws: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Answer as an advisory service does; lends the address."""
    with _Service(("127.0.0.1", 0), _Handler) as service:
        service.flaws = flaws
        worker = Worker(target=service.serve_forever, args=(0.02,), daemon=True)
        worker.start()
        try:
            yield f"http://127.0.0.1:{service.server_address[1]}/query"
        finally:
            service.shutdown()
            worker.join()


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    """What running needs, as far as it begins with h."""
    path = tmp_path / "pins.txt"
    path.write_text(
        "\n".join(
            f"{name}=={version} --hash=sha256:{'0' * 64}"
            for name, version in (("h11", "0.16.0"), ("httpx", "0.28.1"))
        )
    )
    return path


def audit(pins: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "scripts/auditing.py", str(pins), "-s", "osv", *arguments],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", "HOME": str(pins.parent), "no_proxy": "*"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_pins_without_a_known_flaw_pass(pins: Path) -> None:
    with advising({}) as address:
        answer = audit(pins, "--osv-url", address)

    assert answer == (0, f"{pins}: 2 packages audited, 0 findings.\n", "")


def test_a_known_flaw_fails_and_is_named_with_what_mends_it(pins: Path) -> None:
    with advising({"httpx": [FLAW]}) as address:
        answer = audit(pins, "--osv-url", address)

    assert answer == (
        1,
        (
            "httpx 0.28.1: PYSEC-2026-1, mended in 99.1\n"
            f"{pins}: 2 packages audited, 1 findings.\n"
        ),
        "",
    )


def test_a_service_out_of_reach_skips_the_audit_with_a_message(pins: Path) -> None:
    with advising({}) as address:
        pass

    answer = audit(pins, "--osv-url", address)

    assert answer == (
        0,
        "The audit is skipped, as the advisory service cannot be reached.\n",
        "",
    )


def test_pins_without_hashes_are_no_reason_to_skip(pins: Path) -> None:
    pins.write_text("httpx==0.28.1\n")

    with advising({}) as address:
        code, out, err = audit(pins, "--osv-url", address)

    assert (code, out) == (2, "")
    assert "does not contain a hash" in err
