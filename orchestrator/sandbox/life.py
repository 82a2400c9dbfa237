"""A world that lives: everything that its REST side does not do, put together once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import msgspec

from orchestrator.clock import Clock
from orchestrator.sandbox.diary import LIFE_KINDS, MANNER, Manner, Post
from orchestrator.sandbox.faults import FaultSettings, WebhookFaults, WorldFaults
from orchestrator.sandbox.founding import Founder
from orchestrator.sandbox.habits import Habits, Managing, Sending
from orchestrator.sandbox.herald import Herald
from orchestrator.sandbox.managers import Managers
from orchestrator.sandbox.parameters import Parameters
from orchestrator.sandbox.sender import WebhookSender
from orchestrator.sandbox.world import World


class Life:
    """Managers, sender and faults of one world, with how they behave; what is set at run time survives a restart."""

    def __init__(
        self,
        world: World,
        *,
        parameters: Parameters | None = None,
        habits: Habits | None = None,
        faults: FaultSettings | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        **sender: Any,
    ) -> None:
        """
        Args:
            world: made with `LIFE_KINDS`; see `open_world`.
            parameters, habits, faults: those of a new world; a known one has its own, unless they are given here.
            transport: replaces the network of the sender.
        """
        self.world = world
        known = world.find(Manner, MANNER)
        manner = known or Manner(id=MANNER)
        if known is None or parameters is not None:
            manner.parameters = parameters or world.parameters
        world.parameters = manner.parameters
        manner.habits = habits or manner.habits
        manner.faults = faults or manner.faults
        world.put(manner)
        world.save()
        self.faults = WorldFaults(manner.faults, world.seed)
        world.faults = self.faults
        self.sender = WebhookSender(world, self._sending, self._webhook_faults, transport=transport, **sender)
        world.sender = self.sender
        self.herald = Herald(world, self.sender.post, self._sending, self._webhook_faults)
        self.managers = Managers(world, self.herald, self._managing)
        self.founder = Founder(world, self.managers)

    @property
    def _manner(self) -> Manner:
        # Never kept: what a request undoes is another object afterwards.
        return self.world.get(Manner, MANNER)

    @property
    def parameters(self) -> Parameters:
        return self.world.parameters

    @parameters.setter
    def parameters(self, parameters: Parameters) -> None:
        self.world.parameters = parameters
        self._keep(parameters=parameters)

    @property
    def habits(self) -> Habits:
        return self._manner.habits

    @habits.setter
    def habits(self, habits: Habits) -> None:
        self._keep(habits=habits)

    @property
    def fault_settings(self) -> FaultSettings:
        return self._manner.faults

    @fault_settings.setter
    def fault_settings(self, settings: FaultSettings) -> None:
        self.faults.settings = settings
        self._keep(faults=settings)

    def _keep(self, **changes: Any) -> None:
        self.world.put(msgspec.structs.replace(self._manner, **changes))
        self.world.save()

    def mark_founded(self) -> None:
        """The accounts of the world's file are there, and are not made again at a restart."""
        self._keep(is_founded=True)

    @property
    def posts(self) -> list[Post]:
        """Every post that there is on the platforms, oldest first."""
        return list(self.world.all(Post))

    def _sending(self) -> Sending:
        return self.habits.webhooks

    def _managing(self) -> Managing:
        return self.habits.managers

    def _webhook_faults(self) -> WebhookFaults:
        return self.fault_settings.webhooks


def open_world(
    clock: Clock,
    *,
    path: Path | None = None,
    seed: int | None = None,
    parameters: Parameters | None = None,
    adopt: bool = False,
) -> World:
    """A world that can live. Raises ValueError as `World` does."""
    return World(clock, path=path, seed=seed, parameters=parameters, adopt=adopt, kinds=LIFE_KINDS)
