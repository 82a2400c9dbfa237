"""What bundles and videos are by the messages in the journal: the interface's rules once more, in the plainest words.

Article dialect, no decisions. Whatever the service went through, its read models have to say the same.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

ROWS = [
    "bundle.created",
    "bundle.ready",
    "bundle.warming_started",
    "bundle.warming_completed",
    "bundle.warming_failed",
    "bundle.banned",
    "video.upload_started",
    "video.upload_completed",
    "video.posted",
    "video.post_failed",
    "video.analytics_updated",
]
FACTS = dict(
    zip(
        ROWS,
        (
            "BundleCreated BundleReady WarmingStarted WarmingCompleted WarmingFailed BundleBanned "
            "UploadStarted UploadCompleted VideoPosted PostFailed MetricsUpdated"
        ).split(),
        strict=True,
    )
)
STATES = dict(
    zip(ROWS, "created ready warming completed failed banned uploading uploaded posted failed".split(), strict=False)
)
METRICS = ("views", "likes", "shares", "comments")


def key(message: dict[str, Any]) -> tuple[str, int, str]:
    """Times compare as texts where they are all written alike, as those of one sender are."""
    return message["timestamp"], ROWS.index(message["event"]), message["id"]


def fold(bodies: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Bundles and videos by their ids."""
    bundles: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    videos: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for message in sorted(map(json.loads, bodies), key=key):
        bundles[message["bundle_id"]].append(message)
        if message["event"].startswith("video."):
            videos[message["data"]["video_id"]].append(message)
    found = {name: video(messages) for name, messages in videos.items()}
    counts: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for item in found.values():
        counts[item["bundle_id"]][item["state"]] += 1
    return {name: bundle(messages, counts[name]) for name, messages in bundles.items()}, found


def bundle(messages: list[dict[str, Any]], videos: dict[str, int]) -> dict[str, Any]:
    own = [message for message in messages if message["event"].startswith("bundle.")]
    bans = [message for message in own if message["event"] == "bundle.banned"]
    last = (bans or own)[-1] if own else None
    newest = {message["event"]: key(message) for message in own}
    completed = newest.get("bundle.warming_completed")
    hindrances = (newest.get("bundle.created"), newest.get("bundle.warming_failed"))
    warmed = completed is not None and all(other is None or other < completed for other in hindrances)
    state = STATES[last["event"]] if last else "unknown"
    return {
        "country": messages[0]["country"],
        "platform": messages[0]["platform"],
        "state": state,
        "warmed": warmed,
        "postable": warmed and state not in ("banned", "failed"),
        "holds": [],
        "videos": dict(videos),
    }


def video(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """A video that TokPortal planned, on one bundle."""
    news = [message for message in messages if message["event"] != "video.analytics_updated"]
    posts = [message for message in news if message["event"] == "video.posted"]
    measured = [message for message in messages if message["event"] == "video.analytics_updated"]
    return {
        "bundle_id": messages[0]["bundle_id"],
        "state": "posted" if posts else STATES[news[-1]["event"]] if news else "unknown",
        "post_url": posts[-1]["data"]["url"] if posts else None,
        "metrics": {name: measured[-1]["data"].get(name) for name in METRICS} if measured else None,
    }
