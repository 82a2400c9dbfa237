"""Messages as people read them: plain text, without anything that a chat would take for a command or a mention."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from orchestrator.alerts.groups import FIRST, MORE, QUIETED, Notice

LONGEST_TITLE: Final = 120
LONGEST_TEXT: Final = 700
LONGEST_BODY: Final = 1_600
"""Characters; chats cut or refuse what is longer than about 2,000."""
MOST_LINES: Final = 15
"""Causes that one digest names; of the others it gives the number."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Control characters, line separators, lone surrogates, and what is invisible or turns the direction of writing; the
# joiners U+200C and U+200D stay, since emoji and several scripts need them.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]+"
)
_HARMLESS: Final = str.maketrans({"<": "\u2039", ">": "\u203a", "@": "\uff20"})
"""`<!channel>`, `<@U123>`, `@everyone` and links under a text of their own all need one of these."""


@dataclass(frozen=True, slots=True)
class Text:
    """What is sent."""

    title: str
    body: str
    is_good: bool = False
    """Whether it says that something has ended."""


def plain(text: str, longest: int) -> str:
    """`text` in one line of at most `longest` characters, harmless in every chat and on every terminal."""
    found = unicodedata.normalize("NFC", _UNSAFE.sub(" ", text)).translate(_HARMLESS)
    found = re.sub(r"\s+", " ", found).strip()
    return found if len(found) <= longest else f"{found[: longest - 1]}…"


def write(notices: Sequence[Notice], public_url: str | None, now: int) -> Text:
    """One message for one cause, or a digest of many."""
    return _digest(notices) if len(notices) > 1 else _single(notices[0], public_url, now)


def summary(notice: Notice, now: int) -> str:
    """The message without its links, in one line."""
    return plain(_line(notice, now, LONGEST_TEXT), LONGEST_BODY)


def _single(notice: Notice, public_url: str | None, now: int) -> Text:
    lines = [_line(notice, now, LONGEST_TEXT), *_links(notice.about, public_url)]
    is_good = notice.is_resolved or notice.what == QUIETED
    return Text(title(notice), "\n".join(lines)[:LONGEST_BODY], is_good)


def _digest(notices: Sequence[Notice]) -> Text:
    lines = [f"{title(n)}: {plain(_told(n), 80)}{f' (+{n.new - 1})' if n.new > 1 else ''}" for n in notices]
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"…and {len(lines) - MOST_LINES} more causes, in the list of commands"]
    total = sum(notice.new for notice in notices)
    heading = f"{len(notices)} causes" + (f", {total} alerts" if total else "")
    return Text(heading, "\n".join(lines)[:LONGEST_BODY], all(n.is_resolved for n in notices))


def title(notice: Notice) -> str:
    """Kind, and where."""
    name = notice.kind.replace("_", " ").capitalize()
    where = " ".join(notice.about[key] for key in ("country", "platform") if key in notice.about)
    if notice.is_resolved:
        name = f"Resolved: {name.lower()}"
    elif notice.what == QUIETED:
        name = f"Quiet again: {name.lower()}"
    return plain(f"{name} · {where}" if where else name, LONGEST_TITLE)


def _told(notice: Notice) -> str:
    return notice.resolution if notice.is_resolved and notice.resolution else notice.text


def _line(notice: Notice, now: int, longest: int) -> str:
    """What happened, how often, and whether it is over."""
    since = _clock(notice.since if notice.since is not None else notice.opened_at, now)
    if notice.what == QUIETED:
        last = _clock(notice.last_at, now)
        return f"no more since {last}, {notice.count} in all; the last was: {plain(notice.text, longest)}"
    found = plain(_told(notice), longest)
    if notice.is_resolved:
        if notice.what == FIRST:
            return f"{plain(notice.text, longest)}; it is over: {found}"
        return f"{found}; it came {notice.new} times more since {since}" if notice.new else found
    if notice.new > 1:
        found = f"{found}\n…and {notice.new - 1} more like it since {since}"
    if notice.what == MORE:
        found += f" ({notice.count} in all)"
    return found


def _links(about: dict[str, str], public_url: str | None) -> list[str]:
    """Where the decision and its reasons are."""
    base = (public_url or "").rstrip("/")
    for key, kind in (("video_id", "videos"), ("bundle_id", "bundles"), ("campaign_id", "campaigns")):
        if key in about:
            name = quote(about[key], safe="")
            found = [f"{base}/api/{kind}/{name}/history"]
            if kind != "campaigns":
                found.append(f"{base}/api/decisions?{key}={name}")
            break
    else:
        found = []
    if "message_id" in about:
        found.append(f"{base}/api/messages/{quote(about['message_id'], safe='')}")
    return found


def _clock(moment: int, now: int) -> str:
    at = _EPOCH + timedelta(microseconds=moment)
    is_today = abs(now - moment) < 20 * 60 * 60 * 1_000_000
    return f"{at:%H:%M} UTC" if is_today else f"{at:%Y-%m-%d %H:%M} UTC"
