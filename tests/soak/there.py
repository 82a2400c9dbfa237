"""The TokPortal of a soak: accounts in several countries, how their managers behave, and what goes wrong."""

from __future__ import annotations

import random
from typing import Final

from orchestrator.sandbox.faults import FaultSettings, RestFault, WebhookFaults
from orchestrator.sandbox.founding import PLATFORMS, Founding
from orchestrator.sandbox.habits import HOUR, Managing, Sending
from orchestrator.sandbox.parameters import Parameters
from orchestrator.sandbox.worldfile import WorldFile
from orchestrator.simulate.dialect import Dialect

SECRET: Final = "soak_secret_do_not_use"
KEY: Final = "sk_" + "5" * 64
COUNTRIES: Final = (
    "US",
    "FR",
    "GB",
    "DE",
    "ES",
    "IT",
    "CA",
    "BR",
    "MX",
    "PH",
    "NL",
    "PL",
    "PT",
    "SE",
    "NO",
    "AU",
    "JP",
)


def _faults(much: float) -> FaultSettings:
    return FaultSettings(
        webhooks=WebhookFaults(
            lost=0.05 * much,
            forgotten=0.02 * much,
            late=0.1 * much,
            late_by=6 * HOUR * much,
            duplicated=0.08 * much,
            reordered=0.15 * much,
        ),
        rest=[
            RestFault(share=0.03 * much),
            RestFault(share=0.01 * much, status=500),
            RestFault(share=0.01 * much, status=429),
            RestFault(share=0.03 * much, kind="drop", methods=["write"]),
            RestFault(share=0.01 * much, kind="drop"),
            RestFault(share=0.02 * much, kind="late_error", methods=["write"]),
            RestFault(share=0.003 * much, kind="timeout", methods=["write"], seconds=0.2),
        ],
    )


FAULTS: Final = _faults(1)
HARSH: Final = _faults(4)
NO_FAULTS: Final = FaultSettings()
STATES: Final = ("warm",) * 14 + ("ready",) * 3 + ("warming", "published", "bought")


def world_file(seed: int, dialect: Dialect, *, accounts: int, countries: int, slots: int) -> WorldFile:
    """Most accounts are warm, some have still to be warmed, or to be made. A quarter is on Instagram."""
    chance = random.Random(f"accounts {seed}")
    founded = []
    for number in range(accounts):
        is_first = number < countries
        platform = PLATFORMS[number // countries % 4 == 3]
        founded.append(
            Founding(
                country=COUNTRIES[number % countries],
                platform=platform,
                state="warm" if is_first else chance.choice(STATES),
                slots=slots if chance.random() < 0.9 else 1,
                age_days=chance.uniform(5, 25),
                auto_finalize_videos=chance.random() < 0.5,
                username=f"account.{number}",
            )
        )
    managers = Managing(
        accepts_video=(0.2 * HOUR, 3 * HOUR),
        misses=0.04,
        fails=0.12,
        warming_fails=0.1 if dialect is Dialect.ARTICLE else 0.0,
        bans_per_account_year=1.5,
        lapses=0.1,
    )
    return WorldFile(
        seed=seed,
        parameters=Parameters(webhook_dialect=dialect.value),
        managers=managers,
        webhooks=Sending(),
        faults=FAULTS,
        accounts=tuple(founded),
    )
