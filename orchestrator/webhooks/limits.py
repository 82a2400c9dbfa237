"""How many webhooks one sender may fail to verify before it has to wait."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

from orchestrator.webhooks.networks import parse_address

MAX_SENDERS: Final = 10_000
"""Senders remembered at once. The one not seen for longest is forgotten first, and begins anew with a full bucket."""

_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/([smh])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}

# A float cannot hold today's Unix time closer than 0.25 microseconds; waiting one longer surely fills the bucket.
_ROUNDING: Final = 1e-6

_LONGEST: Final = 64


class RateLimit:
    """A token bucket for each sender: it holds as many tokens as the rate names, and begins full."""

    __slots__ = ("_buckets", "_per_second", "_size")

    def __init__(self, rate: str) -> None:
        """Read `rate`: webhooks per second, minute or hour, as `50/s`, `600/m` or `1000/h`.

        Raises:
            ValueError: `rate` is not of that form.
        """
        match = _RATE.fullmatch(rate.strip())
        if match is None:
            raise ValueError(
                f"{rate!r} is no rate: write a whole number from 1 to 999999999 and a unit, as 50/s, 600/m or 1000/h"
            )
        self._size = float(match[1])
        self._per_second = self._size / _SECONDS[match[2]]
        self._buckets: dict[int | str, tuple[float, float]] = {}

    def allow(self, sender: str, now: float) -> float:
        """Take a token for `sender`, and say how many seconds it has to wait: 0.0 when it got one.

        Args:
            sender: IP address. Addresses of one IPv6 /64 share a bucket, because a host picks any of them for itself
                (RFC 4862); a text that is no address is a sender of its own.
            now: seconds on any clock. A clock set back costs nobody tokens.
        """
        key = _group(sender)
        tokens, seen = self._buckets.pop(key, (self._size, now))
        tokens = min(self._size, tokens + max(0.0, now - seen) * self._per_second)
        wait = 0.0
        if tokens >= 1.0:
            tokens -= 1.0
        else:
            wait = (1.0 - tokens) / self._per_second + _ROUNDING
        # Popped above and put back at the end, the dictionary stays sorted by when a sender was last seen.
        self._buckets[key] = (tokens, now)
        if len(self._buckets) > MAX_SENDERS:
            del self._buckets[next(iter(self._buckets))]
        return wait

    def __len__(self) -> int:
        return len(self._buckets)


def _group(sender: str) -> int | str:
    address = parse_address(sender)
    if address is None:
        return sender[:_LONGEST]
    if isinstance(address, IPv6Address):
        return int(address) >> 64 << 64
    return int(address)
