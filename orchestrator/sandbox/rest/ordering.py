"""Buying bundles: singly and in bulk. Everything is charged here (TokPortal's documentation)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from orchestrator.sandbox.coverage import require_account_tasks
from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.model import Bundle, Json, Listing, SavedAccount, WarmingSession, WarmingTerm
from orchestrator.sandbox.rest.call import Answer, Call, find_account, invalid
from orchestrator.sandbox.rest.quota import Quota
from orchestrator.sandbox.rest.reference import PLATFORMS
from orchestrator.sandbox.rest.terms import check_count, check_platform, check_terms
from orchestrator.sandbox.rest.views import moment, review_mode
from orchestrator.sandbox.world import World

_Quantity = Annotated[int, Meta(ge=0, le=500)]
_Ref = Annotated[str, Meta(min_length=1, max_length=255)]


class _Warming(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    wants_advanced_warming: bool = False
    advanced_warming_terms: list[str] | None = None
    advanced_warming_terms_count: int | None = None
    wants_niche_warming: bool = False
    wants_deep_warming: bool = False
    niche_warming_instructions: str | None = None
    auto_finalize_videos: bool = True
    external_ref: _Ref | None = None


class _Order(_Warming, kw_only=True, forbid_unknown_fields=True):
    bundle_type: Literal["account_only", "account_and_videos", "videos_only"]
    platform: str | None = None
    country: str | None = None
    title: Annotated[str, Meta(max_length=200)] | None = None
    videos_quantity: _Quantity = 0
    edits_quantity: _Quantity = 0
    account_id: str | None = None


class _Bulk(_Warming, kw_only=True, forbid_unknown_fields=True):
    platforms: Annotated[list[str], Meta(min_length=1)]
    country: str
    accounts_count: Annotated[int, Meta(ge=1, le=100)]
    upload_accounts_count: Annotated[int, Meta(ge=0, le=100)] | None = None
    videos_per_account: _Quantity = 0


class Purchase(msgspec.Struct, kw_only=True):
    """One bundle as it will be, checked."""

    bundle: Bundle
    videos: int
    account: SavedAccount | None

    def cost(self, world: World) -> dict[str, int]:
        prices = world.parameters.prices
        breakdown = {
            "account_creation": prices.account_creation if self.account is None else 0,
            "video_slots": self.videos * prices.video_upload,
            "edit_slots": self.bundle.edits_quantity * prices.video_edit,
            "advanced_warming": self.bundle.warming_targets * prices.advanced_warming,
        }
        return {**breakdown, "total": sum(breakdown.values())}


class Ordering:
    def __init__(self, quota: Quota) -> None:
        self._quota = quota

    def create(self, call: Call) -> Answer:
        order = call.read(_Order)
        if (order.bundle_type == "videos_only") != (order.account_id is not None):
            raise invalid("account_id goes with bundle_type videos_only, and only with it", field="account_id")
        if (order.bundle_type == "account_only") != (order.videos_quantity == 0):
            raise invalid(f"videos_quantity {order.videos_quantity} does not fit {order.bundle_type}")
        world = call.world
        if order.account_id is not None:
            if order.wants_advanced_warming:
                raise invalid("a bundle for an existing account has no warming; use rewarm")
            account = find_account(world, order.account_id)
            call.charged += require_account_tasks(world, account)
            platform, country, targets = account.platform, account.country, _Targets(0, [])
        else:
            account = None
            _refuse_duplicate(world, order.external_ref)
            platform, country = _place(world, order.platform, order.country)
            targets = _targets(world, order, platform)
        bundle = Bundle(
            id="",
            title=order.title or f"{platform} {country}",
            bundle_type=order.bundle_type,
            platform=platform,
            country=country,
            external_ref=order.external_ref,
            saved_account_id=order.account_id,
            auto_finalize_videos=order.auto_finalize_videos,
            edits_quantity=order.edits_quantity,
            warming_targets=targets.count,
            warming_terms=targets.terms,
        )
        purchase = Purchase(bundle=bundle, videos=order.videos_quantity, account=account)
        cost = self._buy(call, [purchase])
        return Answer(_created(world, bundle), call.money(cost_breakdown=cost), status=201)

    def create_bulk(self, call: Call) -> Answer:
        """All or nothing: `accounts_count` bundles on each platform, the first `upload_accounts_count` with videos."""
        order = call.read(_Bulk)
        world = call.world
        with_videos = order.accounts_count if order.upload_accounts_count is None else order.upload_accounts_count
        if with_videos > order.accounts_count:
            raise invalid("upload_accounts_count is more than accounts_count", field="upload_accounts_count")
        if len(set(order.platforms)) < len(order.platforms):
            raise invalid("platforms names one twice", field="platforms")
        _refuse_duplicate(world, order.external_ref)
        purchases: list[Purchase] = []
        for platform_name in order.platforms:
            platform, country = _place(world, platform_name, order.country)
            targets = _targets(world, order, platform)
            for number in range(1, order.accounts_count + 1):
                videos = order.videos_per_account if number <= with_videos else 0
                bundle = Bundle(
                    id="",
                    title=f"{platform} {country} {number}",
                    bundle_type="account_and_videos" if videos else "account_only",
                    platform=platform,
                    country=country,
                    external_ref=order.external_ref,
                    auto_finalize_videos=order.auto_finalize_videos,
                    warming_targets=targets.count,
                    warming_terms=list(targets.terms),
                )
                purchases.append(Purchase(bundle=bundle, videos=videos, account=None))
        cost = self._buy(call, purchases)
        bundles = [_created(world, purchase.bundle) for purchase in purchases]
        data = {"bundles": bundles, "bundle_ids": [row["bundle_id"] for row in bundles], "total": len(bundles)}
        return Answer(data, call.money(cost_breakdown=cost), status=201)

    def _buy(self, call: Call, purchases: list[Purchase]) -> dict[str, int]:
        world = call.world
        self._quota.cool_down(len(purchases))
        costs = [purchase.cost(world) for purchase in purchases]
        breakdown = {part: sum(cost[part] for cost in costs) for part in costs[0]}
        call.afford(breakdown["total"], breakdown)
        for purchase, cost in zip(purchases, costs, strict=True):
            bundle = purchase.bundle
            bundle.id = world.new_id("bundle")
            bundle.status = world.parameters.initial_bundle_status
            bundle.created_at = bundle.updated_at = world.now()
            if purchase.account is None:
                bundle.account_id = world.new_id("account")
                world.put(Listing(id=bundle.account_id, bundle_id=bundle.id))
            world.put(bundle)
            world.add_slots(bundle, purchase.videos)
            if bundle.warming_targets:
                _open_session(world, bundle)
            world.charge(cost["total"], call.operation, bundle_id=bundle.id)
            call.charged += cost["total"]
            call.took_effect(bundle_id=bundle.id, external_ref=bundle.external_ref, credits=cost["total"])
            world.emit("bundle.created", bundle_id=bundle.id, account_id=bundle.account_id)
            world.changed("bundle.created", bundle)
        if not call.dry:
            self._quota.spend(len(purchases))
        return breakdown


class _Targets(msgspec.Struct):
    count: int
    terms: list[str]


def _targets(world: World, order: _Warming, platform: str) -> _Targets:
    if order.wants_deep_warming:
        raise Refusal(400, "DEEP_WARMING_DEPRECATED", "Deep warming is sold no more; use advanced warming.")
    terms, count = order.advanced_warming_terms, order.advanced_warming_terms_count
    if not order.wants_advanced_warming:
        if terms or count:
            raise Refusal(
                400, "ADVANCED_WARMING_FLAG_REQUIRED", "Warming terms need wants_advanced_warming to be true."
            )
        return _Targets(0, [])
    check_platform(world, platform)
    if terms:
        if count is not None and count != len(terms):
            raise Refusal(
                400,
                "ADVANCED_WARMING_COUNT_MISMATCH",
                f"advanced_warming_terms_count is {count}, and {len(terms)} terms are given.",
                expected=count,
                received=len(terms),
            )
        return _Targets(len(terms), check_terms(world, terms))
    check_count(count or 0)
    return _Targets(count or 0, [])


def _open_session(world: World, bundle: Bundle) -> None:
    world.put(
        WarmingSession(
            id=world.new_id("warming_session"),
            bundle_id=bundle.id,
            saved_account_id=None,
            bought_with_bundle=True,
            targets=bundle.warming_targets,
            terms=[WarmingTerm(term=term) for term in bundle.warming_terms],
            created_at=world.now(),
        )
    )


def _place(world: World, platform: str | None, country: str | None) -> tuple[str, str]:
    """The platform and the vendor's country code."""
    if platform == "youtube":
        raise Refusal(400, "YOUTUBE_DELAYED", "YouTube is not open yet.")
    if platform not in PLATFORMS:
        raise invalid(f"platform must be one of {', '.join(PLATFORMS)}, not {platform!r}", field="platform")
    if not country:
        raise invalid("country is missing", field="country")
    parameters = world.parameters
    code = parameters.country_aliases.get(country, country)
    if code not in parameters.countries or code in parameters.videos_only_countries:
        raise Refusal(400, "COUNTRY_NOT_ENABLED", f"No accounts are made in {country}.", country=country)
    return platform, code


def _refuse_duplicate(world: World, external_ref: str | None) -> None:
    if external_ref is None or world.parameters.duplicate_refs:
        return
    for bundle in world.bundles_with_ref(external_ref):
        if bundle.account_id is not None:
            raise Refusal(
                409,
                "DUPLICATE_ACCOUNT_BUNDLE",
                f"Bundle {bundle.id} was bought under external_ref {external_ref!r} already.",
                existing_bundle_id=bundle.id,
            )


def _created(world: World, bundle: Bundle) -> Json:
    id = {"id": bundle.id} if world.parameters.create_answers_id else {}
    return {
        **id,
        "bundle_id": bundle.id,
        "bundle_type": bundle.bundle_type,
        "platform": bundle.platform,
        "country": bundle.country,
        "status": bundle.status,
        "account_id": bundle.account_id,
        "external_ref": bundle.external_ref,
        "videos_quantity": bundle.videos_quantity,
        "review_mode": review_mode(bundle),
        "created_at": moment(bundle.created_at),
    }
