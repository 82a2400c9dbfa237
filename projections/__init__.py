"""Read models: what the log says now, in tables made for questions. Any of them can be made again from the log."""

from projections.follower import NAMES, Follower

__all__ = ["NAMES", "Follower"]
