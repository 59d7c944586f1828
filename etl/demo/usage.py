"""How many tokens a run takes: more, the longer its thread has become."""

from random import Random

from etl.demo.assistant import Assistant
from etl.demo.course import Course
from etl.demo.life import Usage

_LARGEST_CONTEXT = 24_000
_CACHE_SECONDS = 600
_SMALLEST_CACHED_PROMPT = 1024


def draw_usage(
    rng: Random,
    assistant: Assistant,
    course: Course,
    *,
    context_tokens: int,
    idle_seconds: int,
) -> Usage:
    """Draw the tokens of a run, summed over its turns.

    Every turn sends instructions, tools and the thread so far once more. Long
    prompts that were sent a short while ago come partly from the cache.
    """
    turns = course.answered_turns
    if turns == 0:
        return Usage(0, 0, 0, 0)
    turn = assistant.prompt_tokens + context_tokens + _found_in_files(rng, assistant)
    prompt = min(turns * turn, course.max_prompt_tokens or turns * turn)
    warm_turns = turns if idle_seconds < _CACHE_SECONDS else turns - 1
    cached = _cached(rng, prompt, warm_share=warm_turns / turns)
    reasoning = _reasoning(rng, assistant) * turns
    answers = turns * int(rng.lognormvariate(4.8, 0.7) + 8) + reasoning
    completion = _capped(answers, assistant, course)
    return Usage(prompt, completion, cached, min(reasoning, completion))


def grow_context(rng: Random, context_tokens: int, usage: Usage) -> int:
    """Add a run to its thread: question and answer, but no reasoning."""
    answered = usage.completion - usage.reasoning
    return min(context_tokens + rng.randint(20, 240) + answered, _LARGEST_CONTEXT)


def _found_in_files(rng: Random, assistant: Assistant) -> int:
    if "file_search" not in assistant.built_in_tools:
        return 0
    return rng.randint(1_500, 9_000)


def _cached(rng: Random, prompt: int, *, warm_share: float) -> int:
    """Draw the cached prompt tokens; caches hold multiples of 128."""
    if prompt < _SMALLEST_CACHED_PROMPT:
        return 0
    return int(prompt * warm_share * rng.uniform(0.4, 0.9)) // 128 * 128


def _reasoning(rng: Random, assistant: Assistant) -> int:
    """Draw the reasoning tokens of one turn, for models that reason."""
    if assistant.reasoning_effort is None:
        return 0
    return 64 * rng.randint(3, 40 if assistant.reasoning_effort == "high" else 15)


def _capped(tokens: int, assistant: Assistant, course: Course) -> int:
    if course.max_completion_tokens is not None:
        return course.max_completion_tokens
    return min(tokens, assistant.max_completion_tokens or tokens)
