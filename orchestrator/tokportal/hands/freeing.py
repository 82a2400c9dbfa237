"""Finds out whether an account can still post a video, and takes it back: `look_up_slot`, `unschedule_video`.

A slot is called free only where TokPortal shows, after whatever was done, that it no longer has the video, or that the
slot is pending or cancelled. Everything else is `posted`, `busy` or `unknown`: a video that may still be posted is
never given to a second account.
"""

from __future__ import annotations

from typing import Any, Final

from orchestrator.commands.executor import Outcome
from orchestrator.outbox import Command
from orchestrator.outbox.outbox import DONE
from orchestrator.tokportal.client import Client, Refused
from orchestrator.tokportal.hands.handing import KindOf
from orchestrator.tokportal.hands.slots import LET_GO, Slot, Slots
from orchestrator.tokportal.reads import Kind

FREE: Final = "free"
BUSY: Final = "busy"
POSTED: Final = "posted"
UNKNOWN: Final = "unknown"
MAY_RESET: Final = frozenset({"configured", "published", "pending_corrections"})
"""States of a slot that nobody has taken on yet, or that its manager has given back. What a manager is posting is only
ever unscheduled, never reset under his hands."""


class Freeing:
    def __init__(self, client: Client, kind_of: KindOf) -> None:
        self._client = client
        self._kind_of = kind_of

    def execute(self, command: Command) -> Outcome:
        """Raises `TryAgain`; `Refused` where even the look was refused; `AnswerLost`."""
        kind, bundle_id = self._kind_of(command), str(command.body["bundle_id"])
        slots = Slots.read(self._client, kind, bundle_id)
        found = _verdict(slots, command)
        if found != BUSY or not _frees(command):
            return _told(slots, _ours(slots, command), found)
        bundle_status = None
        # Unscheduled, a slot may stay configured with what it held, and wants to be reset besides: what TokPortal makes
        # of either is not documented, so it is looked at after each.
        for name in ("unscheduleBundleVideo", "resetBundleVideo"):
            slot = _ours(slots, command)
            if slot is None or (name == "resetBundleVideo" and slot.status not in MAY_RESET):
                break
            bundle_status = self._undo(name, command, kind, slots, slot) or bundle_status
            slots = Slots.read(self._client, kind, bundle_id)
            found = _verdict(slots, command)
            if found != BUSY:
                break
        return _told(slots, _ours(slots, command), found, bundle_status)

    def _undo(self, name: str, command: Command, kind: Kind, slots: Slots, slot: Slot) -> str | None:
        """The bundle's status, where TokPortal names it as the reason of its no."""
        path: dict[str, str | int] = {"id": slots.bundle_id, "position": slot.position}
        key = f"{command.idempotency_key or command.command_id}.{slot.status}"
        try:
            self._client.call(name, kind, path, key=key)
        except Refused as error:
            said = error.details.get("current_status") if error.code == "BUNDLE_INVALID_STATUS" else None
            return said if isinstance(said, str) else None
        return None

    def look_up(self, command: Command) -> Outcome | None:
        """None where there is something left to do. Raises `TryAgain`, `Refused`."""
        slots = Slots.read(self._client, self._kind_of(command), str(command.body["bundle_id"]))
        slot = _ours(slots, command)
        found = _verdict(slots, command)
        return None if found == BUSY and _frees(command) else _told(slots, slot, found)


def _frees(command: Command) -> bool:
    return command.kind == "unschedule_video" or command.body.get("free_it") is True


def _ours(slots: Slots, command: Command) -> Slot | None:
    body = command.body
    name = body.get("external_ref") or body.get("video_id") or command.video_id
    return slots.carrying(name, body.get("vendor_id"))


def _verdict(slots: Slots, command: Command) -> str:
    slot = _ours(slots, command)
    if slot is None:
        # No rows at all prove nothing, nor does one that may hold a video and does not say whose.
        return FREE if slots.tell_whose(command.body.get("vendor_id")) else UNKNOWN
    if slot.is_posted:
        return POSTED
    return FREE if slot.status in LET_GO else BUSY if slot.status else UNKNOWN


def _told(slots: Slots, slot: Slot | None, found: str, bundle_status: str | None = None) -> Outcome:
    data: dict[str, Any] = {"slot": found, "slots": slots.counts(), "asked_at": slots.asked_at}
    if slot is not None:
        said = {
            "url": slot.url,
            "posted_at": slot.posted_at,
            "status": slot.status or None,
            "video_id": slot.video_id,
            "position": slot.position,
        }
        data |= {name: value for name, value in said.items() if value is not None}
    if bundle_status is not None:
        data["bundle_status"] = bundle_status
    return Outcome(DONE, data=data)
