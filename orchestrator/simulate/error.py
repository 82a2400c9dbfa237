class SimulateError(Exception):
    """What stopped a simulation, as one sentence meant for the person who started it."""
