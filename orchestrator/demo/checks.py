"""What must hold whatever happened, judged by the sandbox's truth from outside. Each check gives the problems that it
found, as sentences; none: it held."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise

from orchestrator.demo.told import Post, Told, Truth

ENDED = ("posted", "abandoned", "cancelled")
WITH_REASON = ("waiting", "abandoned", "cancelled")
AT_REST = (*ENDED, "waiting")
"""States in which nothing is under way. One that waits may still be placed."""


def no_video_twice(truth: Truth, told: Told) -> list[str]:
    """Posted on two accounts only where the first was banned: TokPortal calls that an end, and may report late what
    was posted before."""
    posts: defaultdict[str, list[Post]] = defaultdict(list)
    for post in truth.posts:
        if post.ref is not None:
            posts[post.ref].append(post)
    return [
        f"{ref} is posted on {earlier.bundle_id}, whose account was not banned, and on {later.bundle_id}"
        for ref, found in posts.items()
        for earlier, later in pairwise(found)
        if earlier.account not in truth.ever_banned
    ]


def posts_agree(truth: Truth, told: Told) -> list[str]:
    """What is posted there is posted here, and nothing else."""
    there = {post.ref for post in truth.posts}
    here = {video["video_id"] for video in told.videos if video["state"] == "posted"}
    ours = {video["video_id"] for video in told.videos}
    return [
        *(f"{ref} is posted at TokPortal and not here" for ref in sorted(filter(None, there & ours - here))),
        *(f"{ref} is posted here and not at TokPortal" for ref in sorted(here - there)),
    ]


def bans_agree(truth: Truth, told: Told) -> list[str]:
    """Accounts that are banned there are banned here, and no others; and all of them are known."""
    here = {bundle["bundle_id"]: bundle["state"] == "banned" for bundle in told.bundles}
    problems = [f"{name} is not known here" for name in sorted(truth.bundles - here.keys())]
    for name, is_here in sorted(here.items()):
        is_there = name in truth.banned
        if is_there != is_here:
            is_banned = "is banned at TokPortal and not here" if is_there else "is banned here and not at TokPortal"
            problems.append(f"{name} {is_banned}")
    return problems


def all_explained(truth: Truth, told: Told) -> list[str]:
    """Whatever did not end in a post says why."""
    return [
        f"{video['video_id']} is {video['state']} and does not say why"
        for video in told.videos
        if video["state"] in WITH_REASON and not video["reason"]
    ]


def one_live_attempt(truth: Truth, told: Told) -> list[str]:
    """A video is with one account at a time."""
    live = ("planned", "scheduled", "uploading", "uploaded")
    return [
        f"{video['video_id']} has several live attempts"
        for video in told.videos
        if sum(attempt["state"] in live for attempt in video["attempts"]) > 1
    ]


def nothing_forbidden(truth: Truth, told: Told) -> list[str]:
    """Nothing was asked of TokPortal that a caller must never ask."""
    return list(truth.violations)


CHECKS: dict[str, Callable[[Truth, Told], list[str]]] = {
    "no video is posted twice": no_video_twice,
    "what is posted there is posted here": posts_agree,
    "who is banned there is banned here": bans_agree,
    "every video is posted, under way, or says why not": all_explained,
    "a video is with one account at a time": one_live_attempt,
    "nothing forbidden was asked of TokPortal": nothing_forbidden,
}


def check(truth: Truth, told: Told) -> dict[str, list[str]]:
    """The problems by what should have held."""
    return {name: judge(truth, told) for name, judge in CHECKS.items()}
