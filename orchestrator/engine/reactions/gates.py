"""Why a command has to wait. What waits is judged again whenever something changes that it waits for."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import msgspec

from orchestrator.desk import SERVICE, BundleEntry, VideoEntry
from orchestrator.engine.turn import Turn
from orchestrator.outbox import Command
from orchestrator.policies.placement import why_not_postable
from orchestrator.policies.recovery import INSUFFICIENT_CREDITS

OBSERVE, LIVE, SANDBOX = "observe", "live", "sandbox"
SENDING = (LIVE, SANDBOX)
WARMING_TERM_PRICE = 5
"""Credits for each search term of advanced warming, by the vendor's price list."""
SLOT_PRICE = 2
"""Credits for each further slot for a video, by the vendor's price list."""


def sending(turn: Turn) -> str | None:
    """Why nothing at all is sent to TokPortal now."""
    service = turn.desk.service()
    if service.paused is not None:
        return service.paused
    return None if service.mode in SENDING else "observe mode: nothing is sent to TokPortal"


def reading(turn: Turn) -> str | None:
    """Why TokPortal is not even asked anything now."""
    service = turn.desk.service()
    if service.paused is not None:
        return service.paused
    return None if service.reads else "there is no key with which TokPortal can be read"


def only_asks(command: Command) -> bool:
    """Whether an answer that was lost leaves nothing in doubt: the question is put again as the policy says."""
    return command.kind in ("look_up_slot", "read_metrics")


def free(turn: Turn, command: Command) -> str | None:
    """Why a command that costs nothing, and does not wait for its video, is not sent now."""
    return reading(turn) if command.changes_nothing else sending(turn)


def handover(turn: Turn, entry: VideoEntry) -> str | None:
    """Why a video is not handed to the account of its live attempt now."""
    if entry.held:
        return "the video is held"
    rejected = turn.desk.rejected(entry.campaign_id, entry.ref)
    if rejected is not None and not entry.cleared:
        return rejected
    campaign = turn.desk.campaign(entry.campaign_id)
    if campaign is not None and campaign.status in ("paused", "cancelled"):
        return f"the campaign {campaign.name} is {campaign.status}"
    market = turn.desk.market(entry.country, entry.platform)
    if market.closed_by is not None:
        return market.closed_by
    bundle = turn.desk.bundle(entry.bundle_id) if entry.bundle_id is not None else None
    if bundle is None or turn.policies is None:
        return "the account is not known"
    if entry.slotless:
        lack = "has no free slot" if bundle.slots_code is None else f"takes no videos now: {bundle.slots_code}"
        return f"{bundle.bundle_id} {lack}"
    broke = turn.desk.service().no_credits
    if broke is not None and entry.refused == INSUFFICIENT_CREDITS:
        return broke
    why = why_not_postable(bundle.state, bundle.warmed, bundle.holds, turn.policies.at(entry.country, entry.platform))
    if why is not None:
        return f"the account: {why}"
    return sending(turn)


def warming(
    turn: Turn, entry: BundleEntry, command_id: str, mode: str, terms: int, price: int | None = None
) -> str | None:
    """Why the warming of an account is not started now. `price`: what TokPortal said that it costs, if it did."""
    if entry.holds:
        return f"the account is {entry.holds[0].replace('_', ' ')}"
    if not entry.delivered:
        return "TokPortal can warm the account once it is ready"
    if mode == "advanced" and not terms:
        return "advanced warming needs search terms: set warming.terms in the policies"
    if price is None:
        price = WARMING_TERM_PRICE * terms
    return paying(turn, entry, command_id, price, "warming") or sending(turn)


def slots(turn: Turn, entry: BundleEntry, command_id: str, price: int, quantity: int) -> str | None:
    """Why no slots are bought for a bundle now."""
    if entry.holds:
        return f"the account is {entry.holds[0].replace('_', ' ')}"
    if entry.state in ("banned", "failed"):
        return f"the account is {entry.state}"
    what = "1 more slot" if quantity == 1 else f"having {quantity} more slots"
    return paying(turn, entry, command_id, price, what) or sending(turn)


def paying(turn: Turn, entry: BundleEntry, command_id: str, price: int, what: str) -> str | None:
    """Why a command for `what` that costs credits is not sent: TokPortal has none left, or an admin is to approve it
    first. A day's budget is one for the whole house, whatever the market: to count less would spend more than anybody
    allowed."""
    if turn.policies is None or not price:
        return None
    broke = turn.desk.service().no_credits
    if broke is not None:
        return broke
    if turn.desk.is_approved(command_id, price):
        return None
    budget = turn.policies.at(entry.country, entry.platform).budget
    spent = sum(other for name, other in _spent_today(turn) if name != command_id)
    about = {"bundle_id": entry.bundle_id, "country": entry.country, "platform": entry.platform}
    if price > budget.approve_above:
        without = f"the policy spends {budget.approve_above} without asking"
        turn.alert(
            "budget", f"{entry.bundle_id}: {what} costs about {price} credits, {without}", once=command_id, **about
        )
        return f"an admin's approval: about {price} credits, and {without}"
    if spent + price > budget.credits_per_day:
        tomorrow = datetime.combine(turn.now.astimezone(UTC).date() + timedelta(days=1), time.min, UTC)
        turn.timer("budget", tomorrow, timer="budget")
        text = f"{spent} of the day's {budget.credits_per_day} credits are spent"
        turn.alert("budget", f"{text}: what costs more waits", once=_today(turn))
        return f"an admin's approval, or the next day: about {price} credits, and {text}"
    return None


def _spent_today(turn: Turn) -> tuple[tuple[str, int], ...]:
    service = turn.desk.service()
    return service.spent if service.spent_on == _today(turn) else ()


def _today(turn: Turn) -> str:
    return turn.now.astimezone(UTC).date().isoformat()


def spend(turn: Turn, command_id: str, price: int) -> None:
    """A command that costs credits was let go."""
    spent = {**dict(_spent_today(turn)), command_id: price}
    _note_spent(turn, spent)


def correct(turn: Turn, command_id: str, charged: int) -> None:
    """TokPortal told what it really took."""
    spent = dict(_spent_today(turn))
    if command_id in spent:
        _note_spent(turn, {**spent, command_id: charged})


def give_back(turn: Turn, command_id: str) -> None:
    """It was let go and came to nothing."""
    spent = dict(_spent_today(turn))
    if spent.pop(command_id, None) is not None:
        _note_spent(turn, spent)


def _note_spent(turn: Turn, spent: dict[str, int]) -> None:
    entry = msgspec.structs.replace(turn.desk.service(), spent_on=_today(turn), spent=tuple(spent.items()))
    turn.desk.put("service", SERVICE, entry)
