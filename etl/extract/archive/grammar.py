"""Patterns of JSON text, for cutting it without decoding what lies between cuts."""

import re

DEEPEST_AT_ONCE = 10
"""Brackets within brackets that one match gets over; deeper ones are counted."""

STRING = rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"'
"""No string of JSON has a line break in it, so a half-written line ends at its own; nor
does one behind a backslash go on, whatever `.` means in the pattern around it."""

SCALAR = re.compile(STRING + rb'|[^\s",\[\]{}:]++')
SPACE = re.compile(rb"[\s,\x1e]*+")
"""What may stand between values: some lists lack their brackets, some lines have commas."""

KEY = re.compile(rb"(" + STRING + rb")\s*+:\s*+")
BRACKET = re.compile(STRING + rb'|[\[\]{}"]')

NEXT_OBJECT = re.compile(
    rb'[,\n\[]\s*+(?=\{\s*+"(?:id|object|assistant_id)"\s*+:\s*+(?!"call_).{6})',
    re.DOTALL,
)
"""Where it is worth going on behind damage; a tool call's id is not such a place."""

HEAD = re.compile(
    rb"\{\s*+(?:" + STRING + rb"\s*+:\s*+(?:" + SCALAR.pattern + rb")\s*+,\s*+)*+"
)
"""An object's members up to the first one that is no scalar, or to the last one."""

COMPOSITE = re.compile(KEY.pattern + rb"[\[{]")
LAST_SCALAR = re.compile(rb"(?:" + KEY.pattern + rb"(?:" + SCALAR.pattern + rb")\s*+)?+\}")


def _nested(depth: int) -> bytes:
    below = b"|" + _nested(depth - 1) if depth > 1 else b""
    return rb'[\[{](?:[^"\[\]{}]++|' + STRING + below + rb")*+[\]}]"


WHOLE = re.compile(_nested(DEEPEST_AT_ONCE), re.DOTALL)
"""A whole object or list, in one match."""


BETWEEN = re.compile(rb'[\s,]++\{\s*+"\w++"\s*+:')
"""What stands between two objects, with the first key of the second one."""
