"""The endpoints for webhooks: the default one, and those that `webhooks.yaml` declares."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import yaml

from orchestrator.journal.journal import LIVE, TEST
from orchestrator.secrets import Secret, split_secrets

FILE: Final = "webhooks.yaml"
DEFAULT: Final = "default"
PATH: Final = "/webhooks/tokportal"

_NAME: Final = re.compile(r"[a-z0-9_-]{1,64}")
_REFERENCE: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_MODES: Final = (LIVE, TEST)
_NULL: Final = "tag:yaml.org,2002:null"


class EndpointsError(ValueError):
    """What is wrong with the file, a line each, with the number of the line that it is about."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where webhooks arrive.

    Attributes:
        name: the last part of its path; `default` for the one without.
        secrets: any of them may have signed a message. None at all: nothing verifies here.
        mode: `live`, or `test` for messages that change nothing.
    """

    name: str
    secrets: tuple[Secret, ...]
    mode: str = LIVE

    @property
    def path(self) -> str:
        """The path of its URL."""
        return PATH if self.name == DEFAULT else f"{PATH}/{self.name}"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """All endpoints by name, and what is odd about them without being wrong."""

    by_name: Mapping[str, Endpoint]
    warnings: tuple[str, ...] = ()


def load_endpoints(config_dir: Path, secrets: Sequence[Secret], variable: Callable[[str], Secret | None]) -> Endpoints:
    """Read `webhooks.yaml` in `config_dir`; without the file there is only the default endpoint.

    Args:
        config_dir: the folder of the configuration.
        secrets: of the default endpoint.
        variable: gives an environment variable; None where it is not set. Several secrets in it, comma separated, are
            all accepted, as in `TOKPORTAL_WEBHOOK_SECRET`.

    Raises:
        EndpointsError: the file cannot be used. It never shows what stands in the place of a secret.
    """
    reader = _Reader(variable)
    endpoints = {DEFAULT: Endpoint(DEFAULT, tuple(secrets))}
    text = _text(config_dir / FILE)
    if text is not None:
        endpoints |= {endpoint.name: endpoint for endpoint in reader.read(text)}
    if reader.problems:
        raise EndpointsError(reader.problems)
    return Endpoints(endpoints, tuple(reader.warnings))


class _Reader:
    """Works on nodes rather than on values: they know their lines, and scalars are as written (`on`, `NO`, `007`)."""

    def __init__(self, variable: Callable[[str], Secret | None]) -> None:
        self._variable = variable
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def read(self, text: str) -> Iterator[Endpoint]:
        try:
            root = yaml.compose(text, yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            # Not the whole error: it quotes the line, and with it what somebody took for a place for secrets.
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark is not None else 1
            self.problems.append(f"{FILE}, line {line}: this is not YAML: {_explained(error)}")
            return
        except RecursionError:
            self.problems.append(f"{FILE}: this is nested too deep")
            return
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            self.problems.append(f"{FILE}, line {line}: this is not YAML: a character is not allowed there")
            return
        if root is None or _is_null(root):
            return
        for key, node in self._fields(root, "the file", ("endpoints",)):
            if not _is_null(node):
                for name, declaration in self._pairs(node, key.value):
                    endpoint = self._endpoint(name, declaration)
                    if endpoint is not None:
                        yield endpoint

    def _endpoint(self, name: yaml.ScalarNode, node: yaml.Node) -> Endpoint | None:
        if not _NAME.fullmatch(name.value):
            self._problem(name, f"{name.value!r} is no name for an endpoint: use 1 to 64 of a-z, 0-9, '_' and '-'")
            return None
        if name.value == DEFAULT:
            self._problem(name, f"{DEFAULT!r} is taken by {PATH} itself: its secrets are in TOKPORTAL_WEBHOOK_SECRET")
            return None
        known = len(self.problems)
        secrets: list[Secret] | None = None
        mode = LIVE
        for key, value in self._fields(node, f"endpoint {name.value!r}", ("secrets", "mode")):
            if key.value == "secrets":
                secrets = self._secrets(name.value, value)
            elif isinstance(value, yaml.ScalarNode) and value.value in _MODES:
                mode = value.value
            else:
                self._problem(value, f"the mode of {name.value!r} is {' or '.join(_MODES)}")
        if len(self.problems) > known:
            return None
        if secrets is None:
            self._problem(name, f"endpoint {name.value!r} needs secrets: write secrets: [env:NAME]")
            return None
        if not secrets:
            self.warnings.append(
                f"{FILE}, line {_line(name)}: endpoint {name.value!r} has no secret and accepts nothing"
            )
        return Endpoint(name.value, tuple(dict.fromkeys(secrets)), mode)

    def _secrets(self, name: str, node: yaml.Node) -> list[Secret] | None:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self._problem(node, f"the secrets of {name!r} are a list of environment variables: write [env:NAME]")
            return None
        found: list[Secret] = []
        for item in node.value:
            match = _REFERENCE.fullmatch(item.value) if isinstance(item, yaml.ScalarNode) else None
            if match is None:
                self._problem(item, f"a secret of {name!r} is written as env:NAME, without spaces, never as the secret")
                continue
            value = self._variable(match[1])
            secrets = split_secrets(value.reveal()) if value is not None else ()
            if not secrets:
                self.warnings.append(f"{FILE}, line {_line(item)}: the variable {match[1]} is not set")
            found += secrets
        return found

    def _fields(
        self, node: yaml.Node, where: str, known: tuple[str, ...]
    ) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        for key, value in self._pairs(node, where):
            if key.value in known:
                yield key, value
                continue
            close = get_close_matches(key.value, known, n=1)
            if close:
                self._problem(key, f"unknown key {key.value!r} in {where}: did you mean {close[0]!r}?")
            else:
                # Not shown: what resembles no key may be a secret in the wrong place.
                self._problem(key, f"unknown key in {where}: use {' or '.join(known)}")

    def _pairs(self, node: yaml.Node, where: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            self._problem(node, f"{where} must be a mapping of keys to values")
            return
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key, f"a key in {where} must be a word")
            elif key.value in seen:
                self._problem(key, f"{key.value!r} in {where} is there already, in line {seen[key.value]}")
            else:
                seen[key.value] = _line(key)
                yield key, value

    def _problem(self, node: yaml.Node, text: str) -> None:
        self.problems.append(f"{FILE}, line {_line(node)}: {text}")


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise EndpointsError([f"{FILE}, line {line}: this is not UTF-8: save the file as such"]) from None
    except OSError as error:
        raise EndpointsError([f"{FILE} cannot be read: {error.strerror}: {path}"]) from None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _NULL


def _explained(error: yaml.MarkedYAMLError) -> str:
    problem = re.sub(r"(?<=alias |nchor |andle ).*", "…", error.problem or "it ends too early")
    return f"{error.context}, {problem}" if error.context else problem
