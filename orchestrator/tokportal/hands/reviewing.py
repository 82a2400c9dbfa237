"""Answers a delivered video within its 72 hours: `finalize_video`, `request_corrections`. Both are free."""

from __future__ import annotations

from orchestrator.commands.executor import Outcome
from orchestrator.domain.times import iso
from orchestrator.outbox import Command
from orchestrator.outbox.outbox import DONE
from orchestrator.tokportal.client import Client
from orchestrator.tokportal.hands.handing import REFUSED, KindOf
from orchestrator.tokportal.hands.slots import Slot, Slots
from orchestrator.tokportal.reads import Kind, Row, text_of

NO_SUCH_VIDEO = "VIDEO_NOT_FOUND"
"""TokPortal's code for a slot that is not there."""
FINALIZED = "finalized"
CORRECTIONS = "pending_corrections"


class Reviewing:
    def __init__(self, client: Client, kind_of: KindOf) -> None:
        self._client = client
        self._kind_of = kind_of

    def execute(self, command: Command) -> Outcome:
        """Raises `TryAgain`, `Refused`, `AnswerLost`."""
        kind = self._kind_of(command)
        slots, slot = self._slot(kind, command)
        if slot is None:
            message = f"no slot of {slots.bundle_id} has the video"
            return Outcome(REFUSED, NO_SUCH_VIDEO, message, {"details": {}, "asked_at": slots.asked_at})
        if command.kind == "finalize_video" and slot.status == FINALIZED:
            return _done(slot, slots.asked_at, slots)
        body: Row | None = None
        if command.kind == "request_corrections":
            body = {"comment": command.body["comment"], "fields": command.body.get("fields") or {}}
        name = "finalizeBundleVideo" if body is None else "requestBundleVideoCorrections"
        path: dict[str, str | int] = {"id": slots.bundle_id, "position": slot.position}
        key = command.idempotency_key or command.command_id
        answer, _ = self._client.call(name, kind, path, body=body, key=key)
        status = text_of(answer.data, "status") or (FINALIZED if body is None else CORRECTIONS)
        return _done(slot, iso(answer.asked_at), slots, status)

    def look_up(self, command: Command) -> Outcome | None:
        """Raises `TryAgain`, `Refused`."""
        slots, slot = self._slot(self._kind_of(command), command)
        wanted = FINALIZED if command.kind == "finalize_video" else CORRECTIONS
        return _done(slot, slots.asked_at, slots) if slot is not None and slot.status == wanted else None

    def _slot(self, kind: Kind, command: Command) -> tuple[Slots, Slot | None]:
        body = command.body
        slots = Slots.read(self._client, kind, str(body["bundle_id"]))
        slot = slots.carrying(body.get("external_ref"), body.get("vendor_id"))
        position = body.get("position")
        if slot is None and body.get("vendor_id") is None and type(position) is int:
            # Where it is was learnt from TokPortal; a slot that by now says another name has another video.
            there = slots.at(position)
            slot = there if there is not None and there.external_ref is None else None
        return slots, slot


def _done(slot: Slot, asked_at: str, slots: Slots, status: str | None = None) -> Outcome:
    data: Row = {
        "status": status or slot.status,
        "position": slot.position,
        "video_id": slot.video_id,
        "slots": slots.counts(),
        "asked_at": asked_at,
    }
    if slot.url is not None:
        data["url"] = slot.url
    return Outcome(DONE, data=data)
