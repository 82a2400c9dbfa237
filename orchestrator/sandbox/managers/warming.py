"""Search terms that managers work through, so that a new account looks like a person's."""

from __future__ import annotations

from typing import Final

from orchestrator.sandbox.dialects import News
from orchestrator.sandbox.managers.office import Office
from orchestrator.sandbox.model import DAY, Bundle, WarmingSession

UNCONFIGURED_FOR: Final = 14 * DAY
"""A purchase of targets that nobody words within this time is cancelled and paid back (TokPortal's documentation)."""
_RUNNING: Final = "active"


class Warming:
    """Starts sessions, verifies their terms one by one, and reports."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._world = office.world
        office.world.on("start_warming", self._start)
        office.world.on("verify_term", self._verify)
        office.world.on("end_warming", self._end)
        office.world.on("forget_warming", self._forget)

    def bought(self, bundle: Bundle) -> None:
        """A bundle with warming targets was bought."""
        if bundle.warming_targets and not bundle.warming_terms:
            self._world.at(self._world.now() + UNCONFIGURED_FOR, "forget_warming", bundle_id=bundle.id)

    def delivered(self, bundle: Bundle) -> None:
        """The account that a session was bought with exists."""
        for session in self._world.all(WarmingSession):
            if session.bundle_id == bundle.id and session.status == "pending":
                session.saved_account_id = bundle.saved_account_id
                self._world.put(session)

    def consider(self, bundle: Bundle) -> None:
        """The bought session starts once there are terms and an account that is final."""
        session = self._bought_by(bundle)
        if session is not None and self._office.ready_since(bundle) is not None:
            pause = self._office.draw(self._office.habits.warming_starts, "warming starts", session.id)
            self._world.at(self._world.now() + pause, "start_warming", bundle_id=bundle.id)

    def terms_set(self, bundle: Bundle) -> None:
        """The client has worded what was bought; where the account exists already, the session has begun by that."""
        for session in self._world.sessions_of(bundle.saved_account_id) if bundle.saved_account_id else ():
            if session.status == _RUNNING and [term.term for term in session.terms] == bundle.warming_terms:
                self.started(session)
                return
        self.consider(bundle)

    def started(self, session: WarmingSession) -> None:
        """A session runs: its terms and its end are to come."""
        habits = self._office.habits
        begun = self._world.now()
        takes = self._office.draw(habits.warming_takes, "warming takes", session.id)
        fails = self._office.happens(habits.warming_fails, "warming fails", session.id)
        if fails:
            takes = int(takes * self._world.random("warming breaks off", session.id).uniform(0.2, 0.9))
        count = len(session.terms)
        for number in range(count):
            at = begun + takes * (number + 1) // (count + 1)
            self._world.at(at, "verify_term", session_id=session.id, number=number)
        self._world.at(begun + takes, "end_warming", session_id=session.id, fails=fails)

    def _bought_by(self, bundle: Bundle) -> WarmingSession | None:
        """The session that waits for its beginning, with all that it needs."""
        sessions = self._world.sessions_of(bundle.saved_account_id) if bundle.saved_account_id is not None else []
        return next((session for session in sessions if session.status == "pending" and session.terms), None)

    def _start(self, bundle_id: str) -> None:
        bundle = self._world.get(Bundle, bundle_id)
        session = self._bought_by(bundle)
        if session is None or self._office.ready_since(bundle) is None:
            return
        self._world.start_session(session, session.saved_account_id or "")
        self.started(session)

    def _verify(self, session_id: str, number: int) -> None:
        session = self._world.get(WarmingSession, session_id)
        if session.status != _RUNNING or not self._goes_on(session):
            return
        session.terms[number].verified_at = self._world.now()
        self._world.put(session)
        self._emit("warming.term_verified", session, term=session.terms[number].term)

    def _end(self, session_id: str, fails: bool) -> None:
        session = self._world.get(WarmingSession, session_id)
        if session.status != _RUNNING or not self._goes_on(session):
            return
        if fails:
            self._fail(session)
        else:
            self.complete(session)

    def complete(self, session: WarmingSession) -> None:
        """The session is done."""
        for term in session.terms:
            term.verified_at = term.verified_at or self._world.now()
        session.status = "completed"
        session.completed_at = self._world.now()
        self._world.put(session)
        self._emit("warming.session_completed", session)

    def _fail(self, session: WarmingSession) -> None:
        session.status = "cancelled"
        self._world.put(session)
        bundle = self._bundle_of(session)
        if bundle is not None:
            article = {"code": "warming_interrupted", "reason": "The session was interrupted"}
            self._office.herald.report(News.WARMING_FAILED, bundle, article=article)

    def _goes_on(self, session: WarmingSession) -> bool:
        """Whether the account can be worked on; a session on one that is gone ends in silence."""
        bundle = self._bundle_of(session)
        if bundle is None or bundle.saved_account_id != session.saved_account_id:
            return False
        account = self._world.saved_account_of(bundle)
        return account is not None and not account.banned and not account.detached

    def _forget(self, bundle_id: str) -> None:
        bundle = self._world.get(Bundle, bundle_id)
        if bundle.warming_terms or not bundle.warming_targets:
            return
        price = bundle.warming_targets * self._world.parameters.prices.advanced_warming
        bundle.warming_targets = 0
        self._world.put(bundle)
        for session in self._world.all(WarmingSession):
            if session.bundle_id == bundle.id and session.status == "pending":
                session.status = "cancelled"
                self._world.put(session)
        self._world.charge(-price, "refundWarming", bundle_id=bundle.id)

    def _emit(self, type: str, session: WarmingSession, **data: str) -> None:
        bundle = self._bundle_of(session)
        if bundle is not None:
            self._world.emit(
                type,
                bundle_id=bundle.id,
                saved_account_id=session.saved_account_id,
                session_id=session.id,
                **data,
            )

    def _bundle_of(self, session: WarmingSession) -> Bundle | None:
        if session.bundle_id is not None:
            return self._world.find(Bundle, session.bundle_id)
        bundles = self._world.bundles_of(session.saved_account_id) if session.saved_account_id is not None else []
        return bundles[0] if bundles else None
