"""The managed subscription of a delivered account: what it is worth at a moment, and what it takes to go on."""

from __future__ import annotations

from typing import Final

from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.model import DAY, Bundle, Coverage, SavedAccount
from orchestrator.sandbox.world import World

_STOPPED: Final = frozenset({"cancelled", "ended"})


def status_of(coverage: Coverage, now: int) -> tuple[str, bool]:
    """The effective status, and whether managers take tasks: both flip exactly at `current_period_end`."""
    paid = now < coverage.current_period_end
    if coverage.recorded_status == "ended":
        return "ended", False
    if coverage.recorded_status == "cancelled":
        return "cancelled", paid
    if not paid:
        return "lapsed", False
    return ("active" if coverage.recorded_status == "lapsed" else coverage.recorded_status), True


def quote(world: World, coverage: Coverage) -> int | None:
    """The credits of a reactivation: none while a paid period runs; None where there is nothing to reactivate."""
    status, task_access = status_of(coverage, world.now())
    if status not in {"lapsed", "cancelled"}:
        return None
    return 0 if task_access else world.parameters.prices.coverage


def renew(world: World, coverage: Coverage) -> None:
    """A new period begins, where the old one ended or now, whichever is later. Does not charge."""
    start = max(coverage.current_period_end, world.now())
    coverage.current_period_end = start + world.parameters.coverage_days * DAY
    coverage.recorded_status = "active"
    coverage.lock_version += 1
    world.put(coverage)


def require_tasks(world: World, bundle: Bundle) -> int:
    """See that managers take tasks for the bundle's account, if it is delivered; returns credits that a renewal took.

    Almost every write on a delivered account checks its coverage, and may renew it right before running. An account
    without a record is grandfathered (TokPortal's documentation).

    Raises:
        Refusal: MANAGED_ACCOUNT_TASK_BLOCKED: banned, detached, or not covered.
    """
    account = world.saved_account_of(bundle)
    return 0 if account is None else require_account_tasks(world, account)


def require_account_tasks(world: World, account: SavedAccount) -> int:
    """`require_tasks` for one account."""
    if account.banned or account.detached:
        raise _blocked(account, "banned" if account.banned else "detached")
    coverage = world.find(Coverage, account.id)
    if coverage is None:
        return 0
    status, task_access = status_of(coverage, world.now())
    if task_access:
        return 0
    price = world.parameters.prices.coverage
    if coverage.recorded_status in _STOPPED or not coverage.auto_renew or world.credits < price:
        raise _blocked(account, status)
    world.charge(price, "renewCoverage", saved_account_id=account.id)
    renew(world, coverage)
    world.emit("subscription.renewed", saved_account_id=account.id, credits=price)
    world.changed("coverage.renewed", coverage)
    return price


def _blocked(account: SavedAccount, reason: str) -> Refusal:
    return Refusal(
        409,
        "MANAGED_ACCOUNT_TASK_BLOCKED",
        f"No task can run on account {account.id}: {reason}.",
        saved_account_id=account.id,
        reason=reason,
    )
