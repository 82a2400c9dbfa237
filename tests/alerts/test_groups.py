"""What people are told of one cause, and when: on a clock that only the tests move."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from orchestrator.alerts.groups import (
    FIRST,
    MINUTE,
    MORE,
    MOST_SUBJECTS,
    QUIET,
    QUIETED,
    RESOLVED,
    WINDOWS,
    Group,
    read_group,
)

HOUR = 60 * MINUTE
NOON = 20_000 * 24 * HOUR + 12 * HOUR


@dataclass
class People:
    """One cause and one channel; every message is taken at once."""

    now: int = NOON
    group: Group = field(
        default_factory=lambda: Group("banned:US:tiktok", "banned", "cmd_1", opened_at=NOON, last_at=NOON)
    )
    heard: list[tuple[str, int]] = field(default_factory=list)
    """What was told, and of how many new alerts."""

    def alert(self, subject: str = "b1", text: str = "b1 is banned") -> None:
        self.group.add(text, subject, {"bundle_id": subject}, ["ops"], self.now)
        self.listen()

    def end(self, subject: str = "b1") -> bool:
        ended = self.group.end(subject, f"{subject} is back")
        self.listen()
        return ended

    def listen(self) -> None:
        notice = self.group.due("ops", self.now)
        if notice is not None:
            self.heard.append((notice.what, notice.new))
            self.group.tell("ops", notice, self.now)

    def wait(self, time: int) -> None:
        """Listens every minute."""
        for _ in range(time // MINUTE):
            self.now += MINUTE
            self.listen()


@pytest.fixture
def people() -> People:
    return People()


def test_the_first_of_a_cause_is_told_at_once(people: People) -> None:
    people.alert()
    assert people.heard == [(FIRST, 1)]


def test_more_of_it_are_counted_and_told_together_when_the_window_ends(people: People) -> None:
    people.alert()
    for number in range(412):
        people.alert(f"b{number}")
    people.wait(14 * MINUTE)
    assert people.heard == [(FIRST, 1)]
    people.wait(MINUTE)
    assert people.heard == [(FIRST, 1), (MORE, 412)]


def test_without_more_the_end_of_the_window_tells_nothing(people: People) -> None:
    people.alert()
    people.wait(23 * HOUR)
    assert people.heard == [(FIRST, 1)]


def test_the_window_grows_with_each_message(people: People) -> None:
    people.alert()
    told = []
    for _ in range(16 * 60):
        before = len(people.heard)
        people.alert()
        people.wait(MINUTE)
        if len(people.heard) > before:
            told.append((people.now - NOON) // MINUTE)
    assert told == [15, 75, 435, 795]


def test_after_a_window_of_silence_another_one_is_told_at_once(people: People) -> None:
    people.alert()
    people.wait(2 * HOUR)
    people.alert("b2")
    assert people.heard == [(FIRST, 1), (MORE, 1)]


def test_the_end_of_a_cause_is_told_at_once_and_once(people: People) -> None:
    people.alert()
    assert people.end()
    people.wait(HOUR)
    assert people.heard == [(FIRST, 1), (RESOLVED, 0)]


def test_a_cause_ends_with_the_last_of_its_subjects(people: People) -> None:
    people.alert("b1")
    people.alert("b2")
    people.end("b1")
    assert people.heard == [(FIRST, 1)]
    people.end("b2")
    assert people.heard == [(FIRST, 1), (RESOLVED, 1)]


def test_who_was_never_told_of_ends_nothing(people: People) -> None:
    people.alert("b1")
    assert not people.end("b2")
    assert people.heard == [(FIRST, 1)]


def test_a_cause_of_more_subjects_than_are_kept_is_not_said_to_be_over(people: People) -> None:
    for number in range(MOST_SUBJECTS + 1):
        people.alert(f"b{number}")
    for number in range(MOST_SUBJECTS):
        people.end(f"b{number}")
    assert people.heard == [(FIRST, 1)]


def test_what_was_over_before_anybody_heard_of_it_is_one_message() -> None:
    group = Group("c", "banned", "cmd_1", opened_at=NOON, last_at=NOON)
    group.add("b1 is banned", "b1", {}, ["ops"], NOON)
    group.end("b1", "b1 is back")

    notice = group.due("ops", NOON)
    assert notice is not None and (notice.what, notice.is_resolved) == (FIRST, True)
    group.tell("ops", notice, NOON)
    assert group.due("ops", NOON) is None


def test_a_day_after_the_last_of_several_people_hear_that_no_more_came(people: People) -> None:
    people.alert()
    people.alert("b2")
    people.wait(15 * MINUTE + QUIET)
    assert people.heard == [(FIRST, 1), (MORE, 1), (QUIETED, 0)]
    assert people.group.is_settled(people.now) and people.group.is_quiet(people.now)


def test_a_single_one_is_closed_without_a_word(people: People) -> None:
    people.alert()
    people.wait(QUIET)
    assert people.heard == [(FIRST, 1)]
    assert people.group.is_settled(people.now) and people.group.is_quiet(people.now)


@pytest.mark.parametrize("flaps", [10_000, 1_440, 300, 96, 48])
def test_what_comes_and_goes_all_day_is_a_bounded_number_of_messages(people: People, flaps: int) -> None:
    day = 24 * HOUR
    for number in range(flaps):
        people.now = NOON + number * day // flaps
        people.alert()
        people.now += 1
        people.end()
    people.now = NOON + day
    people.listen()
    assert 4 <= len(people.heard) <= 20
    assert people.group.count == flaps


def test_ten_thousand_of_one_cause_in_an_hour_are_three_messages(people: People) -> None:
    for number in range(10_000):
        people.now = NOON + number * HOUR // 10_000
        people.alert(f"b{number}")
    people.wait(16 * MINUTE)
    assert [what for what, _ in people.heard] == [FIRST, MORE, MORE]
    assert sum(new for _, new in people.heard) == 10_000


def test_a_clock_that_is_set_back_silences_nothing(people: People) -> None:
    people.alert()
    people.now -= 365 * 24 * HOUR
    people.alert("b2")
    assert people.heard == [(FIRST, 1), (MORE, 1)]


def test_what_is_told_while_more_come_covers_only_what_was_known(people: People) -> None:
    group = people.group
    group.add("b1", "b1", {}, ["ops"], NOON)
    notice = group.due("ops", NOON)
    group.add("b2", "b2", {}, ["ops"], NOON)
    assert notice is not None
    group.tell("ops", notice, NOON)
    more = group.due("ops", NOON + WINDOWS[0])
    assert more is not None and more.new == 1


def test_each_channel_has_its_own_memory() -> None:
    group = Group("c", "banned", "cmd_1", opened_at=NOON, last_at=NOON)
    group.add("b1", "b1", {}, ["ops", "mail"], NOON)
    notice = group.due("ops", NOON)
    assert notice is not None
    group.tell("ops", notice, NOON)
    assert group.due("ops", NOON) is None
    assert group.due("mail", NOON) is not None
    assert not group.is_known


def test_it_is_the_same_after_it_was_stored(people: People) -> None:
    people.alert()
    people.alert("b2")
    row = people.group.row()
    assert read_group(row["body"]) == people.group
    assert (row["count"], row["told"], row["told_at"]) == (2, 1, NOON)
