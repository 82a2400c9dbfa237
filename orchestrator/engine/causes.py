"""Causes of alerts: what is one trouble to people, however many accounts and videos it touches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

MARKET: Final = ("country", "platform")
CAUSES: Final[Mapping[str, tuple[str, ...]]] = {
    "stopped": ("campaign_id",),
    "held": ("campaign_id", *MARKET),
    "corrections": ("campaign_id",),
    "unmet": ("campaign_id",),
    "wrong_bundle": ("bundle_id",),
    "contradiction": ("bundle_id",),
    "stranger": ("bundle_id",),
    "budget": (),
    "quarantined": (),
    "unrecognised": (),
    "conflict": (),
    "policies_refused": (),
    "contract": (),
    "outage": (),
    "audit": (),
    "projection": (),
}
"""By kind of alert, what it must share with another one to have the same cause. Where a kind is not named, that is the
market: bans come in waves, and so does what follows from them."""
LONGEST: Final = 200


def cause_of(kind: str, about: Mapping[str, Any], more: Iterable[object] = ()) -> str:
    """The fingerprint of a cause: equal for all alerts that people should hear of together. `more` is what makes it one
    cause besides: the code of an error, for example."""
    parts = [kind, *(str(about.get(name) or "-") for name in CAUSES.get(kind, MARKET)), *map(str, more)]
    text = ":".join(parts)
    if len(text) <= LONGEST and text.isascii() and text.isprintable():
        return text
    # Codes are the vendor's, and may be anything.
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{kind}:{digest[:32]}"


def subject_of(about: Mapping[str, Any]) -> str:
    """Whom an alert is about, if it does not say so itself: who may recover, and with the last of whom the cause
    ends."""
    for name in ("video_id", "bundle_id", "campaign_id"):
        if about.get(name):
            return str(about[name])
    return ":".join(str(about[name]) for name in MARKET if about.get(name))
