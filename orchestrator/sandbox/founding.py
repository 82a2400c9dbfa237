"""Accounts that are there from the beginning, or on request: nobody pays for them, and they have a past."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from orchestrator.sandbox.managers import Managers
from orchestrator.sandbox.model import DAY, Bundle, Listing, SavedAccount, WarmingSession, WarmingTerm
from orchestrator.sandbox.parameters import Parameters
from orchestrator.sandbox.world import World

State = Literal["bought", "published", "ready", "warming", "warm"]

_STEPS: Final[dict[State, tuple[str, ...]]] = {
    "bought": ("buy",),
    "published": ("buy", "publish"),
    "ready": ("buy", "accept", "deliver", "finalize", "expose"),
    "warming": ("buy", "accept", "deliver", "finalize", "warm", "expose"),
    "warm": ("buy", "accept", "deliver", "finalize", "warm", "complete", "expose"),
}
PLATFORMS: Final = ("tiktok", "instagram")
TERMS: Final = ("street food", "city walks", "home cooking")


class Founding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some accounts of one country."""

    country: str
    """The vendor's code, or an alias of it."""
    platform: str = "tiktok"
    count: int = 1
    state: State = "ready"
    """`bought`: not published yet; `published`: managers make the account; `ready`: delivered and final, not warmed;
    `warming`: in the middle of it; `warm`: has been warmed."""
    slots: int = 30
    username: str | None = None
    """With more than one account a number follows."""
    external_ref: str | None = None
    """With more than one account a number follows."""
    auto_finalize_videos: bool = True
    warming_targets: int = 3
    """Bought with the account; in the states up to `ready` they wait for their terms."""
    age_days: float = 14.0
    """How long ago the account was bought."""
    ban_after_days: float | None = None
    """When the platform bans the first of the accounts, from now on and without an appeal; none: chance decides."""

    def __post_init__(self) -> None:
        if self.platform not in PLATFORMS:
            raise ValueError(f"platform must be one of {', '.join(PLATFORMS)}, not {self.platform!r}")
        if self.count < 1 or self.slots < 0 or self.age_days < 0 or (self.ban_after_days or 0) < 0:
            raise ValueError("count must be at least 1; slots, age_days and ban_after_days not below 0")
        if self.warming_targets % 3 or not 0 <= self.warming_targets <= 30:
            raise ValueError("warming_targets must be a multiple of 3 from 0 to 30")

    def check(self, parameters: Parameters) -> None:
        """Raises ValueError for a country that this TokPortal does not know."""
        if parameters.country_aliases.get(self.country, self.country) not in parameters.countries:
            raise ValueError(f"country {self.country!r} is none of {', '.join(sorted(parameters.countries))}")


class Founder:
    """Gives accounts their past: each step takes place, and is reported, at a moment of its own before now."""

    def __init__(self, world: World, managers: Managers) -> None:
        self._world = world
        self._managers = managers
        world.on("found", self._step)

    def found(self, founding: Founding) -> list[str]:
        """Plan the accounts, and say which bundles they are in; the next `World.run_due` brings them about.

        Raises ValueError as `Founding.check` does.
        """
        founding.check(self._world.parameters)
        ids: list[str] = []
        for _ in range(founding.count):
            bundle_id = self._world.new_id("bundle")
            ids.append(bundle_id)
            self._plan(founding, bundle_id, self._world.count(f"founded {founding.country}"))
        if founding.ban_after_days is not None:
            at = self._world.now() + int(founding.ban_after_days * DAY)
            self._world.at(at, "found", bundle_id=ids[0], step="ban")
        return ids

    def _plan(self, founding: Founding, bundle_id: str, number: int) -> None:
        now = self._world.now()
        steps = _STEPS[founding.state]
        age = int(founding.age_days * DAY)
        for index, step in enumerate(steps):
            at = now - age + age * index // max(len(steps) - 1, 1)
            details: dict[str, Any] = {"founding": msgspec.to_builtins(founding), "number": number}
            self._world.at(at, "found", bundle_id=bundle_id, step=step, **(details if step == "buy" else {}))

    def _step(self, bundle_id: str, step: str, founding: Any = None, number: int = 0) -> None:
        if step == "buy":
            self._buy(bundle_id, msgspec.convert(founding, Founding), number)
            return
        bundle = self._world.get(Bundle, bundle_id)
        listing = self._world.get(Listing, bundle.account_id or "")
        {
            "publish": self._publish,
            "accept": self._accept,
            "deliver": self._deliver,
            "finalize": self._finalize,
            "warm": self._warm,
            "complete": self._complete,
            "expose": self._expose,
            "ban": self._ban,
        }[step](bundle, listing)

    def _buy(self, bundle_id: str, founding: Founding, number: int) -> None:
        world = self._world
        code = world.parameters.country_aliases.get(founding.country, founding.country)
        now = world.now()
        suffix = "" if founding.count == 1 else f"-{number}"
        username = founding.username or f"acme.{code.lower()}"
        listing = Listing(
            id=world.new_id("account"),
            bundle_id=bundle_id,
            status="configured",
            username=f"{username}{suffix.replace('-', '.') or ('' if founding.username else f'.{number}')}",
            visible_name=f"Acme {code}",
        )
        bundle = Bundle(
            id=bundle_id,
            title=f"{founding.platform} {code} {number}",
            bundle_type="account_and_videos" if founding.slots else "account_only",
            platform=founding.platform,
            country=code,
            status=world.parameters.initial_bundle_status,
            external_ref=f"{founding.external_ref}{suffix}" if founding.external_ref else None,
            account_id=listing.id,
            auto_finalize_videos=founding.auto_finalize_videos,
            warming_targets=founding.warming_targets,
            created_at=now,
            updated_at=now,
        )
        world.put(listing)
        world.put(bundle)
        world.add_slots(bundle, founding.slots)
        if founding.warming_targets:
            world.put(
                WarmingSession(
                    id=world.new_id("warming_session"),
                    bundle_id=bundle.id,
                    saved_account_id=None,
                    targets=founding.warming_targets,
                    bought_with_bundle=True,
                    created_at=now,
                )
            )
        world.emit("bundle.created", bundle_id=bundle.id, account_id=listing.id)

    def _publish(self, bundle: Bundle, listing: Listing) -> None:
        self._offer(bundle, listing)
        self._managers.accounts.offered(bundle)

    def _offer(self, bundle: Bundle, listing: Listing) -> None:
        self._world.move_bundle(bundle, "published")
        self._world.move_listing(listing, "published")

    def _accept(self, bundle: Bundle, listing: Listing) -> None:
        self._offer(bundle, listing)
        self._world.move_bundle(bundle, "accepted")

    def _deliver(self, bundle: Bundle, listing: Listing) -> None:
        self._world.deliver_account(bundle, listing.username or bundle.id)
        self._world.move_listing(listing, "in_review")

    def _finalize(self, bundle: Bundle, listing: Listing) -> None:
        with self._managers.sheltering():
            self._world.move_listing(listing, "finalized")

    def _warm(self, bundle: Bundle, listing: Listing) -> None:
        session = self._session(bundle)
        if session is None:
            return
        session.terms = [WarmingTerm(term=_term(number)) for number in range(session.targets)]
        bundle.warming_terms = [term.term for term in session.terms]
        self._world.put(bundle)
        self._world.start_session(session, bundle.saved_account_id or "")

    def _complete(self, bundle: Bundle, listing: Listing) -> None:
        session = self._session(bundle)
        if session is not None:
            self._managers.warming.complete(session)

    def _expose(self, bundle: Bundle, listing: Listing) -> None:
        """From here on the account has the fate of all others; its past was a safe one."""
        account = self._world.saved_account_of(bundle)
        if account is not None:
            self._managers.bans.expose(account)
        session = self._session(bundle)
        if session is not None and session.status == "active":
            self._managers.warming.started(session)

    def _ban(self, bundle: Bundle, listing: Listing) -> None:
        account = self._world.saved_account_of(bundle)
        if account is not None:
            self._managers.bans.ban(account, appeal=False)

    def _session(self, bundle: Bundle) -> WarmingSession | None:
        account = self._world.find(SavedAccount, bundle.saved_account_id)
        sessions = self._world.sessions_of(account.id) if account is not None else []
        return next((session for session in sessions if session.status in ("pending", "active")), None)


def _term(number: int) -> str:
    return TERMS[number] if number < len(TERMS) else f"{TERMS[number % len(TERMS)]} {number // len(TERMS) + 1}"
