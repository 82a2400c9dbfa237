"""`make soak`: weeks of a world, with service, sandbox and database as real processes. Exit code 1 and what broke."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from orchestrator.database import Database, migrate
from orchestrator.simulate.dialect import Dialect
from tests.postgres import running_server
from tests.soak.soak import Plan, Soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--accounts", type=int, default=300)
    parser.add_argument("--countries", type=int, default=12, help="at most 16")
    parser.add_argument("--videos", type=int, default=3_000, help="at least")
    parser.add_argument("--weeks", type=float, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=2_000, help="seconds of the world in one (default 2,000)")
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    parser.add_argument("--dialect", choices=[str(dialect.value) for dialect in Dialect], default="article")
    parser.add_argument("--keep", action="store_true", help="leave the folder with databases and logs")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    plan = Plan(
        accounts=given.accounts,
        countries=given.countries,
        videos=given.videos,
        days=given.weeks * 7,
        seed=given.seed,
        speed=given.speed,
        dialect=Dialect(given.dialect),
    )
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-soak-"))
    began = time.monotonic()
    with ExitStack() as stack:
        server = stack.enter_context(running_server()) if given.database == "postgresql" else None
        made = 0

        def url() -> str:
            nonlocal made
            made += 1
            return f"sqlite:///{folder}/data-{made}/orchestrator.db" if server is None else server.new_database()

        def make() -> Database:
            found = url()
            migrate(found)
            return Database(found, connections=4)

        def say(text: str) -> None:
            print(f"{time.monotonic() - began:6.0f} s  {text}", flush=True)

        report = Soak(plan, folder, url(), make, say).run()
    print(report.summary)
    for problem in report.problems:
        print(f"BROKEN: {problem}")
    if given.keep or report.problems:
        print(f"databases and logs are in {folder}")
    else:
        shutil.rmtree(folder)
    print(f"{len(report.problems)} problems")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
