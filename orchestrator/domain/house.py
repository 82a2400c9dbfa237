"""What stands above single accounts and videos: a market (one platform in one country), and the service as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.aggregate import Registered, Remembering
from orchestrator.domain.decisions import Step
from orchestrator.domain.facts import DomainEvent


class Market(Remembering):
    """Where accounts stand in for each other: one platform in one country."""

    TOPIC = "Market"

    class Event(DomainEvent):
        TOPIC = "Market.Event"

    @dataclass(frozen=True)
    class MarketRegistered(Registered):
        TOPIC = "MarketRegistered"
        country: str
        platform: str

    def __init__(self, country: str, platform: str) -> None:
        super().__init__()
        self.country, self.platform = country, platform

    def take(self, step: Step) -> None:
        """The desk keeps how the market stands."""

    @staticmethod
    def key(country: str, platform: str) -> str:
        """The aggregate's id in the log."""
        return f"market:{country}:{platform}"

    @classmethod
    def register(cls, country: str, platform: str, *, message_id: str, now: datetime) -> Market:
        return cls._create(
            cls.MarketRegistered,
            id=cls.key(country, platform),
            timestamp=now,
            message_id=message_id,
            country=country,
            platform=platform,
        )


class Service(Remembering):
    """The one orchestrator that the log belongs to: its mode, its policies, and whether it is paused."""

    TOPIC = "Service"
    KEY = "service"

    class Event(DomainEvent):
        TOPIC = "Service.Event"

    @dataclass(frozen=True)
    class ServiceRegistered(Registered):
        TOPIC = "ServiceRegistered"

    def take(self, step: Step) -> None:
        """The desk keeps how the service stands."""

    @classmethod
    def register(cls, *, message_id: str, now: datetime) -> Service:
        return cls._create(cls.ServiceRegistered, id=cls.KEY, timestamp=now, message_id=message_id)
