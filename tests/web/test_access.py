from __future__ import annotations

import re

import pytest

from orchestrator.api.app import OPERATIONS
from orchestrator.api.services import Token
from orchestrator.web.routes import PAGES, READ_BY_PAGES
from orchestrator.web.sessions import COOKIE, LASTS, Sessions, cookie
from tests.api.house import TOKENS, House, bearer, check_problem
from tests.web.conftest import fill, on_sqlite

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
ADDRESSES = ["/", "/bundles/bdl_us_1", "/videos/vid_1"]


def sign_in(house: House, token: str = TOKENS[0].value, *, where: str = "/", **headers: str) -> object:
    return house.client.post("/sign-in", data={"token": token, "next": where}, headers=headers, follow_redirects=False)


def session(house: House, token: str = TOKENS[0].value) -> dict[str, str]:
    """The header that a browser sends after it signed in."""
    answer = sign_in(house, token)
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}  # type: ignore[attr-defined]


def test_every_page_is_asked_for_here() -> None:
    assert [path.replace("{id}", "x") for path in PAGES] == [re.sub("/(bdl|vid)_.*", "/x", path) for path in ADDRESSES]


@on_sqlite
def test_a_browser_that_is_not_known_gets_the_form_and_nothing_else(guarded: House) -> None:
    fill(guarded)
    for path in (*ADDRESSES, "/?part=live", "/nothing", "/api/bundles"):
        answer = guarded.client.get(path, headers=HTML)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert 'type="password"' in answer.text
        # What the check of the form's origin depends on.
        assert '<meta name="referrer" content="same-origin">' in answer.text
        assert "bdl_" not in re.sub(r'name="next" value="[^"]*"', "", answer.text)
        check_problem(guarded.client.get(path))


@on_sqlite
def test_tokens_open_the_pages_as_they_open_the_api(guarded: House) -> None:
    fill(guarded)
    for path in ADDRESSES:
        for role in ("viewer", "operator", "admin"):
            assert guarded.client.get(path, headers=bearer(role)).status_code == 200
        assert guarded.client.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401


@on_sqlite
def test_whoever_shows_a_token_may_look(guarded: House) -> None:
    fill(guarded)
    answer = sign_in(guarded, where="/videos/vid_1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/videos/vid_1")  # type: ignore[attr-defined]
    held = session(guarded)
    for path in ADDRESSES:
        page = guarded.client.get(path, headers=held | HTML)
        assert page.status_code == 200
        assert "Sign out" in page.text
    assert guarded.client.get("/docs", headers=held).status_code == 200
    # The stream would not end: one that must not begin is told from one that may by its bad start.
    assert guarded.client.get("/api/stream?after=99", headers=held).status_code == 400


@on_sqlite
@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token.role)
def test_a_session_gives_no_orders_and_reads_no_more_than_pages_need(guarded: House, token: Token) -> None:
    held = session(guarded, token.value)
    for operation in OPERATIONS:
        if operation.role is None:
            continue
        address = operation.path.replace("{id}", "none").replace("{country}", "US")
        answer = guarded.client.request(operation.method, f"{address}?after=x", headers=held)
        may = operation.method == "GET" and operation.path in READ_BY_PAGES
        assert (answer.status_code != 401) == may, operation.path


@on_sqlite
def test_the_cookie_is_for_this_house_alone_and_tells_nothing(guarded: House) -> None:
    for token in TOKENS:
        answer = sign_in(guarded, token.value)
        header = answer.headers["set-cookie"]  # type: ignore[attr-defined]
        name, _, rest = header.partition("=")
        value, *attributes = rest.split("; ")
        assert name == COOKIE
        assert attributes == ["Path=/", f"Max-Age={LASTS}", "HttpOnly", "SameSite=Strict"]
        assert token.value not in header
        assert value.isascii()
    for headers in ({"X-Forwarded-Proto": "https"}, {"X-Forwarded-Proto": "HTTPS"}):
        assert "; Secure" in sign_in(guarded, **headers).headers["set-cookie"]  # type: ignore[attr-defined]


@on_sqlite
@pytest.mark.parametrize("token", ["", "wrong", "viewer-secret-7f3", "VIEWER-SECRET-7F3A", "\udcff", "x" * 2_000])
def test_a_token_that_is_not_known_opens_nothing(guarded: House, token: str) -> None:
    body = b"token=" + token.encode("utf-8", "surrogatepass")
    answer = guarded.client.post(
        "/sign-in", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "This token is not known" in answer.text
    assert token == "" or token not in answer.text


@on_sqlite
def test_a_form_has_an_end(guarded: House) -> None:
    assert guarded.client.post("/sign-in", content=b"token=" + b"x" * 5_000).status_code == 413


@pytest.mark.parametrize(
    "where",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/api/pause",
        "/videos/x\r\nX: y",
        "javascript:1",
        "",
    ],
)
@on_sqlite
def test_whoever_signs_in_is_sent_nowhere_else(guarded: House, where: str) -> None:
    answer = sign_in(guarded, where=where)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")  # type: ignore[attr-defined]


@on_sqlite
def test_no_page_from_elsewhere_signs_a_browser_in(guarded: House) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        answer = sign_in(guarded, **headers)
        assert answer.status_code == 403  # type: ignore[attr-defined]
        assert "set-cookie" not in answer.headers  # type: ignore[attr-defined]
    for headers in ({"Origin": "http://127.0.0.1:1"}, {"Sec-Fetch-Site": "same-origin"}):
        assert sign_in(guarded, **headers).status_code == 303  # type: ignore[attr-defined]


@on_sqlite
def test_signing_out_forgets_the_session(guarded: House) -> None:
    answer = guarded.client.post("/sign-out", headers=session(guarded), follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert answer.headers["set-cookie"].startswith(f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly")
    assert guarded.client.get("/sign-in").status_code == 200


@on_sqlite
def test_without_tokens_there_is_nothing_to_sign_in_to(house: House) -> None:
    for method in ("GET", "POST"):
        answer = house.client.request(method, "/sign-in", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
    for path in (*ADDRESSES, "/static/live.css", "/sign-in"):
        for headers in ({"Host": "evil.example"}, {"X-Forwarded-For": "203.0.113.9"}):
            answer = house.client.get(path, headers=headers | HTML)
            assert answer.status_code == 403
            check_problem(answer)
    assert "Sign out" not in house.client.get("/").text


class Now:
    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


def headers(value: str) -> list[tuple[bytes, bytes]]:
    return [(b"cookie", f"theme=dark; {COOKIE}={value}".encode())]


def test_a_session_ends() -> None:
    now = Now()
    sessions = Sessions(TOKENS, now)
    value = sessions.begin(TOKENS[0].value)
    assert value is not None
    assert sessions.viewer(headers(value)) == "vera"
    now.seconds += LASTS - 1
    assert sessions.viewer(headers(value)) == "vera"
    now.seconds += 1
    assert sessions.viewer(headers(value)) is None


def test_a_session_is_of_one_process() -> None:
    value = Sessions(TOKENS).begin(TOKENS[0].value)
    assert value is not None
    assert Sessions(TOKENS).viewer(headers(value)) is None


def test_a_session_cannot_be_made_up() -> None:
    sessions = Sessions(TOKENS, Now())
    value = sessions.begin(TOKENS[0].value)
    other = sessions.begin(TOKENS[1].value)
    assert value is not None
    assert other is not None
    content, _, seal = value.partition(".")
    for forged in (
        "",
        ".",
        seal,
        content,
        f"{content}.",
        f"{other.partition('.')[0]}.{seal}",
        f"{content}.{seal[:-1]}0",
        "é",
    ):
        assert forged == value or sessions.viewer(headers(forged)) is None
    for raw in (b"", b";;;=", b"\xff\xfe", b'a="b; c', COOKIE.encode()):
        assert sessions.viewer([(b"cookie", raw)]) is None
    assert sessions.viewer([]) is None
    # Those of other programs on this machine do not stand in its way.
    assert sessions.viewer([(b"cookie", b'x="broken; [;]; ' + f"{COOKIE}={value}".encode())]) == "vera"


def test_a_cookie_header() -> None:
    assert cookie("x", secure=True).endswith("; HttpOnly; SameSite=Strict; Secure")
    assert "Max-Age=0" in cookie("", secure=False)
