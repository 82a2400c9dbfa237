"""Query parameters, checked against their descriptions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.api.operations import Parameter
from orchestrator.api.problems import Problem


def parse(given: Sequence[tuple[str, str]], parameters: Sequence[Parameter], *, strict: bool = True) -> dict[str, Any]:
    """The value of every query parameter: its default, or None, where it is missing or empty. A boolean is true where
    its name stands alone.

    Raises the problem `bad-query` that says what would be right.
    """
    known = {parameter.name: parameter for parameter in parameters if parameter.where == "query"}
    values: dict[str, Any] = {name: parameter.schema.get("default") for name, parameter in known.items()}
    seen: set[str] = set()
    for name, text in given:
        if name not in known:
            if strict:
                raise _unknown(name, list(known))
            continue
        if name in seen:
            raise _wrong(f"The parameter {name} is given twice.", name)
        seen.add(name)
        if text or known[name].schema["type"] == "boolean":
            values[name] = _value(name, text, known[name].schema)
    return values


def _value(name: str, text: str, schema: Mapping[str, Any]) -> Any:
    if "\0" in text:
        raise _wrong(f"The parameter {name} holds a NUL character, which is in no value of ours.", name)
    match schema["type"]:
        case "integer":
            return _number(name, text, schema, r"[0-9]{1,19}")
        case "number":
            return _number(name, text, schema, r"[0-9]{1,9}(\.[0-9]{1,9})?")
        case "boolean":
            if text.lower() not in ("", "true", "1", "false", "0"):
                raise _wrong(f"The parameter {name} is true or false.", name)
            return text.lower() in ("", "true", "1")
        case "array":
            return [_value(name, item, schema["items"]) for part in text.split(",") if (item := part.strip())]
    choices = schema.get("enum")
    if choices is not None and text not in choices:
        raise _wrong(f"The parameter {name} is one of {', '.join(choices)}{_near(text, choices)}.", name)
    pattern = schema.get("pattern")
    if pattern is not None and re.search(pattern, text) is None:
        raise _wrong(f"The parameter {name} cannot be read: {schema['description']}.", name)
    return text


def _number(name: str, text: str, schema: Mapping[str, Any], pattern: str) -> int | float:
    lowest, highest = schema.get("minimum", 0), schema.get("maximum", 2**63 - 1)
    if re.fullmatch(pattern, text):
        number = int(text) if schema["type"] == "integer" else float(text)
        if lowest <= number <= highest:
            return number
    kind = "a whole number" if schema["type"] == "integer" else "a number"
    bounds = f"from {lowest} to {highest}" if "maximum" in schema else f"of at least {lowest}"
    raise _wrong(f"The parameter {name} is {kind} {bounds}.", name)


def _unknown(name: str, known: Sequence[str]) -> Problem:
    shown = name if name.isprintable() and len(name) <= 50 else "of this name"
    if not known:
        return _wrong(f"There is no parameter {shown}: this address takes none.", None)
    near = difflib.get_close_matches(name[:50], known, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return _wrong(f"There is no parameter {shown}.{hint} This address takes {', '.join(known)}.", None)


def _near(text: str, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(text[:50].lower(), choices, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _wrong(detail: str, name: str | None) -> Problem:
    return Problem("bad-query", detail.replace("?.", "?"), members={"parameter": name} if name else None)
