"""A campaign: which content people want on which accounts, and how far it got."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.domain.aggregate import Registered, Remembering
from orchestrator.domain.decisions import Step
from orchestrator.domain.facts import DomainEvent

STATUSES = ("draft", "running", "paused", "completed", "cancelled")

STATUS = {
    "CampaignDrafted": "draft",
    "CampaignStarted": "running",
    "CampaignPaused": "paused",
    "CampaignResumed": "running",
    "CampaignCompleted": "completed",
    "CampaignCancelled": "cancelled",
}
"""The status that an event puts its campaign in."""

MOVES = {
    "start": frozenset({"draft"}),
    "pause": frozenset({"running"}),
    "resume": frozenset({"paused"}),
    "cancel": frozenset({"draft", "running", "paused"}),
}
"""What people may order, and from which status."""


class Campaign(Remembering):
    TOPIC = "Campaign"

    class Event(DomainEvent):
        TOPIC = "Campaign.Event"

    @dataclass(frozen=True)
    class CampaignRegistered(Registered):
        TOPIC = "CampaignRegistered"
        campaign_id: str

    def __init__(self, campaign_id: str) -> None:
        super().__init__()
        self.campaign_id = campaign_id
        self.status: str | None = None
        self.spec: Mapping[str, Any] = {}
        self.contents: Mapping[str, Mapping[str, Any]] = {}
        """What is to be posted, by its `ref`."""
        self.plan: Mapping[str, Mapping[str, str]] = {}
        """The placements that people were shown, by video."""
        self.existing: Mapping[str, int] = {}
        """How many accounts each market had when the campaign was started."""

    def take(self, step: Step) -> None:
        self.status = STATUS.get(step.name, self.status)
        if step.name == "CampaignDrafted":
            self.spec = step.detail["spec"]
            self.contents = {video["ref"]: video for video in self.spec["videos"]}
            self.plan = {item["video_id"]: item for item in step.detail["plan"]}
        elif step.name == "CampaignStarted":
            self.existing = step.detail["existing"]

    @staticmethod
    def key(campaign_id: str) -> str:
        """The aggregate's id in the log."""
        return f"campaign:{campaign_id}"

    @classmethod
    def register(cls, campaign_id: str, *, message_id: str, now: datetime) -> Campaign:
        return cls._create(
            cls.CampaignRegistered,
            id=cls.key(campaign_id),
            timestamp=now,
            message_id=message_id,
            campaign_id=campaign_id,
        )
