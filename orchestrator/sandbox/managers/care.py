"""The managed subscription of accounts: renewed each period, sometimes not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from orchestrator.sandbox.coverage import renew
from orchestrator.sandbox.managers.office import Office
from orchestrator.sandbox.model import Bundle, Coverage, SavedAccount
from orchestrator.sandbox.rest.subscriptions import move_videos

_OPEN: Final = frozenset({"included", "active"})


class Care:
    """Ends and renews the periods of Coverage.

    TokPortal's documentation: 30 days a period, the first included; while it is lapsed managers take no tasks.
    """

    def __init__(self, office: Office, attend: Callable[[Bundle], None]) -> None:
        self._office = office
        self._world = office.world
        self._attend = attend
        office.world.on("end_period", self._end)
        office.world.on("pay_again", self._pay_again)

    def begun(self, coverage: Coverage) -> None:
        """A period runs: its end is to come."""
        end = coverage.current_period_end
        self._world.at(end, "end_period", saved_account_id=coverage.id, period_end=end)

    def resumed(self, coverage: Coverage) -> None:
        """Coverage was paid again: a period runs, and managers go on."""
        self.begun(coverage)
        for bundle in self._world.bundles_of(coverage.id):
            self._attend(bundle)

    def _end(self, saved_account_id: str, period_end: int) -> None:
        world = self._world
        coverage = world.get(Coverage, saved_account_id)
        account = world.get(SavedAccount, saved_account_id)
        if coverage.current_period_end != period_end or coverage.recorded_status not in _OPEN:
            return
        if account.banned or account.detached:
            return
        price = world.parameters.prices.coverage
        lapses = self._office.happens(self._office.habits.lapses, "lapses", account.id, period_end)
        if coverage.auto_renew and world.credits >= price and not lapses:
            self._renew(coverage, "subscription.renewed", price)
            self.begun(coverage)
            return
        coverage.recorded_status = "lapsed"
        world.put(coverage)
        world.emit("subscription.lapsed", saved_account_id=account.id, status="lapsed")
        for bundle in world.bundles_of(account.id):
            self._attend(bundle)
        if lapses:
            pause = self._office.draw(self._office.habits.reactivates_after, "reactivates", account.id, period_end)
            world.at(world.now() + pause, "pay_again", saved_account_id=account.id, period_end=period_end)

    def _pay_again(self, saved_account_id: str, period_end: int) -> None:
        coverage = self._world.get(Coverage, saved_account_id)
        account = self._world.get(SavedAccount, saved_account_id)
        price = self._world.parameters.prices.coverage
        is_open = coverage.recorded_status == "lapsed" and coverage.current_period_end == period_end
        if is_open and not account.banned and not account.detached and self._world.credits >= price:
            self._renew(coverage, "subscription.reactivated", price)
            move_videos(self._world, account)
            self.resumed(coverage)

    def _renew(self, coverage: Coverage, event: str, price: int) -> None:
        self._world.charge(price, "renewCoverage", saved_account_id=coverage.id)
        renew(self._world, coverage)
        self._world.emit(event, saved_account_id=coverage.id, status="active", credits=price)
