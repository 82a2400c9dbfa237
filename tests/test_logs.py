from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal

import pytest
import uvicorn

from orchestrator.logs import configure
from orchestrator.secrets import Secret

CANARY = Secret("canary-7c1f-0123456789")
logger = logging.getLogger("orchestrator.test")
Lines = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    root.handlers[:] = [handler for handler in root.handlers if type(handler).__module__ != "orchestrator.logs"]
    root.setLevel(level)


class Log:
    def __init__(self, format: Literal["text", "json"], stream: io.StringIO | None = None, alone: bool = True) -> None:
        if alone:
            # pytest's handlers raise what ours forgive
            logging.getLogger().handlers.clear()
        self.stream = stream or io.StringIO()
        self.mask = configure(format, [CANARY], self.stream)

    @property
    def lines(self) -> list[str]:
        *lines, end = self.stream.getvalue().split("\n")
        assert end == ""
        return lines

    @property
    def line(self) -> str:
        (line,) = self.lines
        return line

    @property
    def fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.line)
        return fields


def without_time(line: str) -> str:
    time, _, rest = line.partition(" ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    return rest


def test_text() -> None:
    log = Log("text")
    logger.info("stored %d webhooks", 3, extra={"event_id": "evt_1", "took": 0.25, "note": "a b", "none": None})
    assert (
        without_time(log.line)
        == 'INFO     orchestrator.test stored 3 webhooks event_id=evt_1 took=0.25 note="a b" none=null'
    )


def test_json() -> None:
    log = Log("json")
    before = datetime.now(UTC)
    logger.warning("stored %d webhooks", 3, extra={"event_id": "evt_1", "took": 0.25, "live": True, "tags": {"a": [1]}})
    fields = log.fields
    time = datetime.fromisoformat(fields.pop("ts"))
    assert abs((time - before).total_seconds()) < 60
    assert time.utcoffset() is not None
    assert fields == {
        "level": "warning",
        "logger": "orchestrator.test",
        "message": "stored 3 webhooks",
        "event_id": "evt_1",
        "took": 0.25,
        "live": True,
        "tags": {"a": [1]},
    }
    assert log.line.startswith('{"ts":"')
    assert fields["level"] == "warning"


def test_times_are_utc_with_z() -> None:
    log = Log("json")
    record = logging.makeLogRecord(
        {"created": 1_796_083_200.25, "name": "a", "msg": "x", "levelno": 20, "levelname": "INFO"}
    )
    logging.getLogger().handle(record)
    assert log.fields["ts"] == "2026-12-01T00:00:00.250Z"


@pytest.mark.parametrize("format", ["text", "json"])
def test_an_exception_is_one_field_of_one_line(format: Literal["text", "json"]) -> None:
    log = Log(format)
    try:
        raise ValueError(f"no\n{CANARY.reveal()}")
    except ValueError:
        logger.exception("failed", stack_info=True)
    assert "Traceback (most recent call last)" in log.line
    assert "ValueError: no" in log.line
    assert "canary" not in log.line
    if format == "json":
        assert log.fields["exception"].endswith(f"ValueError: no\n{CANARY}")
        assert log.fields["stack"].startswith("Stack (most recent call last)")
    else:
        assert " exception=" in log.line
        assert " stack=" in log.line


FORGERIES = [
    "a\n2026-12-01T00:00:00.000Z INFO     orchestrator all is well",
    "a\r\nb",
    "a\x1b[2Jb",
    "a\x85b",
    "a\u2028b\u2029c",
    "a\u202eb\u2066c\u200f",
    "a\x00b\x7f",
    "a\ud800b",
]


@pytest.mark.parametrize("text", FORGERIES)
@pytest.mark.parametrize("format", ["text", "json"])
def test_nothing_can_be_forged(format: Literal["text", "json"], text: str) -> None:
    log = Log(format)
    logger.error(text, extra={"caption": text, text: text, "nested": [text]})
    logging.getLogger(f"orchestrator.{text}").error("x")
    assert len(log.lines) == len(log.stream.getvalue().splitlines()) == 2
    for line in log.lines:
        assert line.isprintable() or format == "json"
        assert not re.search(r"[\x00-\x1f\u0080-\u009f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", line)


def test_text_that_needs_no_escape_stays_readable() -> None:
    log = Log("text")
    logger.info("Größe 👩‍🚀 你好", extra={"path": "/a/b?c", "windows": "C:\\x"})
    assert without_time(log.line).endswith('Größe 👩‍🚀 你好 path=/a/b?c windows="C:\\\\x"')


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for stream, format, is_coloured in (
        (Terminal(), "text", True),
        (io.StringIO(), "text", False),
        (Terminal(), "json", False),
    ):
        log = Log(format, stream)  # type: ignore[arg-type]
        logger.error("x")
        assert ("\x1b[31mERROR   \x1b[0m" in log.line) is is_coloured
    monkeypatch.setenv("NO_COLOR", "1")
    log = Log("text", Terminal())
    logger.error("x")
    assert "\x1b" not in log.line


# Secrets


class Careless:
    def __str__(self) -> str:
        return f"<{CANARY.reveal()}>"


class Code(IntEnum):
    ONE = 1


SPILLS: dict[str, Callable[[], None]] = {
    "message": lambda: logger.error(f"key {CANARY.reveal()} refused"),
    "argument": lambda: logger.error("key %s refused", CANARY.reveal()),
    "object": lambda: logger.error("key %s refused", Careless()),
    "arguments by name": lambda: logger.error("%(key)s", {"key": CANARY.reveal()}),
    "too many arguments": lambda: logger.error("key", CANARY.reveal()),
    "wrong kind of argument": lambda: logger.error("%d", CANARY.reveal()),
    "extra": lambda: logger.error("x", extra={"key": CANARY.reveal()}),
    "name of an extra": lambda: logger.error("x", extra={CANARY.reveal(): 1}),
    "object in an extra": lambda: logger.error("x", extra={"key": Careless()}),
    "bytes": lambda: logger.error("x", extra={"key": CANARY.reveal().encode()}),
    "nested": lambda: logger.error("x", extra={"key": {"a": [{CANARY.reveal(): (CANARY.reveal(),)}]}}),
    "secret": lambda: logger.error("x %s", CANARY, extra={"key": CANARY}),
    "header": lambda: logger.error("x", extra={"headers": {"Authorization": "Bearer canary"}}),
    "raw headers": lambda: logger.error("x", extra={"headers": [(b"authorization", b"Bearer canary")]}),
    "printed headers": lambda: logger.error("%s", [(b"authorization", b"Bearer canary")]),
    "credential by name": lambda: logger.error("x", extra={"password": "canary", "api_key": 1}),
    "database": lambda: logger.error("cannot open postgresql+psycopg://u:canary@h/db"),
    "logger": lambda: logging.getLogger(CANARY.reveal()).error("x"),
    "access log": lambda: logging.getLogger("uvicorn.access").info(
        '%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "GET", f"/api?token={CANARY.reveal()}", "1.1", 200
    ),
}


@pytest.mark.parametrize("spill", SPILLS.values(), ids=SPILLS.keys())
@pytest.mark.parametrize("format", ["text", "json"])
def test_no_secret_is_logged(
    format: Literal["text", "json"], spill: Callable[[], None], capfd: pytest.CaptureFixture[str]
) -> None:
    log = Log(format)
    spill()
    assert "canary" not in log.line
    assert capfd.readouterr() == ("", "")


def test_number_that_is_a_secret() -> None:
    log = Log("json")
    log.mask.add([Secret("123456789")])
    logger.error("x", extra={"key": 123456789})
    assert log.fields["key"] == str(Secret("123456789"))


def test_secret_learnt_later() -> None:
    log = Log("text")
    log.mask.add([Secret("another-canary")])
    logger.error("another-canary")
    assert "canary" not in log.line


def test_traceback_shows_no_secret() -> None:
    log = Log("json")
    key = CANARY.reveal()
    try:
        try:
            raise KeyError(key)
        except KeyError as error:
            raise RuntimeError(f"postgresql://u:canary@h: {key}") from error
    except RuntimeError:
        logger.exception("x")
    assert "canary" not in log.line
    assert "direct cause" in log.fields["exception"]


# Odd calls


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class BrokenMapping(dict[str, str]):
    def items(self) -> Any:
        raise RuntimeError("no items")


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_careless_call_still_gives_a_line(format: Literal["text", "json"], capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(format)
    endless: list[object] = []
    endless.append(endless)
    logger.error("%s", Broken())
    logger.error("a", extra={"broken": Broken(), "endless": endless, "mapping": {1: Broken()}})
    logger.error("b", extra={"long": 10**5000, "inf": float("inf"), "nan": float("nan"), "enum": Code.ONE})
    logger.error("c", extra={"mapping": BrokenMapping(a="b")})
    logger.error("d", extra={"level": 1, "ts": 2, "logger": 3, "stack": 4})
    assert len(log.lines) == 5
    if format == "json":
        lines = [json.loads(line, parse_constant=pytest.fail) for line in log.lines]
        assert lines[2]["inf"] == "inf"
        assert lines[2]["enum"] == 1
        assert lines[4]["level"] == "error"
        assert lines[4]["level_"] == 1
    assert capfd.readouterr() == ("", "")


def test_stream_that_cannot_show_everything(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        configure("text", [], stream)
        logger.error("Größe 👩‍🚀")
    assert "Gr\\xf6\\xdfe" in (tmp_path / "log").read_text("ascii")


def test_stream_that_is_gone(capfd: pytest.CaptureFixture[str]) -> None:
    log = Log("text")
    log.stream.close()
    logger.error(CANARY.reveal())
    assert capfd.readouterr().err == "a log line could not be written: ValueError\n"


def test_standard_error_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure("json")
    logger.error("x")
    assert json.loads(stream.getvalue())["message"] == "x"


# Other people's loggers


def test_the_last_configuration_counts() -> None:
    first, second = Log("text"), Log("json")
    logger.error("x")
    assert first.stream.getvalue() == ""
    assert second.fields["message"] == "x"


def test_handlers_of_test_runners_stay(caplog: pytest.LogCaptureFixture) -> None:
    log = Log("text", alone=False)
    logger.error("x")
    assert "x" in log.line
    assert caplog.messages == ["x"]


def test_uvicorn_and_alembic_go_through() -> None:
    uvicorn.Config("x:y")  # installs handlers of its own
    log = Log("json")
    uvicorn.Config("x:y", log_config=None)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "alembic", "alembic.runtime.migration"):
        logging.getLogger(name).warning("%s", CANARY.reveal(), extra={"color_message": "\x1b[1m"})
        assert logging.getLogger(name).hasHandlers()
    lines = [json.loads(line) for line in log.lines]
    assert {line["message"] for line in lines} == {str(CANARY)}
    assert len(lines) == 5
    assert all("color_message" not in line for line in lines)


@pytest.mark.parametrize("name", ["apscheduler.executors.default", "alembic.runtime.migration", "uvicorn.error"])
def test_talkative_loggers_report_trouble_only(name: str) -> None:
    log = Log("text")
    logging.getLogger(name).info("all is well")
    logging.getLogger(name).warning("missed")
    assert "missed" in log.line
