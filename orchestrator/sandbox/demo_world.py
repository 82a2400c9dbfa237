"""The world of the demo: five countries in which something happens all the time.

It is made for a clock on which a day takes 10 to 20 real seconds: `SPEED` is about 14.
"""

from __future__ import annotations

from typing import Final

from orchestrator.sandbox.dialects import Wording
from orchestrator.sandbox.founding import Founding
from orchestrator.sandbox.habits import DAY, HOUR, Managing, Sending
from orchestrator.sandbox.parameters import Parameters
from orchestrator.sandbox.worldfile import WorldFile

SPEED: Final = 6_000.0
"""Seconds of the world in a real second, at which the demo is pleasant to watch."""
SEED: Final = 2026


def _accounts() -> tuple[Founding, ...]:
    return (
        Founding(country="US", state="warm", ban_after_days=2.4, username="acme.us.pioneer"),
        Founding(country="US", state="warm", count=3),
        Founding(country="US", state="ready", count=2),
        Founding(country="US", state="published", age_days=0.0),
        Founding(country="FR", state="warm", ban_after_days=3.6, username="acme.fr.pionnier"),
        Founding(country="FR", state="warm", count=2),
        Founding(country="FR", state="ready"),
        Founding(country="DE", state="warm", count=2),
        Founding(country="DE", state="ready"),
        Founding(country="GB", state="warm", count=3),
        Founding(country="GB", state="ready"),
        Founding(country="BR", state="warm", count=2),
        Founding(country="BR", state="ready"),
        Founding(country="BR", state="warming", age_days=1.0),
        Founding(country="US", platform="instagram", state="warm", count=2),
        Founding(country="FR", platform="instagram", state="warm", count=2),
    )


DEMO: Final = WorldFile(
    seed=SEED,
    parameters=Parameters(webhook_dialect="article"),
    managers=Managing(
        accepts_bundle=(0.5 * HOUR, 2 * HOUR),
        creates_account=(4 * HOUR, 12 * HOUR),
        account_review="at_once",
        warming_starts=(0.0, 0.5 * HOUR),
        warming_takes=(0.9 * DAY, 1.4 * DAY),
        accepts_video=(0.25 * HOUR, 1.5 * HOUR),
        window_used=0.6,
        misses=0.0,
        fails=0.2,
        fails_for_good=0.4,
        failure_codes={"network_error": 3.0, "upload_timeout": 2.0, "login_required": 1.0},
        bans_per_account_year=0.5,
        appeals=0.0,
    ),
    webhooks=Sending(wording=Wording(external_ref="always")),
    accounts=_accounts(),
)
