"""What people set: how accounts are warmed, where videos go, and what happens when something fails. Pure functions."""
