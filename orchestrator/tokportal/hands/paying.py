"""What paid commands have in common: a dry run prices them, and they are sent only where that price was approved."""

from __future__ import annotations

from typing import Final

from orchestrator.commands.executor import Outcome
from orchestrator.outbox import Command
from orchestrator.tokportal.client import Client, Path
from orchestrator.tokportal.reads import Answer, Kind, Row

PRICE: Final = "PRICE"
"""Our own code: the command has no price yet, or a lower one than TokPortal asks for."""


def pay(client: Client, kind: Kind, command: Command, name: str, path: Path, body: Row) -> Outcome | Answer:
    """TokPortal's answer; or the price that the command is to be judged by again, and nothing was sent.

    Raises `TryAgain`, `Refused`, `AnswerLost`.
    """
    price = client.price(name, kind, path, body)
    if command.price is None or price > command.price:
        said = "no price yet" if command.price is None else f"a price of {command.price} credits"
        return Outcome("again", PRICE, f"it has {said}, and TokPortal asks for {price}", {"price": price})
    # TokPortal wants another idempotency key where the price has changed since a refusal (its documentation).
    key = f"{command.idempotency_key or command.command_id}.{price}"
    return client.call(name, kind, path, body=body, key=key)[0]


def charged(answer: Answer) -> Row:
    """What TokPortal says that it took, as far as it does."""
    names = ("credits_charged", "credits_remaining")
    return {name: answer.body[name] for name in names if isinstance(answer.body.get(name), int)}
