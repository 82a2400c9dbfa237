"""`make simulate SEEDS=1000` runs one world, `SEEDS=0-5000` thousands; failing seeds are printed."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from pathlib import Path

from orchestrator.database import Database, migrate
from tests.simulation.runs import CONNECTIONS, STEPS, simulate


def main(seeds: str) -> int:
    first, _, last = seeds.partition("-")
    logging.disable(logging.WARNING)
    failed = 0
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        empty = Path(folder) / "empty.db"
        migrate(f"sqlite:///{empty}")
        with Database(f"sqlite:///{empty}", connections=1).engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        for seed in range(int(first), int(last or first) + 1):
            made: list[Path] = []

            def make(seed: int = seed, made: list[Path] = made) -> Database:
                path = Path(folder) / f"{seed}-{len(made)}.db"
                made.append(path)
                shutil.copyfile(empty, path)
                return Database(f"sqlite:///{path}", connections=CONNECTIONS)

            try:
                simulate(seed, make)
            except Exception as error:
                failed += 1
                print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
            for path in Path(folder).glob(f"{seed}-*"):
                path.unlink()
    print(f"{int(last or first) - int(first) + 1} worlds of {STEPS} steps, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "0-999"))
