"""What every account manager works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestrator.sandbox.coverage import status_of
from orchestrator.sandbox.habits import Managing, Span
from orchestrator.sandbox.herald import Herald
from orchestrator.sandbox.model import Ban, Bundle, Coverage
from orchestrator.sandbox.world import World
from orchestrator.simulate.dialect import Dialect

SECOND: Final = 1_000_000

_WORKED_ON: Final = frozenset({"accepted", "completed"})


@dataclass(frozen=True)
class Office:
    """The world, how managers behave in it, and whom they tell."""

    world: World
    herald: Herald
    ask_habits: Callable[[], Managing]

    @property
    def habits(self) -> Managing:
        return self.ask_habits()

    @property
    def dialect(self) -> Dialect:
        """Which dialect the world speaks, where that decides what happens at all."""
        return Dialect(self.world.parameters.webhook_dialect)

    def draw(self, span: Span, *subject: object) -> int:
        """How long something takes, in microseconds; the same for the same subject."""
        shortest, longest = span
        return int((shortest + self.world.random(*subject).random() * (longest - shortest)) * SECOND)

    def happens(self, share: float, *subject: object) -> bool:
        """Whether something of this share happens; the same for the same subject."""
        return self.world.random(*subject).random() < share

    def ready_since(self, bundle: Bundle) -> int | None:
        """Since when the account of a bundle can post; None if it cannot (not delivered, banned, under appeal, not
        covered, or nobody works on the bundle)."""
        world = self.world
        if bundle.adopted or bundle.status not in _WORKED_ON or bundle.accepted_at is None:
            return None
        account = world.saved_account_of(bundle)
        if account is None or account.banned or account.detached or self.appeal_of(account.id) is not None:
            return None
        coverage = world.find(Coverage, account.id)
        if coverage is not None and not status_of(coverage, world.now())[1]:
            return None
        listing = world.listing_of(bundle)
        if listing is None:
            return bundle.accepted_at
        return listing.finalized_at if listing.status == "finalized" else None

    def appeal_of(self, saved_account_id: str) -> Ban | None:
        """The ban of this account whose appeal is not decided yet."""
        return next((ban for ban in self.world.bans_of(saved_account_id) if ban.status == "appeal_pending"), None)
