"""How the account at TokPortal stands: for the doctor, by reading alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from orchestrator.clock import Clock, RealClock
from orchestrator.commands.executor import TryAgain
from orchestrator.dialects.public import EVENTS
from orchestrator.secrets import Secret
from orchestrator.settings import Mode, Settings
from orchestrator.tokportal.client import Client, KeyRefused, Refused, Unreachable
from orchestrator.tokportal.reads import Row, text_of
from orchestrator.tokportal.registration import SINGLE
from orchestrator.tokportal.transport import Call
from orchestrator.webhooks.signature import TOLERANCE

OK: Final = "ok"
WARNING: Final = "warning"
ERROR: Final = "error"
SKEWED: Final = timedelta(seconds=60)
"""By which the clocks may differ before it is mentioned. Beyond what signatures tolerate, webhooks are refused."""
LATEST: Final = 10
"""Deliveries that are looked at."""

Level = Literal["ok", "warning", "error"]
Found = tuple[Level, str, str]
"""How bad it is, what was looked at, and how it stands."""


def examine_tokportal(settings: Settings, key: Secret, client: Client | None = None) -> Iterator[Found]:
    """Some requests, none of which costs anything. `client`: for tests."""
    clock = RealClock()
    asked = client or Client(settings.tokportal_base_url, key, None, clock)
    try:
        yield from _examine(settings, asked, clock)
    finally:
        if client is None:
            asked.close()


def _examine(settings: Settings, client: Client, clock: Clock) -> Iterator[Found]:
    try:
        _, call = client.me("ordinary")
    except KeyRefused as error:
        yield ERROR, "TokPortal's key", f"TokPortal does not accept it ({error.code}): set a new TOKPORTAL_API_KEY"
        return
    except Unreachable as error:
        yield WARNING, "TokPortal", f"{error}: key, credits, clock and webhook registration were not looked at"
        return
    except (TryAgain, Refused) as error:
        yield ERROR, "TokPortal", f"{error}: key, credits, clock and webhook registration were not looked at"
        return
    yield OK, "TokPortal's key", "TokPortal accepts it"
    yield _clock(call, clock.now())
    yield _quota(call)
    for look in (_credits, _contract, _webhooks):
        try:
            yield from look(settings, client)
        except (TryAgain, Refused) as error:
            yield ERROR, "TokPortal", f"{look.__name__[1:]} cannot be looked at: {error}"


def _clock(call: Call, now: datetime) -> Found:
    try:
        said = parsedate_to_datetime(call.headers.get("date", ""))
    except ValueError:
        return OK, "clock", "TokPortal's answer has no time to compare with"
    skew = abs(now - (said if said.tzinfo is not None else said.replace(tzinfo=UTC)))
    seconds = f"{skew.total_seconds():.0f} s"
    if skew >= timedelta(seconds=TOLERANCE):
        return ERROR, "clock", f"it is {seconds} off TokPortal's, so that signed webhooks are refused: set the clock"
    if skew >= SKEWED:
        return WARNING, "clock", f"it is {seconds} off TokPortal's, and webhooks are refused from {TOLERANCE} s on"
    return OK, "clock", f"within {seconds} of TokPortal's"


def _quota(call: Call) -> Found:
    limit, remaining = call.number("x-ratelimit-limit"), call.remaining
    if remaining is None:
        return OK, "quota", "TokPortal's answer does not show it"
    return OK, "quota", f"{remaining} requests left{f' of {limit}' if limit is not None else ''}"


def _credits(_: Settings, client: Client) -> Iterator[Found]:
    data = client.credits("ordinary").data
    total, expiring = data.get("total_credits"), data.get("expiring_within_7_days")
    if not isinstance(total, int | float):
        yield WARNING, "credits", "TokPortal's answer does not show how many there are"
    elif total <= 0:
        yield WARNING, "credits", "none: paid commands, such as warming, will be refused"
    elif isinstance(expiring, int | float) and expiring > 0:
        yield WARNING, "credits", f"{total:,}, of which {expiring:,} expire within seven days"
    else:
        yield OK, "credits", f"{total:,}"


def _contract(_: Settings, client: Client) -> Iterator[Found]:
    rows = client.events("ordinary").rows
    sent = {name for row in rows if (name := text_of(row, "type", "name", "event")) is not None}
    if not sent:
        yield WARNING, "contract", "TokPortal lists no types of events"
        return
    unknown, missing = sorted(sent - set(EVENTS)), sorted(set(EVENTS) - sent)
    said = [f"it lists {len(sent)} types of events"]
    if unknown:
        said.append(f"not known here, and kept as unrecognised: {', '.join(unknown)}")
    if missing:
        said.append(f"known here and not listed: {', '.join(missing)}")
    yield WARNING if unknown else OK, "contract", "; ".join(said)


def _webhooks(settings: Settings, client: Client) -> Iterator[Found]:
    # Without webhooks an account can be observed, by reading; to act on what it finds out hours late is another matter.
    bad: Level = ERROR if settings.mode is Mode.LIVE else WARNING
    if settings.public_url is None:
        yield bad, "webhook registration", "ORCHESTRATOR_PUBLIC_URL is not set: TokPortal cannot be told where to send"
        return
    base = settings.public_url.rstrip("/")
    ours = [
        row
        for row in client.walk(lambda page: client.endpoints("ordinary", page))
        if (url := text_of(row, "url")) is not None and (url == base + SINGLE or url.startswith(f"{base}{SINGLE}/"))
    ]
    if not ours:
        detail = f"TokPortal has no endpoint at {base}{SINGLE}: run `orchestrator webhooks register`"
        yield bad, "webhook registration", detail
    for row in ours:
        yield _endpoint(client, row, bad)


def _endpoint(client: Client, row: Row, bad: Level) -> Found:
    name = text_of(row, "id", "webhook_id") or ""
    where = f"{name} at {row['url']}"
    if row.get("enabled") is False:
        return bad, "webhook registration", f"{where} is switched off at TokPortal"
    deliveries = client.deliveries("ordinary", name).rows
    # Nothing says in which order they are listed.
    newest = sorted(deliveries, key=lambda delivery: text_of(delivery, "created_at") or "", reverse=True)[:LATEST]
    failed = [delivery for delivery in newest if delivery.get("success") is False]
    if newest and len(failed) == len(newest):
        return bad, "webhook registration", f"{where}: none of its last {len(newest)} deliveries arrived"
    if failed:
        return WARNING, "webhook registration", f"{where}: {len(failed)} of its last {len(newest)} deliveries failed"
    return OK, "webhook registration", f"{where}, {f'{len(newest)} deliveries arrived' if newest else 'none sent yet'}"
