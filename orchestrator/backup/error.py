from __future__ import annotations


class BackupError(Exception):
    """A backup cannot be made or restored; the text says why, and what would help."""
