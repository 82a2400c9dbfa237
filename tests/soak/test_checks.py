"""A check that cannot fail proves nothing: each is shown a small truth that it has to find fault with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.soak.checks import Told, check
from tests.soak.truth import Account, Carried, Done, Posted, Truth

URL = "https://t.example/1"


def truth() -> Truth:
    """One account that was banned, with a post that was told too late, and one that carries on."""
    return Truth(
        posts=[
            Posted("vid_1", "b_1", "acc_1", 10, URL),
            Posted("vid_1", "b_2", "acc_2", 20, "https://t.example/2"),
            Posted("vid_2", "b_2", "acc_2", 30, "https://t.example/3"),
        ],
        carried=[Carried("vid_1", "b_2", 1, "finalized"), Carried("vid_2", "b_2", 2, "finalized")],
        effects=[
            Done("configureVideo", "cmd_1-aa", "vid_1", "b_1", 1, 0),
            Done("configureVideo", "cmd_2-bb", "vid_1", "b_2", 1, 0),
            Done("addVideoSlots", "cmd_3.4-cc", None, "b_2", None, 4),
        ],
        accounts=[Account("b_1", "acc_1", is_banned=True, is_closed=True), Account("b_2", "acc_2")],
        banned={"acc_1"},
        requests=100,
    )


def told() -> Told:
    return Told(
        videos=[
            video("vid_1", "posted", post_url=URL),
            video("vid_2", "posted", post_url="https://t.example/3"),
            video("vid_3", "waiting", reason="nobody qualifies"),
        ],
        bundles=[bundle("b_1", state="banned", saved_account_id="acc_1"), bundle("b_2", saved_account_id="acc_2")],
        commands=[
            {"command_id": "cmd_1", "status": "done", "reason": None},
            {"command_id": "cmd_4", "status": "held", "reason": "an admin's approval"},
        ],
        wanted=3,
    )


def video(name: str, state: str, **more: Any) -> dict[str, Any]:
    about = {"video_id": name, "campaign_id": "cmp_1", "state": state, "reason": None, "post_url": None}
    return {**about, "flags": [], "attempts": [], **more}


def bundle(name: str, **more: Any) -> dict[str, Any]:
    about = {"bundle_id": name, "state": "completed", "saved_account_id": None, "warmed": True}
    return {**about, "holds": [], "flags": [], **more}


def test_a_world_in_order_is_in_order() -> None:
    assert check(truth(), told()) == []


def _posted_twice(truth: Truth, told: Told) -> None:
    truth.posts.append(Posted("vid_2", "b_3", "acc_3", 40, URL))


def _posted_twice_on_one(truth: Truth, told: Told) -> None:
    truth.posts.append(Posted("vid_2", "b_2", "acc_2", 40, URL))


def _second_banned_only(truth: Truth, told: Told) -> None:
    truth.banned = {"acc_2"}


def _in_two_slots(truth: Truth, told: Told) -> None:
    truth.carried.append(Carried("vid_2", "b_3", 1, "published"))


def _key_twice(truth: Truth, told: Told) -> None:
    truth.effects.append(Done("configureVideo", "cmd_1-aa", "vid_1", "b_1", 1, 0))


def _paid_twice(truth: Truth, told: Told) -> None:
    truth.effects.append(Done("addVideoSlots", "cmd_3.6-dd", None, "b_2", None, 6))


def _violation(truth: Truth, told: Told) -> None:
    truth.violations.append("CREDENTIALS_REVEALED: of acc_1")


def _too_fast(truth: Truth, told: Told) -> None:
    truth.rate_limited = 1


def _one_missing(truth: Truth, told: Told) -> None:
    told.videos.pop()


def _not_at_its_end(truth: Truth, told: Told) -> None:
    told.videos[2] = video("vid_3", "scheduled")


def _without_reason(truth: Truth, told: Told) -> None:
    told.videos[2] = video("vid_3", "abandoned")


def _post_not_told(truth: Truth, told: Told) -> None:
    told.videos[1] = video("vid_2", "abandoned", reason="it was lost")


def _post_made_up(truth: Truth, told: Told) -> None:
    told.videos[2] = video("vid_3", "posted", post_url=URL)


def _wrong_address(truth: Truth, told: Told) -> None:
    told.videos[1]["post_url"] = URL


def _post_of_nobody(truth: Truth, told: Told) -> None:
    truth.posts.append(Posted("vid_9", "b_2", "acc_2", 40, URL))


def _stranger(truth: Truth, told: Told) -> None:
    told.videos.append({**video("tp_1", "posted"), "campaign_id": None})


def _ban_not_told(truth: Truth, told: Told) -> None:
    told.bundles[0]["state"] = "completed"


def _ban_made_up(truth: Truth, told: Told) -> None:
    told.bundles[1]["state"] = "banned"


def _another_account(truth: Truth, told: Told) -> None:
    told.bundles[1]["saved_account_id"] = "acc_9"


def _hold_not_told(truth: Truth, told: Told) -> None:
    truth.accounts[1] = Account("b_2", "acc_2", is_appealed=True)


def _hold_made_up(truth: Truth, told: Told) -> None:
    told.bundles[1]["holds"] = ["closed"]


def _coverage_not_told(truth: Truth, told: Told) -> None:
    truth.accounts[1] = Account("b_2", "acc_2", is_covered=False)


def _warming_not_told(truth: Truth, told: Told) -> None:
    told.bundles[1]["warmed"] = False


def _delivery_not_told(truth: Truth, told: Told) -> None:
    told.bundles[1]["state"] = "created"


def _bundle_unknown(truth: Truth, told: Told) -> None:
    told.bundles.pop()


def _bundle_of_nobody(truth: Truth, told: Told) -> None:
    told.bundles.append(bundle("b_9"))


def _left_running(truth: Truth, told: Told) -> None:
    told.commands[0] |= _command("running")


def _held_without_reason(truth: Truth, told: Told) -> None:
    told.commands[1] |= _command("held")


def _command(status: str) -> dict[str, Any]:
    about = {"kind": "configure_video", "bundle_id": "b_2", "video_id": "vid_3", "attempts": 1, "last_error": None}
    return {**about, "status": status, "reason": None, "not_before": "2026-11-26T00:00:00Z"}


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (_posted_twice, "vid_2 was posted on b_2 at 30 and then on b_3 at 40"),
        (_posted_twice_on_one, "vid_2 was posted on b_2 at 30 and then on b_2 at 40"),
        (_second_banned_only, "vid_1 was posted on b_1 at 10 and then on b_2 at 20"),
        (_in_two_slots, "vid_2 is in the slots b_2#2 (finalized), b_3#1 (published)"),
        (_key_twice, "configureVideo with the key cmd_1-aa took effect 2 times on b_1#1"),
        (_paid_twice, "addVideoSlots of cmd_3 was paid 2 times"),
        (_violation, "CREDENTIALS_REVEALED"),
        (_too_fast, "1 of 100 requests were beyond TokPortal's rate"),
        (_one_missing, "3 videos were wanted, and there are 2"),
        (_not_at_its_end, "vid_3 is still scheduled"),
        (_without_reason, "vid_3 is abandoned without a reason"),
        (_post_not_told, "here it is abandoned"),
        (_post_made_up, "vid_3 was never posted"),
        (_wrong_address, f"and here as {URL}"),
        (_post_of_nobody, "vid_9 was posted, and is no video of ours"),
        (_stranger, "tp_1 is a stranger"),
        (_ban_not_told, "b_1: banned is True there and False here"),
        (_ban_made_up, "b_2: banned is False there and True here"),
        (_another_account, "b_2: the account is acc_2 there and acc_9 here"),
        (_hold_not_told, "b_2: under appeal is True there and False here"),
        (_hold_made_up, "b_2: closed is False there and True here"),
        (_coverage_not_told, "b_2: covered is False there and True here"),
        (_warming_not_told, "b_2: warmed is True there and False here"),
        (_delivery_not_told, "b_2: delivered is True there and False here"),
        (_bundle_unknown, "b_2 is not known here"),
        (_bundle_of_nobody, "b_9 is unknown there"),
        (_left_running, "configure_video cmd_1 for b_2 / vid_3 is running"),
        (_held_without_reason, "configure_video cmd_4 for b_2 / vid_3 is held"),
    ],
)
def test_what_is_wrong_is_found(harm: Callable[[Truth, Told], None], word: str) -> None:
    there, here = truth(), told()
    harm(there, here)
    problems = check(there, here)
    assert len(problems) == 1
    assert word in problems[0]
