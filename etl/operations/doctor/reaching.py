"""The way to a source: its name, or its proxy's, and a port that takes connections."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import httpx

from etl.operations.doctor.finding import Finding, Place, Verdict
from etl.wiring.sources import proxy_for

SECONDS = 5.0
PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True, slots=True)
class Door:
    """Where a connection is made to: the server, or the proxy before it."""

    host: str
    port: int
    is_proxy: bool

    @property
    def name(self) -> str:
        """As a person calls it."""
        return f"the proxy {self.host}" if self.is_proxy else self.host

    @property
    def advice(self) -> str:
        """What to look at where it is not there."""
        settings = "HTTPS_PROXY, HTTP_PROXY and NO_PROXY" if self.is_proxy else "base_url"
        return f"check {settings}, and that the server runs"


def door_to(base_url: str) -> Door:
    """Where connections to a source are made."""
    proxy = proxy_for(base_url)
    url = httpx.URL(proxy or base_url)
    return Door(url.host, url.port or PORTS.get(url.scheme, 80), proxy is not None)


def check_way(place: Place, base_url: str) -> Iterator[Finding]:
    """Check the name and the port; what is behind a proxy, the proxy has to find."""
    door = door_to(base_url)
    name = place.guarded("name", lambda: _name(place, door))
    yield name
    if name.verdict is Verdict.OK:
        yield place.guarded("connection", lambda: _connection(place, door))
    else:
        yield place.left_out("connection", "needs the address of that name")


def _name(place: Place, door: Door) -> Finding:
    if _is_address(door.host):
        return place.ok("name", f"{door.name} is an address itself")
    known = _lookup(door)
    if known is None:
        told = f"no name server told within {SECONDS:.0f} seconds where {door.name} is"
        return place.failed("name", told, door.advice)
    if not known:
        return place.failed("name", f"{door.name} is not known", door.advice)
    return place.ok("name", f"{door.name} is known")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _lookup(door: Door) -> bool | None:
    """Whether the name is known; None where nobody says so in time.

    The system's own patience with name servers may last for minutes.
    """
    known: list[bool] = []

    def look() -> None:
        try:
            socket.getaddrinfo(door.host, door.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            known.append(False)
        else:
            known.append(True)

    worker = threading.Thread(target=look, daemon=True)
    worker.start()
    worker.join(SECONDS)
    return known[0] if known else None


def _connection(place: Place, door: Door) -> Finding:
    where = f"{door.name} port {door.port}"
    try:
        socket.create_connection((door.host, door.port), timeout=SECONDS).close()
    except ConnectionRefusedError:
        return place.failed("connection", f"{where} refuses connections", door.advice)
    except TimeoutError:
        told = f"{where} does not answer within {SECONDS:.0f} seconds"
        return place.failed("connection", told, door.advice)
    except OSError as error:
        told = f"{where} cannot be reached: {error.strerror}"
        return place.failed("connection", told, door.advice)
    return place.ok("connection", f"{where} takes connections")
