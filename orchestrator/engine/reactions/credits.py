"""When TokPortal has no credits left: what costs some waits until there may be some again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from orchestrator.desk import SERVICE
from orchestrator.domain.decisions import CreditsAssumed, CreditsRanOut
from orchestrator.engine.turn import Turn

EVERY = timedelta(hours=1)
"""How often it is tried whether there are credits again."""


def ran_out(turn: Turn, command_id: str, code: str, details: Mapping[str, Any]) -> None:
    """TokPortal refused a command for want of credits (`details`: required, available, missing, breakdown, by its
    documentation)."""
    entry = turn.desk.service()
    turn.timer("credits", turn.now + EVERY, timer="credits")
    if entry.no_credits is not None:
        return
    missing = details.get("missing")
    lacking = f", {missing} are missing" if type(missing) in (int, float) else ""
    why = f"TokPortal has no credits left{lacking}: what costs credits waits, and is tried again every hour"
    turn.record(turn.service(), CreditsRanOut, reason=why, command_id=command_id, code=code, details=dict(details))
    turn.desk.put(SERVICE, SERVICE, msgspec.structs.replace(entry, no_credits=why, lacked_credits=True))
    turn.alert("budget", why, once=f"credits:{turn.now:%Y-%m-%d}", subject="credits", cause=("credits",))


def may_be_back(turn: Turn, why: str, actor: dict[str, str] | None = None) -> bool:
    """Has what waits for credits tried again. Whether there was anything to lift."""
    entry = turn.desk.service()
    if entry.no_credits is None:
        return False
    turn.record(turn.service(), CreditsAssumed, reason=why, actor=actor)
    turn.desk.put(SERVICE, SERVICE, msgspec.structs.replace(entry, no_credits=None))
    turn.timer("credits", None)
    turn.work("release", after=0, country=None, platform=None)
    return True


def were_there(turn: Turn, command_id: str) -> None:
    """TokPortal took what a command costs."""
    entry = turn.desk.service()
    if entry.lacked_credits:
        turn.desk.put(SERVICE, SERVICE, msgspec.structs.replace(entry, lacked_credits=False))
        turn.resolve("budget", "credits", "TokPortal has credits again", once=command_id)
