"""Files that are given on the command line. What cannot be read at all is refused like what reads wrong."""

from __future__ import annotations

from pathlib import Path


def read_bytes(path: Path, largest: int) -> bytes:
    """Raises `Refused` where there are more than `largest`."""
    from orchestrator.documents import Problem, Refused

    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise Refused([Problem("error", 1, 1, "", f"the file is larger than {largest // 1024:,} KiB")])
    return data


def read_text(path: Path, largest: int) -> str:
    """The text as the service itself reads it. Raises `Refused`."""
    from orchestrator.documents import Problem, Refused

    data = read_bytes(path, largest)
    try:
        return data.decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Refused([Problem("error", line, 1, "", "is not UTF-8")]) from None
