"""How a post fares: figures that grow from the moment of posting on, and level off."""

from __future__ import annotations

import math

import msgspec

from orchestrator.sandbox.model import DAY, Slot
from orchestrator.sandbox.world import World

_HOUR = 3_600_000_000


class Figures(msgspec.Struct, frozen=True):
    views: int
    likes: int
    comments: int
    shares: int


def figures_at(world: World, slot: Slot, moment: int) -> Figures | None:
    """The figures of a post at `moment`; the same whenever and however often it is asked. None before the post."""
    if slot.posted_at is None or moment < slot.posted_at:
        return None
    random = world.random("metrics", slot.id)
    most = random.lognormvariate(8.0, 1.2)
    days = (moment - slot.posted_at) / DAY
    views = int(most * -math.expm1(-days / random.uniform(1.0, 3.0)))
    return Figures(views, views // random.randint(10, 25), views // random.randint(200, 500), views // 130)


def snapshot_of(world: World, slot: Slot, refreshed_at: int | None = None) -> tuple[Figures, int] | None:
    """The latest stored snapshot and its moment: one every few hours, and one at a refresh. None: there is none yet."""
    now = world.now()
    step = world.parameters.analytics_hours * _HOUR
    stored = now - now % step
    captured_at = max(stored, refreshed_at or 0)
    figures = figures_at(world, slot, captured_at)
    return None if figures is None else (figures, captured_at)
