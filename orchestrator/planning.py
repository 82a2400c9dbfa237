"""What would become of a campaign if it were started now: read from the desk, nothing is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.campaigns import CampaignSpec
from orchestrator.database import Database
from orchestrator.desk import Desk, Place
from orchestrator.policies.placement import Choice, Market, Wish, plan, wishes
from orchestrator.policies.schema import Policies, parse


@dataclass(frozen=True, slots=True)
class Draft:
    """A calendar: every video with its account and day, what could not be placed and why, and what else to know."""

    found: Sequence[tuple[Wish, Choice]]
    notes: Sequence[str]

    @property
    def wanted(self) -> int:
        return len(self.found)

    def plan(self) -> list[dict[str, Any]]:
        return [
            {
                "video_id": wish.video_id,
                "ref": wish.ref,
                "bundle_id": choice.bundle_id,
                "country": wish.country,
                "platform": wish.platform,
                "target_day": choice.day.isoformat(),
            }
            for wish, choice in self.found
            if choice.day is not None
        ]

    def unmet(self) -> list[dict[str, Any]]:
        return [
            {
                "video_id": wish.video_id,
                "ref": wish.ref,
                "country": wish.country or None,
                "platform": wish.platform or None,
                "reason": choice.reason,
            }
            for wish, choice in self.found
            if choice.day is None
        ]

    def order(self, spec: CampaignSpec) -> dict[str, Any]:
        """The order that makes this a draft."""
        return {
            "command": "campaign.create",
            "spec": spec.to_json(),
            "plan": self.plan(),
            "unmet": self.unmet(),
            "wanted": self.wanted,
        }


def existing_accounts(desk: Desk, policies: Policies, spec: CampaignSpec) -> dict[str, int]:
    """How many accounts of the campaign's group there are in each of its markets, ready or not, but for those that are
    kept free as backups."""
    found: dict[str, int] = {}
    for target in spec.targets:
        if target.country is None or target.platform is None:
            continue
        name = f"{target.country}:{target.platform}"
        if name in found:
            continue
        reserved = policies.reserved(target.country, target.platform)
        accounts = {
            desk.account_of(entry.bundle_id)
            for entry in desk.bundles_at((target.country, target.platform))
            if policies.group_of(entry.bundle_id) == spec.group
            and entry.bundle_id not in reserved
            and entry.state != "banned"
            and "closed" not in entry.holds
        }
        found[name] = len(accounts)
    return found


def wished(
    desk: Desk, spec: CampaignSpec, existing: Mapping[str, int], first: int = 0, last: int | None = None
) -> tuple[Wish, ...]:
    """The videos that the campaign asks for: all, or those from `first` up to `last`."""

    def locate(bundle_id: str) -> Place | None:
        entry = desk.bundle(bundle_id)
        return entry.place if entry is not None else None

    def count(country: str, platform: str, group: str) -> int:
        return existing.get(f"{country}:{platform}", 0)

    return wishes(spec, count, locate, first, last)


def draft(connection: sa.Connection, database: Database, spec: CampaignSpec, now: datetime) -> Draft:
    """The calendar of a campaign that would be started at `now`."""
    desk = Desk(database)
    desk.load(connection)
    policies = parse(desk.service().policies or "")
    existing = existing_accounts(desk, policies, spec)
    markets: dict[Place, Market] = {}

    def market(country: str, platform: str) -> Market:
        if (country, platform) not in markets:
            candidates = [
                desk.candidate(entry, policies.group_of(entry.bundle_id))
                for entry in desk.bundles_at((country, platform))
            ]
            markets[country, platform] = Market(country, platform, candidates, policies, desk.ledger, now)
        return markets[country, platform]

    found = plan(
        wished(desk, spec, existing),
        market,
        desk.ledger,
        lambda country, platform: desk.market(country, platform).closed_by,
    )
    return Draft(found, _notes(spec, existing, desk))


def _notes(spec: CampaignSpec, existing: dict[str, int], desk: Desk) -> list[str]:
    notes = []
    for target in spec.targets:
        there_are = existing.get(f"{target.country}:{target.platform}")
        if target.accounts is not None and there_are is not None and there_are < target.accounts and not target.ref:
            notes.append(
                f"{target.platform} in {target.country}: {target.accounts} accounts are asked for, {there_are} exist"
            )
    if desk.service().policies is None:
        notes.append("no policies are in force yet: the defaults were used, and nothing can be started")
    return [note for note, _ in Counter(notes).items()]
