"""What a client shows to be let in: an API key, or something that is renewed."""

from typing import Protocol

from etl.extract.failures import Refusal


class Key(Protocol):
    """What the Authorization header is made of; shared by the workers of a source."""

    @property
    def refusal(self) -> Refusal:
        """What to say where the server does not take it."""
        ...

    def header(self) -> str:
        """The value of the Authorization header now.

        Raises SourceUnavailableError where there is none to be had.
        """
        ...

    def renew(self, refused: str) -> bool:
        """Get another header than the refused one; False where there is no other."""
        ...

    def redact(self, text: str) -> str:
        """Take the secret out of what a server may have said back."""
        ...


class ApiKey:
    """A secret that does not show itself in any text."""

    __slots__ = ("_secret", "refusal")

    def __init__(self, secret: str, refusal: Refusal | None = None) -> None:
        self._secret = secret
        self.refusal = refusal or Refusal()

    def __repr__(self) -> str:
        return "ApiKey(…)"

    def header(self) -> str:
        """The value of the Authorization header."""
        return f"Bearer {self._secret}"

    def renew(self, refused: str) -> bool:
        """Nothing else is there to be shown."""
        return False

    def redact(self, text: str) -> str:
        """Take the key out of what a server may have said back."""
        return text.replace(self._secret, "[API key]")
