from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.database.tables import bundles, decisions, desk, outbox, videos
from orchestrator.web import pages, words
from orchestrator.web.routes import shared
from tests.api.house import House, bundle_row, video_row, webhook
from tests.web.conftest import HOSTILE, SHOWN, command_row, decision_row, fill, on_sqlite

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
VOID = ("meta", "link", "input", "br")


class Reader(HTMLParser):
    """What a page is made of: whether its elements are closed in order, what it loads and leads to, its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[tuple[str, dict[str, str | None]]] = []
        self.loaded: list[str] = []
        self.inline: list[str] = []
        self.tables = self.captions = self.headers = 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in given:
            self.ids.append(given["id"] or "")
        if tag == "a":
            self.links.append((given["href"] or "", given))
        if tag in ("script", "img", "iframe", "link"):
            self.loaded.append(given.get("src") or given.get("href") or "")
        if tag == "script" and "src" not in given:
            self.inline.append(tag)
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        self.tables += tag == "table"
        self.captions += tag == "caption"
        self.headers += tag == "th"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


ACME = '<a href="/bundles/bdl_us_1">acme.us</a></th>'
"""The row of this account."""
PAGES = ("/", "/?part=live", "/bundles/bdl_us_1", "/bundles/bdl_fr_1", "/videos/vid_1", "/videos/vid_2")


@pytest.mark.parametrize("path", PAGES)
def test_every_page_stands_by_itself(filled: House, path: str) -> None:
    answer = filled.client.get(path)
    assert answer.status_code == 200
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    page = Reader(answer.text)
    assert page.inline == []
    assert len(set(page.ids)) == len(page.ids)
    assert page.captions == page.tables > 0
    assert page.headers > page.tables
    for address in page.loaded:
        # Nothing is asked of anybody else.
        assert address.startswith("/static/")
        assert filled.client.get(address).status_code == 200
    for address, given in page.links:
        if urlsplit(address).netloc:
            assert set((given["rel"] or "").split()) == {"noopener", "noreferrer", "nofollow"}
        elif not address.startswith("#"):
            assert filled.client.get(address).status_code == 200, address
    assert not re.search(r"https?://(?!tiktok\.example)", answer.text)


@on_sqlite
def test_the_files_of_the_page_ask_nobody_else(house: House) -> None:
    for name, media_type in {"live.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}.items():
        answer = house.client.get(f"/static/{name}")
        assert answer.headers["content-type"].partition(";")[0] == media_type
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"https?:|//[a-z]|@import|eval\(", answer.text.replace("http://www.w3.org/2000/svg", ""))
    assert house.client.get("/static/sessions.py").status_code == 404
    assert house.client.get("/static/..%2Fpages.py").status_code == 404


def test_the_first_page_of_an_empty_house_says_what_comes(house: House) -> None:
    text = house.client.get("/").text
    Reader(text)
    for word in (
        "Nothing has happened yet",
        "There is no campaign yet",
        "No account is known yet",
        "Nothing was decided",
    ):
        assert word in text


def test_the_first_page_shows_what_there_is(filled: House) -> None:
    text = filled.client.get("/").text
    for word in (
        "bdl_fr_1 is banned: spam",
        "teaser-1 is posted on acme.us",
        "the account is banned; acme.us takes it on 2026-11-21: least loaded",
        "nobody of 2 qualifies: 1 banned",
        "1 banned, 1 completed",
        "2 accounts, 3 tries",
        "beyond the budget of the day",
        "1 held, 1 dead",
        "refused six times",
        '<span class="state open">open</span>',
        "acme.us",
        "2026-11-21",
    ):
        assert word in text, word
    # What needs a person comes first.
    assert text.index("cmd_3") < text.index("cmd_2")
    assert "cmd_4" not in text


def test_the_part_that_changes_is_in_the_page(filled: House) -> None:
    whole, part = filled.client.get("/").text, filled.client.get("/?part=live").text
    assert part.strip() in whole
    assert "<!doctype" not in part


@pytest.mark.parametrize(
    ("query", "there", "gone"),
    [
        ("country=FR", ["/bundles/bdl_fr_1", "/videos/vid_2"], [ACME]),
        ("bundle_state=banned", ["/bundles/bdl_fr_1", "/videos/vid_1"], [ACME]),
        ("video_state=waiting", [ACME, "nobody of 2 qualifies"], ["2 accounts, 3 tries"]),
        ("country=&video_state=", [ACME, "2 accounts, 3 tries"], ["There is no"]),
        ("country=XX", [ACME, "There is no country &#39;XX&#39; here"], []),
        ("bundle_state=%3Cb%3E", [ACME, "There is no bundle state &#39;&lt;b&gt;&#39;"], ["<b>"]),
        ("bundles_after=x&videos_after=%00", [ACME, "The place in the list cannot be read"], []),
    ],
)
@on_sqlite
def test_filters(filled: House, query: str, there: list[str], gone: list[str]) -> None:
    answer = filled.client.get(f"/?{query}")
    assert answer.status_code == 200
    tables = answer.text[answer.text.index('<section id="countries"') :] + answer.text[: answer.text.index('id="news"')]
    for word in there:
        assert word in tables
    for word in gone:
        assert word not in tables


def test_a_page_tells_why(filled: House) -> None:
    video = filled.client.get("/videos/vid_1").text
    for word in (
        "teaser-1",
        "VideoPosted",
        "vendor tokportal",
        "evt_",
        "msg_",
        "Passed over: 1 banned",
        "chosen: least loaded",
    ):
        assert word in video, word
    bundle = filled.client.get("/bundles/bdl_fr_1").text
    for word in ("BundleBanned", "spam", "needs_review", "the account is banned"):
        assert word in bundle, word


def test_a_history_goes_on(filled: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages.looking, "HISTORY", 1)
    first = filled.client.get("/bundles/bdl_us_1").text
    (further,) = re.findall(r'href="(/bundles/bdl_us_1\?after=[^"]+)"', first)
    assert "BundleCreated" in first
    second = filled.client.get(further)
    assert second.status_code == 200
    assert "WarmingCompleted</td>" in second.text
    assert "BundleCreated</td>" not in second.text
    wrong = filled.client.get("/bundles/bdl_us_1?after=x")
    assert (wrong.status_code, wrong.headers["content-security-policy"]) == (400, POLICY)


@on_sqlite
def test_what_there_is_not_is_a_page_too(house: House) -> None:
    for path in ("/videos/none", "/bundles/none", "/bundles/%00"):
        answer = house.client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, HEADERS["content-type"])
        Reader(answer.text)


def test_ids_may_hold_anything(house: House) -> None:
    name = "a/b?c#d e%2F"
    house.insert(bundles, bundle_row(name))
    house.insert(videos, video_row(name, bundle_id=name))
    text = house.client.get("/").text
    encoded = "a%2Fb%3Fc%23d%20e%252F"
    for path in (f"/bundles/{encoded}", f"/videos/{encoded}"):
        assert f'href="{path}"' in text
        assert "a/b?c#d e%2F" in house.client.get(path).text


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example/",
        "https://a@evil.example/",
        "https://x.example/\u202e",
    ],
)
@on_sqlite
def test_only_what_leads_to_the_web_is_a_link(house: House, url: str) -> None:
    house.insert(videos, video_row("vid_1", post_url=url))
    for path in ("/", "/videos/vid_1"):
        page = Reader(house.client.get(path).text)
        assert [address for address, _ in page.links if urlsplit(address).netloc or ":" in address] == []


def test_what_somebody_sent_cannot_act_on_a_page(house: House) -> None:
    name = HOSTILE.replace("\0", "")
    house.tell(webhook("bundle.created", data={"username": name}), webhook("bundle.banned", 2, data={"reason": name}))
    house.insert(bundles, bundle_row("bdl_1", username=name, group=name, holds='["<b>"]'))
    house.insert(videos, video_row("vid_1", ref=name, reason=name, post_url=f"https://x.example/{name}"))
    house.insert(decisions, decision_row(9, reason=name, video_id="vid_1", to_bundle=name))
    house.insert(outbox, command_row(1, status="dead", reason=name, kind=name))
    for path in ("/", "/bundles/bdl_1", "/videos/vid_1"):
        text = house.client.get(path).text
        Reader(text)
        assert SHOWN in text
        assert "<script>" not in text
        assert "<b>" not in text
        assert not re.search("[\u202e\x1b]", text)


def test_the_world_is_told_in_plain_words(house: House) -> None:
    house.insert(desk, {"kind": "service", "name": "service", "body": b'{"mode":"sandbox","paused":"lunch"}'})
    text = house.client.get("/").text
    assert "Sandbox: a simulated TokPortal. No account, post or credit is real" in text
    assert "nothing is sent: lunch" in text
    assert '<time datetime="2026-11-20T12:00:00Z">2026-11-20 12:00:00Z</time>' in text


@on_sqlite
def test_health_is_one_line(house: House) -> None:
    house.workers["engine"] = "ended with code 1"
    text = house.client.get("/").text
    assert "Not well" in text
    assert "worker engine is gone" in text


def test_thousands_of_accounts_are_no_burden(house: House) -> None:
    house.insert(bundles, *(bundle_row(f"bdl_{number:05}") for number in range(5_000)))
    house.insert(videos, *(video_row(f"vid_{number:05}", bundle_id=f"bdl_{number:05}") for number in range(5_000)))
    fill(house)
    # A read that takes too long is answered 503.
    answer = house.client.get("/?part=live")
    assert answer.status_code == 200
    text = answer.text
    assert text.count('<th scope="row"><a href="/bundles/') == pages.looking.ROWS
    (further,) = re.findall(r'href="(/\?bundles_after=[^"]+)#bundles"', text)
    assert '"/bundles/bdl_00050"' in house.client.get(further).text
    assert '"/bundles/bdl_00050"' not in text


@on_sqlite
def test_pages_take_no_orders(filled: House) -> None:
    for path in ("/", "/bundles/bdl_us_1", "/videos/vid_1", "/static/live.js"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert filled.client.request(method, path).status_code == 405
        assert filled.client.head(path).status_code == 200


def test_all_who_watch_are_shown_what_one_look_found() -> None:
    asked: list[str] = []

    async def page(request: Request, runtime: object) -> Response:
        asked.append(request.url.query)
        return Response(str(len(asked)))

    def request(query: bytes) -> Request:
        return Request({"type": "http", "method": "GET", "path": "/", "query_string": query, "headers": []})

    async def watch() -> None:
        many = shared(page, fresh=60)  # type: ignore[arg-type]
        found = await asyncio.gather(*(many(request(b"a=1"), None) for _ in range(5)))  # type: ignore[arg-type]
        assert {answer.body for answer in found} == {b"1"}
        await many(request(b"a=2"), None)  # type: ignore[arg-type]
        assert asked == ["a=1", "a=2"]
        anew = shared(page, fresh=0)  # type: ignore[arg-type]
        for _ in range(2):
            await anew(request(b"a=3"), None)  # type: ignore[arg-type]
        assert asked[2:] == ["a=3", "a=3"]

    asyncio.run(watch())


def test_many_decisions_of_one_moment_are_told_shortly(house: House) -> None:
    placed = [
        decision_row(position, kind="place", from_bundle=None, video_id=f"vid_{position}") for position in range(10, 60)
    ]
    house.insert(decisions, decision_row(5), *placed, decision_row(70, at="2026-11-20T12:06:00Z"))
    text = house.client.get("/").text
    shown = text[text.index('<section id="decisions"') : text.index('<section id="bundles"')]
    assert shown.count("<tr>") - 1 == 5
    assert "(and 47 more at this moment)" in shown


def test_accounts_are_called_by_their_names_in_reasons() -> None:
    names = {"bdl_1": "acme", "bdl_12": "beta", "b.x": "dot"}
    assert words.named("bdl_12 takes it from bdl_1, not bdl_123 nor xbdl_1; b.x, bax", names) == (
        "beta takes it from acme, not bdl_123 nor xbdl_1; dot, bax"
    )
    assert words.named("bdl_1", {}) == "bdl_1"


@on_sqlite
def test_what_is_confirmed_is_told_once(house: House) -> None:
    posted = {"bundle": "bdl_1", "data": {"video_id": "vid_1"}}
    house.tell(webhook("bundle.created"), webhook("video.posted", 1, **posted), webhook("video.posted", 1, **posted))
    text = house.client.get("/").text
    news = text[text.index('<ol class="news">') :]
    assert news[: news.index("</ol>")].count("vid_1 is posted on bdl_1") == 1
