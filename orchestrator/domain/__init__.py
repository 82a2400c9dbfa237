"""The pure core: bundles, videos and accounts as event-sourced aggregates. No clock, no I/O, no randomness."""
