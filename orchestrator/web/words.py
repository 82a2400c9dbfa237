"""What happened, as sentences."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MODES = {
    "sandbox": "Sandbox: a simulated TokPortal. No account, post or credit is real, and nothing leaves this machine.",
    "observe": "Observing: reports are kept, shown and decided about. Commands to TokPortal are held; nothing is sent.",
    "live": "Live: commands go to TokPortal.",
}
"""What the service's mode means."""

FACTS = {
    "BundleCreated": "{bundle}: the account is ordered",
    "BundleReady": "{bundle}: the account is delivered",
    "WarmingStarted": "{bundle} warms up",
    "WarmingCompleted": "{bundle} is warm",
    "WarmingFailed": "{bundle}: warming failed",
    "BundleBanned": "{bundle} is banned",
    "AppealSubmitted": "{bundle}: an appeal against a ban is pending",
    "AppealResolved": "{bundle}: the appeal is decided",
    "AccountRemade": "{bundle}: the account is remade",
    "Reinstated": "{bundle} is reinstated",
    "BundleCancelled": "{bundle} is cancelled at TokPortal",
    "VideoPosted": "{video} is posted on {bundle}",
    "PostFailed": "{video}: the post on {bundle} failed",
    "VideoRerouted": "{video} moves to {bundle}",
    "VideoRetried": "{video} is tried once more on {bundle}",
    "VideoWaiting": "{video} waits",
    "VideoAbandoned": "{video} is given up",
    "VideoCancelled": "{video} is cancelled",
    "BreakerOpened": "{market}: the breaker opened, and nothing more is handed over",
    "MarketPaused": "{market} is paused",
    "MarketResumed": "{market} goes on",
    "CampaignStarted": "the campaign started",
    "CampaignCompleted": "the campaign is completed",
    "CampaignCancelled": "the campaign is cancelled",
    "ServicePaused": "everything is paused",
    "ServiceResumed": "everything goes on",
}
"""What is news to a person, by the event's name."""

DECISIONS = {
    "warm": "Warm up",
    "place": "Place",
    "retry": "Try again",
    "reroute": "Reroute",
    "wait": "Wait",
    "stop": "Give up",
    "hold": "Hold",
    "cancel": "Cancel",
    "breaker": "Breaker",
    "review": "Ask a person",
}
"""The kinds of decisions."""

SETTLED = ("posted", "abandoned", "cancelled")
"""States in which nothing more is to be done about a video of a campaign."""


def news(event: Mapping[str, Any], refs: Mapping[str, str]) -> str | None:
    """What an item of the log says, as a sentence without its full stop; None for what is no news to a person. `refs`
    are what campaigns call the videos."""
    text = FACTS.get(event["event"])
    if text is None:
        return None
    aggregate, subject = event["aggregate"], event.get("subject", {})
    said = text.format(
        bundle=bundle_of(event) or subject.get("saved_account_id") or "an account",
        video=refs.get(aggregate["id"], aggregate["id"]),
        market=" on ".join(filter(None, aggregate["id"].split(":"))),
    )
    why = _why(event)
    return f"{said}: {why}" if why else said


def bundle_of(event: Mapping[str, Any]) -> str | None:
    """The bundle that an item of the log is about, if it names one."""
    if event["aggregate"]["kind"] == "bundle":
        return str(event["aggregate"]["id"])
    named: str | None = event["data"].get("bundle_id") or event.get("subject", {}).get("bundle_id")
    return named


def named(text: str, names: Mapping[str, str]) -> str:
    """`text` with accounts called by their `names` in place of their bundles' ids."""
    if not names:
        return text
    ids = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    # A whole id, and no beginning of another one.
    return re.sub(rf"(?<![\w-])(?:{ids})(?![\w-])", lambda found: names[found[0]], text)


def _why(event: Mapping[str, Any]) -> str | None:
    reason = event.get("ours", {}).get("reason")
    if reason is not None:
        return str(reason)
    data = event["data"]
    if event["event"] == "PostFailed":
        parts = (data.get("error_code"), data.get("message"))
    elif event["event"] in ("BundleBanned", "WarmingFailed"):
        parts = (data.get("code"), data.get("reason"))
    else:
        return None
    return ", ".join(str(part) for part in parts if part) or None


def world(mode: str | None, speed: float) -> str:
    """Which world this is, and how fast its time goes."""
    said = MODES.get(mode or "", "The service has not started its work yet.")
    if mode == "sandbox" and speed != 1:
        said += f" This world runs {speed:,.15g} times as fast as the real one: {_pace(speed)}."
    return said


def _pace(speed: float) -> str:
    for seconds, name in ((86400, "day"), (3600, "hour")):
        if speed * 60 >= seconds:
            number = speed * 60 / seconds
            amount = f"{number:,.1f}".removesuffix(".0")
            return f"a minute here is {amount} {name}{'' if number == 1 else 's'} there"
    return f"a second here is {speed:,.15g} seconds there"
