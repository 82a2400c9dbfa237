"""Prints what the service does on this machine. Everything is measured side by side in one run, in turns, since the
machine's speed changes more between runs than between turns."""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
from os import cpu_count

from bench import audit, brain, hands, history, long_log, measure, rebuild
from bench.stage import BACKENDS, Databases, Server, databases
from orchestrator.worker import tune_collector

PARTS = ("acceptance", "engine", "visibility", "planning", "bans", "hands", "history", "rebuild", "audit")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; all where none is named")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each measurement but visibility (default 3)")
    parser.add_argument("--webhooks", type=int, default=40_000, help="webhooks in a turn (default 40,000)")
    parser.add_argument("--messages", type=int, default=60_000, help="messages for engine and projections")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    parts = options.parts or PARTS
    print(f"{platform.machine()}, {cpu_count()} cores, Python {platform.python_version()}, {platform.system()}")
    with databases() as sources:
        if "acceptance" in parts:
            acceptance(sources, options.rounds, options.webhooks)
        if "engine" in parts:
            engine(sources, options.rounds, options.messages)
        if "visibility" in parts:
            visibility(sources)
        if "planning" in parts:
            planning(sources, options.rounds)
        if "bans" in parts:
            bans(sources)
        if "hands" in parts:
            at_work(sources)
        if "history" in parts:
            the_past(sources, options.rounds)
        if "audit" in parts:
            audit.run(sources, options.rounds, options.messages)
        if "rebuild" in parts:
            rebuilds(sources, options.rounds, options.webhooks)


def rebuilds(sources: dict[str, Databases], rounds: int, webhooks: int) -> None:
    print(
        f"\nRead models made anew from {long_log.EVENTS:,} events over {long_log.AGGREGATES:,} aggregates, "
        f"median of {rounds} turns"
    )
    print(f"{'':42}{'events/s':>12}{'MB':>9}")
    for backend in BACKENDS:
        url = sources[backend].new()
        rebuild.prepare(url)
        for name, models in rebuild.SETS.items():
            turns = [rebuild.make(url, models) for _ in range(rounds)]
            rate, memory = statistics.median(turn.rate for turn in turns), max(turn.memory for turn in turns)
            print(f"{f'{backend}: {name}':42}{rate:>12,.0f}{memory:>9}", flush=True)
        wrong, rate = rebuild.differences(url)
        print(f"{f'{backend}: verified, {wrong} differences':42}{rate:>12,.0f}", flush=True)
        alone, beside, was_under_way = rebuild.beside_a_storm(url, webhooks)
        said = "" if was_under_way else " (ended before the storm did)"
        print(f"{f'{backend}: a storm alone, webhooks/s':42}{alone:>12,.0f}")
        print(f"{f'{backend}: beside a rebuild of all':42}{beside:>12,.0f}{beside / alone:>9.0%}{said}", flush=True)


def the_past(sources: dict[str, Databases], rounds: int) -> None:
    tune_collector()
    print(f"\nThe past, {long_log.EVENTS:,} events over {long_log.AGGREGATES:,} aggregates, ms by the share of the log")
    print(f"{'':42}" + "".join(f"{share:>9.0%}" for share in history.MOMENTS))
    for backend in BACKENDS:
        url = sources[backend].new()
        history.prepare(url, long_log.EVENTS, long_log.AGGREGATES)
        for name, times in history.ask(url).items():
            print(
                f"{f'{backend}: {name}':42}" + "".join(f"{times[share]:>9.1f}" for share in history.MOMENTS), flush=True
            )
    print(f"\nReplay of {history.REPLAYED:,} messages, median of {rounds} turns")
    for backend in BACKENDS:
        turns = [history.again(sources[backend].new(), history.REPLAYED) for _ in range(rounds)]
        engine_rate = statistics.median(turn.engine for turn in turns)
        rate = statistics.median(turn.replay for turn in turns)
        memory = max(turn.memory for turn in turns)
        print(f"{backend:12} engine {engine_rate:>9,.0f}/s   replay {rate:>9,.0f}/s   {memory} MB", flush=True)


def acceptance(sources: dict[str, Databases], rounds: int, webhooks: int) -> None:
    print(f"\nAcceptance, {measure.CONNECTIONS} connections, median of {rounds} turns")
    print(f"{'':42}{'webhooks/s':>12}{'of bare':>9}{'p50 ms':>9}{'p99 ms':>9}{'left':>8}{'drained s':>11}")
    for backend in BACKENDS:
        for working in (False, True):
            rates: dict[str, list[float]] = {"bare": [], "door": []}
            latencies: dict[str, list[tuple[float, float]]] = {"bare": [], "door": []}
            left, drained = 0, 0.0
            for turn in range(rounds):
                url = sources[backend].new()
                server = Server(url, working=working)
                try:
                    for name, target in (("bare", server.bare), ("door", server.door)):
                        given = measure.requests(target, webhooks, seed=turn)
                        figures = measure.acceptance(target, given).as_dict()
                        rates[name].append(figures["per_second"])
                        latencies[name].append((figures["latency_ms"]["p50"], figures["latency_ms"]["p99"]))
                    if working:
                        left, drained = measure.drain(url)
                finally:
                    server.stop()
            bare = statistics.median(rates["bare"])
            for name in ("bare", "door"):
                rate = statistics.median(rates[name])
                p50 = statistics.median(p for p, _ in latencies[name])
                p99 = statistics.median(p for _, p in latencies[name])
                label = f"{backend}, {'working' if working else 'engine idle'}: {name}"
                tail = f"{left:>8}{drained:>11.1f}" if working and name == "door" else ""
                print(f"{label:42}{rate:>12,.0f}{rate / bare:>9.0%}{p50:>9.1f}{p99:>9.1f}{tail}", flush=True)


def engine(sources: dict[str, Databases], rounds: int, messages: int) -> None:
    tune_collector()  # As the workers do.
    print(f"\nEngine and projections, {messages:,} messages, median of {rounds} turns")
    rates: dict[str, list[tuple[float, float]]] = {backend: [] for backend in BACKENDS}
    for _ in range(rounds):
        for backend in BACKENDS:
            url = sources[backend].new()
            measure.fill(url, messages)
            _, engine_rate = measure.engine_rate(url)
            _, projection_rate = measure.projection_rate(url)
            rates[backend].append((engine_rate, projection_rate))
    for backend in BACKENDS:
        engine_rate = statistics.median(rate for rate, _ in rates[backend])
        projection_rate = statistics.median(rate for _, rate in rates[backend])
        print(f"{backend:12} engine {engine_rate:>9,.0f} messages/s   projections {projection_rate:>9,.0f} events/s")


def visibility(sources: dict[str, Databases]) -> None:
    print("\nFrom a webhook's being sent to its state being readable, at 100 webhooks/s")
    for backend in BACKENDS:
        url = sources[backend].new()
        server = Server(url, working=True)
        try:
            delays = measure.visibility(url, server, rate=100, seconds=20)
        finally:
            server.stop()
        p50, p99 = delays[len(delays) // 2] * 1000, delays[int(len(delays) * 0.99)] * 1000
        print(f"{backend:12} p50 {p50:6.0f} ms   p99 {p99:6.0f} ms   of {len(delays)}", flush=True)


def planning(sources: dict[str, Databases], rounds: int) -> None:
    print(
        f"\nPlanning {brain.VIDEOS:,} videos over {brain.ACCOUNTS:,} accounts in {len(brain.COUNTRIES)} countries, "
        f"median of {rounds} turns; a further message waits for one step, or two"
    )
    print(f"{'':42}{'dry run s':>11}{'start s':>11}{'longest step ms':>18}")
    campaigns = {"ten videos everywhere": brain.everywhere(), "a row for each": brain.row_by_row()}
    for backend in BACKENDS:
        for name, spec in campaigns.items():
            turns = [brain.planning(sources[backend].new(), spec) for _ in range(rounds)]
            dry_run, start, longest = (statistics.median(figures) for figures in zip(*turns, strict=True))
            print(f"{f'{backend}: {name}':42}{dry_run:>11.2f}{start:>11.2f}{longest * 1000:>18.0f}", flush=True)


def bans(sources: dict[str, Databases]) -> None:
    print(f"\nFrom the ban of an account with {brain.ON_AN_ACCOUNT} open videos to the last decision about them")
    for backend in BACKENDS:
        seconds = brain.bans(sources[backend].new())
        p50, p99 = seconds[len(seconds) // 2] * 1000, seconds[int(len(seconds) * 0.99)] * 1000
        print(f"{backend:12} p50 {p50:6.0f} ms   p99 {p99:6.0f} ms   of {len(seconds)} bans", flush=True)


def at_work(sources: dict[str, Databases]) -> None:
    print(
        f"\nFrom a ban to the first moved video on another account at the sandbox, {hands.ACCOUNTS} accounts; and of "
        "the requests of ten minutes with commands waiting, how many they used"
    )
    for backend in BACKENDS:
        seconds = hands.moves(sources[backend].new())
        p50, p99 = seconds[len(seconds) // 2] * 1000, seconds[int(len(seconds) * 0.99)] * 1000
        print(f"{backend:12} p50 {p50:6.0f} ms   p99 {p99:6.0f} ms   of {len(seconds)} bans", flush=True)
        share = hands.share(sources[backend].new())
        used = f"{share.used:,.0f} of {share.granted:,.0f} requests ({share.used / share.granted:.0%})"
        print(f"{backend:12} {used}, {share.refused} refused as too many", flush=True)


if __name__ == "__main__":
    sys.exit(main())
