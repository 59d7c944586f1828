"""TLS to a database elsewhere: verified, unless the URL itself says how much."""

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path

import certifi  # httpx brings it: both ways out trust the same
from sqlalchemy.engine import URL

VERIFIED = "verify-full"
VERIFYING = {VERIFIED, "verify-ca"}
THIS_MACHINE = {"", "localhost"}


def tls_settings(url: URL, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What libpq has to be told beside the URL, so that it knows whom it talks to.

    A server elsewhere must show a certificate of its name. A URL, or PGSSLMODE, that
    names an sslmode is obeyed; a service file may name one, and is left alone.
    """
    told = url.query.get("sslmode") or environment.get("PGSSLMODE")
    if told is None:
        if "service" in url.query or not is_elsewhere(url, environment):
            return {}
        return {"sslmode": VERIFIED} | _roots(url, environment)
    return _roots(url, environment) if told in VERIFYING else {}


def sslmode(url: URL, environment: Mapping[str, str] = os.environ) -> str:
    """The sslmode that a connection goes by."""
    told = tls_settings(url, environment).get("sslmode") or url.query.get("sslmode")
    return str(told or environment.get("PGSSLMODE", "prefer"))


def is_elsewhere(url: URL, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether any host of the URL is another machine, as far as its name tells."""
    return not all(map(is_here, _hosts(url, environment)))


def _hosts(url: URL, environment: Mapping[str, str]) -> Iterator[str]:
    """Every host that libpq may connect to, without ports."""
    if url.host:
        yield url.host
        return
    told = url.query.get("host") or url.query.get("hostaddr")
    told = told or environment.get("PGHOST") or environment.get("PGHOSTADDR") or ""
    for listed in [told] if isinstance(told, str) else told:
        for host in listed.split(","):
            is_named = host.count(":") == 1  # an IPv6 address has more of them
            yield host.partition(":")[0] if is_named else host.strip("[]")


def is_here(host: str) -> bool:
    """Whether a host is this machine: a loopback address, localhost or a socket."""
    if host in THIS_MACHINE or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _roots(url: URL, environment: Mapping[str, str]) -> dict[str, str]:
    """The authorities to trust: the person's own choice, the system's, or certifi's.

    libpq's own `sslrootcert=system` looks where the wheel was built, not here.
    """
    if "sslrootcert" in url.query or "PGSSLROOTCERT" in environment:
        return {}
    if (Path.home() / ".postgresql/root.crt").exists():
        return {}
    return {"sslrootcert": ssl.get_default_verify_paths().cafile or certifi.where()}


ADDED = "add it to the query of [database] url or RUNTIDE_DATABASE_URL"


def refusal(said: str, place: str) -> str | None:
    """Say what a failed TLS handshake means and what to do; None where it is another."""
    if "does not support SSL" in said:
        return (
            f"The database at {place} does not offer TLS, and it is not on this machine;"
            " switch TLS on at the server, or write sslmode=disable where nobody can"
            f" listen in: {ADDED}."
        )
    if wrong := re.search(r'certificate for (.+?) does not match host name (".*?")', said):
        return (
            f"The certificate of the database at {place} is for {wrong[1]}, not for"
            f" {wrong[2]}; write the name that it is for, or sslmode=verify-ca to accept"
            f" any name: {ADDED}."
        )
    if "certificate verify failed" in said:
        return (
            f"The certificate of the database at {place} has expired, or nobody who is"
            " trusted here vouches for it; write sslrootcert=/path/of/its/authority.pem,"
            f" or sslmode=require to trust whoever answers: {ADDED}."
        )
    if missing := re.search(r'root certificate file (".*?") does not exist', said):
        return (
            f"The file {missing[1]}, which should vouch for the database at {place}, does"
            f" not exist; write sslrootcert= with the right path: {ADDED}."
        )
    return None
