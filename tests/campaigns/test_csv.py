"""Campaigns in CSV: one row for each post, judged one by one, all or nothing."""

from __future__ import annotations

import time
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.campaigns import CampaignSpec, Content, Target, read_csv
from orchestrator.campaigns.files import LARGEST, MOST_VIDEOS
from orchestrator.documents import Problem, Refused

HEADER = "ref,media,caption,country,platform,bundle_id,target_day"
URL = "https://cdn.example.com/1.mp4"


def read(text: str | bytes, **settings: Any) -> CampaignSpec:
    data = text.encode() if isinstance(text, str) else text
    given = {"name": "spring-launch", "disclose_as_ads": True, "ai_content_disclaimer": False} | settings
    return read_csv(data, **given)


def rows(*lines: str, header: str = HEADER) -> str:
    return "\n".join([header, *lines, ""])


def problems(text: str | bytes, **settings: Any) -> list[Problem]:
    with pytest.raises(Refused) as caught:
        read(text, **settings)
    return caught.value.problems


def places(text: str | bytes, **settings: Any) -> list[tuple[int, str, str]]:
    return [(problem.line, problem.key, problem.message) for problem in problems(text, **settings)]


# What a row says.


def test_every_column_is_read() -> None:
    spec = read(
        rows(
            f"teaser-1,{URL},New drop,US,tiktok,,2026-12-03",
            f"teaser-1,{URL},New drop,UK,instagram,,",
            "teaser-2,https://cdn.example.com/2.mp4,,,,bdl_fr_1,",
        ),
        group="acme",
        starts=date(2026, 12, 1),
        ends=date(2026, 12, 14),
    )
    assert spec == CampaignSpec(
        name="spring-launch",
        group="acme",
        starts=date(2026, 12, 1),
        ends=date(2026, 12, 14),
        videos=(
            Content("teaser-1", "video", URL, "New drop", instagram={"content_type": "reel"}),
            Content("teaser-2", "video", "https://cdn.example.com/2.mp4", instagram={"content_type": "reel"}),
        ),
        targets=(
            Target("US", "tiktok", accounts=1, ref="teaser-1", target_day=date(2026, 12, 3)),
            Target("GB", "instagram", accounts=1, ref="teaser-1"),
            Target(None, None, bundles=("bdl_fr_1",), ref="teaser-2"),
        ),
        spread="every_account",
        disclose_as_ads=True,
        ai_content_disclaimer=False,
    )


def test_all_columns_but_two_may_be_left_out_where_the_settings_say_where_to() -> None:
    spec = read(rows(f"a,{URL}", header="ref,media"), country="US", platform="tiktok")
    assert spec.targets == (Target("US", "tiktok", accounts=1, ref="a"),)


def test_what_a_row_says_counts_before_the_settings() -> None:
    spec = read(rows(f"a,{URL},,FR,,,", f"b,{URL},,,,bdl_1,"), country="US", platform="tiktok")
    assert [(target.country, target.platform) for target in spec.targets] == [("FR", "tiktok"), (None, None)]


def test_columns_may_stand_in_any_order() -> None:
    assert read(rows(f"US,{URL},tiktok,a", header="country,media,platform,ref")).videos[0].ref == "a"


# How it is written.

PLAIN = rows(f"a,{URL},Hi,US,tiktok,,", f"b,{URL},Hi,US,tiktok,,")


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode(),
        PLAIN.replace("Hi", '"Hi"').encode(),
        PLAIN.replace(",", " , ").encode(),
        PLAIN.replace("\n", "\n\n,,,,,,\n").encode(),
        PLAIN.rstrip("\n").encode(),
    ],
    ids=["CRLF", "CR", "BOM", "semicolons", "tabs", "quotes", "spaces", "blank rows", "no last line end"],
)
def test_however_a_table_was_saved_it_is_the_same_campaign(data: bytes) -> None:
    assert read(data).digest == read(PLAIN).digest


def test_a_caption_may_have_commas_quotes_and_lines() -> None:
    spec = read(rows(f'a,{URL},"New, ""hot""\nand 😀",US,tiktok,,', f"b,{URL},,XX,tiktok,,".replace("XX", "FR")))
    assert spec.videos[0].caption == 'New, "hot"\nand 😀'


def test_a_problem_after_a_row_of_several_lines_names_its_own_line() -> None:
    text = rows(f'a,{URL},"one\ntwo\nthree",US,tiktok,,', f"b,{URL},,XX,tiktok,,")
    assert [(problem.line, problem.key) for problem in problems(text)] == [(5, "country")]


@pytest.mark.parametrize("prefix", ["=", "+", "-", "@"])
def test_what_a_spreadsheet_would_take_for_a_formula_is_text(prefix: str) -> None:
    spec = read(rows(f'{prefix}a,{URL},"{prefix}HYPERLINK(""x"")",US,tiktok,,'))
    assert (spec.videos[0].ref, spec.videos[0].caption) == (f"{prefix}a", f'{prefix}HYPERLINK("x")')


# Again.


def test_the_same_table_is_the_same_campaign() -> None:
    assert (read(PLAIN).campaign_id, read(PLAIN).digest) == (read(PLAIN).campaign_id, read(PLAIN).digest)


@pytest.mark.parametrize(
    "settings",
    [{"disclose_as_ads": False}, {"ai_content_disclaimer": True}, {"group": "acme"}, {"starts": date(2026, 12, 1)}],
)
def test_the_same_table_with_other_settings_has_other_content(settings: dict[str, Any]) -> None:
    assert read(PLAIN, **settings).campaign_id == read(PLAIN).campaign_id
    assert read(PLAIN, **settings).digest != read(PLAIN).digest


def test_a_campaign_comes_back_from_json_as_it_was() -> None:
    assert CampaignSpec.from_json(read(PLAIN).to_json()) == read(PLAIN)


# What is wrong with rows.


@pytest.mark.parametrize(
    ("row", "column", "says"),
    [
        (f",{URL},,US,tiktok,,", "ref", "is missing"),
        (f"{'x' * 201},{URL},,US,tiktok,,", "ref", "must have 1 to 200 characters, not 201"),
        (f'"a\nb",{URL},,US,tiktok,,', "ref", "must be printable, without spaces around it"),
        ("a,,,US,tiktok,,", "media", "is missing"),
        ("a,teaser.mp4,,US,tiktok,,", "media", "must be a URL such as https://cdn.example.com/teaser-1.mp4"),
        ("a,http://cdn.example.com/a.mp4,,US,tiktok,,", "media", "must be a URL such as https://"),
        (f"a,{URL}{'x' * 2_000},,US,tiktok,,", "media", "must have 1 to 2,000 characters"),
        (f"a,{URL},{'x' * 2_201},US,tiktok,,", "caption", "must have 1 to 2,200 characters, not 2,201"),
        (f"a,{URL},x\0y,US,tiktok,,", "caption", "has the character NUL, which cannot be stored"),
        (f"a,{URL},,XX,tiktok,,", "country", "must be a country as ISO 3166 alpha-2, such as US or FR, not 'XX'"),
        (f"a,{URL},,,tiktok,,", "country", "is missing, and no bundle_id tells it"),
        (f"a,{URL},,US,youtube,,", "platform", "must be one of instagram, tiktok, not 'youtube'"),
        (f"a,{URL},,US,,,", "platform", "is missing, and no bundle_id tells it"),
        (f"a,{URL},,US,tiktok,,2026-02-30", "target_day", "must be a day that exists, such as 2026-12-24"),
        (f"a,{URL},,US,tiktok,,24.12.2026", "target_day", "must be a day that exists, such as 2026-12-24"),
        (f"a,{URL},,US,tiktok,,2026-11-30", "target_day", "is not within the campaign, 2026-12-01..2026-12-14"),
        (f"a,{URL},,US,tiktok,,2026-12-15", "target_day", "is not within the campaign, 2026-12-01..2026-12-14"),
        (f"a,{URL},,US,tiktok", "", "has 5 cells; the first line names 7 columns"),
        (f"a,{URL},Hi, there,US,tiktok,,", "", "has 8 cells; the first line names 7 columns"),
    ],
)
def test_a_row_that_cannot_be(row: str, column: str, says: str) -> None:
    text = rows(f"ok,{URL},,US,tiktok,,", row)
    ((line, key, message),) = places(text, starts=date(2026, 12, 1), ends=date(2026, 12, 14))
    assert (line, key) == (3, column)
    assert says in message


def test_every_row_is_judged_and_none_is_taken_if_one_is_wrong() -> None:
    text = rows(
        f"a,{URL},,US,tiktok,,",
        f"b,{URL},,XX,myspace,,",
        "c,nowhere,,US,tiktok,,someday",
        f",{URL},,US,tiktok,,",
    )
    assert [(line, column) for line, column, _ in places(text)] == [
        (3, "country"),
        (3, "platform"),
        (4, "media"),
        (4, "target_day"),
        (5, "ref"),
    ]


def test_a_row_that_stands_there_twice() -> None:
    text = rows(f"a,{URL},Hi,US,tiktok,,", f"b,{URL},Hi,US,tiktok,,", f"a,{URL},Hi,USA,tiktok,,")
    assert places(text) == [(4, "ref", "says the same as line 2: one row for each post")]


def test_one_ref_is_one_content() -> None:
    text = rows(f"a,{URL},Hi,US,tiktok,,", f"a,{URL},Ho,FR,tiktok,,")
    assert places(text) == [(3, "ref", "'a' has another media or caption in line 2")]


def test_one_ref_may_go_to_many_places_and_days() -> None:
    text = rows(*(f"a,{URL},Hi,US,tiktok,,2026-12-0{n}" for n in range(1, 4)), f"a,{URL},Hi,FR,tiktok,,")
    spec = read(text)
    assert (len(spec.videos), len(spec.targets)) == (1, 4)


# What is wrong with the table.


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("", 1, "ref", "is missing in the first line, which names the columns"),
        ("ref\na\n", 1, "media", "is missing in the first line, which names the columns"),
        ("ref,media,titel\n", 1, "titel", "there is no such column; the columns are ref, media, caption"),
        ("Ref,media\n", 1, "Ref", "there is no such column; did you mean ref?"),
        ("ref,media,ref\n", 1, "ref", "is named twice in the first line"),
        ("ref,media,\n", 1, "", "there is no such column"),
        (f"{HEADER}\n", 1, "", "has no rows"),
        (f'{HEADER}\na,{URL},"Hi,US,tiktok,,\nb,{URL},,US,tiktok,,\n', 2, "", "is a quotation mark missing"),
        (f'{HEADER}\na,{URL},"Hi" there,US,tiktok,,\n', 2, "", "is a quotation mark missing, or one too many?"),
        (f'{HEADER}\na,{URL},"{"x" * 200_000}",US,tiktok,,\n', 2, "", "cannot be read as CSV"),
    ],
)
def test_a_table_that_cannot_be(text: str, line: int, column: str, says: str) -> None:
    found = places(text)[0]
    assert found[:2] == (line, column)
    assert says in found[2]


def test_a_table_that_is_not_utf_8_names_the_line() -> None:
    data = rows(f"a,{URL},Hi,US,tiktok,,").encode() + f"b,{URL},Été,US,tiktok,,".encode("cp1252")
    assert places(data) == [(3, "", "this is not UTF-8: save the file as UTF-8")]
    assert places(PLAIN.encode("utf-16"))[0][2] == "this is not UTF-8: save the file as UTF-8"


def test_a_huge_file_is_refused_before_it_is_read() -> None:
    assert places(b"x" * (LARGEST + 1)) == [(1, "", "the file is larger than 16 MiB")]


def test_one_row_too_many() -> None:
    text = rows(*(f"r{n},{URL},,US,tiktok,," for n in range(MOST_VIDEOS + 2)))
    assert places(text) == [(MOST_VIDEOS + 2, "", "is one row too many: a file has at most 10,000")]


def test_of_very_many_wrong_rows_the_number_is_told() -> None:
    found = places("ref,media\n" + "x,\n" * 5_000_000)
    assert len(found) == 100
    assert found[-1][2].startswith("and 29,9")


@pytest.mark.parametrize(
    ("settings", "column", "says"),
    [
        ({"name": ""}, "name", "must have 1 to 120 characters, not 0"),
        ({"name": "a\nb"}, "name", "must be printable, without spaces around it"),
        ({"group": " x"}, "group", "must be printable, without spaces around it"),
        ({"starts": date(9999, 12, 31)}, "starts", "must be a day that exists"),
        ({"starts": date(2026, 12, 14), "ends": date(2026, 12, 1)}, "ends", "is before the campaign starts"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], column: str, says: str) -> None:
    ((line, key, message),) = places(PLAIN, **settings)
    assert (line, key) == (1, column)
    assert says in message


# Big ones, and whatever the bytes.


def test_ten_thousand_rows_are_read_in_reasonable_time() -> None:
    text = rows(*(f"r{n},https://cdn.example.com/{n}.mp4,New drop,US,tiktok,," for n in range(MOST_VIDEOS)))
    started = time.process_time()
    assert len(read(text).targets) == MOST_VIDEOS
    assert time.process_time() - started < 5


cells = st.sampled_from(["a", URL, "US", "tiktok", "bdl_1", "2026-12-01", "", "=1", "é", '"', "\n", "\0", "\ud7ff"])


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.lists(st.lists(cells, max_size=8).map(",".join), max_size=5))
def test_any_table_is_read_or_refused(lines: list[str]) -> None:
    try:
        spec = read(rows(*lines))
    except Refused as error:
        assert all(problem.message and problem.line >= 1 for problem in error.problems)
    else:
        assert CampaignSpec.from_json(spec.to_json()) == spec


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, has_header: bool) -> None:
    try:
        read(f"{HEADER}\n".encode() + data if has_header else data)
    except Refused as error:
        assert error.problems
