from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from random import Random

import msgspec

from orchestrator.simulate.error import SimulateError
from orchestrator.simulate.events import Message

_REMEMBERED = 1000
_LONGEST_HOLD = 500


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One sending of a message; a `forged` one is to get a signature that does not verify."""

    message: Message
    forged: bool = False


class Mischief(msgspec.Struct, frozen=True):
    """What goes wrong on the way, each a share (0 to 1) of all deliveries.

    A duplicate repeats one of the last thousand messages byte for byte. A reordered message is held back and delivered
    1 to 500 deliveries later. A forged one is the next message under a bad signature; the good one still comes.
    Raises `SimulateError` when a share is out of range or together they are more than 1.
    """

    duplicates: float = 0.0
    reordering: float = 0.0
    bad_signatures: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.duplicates, self.reordering, self.bad_signatures)
        if not all(0 <= share <= 1 for share in shares) or sum(shares) > 1:
            raise SimulateError(
                "Shares of duplicates, reordering and bad signatures go from 0 to 1, together at most 1."
            )

    def deliveries(self, messages: Iterator[Message], random: Random, count: int | None = None) -> Iterator[Delivery]:
        """The deliveries of `messages`, `count` of them or endless; what is held back comes before the end.

        Memory does not grow with their number.
        """
        forging = self.bad_signatures
        doubling = forging + self.duplicates
        holding = doubling + self.reordering
        recent: list[Message] = []
        held: list[tuple[int, int, Message]] = []
        number = holds = fresh = 0
        upcoming = next(messages)
        while count is None or number < count:
            number += 1
            rest = None if count is None else count - number
            if held and (held[0][0] <= number or (rest is not None and len(held) > rest)):
                message = heappop(held)[2]
            else:
                chance = random.random()
                if chance < forging:
                    yield Delivery(upcoming, True)
                    continue
                if chance < doubling and recent:
                    yield Delivery(recent[int(random.random() * len(recent))])
                    continue
                if chance < holding and (rest is None or len(held) < rest):
                    holds += 1
                    heappush(held, (number + random.randint(1, _LONGEST_HOLD), holds, upcoming))
                    upcoming = next(messages)
                message = upcoming
                upcoming = next(messages)
            if len(recent) < _REMEMBERED:
                recent.append(message)
            else:
                recent[fresh % _REMEMBERED] = message
            fresh += 1
            yield Delivery(message)
