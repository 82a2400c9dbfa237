from __future__ import annotations

from collections import Counter
from time import perf_counter
from typing import Any

import msgspec

from orchestrator.simulate.latencies import Latencies

PERCENTILES: tuple[tuple[str, float], ...] = (("p50", 50), ("p90", 90), ("p99", 99), ("p99.9", 99.9), ("max", 100))
_SAMPLES = 5


class _Word(msgspec.Struct, gc=False):
    status: str | int | None = None


_word = msgspec.json.Decoder(_Word)


class Figures:
    """What a run measured; memory does not grow with the number of requests.

    `statuses` counts good requests by status code, `words` their answers by the `status` field of the JSON body
    (`accepted`, `duplicate`), `refused` forged requests by status code. `unexpected` counts answers of both kinds whose
    status was none of those expected, the first few of them kept in `samples`; `lost` the requests without an answer;
    `reconnects` the connections made anew. `latencies` are those of good requests. `stopped` tells why a run ended
    before its time.
    """

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.words: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()
        self.unexpected = 0
        self.samples: list[str] = []
        self.lost = 0
        self.reconnects = 0
        self.latencies = Latencies()
        self.stopped = ""
        self._began: float | None = None
        self._ended: float | None = None

    def begin(self) -> None:
        self._began = perf_counter()

    def end(self) -> None:
        self._ended = perf_counter()

    def record(
        self, status: int, body: bytes, seconds: float, expected: tuple[int, ...] = (), forged: bool = False
    ) -> None:
        """Counts one answer that took `seconds`; without `expected` statuses no answer is unexpected."""
        if expected and status not in expected:
            self.unexpected += 1
            if len(self.samples) < _SAMPLES:
                self.samples.append(f"{status} {body[:200].decode(errors='replace')}".rstrip())
        if forged:
            self.refused[status] += 1
            return
        self.statuses[status] += 1
        self.latencies.add(seconds)
        try:
            word = _word.decode(body).status
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if isinstance(word, str):
            self.words[word] += 1

    @property
    def answers(self) -> int:
        """Answers so far, those to forged requests included."""
        return self.statuses.total() + self.refused.total()

    @property
    def seconds(self) -> float:
        """Seconds since the first request could leave, up to now or to the end of the run."""
        if self._began is None:
            return 0.0
        return (perf_counter() if self._ended is None else self._ended) - self._began

    @property
    def per_second(self) -> float:
        seconds = self.seconds
        return self.answers / seconds if seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """All figures as plain JSON values; latencies in milliseconds."""
        return {
            "answers": self.answers,
            "seconds": round(self.seconds, 3),
            "per_second": round(self.per_second, 1),
            "statuses": {str(status): self.statuses[status] for status in sorted(self.statuses)},
            "words": dict(sorted(self.words.items())),
            "refused": {str(status): self.refused[status] for status in sorted(self.refused)},
            "unexpected": self.unexpected,
            "samples": list(self.samples),
            "lost": self.lost,
            "reconnects": self.reconnects,
            "latency_ms": {name: round(self.latencies.percentile(at) * 1000, 3) for name, at in PERCENTILES},
            "stopped": self.stopped or None,
        }

    def rows(self) -> list[tuple[str, str]]:
        """The figures as pairs of label and text, for tables."""
        rows = [
            ("answers", f"{self.answers:,}"),
            ("seconds", f"{self.seconds:.1f}"),
            ("per second", f"{self.per_second:,.0f}"),
        ]
        rows += [(f"status {status}", f"{self.statuses[status]:,}") for status in sorted(self.statuses)]
        rows += [(word, f"{amount:,}") for word, amount in sorted(self.words.items())]
        rows += [(f"forged, status {status}", f"{self.refused[status]:,}") for status in sorted(self.refused)]
        rows += [("unexpected", f"{self.unexpected:,}"), ("lost", f"{self.lost:,}")]
        if self.reconnects:
            rows.append(("reconnects", f"{self.reconnects:,}"))
        rows += [(name, f"{self.latencies.percentile(at) * 1000:.2f} ms") for name, at in PERCENTILES]
        rows += [("unexpected answer", sample) for sample in self.samples]
        if self.stopped:
            rows.append(("stopped", self.stopped))
        return rows

    def table(self) -> str:
        """The figures as lines of text for people."""
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {text}" for label, text in rows)
