"""Advanced warming: the terms that were bought, warming once more, and how sessions fare."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from orchestrator.sandbox.coverage import require_account_tasks, require_tasks
from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.model import CLOSED_BUNDLES, Bundle, SavedAccount, WarmingSession, WarmingTerm
from orchestrator.sandbox.rest.bundles import require_open
from orchestrator.sandbox.rest.call import Answer, Call, invalid
from orchestrator.sandbox.rest.reference import PLATFORMS
from orchestrator.sandbox.rest.terms import check_platform, check_terms
from orchestrator.sandbox.rest.views import session_view

_RUNNING = frozenset({"pending", "active"})


class _Terms(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    advanced_warming_terms: list[str]


class _Rewarm(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    search_terms: list[str]


class _Idea(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    text: Annotated[str, Meta(min_length=1, max_length=5000)]
    platform: str = "tiktok"
    count: Annotated[int, Meta(ge=1, le=30)] = 3


def set_terms(call: Call) -> Answer:
    """Word the terms that a bundle was bought with: exactly that many, once."""
    world, bundle = call.world, call.bundle()
    wanted = call.read(_Terms)
    require_open(bundle)
    terms = check_terms(world, wanted.advanced_warming_terms)
    session = _bought(call, bundle, len(terms))
    if session.terms:
        raise Refusal(409, "WARMING_TERMS_ALREADY_SET", "The terms of this bundle are set, and cannot be changed.")
    if len(terms) != session.targets:
        raise Refusal(
            400,
            "ADVANCED_WARMING_COUNT_MISMATCH",
            f"{session.targets} terms were bought, and {len(terms)} are given.",
            expected=session.targets,
            received=len(terms),
        )
    call.charged += require_tasks(world, bundle)
    session.terms = [WarmingTerm(term=term) for term in terms]
    bundle.warming_terms = terms
    world.put(session)
    world.put(bundle)
    if bundle.saved_account_id is not None and session.status == "pending":
        world.start_session(session, bundle.saved_account_id)
    world.changed("bundle.warming_terms_set", bundle)
    call.took_effect(bundle_id=bundle.id)
    return Answer(session_view(session))


def rewarm(call: Call) -> Answer:
    """Warm a delivered account once more; paid, and begins at once."""
    world, account = call.world, call.account()
    wanted = call.read(_Rewarm)
    check_platform(world, account.platform)
    terms = check_terms(world, wanted.search_terms)
    order = _support_order(call, account)
    if any(session.status in _RUNNING for session in world.sessions_of(account.id)):
        raise Refusal(409, "REWARM_ALREADY_ACTIVE", f"Account {account.id} is being warmed.")
    call.charged += require_account_tasks(world, account)
    price = len(terms) * world.parameters.prices.advanced_warming
    call.charge(price, saved_account_id=account.id)
    session = WarmingSession(
        id=world.new_id("warming_session"),
        bundle_id=None if order is None else order.id,
        saved_account_id=account.id,
        targets=len(terms),
        terms=[WarmingTerm(term=term) for term in terms],
        created_at=world.now(),
    )
    world.start_session(session, account.id)
    world.changed("warming.started", session)
    call.took_effect(saved_account_id=account.id, bundle_id=session.bundle_id, credits=price)
    return Answer(session_view(session), call.money(), status=201)


def sessions(call: Call) -> Answer:
    return Answer([session_view(session) for session in call.world.sessions_of(call.account().id)])


def session(call: Call) -> Answer:
    found = call.world.find(WarmingSession, call.path["id"])
    if found is None:
        raise Refusal(404, "WARMING_SESSION_NOT_FOUND", f"There is no warming session {call.path['id']}.")
    return Answer(session_view(found))


def generate_terms(call: Call) -> Answer:
    """Terms out of a description; free. The sandbox takes its words in order."""
    idea = call.read(_Idea)
    if idea.platform not in PLATFORMS:
        raise invalid(f"platform must be one of {', '.join(PLATFORMS)}", field="platform")
    words = list(dict.fromkeys(word.casefold().strip(".,;:!?") for word in idea.text.split()))
    words = [word for word in words if len(word) > 1] or ["ideas"]
    terms = [
        f"{words[n % len(words)]} {n // len(words) + 1}" if n >= len(words) else words[n] for n in range(idea.count)
    ]
    return Answer({"terms": [term[:50] for term in terms]})


def _bought(call: Call, bundle: Bundle, count: int) -> WarmingSession:
    world = call.world
    found = world.warming_of(bundle)
    if found is not None:
        return found
    if not bundle.adopted:
        raise Refusal(409, "WARMING_CONFLICT", f"Bundle {bundle.id} was bought without warming.")
    session = WarmingSession(
        id=world.new_id("warming_session"),
        bundle_id=bundle.id,
        saved_account_id=bundle.saved_account_id,
        bought_with_bundle=True,
        targets=count,
        created_at=bundle.created_at,
    )
    bundle.warming_targets = count
    world.put(session)
    return session


def _support_order(call: Call, account: SavedAccount) -> Bundle | None:
    """The account's latest order that is not cancelled: rewarming needs one."""
    orders = [bundle for bundle in call.world.bundles_of(account.id) if bundle.status not in CLOSED_BUNDLES]
    if not orders and not account.adopted:
        raise Refusal(409, "REWARM_NO_ACTIVE_ORDER", f"Account {account.id} has no order that is not cancelled.")
    return orders[-1] if orders else None
