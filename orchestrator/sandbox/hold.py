"""One world, one sandbox: whoever has it open holds a lock on a file beside it, which the system gives back however the
holder ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Hold:
    """The lock of the world in `state`."""

    def __init__(self, state: Path) -> None:
        self._path = state.with_name(f"{state.name}-hold")
        self._file: int | None = None

    def take(self) -> bool:
        """Whether it is ours from now on. Raises OSError where the file cannot be opened."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def is_held(state: Path) -> bool:
    """Whether a sandbox has the world in `state` open now."""
    hold = Hold(state)
    if not hold.take():
        return True
    hold.release()
    return False
