"""An object store as a destination, through fsspec: s3://, gs://, abfs:// and others."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from etl.domain.errors import ConfigError, DestinationError
from etl.warehouse.sink import Sink

PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "sftp": "paramiko",
    "ssh": "paramiko",
}


class ObjectStore:
    """Objects below a URL; each is there as a whole, or not at all."""

    def __init__(self, url: str, scheme: str) -> None:
        """Raises ConfigError where nobody knows the scheme, DestinationError else."""
        self._url = url.rstrip("/")
        self._fs, root = _opened(self._url, scheme, self._told)
        self._root = root.rstrip("/")

    @property
    def shown(self) -> str:
        """The URL without a user's name, a password or a query."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def key(self) -> str:
        """The store and the path in it."""
        return f"{self._fs.protocol}://{self._root}"

    def files(self) -> Mapping[str, int]:
        """The size of every object by its path."""
        with self._told("read"):
            self._fs.invalidate_cache()
            try:
                found = self._fs.find(self._root, detail=True)
            except FileNotFoundError:
                return {}
        return {
            path.removeprefix(self._root).lstrip("/"): facts["size"]
            for path, facts in found.items()
            if path.removeprefix(self._root).strip("/")
        }

    def read(self, path: str) -> bytes | None:
        """What an object holds; None where there is none."""
        with self._told("read"):
            try:
                content: bytes = self._fs.cat_file(self._at(path))
            except FileNotFoundError:
                return None
        return content

    @contextmanager
    def create(self, path: str) -> Iterator[Sink]:
        """Write a new object, which is there when it ends."""
        with self._told():
            file = self._fs.open(self._at(path), "wb")
        try:
            yield Sink(file, self._told)
            with self._told():
                file.close()
        except BaseException:
            with suppress(Exception):
                file.discard()
            file.closed = True  # or it would be finished when it is collected
            raise

    def publish(self, paths: Iterable[str]) -> None:
        """Do nothing: an object that was written is there."""

    def put(self, path: str, content: bytes) -> None:
        """Write an object in one request."""
        with self._told():
            self._fs.pipe_file(self._at(path), content)

    def remove(self, paths: Iterable[str]) -> None:
        """Take objects away, many with one request where the store can."""
        gone = [self._at(path) for path in paths]
        if not gone:
            return
        with self._told("cleared"), suppress(FileNotFoundError):
            self._fs.rm(gone)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    @contextmanager
    def _told(self, done: str = "written") -> Iterator[None]:
        """Turn whatever a store's driver raises into a sentence without secrets."""
        try:
            yield
        except Exception as error:
            said = " ".join(str(error).split()) or type(error).__name__
            for secret in _secrets(self._url):
                said = said.replace(secret, "***")
            raise DestinationError(
                f"{self.shown} cannot be {done}: {said.rstrip('.')}; check that it exists"
                " and that the credentials in the environment may write there. What was"
                " exported before still stands."
            ) from error


def _secrets(url: str) -> list[str]:
    """What of a URL nobody should read, the longest first."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return [each for each in (user, parts.password, parts.query) if each]


def _opened(url: str, scheme: str, told: Any) -> tuple[Any, str]:
    """The file system of a URL and the path in it."""
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise ConfigError(
            f"An export to {scheme}:// needs fsspec, which is not installed; run"
            " `pip install 'runtide[warehouse]'`."
        ) from error
    try:
        with told("reached"):
            fs, root = url_to_fs(url)
    except DestinationError as error:
        if isinstance(error.__cause__, ImportError):
            package = PACKAGES.get(scheme, "the package of this scheme")
            raise ConfigError(
                f"An export to {scheme}:// needs {package}, which is not installed; run"
                f" `pip install {package}`."
            ) from error
        if isinstance(error.__cause__, ValueError):
            raise ConfigError(
                f"Nobody knows how to write to {scheme}://; export to a folder, or to"
                " s3://, gs:// or abfs://."
            ) from error
        raise
    return fs, str(root)
