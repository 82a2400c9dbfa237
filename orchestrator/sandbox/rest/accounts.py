"""Delivered accounts, and the reports of their bans."""

from __future__ import annotations

from datetime import UTC, datetime

from orchestrator.clock import instant_of
from orchestrator.sandbox.model import Ban, Json, SavedAccount
from orchestrator.sandbox.rest.call import Answer, Call, invalid
from orchestrator.sandbox.rest.views import account_view, ban_view, bundle_view

_BAN_STATUSES = ("appeal_pending", "appeal_accepted", "appeal_refused", "no_appeal_banned")
_RESOLUTIONS = ("pending", "refund", "remake", "no_remake")


def listed(call: Call) -> Answer:
    platform, country, banned = call.choice("platform"), call.choice("country"), call.flag("banned")
    code = call.world.parameters.country_aliases.get(country or "", country)
    rows = [
        account
        for account in call.world.all(SavedAccount)
        if not account.adopted
        and platform in (None, account.platform)
        and code in (None, account.country)
        and banned in (None, account.banned)
    ]
    return call.page(rows, account_view)


def shown(call: Call) -> Answer:
    return Answer(account_view(call.account()))


def bundles(call: Call) -> Answer:
    status = call.choice("status")
    world = call.world
    rows = [bundle for bundle in world.bundles_of(call.account().id) if status in (None, bundle.status)]
    return call.page(rows, lambda bundle: bundle_view(world, bundle))


def bans(call: Call) -> Answer:
    """The only feed with a watermark: `since` compares with `updated_at`, equal included; oldest change first."""
    status = call.choice("status", _BAN_STATUSES)
    resolution = call.choice("resolution", _RESOLUTIONS)
    account_id = call.choice("account_id")
    since = _since(call)
    rows = [
        ban
        for ban in call.world.all(Ban)
        if status in (None, ban.status)
        and resolution in (None, ban.resolution)
        and account_id in (None, ban.saved_account_id)
        and (since is None or instant_of(ban.updated_at) >= since)
    ]
    shots: Json = {"screenshots": []} if call.flag("include_screenshots") else {}
    rows.sort(key=lambda ban: ban.updated_at)
    return call.page(rows, lambda ban: {**ban_view(ban), **shots})


def _since(call: Call) -> datetime | None:
    text = call.choice("since")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"since must be an ISO 8601 time, not {text!r}", field="since") from None
    # A "+" that was not escaped arrives as a blank and fails above; a time without an offset is UTC.
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
