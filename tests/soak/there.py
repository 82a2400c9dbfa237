"""The TokPortal of a soak: accounts in several countries, how their managers behave, and what goes wrong."""

from __future__ import annotations

import random
from typing import Final

import msgspec

from orchestrator.sandbox.dialects import Wording
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


def unknowns(rng: random.Random, world: WorldFile) -> WorldFile:
    """The same world of another TokPortal: what its documentation leaves open is answered by chance."""
    parameters = msgspec.structs.replace(
        world.parameters,
        idempotency_retention=rng.choice([60, 3_600, 86_400]),
        idempotency_keeps_errors=rng.random() < 0.5,
        idempotency_conflict_status=rng.choice([409, 422]),
        unschedule_to=rng.choice(["pending", "configured", "cancelled"]),
        reset_to=rng.choice(["pending", "configured", "cancelled"]),
        reset_from=rng.choice([("configured", "published"), ("configured", "published", "accepted")]),
        configure_from=rng.choice([("pending", "configured"), ("pending", "configured", "published")]),
        publish_zone=rng.choice(["UTC", "America/New_York", "Asia/Tokyo"]),
        credits=rng.choice([150, 1_000_000]),
        coverage_auto_renews=rng.random() < 0.7,
    )
    managers = msgspec.structs.replace(
        world.managers,
        posts_late=rng.random() < 0.5,
        can_unschedule_uploading=rng.random() < 0.5,
        corrections_after_failure=rng.choice(["auto", "always", "never"]),
        account_review=rng.choice(["window", "at_once"]),
        misses=rng.choice([0.0, 0.04, 0.3]),
        fails=rng.choice([0.0, 0.12, 0.5]),
        bans_per_account_year=rng.choice([0.0, 1.5, 8.0]),
        appeals_won=rng.choice([0.0, 0.5, 1.0]),
        remakes=rng.choice([0.0, 0.5, 1.0]),
    )
    wording = Wording(external_ref=rng.choice(["always", "sometimes", "never"]), country=rng.random() < 0.5)
    webhooks = msgspec.structs.replace(
        world.webhooks, wording=wording, retry_after=rng.choice([(), (60.0, 300.0, 1_800.0, 7_200.0)])
    )
    faults = rng.choice([FAULTS, HARSH])
    return msgspec.structs.replace(world, parameters=parameters, managers=managers, webhooks=webhooks, faults=faults)


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
