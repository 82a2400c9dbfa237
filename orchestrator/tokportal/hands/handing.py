"""Hands videos to slots: `configure_video`, one or several of a bundle together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from orchestrator.commands.executor import Outcome, TryAgain
from orchestrator.domain.times import iso
from orchestrator.outbox import Command
from orchestrator.outbox.outbox import DONE, UNKNOWN
from orchestrator.tokportal.client import Client, Refused
from orchestrator.tokportal.hands.slot_body import images_of, name_of, slot_body, tries_of
from orchestrator.tokportal.hands.slots import HANDED, LET_GO, Slot, Slots
from orchestrator.tokportal.reads import Answer, Kind, Row, text_of
from orchestrator.tokportal.transport import AnswerLost

logger = logging.getLogger(__name__)

REFUSED: Final = "refused"
AGAIN: Final = "again"
NO_FREE_SLOT: Final = "NO_FREE_SLOT"
"""Our own code: the bundle has no pending slot left."""
NO_SUCH_ROUTE: Final = frozenset({404, 405, 501})

KindOf = Callable[[Command], Kind]


class Handing:
    def __init__(self, client: Client, kind_of: KindOf) -> None:
        self._client = client
        self._kind_of = kind_of

    def execute(self, command: Command) -> Outcome:
        """Keeps a slot that has the video already; otherwise takes the first that is pending.

        Raises `TryAgain`, `Refused`; `AnswerLost` where the slot may have been filled.
        """
        kind = self._kind_of(command)
        slots = Slots.read(self._client, kind, command.body["bundle_id"])
        slot = slots.carrying(command.body["external_ref"])
        if slot is not None and _stands(slot, command):
            return _done(slots, slot, slots.asked_at)
        if slot is None or slot.status in LET_GO:
            # One that was let go of may be gone: the first that is pending is as good, and may be the same.
            slot = slot if slot is not None and slot.is_free else slots.free()
        if slot is None:
            return _no_room(slots)
        body = {**slot_body(command, self._fetch_images(command, kind)), "auto_publish": True}
        return self._put(command, kind, slots, slot, body)

    def _put(self, command: Command, kind: Kind, slots: Slots, slot: Slot, body: Row) -> Outcome:
        path: dict[str, str | int] = {"id": slots.bundle_id, "position": slot.position}
        key = command.idempotency_key or command.command_id
        answer, call = self._client.call("configureBundleVideo", kind, path, body=body, key=key)
        if call.is_replay:
            # It was sent before. What was said then need not hold any more.
            now = Slots.read(self._client, kind, slots.bundle_id)
            kept = now.carrying(command.body["external_ref"])
            if kept is not None and kept.status not in LET_GO:
                return _done(now, kept, now.asked_at)
            answer, call = self._client.call("configureBundleVideo", kind, path, body=body, key=f"{key}.anew")
        return _done(slots, _answered(answer, slot), iso(answer.asked_at), used=[slot.position])

    def execute_together(self, commands: Sequence[Command]) -> Mapping[str, Outcome]:
        """Several videos for one bundle in one request, of which TokPortal refuses each position by itself.

        How it reports that is not documented, so the slots are read afterwards, and what they say counts. A batch that
        is refused as a whole goes out one by one.

        Raises `TryAgain`, `Refused` where nothing happened.
        """
        kind: Kind = "recovery" if any(self._kind_of(command) == "recovery" for command in commands) else "ordinary"
        slots = Slots.read(self._client, kind, commands[0].body["bundle_id"])
        outcomes: dict[str, Outcome] = {}
        places: dict[str, int] = {}
        entries: list[Row] = []
        for command in commands:
            slot = slots.carrying(command.body["external_ref"])
            if slot is not None and _stands(slot, command):
                outcomes[command.command_id] = _done(slots, slot, slots.asked_at)
                continue
            if slot is None or (slot.status in LET_GO and not slot.is_free) or slot.position in places.values():
                slot = slots.free(places.values())
            if slot is None:
                outcomes[command.command_id] = _no_room(slots)
                continue
            try:
                images = self._fetch_images(command, kind)
            except Refused as error:
                outcomes[command.command_id] = refusal(error)
                continue
            places[command.command_id] = slot.position
            entries.append({"position": slot.position, **slot_body(command, images)})
        meant = [command for command in commands if command.command_id in places]
        if len(meant) == 1:
            return outcomes | self._one_by_one(meant)
        return outcomes | (self._batch(meant, places, entries, slots.bundle_id, kind) if meant else {})

    def _batch(
        self, commands: Sequence[Command], places: Mapping[str, int], entries: list[Row], bundle_id: str, kind: Kind
    ) -> dict[str, Outcome]:
        key = f"{commands[0].idempotency_key or commands[0].command_id}.{len(commands)}"
        body = {"videos": entries, "auto_publish": True}
        try:
            answer, _ = self._client.call("batchConfigureBundleVideos", kind, {"id": bundle_id}, body=body, key=key)
        except AnswerLost as error:
            return {command.command_id: Outcome(UNKNOWN, message=str(error)) for command in commands}
        except Refused as error:
            logger.info("TokPortal refused a batch of %d: %s", len(commands), error, extra={"bundle_id": bundle_id})
            return self._one_by_one(commands)
        errors = errors_by_position(answer.body)
        try:
            now = Slots.read(self._client, kind, bundle_id)
        except (TryAgain, Refused) as error:
            # It has happened; what exactly is looked up one by one.
            return {command.command_id: Outcome(UNKNOWN, message=str(error)) for command in commands}
        outcomes = {}
        for command in commands:
            slot = now.carrying(command.body["external_ref"])
            problem = errors.get(places[command.command_id])
            # What is said of a position may be no more than a warning: where the slot has it, it may be posted.
            if problem is not None and (slot is None or not _stands(slot, command)):
                code, message = text_of(problem, "code") or "HTTP_422", text_of(problem, "message")
                details = problem.get("details") if isinstance(problem.get("details"), dict) else {}
                data = {"details": details, "asked_at": iso(answer.asked_at), "slots": now.counts()}
                outcomes[command.command_id] = Outcome(REFUSED, code, message, data)
            elif slot is not None and slot.status not in LET_GO:
                outcomes[command.command_id] = _done(now, slot, now.asked_at)
            else:
                # Should its list lag behind, it has it all the same.
                outcomes[command.command_id] = Outcome(UNKNOWN, message="TokPortal does not show it, nor says why not")
        return outcomes

    def _one_by_one(self, commands: Sequence[Command]) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        for command in commands:
            try:
                outcomes[command.command_id] = self.execute(command)
            except Refused as error:
                outcomes[command.command_id] = refusal(error)
            except AnswerLost as error:
                outcomes[command.command_id] = Outcome(UNKNOWN, message=str(error))
            except TryAgain as error:
                outcomes[command.command_id] = Outcome(AGAIN, message=str(error))
        return outcomes

    def look_up(self, command: Command) -> Outcome | None:
        """Raises `TryAgain`, `Refused`."""
        slots = Slots.read(self._client, self._kind_of(command), command.body["bundle_id"])
        slot = slots.carrying(command.body["external_ref"])
        # Where names are not shown, nobody knows which try it is that the slot has. That it has one is what counts: the
        # video may be posted from there.
        if slot is not None and (_stands(slot, command) or (slot.name is None and _is_handed(slot, command))):
            return _done(slots, slot, slots.asked_at)
        return None

    def _fetch_images(self, command: Command, kind: Kind) -> dict[str, str]:
        """TokPortal wants to keep the images of carousels and stories itself (its documentation: by `storage_path`),
        while it fetches a video from any public URL. Where it has no such route it is given the URLs.

        Raises `TryAgain`, `Refused`.
        """
        kept: dict[str, str] = {}
        for url in dict.fromkeys(images_of(command)):
            body = {"url": url, "bundle_id": command.body["bundle_id"], "purpose": "carousel"}
            key = command.idempotency_key or command.command_id
            try:
                answer, _ = self._client.call("uploadImageFromUrl", kind, body=body, key=key)
            except Refused as error:
                if error.status in NO_SUCH_ROUTE and not error.code.startswith("BUNDLE"):
                    return {}
                raise
            except AnswerLost as error:
                # A second copy of an image does no harm.
                raise TryAgain(f"TokPortal did not say whether it fetched an image: {error}") from None
            path = text_of({**answer.body, **answer.data}, "storage_path", "path", "public_url")
            if path is None:
                raise TryAgain("TokPortal fetched an image and did not say where it keeps it")
            kept[url] = path
        return kept


def refusal(error: Refused, **data: Any) -> Outcome:
    """What the engine is told of TokPortal's no."""
    told = {"details": error.details, "asked_at": iso(error.asked_at), **data}
    return Outcome(REFUSED, error.code, error.message, told)


def errors_by_position(body: Row) -> dict[int, Row]:
    """What a batch's answer refuses, by position. Its shape is not documented: any list in it is looked through for
    entries that name a position and an error."""
    found: dict[int, Row] = {}
    for holder in (body, body.get("data")):
        lists = [holder] if isinstance(holder, list) else holder.values() if isinstance(holder, dict) else []
        for entries in lists:
            for entry in entries if isinstance(entries, list) else []:
                if isinstance(entry, dict) and type(entry.get("position")) is int:
                    problem = _problem(entry)
                    if problem is not None:
                        found[entry["position"]] = problem
    return found


def _problem(entry: Row) -> Row | None:
    error = entry.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str) and error:
        return {"code": entry.get("code"), "message": error, "details": entry.get("details")}
    if entry.get("success") is False or entry.get("ok") is False or (entry.get("code") and "status" not in entry):
        return entry
    return None


def _stands(slot: Slot, command: Command) -> bool:
    """Whether the slot has the video for good, as far as this command goes. Another try wants it configured anew, since
    TokPortal's slot may still look as before the post failed."""
    if slot.is_posted or slot.status == "in_review":
        return True
    is_named = slot.name == name_of(command) if slot.name is not None else tries_of(command) == 1
    return is_named and _is_handed(slot, command)


def _is_handed(slot: Slot, command: Command) -> bool:
    return slot.status in HANDED and slot.target_day in (None, command.body["target_day"])


def _answered(answer: Answer, slot: Slot) -> Slot:
    """The slot as TokPortal says that it is now."""
    said = Slot.of({"position": slot.position, **answer.data})
    if said is None or (said.status == "" and said.video_id is None):
        return Slot(slot.position, "configured", slot.video_id, None, None, None, None)
    return Slot(
        said.position, said.status or "configured", said.video_id or slot.video_id, None, said.url, said.posted_at, None
    )


def _done(slots: Slots, slot: Slot, as_of: str, used: Sequence[int] = ()) -> Outcome:
    data: dict[str, Any] = {
        "video_id": slot.video_id,
        "position": slot.position,
        "status": slot.status,
        "slots": slots.counts(used),
        "as_of": as_of,
        "asked_at": as_of,
    }
    if slot.url is not None:
        data |= {"url": slot.url, "posted_at": slot.posted_at}
    return Outcome(DONE, data=data)


def _no_room(slots: Slots) -> Outcome:
    counts = slots.counts()
    message = f"none of the {counts['total']} slots of {slots.bundle_id} is pending"
    return Outcome(REFUSED, NO_FREE_SLOT, message, {"details": {}, "slots": counts, "asked_at": slots.asked_at})
