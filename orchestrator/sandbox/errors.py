from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """TokPortal's answer to a request that it does not carry out: `error {code, message, details}`.

    Codes and statuses are those of TokPortal's documentation; where it names a code without a status, 400 stands for
    input that is wrong in itself, 409 for a state that forbids it.
    """

    def __init__(self, status: int, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details

    def body(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message, "details": self.details}}


class TooMany(Refusal):
    """429, with `Retry-After` in seconds of the world's time."""

    def __init__(self, code: str, message: str, wait: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(429, code, message, retry_after_seconds=wait)
        self.headers = {"Retry-After": str(wait), **(headers or {})}
