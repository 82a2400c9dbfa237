"""Who one is, where and on what TokPortal sells, for how much, and what is in the purse."""

from __future__ import annotations

from datetime import date, datetime

from orchestrator.clock import instant_of
from orchestrator.sandbox.model import CreditEntry
from orchestrator.sandbox.rest.call import Answer, Call, invalid
from orchestrator.sandbox.rest.views import credit_view

PLATFORMS = {"tiktok": "TikTok", "instagram": "Instagram"}


def me(call: Call) -> Answer:
    return Answer({"id": "usr_sandbox", "email": "sandbox@tokportal.example", "name": "Sandbox", "plan": "sandbox"})


def countries(call: Call) -> Answer:
    parameters = call.world.parameters
    closed = set(parameters.videos_only_countries)
    listed = [{"code": code, "name": name} for code, name in parameters.countries.items() if code not in closed]
    return Answer(listed, {"videos_only_countries": list(parameters.videos_only_countries)})


def platforms(call: Call) -> Answer:
    return Answer([{"id": id, "code": id, "name": name} for id, name in PLATFORMS.items()])


def credit_costs(call: Call) -> Answer:
    prices = call.world.parameters.prices
    costs = {
        "account_creation": prices.account_creation,
        "video_upload": prices.video_upload,
        "video_edit": prices.video_edit,
        "advanced_warming": prices.advanced_warming,
    }
    return Answer({"costs": costs})


def balance(call: Call) -> Answer:
    return Answer({"total_credits": call.world.credits, "expiring_within_7_days": 0})


def history(call: Call) -> Answer:
    first, last = _day(call, "date_from"), _day(call, "date_to")
    entries = [
        entry
        for entry in call.world.all(CreditEntry)
        if (first is None or instant_of(entry.at).date() >= first)
        and (last is None or instant_of(entry.at).date() <= last)
    ]
    return call.page(entries[::-1], credit_view)


def _day(call: Call, name: str) -> date | None:
    text = call.choice(name)
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise invalid(f"{name} must be a date, as 2026-12-01, not {text!r}", field=name) from None
