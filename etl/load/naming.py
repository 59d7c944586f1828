"""Texts that name a thread, found by Postgres."""

import json
import re

from etl.domain.run import ThreadId

ID_CHARACTER = "[[:alnum:]_-]"
SPECIAL = re.compile(r"[.^$*+?()\[\]{}|\\]")


def naming(thread_id: ThreadId) -> str:
    """A regular expression of Postgres for texts that name a thread.

    An id stands by itself: thread_1 is not in thread_10. It may be written as JSON
    writes it, or follow an escape. A number is an id only where it is said to be one.
    """
    spellings = dict.fromkeys([thread_id, json.dumps(thread_id)[1:-1]])
    name = "|".join(SPECIAL.sub(r"\\\g<0>", each) for each in spellings)
    before = rf"((?<!{ID_CHARACTER})|(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{{4}}))"
    if thread_id.isdigit():
        before = r"""(thread_id"\s*:\s*"?|thread )"""
    return rf"{before}({name})(?!{ID_CHARACTER})"
