"""What was found by reading TokPortal's API, beside what its webhooks told.

A listing says how far something had come by the moment of the request, not when it came there. A fact that was found
without a time of the vendor's own (`data.as_of`) therefore speaks only until something tells as much or more, however
early that happened and however late it is learnt: what was found and what is told then end in the state that the
webhooks alone would give.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain.facts import API, Key, Note

INSTANT: Final = timedelta(microseconds=1)
LIFE: Final[Mapping[str, int]] = {
    "BundleCreated": 1,
    "BundleReady": 2,
    "WarmingStarted": 3,
    "WarmingFailed": 3,
    "WarmingCompleted": 4,
}
"""How far an account has come by each fact of its life."""

WAY: Final[Mapping[str, int]] = {
    "VideoScheduled": 1,
    "VideoHandedOver": 2,
    "UploadStarted": 3,
    "UploadCompleted": 4,
    "PostFailed": 5,
    "VideoPosted": 6,
}
"""How far a video has come on its way by each fact. A listing does not show failures, so none is undone by one."""


def is_undated(note: Note) -> bool:
    """Whether the fact was found, and nobody knows since when it had been true."""
    return note.dialect == API and "as_of" in note.detail


def spoken(notes: Sequence[Note], stages: Mapping[str, int]) -> Sequence[Note]:
    """Those of the facts about one thing that still speak."""
    if not any(is_undated(note) for note in notes):
        return notes
    return [note for note in notes if not (is_undated(note) and any(_outdoes(o, note, stages) for o in notes))]


def _outdoes(other: Note, found: Note, stages: Mapping[str, int]) -> bool:
    if other is found or other.name not in stages or found.name not in stages:
        return False
    further = stages[other.name] - stages[found.name]
    if further == 0 and found.name == "VideoPosted":
        return _tells_of_post(other, found) and (not is_undated(other) or other.key < found.key)
    if is_undated(other):
        return further > 0 or (further == 0 and other.key < found.key)
    return further >= 0


def _tells_of_post(other: Note, found: Note) -> bool:
    """Whether `other` says all of the post that `found` does."""
    has_url = bool(other.detail.get("url")) or not found.detail.get("url")
    return has_url and (other.detail.get("review") == "final" or found.detail.get("review") != "final")


def spoken_posts(notes: Sequence[Note]) -> Sequence[Note]:
    """The facts about a video, without found posts that were told, too."""
    if not any(is_undated(note) and note.name == "VideoPosted" for note in notes):
        return notes
    told = [note for note in notes if note.name == "VideoPosted"]
    return [
        note
        for note in notes
        if not (note.name == "VideoPosted" and is_undated(note))
        or not any(_outdoes(other, note, WAY) for other in told if other.bundle_id == note.bundle_id)
    ]


def spoken_life(since: Mapping[str, Sequence[Note]]) -> Mapping[str, Sequence[Note]]:
    """The facts about an account since its last remake, by name, without those found that no longer speak."""
    found = [note for notes in since.values() for note in notes if note.dialect == API]
    if not found:
        return since
    life = [note for name in LIFE for note in since.get(name, ())]
    kept = spoken(life, LIFE)
    silent = {note.key for note in life} - {note.key for note in kept}
    silent |= _twins_of_lifted(since)
    return {name: [note for note in notes if note.key not in silent] for name, notes in since.items()}


def _twins_of_lifted(since: Mapping[str, Sequence[Note]]) -> set[Key]:
    """Bans that were told, after they had been found and a person had lifted them: they are the same ones."""
    lifted = max((note.key for note in since.get("Reinstated", ())), default=None)
    bans = since.get("BundleBanned", ())
    if lifted is None:
        return set()
    over = [note for note in bans if note.dialect == API and note.key <= lifted]
    return {note.key for note in bans if note.dialect != API and any(is_same_ban(note, other) for other in over)}


def is_same_ban(told: Note, found: Note) -> bool:
    """Whether a ban that was told falls into the time, from report to decision, of one that was found."""
    within = found.detail.get("within")
    if within is None:
        return False
    begin, end = map(datetime.fromisoformat, within)
    return begin <= told.occurred_at <= end


def with_remakes(notes: Sequence[Note], accounts: Mapping[str, Sequence[Note]]) -> Sequence[Note]:
    """The facts about a bundle, each remake once, and at the right time.

    That an account was remade is found when the bundle has another one. It happened before the first word of that new
    account. Where the webhook tells of the same remake, it is that one which counts.
    """
    found = [note for note in notes if note.name == "AccountRemade" and note.dialect == API]
    if not found:
        return notes
    others = [note for note in notes if note not in found]
    told = sorted((note for note in others if note.name == "AccountRemade"), key=lambda note: note.key)
    for note in found:
        if any(other.account == note.account for other in told):
            continue
        number = _unnamed(told, note, others)
        if number is not None:
            others[others.index(told[number])] = told[number] = replace(told[number], account=note.account)
            continue
        words: Iterable[Note] = [*notes, *accounts.get(str(note.account), ())]
        first = min(word.occurred_at for word in words if word.account == note.account)
        # It follows a ban of the account before it.
        bans = [n.occurred_at + INSTANT for n in notes if n.name == "BundleBanned" and n.account != note.account]
        first = max([first, *(at for at in bans if at <= note.occurred_at)])
        others.append(replace(note, occurred_at=first))
    return others


def _unnamed(told: Sequence[Note], found: Note, notes: Sequence[Note]) -> int | None:
    """Which of the remakes that were told without a name is the one that was found; None if it is none of them."""
    for number, note in enumerate(told):
        end = told[number + 1].key if number + 1 < len(told) else None
        named = {
            n.account for n in notes if n.account is not None and n.key > note.key and (end is None or n.key < end)
        }
        is_then = end is None or note.key < found.key < end
        if note.account is None and (named == {found.account} or (not named and is_then)):
            return number
    return None
