"""The slots of bundles: how many there are, and more of them where videos wait for nothing else."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from orchestrator.desk import Place
from orchestrator.domain.decisions import SlotsOrdered
from orchestrator.domain.video import Video
from orchestrator.engine.reactions import bundles, gates, placing
from orchestrator.engine.reactions.attempts import plan_of
from orchestrator.engine.turn import Turn, command_id
from orchestrator.outbox import Command
from orchestrator.policies import recovery
from orchestrator.policies.placement import Market

MOST_AT_ONCE = 10
"""Slots of one order: they cost credits, and nobody gives those back."""
AT_MOST_EVERY = timedelta(hours=1)
AFTER_TROUBLE = timedelta(days=1)
"""How long after an order the next one is given for the same bundle."""
CONSIDERED = 100
"""Videos that wait in a market, of those that are looked at for one round of orders."""
UNDER_WAY = frozenset({"pending", "held", "running", "unknown"})


# How many there are.


def of_report(turn: Turn, command: Command, report: dict[str, Any]) -> None:
    """What TokPortal's answer to a command says of slots, if it does. Those of a bundle that takes no videos are no
    use."""
    told = report["data"].get("slots")
    if told is None or report["code"] == recovery.INVALID_STATUS:
        return
    bundle_id = str(told.get("bundle_id") or command.bundle_id)
    bundles.count_slots(turn, bundle_id, told["total"], told["free"], datetime.fromisoformat(report["answered_at"]))


# More of them.


def order(turn: Turn, place: Place) -> None:
    """Orders slots for the accounts that would take the videos which wait, and lack nothing else."""
    if turn.policies is None or turn.desk.market(*place).closed_by is not None:
        return
    names = turn.desk.waiting_at(place)[:CONSIDERED]
    turn.load(Video.key(name) for name in names)
    market = placing.new_market(turn, place, without_slots=True)
    wanted = Counter(found for name in names if (found := _account_for(turn, turn.video(name), market)) is not None)
    for bundle_id, number in sorted(wanted.items()):
        _order(turn, bundle_id, min(number, MOST_AT_ONCE))


def _account_for(turn: Turn, video: Video, market: Market) -> str | None:
    """The bundle that takes the video if only it has a slot for it."""
    plan = plan_of(video)
    campaign = turn.desk.campaign(plan.wish["campaign_id"])
    if plan.held is not None or plan.posts or (campaign is not None and campaign.status != "running"):
        return None
    entry = turn.desk.video(video.video_id)
    if entry is not None and entry.slotless:
        return entry.bundle_id
    if plan.end != "waiting" or placing.choose(turn, video, plan).bundle_id is not None:
        return None
    if placing.why_not_moved(turn, plan) is not None:
        return None
    return placing.choose(turn, video, plan, market=market).bundle_id


def _order(turn: Turn, bundle_id: str, quantity: int) -> None:
    entry = turn.desk.bundle(bundle_id)
    bundle = turn.bundle(bundle_id)
    orders = [step for step in bundle.steps if step.name == "SlotsOrdered"]
    if entry is None or entry.slots_code is not None or entry.slots_total is None:
        # Slots would not help; or, if the answer got lost, nobody could tell whether they were bought.
        return
    if orders and _is_too_early(turn, orders[-1].detail["command_id"], orders[-1].at):
        return
    name = command_id("slots", bundle_id, len(orders) + 1)
    waiting = "1 video waits" if quantity == 1 else f"{quantity} videos wait"
    turn.record(
        bundle,
        SlotsOrdered,
        reason=f"{waiting} for a slot on {bundle_id}, and no other account has room",
        number=len(orders) + 1,
        quantity=quantity,
        had=entry.slots_total,
        command_id=name,
    )
    price = gates.SLOT_PRICE * quantity
    turn.command(
        "add_slots",
        name,
        {"bundle_id": bundle_id, "quantity": quantity, "had": entry.slots_total},
        held=gates.slots(turn, entry, name, price, quantity),
        price=price,
        bundle_id=bundle_id,
        country=entry.country,
        platform=entry.platform,
    )


def _is_too_early(turn: Turn, last: str, at: datetime) -> bool:
    """Whether the last order is still under way, or was given only lately: what it brought may be told late."""
    command = turn.commands([last]).get(last)
    if command is not None and command.status in UNDER_WAY:
        return True
    is_done = command is not None and command.status == "done"
    return turn.now < at + (AT_MOST_EVERY if is_done else AFTER_TROUBLE)


def why_not_sent(turn: Turn, command: Command) -> tuple[str | None, bool]:
    """Why the order is not sent now, and whether anybody still wants it."""
    entry = turn.desk.bundle(str(command.bundle_id))
    if entry is None or entry.place is None:
        return "the account is not known", True
    is_wanted = bool(turn.desk.waiting_at(entry.place))
    price = command.price or gates.SLOT_PRICE * command.body["quantity"]
    return gates.slots(turn, entry, command.command_id, price, command.body["quantity"]), is_wanted


def added(turn: Turn, command: Command, report: dict[str, Any]) -> None:
    """TokPortal added slots. Where it does not say how many there are now, they are those that were ordered."""
    entry = turn.desk.bundle(str(command.bundle_id))
    if entry is None or report["data"].get("slots") is not None:
        return
    more = command.body["quantity"]
    total = entry.slots_total + more if entry.slots_total is not None else None
    at = datetime.fromisoformat(report["answered_at"])
    bundles.count_slots(turn, entry.bundle_id, total, (entry.slots_free or 0) + more, at)
