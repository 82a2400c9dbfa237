"""Campaigns in YAML and JSON."""

from __future__ import annotations

import json
import time
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.campaigns import CampaignSpec, Content, Target, read_document
from orchestrator.campaigns.files import LARGEST, MOST_VIDEOS, TOP
from orchestrator.documents import Problem, Refused

FULL = """
name: spring-launch
group: acme
origin: {system: hubspot, object: deal, id: "4711"}
labels: {product: p1}
starts: 2026-12-01
ends: 2026-12-14
videos:
  - ref: teaser-1
    type: video
    media: https://cdn.example.com/teaser-1.mp4
    caption: "New drop"
    captions: {FR: "Nouveau", NO: "Ny"}
    tiktok: {sound_url: null}
    instagram: {content_type: reel}
  - ref: gallery
    type: carousel
    media: [https://cdn.example.com/1.jpg, https://cdn.example.com/2.jpg]
    tiktok: {sound_url: https://www.tiktok.com/music/x-1}
  - {ref: story, type: story, media: https://cdn.example.com/story.jpg}
targets:
  - {country: US, platform: tiktok, accounts: 5}
  - {country: FR, platform: instagram, bundles: [bdl_fr_1]}
  - {country: UK, platform: tiktok}
spread: one_account
disclose_as_ads: true
ai_content_disclaimer: false
"""

LEAST: dict[str, Any] = {
    "name": "spring-launch",
    "videos": [{"ref": "teaser-1", "media": "https://cdn.example.com/teaser-1.mp4"}],
    "targets": [{"country": "US", "platform": "tiktok"}],
    "disclose_as_ads": False,
    "ai_content_disclaimer": False,
}


def read(**changes: Any) -> CampaignSpec:
    """The least campaign with these changes; `...` leaves a key out."""
    return read_document(json.dumps({k: v for k, v in (LEAST | changes).items() if v is not ...}))


def with_video(**changes: Any) -> CampaignSpec:
    return read(videos=[{k: v for k, v in (LEAST["videos"][0] | changes).items() if v is not ...}])


def with_target(**changes: Any) -> CampaignSpec:
    return read(targets=[{k: v for k, v in (LEAST["targets"][0] | changes).items() if v is not ...}])


def problems(text: str) -> list[Problem]:
    with pytest.raises(Refused) as caught:
        read_document(text)
    return caught.value.problems


# Every key.


def test_every_key_is_read() -> None:
    assert read_document(FULL) == CampaignSpec(
        name="spring-launch",
        group="acme",
        starts=date(2026, 12, 1),
        ends=date(2026, 12, 14),
        videos=(
            Content(
                ref="teaser-1",
                type="video",
                media="https://cdn.example.com/teaser-1.mp4",
                caption="New drop",
                captions={"FR": "Nouveau", "NO": "Ny"},
                instagram={"content_type": "reel"},
            ),
            Content(
                ref="gallery",
                type="carousel",
                media=("https://cdn.example.com/1.jpg", "https://cdn.example.com/2.jpg"),
                tiktok={"sound_url": "https://www.tiktok.com/music/x-1"},
                instagram={"content_type": "post"},
            ),
            Content(ref="story", type="story", media="https://cdn.example.com/story.jpg"),
        ),
        targets=(
            Target("US", "tiktok", accounts=5),
            Target("FR", "instagram", bundles=("bdl_fr_1",)),
            Target("GB", "tiktok"),
        ),
        spread="one_account",
        disclose_as_ads=True,
        ai_content_disclaimer=False,
        origin={"system": "hubspot", "object": "deal", "id": "4711"},
        labels={"product": "p1"},
    )


def test_what_may_be_left_out() -> None:
    spec = read()
    assert (spec.group, spec.starts, spec.ends, spec.spread) == ("default", None, None, "every_account")
    assert (spec.origin, spec.labels) == (None, {})
    (video,) = spec.videos
    assert (video.type, video.caption, video.captions, video.tiktok) == ("video", None, {}, {})
    assert video.instagram == {"content_type": "reel"}
    assert spec.targets == (Target("US", "tiktok", accounts=None, bundles=None),)


@pytest.mark.parametrize("key", ["disclose_as_ads", "ai_content_disclaimer"])
@pytest.mark.parametrize("value", [..., None, "yes", "true", 1, 0])
def test_both_disclosures_must_be_stated(key: str, value: object) -> None:
    with pytest.raises(Refused) as caught:
        read(**{key: value})
    (problem,) = caught.value.problems
    assert problem.key == key
    assert problem.message.startswith("must be stated as true or false: there is no default")


def test_captions_by_country_may_be_called_as_tokportal_calls_them() -> None:
    assert with_video(captions={"UK": "Hello", "no": "Hei"}).videos[0].captions == {"GB": "Hello", "NO": "Hei"}


def test_a_caption_may_have_lines_and_emoji_and_be_empty() -> None:
    assert with_video(caption="New 😀\ndrop\n").videos[0].caption == "New 😀\ndrop\n"
    assert with_video(caption="").videos[0].caption == ""
    assert with_video(caption="x" * 2_200).videos[0].caption == "x" * 2_200


# One campaign, one digest.


def test_the_same_campaign_in_json_has_the_same_digest_and_id() -> None:
    as_json = json.dumps(read_document(FULL).to_json())
    values = json.loads(as_json)
    values["targets"] = [
        {k: v for k, v in target.items() if v is not None and k != "ref"} for target in values["targets"]
    ]
    again = read_document(json.dumps({key: value for key, value in values.items() if key in TOP}))
    assert again == read_document(FULL)
    assert (again.digest, again.campaign_id) == (read_document(FULL).digest, read_document(FULL).campaign_id)


def turned(value: Any) -> Any:
    """The same with the keys of every mapping the other way round."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


def test_the_order_of_keys_and_what_is_said_in_other_words_make_no_difference() -> None:
    said = {
        **LEAST,
        "group": "default",
        "spread": "every_account",
        "labels": {},
        "videos": [
            {
                **LEAST["videos"][0],
                "type": "video",
                "caption": None,
                "captions": {"US": "Hi", "FR": "Salut"},
                "tiktok": {"sound_url": None},
                "instagram": {"content_type": "reel"},
            }
        ],
        "targets": [{"country": "USA", "platform": "tiktok"}],
    }
    other = with_video(captions={"FR": "Salut", "USA": "Hi"})
    assert read_document(json.dumps(said)).digest == other.digest
    assert read_document(json.dumps(turned(said))).digest == other.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"disclose_as_ads": True},
        {"ai_content_disclaimer": True},
        {"starts": "2026-12-01"},
        {"group": "acme"},
        {"spread": "one_account"},
        {"labels": {"a": "b"}},
        {"origin": {"system": "x"}},
        {"videos": [{"ref": "teaser-1", "media": "https://cdn.example.com/other.mp4"}]},
        {"targets": [{"country": "US", "platform": "tiktok", "accounts": 1}]},
    ],
)
def test_other_content_under_the_same_name_is_told_apart(changes: dict[str, Any]) -> None:
    assert read(**changes).campaign_id == read().campaign_id
    assert read(**changes).digest != read().digest


def test_a_campaign_comes_back_from_json_as_it_was() -> None:
    spec = read_document(FULL)
    assert CampaignSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


# What is wrong.


@pytest.mark.parametrize(
    ("changes", "key", "says"),
    [
        ({"name": ...}, "name", "is missing"),
        ({"name": ""}, "name", "must have 1 to 120 characters, not 0"),
        ({"name": "x" * 121}, "name", "must have 1 to 120 characters, not 121"),
        ({"name": "a\nb"}, "name", "must be printable, without spaces around it"),
        ({"name": 7}, "name", "must be a text, not 7: write it in quotes"),
        ({"nmae": "x"}, "nmae", "there is no such key; did you mean name?"),
        ({"group": " acme"}, "group", "must be printable"),
        ({"starts": "2026-02-30"}, "starts", "must be a day that exists, such as 2026-12-24, not '2026-02-30'"),
        ({"starts": "2026-12-01T00:00:00Z"}, "starts", "must be a day that exists"),
        ({"starts": "2026-W01-1"}, "starts", "must be a day that exists"),
        ({"ends": "9999-12-31"}, "ends", "must be a day that exists"),
        ({"ends": 20261224}, "ends", "must be a day that exists, such as 2026-12-24, not 20261224"),
        ({"starts": "2026-12-14", "ends": "2026-12-01"}, "ends", "is before the campaign starts, on 2026-12-14"),
        ({"spread": "all"}, "spread", "must be one of every_account, one_account, not 'all'"),
        ({"origin": {"sytem": "x"}}, "origin.sytem", "did you mean system?"),
        ({"origin": {"id": 4711}}, "origin.id", "must be a text, not 4711: write it in quotes"),
        ({"origin": "hubspot"}, "origin", "must be a mapping, not 'hubspot'"),
        ({"labels": {"product": ["p1"]}}, "labels.product", "must be a text, not a list"),
        ({"labels": {"x" * 61: "p1"}}, f"labels.'{'x' * 57}...'", "must have 1 to 60 characters, not 61"),
        ({"labels": {f"l{n}": "x" for n in range(51)}}, "labels", "must have at most 50 entries, not 51"),
        ({"videos": ...}, "videos", "is missing"),
        ({"videos": []}, "videos", "must have 1 to 10,000 entries, not 0"),
        ({"videos": {}}, "videos", "must be a list, not a mapping"),
        ({"videos": ["teaser"]}, "videos[0]", "must be a mapping, not 'teaser'"),
        ({"targets": ...}, "targets", "is missing"),
        ({"targets": []}, "targets", "must have 1 to 1,000 entries, not 0"),
        ({"targets": [1] * 1_001}, "targets", "must have 1 to 1,000 entries, not 1,001"),
        ({"targets": None}, "targets", "must be a list, not nothing"),
    ],
)
def test_a_campaign_that_cannot_be(changes: dict[str, Any], key: str, says: str) -> None:
    with pytest.raises(Refused) as caught:
        read(**changes)
    (problem,) = caught.value.problems
    assert problem.key == key
    assert says in problem.message


@pytest.mark.parametrize(
    ("changes", "key", "says"),
    [
        ({"ref": ...}, "ref", "is missing"),
        ({"ref": ""}, "ref", "must have 1 to 200 characters, not 0"),
        ({"ref": "a\tb"}, "ref", "must be printable"),
        ({"ref": "x" * 201}, "ref", "must have 1 to 200 characters, not 201"),
        ({"ref": 1}, "ref", "must be a text, not 1: write it in quotes"),
        ({"ref": True}, "ref", "must be a text, not true: write it in quotes"),
        ({"type": "reel"}, "type", "must be one of video, carousel, story, not 'reel'"),
        ({"media": ...}, "media", "is missing"),
        ({"media": "teaser.mp4"}, "media", "must be a URL such as https://cdn.example.com/teaser-1.mp4"),
        ({"media": "http://cdn.example.com/a.mp4"}, "media", "must be a URL such as https://"),
        ({"media": "ftp://cdn.example.com/a.mp4"}, "media", "must be a URL such as https://"),
        ({"media": "javascript:alert(1)"}, "media", "must be a URL such as https://"),
        ({"media": "https://"}, "media", "must be a URL such as https://"),
        ({"media": "https://cdn.example.com/a b.mp4"}, "media", "must be a URL such as https://"),
        ({"media": "https://cdn.example.com:port/a.mp4"}, "media", "must be a URL such as https://"),
        ({"media": "https://[::1/a.mp4"}, "media", "must be a URL such as https://"),
        ({"media": "https://ann:hunter2@cdn.example.com/a.mp4"}, "media", "must not carry a password"),
        ({"media": f"https://cdn.example.com/{'x' * 2_000}"}, "media", "must have 1 to 2,000 characters"),
        ({"media": ["https://cdn.example.com/a.mp4"]}, "media", "must be a text, not a list"),
        ({"type": "carousel"}, "media", "must be a list, not 'https"),
        ({"caption": "x" * 2_201}, "caption", "must have 0 to 2,200 characters, not 2,201"),
        ({"caption": "a\0b"}, "caption", "has the character NUL, which cannot be stored"),
        ({"caption": ["a"]}, "caption", "must be a text, not a list"),
        ({"captions": {"XX": "a"}}, "captions.XX", "must be a country as ISO 3166 alpha-2"),
        ({"captions": {"US": "a", "USA": "b"}}, "captions.USA", "US is given twice"),
        ({"captions": {"FR": "x" * 2_201}}, "captions.FR", "must have 0 to 2,200 characters, not 2,201"),
        ({"captions": {"FR": None}}, "captions.FR", "must be a text, not nothing"),
        ({"captions": "Nouveau"}, "captions", "must be a mapping, not 'Nouveau'"),
        ({"tiktok": {"sound": "x"}}, "tiktok.sound", "did you mean sound_url?"),
        ({"tiktok": {"sound_url": "x"}}, "tiktok.sound_url", "must be a URL such as https://"),
        ({"instagram": {"content_type": "story"}}, "instagram.content_type", "must be one of reel, post, not 'story'"),
        ({"instagram": {"type": "reel"}}, "instagram.type", "there is no such key"),
        ({"titel": "x"}, "titel", "there is no such key"),
    ],
)
def test_a_video_that_cannot_be(changes: dict[str, Any], key: str, says: str) -> None:
    with pytest.raises(Refused) as caught:
        with_video(**changes)
    problem = next(problem for problem in caught.value.problems if problem.key == f"videos[0].{key}")
    assert says in problem.message
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "key", "says"),
    [
        ({"country": ...}, "country", "is missing"),
        ({"country": "XX"}, "country", "must be a country as ISO 3166 alpha-2, such as US or FR, not 'XX'"),
        ({"country": None}, "country", "must be a country as ISO 3166 alpha-2, such as US or FR, not nothing"),
        ({"platform": ...}, "platform", "is missing"),
        ({"platform": "youtube"}, "platform", "must be one of instagram, tiktok, not 'youtube'"),
        ({"platform": "tictok"}, "platform", "did you mean tiktok?"),
        ({"accounts": 0}, "accounts", "must be a whole number from 1 to 100,000, not 0"),
        ({"accounts": -1}, "accounts", "must be a whole number from 1 to 100,000, not -1"),
        ({"accounts": "all"}, "accounts", "must be a whole number from 1 to 100,000, not 'all'"),
        ({"bundles": []}, "bundles", "must name a bundle"),
        ({"bundles": ["bdl_1", "bdl_1"]}, "bundles", "names 'bdl_1' twice"),
        ({"bundles": [7]}, "bundles[0]", "must be a text, not 7"),
        ({"bundles": "bdl_1"}, "bundles", "must be a list, not 'bdl_1'"),
        ({"accounts": 1, "bundles": ["bdl_1"]}, "accounts", "give either accounts or bundles, not both"),
        ({"acounts": 1}, "acounts", "did you mean accounts?"),
    ],
)
def test_a_target_that_cannot_be(changes: dict[str, Any], key: str, says: str) -> None:
    with pytest.raises(Refused) as caught:
        with_target(**changes)
    (problem,) = caught.value.problems
    assert problem.key == f"targets[0].{key}"
    assert says in problem.message


def test_a_ref_is_used_once() -> None:
    text = """
name: x
videos:
  - {ref: teaser-1, media: https://cdn.example.com/1.mp4}
  - {ref: teaser-1, media: https://cdn.example.com/2.mp4}
targets: [{country: US, platform: tiktok}]
disclose_as_ads: false
ai_content_disclaimer: false
"""
    (problem,) = problems(text)
    assert (problem.line, problem.key) == (5, "videos[1].ref")
    assert problem.message == "'teaser-1' is used in line 4 already"


def carousel(number: int, **changes: Any) -> dict[str, Any]:
    return {"type": "carousel", "media": [f"https://cdn.example.com/{n}.jpg" for n in range(number)], **changes}


@pytest.mark.parametrize("number", [0, 21])
def test_a_carousel_has_1_to_20_images(number: int) -> None:
    with pytest.raises(Refused) as caught:
        with_video(**carousel(number, tiktok={"sound_url": "https://www.tiktok.com/music/x-1"}))
    (problem,) = caught.value.problems
    assert problem.message == f"a carousel has 1 to 20 images, not {number}"


def test_a_carousel_on_tiktok_needs_a_sound_and_one_on_instagram_does_not() -> None:
    with pytest.raises(Refused) as caught:
        with_video(**carousel(2))
    (problem,) = caught.value.problems
    assert (problem.key, problem.message) == (
        "videos[0].tiktok.sound_url",
        "is missing: a carousel on TikTok needs a sound",
    )
    video = LEAST["videos"][0] | carousel(2)
    spec = read(videos=[video], targets=[{"country": "US", "platform": "instagram"}])
    assert spec.videos[0].instagram == {"content_type": "post"}


def test_more_posts_than_one_campaign_may_have() -> None:
    videos = [{"ref": f"r{n}", "media": "https://cdn.example.com/1.mp4"} for n in range(101)]
    targets = [{"country": "US", "platform": "tiktok", "accounts": 1_000}]
    with pytest.raises(Refused) as caught:
        read(videos=videos, targets=targets)
    (problem,) = caught.value.problems
    assert problem.message == ("asks for 101 videos on 1,000 accounts: at most 100,000 posts in one campaign")


def test_videos_that_go_to_one_account_each_are_counted_once_for_each_target() -> None:
    videos = [{"ref": f"r{n}", "media": "https://cdn.example.com/1.mp4"} for n in range(101)]
    targets = [{"country": "US", "platform": "tiktok", "accounts": 1_000}]
    assert len(read(videos=videos, targets=targets, spread="one_account").videos) == 101


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file() -> None:
    text = """name: x
starts: 2026-12-14
ends: 2026-12-01
videos:
  - {ref: a, media: nowhere}
  - {media: https://cdn.example.com/2.mp4}
targets:
  - {country: XX, platform: myspace}
disclose_as_ads: perhaps
"""
    assert [(problem.line, problem.key) for problem in problems(text)] == [
        (1, "ai_content_disclaimer"),
        (3, "ends"),
        (5, "videos[0].media"),
        (6, "videos[1].ref"),
        (8, "targets[0].country"),
        (8, "targets[0].platform"),
        (9, "disclose_as_ads"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is missing"),
        ("just words", "must be a mapping, not 'just words'"),
        ("[]", "must be a mapping, not a list"),
        ('{"name": "x"', "this is no YAML"),
        ('{"name": "x", "name": "y"}', "is given twice, first in line 1"),
        ("a: &a [*a]", "anchors"),
        ("[" * 1_000, "nested more than 40 levels deep"),
        ("x" * (LARGEST + 1), "the file is larger than 16 MiB"),
    ],
)
def test_what_cannot_be_read(text: str, says: str) -> None:
    assert says in problems(text)[0].message


# Big ones.


def test_a_campaign_of_ten_thousand_videos_is_read_in_reasonable_time() -> None:
    videos = [{"ref": f"r{n}", "media": f"https://cdn.example.com/{n}.mp4"} for n in range(MOST_VIDEOS)]
    started = time.process_time()
    assert len(read(videos=videos).videos) == MOST_VIDEOS
    assert time.process_time() - started < 15


def test_one_video_too_many_is_refused_without_looking_at_each() -> None:
    with pytest.raises(Refused) as caught:
        read(videos=[1] * (MOST_VIDEOS + 1))
    (problem,) = caught.value.problems
    assert problem.message == "must have 1 to 10,000 entries, not 10,001"


# Whatever the text.

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["US", "tiktok", "2026-12-01"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*TOP, "ref", "media", "type", "country", "platform", "accounts", "bundles", "captions"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.dictionaries(st.sampled_from(TOP), values, max_size=6))
def test_any_document_is_read_or_refused(changes: dict[str, Any]) -> None:
    try:
        spec = read(**changes)
    except Refused as error:
        assert error.problems
    else:
        assert CampaignSpec.from_json(spec.to_json()) == spec


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(Refused):
        read_document(text)
