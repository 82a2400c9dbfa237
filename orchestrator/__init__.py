"""Event-sourced orchestrator for video campaigns over many managed social accounts."""

__version__ = "0.1.0"
