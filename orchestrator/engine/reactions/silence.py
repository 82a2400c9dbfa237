"""Silence: videos may be posted any moment, and no webhook comes from their country, or none at all.

It may be that nothing happens there. It may as well be that deliveries get lost, which nobody would notice otherwise.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final

import msgspec

from orchestrator.engine.turn import Turn
from orchestrator.policies.recovery import window_opens

PATIENCE: Final = timedelta(days=1)
"""How long nothing may be heard while a posting window is open."""
COARSE: Final = timedelta(minutes=15)
"""How exactly it is noted when something was heard."""
PAUSE: Final = timedelta(hours=1)
"""At least so long between two looks; and after the service was down, so that what was kept back can come first."""
EVERYWHERE: Final = "*"
TIMER: Final = "silence"


def heard(turn: Turn, bundle_id: str | None) -> None:
    """A webhook came, about this bundle if about any."""
    bundle = turn.desk.bundle(bundle_id) if bundle_id is not None else None
    for name in (EVERYWHERE, bundle.country if bundle is not None else None):
        if name is None:
            continue
        entry = turn.desk.heard(name)
        if entry.silent_since is not None:
            about = {} if name == EVERYWHERE else {"country": name}
            once = f"{name}:{entry.silent_since.isoformat()}"
            turn.resolve("silence", name, f"webhooks come again{_of(name)}", once=once, **about)
        elif entry.heard_at is not None and turn.now - entry.heard_at < COARSE:
            continue
        turn.desk.put("heard", name, msgspec.structs.replace(entry, heard_at=turn.now, silent_since=None))


def watch(turn: Turn) -> None:
    """Something was handed over: from the day of the post on it is listened whether anything is heard."""
    if turn.policies is not None and turn.desk.heard(EVERYWHERE).looks_at is None:
        _look_again(turn, turn.now + PAUSE)


def look(turn: Turn, *, late: bool) -> None:
    """Tells people of what has gone silent. `late`: nobody could hear anything of late."""
    opened = _opened(turn)
    if not opened:
        _look_again(turn, None)
        return
    if late:
        _look_again(turn, turn.now + PAUSE)
        return
    ends = {name: _listened_since(turn, name, since) + PATIENCE for name, since in opened.items()}
    others_speak = turn.now < ends[EVERYWHERE]
    silent = [name for name, end in ends.items() if turn.now >= end and (others_speak or name == EVERYWHERE)]
    for name in silent:
        _tell(turn, name, ends[name] - PATIENCE)
    coming = [end for end in ends.values() if end > turn.now]
    _look_again(turn, max(turn.now + PAUSE, min(coming, default=turn.now + PATIENCE)))


def _opened(turn: Turn) -> dict[str, datetime]:
    """Since when the first of the videos that TokPortal has may be posted, or from when on: by country, and
    everywhere."""
    found: dict[str, datetime] = {}
    for video_id in turn.desk.live_at(None, None):
        entry = turn.desk.video(video_id)
        if entry is None or not entry.with_vendor:
            continue
        zone = turn.rules.at(entry.country, entry.platform).zone(entry.country)
        opens = window_opens(date.fromisoformat(entry.legs[-1].day), zone)
        for name in (EVERYWHERE, entry.country):
            found[name] = min(found.get(name, opens), opens)
    return found


def _listened_since(turn: Turn, name: str, opened: datetime) -> datetime:
    heard_at = turn.desk.heard(name).heard_at
    return opened if heard_at is None else max(opened, heard_at)


def _tell(turn: Turn, name: str, since: datetime) -> None:
    entry = turn.desk.heard(name)
    if entry.silent_since is not None:
        return
    turn.desk.put("heard", name, msgspec.structs.replace(entry, silent_since=since))
    about = {} if name == EVERYWHERE else {"country": name}
    text = f"no webhook came{_of(name)} since {since:%Y-%m-%d %H:%M} UTC, and videos are due there"
    turn.alert("silence", text, once=f"{name}:{since.isoformat()}", subject=name, **about)


def _of(name: str) -> str:
    return " from TokPortal" if name == EVERYWHERE else f" from {name}"


def _look_again(turn: Turn, at: datetime | None) -> None:
    turn.timer(TIMER, at, timer=TIMER)
    turn.desk.put("heard", EVERYWHERE, msgspec.structs.replace(turn.desk.heard(EVERYWHERE), looks_at=at))
