"""The world's time, chance and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.sandbox.model import KINDS, Bundle, Due, Effect, Row, SavedAccount, Slot
from orchestrator.sandbox.parameters import Parameters
from orchestrator.sandbox.store import Store
from orchestrator.sandbox.world import World
from tests.sandbox.house import House, StandingClock


def _rows(world: World) -> list[tuple[str, dict[str, Any]]]:
    return [(kind.kind, msgspec.to_builtins(row)) for kind in KINDS for row in world.all(kind)]


def _lived(path: Path | None) -> House:
    clock = StandingClock()
    house = House(World(clock, path=path, seed=7), clock)
    first = house.active(external_ref="a")
    second = house.active(wants_advanced_warming=True, advanced_warming_terms_count=3)
    house.ask("PUT", f"/bundles/{first}/videos/2", house.video(external_ref="v1", auto_publish=True), key="k1")
    house.ask("PUT", f"/bundles/{second}/videos/1", house.video(external_ref="v2"), key="k2")
    house.ask("POST", f"/bundles/{second}/videos/1/unschedule")
    house.ask("POST", "/webhooks", {"url": "https://hooks.example.com"})
    house.ask("POST", "/bundles", {}, dry="true")
    house.world.at(house.world.now() + 60_000_000, "later", what="it")
    house.world.save()
    return house


def test_a_file_gives_the_same_world(tmp_path: Path) -> None:
    house = _lived(tmp_path / "world.db")
    # The first world is not closed: it dies.
    again = House(World(house.clock, path=tmp_path / "world.db"), house.clock)
    assert _rows(again.world) == _rows(house.world)
    assert again.world.seed == 7
    assert (tmp_path / "world.db").stat().st_mode & 0o077 == 0
    assert again.world.next_due() == house.world.next_due() == house.world.now() + 60_000_000
    assert [slot.external_ref for slot in again.world.live_slots("v1")] == ["v1"]
    for path in ("/bundles", "/accounts", "/webhooks", "/credits/history"):
        assert again.ask("GET", path).content == house.ask("GET", path).content
    # Ids go on where they were, and a key still has its answer.
    assert again.world.new_id("bundle") == house.world.new_id("bundle")
    id = next(again.world.bundles()).id
    body = again.video(external_ref="v1", auto_publish=True)
    assert again.ask("PUT", f"/bundles/{id}/videos/2", body, key="k1").headers["idempotent-replayed"] == "true"


def test_the_same_seed_gives_the_same_world() -> None:
    assert _rows(_lived(None).world) == _rows(_lived(None).world)


def test_a_file_keeps_its_seed(tmp_path: Path) -> None:
    World(path=tmp_path / "world.db", seed=1).close()
    with pytest.raises(ValueError, match="seed 1, not 2"):
        World(path=tmp_path / "world.db", seed=2)
    assert World(path=tmp_path / "world.db").seed == 1


def test_what_is_not_saved_is_lost_with_the_process(tmp_path: Path) -> None:
    world = World(path=tmp_path / "world.db")
    world.put(Bundle(id="saved"))
    world.save()
    world.put(Bundle(id="lost"))
    assert [bundle.id for bundle in World(path=tmp_path / "world.db").all(Bundle)] == ["saved"]


def test_a_file_of_another_program(tmp_path: Path) -> None:
    class Odd(Row, kw_only=True):
        kind = "odd"

    path = tmp_path / "world.db"
    world = World(path=path, kinds=[Odd])
    world.put(Odd(id="1"))
    world.close()
    assert [row.id for row in World(path=path, kinds=[Odd]).all(Odd)] == ["1"]
    with pytest.raises(ValueError, match="'odd'"):
        World(path=path)
    store = Store(path, [Odd])
    store._connection.execute("UPDATE rows SET body = '{}' WHERE kind = 'odd'")
    with pytest.raises(ValueError, match="odd '1', which cannot be read"):
        store.read("odd", "1")


def test_undo_brings_back_what_was_saved() -> None:
    world = World()
    bundle = Bundle(id="b", title="old", external_ref="one")
    world.put(bundle)
    world.add_slots(bundle, 1)
    world.save()
    bundle.title, bundle.external_ref = "new", "two"
    world.put(bundle)
    world.add_slots(bundle, 2)
    world.put(Bundle(id="c"))
    due = world.at(1, "never")
    world.undo()
    assert [(found.id, found.title) for found in world.all(Bundle)] == [("b", "old")]
    assert [found.id for found in world.bundles_with_ref("one")] == ["b"]
    assert world.bundles_with_ref("two") == []
    bundle = world.get(Bundle, "b")
    assert [slot.position for slot in world.slots_of(bundle)] == [1]
    assert world.find(Due, due) is None and world.next_due() is None
    # The id of what was undone is given away again, and means the new thing only.
    happened: list[int] = []
    world.on("again", lambda: happened.append(world.now()))
    assert world.at(5, "again") == due
    assert world.next_due() == 5
    world.run_due()
    assert happened == [5]


def test_undo_brings_back_what_was_removed() -> None:
    world = World()
    due = world.at(5, "it")
    world.save()
    world.cancel(due)
    world.undo()
    assert world.next_due() == 5


def test_due_actions_happen_in_order_each_at_its_moment() -> None:
    clock = StandingClock()
    world = World(clock)
    start = world.now()
    seen: list[tuple[str, int]] = []

    def note(name: str) -> None:
        seen.append((name, world.now() - start))
        if name == "first":
            world.at(world.now() + 10, "note", name="between")

    world.on("note", note)
    world.at(start + 30, "note", name="last")
    world.at(start + 10, "note", name="first")
    world.at(start + 10, "note", name="second")
    world.cancel(world.at(start + 15, "note", name="cancelled"))
    assert world.run_due() == 0
    clock.time += 100
    assert world.run_due(limit=1) == 1
    assert world.run_due() == 3
    assert seen == [("first", 10), ("second", 10), ("between", 20), ("last", 30)]
    assert world.now() == start + 100


def test_an_action_that_nobody_carries_out_is_not_lost() -> None:
    world = World()
    world.at(5, "unheard")
    for _ in range(2):
        with pytest.raises(LookupError, match=r"'unheard', which was scheduled for 1970"):
            world.run_due()
    assert world.next_due() == 5


def test_chance_depends_on_seed_and_subject_only() -> None:
    one, two = World(seed=1), World(seed=2)
    first = one.random("ban", "a").random()
    one.random("ban", "b").random()
    assert one.random("ban", "a").random() == first
    assert World(seed=1).random("ban", "a").random() == first
    assert two.random("ban", "a").random() != first
    ids = [World(seed=seed).new_id("bundle") for seed in range(200)]
    assert len(set(ids)) == 200
    assert not any(id.startswith("00000000-00") for id in ids)


def test_doubles_are_effects_under_one_key() -> None:
    world = World()
    world.effect("batchConfigureBundleVideos", 1, idempotency_key="k", position=1)
    world.effect("batchConfigureBundleVideos", 1, idempotency_key="k", position=2)
    world.effect("addVideoSlots", 2)
    world.effect("addVideoSlots", 3)
    assert world.doubles() == []
    world.effect("batchConfigureBundleVideos", 4, idempotency_key="k", position=3)
    assert [[effect.position for effect in group] for group in world.doubles()] == [[1, 2, 3]]
    assert len(list(world.all(Effect))) == 5


def test_events_of_a_status() -> None:
    house = House(World(StandingClock()), StandingClock())
    heard: list[tuple[str, Any]] = []
    id = house.bundle()
    house.world.listen(lambda type, data: heard.append((type, data.get("previous_status"))))
    slot = house.slot(id)
    for status in ("configured", "published", "accepted", "in_review", "finalized"):
        house.world.move_slot(slot, status)
    assert heard == [
        ("video.configured", "pending"),
        ("video.published", "configured"),
        ("video.in_review", "accepted"),
        ("video.finalized", "in_review"),
    ]


def test_a_world_that_adopts() -> None:
    clock = StandingClock()
    house = House(World(clock, adopt=True), clock)
    heard: list[str] = []
    house.world.listen(lambda type, data: heard.append(type))
    house.world.watch(lambda change, row: heard.append(change))
    assert house.ask("GET", "/bundles/bdl_fr_1").data["status"] == "accepted"
    reply = house.ask("PUT", "/bundles/bdl_fr_1/videos/3", house.video(1, external_ref="v1", auto_publish=True))
    assert reply.data["status"] == "published"
    carousel = {"video_type": "carousel", "carousel_images": ["a.jpg"], "target_publish_date": house.day(1)}
    assert house.ask("PUT", "/bundles/bdl_insta/videos/1", carousel).status == 200
    shown = house.ask("GET", "/bundles/bdl_fr_1/videos").data
    assert len(shown) == 101
    assert sum(row["status"] == "pending" for row in shown) == 100
    assert house.ask("GET", "/bundles/bdl_fr_1").data["videos_quantity"] == 101
    assert house.ask("GET", "/bundles/bdl_fr_1/videos/3").data["video_id"] == reply.data["video_id"]
    assert house.ask("POST", "/bundles/bdl_fr_1/add-video-slots", {"quantity": 2}).json["credits_charged"] == 4
    assert house.ask("POST", "/bundles/bdl_fr_1/videos/3/unschedule").data["status"] == "pending"
    terms = ["one", "two", "three"]
    assert house.ask("PUT", "/bundles/bdl_fr_1/warming-terms", {"advanced_warming_terms": terms}).status == 200
    assert house.ask("POST", "/accounts/sav_1/rewarm", {"search_terms": terms}).json["credits_charged"] == 15
    assert house.ask("GET", "/videos/vid_9/analytics").data == {"video_id": "vid_9", "captured_at": None}
    assert house.ask("GET", "/bundles").data == house.ask("GET", "/accounts").data == []
    assert heard == []
    assert len(list(house.world.all(Slot))) == 4
    assert {account.adopted for account in house.world.all(SavedAccount)} == {True}


@pytest.mark.parametrize(
    "wrong", [{"unschedule_to": "gone"}, {"rate_capacity": 0}, {"rate_refill": 0}, {"publish_zone": "Mars/Olympus"}]
)
def test_parameters_that_make_no_world(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Parameters(**wrong)
