"""Platforms ban accounts; managers appeal, staff decides who gets what back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from orchestrator.sandbox.dialects import News
from orchestrator.sandbox.managers.accounts import Accounts
from orchestrator.sandbox.managers.office import SECOND, Office
from orchestrator.sandbox.model import CLOSED_BUNDLES, Ban, Bundle, SavedAccount
from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.wire import COUNTRY_CODES

_YEAR: Final = 365.0 * 86_400
_FAR: Final = 100 * _YEAR
_UNPOSTED: Final = frozenset({"pending", "configured", "published", "accepted", "pending_corrections"})
_REASONS: Final = ("community_guidelines", "spam", "inauthentic_behaviour")


class Bans:
    """Bans accounts by chance or on request, through appeal and resolution.

    TokPortal's documentation: an appeal leaves the bundles open; a valid ban cancels every active one; a remake keeps
    the bundle and gives it a new saved account. How a cancelled bundle comes back is not documented: here it is
    accepted again at the remake, with as many free slots as the ban has taken.
    """

    def __init__(self, office: Office, accounts: Accounts, attend: Callable[[Bundle], None]) -> None:
        """
        Args:
            attend: looks after the slots of a bundle whose account can, or cannot, post from now on.
        """
        self._office = office
        self._world = office.world
        self._accounts = accounts
        self._attend = attend
        office.world.on("ban_account", self._ban)
        office.world.on("decide_appeal", self._decide)
        office.world.on("resolve_ban", self._resolve)

    def expose(self, account: SavedAccount) -> None:
        """From now on the account may be banned by chance."""
        rate = self._office.habits.bans_per_account_year
        if rate <= 0:
            return
        pause = self._world.random("ban", account.id).expovariate(rate / _YEAR)
        if pause < _FAR:
            self._world.at(self._world.now() + int(pause * SECOND), "ban_account", saved_account_id=account.id)

    def ban(self, account: SavedAccount, *, appeal: bool | None = None, reason: str | None = None) -> Ban | None:
        """Ban the account now; None if it is banned or appealing already.

        With an appeal the ban is not valid yet. Without `appeal` chance decides about one.
        """
        world = self._world
        if account.banned or self._office.appeal_of(account.id) is not None:
            return None
        habits = self._office.habits
        if appeal is None:
            appeal = self._office.happens(habits.appeals, "appeal", account.id)
        now = world.now()
        ban = Ban(
            id=world.new_id("ban"),
            saved_account_id=account.id,
            bundle_id=account.bundle_id,
            username=account.username,
            platform=account.platform,
            status="appeal_pending" if appeal else "no_appeal_banned",
            reason=reason or world.random("ban reason", account.id).choice(_REASONS),
            reported_at=now,
            updated_at=now,
        )
        world.put(ban)
        if not appeal:
            self._validate(ban)
            return ban
        self._emit("account.ban_appeal.submitted", ban)
        for bundle in world.bundles_of(account.id):
            self._attend(bundle)
        pause = self._office.draw(habits.appeal_takes, "appeal takes", ban.id)
        world.at(now + pause, "decide_appeal", ban_id=ban.id)
        return ban

    def ban_some(
        self, country: str, count: int, *, platform: str | None = None, appeal: bool | None = None
    ) -> list[Ban]:
        """A wave: ban up to `count` accounts of a country (ISO 3166 alpha-2 or the vendor's code), the oldest first."""
        code = COUNTRY_CODES.get(country, country)
        bans: list[Ban] = []
        for account in list(self._world.all(SavedAccount)):
            if len(bans) == count:
                break
            if account.country == code and platform in (None, account.platform):
                ban = self.ban(account, appeal=appeal)
                if ban is not None:
                    bans.append(ban)
        return bans

    def _ban(self, saved_account_id: str) -> None:
        account = self._world.get(SavedAccount, saved_account_id)
        if not account.detached:
            self.ban(account)

    def _decide(self, ban_id: str) -> None:
        ban = self._world.get(Ban, ban_id)
        if ban.status != "appeal_pending":
            return
        if not self._office.happens(self._office.habits.appeals_won, "appeal won", ban.id):
            ban.status = "appeal_refused"
            if self._office.habits.refusal_is_resolved:
                self._emit("account.ban_appeal.resolved", ban)
            self._validate(ban)
            return
        self._decided(ban, "appeal_accepted")
        self._emit("account.ban_appeal.resolved", ban)
        for bundle in self._world.bundles_of(ban.saved_account_id):
            self._attend(bundle)

    def _decided(self, ban: Ban, status: str) -> None:
        ban.status = status
        ban.decided_at = ban.updated_at = self._world.now()
        self._world.put(ban)

    def _validate(self, ban: Ban) -> None:
        world = self._world
        account = world.get(SavedAccount, ban.saved_account_id)
        self._decided(ban, ban.status)
        account.banned = True
        account.banned_at = world.now()
        world.put(account)
        bundles = world.bundles_of(account.id)
        self._emit("account.banned", ban)
        for bundle in bundles:
            if bundle.id != ban.bundle_id:
                # The article dialect names one bundle an event, and all that work on the account are banned with it.
                article = {"reason": ban.reason}
                self._office.herald.report(News.BANNED, bundle, article=article, only=Dialect.ARTICLE)
        for bundle in bundles:
            self._cancel(bundle)
        pause = self._office.draw(self._office.habits.resolution_takes, "resolution takes", ban.id)
        world.at(world.now() + pause, "resolve_ban", ban_id=ban.id)

    def _cancel(self, bundle: Bundle) -> None:
        if bundle.status in CLOSED_BUNDLES:
            return
        for slot in self._world.slots_of(bundle):
            if slot.status in _UNPOSTED and slot.posted_at is None:
                self._world.move_slot(slot, "cancelled")
        self._world.move_bundle(bundle, "cancelled")

    def _resolve(self, ban_id: str) -> None:
        ban = self._world.get(Ban, ban_id)
        habits = self._office.habits
        chance = self._world.random("resolution", ban.id).random()
        bundle = self._world.find(Bundle, ban.bundle_id)
        # The article dialect has no word for a remade account: nobody could learn of it.
        remakes = habits.remakes if self._office.dialect is Dialect.PUBLIC else 0.0
        if chance < remakes and bundle is not None and self._world.listing_of(bundle) is not None:
            ban.resolution, ban.reason_code = "remake", "cover_active"
        elif chance < remakes + habits.refunds:
            ban.resolution, ban.reason_code = "refund", "cover_active"
            ban.refund_credits = self._world.parameters.prices.account_creation
        else:
            ban.resolution, ban.reason_code = "no_remake", "tos_ban"
        ban.resolved_at = ban.updated_at = self._world.now()
        self._world.put(ban)
        self._emit(
            "account.ban_resolution.decided",
            ban,
            resolution=ban.resolution,
            reason_code=ban.reason_code,
            refund_credits=ban.refund_credits,
        )
        if ban.resolution == "refund":
            self._world.charge(-ban.refund_credits, "restoreCredits", saved_account_id=ban.saved_account_id)
            self._emit("credits.restored", ban, credits=ban.refund_credits)
        elif ban.resolution == "remake" and bundle is not None:
            self._remake(bundle)

    def _remake(self, bundle: Bundle) -> None:
        world = self._world
        listing = world.listing_of(bundle)
        if listing is None:
            return
        taken = sum(slot.status == "cancelled" for slot in world.slots_of(bundle))
        account = world.deliver_account(
            bundle, f"{listing.username or 'user'}.{world.random('name', bundle.id).randrange(100)}"
        )
        listing.status = "published"
        listing.username = account.username
        world.put(listing)
        world.move_bundle(bundle, "accepted")
        if taken:
            world.add_slots(bundle, taken)
        world.emit(
            "account.remade",
            bundle_id=bundle.id,
            account_id=listing.id,
            saved_account_id=account.id,
            previous_status="banned",
        )
        self._accounts.create(bundle, world.now())

    def _emit(self, type: str, ban: Ban, **data: object) -> None:
        self._world.emit(type, bundle_id=ban.bundle_id, saved_account_id=ban.saved_account_id, ban_id=ban.id, **data)
