"""Reading campaigns: YAML 1.2 and JSON by the same rules, and CSV with one row for each video."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import date
from typing import Any, Final
from urllib.parse import urlsplit

from orchestrator.campaigns.spec import CampaignSpec, Content, Target
from orchestrator.documents import Node, Problem, Reader, Refused, load
from orchestrator.documents.reader import named, suggestion
from orchestrator.domain.countries import PLATFORMS, country_code

MOST_VIDEOS: Final = 10_000
MOST_WISHES: Final = 100_000
LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a campaign file."""
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
    spec = _spec(reader, root, top)
    reader.finish()
    return spec


def _spec(reader: Reader, root: Node, top: Mapping[str, Node]) -> CampaignSpec:
    name = _need(reader, root, top, "name")
    said_name = reader.text(name, "name", longest=120) if name is not None else None
    if said_name is not None and (not said_name.isprintable() or said_name != said_name.strip()):
        reader.error(top["name"], "name", "must be printable, without spaces around it")
    group = reader.text(top["group"], "group", longest=120) if "group" in top else "default"
    starts = reader.day(top["starts"], "starts") if "starts" in top else None
    ends = reader.day(top["ends"], "ends") if "ends" in top else None
    if starts is not None and ends is not None and ends < starts:
        reader.error(top["ends"], "ends", f"is before the campaign starts, on {starts}")
    stated = {key: _stated(reader, root, top, key) for key in ("disclose_as_ads", "ai_content_disclaimer")}
    spread = reader.choice(top["spread"], "spread", SPREADS) if "spread" in top else "every_account"
    targets = _targets(reader, root, top)
    platforms = {target.platform for target in targets}
    videos = _videos(reader, root, top, platforms)
    accounts = sum(len(target.bundles or ()) or target.accounts or 1 for target in targets)
    if len(videos) * accounts > MOST_WISHES:
        asked = f"{len(videos):,} videos on {accounts:,} accounts"
        reader.error(root, "targets", f"asks for {asked}: at most {MOST_WISHES:,} posts in one campaign")
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
    for name, member in reader.mapping(node, key, known).items():
        value = reader.text(member, f"{key}.{name}")
        if value is not None:
            found[name] = value
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
            reader.error(item, f"videos[{index}].ref", f"{content.ref!r} is used in line {lines[content.ref]} already")
        lines.setdefault(content.ref, item.line)
        found.append(content)
    return tuple(found)


def _content(reader: Reader, node: Node, key: str, platforms: set[str | None]) -> Content | None:
    keys = ("ref", "type", "media", "caption", "captions", "tiktok", "instagram")
    members = reader.mapping(node, key, keys)
    before = len(reader.problems)
    for name in ("ref", "media"):
        if name not in members and isinstance(node.value, dict):
            reader.error(node, f"{key}.{name}", "is missing")
    ref = reader.text(members["ref"], f"{key}.ref") if "ref" in members else None
    if ref is not None and not ref.isprintable():
        reader.error(members["ref"], f"{key}.ref", "must be printable")
    kind = reader.choice(members["type"], f"{key}.type", TYPES) if "type" in members else "video"
    media = _media(reader, members["media"], f"{key}.media", kind) if "media" in members else None
    caption = None
    if "caption" in members and members["caption"].value is not None:
        caption = reader.text(members["caption"], f"{key}.caption", longest=LONGEST_CAPTION, shortest=0)
    captions = {}
    for name, member in reader.mapping(members["captions"], f"{key}.captions").items() if "captions" in members else ():
        code = country_code(name)
        if code is None:
            reader.error(member, f"{key}.captions.{name}", "must be a country as ISO 3166 alpha-2, such as FR")
        said = reader.text(member, f"{key}.captions.{name}", longest=LONGEST_CAPTION, shortest=0)
        if code is not None and said is not None:
            captions[code] = said
    tiktok = _tiktok(reader, members.get("tiktok"), f"{key}.tiktok")
    if kind == "carousel" and "tiktok" in platforms and not tiktok.get("sound_url"):
        reader.error(node, f"{key}.tiktok.sound_url", "is missing: a carousel on TikTok needs a sound")
    instagram = _instagram(reader, members.get("instagram"), f"{key}.instagram", kind)
    if len(reader.problems) > before or ref is None or media is None or kind is None:
        return None
    return Content(ref, kind, media, caption, captions, tiktok, instagram)


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
    if parts.scheme not in ("http", "https") or not host or not text.isprintable() or " " in text:
        return f"must be a URL such as https://cdn.example.com/teaser-1.mp4, not {named(text)}"
    return "must not carry a password" if parts.username or parts.password else None


def _targets(reader: Reader, root: Node, top: Mapping[str, Node]) -> tuple[Target, ...]:
    node = _need(reader, root, top, "targets")
    items = reader.sequence(node, "targets") if node is not None else None
    if node is None or items is None:
        return ()
    if not 1 <= len(items) <= 1_000:
        reader.error(node, "targets", f"must have 1 to 1,000 entries, not {len(items):,}")
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
        bundles = reader.each(members["bundles"], f"{key}.bundles", lambda item, name: reader.text(item, name))
        if bundles is not None and (not bundles or len(set(bundles)) < len(bundles)):
            reader.error(members["bundles"], f"{key}.bundles", "must name bundles, each once")
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
    reader = Reader()
    start = Node(None, 1, 1)
    if len(data) > LARGEST:
        raise Refused([Problem("error", 1, 1, "", f"the file is larger than {LARGEST // 1024 // 1024} MiB")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Refused([Problem("error", line, 1, "", "is not UTF-8: save the file as CSV UTF-8")]) from None
    _check_settings(reader, start, name, starts, ends)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    contents: dict[str, tuple[int, Content]] = {}
    targets: dict[Target, int] = {}
    line = 1
    try:
        header = [column.strip() for column in next(rows, [])]
        if not _check_header(reader, start, header):
            reader.finish()
        for row in rows:
            first, line = line + 1, rows.line_num
            if not any(cell.strip() for cell in row):
                continue
            if len(targets) >= MOST_VIDEOS:
                reader.error(Node(None, first, 1), "", f"has more than {MOST_VIDEOS:,} rows")
                break
            place = (country, platform)
            _row(reader, Node(None, first, 1), header, row, contents, targets, place)
    except csv.Error as error:
        reader.error(Node(None, rows.line_num or 1, 1), "", f"cannot be read as CSV: {error}")
    if not targets and not reader.problems:
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


def _check_settings(reader: Reader, node: Node, name: str, starts: date | None, ends: date | None) -> None:
    if not 1 <= len(name) <= 120 or not name.isprintable() or name != name.strip():
        reader.error(node, "name", "must have 1 to 120 printable characters, without spaces around them")
    if starts is not None and ends is not None and ends < starts:
        reader.error(node, "ends", f"is before the campaign starts, on {starts}")


def _check_header(reader: Reader, node: Node, header: list[str]) -> bool:
    before = len(reader.problems)
    for column in header:
        if column not in COLUMNS:
            which = suggestion(column, COLUMNS) or f"; the columns are {', '.join(COLUMNS)}"
            reader.error(node, column[:60], f"there is no such column{which}")
    if len(set(header)) < len(header):
        reader.error(node, "", "names a column twice in its first line")
    for column in ("ref", "media"):
        if column not in header:
            reader.error(node, column, "is missing in the first line, which names the columns")
    return len(reader.problems) == before


def _row(
    reader: Reader,
    node: Node,
    header: list[str],
    row: list[str],
    contents: dict[str, tuple[int, Content]],
    targets: dict[Target, int],
    place: tuple[str | None, str | None],
) -> None:
    if len(row) != len(header):
        reader.error(node, "", f"has {len(row)} cells; the first line names {len(header)} columns")
        return
    before = len(reader.problems)
    cells = {column: cell.strip() or None for column, cell in zip(header, row, strict=True)}
    for column, cell in cells.items():
        if cell is not None and "\0" in cell:
            reader.error(node, column, "has a character that cannot be stored")
    ref, media, caption = cells["ref"], cells["media"], cells.get("caption")
    if ref is None or len(ref) > 200 or not ref.isprintable():
        reader.error(node, "ref", "must have 1 to 200 printable characters")
    if media is None or (problem := _why_no_url(media)) is not None or len(media) > LONGEST_URL:
        reader.error(node, "media", "is missing" if media is None else problem or "is too long")
    if caption is not None and len(caption) > LONGEST_CAPTION:
        reader.error(node, "caption", f"must have at most {LONGEST_CAPTION:,} characters, not {len(caption):,}")
    bundle_id = cells.get("bundle_id")
    said_country = cells.get("country") or (place[0] if bundle_id is None else None)
    said_platform = cells.get("platform") or (place[1] if bundle_id is None else None)
    code = _country(reader, Node(said_country, node.line, 1), "country") if said_country is not None else None
    if said_platform is not None and said_platform not in PLATFORMS:
        reader.error(node, "platform", f"must be one of {', '.join(sorted(PLATFORMS))}, not {named(said_platform)}")
    if bundle_id is None and (said_country is None or said_platform is None):
        missing = "country" if said_country is None else "platform"
        reader.error(node, missing, "is missing, and no bundle_id tells it")
    day = cells.get("target_day")
    target_day = reader.day(Node(day, node.line, 1), "target_day") if day is not None else None
    if len(reader.problems) > before or ref is None or media is None:
        return
    content = Content(ref, "video", media, caption, {}, {}, {"content_type": "reel"})
    known = contents.setdefault(ref, (node.line, content))
    if known[1] != content:
        reader.error(node, "ref", f"{ref!r} has another media or caption in line {known[0]}")
        return
    bundles = (bundle_id,) if bundle_id is not None else None
    target = Target(code, said_platform, None if bundles else 1, bundles, ref, target_day)
    if target in targets:
        reader.error(node, "ref", f"says the same as line {targets[target]}: one row for each post")
    targets.setdefault(target, node.line)
