"""How many requests TokPortal takes: a token bucket per key, and a rolling limit on new and published bundles."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from orchestrator.sandbox.errors import TooMany
from orchestrator.sandbox.world import World

_SECOND = 1_000_000
_COOLED = frozenset({"createBundle", "createBundlesBulk", "publishBundle"})


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: int


class Quota:
    """Counts on the world's clock. A bucket is full after a restart; what was created is known from the file."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._buckets: dict[str, _Bucket] = {}
        self._spent = deque(effect.at for effect in world.effects if effect.operation in _COOLED)

    def take(self, key: str) -> dict[str, str]:
        """Take one request from the key's bucket; returns the rate headers.

        Raises:
            TooMany: RATE_LIMIT_EXCEEDED with `retry_after_seconds`.
        """
        world, parameters = self._world, self._world.parameters
        now = world.now()
        bucket = self._buckets.setdefault(key, _Bucket(float(parameters.rate_capacity), now))
        gained = max(0, now - bucket.at) / _SECOND * parameters.rate_refill
        bucket.tokens = min(float(parameters.rate_capacity), bucket.tokens + gained)
        bucket.at = max(bucket.at, now)
        world.count("requests")
        if bucket.tokens < 1:
            world.count("rate_limited")
            wait = max(1, math.ceil((1 - bucket.tokens) / parameters.rate_refill))
            raise TooMany("RATE_LIMIT_EXCEEDED", "Too many requests.", wait, self._headers(bucket))
        bucket.tokens -= 1
        return self._headers(bucket)

    def cool_down(self, bundles: int) -> None:
        """Count `bundles` that are about to be created or published.

        Raises:
            TooMany: capacity_cooldown; all of them are turned away.
        """
        world, parameters = self._world, self._world.parameters
        now = world.now()
        window = parameters.cooldown_window * _SECOND
        while self._spent and self._spent[0] <= now - window:
            self._spent.popleft()
        over = len(self._spent) + bundles - parameters.cooldown_capacity
        if over > 0:
            world.count("cooled_down")
            freeing = self._spent[over - 1] if over <= len(self._spent) else now
            wait = max(1, math.ceil((freeing + window - now) / _SECOND))
            raise TooMany("capacity_cooldown", "The workspace's capacity for bundles is used up.", wait)

    def spend(self, bundles: int) -> None:
        """These many bundles were created or published."""
        self._spent.extend([self._world.now()] * bundles)

    def _headers(self, bucket: _Bucket) -> dict[str, str]:
        parameters = self._world.parameters
        missing = (parameters.rate_capacity - bucket.tokens) / parameters.rate_refill
        return {
            "X-RateLimit-Limit": str(parameters.rate_capacity),
            "X-RateLimit-Remaining": str(int(bucket.tokens)),
            "X-RateLimit-Reset": str(math.ceil(bucket.at / _SECOND + missing)),
        }
