"""Carries out at TokPortal what the engine decided. Each family of commands has a module."""

from orchestrator.tokportal.hands.hands import Hands

__all__ = ["Hands"]
