"""Reading campaigns: YAML 1.2 and JSON by the same rules, and CSV with one row for each video."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final
from urllib.parse import urlsplit

from orchestrator.campaigns.spec import CampaignSpec, Content, Target
from orchestrator.documents import Node, Problem, Reader, Refused, decode, load
from orchestrator.documents.reader import named, named_key, suggestion, twice
from orchestrator.domain.countries import PLATFORMS, country_code

MOST_VIDEOS: Final = 10_000
MOST_TARGETS: Final = 1_000
MOST_WISHES: Final = 100_000
MOST_LABELS: Final = 50
LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a campaign file."""
LONGEST_NAME: Final = 120
LONGEST_CAPTION: Final = 2_200
LONGEST_URL: Final = 2_000
TYPES: Final = ("video", "carousel", "story")
SPREADS: Final = ("every_account", "one_account")
TOP: Final = (
    "name",
    "group",
    "origin",
    "labels",
    "starts",
    "ends",
    "videos",
    "targets",
    "spread",
    "disclose_as_ads",
    "ai_content_disclaimer",
)
COLUMNS: Final = ("ref", "media", "caption", "country", "platform", "bundle_id", "target_day")
NO_DEFAULT: Final = "must be stated as true or false: there is no default for what the law may ask of you"


def read_document(text: str) -> CampaignSpec:
    """A campaign in YAML or JSON. Raises `Refused` with everything that is wrong."""
    if len(text) > LARGEST:
        raise Refused([Problem("error", 1, 1, "", f"the file is larger than {LARGEST // 1024 // 1024} MiB")])
    root = load(text)
    reader = Reader()
    top = reader.mapping(root, "", TOP)
    if root.value is not None and not isinstance(root.value, dict):
        reader.finish()
    spec = _spec(reader, root, top)
    reader.finish()
    return spec


def _spec(reader: Reader, root: Node, top: Mapping[str, Node]) -> CampaignSpec:
    name = _need(reader, root, top, "name")
    said_name = reader.word(name, "name", longest=LONGEST_NAME) if name is not None else None
    group = reader.word(top["group"], "group", longest=LONGEST_NAME) if "group" in top else "default"
    starts = reader.day(top["starts"], "starts") if "starts" in top else None
    ends = reader.day(top["ends"], "ends") if "ends" in top else None
    if starts is not None and ends is not None and ends < starts:
        reader.error(top["ends"], "ends", f"is before the campaign starts, on {starts}")
    stated = {key: _stated(reader, root, top, key) for key in ("disclose_as_ads", "ai_content_disclaimer")}
    spread = reader.choice(top["spread"], "spread", SPREADS) if "spread" in top else "every_account"
    targets = _targets(reader, root, top)
    platforms = {target.platform for target in targets}
    videos = _videos(reader, root, top, platforms)
    accounts = (
        sum(len(t.bundles or ()) or t.accounts or 1 for t in targets) if spread != "one_account" else len(targets)
    )
    if len(videos) * accounts > MOST_WISHES:
        asked = f"{len(videos):,} videos on {accounts:,} accounts"
        reader.error(top["targets"], "targets", f"asks for {asked}: at most {MOST_WISHES:,} posts in one campaign")
    return CampaignSpec(
        name=said_name or "",
        group=group or "default",
        starts=starts,
        ends=ends,
        videos=videos,
        targets=targets,
        spread=spread or "every_account",
        disclose_as_ads=stated["disclose_as_ads"],
        ai_content_disclaimer=stated["ai_content_disclaimer"],
        origin=_texts(reader, top["origin"], "origin", ("system", "object", "id")) if "origin" in top else None,
        labels=_texts(reader, top["labels"], "labels", None) if "labels" in top else {},
    )


def _need(reader: Reader, root: Node, top: Mapping[str, Node], key: str) -> Node | None:
    if key not in top:
        reader.error(root, key, "is missing")
    return top.get(key)


def _stated(reader: Reader, root: Node, top: Mapping[str, Node], key: str) -> bool:
    node = top.get(key)
    if node is None or type(node.value) is not bool:
        reader.error(node or root, key, NO_DEFAULT)
        return False
    return node.value


def _texts(reader: Reader, node: Node, key: str, known: tuple[str, ...] | None) -> dict[str, str]:
    found = {}
    members = reader.mapping(node, key, known)
    if len(members) > MOST_LABELS:
        reader.error(node, key, f"must have at most {MOST_LABELS} entries, not {len(members):,}")
        return {}
    for name, member in members.items():
        where = f"{key}.{named_key(name)}"
        said = reader.word(Node(name, member.line, member.column), where, longest=60)
        value = reader.text(member, where)
        if said is not None and value is not None:
            found[said] = value
    return found


def _videos(reader: Reader, root: Node, top: Mapping[str, Node], platforms: set[str | None]) -> tuple[Content, ...]:
    node = _need(reader, root, top, "videos")
    items = reader.sequence(node, "videos") if node is not None else None
    if node is None or items is None:
        return ()
    if not 1 <= len(items) <= MOST_VIDEOS:
        reader.error(node, "videos", f"must have 1 to {MOST_VIDEOS:,} entries, not {len(items):,}")
        return ()
    found: list[Content] = []
    lines: dict[str, int] = {}
    for index, item in enumerate(items):
        content = _content(reader, item, f"videos[{index}]", platforms)
        if content is None:
            continue
        if content.ref in lines:
            said = f"{named(content.ref)} is used in line {lines[content.ref]} already"
            reader.error(item, f"videos[{index}].ref", said)
        lines.setdefault(content.ref, item.line)
        found.append(content)
    return tuple(found)


def _content(reader: Reader, node: Node, key: str, platforms: set[str | None]) -> Content | None:
    keys = ("ref", "type", "media", "caption", "captions", "tiktok", "instagram")
    members = reader.mapping(node, key, keys)
    before = reader.errors
    for name in ("ref", "media"):
        if name not in members and isinstance(node.value, dict):
            reader.error(node, f"{key}.{name}", "is missing")
    ref = reader.word(members["ref"], f"{key}.ref") if "ref" in members else None
    kind = reader.choice(members["type"], f"{key}.type", TYPES) if "type" in members else "video"
    media = _media(reader, members["media"], f"{key}.media", kind) if "media" in members else None
    caption = None
    if "caption" in members and members["caption"].value is not None:
        caption = reader.text(members["caption"], f"{key}.caption", longest=LONGEST_CAPTION, shortest=0)
    captions = _captions(reader, members["captions"], f"{key}.captions") if "captions" in members else {}
    tiktok = _tiktok(reader, members.get("tiktok"), f"{key}.tiktok")
    if kind == "carousel" and "tiktok" in platforms and not tiktok.get("sound_url"):
        reader.error(node, f"{key}.tiktok.sound_url", "is missing: a carousel on TikTok needs a sound")
    instagram = _instagram(reader, members.get("instagram"), f"{key}.instagram", kind)
    if reader.errors > before or ref is None or media is None or kind is None:
        return None
    return Content(ref, kind, media, caption, captions, tiktok, instagram)


def _captions(reader: Reader, node: Node, key: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, member in reader.mapping(node, key).items():
        where = f"{key}.{named_key(name)}"
        code = _country(reader, Node(name, member.line, member.column), where)
        said = reader.text(member, where, longest=LONGEST_CAPTION, shortest=0)
        if code is not None and code in found:
            reader.error(member, where, f"{code} is given twice")
        if code is not None and said is not None:
            found[code] = said
    return found


def _tiktok(reader: Reader, node: Node | None, key: str) -> dict[str, Any]:
    members = reader.mapping(node, key, ("sound_url",)) if node is not None else {}
    sound = members.get("sound_url")
    if sound is None or sound.value is None:
        return {}
    url = _url(reader, sound, f"{key}.sound_url")
    return {} if url is None else {"sound_url": url}


def _instagram(reader: Reader, node: Node | None, key: str, kind: str | None) -> dict[str, Any]:
    """TokPortal asks for a content type on Instagram: a reel, unless a post is wanted."""
    members = reader.mapping(node, key, ("content_type",)) if node is not None else {}
    if "content_type" not in members:
        return {} if kind == "story" else {"content_type": "post" if kind == "carousel" else "reel"}
    found = reader.choice(members["content_type"], f"{key}.content_type", ("reel", "post"))
    return {} if found is None else {"content_type": found}


def _media(reader: Reader, node: Node, key: str, kind: str | None) -> str | tuple[str, ...] | None:
    if kind != "carousel":
        return _url(reader, node, key)
    urls = reader.each(node, key, lambda item, name: _url(reader, item, name))
    if urls is not None and not 1 <= len(urls) <= 20:
        reader.error(node, key, f"a carousel has 1 to 20 images, not {len(urls)}")
    return urls


def _url(reader: Reader, node: Node, key: str) -> str | None:
    text = reader.text(node, key, longest=LONGEST_URL)
    if text is None:
        return None
    problem = _why_no_url(text)
    if problem is not None:
        reader.error(node, key, problem)
        return None
    return text


def _why_no_url(text: str) -> str | None:
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return "must be a URL such as https://cdn.example.com/teaser-1.mp4"
    if parts.username or parts.password:
        return "must not carry a password"
    if parts.scheme != "https" or not host or not text.isprintable() or " " in text:
        return f"must be a URL such as https://cdn.example.com/teaser-1.mp4, not {named(text)}"
    return None


def _targets(reader: Reader, root: Node, top: Mapping[str, Node]) -> tuple[Target, ...]:
    node = _need(reader, root, top, "targets")
    items = reader.sequence(node, "targets") if node is not None else None
    if node is None or items is None:
        return ()
    if not 1 <= len(items) <= MOST_TARGETS:
        reader.error(node, "targets", f"must have 1 to {MOST_TARGETS:,} entries, not {len(items):,}")
        return ()
    found = [_target(reader, item, f"targets[{index}]") for index, item in enumerate(items)]
    return tuple(target for target in found if target is not None)


def _target(reader: Reader, node: Node, key: str) -> Target | None:
    members = reader.mapping(node, key, ("country", "platform", "accounts", "bundles"))
    for name in ("country", "platform"):
        if name not in members and isinstance(node.value, dict):
            reader.error(node, f"{key}.{name}", "is missing")
    country = _country(reader, members["country"], f"{key}.country") if "country" in members else None
    platform = None
    if "platform" in members:
        platform = reader.choice(members["platform"], f"{key}.platform", sorted(PLATFORMS))
    accounts, bundles = None, None
    if "accounts" in members:
        accounts = reader.number(members["accounts"], f"{key}.accounts", least=1, most=100_000)
    if "bundles" in members:
        bundles = reader.words(members["bundles"], f"{key}.bundles")
        if not members["bundles"].value:
            reader.error(members["bundles"], f"{key}.bundles", "must name a bundle; leave it out for any account")
    if "accounts" in members and "bundles" in members:
        reader.error(members["accounts"], f"{key}.accounts", "give either accounts or bundles, not both")
    return Target(country, platform, accounts, bundles)


def _country(reader: Reader, node: Node, key: str) -> str | None:
    code = country_code(node.value) if isinstance(node.value, str) else None
    if code is None:
        reader.error(node, key, f"must be a country as ISO 3166 alpha-2, such as US or FR, not {named(node.value)}")
    return code


# CSV.


def read_csv(
    data: bytes,
    *,
    name: str,
    disclose_as_ads: bool,
    ai_content_disclaimer: bool,
    group: str = "default",
    starts: date | None = None,
    ends: date | None = None,
    country: str | None = None,
    platform: str | None = None,
) -> CampaignSpec:
    """A campaign with one row for each post. `country` and `platform` are those of rows that name none, and no bundle.

    Raises `Refused` with the problems of every row; a problem's line is the line of the file.
    """
    if len(data) > LARGEST:
        raise Refused([Problem("error", 1, 1, "", f"the file is larger than {LARGEST // 1024 // 1024} MiB")])
    text = decode(data)
    reader = Reader()
    start = Node(None, 1, 1)
    reader.word(Node(name, 1, 1), "name", longest=LONGEST_NAME)
    reader.word(Node(group, 1, 1), "group", longest=LONGEST_NAME)
    for key, day in (("starts", starts), ("ends", ends)):
        if day is not None:
            reader.day(Node(day.isoformat(), 1, 1), key)
    if starts is not None and ends is not None and ends < starts:
        reader.error(start, "ends", f"is before the campaign starts, on {starts}")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    contents: dict[str, tuple[int, Content]] = {}
    targets: dict[Target, int] = {}
    line = number = 0
    try:
        header = [column.strip() for column in next(rows, [])]
        line = rows.line_num
        if not _check_header(reader, start, header):
            reader.finish()
        for row in rows:
            node, line = Node(None, line + 1, 1), rows.line_num
            if not any(cell.strip() for cell in row):
                continue
            number += 1
            if number > MOST_VIDEOS:
                reader.error(node, "", f"is one row too many: a file has at most {MOST_VIDEOS:,}")
                break
            found = _row(reader, node, header, row, country, platform)
            if found is None:
                continue
            content, target = found
            known = contents.setdefault(content.ref, (node.line, content))
            if known[1] != content:
                reader.error(node, "ref", f"{named(content.ref)} has another media or caption in line {known[0]}")
            if target in targets:
                reader.error(node, "ref", f"says the same as line {targets[target]}: one row for each post")
            if target.target_day is not None and not (starts or date.min) <= target.target_day <= (ends or date.max):
                reader.error(node, "target_day", f"is not within the campaign, {starts or ''}..{ends or ''}")
            targets.setdefault(target, node.line)
    except csv.Error as error:
        # The rest cannot be told apart into rows.
        hint = "is a quotation mark missing, or one too many?"
        reader.error(Node(None, line + 1, 1), "", f"cannot be read as CSV ({error}): {hint}")
    if not number and not reader.errors:
        reader.error(start, "", "has no rows")
    reader.finish()
    return CampaignSpec(
        name=name,
        group=group,
        starts=starts,
        ends=ends,
        videos=tuple(content for _, content in contents.values()),
        targets=tuple(targets),
        spread="every_account",
        disclose_as_ads=disclose_as_ads,
        ai_content_disclaimer=ai_content_disclaimer,
    )


def _delimiter(text: str) -> str:
    """What stands between the names of the columns. Where the comma is used in numbers, tables are saved with
    semicolons, or tabs."""
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    return max(",;\t", key=first.count)


def _check_header(reader: Reader, node: Node, header: list[str]) -> bool:
    before = reader.errors
    for column in header:
        if column not in COLUMNS:
            which = suggestion(column, COLUMNS) or f"; the columns are {', '.join(COLUMNS)}"
            reader.error(node, named_key(column), f"there is no such column{which}")
    for column in twice(header):
        reader.error(node, named_key(column), "is named twice in the first line")
    for column in ("ref", "media"):
        if column not in header:
            reader.error(node, column, "is missing in the first line, which names the columns")
    return reader.errors == before


def _row(
    reader: Reader, node: Node, header: list[str], row: list[str], country: str | None, platform: str | None
) -> tuple[Content, Target] | None:
    if len(row) != len(header):
        reader.error(node, "", f"has {len(row)} cells; the first line names {len(header)} columns")
        return None
    before = reader.errors
    cells = {column: cell.strip() for column, cell in zip(header, row, strict=True)}
    found = {column: Node(cell, node.line, 1) for column, cell in cells.items() if cell}
    for column in ("ref", "media"):
        if column not in found:
            reader.error(node, column, "is missing")
    ref = reader.word(found["ref"], "ref") if "ref" in found else None
    media = _url(reader, found["media"], "media") if "media" in found else None
    caption = reader.text(found["caption"], "caption", longest=LONGEST_CAPTION) if "caption" in found else None
    bundles = None
    if "bundle_id" in found:
        # Its country and platform are what TokPortal says of it, unless the row itself insists.
        bundle_id, country, platform = reader.word(found["bundle_id"], "bundle_id"), None, None
        bundles = (bundle_id,) if bundle_id is not None else None
    if "country" in found:
        country = _country(reader, found["country"], "country")
    elif country is None and "bundle_id" not in found:
        reader.error(node, "country", "is missing, and no bundle_id tells it")
    if "platform" in found:
        platform = reader.choice(found["platform"], "platform", sorted(PLATFORMS))
    elif platform is None and "bundle_id" not in found:
        reader.error(node, "platform", "is missing, and no bundle_id tells it")
    target_day = reader.day(found["target_day"], "target_day") if "target_day" in found else None
    if reader.errors > before or ref is None or media is None:
        return None
    content = Content(ref, "video", media, caption, {}, {}, {"content_type": "reel"})
    return content, Target(country, platform, None if bundles else 1, bundles, ref, target_day)
