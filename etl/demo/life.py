"""A run's life: what the API says about it at any instant."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from etl.demo.assistant import Assistant
from etl.demo.course import OPEN_STATUSES, SECONDS_TO_LIVE, Course, Moment
from etl.demo.dice import dice

Payload: TypeAlias = dict[str, Any]

_FIELD_OF_THE_END = {
    "completed": "completed_at",
    "incomplete": "completed_at",
    "failed": "failed_at",
    "cancelled": "cancelled_at",
}


class Usage(NamedTuple):
    """Tokens of one run; cached ones are prompts, reasoning ones completions."""

    prompt: int
    completion: int
    cached: int
    reasoning: int

    def payload(self) -> Payload:
        """Write the `usage` of an ended run; "prompt_token" is the wire's singular."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_token_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One run, from its creation to its end."""

    id: str
    thread_id: str
    created_at: int
    assistant: Assistant
    instructions: str
    metadata: tuple[tuple[str, str], ...]
    course: Course
    usage: Usage

    @property
    def ends_at(self) -> int:
        """The first second in which the run is terminal."""
        return self.created_at + self.course.seconds

    def is_open(self, at: int) -> bool:
        """Say whether the run exists and has not ended at this instant."""
        return self.created_at <= at < self.ends_at

    def payload(self, at: int) -> Payload:
        """Write the run object as of `at`, an instant not before its creation.

        Keys stand in the order that OpenAI sent in 2026.
        """
        moment = self._moment(at)
        is_open = moment.status in OPEN_STATUSES
        ended_in = None if is_open else _FIELD_OF_THE_END.get(moment.status)
        return {
            "id": self.id,
            "object": "thread.run",
            "created_at": self.created_at,
            "assistant_id": self.assistant.id,
            "thread_id": self.thread_id,
            "status": moment.status,
            "started_at": self._started_at(at),
            "expires_at": self.created_at + SECONDS_TO_LIVE if is_open else None,
            "cancelled_at": self.ends_at if ended_in == "cancelled_at" else None,
            "failed_at": self.ends_at if ended_in == "failed_at" else None,
            "completed_at": self.ends_at if ended_in == "completed_at" else None,
            "required_action": self._required_action(moment),
            "last_error": None if is_open else self._last_error(),
            **self._settings(),
            "incomplete_details": None if is_open else self._incomplete_details(),
            "usage": None if is_open else self.usage.payload(),
            "response_format": json.loads(self.assistant.response_format),
            "tool_choice": "auto",
            "parallel_tool_calls": True,
        }

    def _settings(self) -> Payload:
        assistant, course = self.assistant, self.course
        return {
            "model": assistant.model,
            "instructions": self.instructions,
            "tools": json.loads(assistant.tools),
            "tool_resources": json.loads(assistant.tool_resources),
            "metadata": dict(self.metadata),
            "temperature": assistant.temperature,
            "top_p": assistant.top_p,
            "reasoning_effort": assistant.reasoning_effort,
            "max_completion_tokens": course.max_completion_tokens
            or assistant.max_completion_tokens,
            "max_prompt_tokens": course.max_prompt_tokens,
            "truncation_strategy": {
                "type": "last_messages" if assistant.last_messages else "auto",
                "last_messages": assistant.last_messages,
            },
        }

    def _moment(self, at: int) -> Moment:
        begun = (
            moment
            for moment in reversed(self.course.moments)
            if self.created_at + moment.after <= at
        )
        return next(begun)

    def _started_at(self, at: int) -> int | None:
        for moment in self.course.moments:
            starts_at = self.created_at + moment.after
            if moment.status == "in_progress" and starts_at <= at:
                return starts_at
        return None

    def _required_action(self, moment: Moment) -> Payload | None:
        if moment.status != "requires_action":
            return None
        return self.assistant.draw_required_action(dice(self.id, moment.after))

    def _last_error(self) -> Payload | None:
        error = self.course.last_error
        return error and {"code": error.code, "message": error.message}

    def _incomplete_details(self) -> Payload | None:
        reason = self.course.incomplete_reason
        return {"reason": reason} if reason else None
