"""One simulated world from its seed to its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from orchestrator.database import Database
from tests.simulation.world import World

STEPS = 80
CONNECTIONS = 6


def simulate(seed: int, make: Callable[[], Database], steps: int = STEPS) -> World:
    """Runs the world of `seed`; `make` makes an empty database with the schema in it. Raises `Broken`, and tells how
    to run this world alone."""
    with closing(make()) as database:
        world = World(database, seed)
        try:
            world.run(steps)
            world.check_replay(make)
        except BaseException as error:
            error.add_note(f"seed {seed}: run it alone with `make simulate SEEDS={seed}`")
            raise
        finally:
            world.close()
    return world
