"""How values are shown to people: nothing that somebody sent us can act on the page, its text or its links."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from markupsafe import Markup

# Control characters, lone surrogates, tags and what is invisible or turns the direction of writing. The joiners U+200C
# and U+200D stay: emoji and several scripts need them.
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
LONGEST = 600
"""Characters of a text that a page shows; the API has all of it."""
LONGEST_URL = 2_000


def clean(value: Any) -> Any:
    """`value` as text without what would act on the page; markup that is ours stays as it is."""
    if isinstance(value, Markup):
        return value
    text = UNSAFE.sub("", str(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def plain(value: Any) -> str:
    """`value` as one line that cannot act on a terminal."""
    return " ".join(str(clean(str(value))).split())


def web_link(url: Any) -> str | None:
    """`url` where it leads to the web, and nowhere else: a script or a file of the reader's is no link."""
    if not isinstance(url, str) or len(url) > LONGEST_URL or UNSAFE.search(url) or any(map(str.isspace, url)):
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    # What stands before an @ looks like the host to people, and is not.
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or "\\" in url:
        return None
    return url


def path_part(name: str) -> str:
    """`name` as one part of an address."""
    return quote(name, safe="")


def moment(text: str | None) -> str:
    """An ISO time in UTC, to the second."""
    if text is None:
        return ""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{found:%Y-%m-%d %H:%M:%S}Z"


def counts(numbers: Mapping[str, int]) -> str:
    """`{"posted": 3, "failed": 1}` as a person reads it."""
    return ", ".join(f"{number:,} {state}" for state, number in numbers.items() if number)


def attempt_count(attempts: list[Mapping[str, Any]]) -> str:
    """`2 accounts, 3 tries`."""
    tries = sum(attempt["tries"] for attempt in attempts)
    if not attempts:
        return ""
    accounts = f"{len(attempts)} account{'s' if len(attempts) > 1 else ''}"
    return accounts if tries <= len(attempts) else f"{accounts}, {tries} tries"


def target_day(attempts: list[Mapping[str, Any]]) -> str:
    """The day that the last attempt is planned for."""
    return (attempts[-1]["target_day"] if attempts else None) or ""
