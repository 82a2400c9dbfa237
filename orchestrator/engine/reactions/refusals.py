"""What TokPortal's refusals say of more than the command: of its bundle, or of all that costs credits."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from orchestrator.desk import BundleEntry
from orchestrator.domain.decisions import DayFilled
from orchestrator.domain.facts import API, KINDS
from orchestrator.engine.reactions import bundles, credits, vendor
from orchestrator.engine.turn import Turn
from orchestrator.outbox import Command
from orchestrator.policies import recovery

CLOSED = {"cancelled": "BundleCancelled", "archived": "BundleArchived"}
"""Statuses in which a bundle takes nothing any more, and the facts that they are."""


def learn(turn: Turn, command: Command, report: dict[str, Any]) -> None:
    """Records what the refusal of the command says."""
    code, details = report["code"], report["data"].get("details") or {}
    if code == recovery.INSUFFICIENT_CREDITS:
        credits.ran_out(turn, command.command_id, code, details)
    entry = turn.desk.bundle(str(command.bundle_id))
    if entry is None:
        return
    status = details.get("current_status")
    if code in recovery.GONE or (code == recovery.INVALID_STATUS and status in CLOSED):
        if "closed" not in entry.holds:
            _fact(turn, entry, CLOSED.get(str(status), "BundleCancelled"), command, report)
    elif code == recovery.COVERAGE_LAPSED:
        if "uncovered" not in entry.holds:
            _fact(turn, entry, "CoverageLapsed", command, report)
    elif command.kind == "configure_video" and code in (recovery.NO_FREE_SLOT, recovery.INVALID_STATUS):
        # It may have slots, and takes no videos all the same: the next count says when it does again.
        why = code if code == recovery.INVALID_STATUS else None
        bundles.count_slots(turn, entry.bundle_id, None, 0, datetime.fromisoformat(report["answered_at"]), why)
    elif command.kind == "configure_video" and code == recovery.DAY_FULL:
        day = recovery.day_of(details.get("date")) or recovery.day_of(command.body["target_day"])
        if day is not None and day.isoformat() not in entry.full_days:
            count = details.get("current_count")
            turn.record(turn.bundle(entry.bundle_id), DayFilled, day=day.isoformat(), count=count)
            bundles.changed(turn, [entry.bundle_id])


def _fact(turn: Turn, entry: BundleEntry, kind: str, command: Command, report: dict[str, Any]) -> None:
    turn.bundle(entry.bundle_id).record(
        KINDS[kind],
        timestamp=turn.now,
        message_id=turn.message.message_id,
        occurred_at=vendor.asked_at(turn, report),
        event_id=command.command_id,
        dialect=API,
        bundle_id=entry.bundle_id,
        account=None,
        country=None,
        platform=None,
        data={"code": report["code"]},
    )
    bundles.changed(turn, [entry.bundle_id])
