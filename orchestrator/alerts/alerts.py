"""Takes alerts out of the outbox, groups them by cause, and tells people.

What people were told is kept with each cause, channel by channel, so that one that does not work keeps no other
waiting. It is noted after the message was taken: whoever is killed between the two tells it again, and nothing is
ever lost.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import sqlalchemy as sa

from orchestrator.alerts import store
from orchestrator.alerts.channels import Channel
from orchestrator.alerts.delivery import MOST, Job, Post, in_thread
from orchestrator.alerts.groups import FIRST, Group, Notice
from orchestrator.alerts.messages import summary, title, write
from orchestrator.database import Database, Lease
from orchestrator.outbox import Command
from orchestrator.outbox.outbox import DEAD, DISCARDED, DONE
from orchestrator.policies.schema import parse

logger = logging.getLogger(__name__)

AT_ONCE: Final = 1_000
"""Alerts that are taken in one transaction."""
LOOK: Final = 1_000_000
"""Microseconds after which it is looked again what has become due."""
LOG: Final = ""
"""The channel that every cause has besides those of the policies."""
IDS: Final = ("video_id", "bundle_id", "campaign_id", "country", "platform")


class Opener(Protocol):
    def open(self, name: str, reference: str | None) -> Channel | None:
        """None: nobody hears this channel."""
        ...


def real_clock() -> int:
    """Microseconds since 1970. It is people who are told, so their time counts, whatever clock the world has."""
    return time.time_ns() // 1_000


class Alerts:
    """One step: note what was delivered, take new alerts in, send what is due, close what is over.

    To be stepped by one thread. `run` runs the sending of one message, by default in a thread of its own: step often,
    at least while there is something to do. `public_url` begins the links. `lease` None is for tests that are alone
    with their database.
    """

    def __init__(
        self,
        database: Database,
        channels: Opener,
        *,
        lease: Lease | None = None,
        public_url: str | None = None,
        clock: Callable[[], int] = real_clock,
        run: Callable[[Job], object] = in_thread,
    ) -> None:
        self._database = database
        self._channels = channels
        self._lease = lease
        self._public_url = public_url
        self._clock = clock
        self._run = run
        self._posts: dict[str, Post] = {}
        self._groups: dict[str, Group] | None = None
        self._looked_at: int | None = None
        """When it was seen last that nothing is due."""
        self._by_kind: defaultdict[str, dict[str, Group]] = defaultdict(dict)

    def forget(self) -> None:
        """To be called when the lease was lost or a step failed: what is stored says how to go on. What is being sent
        meanwhile is noted once it is known."""
        self._groups = self._looked_at = None

    def close(self) -> None:
        """What is still being sent is left to itself, and told again after the next start."""
        self.forget()

    def step(self) -> int:
        """How much there was to do."""
        try:
            groups = self._groups if self._groups is not None else self._load()
            now = self._clock()
            done = self._hear_back(groups, now) + self._take_in(groups, now)
            if done or self._looked_at is None or abs(now - self._looked_at) >= LOOK:
                done += self._send(groups, now) + self._close(groups, now)
                self._looked_at = now if not done else None
            return done
        except BaseException:
            self.forget()
            raise

    def _load(self) -> dict[str, Group]:
        with self._database.read() as connection:
            found = store.groups(connection)
        self._by_kind.clear()
        for group in found.values():
            self._by_kind[group.kind][group.cause] = group
        self._groups = found
        return found

    def _fence(self, connection: sa.Connection) -> None:
        if self._lease is not None:
            self._lease.fence(connection)

    # In.

    def _take_in(self, groups: dict[str, Group], now: int) -> int:
        heads = {group.head for group in groups.values() if not group.is_head_settled}
        with self._database.read() as connection:
            waiting = store.pending(connection, AT_ONCE + len(heads))
            new = store.alerts(connection, [name for name in waiting if name not in heads][:AT_ONCE])
        if not new:
            return 0
        touched: dict[str, Group] = {}
        settled: defaultdict[str, list[str]] = defaultdict(list)
        for command in new:
            reason = self._take(command, groups, touched, now)
            if reason is not None:
                settled[reason].append(command.command_id)
        with self._database.write() as connection:
            self._fence(connection)
            store.save(connection, touched.values())
            for reason, names in settled.items():
                store.settle(connection, names, DONE, reason)
        return len(new)

    def _take(self, command: Command, groups: dict[str, Group], touched: dict[str, Group], now: int) -> str | None:
        """What the alert is settled with; None if it is the first of a cause, which is when it was told."""
        body = command.body
        kind, text = str(body["alert"]), str(body["text"])
        if body.get("resolves"):
            ended = [group for group in self._by_kind[kind].values() if group.end(str(body["subject"]), text)]
            touched |= {group.cause: group for group in ended}
            return f"ends what {ended[0].head} told" if ended else "nothing of it was told"
        cause = str(body.get("cause") or f"{kind}:{command.country}:{command.platform}")
        group = groups.get(cause)
        is_head = group is None
        if group is None:
            group = Group(cause, kind, command.command_id, opened_at=now, last_at=now)
            groups[cause] = self._by_kind[kind][cause] = group
        about = {name: value for name in IDS if (value := getattr(command, name)) is not None}
        about["message_id"] = command.message_id
        channels = [LOG, *map(str, body.get("channels", ()))]
        group.add(text, str(body.get("subject", "")), about, channels, now)
        touched[cause] = group
        return None if is_head else f"grouped under {group.head}"

    # Out.

    def _send(self, groups: Mapping[str, Group], now: int) -> int:
        shut = {name for name, post in self._posts.items() if not post.is_open(now)}
        due: defaultdict[str, list[Notice]] = defaultdict(list)
        for group in groups.values():
            for name in group.channels.keys() - shut:
                notice = group.due(name, now)
                if notice is not None:
                    due[name].append(notice)
        if not due:
            return 0
        references = self._references()
        return sum(self._send_to(name, due[name], references.get(name), groups, now) for name in sorted(due))

    def _references(self) -> Mapping[str, str]:
        """Channel to URL, or the variable that has it, by the policies in force."""
        with self._database.read() as connection:
            text = store.policies(connection)
        return parse(text).channels if text is not None else {}

    def _send_to(
        self, name: str, due: list[Notice], reference: str | None, groups: Mapping[str, Group], now: int
    ) -> int:
        due.sort(key=lambda notice: (groups[notice.cause].channels[name].attempts, notice.last_at, notice.cause))
        if name == LOG:
            return self._write_to_log(due[:MOST], groups, now)
        channel = self._channels.open(name, reference)
        if channel is None:
            self._leave_out(name, due, groups)
            return len(due)
        post = self._posts.get(name)
        if post is None:
            post = self._posts[name] = Post(name, self._run)
        chosen = post.choose(due)
        wanted = self._still_wanted(name, chosen, groups, now)
        if wanted:
            post.send(channel, write(wanted, self._public_url, now), wanted)
        return len(chosen)

    def _write_to_log(self, due: Sequence[Notice], groups: Mapping[str, Group], now: int) -> int:
        for notice in self._still_wanted(LOG, due, groups, now):
            logger.warning("ALERT %s: %s", title(notice), summary(notice, now), extra={"cause": notice.cause})
        self._note_told(LOG, due, groups, now)
        return len(due)

    def _leave_out(self, name: str, due: Sequence[Notice], groups: Mapping[str, Group]) -> None:
        """Nobody hears this channel: what it should tell stands in the log."""
        touched = [groups[notice.cause] for notice in due]
        for group in touched:
            del group.channels[name]
        self._save(touched)

    def _still_wanted(self, name: str, chosen: Sequence[Notice], groups: Mapping[str, Group], now: int) -> list[Notice]:
        """Counts the attempt. Without those that a person has discarded meanwhile."""
        heads = {notice.cause: groups[notice.cause].head for notice in chosen if notice.what == FIRST}
        with self._database.write() as connection:
            self._fence(connection)
            known = store.statuses(connection, list(heads.values()))
            gone = {cause for cause, head in heads.items() if groups[cause].count == 1 and known.get(head) == DISCARDED}
            if name != LOG:
                store.count_attempt(connection, [head for cause, head in heads.items() if cause not in gone])
            for notice in chosen:
                if notice.cause in gone:
                    groups[notice.cause].tell(name, notice, now)
            store.save(connection, [groups[cause] for cause in gone])
        return [notice for notice in chosen if notice.cause not in gone]

    def _hear_back(self, groups: Mapping[str, Group], now: int) -> int:
        done = 0
        for name, post in self._posts.items():
            outcome = post.outcome(now)
            if outcome is None:
                continue
            notices, problem = outcome
            done += len(notices)
            if problem is None:
                self._note_told(name, notices, groups, now)
            else:
                self._note_problem(name, notices, problem, groups)
        return done

    def _note_told(self, name: str, notices: Sequence[Notice], groups: Mapping[str, Group], now: int) -> None:
        for notice in notices:
            if notice.cause in groups:
                groups[notice.cause].tell(name, notice, now)
        self._save([groups[notice.cause] for notice in notices if notice.cause in groups])

    def _note_problem(self, name: str, notices: Sequence[Notice], problem: str, groups: Mapping[str, Group]) -> None:
        touched = [group for notice in notices if (group := groups.get(notice.cause)) and name in group.channels]
        for group in touched:
            group.channels[name].attempts += 1
        self._save(touched, problem=f"{name}: {problem}")

    def _save(self, touched: Sequence[Group], problem: str | None = None) -> None:
        """Keeps what is known of these causes, and says in the outbox what became of their first alerts."""
        known = [group for group in touched if group.is_known and not group.is_head_settled]
        for group in known:
            group.is_head_settled = True
        told: defaultdict[str, list[str]] = defaultdict(list)
        for group in known:
            names = ", ".join(sorted(filter(None, group.channels)))
            told[f"told to {names}" if names else "written to the log"].append(group.head)
        with self._database.write() as connection:
            self._fence(connection)
            store.save(connection, touched)
            for reason, heads in told.items():
                store.settle(connection, heads, DONE, reason)
            if problem is not None:
                store.note_error(connection, [group.head for group in touched], problem)
            else:
                well = [group.head for group in touched if not any(told.attempts for told in group.channels.values())]
                store.note_error(connection, well, None)

    # Over.

    def _close(self, groups: dict[str, Group], now: int) -> int:
        quiet = [group for group in groups.values() if group.is_quiet(now)]
        over = [group for group in quiet if group.is_settled(now)]
        lost = [group for group in quiet if not group.is_settled(now) and self._is_hopeless(group, now)]
        if not over and not lost:
            return 0
        with self._database.write() as connection:
            self._fence(connection)
            for group in lost:
                names = ", ".join(sorted(filter(None, self._unheard(group, now))))
                logger.error("given up, a day after the last of it: %s was not told of %s", names, group.cause)
                if not group.is_head_settled:
                    error = f"{names}: did not take it for a day"
                    store.settle(connection, [group.head], DEAD, None, error)
            store.remove(connection, [group.cause for group in (*over, *lost)])
        for group in (*over, *lost):
            del groups[group.cause]
            del self._by_kind[group.kind][group.cause]
        return len(over) + len(lost)

    def _unheard(self, group: Group, now: int) -> list[str]:
        return [name for name in group.channels if group.due(name, now) is not None]

    def _is_hopeless(self, group: Group, now: int) -> bool:
        """Whether what is left to tell is left to channels that do not work."""
        posts = [self._posts.get(name) for name in self._unheard(group, now)]
        return bool(posts) and all(post is not None and post.failures and not post.is_busy for post in posts)
