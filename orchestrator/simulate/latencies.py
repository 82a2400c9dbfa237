from __future__ import annotations

from math import log

_GROWTH = 1.01
_FLOOR = 1e-6
_CEILING = 1e4
_SCALE = 1 / log(_GROWTH)
_BUCKETS = int(log(_CEILING / _FLOOR) * _SCALE) + 2


class Latencies:
    """A histogram of durations in seconds: memory is fixed, a percentile is at most 0.5 % off, the maximum exact.

    Durations below a microsecond count as one, beyond 10,000 s as that.
    """

    __slots__ = ("_buckets", "count", "max")

    def __init__(self) -> None:
        self._buckets = [0] * _BUCKETS
        self.count = 0
        self.max = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        if seconds > self.max:
            self.max = seconds
        if seconds <= _FLOOR:
            self._buckets[0] += 1
        elif seconds >= _CEILING:
            self._buckets[-1] += 1
        else:
            self._buckets[int(log(seconds / _FLOOR) * _SCALE)] += 1

    def percentile(self, percent: float) -> float:
        """The duration in seconds that `percent` of all durations do not exceed; 0.0 while there are none."""
        if percent >= 100:
            return self.max
        remaining = self.count * percent / 100
        for number, amount in enumerate(self._buckets):
            remaining -= amount
            if amount and remaining <= 0:
                # The geometric middle of a bucket is equally far from both of its edges.
                middle: float = _FLOOR * _GROWTH ** (number + 0.5)
                return min(middle, self.max)
        return self.max
