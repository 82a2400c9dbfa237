"""The operations of TokPortal that this program uses: a closed table. What is not in it cannot be called.

Above all nothing here reveals credentials or fetches verification codes: TokPortal detaches an account for good when
that is done. Operations, paths and idempotency are those of the vendor's SDK.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from tokportal._generated import OPERATION_DEFINITIONS


class Cost(StrEnum):
    """What a call may cost: nothing, credits, or what no other call brings back. A read is always free.

    Any write on a delivered account may renew its Coverage besides, if the account is set up so; TokPortal charges for
    that by itself.
    """

    FREE = "free"
    PAID = "paid"
    IRREVERSIBLE = "irreversible"


class ForbiddenOperation(Exception):
    """Something was to be called that this program does not call."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of TokPortal's API. `takes_key`: whether it accepts an `Idempotency-Key`."""

    name: str
    cost: Cost
    method: str
    path: str
    takes_key: bool
    _pattern: re.Pattern[str] = field(repr=False, compare=False)

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    def matches(self, method: str, path: str) -> bool:
        return method == self.method and self._pattern.fullmatch(path) is not None


def _operation(name: str, cost: Cost) -> Operation:
    known = OPERATION_DEFINITIONS[name]
    method, path = str(known["method"]), str(known["path"])
    # An id is quoted, so that a part of a path never holds a slash or more than it seems to.
    pattern = re.sub(r"\\{\w+\\}", "[^/?#]+", re.escape(path))
    return Operation(name, cost, method, path, known["idempotency_policy"] == "standard", re.compile(pattern))


_COSTS: Final = {
    "getCurrentUser": Cost.FREE,
    "getCreditBalance": Cost.FREE,
    "listBundles": Cost.FREE,
    "getBundle": Cost.FREE,
    "listBundleVideos": Cost.FREE,
    "listAccounts": Cost.FREE,
    "listAccountBans": Cost.FREE,
    "listAccountWarmingSessions": Cost.FREE,
    "getVideoAnalytics": Cost.FREE,
    "listWebhookEvents": Cost.FREE,
    "listWebhookEndpoints": Cost.FREE,
    "listWebhookDeliveries": Cost.FREE,
    "configureBundleVideo": Cost.FREE,
    "batchConfigureBundleVideos": Cost.FREE,
    "requestBundleVideoCorrections": Cost.FREE,
    "uploadImageFromUrl": Cost.FREE,
    "createWebhookEndpoint": Cost.FREE,
    "testWebhookEndpoint": Cost.FREE,
    "retryWebhookDelivery": Cost.FREE,
    "addVideoSlots": Cost.PAID,
    "rewarmAccount": Cost.PAID,
    "unscheduleBundleVideo": Cost.IRREVERSIBLE,
    "resetBundleVideo": Cost.IRREVERSIBLE,
    "finalizeBundleVideo": Cost.IRREVERSIBLE,
    "configureBundleWarmingTerms": Cost.IRREVERSIBLE,
    "deleteWebhookEndpoint": Cost.IRREVERSIBLE,
}

OPERATIONS: Final[Mapping[str, Operation]] = {name: _operation(name, cost) for name, cost in _COSTS.items()}


def operation(name: str) -> Operation:
    """Raises `ForbiddenOperation` for what is not in the table."""
    found = OPERATIONS.get(name)
    if found is None:
        raise ForbiddenOperation(f"{name!r} is no operation that this program calls: it calls {', '.join(OPERATIONS)}")
    return found


def check_request(method: str, path: str) -> None:
    """The second fence, around whatever is about to be sent: `path` is relative to the API's base.

    Raises `ForbiddenOperation` where no operation of the table has this method and path.
    """
    if not any(known.matches(method, path) for known in OPERATIONS.values()):
        raise ForbiddenOperation(f"{method} {quote(path)} is no request that this program makes")
