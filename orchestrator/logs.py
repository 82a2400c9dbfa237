"""Logs: one line for each event, for people or for machines, without secrets and without room for forgery."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from orchestrator.mask import HIDDEN, Mask, is_sensitive
from orchestrator.secrets import Secret

REROUTED: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "alembic")
"""Loggers that may have been given handlers of their own."""

QUIET: Final = ("alembic", "apscheduler", "httpx2", "uvicorn.error")
"""Loggers that report at INFO what only their own makers want to know."""

_DEPTH: Final = 6
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
_OURS: Final = frozenset({"ts", "level", "logger", "message", "exception", "stack"})
_COLOURS: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}

# Control characters, line separators, lone surrogates and what is invisible or turns the direction of writing; the
# joiners U+200C and U+200D stay, since emoji and several scripts need them.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_PLAIN: Final = re.compile(r"[^\s\"'={}\[\]\\]+")


def configure(
    format: Literal["text", "json"],
    secrets: Iterable[Secret] = (),
    stream: TextIO | None = None,
    level: int = logging.INFO,
) -> Mask:
    """Send everything that is logged to `stream` (standard error unless given), in place of an earlier configuration.

    `text` is `TIME LEVEL LOGGER MESSAGE key=value …`, coloured on a terminal; `json` is one object a line with `ts`,
    `level`, `logger`, `message`, what was passed as `extra`, and `exception`. Start uvicorn with `log_config=None`, or
    it puts its own handlers back.

    Returns:
        The mask that all lines go through, which can be told of secrets learnt later.
    """
    mask = Mask(secrets)
    target = stream if stream is not None else sys.stderr
    handler = _Handler(target)
    handler.setFormatter(_JsonFormatter(mask) if format == "json" else _TextFormatter(mask, _has_colours(target)))
    root = logging.getLogger()
    for other in list(root.handlers):
        # Those of `basicConfig` and ours, not what a test runner or a monitor has hooked in.
        if type(other) in (logging.StreamHandler, _Handler):
            root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(level)
    for name in REROUTED:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
        logger.disabled = False
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    return mask


class _Handler(logging.StreamHandler[TextIO]):
    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return line.encode(encoding, "backslashreplace").decode(encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        # The original prints the record as it is, secrets included.
        error = sys.exc_info()[0]
        if sys.stderr is not None and sys.stderr is not self.stream and error is not None:
            sys.stderr.write(f"a log line could not be written: {error.__name__}\n")


class _Formatter(logging.Formatter):
    """Takes a record apart. Never raises: a careless log call must not stop who made it."""

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self._mask = mask

    def message(self, record: logging.LogRecord) -> str:
        try:
            text = record.getMessage()
        except Exception:  # A line whose arguments do not fit its text is shown as it is, rather than lost.
            text = f"{_text(record.msg)} {_text(record.args)}"
        return self._mask(text)

    def details(self, record: logging.LogRecord) -> dict[str, Any]:
        """Extras, then the traceback."""
        try:
            return self._details(record)
        except Exception as error:
            return {"exception": f"the details of this line cannot be shown: {type(error).__name__}"}

    def _details(self, record: logging.LogRecord) -> dict[str, Any]:
        details = {
            self._mask(f"{name}_" if name in _OURS else name): self._masked(name, value)
            for name, value in record.__dict__.items()
            if name not in _STANDARD
        }
        if record.exc_info and record.exc_info[0] is not None:
            details["exception"] = self._mask("".join(traceback.format_exception(*record.exc_info)).rstrip())
        elif record.exc_text:
            details["exception"] = self._mask(record.exc_text)
        if record.stack_info:
            details["stack"] = self._mask(record.stack_info)
        return details

    def _masked(self, name: str, value: object, depth: int = 0) -> Any:
        """`value` as JSON can hold it, without secrets."""
        if is_sensitive(name):
            return HIDDEN
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (int, float)):
            text = _text(value)
            # JSON knows no infinity, and Python refuses to spell out the longest integers.
            is_plain = text[-1].isdigit() and self._mask(text) == text
            return value if is_plain else self._mask(text)
        if isinstance(value, Mapping) and depth < _DEPTH:
            return {self._mask(_text(key)): self._masked(_text(key), item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)) and depth < _DEPTH:
            items = list(value)
            # A header as ASGI has it, (b"authorization", b"Bearer …"), is a name and a value too.
            if len(items) == 2 and isinstance(items[0], (str, bytes)) and is_sensitive(_text(items[0])):
                return [_text(items[0]), HIDDEN]
            return [self._masked("", item, depth + 1) for item in items]
        return self._mask(_text(value))


class _TextFormatter(_Formatter):
    def __init__(self, mask: Mask, has_colours: bool) -> None:
        super().__init__(mask)
        self._has_colours = has_colours

    def format(self, record: logging.LogRecord) -> str:
        level = f"{_escaped(record.levelname):<8}"
        if self._has_colours:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        rest = " ".join(
            [
                _escaped(self._mask(record.name)),
                _escaped(self.message(record)),
                *(f"{_quoted(name)}={_quoted(value)}" for name, value in self.details(record).items()),
            ]
        )
        # Once more as a whole, for what only joining has put together.
        return f"{_time(record)} {level} {self._mask(rest)}"


class _JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": _time(record),
            "level": record.levelname.lower(),
            "logger": self._mask(record.name),
            "message": self.message(record),
            **self.details(record),
        }
        return json.dumps(line, separators=(",", ":"))


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: object) -> str:
    try:
        if isinstance(value, bytes):
            return value.decode("utf-8", "backslashreplace")
        if isinstance(value, datetime):
            return value.isoformat().replace("+00:00", "Z")
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def _quoted(value: object) -> str:
    """One word, so that nothing inside a value can look like another field."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _escaped(
        text if _PLAIN.fullmatch(text) or not isinstance(value, str) else json.dumps(text, ensure_ascii=False)
    )


def _has_colours(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
