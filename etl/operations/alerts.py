"""Notices on their way out: to a command of the user's, or to a webhook."""

import json
import logging
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from socket import gethostname
from typing import Any, Protocol

import httpx
import tenacity

from etl.config import AlertConfig, Event, Settings
from etl.operations.incidents import Notice

ATTEMPTS = 5
SECONDS_FOR_AN_ATTEMPT = 15.0

log = logging.getLogger(__name__)


class _DeliveryError(Exception):
    """An attempt that failed; never with the webhook's address, which is a secret."""


class Recipient(Protocol):
    """Whoever takes a notice in."""

    @property
    def name(self) -> str: ...

    def deliver(self, message: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Command:
    """A program that gets the message on standard input, and its sentence in a variable."""

    arguments: Sequence[str]

    @property
    def name(self) -> str:
        """How it stands in the log."""
        return self.arguments[0]

    def deliver(self, message: Mapping[str, Any]) -> None:
        """Run it once; raises _DeliveryError where it does not end well."""
        told = {"RUNTIDE_EVENT": message["event"], "RUNTIDE_SENTENCE": message["sentence"]}
        try:
            done = subprocess.run(  # noqa: S603  # the configuration names it
                self.arguments,
                input=json.dumps(message).encode(),
                env=os.environ | told,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS_FOR_AN_ATTEMPT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _DeliveryError("it did not end in time") from error
        except OSError as error:
            raise _DeliveryError(f"it cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            raise _DeliveryError(f"it ended with exit code {done.returncode}")


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that takes the message as JSON; chat services read its `text`."""

    url: str
    variable: str

    @property
    def name(self) -> str:
        """How it stands in the log: its address may hold a secret."""
        return f"webhook of {self.variable}"

    def deliver(self, message: Mapping[str, Any]) -> None:
        """Post it once; raises _DeliveryError where it is not taken."""
        try:
            answer = httpx.post(
                self.url, json=dict(message), timeout=SECONDS_FOR_AN_ATTEMPT
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _DeliveryError(f"no answer ({type(error).__name__})") from error
        if not answer.is_success:
            raise _DeliveryError(f"HTTP {answer.status_code}")


class Alerts:
    """The recipients of the configuration, each with the events it wants."""

    def __init__(
        self,
        recipients: Sequence[tuple[frozenset[Event], Recipient]],
        *,
        sleep: Callable[[float], None],
    ) -> None:
        self._recipients = recipients
        self._sleep = sleep

    def send(self, notice: Notice) -> None:
        """Deliver a notice to all who want it, with patience; what fails is logged."""
        message = as_message(notice)
        for events, recipient in self._recipients:
            if notice.event in events:
                self._deliver(recipient, message)

    def _deliver(self, recipient: Recipient, message: Mapping[str, Any]) -> None:
        patience = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_DeliveryError),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential(multiplier=1, max=30),
            sleep=self._sleep,
            reraise=True,
        )
        facts: dict[str, Any] = {"recipient": recipient.name, "event": message["event"]}
        try:
            patience(recipient.deliver, message)
        except _DeliveryError as error:
            log.error("alert not delivered", extra=facts | {"error": str(error)})  # noqa: TRY400  # the traceback tells nothing
        else:
            log.info("alert delivered", extra=facts)


def as_message(notice: Notice) -> dict[str, Any]:
    """A notice as JSON; docs/operations.md lists its keys."""
    return {
        "text": f"runtide on {gethostname()}: {notice.sentence}",
        "event": notice.event,
        "sentence": notice.sentence,
        "at": notice.at.isoformat(),
        "since": notice.since.isoformat(),
    }


def alerts_of(settings: Settings, *, sleep: Callable[[float], None]) -> Alerts:
    """The alerts of the configuration; raises ConfigError where a webhook has no URL."""
    told = [
        (frozenset(alert.on), _recipient(settings, alert))
        for alert in settings.config.alerts
    ]
    return Alerts(told, sleep=sleep)


def _recipient(settings: Settings, alert: AlertConfig) -> Recipient:
    url = settings.webhook(alert)
    if url is not None and alert.url_env is not None:
        return Webhook(url, alert.url_env)
    return Command(alert.command)
