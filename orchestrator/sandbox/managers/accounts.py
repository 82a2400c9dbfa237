"""From a published bundle to a delivered account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from orchestrator.sandbox.managers.office import SECOND, Office
from orchestrator.sandbox.model import Bundle, Listing

_HOUR: Final = 3_600 * SECOND
_OFFERED: Final = frozenset({"published", "published_priority"})
_WITH_MANAGER: Final = frozenset({"configured", "published"})


class Accounts:
    """Accepts bundles, creates their accounts, corrects them, and lets them become final."""

    def __init__(self, office: Office, attend: Callable[[Bundle], None]) -> None:
        """
        Args:
            attend: looks after the slots of a bundle that works on an account which exists already.
        """
        self._office = office
        self._world = office.world
        self._attend = attend
        office.world.on("accept_bundle", self._accept)
        office.world.on("deliver_account", self._deliver)
        office.world.on("correct_account", self._correct)
        office.world.on("finalize_account", self._finalize)

    def offered(self, bundle: Bundle) -> None:
        """The bundle was published: somebody takes it."""
        pause = self._office.draw(self._office.habits.accepts_bundle, "accept", bundle.id, bundle.published_at)
        at = self._world.now() + pause
        self._world.at(at, "accept_bundle", bundle_id=bundle.id, published_at=bundle.published_at)

    def corrections_wanted(self, listing: Listing) -> None:
        since = self._world.now()
        pause = self._office.draw(self._office.habits.corrects_account, "correct account", listing.id, since)
        self._world.at(since + pause, "correct_account", listing_id=listing.id)

    def create(self, bundle: Bundle, since: int) -> None:
        """Somebody makes the account, from `since` on."""
        pause = self._office.draw(self._office.habits.creates_account, "create account", bundle.id, since)
        self._world.at(since + pause, "deliver_account", bundle_id=bundle.id)

    def in_review(self, listing: Listing) -> None:
        """The client may look at the account; in the end it is final by itself."""
        window = self._world.parameters.review_hours * _HOUR
        pause = window if self._office.habits.account_review == "window" else 0
        since = self._world.now()
        self._world.at(since + pause, "finalize_account", listing_id=listing.id, since=since)

    def _accept(self, bundle_id: str, published_at: int) -> None:
        bundle = self._world.get(Bundle, bundle_id)
        if bundle.status not in _OFFERED or bundle.published_at != published_at:
            return  # It was taken back in time, and perhaps offered again.
        self._world.move_bundle(bundle, "accepted")
        if self._world.listing_of(bundle) is not None:
            self.create(bundle, self._world.now())
        else:
            self._attend(bundle)

    def _deliver(self, bundle_id: str) -> None:
        bundle = self._world.get(Bundle, bundle_id)
        listing = self._world.listing_of(bundle)
        if bundle.status != "accepted" or listing is None or listing.status not in _WITH_MANAGER:
            return
        if self._world.saved_account_of(bundle) is None:
            self._world.deliver_account(bundle, listing.username or f"user{bundle.id[:8]}")
        self._world.move_listing(listing, "in_review")
        self.in_review(listing)

    def _correct(self, listing_id: str) -> None:
        listing = self._world.get(Listing, listing_id)
        if listing.status == "pending_corrections":
            self._world.move_listing(listing, "in_review")
            self.in_review(listing)

    def _finalize(self, listing_id: str, since: int) -> None:
        listing = self._world.get(Listing, listing_id)
        if listing.status == "in_review" and listing.in_review_at == since:
            self._world.move_listing(listing, "finalized")
