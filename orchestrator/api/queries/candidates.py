"""Which bundles and videos have to be looked at, where only those of the past are wanted that a filter lets through.

Whether something fits is known only once its events are folded. What is left out here can never have fitted; what is
named may turn out not to fit, or to be younger than the moment that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from orchestrator.api.queries.past import Past
from orchestrator.database.tables import videos

Names = Callable[[str, int], list[str]]
"""Those of which something was known that come after a name, so many at most."""

BUNDLES_AFTER: Final[Mapping[str, tuple[str, ...]]] = {"banned": ("BundleBanned",), "failed": ("WarmingFailed",)}
VIDEOS_AFTER: Final[Mapping[str, tuple[str, ...]]] = {
    "failed": ("PostFailed", "FactsAdopted"),
    "abandoned": ("VideoAbandoned",),
    "cancelled": ("VideoCancelled", "AttemptCancelled"),
}
"""States that nothing is in without one of these events."""
PLACE: Final = ("country", "platform")
TOGETHER: Final = 2_000
"""Names that are asked for at a time, where the question costs more than its answer."""


def bundles_for(past: Past, wanted: Mapping[str, Any]) -> Names:
    """`wanted`: the values of columns."""
    if (topics := BUNDLES_AFTER.get(str(wanted.get("state", "")))) is not None:
        return _of(past.bundles_told(topics))
    place = {name: wanted[name] for name in PLACE if name in wanted}
    return partial(past.bundles_at, place) if place else partial(past.names, "bundle")


def videos_for(past: Past, wanted: Mapping[str, Any]) -> Names:
    """`wanted`: the values of columns."""
    if "bundle_id" in wanted:
        return _of(past.videos_of([wanted["bundle_id"]]))
    if "campaign_id" in wanted:
        return _of(past.videos_by(videos.c.campaign_id, wanted["campaign_id"]))
    state = str(wanted.get("state", ""))
    if state in VIDEOS_AFTER:
        return _of(past.open_videos_told(VIDEOS_AFTER[state]))
    if "error_code" in wanted:
        return _of(past.videos_told(VIDEOS_AFTER["failed"]))
    if "ref" in wanted:
        return _of(past.videos_by(videos.c.ref, wanted["ref"]))
    if state not in ("", "posted"):
        return _together(past.open_videos)
    place = {name: wanted[name] for name in PLACE if name in wanted}
    return partial(past.videos_at, place) if place else partial(past.names, "video")


def _together(names: Names) -> Names:
    """The same names, read many at a time."""
    known: list[str] = []
    is_all = False

    def some(after: str, most: int) -> list[str]:
        nonlocal known, is_all
        known = [name for name in known if name > after]
        if len(known) < most and not is_all:
            wanted = max(most, TOGETHER)
            more = names(known[-1] if known else after, wanted)
            known, is_all = known + more, len(more) < wanted
        return known[:most]

    return some


def _of(names: Iterable[str]) -> Names:
    known = sorted(names)
    return lambda after, most: [name for name in known if name > after][:most]
