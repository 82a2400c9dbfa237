"""What goes wrong on request: on the way of webhooks, and in the answers of the REST API."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from random import Random
from typing import Literal

import msgspec

from orchestrator.sandbox.hooks import Fault


def _check_shares(settings: object, *names: str) -> None:
    _check(settings, names, lambda value: 0 <= value <= 1, "must be a share from 0 to 1")


def _check_times(settings: object, *names: str) -> None:
    _check(settings, names, lambda value: value >= 0, "must not be below 0")


def _check(settings: object, names: tuple[str, ...], is_right: Callable[[float], bool], rule: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not is_right(value):
            raise ValueError(f"{name} {rule}, not {value}")


class WebhookFaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shares go from 0 to 1, times are seconds of the world. What befalls a delivery is seeded by its id."""

    lost: float = 0.0
    """Share whose automatic attempts never arrive: listed as not delivered, and sent when it is asked for again."""
    forgotten: float = 0.0
    """Share of events that TokPortal never sends and lists nowhere."""
    late: float = 0.0
    """Share sent later, by up to `late_by`."""
    late_by: float = 3_600.0
    duplicated: float = 0.0
    """Share sent twice under one id, the second time within `late_by`."""
    reordered: float = 0.0
    """Share held back by up to `reordered_by`, so that what happened later overtakes it."""
    reordered_by: float = 120.0

    def __post_init__(self) -> None:
        _check_shares(self, "lost", "forgotten", "late", "duplicated", "reordered")
        _check_times(self, "late_by", "reordered_by")


METHODS = frozenset({"*", "READ", "WRITE", "GET", "POST", "PUT", "PATCH", "DELETE"})


class RestFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A share of some requests that goes wrong."""

    share: float
    kind: Literal["error", "drop", "timeout", "late_error", "slow"] = "error"
    """As `hooks.Fault` has them; in all but `error` the request takes effect."""
    methods: tuple[str, ...] = ("*",)
    """Such as PUT; `*` is any, `read` is GET, `write` any but GET."""
    path: str = "*"
    """A pattern with `*` over the path below the API's base, such as /bundles/*/videos/*."""
    status: int = 503
    seconds: float = 0.0
    """Of the real time."""
    first: int | None = None
    """Only so many requests, from the moment that the fault was set; none: no end."""

    def __post_init__(self) -> None:
        _check_shares(self, "share")
        _check_times(self, "seconds")
        strange = sorted(name for name in self.methods if name.upper() not in METHODS)
        if strange:
            raise ValueError(f"methods are *, read, write, or such as PUT, not {', '.join(strange)}")
        if not 400 <= self.status <= 599:
            raise ValueError("status must be one of an error, from 400 to 599")
        if self.first is not None and self.first < 1:
            raise ValueError("first must be at least 1")

    def is_meant(self, method: str, path: str) -> bool:
        methods = {name.upper() for name in self.methods}
        kind = "READ" if method.upper() == "GET" else "WRITE"
        is_method = not methods.isdisjoint({"*", kind, method.upper()})
        return is_method and fnmatchcase(path, self.path)


class FaultSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that goes wrong on purpose in this world."""

    webhooks: WebhookFaults = WebhookFaults()
    rest: tuple[RestFault, ...] = ()


class WorldFaults:
    """Decides which requests go wrong (`hooks.Faults`), and holds the settings, which may change at any time."""

    def __init__(self, settings: FaultSettings, seed: int) -> None:
        self._random = Random(f"rest faults {seed}")
        self.settings = settings

    @property
    def settings(self) -> FaultSettings:
        return self._settings

    @settings.setter
    def settings(self, settings: FaultSettings) -> None:
        self._settings = settings
        self._left = [fault.first for fault in settings.rest]

    def on_request(self, method: str, path: str) -> Fault | None:
        """The fault that befalls this request: of those meant for it, the first whose share the dice name."""
        for number, fault in enumerate(self._settings.rest):
            left = self._left[number]
            if left == 0 or not fault.is_meant(method, path) or self._random.random() >= fault.share:
                continue
            if left is not None:
                self._left[number] = left - 1
            return Fault(kind=fault.kind, status=fault.status, seconds=fault.seconds)
        return None
