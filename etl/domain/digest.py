"""Names of contents: the first 16 bytes of a SHA-256, as a uuid.

SQL can check them: `encode(substr(sha256(body::bytea), 1, 16), 'hex')::uuid`.
"""

from hashlib import sha256
from uuid import UUID


def digest(content: bytes) -> UUID:
    """Name a content by its bytes; equal contents have equal names."""
    return UUID(bytes=sha256(content).digest()[:16])
