"""What must hold, after a soak, between what really happened and what the service says. Every check returns what
breaks it, in words that name the video, the account or the command."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.soak.truth import Account, Done, Posted, Truth

HARMLESS = "retryWebhookDelivery"
"""Asks for news once more, under the id that it had: whoever has it already takes no notice."""
ENDS = ("posted", "waiting", "abandoned", "cancelled")
NEEDS_REASON = ("waiting", "abandoned", "cancelled")

Item = dict[str, Any]


@dataclass
class Told:
    """What the service says: items of its lists, as `GET /api/…` has them."""

    videos: list[Item] = field(default_factory=list)
    bundles: list[Item] = field(default_factory=list)
    commands: list[Item] = field(default_factory=list)
    wanted: int = 0
    """Videos that the campaigns want, by their own count."""
    now: str = "9999"


def check(truth: Truth, told: Told) -> list[str]:
    """Everything that broke."""
    return [
        *posted_once(truth),
        *carried_once(truth),
        *done_once(truth),
        *behaved(truth),
        *none_lost(told),
        *told_what_was_posted(truth, told),
        *accounts_agree(truth, told),
        *outbox_is_settled(told),
    ]


# By the truth alone.


def posted_once(truth: Truth) -> list[str]:
    """No video is posted twice: on two accounts only where the first was banned, which TokPortal calls an end, and what
    it had posted before may be told too late."""
    by_ref: defaultdict[str, list[Posted]] = defaultdict(list)
    for post in sorted(truth.posts, key=lambda post: post.at):
        by_ref[post.ref].append(post)
    problems = []
    for ref, posts in by_ref.items():
        for earlier, later in pairwise(posts):
            if earlier.account == later.account or earlier.account not in truth.banned:
                where = " and then on ".join(f"{post.bundle_id} at {post.at}" for post in posts)
                problems.append(f"{ref} was posted on {where}")
                break
    return problems


def carried_once(truth: Truth) -> list[str]:
    """At the end no video is in two slots that may post it, or have."""
    by_ref: defaultdict[str, list[str]] = defaultdict(list)
    for slot in truth.carried:
        by_ref[slot.ref].append(f"{slot.bundle_id}#{slot.position} ({slot.status})")
    return [f"{ref} is in the slots {', '.join(slots)}" for ref, slots in by_ref.items() if len(slots) > 1]


def done_once(truth: Truth) -> list[str]:
    """No command has two effects: neither one idempotency key on one thing, nor one command on two slots, nor one
    command that costs credits at all."""
    problems = []
    by_key: defaultdict[tuple[Any, ...], int] = defaultdict(int)
    by_command: defaultdict[tuple[str, str], list[Done]] = defaultdict(list)
    for done in truth.effects:
        if done.key is None or done.operation == HARMLESS:
            continue
        by_key[done.operation, done.key, done.bundle_id, done.position] += 1
        by_command[done.operation, command_of(done.key)].append(done)
    for (operation, key, bundle_id, position), times in by_key.items():
        if times > 1:
            problems.append(f"{operation} with the key {key} took effect {times} times on {bundle_id}#{position}")
    for (operation, command), effects in by_command.items():
        paid = [done for done in effects if done.credits > 0]
        if len(paid) > 1:
            problems.append(f"{operation} of {command} was paid {len(paid)} times")
    return problems


def command_of(key: str) -> str:
    """The command that an idempotency key was derived from: the gateway adds what it was sent for."""
    return key.split("-")[0].split(".")[0]


def behaved(truth: Truth) -> list[str]:
    problems = [f"violation: {violation}" for violation in truth.violations]
    if truth.rate_limited:
        problems.append(f"{truth.rate_limited} of {truth.requests} requests were beyond TokPortal's rate")
    return problems


# By what the service says.


def none_lost(told: Told) -> list[str]:
    """Every video that was wanted is there, and has ended or says why it waits."""
    ours = [video for video in told.videos if video["campaign_id"] is not None]
    problems = []
    if len(ours) != told.wanted:
        problems.append(f"{told.wanted} videos were wanted, and there are {len(ours)}")
    for video in ours:
        if video["state"] not in ENDS:
            about = f"flags {video['flags']}, attempts {video['attempts']}"
            problems.append(f"{video['video_id']} is still {video['state']}: {video['reason']}; {about}")
        elif video["state"] in NEEDS_REASON and not video["reason"]:
            problems.append(f"{video['video_id']} is {video['state']} without a reason")
    return problems


def told_what_was_posted(truth: Truth, told: Told) -> list[str]:
    """What is posted there is posted here, and nothing else, with the address of one of its posts."""
    urls: defaultdict[str, set[str]] = defaultdict(set)
    for post in truth.posts:
        urls[post.ref].add(post.url)
    problems = []
    ours = {video["video_id"]: video for video in told.videos if video["campaign_id"] is not None}
    for ref, there in urls.items():
        video = ours.get(ref)
        if video is None:
            problems.append(f"{ref} was posted, and is no video of ours")
        elif video["state"] != "posted":
            problems.append(f"{ref} was posted as {sorted(there)}, and here it is {video['state']}: {video['reason']}")
        elif video["post_url"] not in there:
            problems.append(f"{ref} was posted as {sorted(there)}, and here as {video['post_url']}")
    problems += [
        f"{name} was never posted, and here it is"
        for name, v in ours.items()
        if v["state"] == "posted" and name not in urls
    ]
    strangers = [video for video in told.videos if video["campaign_id"] is None]
    problems += [f"{video['video_id']} is a stranger here: {video}" for video in strangers]
    return problems


def accounts_agree(truth: Truth, told: Told) -> list[str]:
    """Every bundle is known, and is here what it is there."""
    here = {bundle["bundle_id"]: bundle for bundle in told.bundles}
    problems = []
    for account in truth.accounts:
        bundle = here.pop(account.bundle_id, None)
        if bundle is None:
            problems.append(f"{account.bundle_id} is not known here")
            continue
        for what, there, is_here in _compared(account, bundle):
            if there != is_here:
                problems.append(
                    f"{account.bundle_id}: {what} is {there} there and {is_here} here "
                    f"({bundle['state']}, holds {bundle['holds']}, flags {bundle['flags']})"
                )
    problems += [f"{name} is unknown there" for name in here]
    return problems


def _compared(account: Account, bundle: Item) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = [
        ("banned", account.is_banned, bundle["state"] == "banned"),
        ("the account", account.account, bundle["saved_account_id"]),
    ]
    if not account.is_banned:
        # Of an account that is gone nothing else matters.
        found += [
            ("closed", account.is_closed, "closed" in bundle["holds"]),
            ("under appeal", account.is_appealed, "suspended" in bundle["holds"]),
            ("warmed", account.is_warmed, bundle["warmed"]),
        ]
        if account.is_covered is not None:
            found.append(("covered", account.is_covered, "uncovered" not in bundle["holds"]))
        if not account.is_closed:
            found.append(("delivered", account.is_delivered, bundle["state"] not in ("unknown", "created")))
    return found


def outbox_is_settled(told: Told) -> list[str]:
    """Nothing is on its way any more: a command is over, or held with a reason."""
    problems = []
    for command in told.commands:
        status = command["status"]
        is_open = status in ("running", "unknown") or (status == "pending" and command["not_before"] <= told.now)
        if is_open or (status == "held" and not command["reason"]):
            about = f"{command['kind']} {command['command_id']} for {command['bundle_id']} / {command['video_id']}"
            problems.append(
                f"{about} is {status} after {command['attempts']} attempts: "
                f"{command['last_error'] or command['reason']} (not before {command['not_before']})"
            )
    return problems
