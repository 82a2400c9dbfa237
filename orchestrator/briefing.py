"""What the service tells the engine when it starts, and again on SIGHUP: its mode, and what stands in its folder of
settings."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from orchestrator.campaigns import read_document
from orchestrator.clock import Clock
from orchestrator.database import Database
from orchestrator.database.tables import desk as table
from orchestrator.desk import SERVICE, ServiceEntry, read_campaign, read_service
from orchestrator.documents import Refused
from orchestrator.journal import Journal, Message
from orchestrator.journal.commands import order
from orchestrator.planning import draft
from orchestrator.policies.schema import LARGEST, parse

logger = logging.getLogger(__name__)

POLICIES = "policies.yaml"
CAMPAIGNS = "campaigns"


def brief(
    database: Database,
    mode: str,
    config_dir: Path,
    clock: Clock,
    environment: Callable[[str], object | None],
    *,
    reads: bool,
) -> None:
    """Journals what the engine does not know yet; `reads`: whether TokPortal can be asked for anything.

    Policies that cannot be used are journalled too, so that the refusal is on record and people are told; what is in
    force stays.
    """
    known = service_of(database)
    messages = []
    if (known.mode, known.reads) != (mode, reads):
        messages.append(_order({"command": "mode", "mode": mode, "reads": reads}, clock))
    text, is_usable = read_policies(config_dir, environment)
    if text is not None and text != known.policies:
        # One that is refused is refused once, however often the service starts.
        once = None if is_usable else f"policies:{hashlib.sha256(text.encode()).hexdigest()}"
        messages.append(_order({"command": "policies.apply", "text": text}, clock, once))
    messages += _campaigns(database, config_dir, clock)
    if messages:
        journal = Journal(database)
        try:
            journal.append(messages)
        finally:
            journal.close()


def go_live(database: Database, clock: Clock) -> None:
    """Journals the mode that a restored service was kept from."""
    journal = Journal(database)
    try:
        journal.append([_order({"command": "mode", "mode": "live", "reads": True}, clock)])
    finally:
        journal.close()


def service_of(database: Database) -> ServiceEntry:
    """How the service stands, as far as the engine has got."""
    query = sa.select(table.c.body).where(table.c.kind == SERVICE, table.c.name == SERVICE)
    with database.read() as connection:
        return read_service(connection.execute(query).scalar_one_or_none())


def read_policies(config_dir: Path, environment: Callable[[str], object | None]) -> tuple[str | None, bool]:
    """The text of the policies file, and whether it can be used; why not is logged. None if it cannot even be read."""
    path = config_dir / POLICIES
    try:
        if path.stat().st_size > LARGEST:
            logger.error("%s is larger than %d KiB: the policies in force stay", path, LARGEST // 1024)
            return None, False
        text = path.read_text(encoding="utf-8")
        policies = parse(text)
    except FileNotFoundError:
        logger.warning("there is no %s: the policies in force stay; without any, nothing is decided", path)
    except (OSError, UnicodeDecodeError) as error:
        logger.error("%s cannot be read: %s; the policies in force stay", path, error)
    except Refused as error:
        for problem in error.problems:
            logger.error("%s:%s", path, problem)
        logger.error("%s has %d errors: the policies in force stay", path, len(error.problems))
        return text, False
    else:
        for warning in (*policies.warnings, *policies.unheard(environment)):
            logger.warning("%s:%s", path, warning)
        return text, True
    return None, False


def _campaigns(database: Database, config_dir: Path, clock: Clock) -> list[Message]:
    """Drafts of the campaigns in the folder. One with the same name and content is drafted once."""
    messages = []
    for path in sorted((config_dir / CAMPAIGNS).glob("*.yaml")):
        try:
            spec = read_document(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            logger.error("%s cannot be read: %s", path, error)
            continue
        except Refused as error:
            for problem in error.problems:
                logger.error("%s:%s", path, problem)
            continue
        with database.read() as connection:
            query = sa.select(table.c.body).where(table.c.kind == "campaign", table.c.name == spec.campaign_id)
            known = read_campaign(connection.execute(query).scalar_one_or_none())
            if known is not None and known.digest == spec.digest:
                continue
            wanted = draft(connection, database, spec, clock.now()).order(spec)
        messages.append(_order(wanted, clock, once=f"{spec.campaign_id}:{spec.digest}"))
    return messages


def _order(command: dict[str, object], clock: Clock, once: str | None = None) -> Message:
    return order(
        command,
        endpoint="serve",
        name="serve",
        kind="trigger",
        received_at=clock.microseconds(),
        once=once,
    )
