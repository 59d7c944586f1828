"""Certificates for servers on loopback, good ones and bad ones."""

import ssl
from datetime import UTC, datetime, timedelta

import trustme

HOST = "db.example.test"
"""A name that no resolver knows; connections to it are told their address."""


def expired(authority: trustme.CA, name: str, *, days_left: int = -3) -> trustme.LeafCert:
    """A certificate that ended some days ago, or that ends in a few."""
    today = datetime.now(UTC)
    return authority.issue_cert(
        name,
        not_before=today - timedelta(days=90),
        not_after=today + timedelta(days=days_left, hours=1),
    )


def as_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """What a server needs to show this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
