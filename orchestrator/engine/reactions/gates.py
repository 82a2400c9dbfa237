"""Why a command has to wait. What waits is judged again whenever something changes that it waits for."""

from __future__ import annotations

from orchestrator.desk import BundleEntry, VideoEntry
from orchestrator.engine.turn import Turn
from orchestrator.policies.placement import why_not_postable

OBSERVE, LIVE, SANDBOX = "observe", "live", "sandbox"
WARMING_TERM_PRICE = 5
"""Credits for each search term of advanced warming, by the vendor's price list."""


def sending(turn: Turn) -> str | None:
    """Why nothing at all is sent to TokPortal now."""
    service = turn.desk.service()
    if service.paused is not None:
        return service.paused
    if service.mode == SANDBOX:
        return None
    if service.mode == LIVE:
        return "this version does not send to TokPortal yet"
    return "observe mode: nothing is sent to TokPortal"


def handover(turn: Turn, entry: VideoEntry) -> str | None:
    """Why a video is not handed to the account of its live attempt now."""
    if entry.held:
        return "the video is held"
    campaign = turn.desk.campaign(entry.campaign_id)
    if campaign is not None and campaign.status == "paused":
        return f"the campaign {campaign.name} is paused"
    market = turn.desk.market(entry.country, entry.platform)
    if market.closed_by is not None:
        return market.closed_by
    bundle = turn.desk.bundle(entry.bundle_id) if entry.bundle_id is not None else None
    if bundle is None or turn.policies is None:
        return "the account is not known"
    why = why_not_postable(bundle.state, bundle.warmed, bundle.holds, turn.policies.at(entry.country, entry.platform))
    if why is not None:
        return f"the account: {why}"
    return sending(turn)


def warming(turn: Turn, entry: BundleEntry, command_id: str, mode: str, terms: int) -> str | None:
    """Why the warming of an account is not started now."""
    if entry.holds:
        return f"the account is {entry.holds[0].replace('_', ' ')}"
    if not entry.delivered:
        return "TokPortal can warm the account once it is ready"
    if mode == "advanced" and not terms:
        return "advanced warming needs search terms: set warming.terms in the policies"
    if turn.policies is not None:
        price = WARMING_TERM_PRICE * terms
        limit = turn.policies.at(entry.country, entry.platform).budget.approve_above
        if price > limit and not turn.desk.is_approved(command_id):
            return f"an admin's approval: about {price} credits, and the policy spends {limit} without asking"
    return sending(turn)
