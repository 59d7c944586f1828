"""The errors of the demo API, in OpenAI's envelope and, where known, its words."""

from typing import Any


class RefusedError(Exception):
    """The request gets no run but this status and this error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code

    def payload(self) -> dict[str, Any]:
        """Write the error envelope."""
        return {
            "error": {
                "message": self.message,
                "type": "invalid_request_error",
                "param": self.param,
                "code": self.code,
            }
        }


def no_key() -> RefusedError:
    """Refuse a request without an API key."""
    return RefusedError(
        401,
        "You didn't provide an API key. You need to provide your API key in an "
        "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
    )


def wrong_key() -> RefusedError:
    """Refuse an API key, without repeating it."""
    return RefusedError(401, "Incorrect API key provided.", code="invalid_api_key")


def no_thread(thread_id: str) -> RefusedError:
    """Refuse the id of a thread that does not exist."""
    return RefusedError(404, f"No thread found with id '{thread_id}'.")


def no_run(run_id: str) -> RefusedError:
    """Refuse the id of a run that its thread does not have, also as a cursor.

    Nobody recorded what OpenAI said to an unknown `after`.
    """
    return RefusedError(404, f"No run found with id '{run_id}'.")


def malformed_id(name: str, value: str, prefix: str) -> RefusedError:
    """Refuse an id that does not begin as ids of its kind do."""
    return RefusedError(
        400, f"Invalid '{name}': '{value}'. Expected an ID that begins with '{prefix}'."
    )


def no_such_path(method: str, path: str) -> RefusedError:
    """Refuse a path that the API does not have."""
    return RefusedError(404, f"Invalid URL ({method} {path})")


def no_such_method(method: str, path: str) -> RefusedError:
    """Refuse anything but reading."""
    return RefusedError(
        405, f"Not allowed to {method} on {path}.", code="method_not_supported"
    )
