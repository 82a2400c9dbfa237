from __future__ import annotations

import pytest

from orchestrator.simulate.error import SimulateError
from orchestrator.simulate.target import Target


def test_a_url_in_parts() -> None:
    assert Target.parse("http://localhost:8080/hook?a=1") == Target(
        "localhost", 8080, False, "localhost:8080", "/hook?a=1"
    )
    assert Target.parse("https://[::1]") == Target("::1", 443, True, "[::1]", "/")
    assert Target.parse("http://user:secret@host/").authority == "host"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8080",
        "ftp://host/",
        "http://",
        "http://host:99999/",
        "http://[",
        "http://host/a b",
        "http://hôte/",
    ],
)
def test_what_is_no_url_gives_one_sentence(url: str) -> None:
    with pytest.raises(SimulateError, match="URL"):
        Target.parse(url)


def test_a_complete_request() -> None:
    assert Target.parse("http://h:1/p").post(b"{}", [("A", "b")]) == (
        b"POST /p HTTP/1.1\r\nHost: h:1\r\nUser-Agent: orchestrator-simulate\r\n"
        b"Content-Type: application/json\r\nA: b\r\nContent-Length: 2\r\n\r\n{}"
    )
