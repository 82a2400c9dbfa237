"""The sandbox's own account of what really happened, reduced to what the demo asks about."""

from __future__ import annotations

from typing import Final

import httpx2

from orchestrator.demo.told import Post, Truth, get

APPEALS_WON: Final = "appeal_accepted"
VALID: Final = ("appeal_refused", "no_appeal_banned")


def read_truth(sandbox: httpx2.Client) -> Truth:
    """Raises `DemoError` where the sandbox does not answer."""
    said = get(sandbox, "/sandbox/truth")
    banned = {ban["account_id"] for ban in said["bans"] if ban["status"] in VALID}
    doubles = [f"{len(group)} times the effect of {group[0]['operation']}" for group in said["doubles"]]
    return Truth(
        posts=[Post(post["external_ref"], post["bundle_id"], post["saved_account_id"]) for post in said["posts"]],
        bundles=frozenset(bundle["bundle_id"] for bundle in said["bundles"]),
        banned=frozenset(bundle["bundle_id"] for bundle in said["bundles"] if bundle["saved_account_id"] in banned),
        ever_banned=frozenset(ban["account_id"] for ban in said["bans"] if ban["status"] != APPEALS_WON),
        violations=[*(f"{row['code']}: {row['message']}" for row in said["violations"]), *doubles],
    )
