"""Search terms for advanced warming: 3 to 30 in threes, 2 to 50 characters, distinct (TokPortal's documentation)."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.world import World

_LEAST, _MOST, _STEP = 3, 30, 3
_SHORTEST, _LONGEST = 2, 50


def check_count(count: int) -> None:
    if not _LEAST <= count <= _MOST or count % _STEP:
        raise Refusal(
            400,
            "ADVANCED_WARMING_TERMS",
            f"Warming takes {_LEAST} to {_MOST} terms, a multiple of {_STEP}, not {count}.",
            count=count,
        )


def check_terms(world: World, terms: Sequence[str]) -> list[str]:
    """The terms without the blanks around them.

    Raises:
        Refusal: ADVANCED_WARMING_TERMS for their number and form, ADVANCED_WARMING_TERMS_REJECTED for what they say.
    """
    check_count(len(terms))
    stripped = [term.strip() for term in terms]
    for term in stripped:
        if not _SHORTEST <= len(term) <= _LONGEST:
            raise Refusal(
                400, "ADVANCED_WARMING_TERMS", f"A term has {_SHORTEST} to {_LONGEST} characters: {term!r}.", term=term
            )
    if len({term.casefold() for term in stripped}) < len(stripped):
        raise Refusal(400, "ADVANCED_WARMING_TERMS", "Two terms are equal but for upper and lower case.")
    rejected = [term for term in stripped if any(word in term.casefold() for word in world.parameters.rejected_terms)]
    if rejected:
        raise Refusal(400, "ADVANCED_WARMING_TERMS_REJECTED", "Some terms are not accepted.", rejected_terms=rejected)
    return stripped


def check_platform(world: World, platform: str) -> None:
    if platform not in world.parameters.warming_platforms:
        raise Refusal(400, "ADVANCED_WARMING_PLATFORM", f"There is no advanced warming on {platform}.")
