"""The executor of commands to TokPortal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from orchestrator.commands.executor import Outcome, TryAgain
from orchestrator.outbox import Command
from orchestrator.outbox.outbox import UNKNOWN
from orchestrator.tokportal.budget import Budget
from orchestrator.tokportal.client import Client, Refused
from orchestrator.tokportal.hands.freeing import Freeing
from orchestrator.tokportal.hands.handing import REFUSED, Handing, refusal
from orchestrator.tokportal.hands.measuring import Measuring
from orchestrator.tokportal.hands.reviewing import Reviewing
from orchestrator.tokportal.hands.shopping import Shopping
from orchestrator.tokportal.hands.warming import Warming
from orchestrator.tokportal.reads import Kind
from orchestrator.tokportal.transport import AnswerLost

REQUESTS: Final = 2
"""Requests that a command takes as a rule: a look, and the deed."""
UNKNOWN_KIND: Final = "UNKNOWN_COMMAND"
"""Our own code: this program has no hand for it."""


class _Family(Protocol):
    def execute(self, command: Command) -> Outcome: ...

    def look_up(self, command: Command) -> Outcome | None: ...


class Hands:
    """An `orchestrator.commands.Executor`. Safe to share by threads.

    What was refused is an outcome with TokPortal's code; a write whose answer was lost is `unknown`, and looked up
    before anything is repeated; whatever came to nothing is `TryAgain`.
    """

    def __init__(self, client: Client, budget: Budget) -> None:
        self._budget = budget
        self._handing = Handing(client, kind_of)
        self._measuring = Measuring(client, kind_of)
        freeing, reviewing = Freeing(client, kind_of), Reviewing(client, kind_of)
        self._families: dict[str, _Family] = {
            "configure_video": self._handing,
            "unschedule_video": freeing,
            "look_up_slot": freeing,
            "start_warming": Warming(client, kind_of),
            "add_slots": Shopping(client, kind_of),
            "finalize_video": reviewing,
            "request_corrections": reviewing,
        }

    def room(self, urgency: int) -> int:
        """How many commands of this urgency (0: recovery) the quota has room for now."""
        return self._budget.room("recovery" if urgency == 0 else "ordinary") // REQUESTS

    def execute(self, command: Command) -> Outcome:
        """Raises `TryAgain`."""
        try:
            if command.kind == "read_metrics":
                return self._measuring.execute(command)
            family = self._families.get(command.kind)
            if family is None:
                return Outcome(REFUSED, UNKNOWN_KIND, f"this program cannot carry out {command.kind!r}")
            return family.execute(command)
        except Refused as error:
            return refusal(error)
        except AnswerLost as error:
            return Outcome(UNKNOWN, message=str(error))

    def execute_together(self, commands: Sequence[Command]) -> Mapping[str, Outcome]:
        """Hands several videos to one bundle. Raises `TryAgain` if nothing happened at all."""
        try:
            return self._handing.execute_together(commands)
        except Refused as error:
            return {command.command_id: refusal(error) for command in commands}

    def look_up(self, command: Command) -> Outcome | None:
        """Raises `TryAgain`."""
        family = self._families.get(command.kind)
        if family is None:
            return None  # A read: there is nothing that it could have left behind.
        try:
            return family.look_up(command)
        except Refused as error:
            if error.status == 404:
                # Where there is no such bundle, nothing of it can be there; to send it is answered the same way.
                return None
            raise TryAgain(f"TokPortal does not show what became of it: {error}") from None


def kind_of(command: Command) -> Kind:
    """On whose account a command's requests go."""
    return "recovery" if command.urgency == 0 else "ordinary"
