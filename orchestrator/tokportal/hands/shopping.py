"""Buys slots for a bundle: `add_slots`."""

from __future__ import annotations

from orchestrator.commands.executor import Outcome, TryAgain
from orchestrator.domain.times import iso
from orchestrator.outbox import Command
from orchestrator.outbox.outbox import DONE, UNKNOWN
from orchestrator.tokportal.client import Client, Refused
from orchestrator.tokportal.hands.handing import KindOf
from orchestrator.tokportal.hands.paying import charged, pay
from orchestrator.tokportal.hands.slots import Slots
from orchestrator.tokportal.reads import Answer, Row


class Shopping:
    def __init__(self, client: Client, kind_of: KindOf) -> None:
        self._client = client
        self._kind_of = kind_of

    def execute(self, command: Command) -> Outcome:
        """Raises `TryAgain`, `Refused`, `AnswerLost`."""
        kind, body = self._kind_of(command), command.body
        path, wanted = {"id": str(body["bundle_id"])}, {"quantity": body["quantity"]}
        paid = pay(self._client, kind, command, "addVideoSlots", path, wanted)
        if isinstance(paid, Outcome):
            return paid
        data: Row = {"quantity": body["quantity"], "asked_at": iso(paid.asked_at), **charged(paid)}
        return Outcome(DONE, data=data | self._counted(command))

    def look_up(self, command: Command) -> Outcome | None:
        """Compares how many there are with how many there were. Where that was not known, nothing tells whether they
        were bought, and they are never bought twice. Raises `TryAgain`, `Refused`."""
        answer = self._client.bundle(self._kind_of(command), str(command.body["bundle_id"]))
        if answer is None:
            raise TryAgain(f"TokPortal knows no bundle {command.body['bundle_id']}")
        had, total = command.body.get("had"), _total(answer)
        if had is None or total is None:
            return Outcome(
                UNKNOWN, message="how many slots there were before is not known: see whether they were added"
            )
        if total < had + command.body["quantity"]:
            return None
        data = {"quantity": command.body["quantity"], "asked_at": iso(answer.asked_at)}
        return Outcome(DONE, data=data | self._counted(command))

    def _counted(self, command: Command) -> Row:
        """How many there are now, as far as TokPortal says it at once: that they were bought is what matters."""
        try:
            slots = Slots.read(self._client, self._kind_of(command), str(command.body["bundle_id"]))
        except (TryAgain, Refused):
            return {}
        return {"slots": slots.counts()}


def _total(answer: Answer) -> int | None:
    total = answer.data.get("videos_quantity")
    return total if type(total) is int else None
