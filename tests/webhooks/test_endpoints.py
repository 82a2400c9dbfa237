from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.bundled import bundled
from orchestrator.secrets import Secret
from orchestrator.webhooks.endpoints import Endpoint, Endpoints, EndpointsError, load_endpoints

DEFAULT = Endpoint("default", (Secret("d"),))
VARIABLES = {"X": Secret("x"), "Y": Secret("y1, y2"), "BLANK": Secret(" , ")}
Load = Callable[[str], Endpoints]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str) -> Endpoints:
        (tmp_path / "webhooks.yaml").write_text(text)
        return load_endpoints(tmp_path, [Secret("d")], VARIABLES.get)

    return load


def problems(load: Load, text: str) -> list[str]:
    with pytest.raises(EndpointsError) as caught:
        load(text)
    return [problem.removeprefix("webhooks.yaml, ") for problem in caught.value.problems]


def test_default_alone(tmp_path: Path) -> None:
    assert load_endpoints(tmp_path / "missing", [Secret("d")], VARIABLES.get) == Endpoints({"default": DEFAULT})
    assert DEFAULT.path == "/webhooks/tokportal"


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "~", "endpoints:", "endpoints: null", "endpoints: {}", "\ufeff---\n"]
)
def test_file_that_declares_nothing(load: Load, text: str) -> None:
    assert load(text) == Endpoints({"default": DEFAULT})


def test_declared_endpoints(load: Load) -> None:
    endpoints = load(
        "endpoints: {accounts: {secrets: [env:X]}, videos: {secrets: [env:Y, env:X]}, "
        "try: {secrets: [env:X], mode: test}}"
    )
    assert endpoints.by_name == {
        "default": DEFAULT,
        "accounts": Endpoint("accounts", (Secret("x"),), "live"),
        "videos": Endpoint("videos", (Secret("y1"), Secret("y2"), Secret("x")), "live"),
        "try": Endpoint("try", (Secret("x"),), "test"),
    }
    assert endpoints.warnings == ()
    assert endpoints.by_name["try"].path == "/webhooks/tokportal/try"


def test_words_are_as_written(load: Load) -> None:
    """YAML 1.1 would make False, True, 7 and a null of them."""
    endpoints = load(
        "endpoints:\n" + "".join(f"  {name}: {{secrets: [env:X]}}\n" for name in ("no", "on", "007", "null"))
    )
    assert list(endpoints.by_name) == ["default", "no", "on", "007", "null"]


def test_a_secret_that_is_given_twice_counts_once(load: Load) -> None:
    text = "shared: &shared [env:X, env:X]"
    assert problems(load, text) == ["line 1: unknown key in the file: use endpoints"]
    endpoints = load("endpoints:\n  a: &a {secrets: [env:X, env:X]}\n  b: *a\n")
    assert endpoints.by_name["a"].secrets == endpoints.by_name["b"].secrets == (Secret("x"),)


def test_variable_that_is_not_set_is_a_warning(load: Load) -> None:
    endpoints = load("endpoints:\n  a: {secrets: [env:X, env:GONE]}\n  b:\n    secrets:\n      - env:BLANK\n")
    assert endpoints.by_name["a"].secrets == (Secret("x"),)
    assert endpoints.by_name["b"].secrets == ()
    assert endpoints.warnings == (
        "webhooks.yaml, line 2: the variable GONE is not set",
        "webhooks.yaml, line 5: the variable BLANK is not set",
        "webhooks.yaml, line 3: endpoint 'b' has no secret and accepts nothing",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("endpoint: {}", ["line 1: unknown key 'endpoint' in the file: did you mean 'endpoints'?"]),
        ("a\n", ["line 1: the file must be a mapping of keys to values"]),
        ("endpoints: []", ["line 1: endpoints must be a mapping of keys to values"]),
        ("endpoints:\n  a: env:X", ["line 2: endpoint 'a' must be a mapping of keys to values"]),
        ("endpoints:\n  a:", ["line 2: endpoint 'a' must be a mapping of keys to values"]),
        ("endpoints:\n  a: {}", ["line 2: endpoint 'a' needs secrets: write secrets: [env:NAME]"]),
        (
            "endpoints:\n  a:\n    secret: [env:X]\n",
            ["line 3: unknown key 'secret' in endpoint 'a': did you mean 'secrets'?"],
        ),
        ("endpoints:\n  a: {secrets: [env:X], x: 1}", ["line 2: unknown key in endpoint 'a': use secrets or mode"]),
        ("endpoints:\n  a: {<<: {}, secrets: [env:X]}", ["line 2: unknown key in endpoint 'a': use secrets or mode"]),
        ("endpoints:\n  a:\n    secrets: [env:X]\n    mode: tset\n", ["line 4: the mode of 'a' is live or test"]),
        ("endpoints:\n  a: {secrets: [env:X], mode: [test]}", ["line 2: the mode of 'a' is live or test"]),
        (
            "endpoints:\n  a:\n    secrets: env:X\n",
            ["line 3: the secrets of 'a' are a list of environment variables: write [env:NAME]"],
        ),
        (
            "endpoints:\n  a:\n    secrets: []\n",
            ["line 3: the secrets of 'a' are a list of environment variables: write [env:NAME]"],
        ),
        (
            "endpoints:\n  default: {secrets: [env:X]}",
            ["line 2: 'default' is taken by /webhooks/tokportal itself: its secrets are in TOKPORTAL_WEBHOOK_SECRET"],
        ),
        (
            "endpoints:\n  a: {secrets: [env:X]}\n\n  a: {secrets: [env:Y]}",
            ["line 4: 'a' in endpoints is there already, in line 2"],
        ),
        ("endpoints:\n  ? [a]\n  : {}", ["line 2: a key in endpoints must be a word"]),
        (
            "endpoints:\n  a: {mode: x, secrets: [y]}\n  B: {}\n",
            [
                "line 2: the mode of 'a' is live or test",
                "line 2: a secret of 'a' is written as env:NAME, without spaces, never as the secret",
                "line 3: 'B' is no name for an endpoint: use 1 to 64 of a-z, 0-9, '_' and '-'",
            ],
        ),
    ],
)
def test_problems_name_their_lines(load: Load, text: str, expected: list[str]) -> None:
    assert problems(load, text) == expected


@pytest.mark.parametrize("name", ["A", "a.b", "a b", "a/b", "é", '""', "a" * 65, '"a\\n"'])
def test_bad_names(load: Load, name: str) -> None:
    (problem,) = problems(load, f"endpoints:\n  {name}: {{secrets: [env:X]}}")
    assert problem.startswith("line 2: ")
    assert "is no name for an endpoint" in problem
    assert "\n" not in problem


@pytest.mark.parametrize("name", ["a", "a" * 64, "0", "_", "-", "a-b_c-1"])
def test_good_names(load: Load, name: str) -> None:
    assert name in load(f"endpoints:\n  {name}: {{secrets: [env:X]}}").by_name


@pytest.mark.parametrize(
    "place",
    [
        "secrets: [canary]",
        "secrets: [env:canary-1]",
        "secrets: [env: canary]",
        "secrets: [file:canary]",
        "secrets: [[canary]]",
        "secrets: canary",
        "secrets: {canary: x}",
        "secrets: [env:X]\n    canary: x",
        "canary",
        "[canary]",
        "secrets: [env:X, *canary]",
        "secrets: [env:X, &canary &canary x]",
        "secrets: [!canary!x env:X]",
        'secrets: ["canary]',
        "secrets: ['canary' canary]",
        "mode: canary\n    secrets: [env:X]",
    ],
)
def test_what_may_be_a_secret_is_not_shown(load: Load, place: str) -> None:
    found = problems(load, f"endpoints:\n  a:\n    {place}\n")
    assert found
    assert "canary" not in "".join(found)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"endpoints:\n  a: [\n", "line 3: this is not YAML: "),
        (b"endpoints:\n\ta: 1\n", "line 2: this is not YAML: while scanning for the next token, found character"),
        (b"endpoints: {}\n---\nendpoints: {}\n", "line 2: this is not YAML: expected a single document"),
        (b"endpoints:\n  a: \x07\n", "line 2: this is not YAML: a character is not allowed there"),
        (b"endpoints:\n\n  \xff: {}\n", "line 3: this is not UTF-8: save the file as such"),
        (b"[" * 5000, "webhooks.yaml: this is nested too deep"),
    ],
)
def test_what_is_not_yaml(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "webhooks.yaml").write_bytes(content)
    with pytest.raises(EndpointsError) as caught:
        load_endpoints(tmp_path, [], VARIABLES.get)
    (problem,) = caught.value.problems
    assert problem.removeprefix("webhooks.yaml, ").startswith(expected)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "webhooks.yaml").mkdir()
    with pytest.raises(EndpointsError, match=r"webhooks\.yaml cannot be read: Is a directory"):
        load_endpoints(tmp_path, [], VARIABLES.get)


def test_shipped_file_is_valid_and_says_nothing() -> None:
    assert load_endpoints(bundled("config"), [Secret("d")], VARIABLES.get) == Endpoints({"default": DEFAULT})


def test_shipped_example_is_valid(load: Load) -> None:
    lines = (bundled("config") / "webhooks.yaml").read_text().splitlines()
    example = lines[lines.index("# endpoints:") :]
    endpoints = load("\n".join(line.removeprefix("# ") for line in example))
    assert {name: endpoint.mode for name, endpoint in endpoints.by_name.items()} == {
        "default": "live",
        "accounts": "live",
        "videos": "live",
        "try": "test",
    }
