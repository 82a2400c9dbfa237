"""Starts the warming of an account: `start_warming`.

Warming is bought with a bundle, with its search terms or as a count of terms to be set later, once (free); or it is
bought for a delivered account, where it starts at once (`rewarm`, paid). One session at a time (TokPortal's
documentation). The SDK has no helpers for these operations.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from orchestrator.clock import instant_of
from orchestrator.commands.executor import Outcome
from orchestrator.domain.times import iso
from orchestrator.outbox import Command
from orchestrator.outbox.outbox import DONE
from orchestrator.tokportal.client import Client, Refused
from orchestrator.tokportal.hands.handing import REFUSED, KindOf
from orchestrator.tokportal.hands.paying import charged, pay
from orchestrator.tokportal.reads import Answer, Kind, Row, text_of

ADVANCED: Final = "advanced"
"""The only mode that TokPortal's public API sells."""
MODE: Final = "WARMING_MODE"
"""Our own code: TokPortal's API sells no warming of this mode."""
OVER: Final = frozenset({"completed", "cancelled", "canceled", "refunded", "failed", "expired"})
"""Words for a session that has ended. TokPortal documents none of its states: a session with a completion time is over
whatever it is called, and one that is called anything else counts as going on."""
ALREADY: Final = frozenset({"WARMING_TERMS_ALREADY_SET", "REWARM_ALREADY_ACTIVE"})
"""TokPortal's codes for what is there already."""
SKEW: Final = timedelta(minutes=1)
"""By which TokPortal's clock may be behind ours."""


class Warming:
    def __init__(self, client: Client, kind_of: KindOf) -> None:
        self._client = client
        self._kind_of = kind_of

    def execute(self, command: Command) -> Outcome:
        """Raises `TryAgain`, `Refused`, `AnswerLost`."""
        kind, body = self._kind_of(command), command.body
        if body.get("mode", ADVANCED) != ADVANCED:
            return Outcome(REFUSED, MODE, f"TokPortal's API sells no {body['mode']} warming, only {ADVANCED}")
        account = self._account(kind, command)
        sessions = self._sessions(kind, account)
        if any(_is_open(session) and not _waits_for_terms(session) for session in sessions):
            return Outcome(DONE, data={"started": "already"})
        terms = list(body["terms"])
        # Before an account is delivered nothing but the bundle can have warming.
        if account is None or any(_is_open(session) for session in sessions):
            return self._set_terms(kind, command, terms)
        return self._rewarm(kind, command, account, terms)

    def _set_terms(self, kind: Kind, command: Command, terms: list[str]) -> Outcome:
        key = command.idempotency_key or command.command_id
        path, body = {"id": str(command.body["bundle_id"])}, {"advanced_warming_terms": terms}
        try:
            answer, _ = self._client.call("configureBundleWarmingTerms", kind, path, body=body, key=key)
        except Refused as error:
            if error.code in ALREADY:
                return _started("already", error.asked_at)
            raise
        return _started("terms", answer.asked_at)

    def _rewarm(self, kind: Kind, command: Command, account: str, terms: list[str]) -> Outcome:
        try:
            paid = pay(self._client, kind, command, "rewarmAccount", {"id": account}, {"search_terms": terms})
        except Refused as error:
            if error.code in ALREADY:
                return _started("already", error.asked_at)
            raise
        if isinstance(paid, Outcome):
            return paid
        return _started("rewarmed", paid.asked_at, paid)

    def look_up(self, command: Command) -> Outcome | None:
        """A session of since the command was given is taken for its effect. Raises `TryAgain`, `Refused`."""
        kind = self._kind_of(command)
        account = self._account(kind, command)
        given = instant_of(command.created_at) - SKEW
        for session in self._sessions(kind, account):
            started = _moment(text_of(session, "started_at", "created_at"))
            is_ours = started is not None and started >= given
            if is_ours or (_is_open(session) and not _waits_for_terms(session)):
                return Outcome(DONE, data={"started": "found"})
        # The terms of a bundle are set once: to set them again is answered as such.
        return None

    def _account(self, kind: Kind, command: Command) -> str | None:
        if isinstance(command.body.get("account"), str):
            return str(command.body["account"])
        answer = self._client.bundle(kind, str(command.body["bundle_id"]))
        return text_of(answer.data, "saved_account_id") if answer is not None else None

    def _sessions(self, kind: Kind, account: str | None) -> tuple[Row, ...]:
        if account is None:
            return ()
        try:
            return self._client.warming_sessions(kind, account).rows
        except Refused as error:
            if error.status == 404:
                return ()
            raise


def _started(how: str, asked_at: datetime, paid: Answer | None = None) -> Outcome:
    return Outcome(
        DONE, data={"started": how, "asked_at": iso(asked_at), **(charged(paid) if paid is not None else {})}
    )


def _is_open(session: Row) -> bool:
    return not session.get("completed_at") and (text_of(session, "status") or "").lower() not in OVER


def _waits_for_terms(session: Row) -> bool:
    configured, total = session.get("terms_configured"), session.get("terms_total")
    if isinstance(configured, bool):
        return not configured
    return isinstance(configured, int) and isinstance(total, int) and configured < total


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text is not None else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
