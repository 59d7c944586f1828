"""Privacy: what of a payload goes no further, hashed or left out before it is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from msgspec import UNSET

from etl.transform.cleaning import Cleaner, Rule
from etl.transform.private_shapes import ACTION, CONTAINERS, ERROR, KNOWN, RESOURCES
from etl.transform.private_tools import cleaned_tools
from etl.transform.secrets import without_secrets
from etl.transform.treatments import Treat, Treatment, strictest, treating, trimmed

Json = Any
"""A decoded JSON value: None, bool, int, float, str, list or dict."""


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """What is done to the payloads of one source; `key` is the key of the hashes.

    `metadata` is for every key that `metadata_keys` does not name. Credentials of tools
    are never kept (`secrets`).
    """

    instructions: Treatment = Treatment.KEEP
    tools: Treatment = Treatment.KEEP
    tool_call_arguments: Treatment = Treatment.KEEP
    error_messages: Treatment = Treatment.KEEP
    unknown_fields: Treatment = Treatment.KEEP
    metadata: Treatment = Treatment.KEEP
    metadata_keys: Mapping[str, Treatment] = field(default_factory=dict)
    key: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if Treatment.HASH in self._treatments and not self.key:
            raise ValueError("a hash needs a key")

    @cached_property
    def keeps_all(self) -> bool:
        """Whether nothing is touched but secrets."""
        return strictest(self._treatments) is Treatment.KEEP

    def clean(self, text: bytes) -> bytes:
        """A payload's text without what goes no further; cleaning it again changes nothing.

        Never fails: in the place of a text that cannot be cleaned stands a sentence
        that tells its size and digest.
        """
        text = without_secrets(text)
        return text if self.keeps_all else self._cleaner.clean(text)

    @property
    def _treatments(self) -> list[Treatment]:
        return [
            self.instructions,
            self.tools,
            self.tool_call_arguments,
            self.error_messages,
            self.unknown_fields,
            *self._of_metadata,
        ]

    @property
    def _of_metadata(self) -> list[Treatment]:
        return [self.metadata, *self.metadata_keys.values()]

    @cached_property
    def _cleaner(self) -> Cleaner:
        rules, keeps = self._rules(), self.unknown_fields is Treatment.KEEP
        unknown = None if keeps else self._treat(self.unknown_fields)

        def rule_of(name: str) -> Rule | None:
            return rules.get(name) if name in KNOWN else unknown

        return Cleaner(rule_of, key=self.key)

    def _treat(self, treatment: Treatment) -> Treat:
        return treating(treatment, self.key)

    def _rules(self) -> dict[str, Rule]:
        """What is done to members that fields read; first to what no field reads there."""
        rules: dict[str, Rule] = {}
        if self.unknown_fields is not Treatment.KEEP:
            unknown = self._treat(self.unknown_fields)
            for name, shape in CONTAINERS.items():
                rules[name] = partial(trimmed, shape=shape, treat=unknown)
        for name, treatment, rule in self._own_rules():
            if treatment is not Treatment.KEEP:
                rules[name] = _both(rules[name], rule) if name in rules else rule
        return rules

    def _own_rules(self) -> list[tuple[str, Treatment, Rule]]:
        """Each member that has a setting of its own, and the rule."""
        tools = self._treat(self.tools)
        calls = self._treat(self.tool_call_arguments)
        errors = self._treat(self.error_messages)
        resources = partial(trimmed, shape=RESOURCES, treat=tools)
        action = partial(trimmed, shape=ACTION, treat=calls)
        error = partial(trimmed, shape=ERROR, treat=errors)
        return [
            ("instructions", self.instructions, self._treat(self.instructions)),
            ("tools", self.tools, partial(cleaned_tools, treat=tools)),
            ("tool_resources", self.tools, resources),
            ("required_action", self.tool_call_arguments, action),
            ("last_error", self.error_messages, error),
            ("metadata", strictest(self._of_metadata), self._metadata_rule()),
        ]

    def _metadata_rule(self) -> Rule:
        """Treat each value by its key; without keys, as the strictest of them says."""
        by_key = {name: self._treat(each) for name, each in self.metadata_keys.items()}
        other = self._treat(self.metadata)
        whole = self._treat(strictest(self._of_metadata))

        def rule(value: Json) -> Json:
            if value is None:
                return None
            if not isinstance(value, dict):
                return whole(value)
            left = {name: by_key.get(name, other)(each) for name, each in value.items()}
            return {name: each for name, each in left.items() if each is not UNSET}

        return rule


def _both(first: Rule, second: Rule) -> Rule:
    def rule(value: Json) -> Json:
        left = first(value)
        return left if left is UNSET else second(left)

    return rule
