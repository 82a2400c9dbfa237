"""How messages read, and what must never be in one."""

from __future__ import annotations

import re

import msgspec
import pytest

from orchestrator.alerts.groups import FIRST, MINUTE, MORE, QUIETED, RESOLVED, Notice
from orchestrator.alerts.messages import LONGEST_BODY, LONGEST_TITLE, MOST_LINES, plain, write

AT = 20_000 * 24 * 60 * MINUTE + 14 * 60 * MINUTE  # 14:02 is two minutes later
NOW = AT + 17 * MINUTE


def notice(**changes: object) -> Notice:
    first = Notice(
        cause="banned:US:tiktok",
        kind="banned",
        what=FIRST,
        count=1,
        new=1,
        since=None,
        opened_at=AT,
        last_at=AT,
        is_resolved=False,
        text="bdl_1 is banned",
        resolution=None,
        about={"bundle_id": "bdl_1", "country": "US", "platform": "tiktok", "message_id": "msg_1"},
    )
    return msgspec.structs.replace(first, **changes)


def test_a_first_message_says_what_where_and_links_to_the_decision() -> None:
    text = write([notice()], "https://ops.example.com/", NOW)
    assert text.title == "Banned · US tiktok"
    assert text.body.splitlines() == [
        "bdl_1 is banned",
        "https://ops.example.com/api/bundles/bdl_1/history",
        "https://ops.example.com/api/decisions?bundle_id=bdl_1",
        "https://ops.example.com/api/messages/msg_1",
    ]
    assert not text.is_good


def test_without_a_public_address_the_paths_are_named() -> None:
    assert "\n/api/bundles/bdl_1/history\n" in write([notice()], None, NOW).body


def test_a_video_is_linked_before_its_bundle() -> None:
    about = {"video_id": "vid/1", "bundle_id": "b", "campaign_id": "c"}
    assert write([notice(about=about)], None, NOW).body.splitlines()[1:] == [
        "/api/videos/vid%2F1/history",
        "/api/decisions?video_id=vid%2F1",
    ]


def test_more_are_counted_since_the_last_message() -> None:
    text = write([notice(what=MORE, count=414, new=413, since=AT + 2 * MINUTE)], None, NOW)
    assert text.body.startswith("bdl_1 is banned\n…and 412 more like it since 14:02 UTC (414 in all)\n")


def test_a_time_that_is_long_ago_has_its_date() -> None:
    text = write([notice(what=QUIETED, count=3, new=0, since=AT)], None, NOW + 24 * 60 * MINUTE)
    assert re.search(r"no more since \d{4}-\d\d-\d\d 14:00 UTC, 3 in all", text.body)
    assert (text.title, text.is_good) == ("Quiet again: banned · US tiktok", True)


def test_the_end_of_a_cause() -> None:
    over = notice(what=RESOLVED, new=0, since=AT, is_resolved=True, resolution="bdl_1 is banned no more")
    text = write([over], None, NOW)
    assert (text.title, text.is_good) == ("Resolved: banned · US tiktok", True)
    assert text.body.startswith("bdl_1 is banned no more\n")


def test_what_came_and_went_before_anybody_heard_is_told_as_over() -> None:
    text = write([notice(is_resolved=True, resolution="bdl_1 is back")], None, NOW)
    assert text.body.startswith("bdl_1 is banned; it is over: bdl_1 is back\n")


def test_a_digest_names_the_first_causes_and_counts_the_others() -> None:
    text = write([notice(cause=str(n), new=2) for n in range(100)], None, NOW)
    assert text.title == "100 causes, 200 alerts"
    assert len(text.body.splitlines()) == MOST_LINES + 1
    assert text.body.endswith("…and 85 more causes, in the list of commands")


HOSTILE = [
    "<!channel> and <!here>",
    "<@U123ABC> <#C1|x> <https://evil.example|our site>",
    "@everyone @here @channel",
    "a\r\nALERT forged: line\x1b[31m",
    "safe\u202egpj.exe \u2066x\u2069 zero\u200bwidth \ufeff",
    "tags \U000e0041\U000e007f",
    "nul \x00 and \ud800 half",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_of_a_chats_own_language_or_of_a_terminal_gets_through(hostile: str) -> None:
    about = {"country": hostile, "bundle_id": hostile.encode("utf-8", "replace").decode()}
    for text in (
        write([notice(text=hostile, about=about)], None, NOW),
        write([notice(text=hostile, about=about)] * 2, None, NOW),
        write([notice(what=RESOLVED, is_resolved=True, resolution=hostile, about=about)], None, NOW),
    ):
        for part in (text.title, *text.body.splitlines()):
            assert part.isprintable()
            assert not set("<>@\u202e\u2066\u200b\ufeff\x1b") & set(part)
            part.encode()


def test_line_breaks_in_what_happened_make_no_lines() -> None:
    assert write([notice(text="a\nb\u2028c\x85d", about={})], None, NOW).body == "a b c d"


@pytest.mark.parametrize("text", ["x" * 100_000, "é" * 5_000, "\u202e" * 5_000 + "y" * 5_000])
def test_messages_have_a_size(text: str) -> None:
    found = write([notice(text=text, kind="k" * 500)], "https://ops.example.com", NOW)
    assert len(found.title) <= LONGEST_TITLE and len(found.body) <= LONGEST_BODY
    assert "/api/decisions" in found.body
    assert len(write([notice(text=text)] * 50, None, NOW).body) <= LONGEST_BODY


def test_words_and_emoji_stay_as_they_are() -> None:
    assert plain("Café 👩‍💻 नमस्ते — ok", 100) == "Café 👩‍💻 नमस्ते — ok"
