"""The account managers of a world: people who accept, warm, post, fail, appeal, and lose accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from orchestrator.sandbox.habits import Managing
from orchestrator.sandbox.herald import Herald
from orchestrator.sandbox.managers.accounts import Accounts
from orchestrator.sandbox.managers.bans import Bans
from orchestrator.sandbox.managers.care import Care
from orchestrator.sandbox.managers.office import Office
from orchestrator.sandbox.managers.posting import Posting
from orchestrator.sandbox.managers.warming import Warming
from orchestrator.sandbox.model import Bundle, Coverage, Listing, Row, SavedAccount, Slot, WarmingSession
from orchestrator.sandbox.world import World

__all__ = ["Managers"]

_SLOT_CHANGES: Final = frozenset(
    {"slot.configured", "slot.published", "slot.rescheduled", "slot.reset", "slot.unscheduled", "slot.download_fixed"}
)


class Managers:
    """Watches what clients do, and plans what managers do about it, on the world's clock.

    What is planned lives in the world's file; what becomes of it is drawn by seed and subject: a restart changes
    neither. `World.run_due` carries it out.
    """

    def __init__(self, world: World, herald: Herald, habits: Callable[[], Managing]) -> None:
        """
        Args:
            habits: asked anew each time, since they may change while the world runs.
        """
        office = Office(world, herald, habits)
        self._world = world
        self._is_sheltering = False
        self.posting = Posting(office)
        self.accounts = Accounts(office, self.posting.attend_all)
        self.warming = Warming(office)
        self.bans = Bans(office, self.accounts, self.posting.attend_all)
        self.care = Care(office, self.posting.attend_all)
        world.is_uploading = lambda slot: not habits().can_unschedule_uploading and self.posting.is_uploading(slot)
        world.watch(self._changed)
        world.listen(self._happened)

    @contextmanager
    def sheltering(self) -> Iterator[None]:
        """Accounts that become final within are not exposed to bans: whoever does this sees to it later."""
        self._is_sheltering = True
        try:
            yield
        finally:
            self._is_sheltering = False

    def _changed(self, change: str, row: Row) -> None:
        """A request brought something about."""
        if isinstance(row, Slot):
            if change in _SLOT_CHANGES:
                self.posting.attend(row)
            elif change == "slot.corrections":
                self.posting.corrections_wanted(row)
        elif isinstance(row, Listing):
            if change == "account.corrections":
                self.accounts.corrections_wanted(row)
        elif isinstance(row, Bundle):
            self._bundle_changed(change, row)
        elif isinstance(row, WarmingSession):
            if change == "warming.started":
                self.warming.started(row)
        elif isinstance(row, Coverage) and change in ("coverage.renewed", "coverage.reactivated"):
            self.care.resumed(row)

    def _bundle_changed(self, change: str, bundle: Bundle) -> None:
        if change == "bundle.created":
            self.warming.bought(bundle)
        elif change == "bundle.published":
            self.accounts.offered(bundle)
        elif change == "bundle.warming_terms_set":
            self.warming.terms_set(bundle)

    def _happened(self, type: str, data: dict[str, object]) -> None:
        """Something took place, whoever brought it about."""
        if type == "video.finalized":
            self.posting.finalized(self._world.get(Slot, str(data["video_id"])))
        if type not in ("account.in_review", "account.finalized"):
            return
        bundle = self._world.get(Bundle, str(data["bundle_id"]))
        account = self._world.saved_account_of(bundle)
        if account is None:
            return
        if type == "account.finalized":
            self.finalized(bundle, account)
        elif data.get("previous_status") != "pending_corrections":
            self.delivered(bundle, account)

    def delivered(self, bundle: Bundle, account: SavedAccount) -> None:
        """The account exists from now on."""
        coverage = self._world.find(Coverage, account.id)
        if coverage is not None:
            self.care.begun(coverage)
        self.warming.delivered(bundle)

    def finalized(self, bundle: Bundle, account: SavedAccount) -> None:
        """The account is the client's from now on: it warms, it posts, and it may be banned."""
        if not self._is_sheltering:
            self.bans.expose(account)
        self.warming.consider(bundle)
        self.posting.attend_all(bundle)
