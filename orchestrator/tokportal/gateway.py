"""Puts the gateway together from the settings."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.clock import Clock
from orchestrator.database import Database
from orchestrator.secrets import Secret
from orchestrator.settings import Mode, Settings
from orchestrator.tokportal.budget import Budget
from orchestrator.tokportal.client import Client
from orchestrator.tokportal.hands import Hands
from orchestrator.tokportal.identity import Identity


@dataclass(frozen=True, slots=True)
class Gateway:
    """What writes and what reads, on one pool of connections and one quota; and whose account it is."""

    hands: Hands
    client: Client
    budget: Budget
    identity: Identity

    def close(self) -> None:
        self.client.close()


def connect(settings: Settings, database: Database, clock: Clock) -> Gateway | None:
    """None without a key. A sandbox world never speaks to TokPortal: it needs the address of a look-alike, which gets a
    key that opens nothing."""
    base_url, key = settings.tokportal_base_url, settings.tokportal_api_key
    if settings.mode is Mode.SANDBOX:
        if settings.names_tokportal:
            return None
        key = Secret("sk_" + "0" * 64)
    if key is None:
        return None
    budget = Budget(database, clock.microseconds)
    client = Client(base_url, key, budget, clock, speed=settings.clock.speed if settings.clock is not None else 1.0)
    return Gateway(Hands(client, budget), client, budget, Identity(client, database))
