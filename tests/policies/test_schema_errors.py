"""Policies that cannot be used: every error tells line, key and what would be right. And what merely cannot work."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.documents import Problem, Refused
from orchestrator.policies.fields import ALERTS, FIELDS
from orchestrator.policies.schema import LARGEST, parse


def refused(text: str) -> list[Problem]:
    with pytest.raises(Refused) as caught:
        parse(text)
    return caught.value.problems


def only(text: str) -> Problem:
    (problem,) = refused(text)
    return problem


def nested(key: str, value: str) -> str:
    """YAML in which only `key` is said, in line 1 + the depth of the key."""
    *above, last = key.split(".")
    lines = ["defaults:", *(f"{'  ' * (n + 1)}{part}:" for n, part in enumerate(above))]
    return "\n".join([*lines, f"{'  ' * (len(above) + 1)}{last}: {value}"])


# Values.

NO_DURATION = "must be a duration such as 30s, 5m, 6h, 7d or 2w"
NO_DAY = "must be a day that exists, such as 2026-12-24, or a range such as 2026-12-24..2026-12-26"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("warming.start", "now", "must be one of created, ready, manual, not 'now'"),
        (
            "warming.mode",
            "advancd",
            "must be one of none, niche, deep, advanced, not 'advancd'; did you mean advanced?",
        ),
        ("warming.mode", "on", "must be one of none, niche, deep, advanced, not 'on'"),
        ("warming.mode", "null", "must be one of none, niche, deep, advanced, not nothing"),
        ("warming.terms", "cats", "must be a list, not 'cats'"),
        ("warming.terms", "[a1, b2]", "must be 3 to 30 terms, a multiple of 3, not 2"),
        ("warming.terms", f"[{', '.join(f'a{n}' for n in range(33))}]", "a multiple of 3, not 33"),
        ("warming.terms", "[a1, b2, a1]", "names 'a1' twice"),
        ("warming.terms", "[cats, dogs, CATS]", "names a term twice: capital letters make no difference"),
        ("warming.terms", "[a, b2, c3]", "must have 2 to 50 characters, not 1"),
        ("warming.terms", f"[{'x' * 51}, b2, c3]", "must have 2 to 50 characters, not 51"),
        ("warming.terms", "[' cats', b2, c3]", "must be printable, without spaces around it"),
        ("warming.terms", "[2026, b2, c3]", "must be a text, not 2026: write it in quotes"),
        ("warming.retries", "-1", "must be a whole number from 0 to 10, not -1"),
        ("warming.retries", "11", "must be a whole number from 0 to 10, not 11"),
        ("posting.postable", "always", "must be auto, or a list of created, ready, warming, completed"),
        ("posting.postable", "[banned]", "must be one of created, ready, warming, completed, not 'banned'"),
        ("posting.postable", "[]", "must name a state"),
        (
            "posting.timezone",
            "Europe/Pari",
            "must be auto or an IANA time zone such as Europe/Paris, not 'Europe/Pari'",
        ),
        ("posting.timezone", "europe/paris", "did you mean Europe/Paris?"),
        ("posting.timezone", "../../etc/passwd", "must be auto or an IANA time zone"),
        ("posting.timezone", "+02:00", "must be auto or an IANA time zone"),
        (
            "posting.days",
            "[monday]",
            "must be one of mon, tue, wed, thu, fri, sat, sun, not 'monday'; did you mean mon?",
        ),
        ("posting.days", "[]", "must name a weekday"),
        ("posting.days", "mon", "must be a list, not 'mon'"),
        ("posting.blackout", "[2026-02-30]", f"{NO_DAY}, not '2026-02-30'"),
        ("posting.blackout", "[2026-12-24..2026-12-32]", NO_DAY),
        ("posting.blackout", "[2026-12-26..2026-12-24]", "ends before it begins: write 2026-12-24..2026-12-26"),
        ("posting.blackout", "[24.12.2026]", NO_DAY),
        ("posting.blackout", "[2026-W01-1]", NO_DAY),
        ("posting.blackout", "[20261224]", f"{NO_DAY}, not 20261224"),
        ("posting.blackout", "[9999-12-31]", NO_DAY),
        ("posting.blackout", "[2026-12-24.. ]", NO_DAY),
        ("posting.per_day", "4", "must be a whole number from 1 to 3, not 4"),
        ("posting.per_day", "0", "must be a whole number from 1 to 3, not 0"),
        ("posting.per_day", "2.5", "must be a whole number from 1 to 3, not 2.5"),
        ("posting.per_day", "'2'", "must be a whole number from 1 to 3, not '2'"),
        ("posting.per_day", "true", "must be a whole number from 1 to 3, not true"),
        ("posting.ramp", "[1, 4]", "must be a whole number from 0 to 3, not 4"),
        ("posting.ramp", "2", "must be a list, not 2"),
        ("posting.lead_days.new", "-1", "must be a whole number from 0 to 60, not -1"),
        ("posting.lead_days", "3", "must be a mapping, not 3"),
        ("failure.codes", '{"*": ignore}', "must be one of retry, reroute, stop, not 'ignore'"),
        ("failure.codes", "[stop]", "must be a mapping, not a list"),
        ("failure.retries", "many", "must be a whole number from 0 to 10, not 'many'"),
        ("failure.backoff", "[5]", f"{NO_DURATION}, not 5"),
        ("failure.backoff", "[-5m]", f"{NO_DURATION}, not '-5m'"),
        ("failure.backoff", "[1h30m]", NO_DURATION),
        ("failure.backoff", "[5 minutes]", NO_DURATION),
        ("failure.backoff", "[99999w]", "must be at most ten years, not 99999w"),
        ("failure.backoff", "[5y]", NO_DURATION),
        ("failure.missed_after", "1.5d", NO_DURATION),
        ("failure.stuck_after.uploading", "0h", "must be from 1s to ten years, not 0h"),
        ("reroute.enabled", "on", "must be true or false, not 'on'"),
        ("reroute.enabled", "1", "must be true or false, not 1"),
        ("reroute.max", "21", "must be a whole number from 0 to 20, not 21"),
        ("reroute.choose", "random", "must be one of listed_order, least_loaded, not 'random'"),
        ("reroute.backups", "bdl_1", "must be any, or a list of bundle ids, not 'bdl_1'"),
        ("reroute.backups", "[bdl_1, bdl_2, bdl_1]", "names 'bdl_1' twice"),
        ("reroute.backups", "['bdl_1 ']", "must be printable, without spaces around it"),
        ("reroute.deadline", "forever", NO_DURATION),
        ("ban.then", "retry", "must be one of reroute, hold, not 'retry'"),
        ("ban.breaker.bans", "0", "must be a whole number from 1 to 10,000, not 0"),
        ("ban.breaker.within", "0s", "must be from 1s to ten years, not 0s"),
        ("budget.credits_per_day", "-1", "must be a whole number of at least 0, not -1"),
        ("budget.approve_above", "1.0", "must be a whole number of at least 0, not 1.0"),
        ("alerts.banned", "ops", "must be a list, not 'ops'"),
        ("alerts.banned", "[ops, ops]", "names 'ops' twice"),
    ],
)
def test_a_value_that_cannot_be(key: str, value: str, says: str) -> None:
    text = nested(key, value)
    problem = refused(text)[0]
    assert says in problem.message
    assert problem.key.startswith(f"defaults.{key}")
    assert problem.line == text.count("\n") + 1
    assert problem.severity == "error"


@pytest.mark.parametrize("key", FIELDS)
@pytest.mark.parametrize("value", ["{a: 1}", "[[]]", "null", "'?'", "-7", "1e9", "false"])
def test_no_key_takes_everything(key: str, value: str) -> None:
    """Of values of other types each key refuses at least these, in words, and none of them breaks the program."""
    fits = {("reroute.enabled", "false"), ("reroute.reserve", "false"), ("failure.codes", "null")}
    if (key, value) in fits:
        parse(nested(key, value))
    else:
        assert refused(nested(key, value))[0].key.startswith(f"defaults.{key}")


@pytest.mark.parametrize("number", [0, 3, 30])
def test_terms_come_in_threes(number: int) -> None:
    terms = [f"term {n}" for n in range(number)]
    assert parse(nested("warming.terms", json.dumps(terms))).at(None, None).warming.terms == tuple(terms)


@pytest.mark.parametrize("version", ["2", "'1'", "1.0", "true", "null"])
def test_another_version(version: str) -> None:
    problem = only(f"version: {version}")
    assert (problem.line, problem.key) == (1, "version")
    assert problem.message == "must be 1: this program knows no other version"


# Keys.


@pytest.mark.parametrize(
    ("text", "line", "key", "says"),
    [
        ("defalts: {}", 1, "defalts", "there is no such key; did you mean defaults?"),
        ("defaults:\n  warmng: {}", 2, "defaults.warmng", "did you mean warming?"),
        ("defaults:\n  posting: {perday: 2}", 2, "defaults.posting.perday", "did you mean per_day?"),
        (
            "defaults:\n  posting:\n    lead_days: {old: 1}",
            3,
            "defaults.posting.lead_days.old",
            "keys here are new, exi",
        ),
        ("defaults: {platforms: {}}", 1, "defaults.platforms", "there is no such key"),
        ("defaults:\n  alerts: {band: []}", 2, "defaults.alerts.band", "did you mean banned?"),
        ("defaults:\n  alerts: {everything: []}", 2, "defaults.alerts.everything", "the keys here are *, banned"),
        ("countries:\n  US: {postng: {}}", 2, "countries.US.postng", "did you mean posting?"),
        ("countries:\n  US: {alerts: {}}", 2, "countries.US.alerts", "belongs in defaults"),
        ("countries:\n  XX: {}", 2, "countries.XX", "must be a country as ISO 3166 alpha-2, such as US or FR"),
        ("countries:\n  Germany: {}", 2, "countries.Germany", "must be a country as ISO 3166 alpha-2"),
        ("countries:\n  US: {}\n  USA: {}", 3, "countries.USA", "US is given twice"),
        ("countries:\n  US: {}\n  US: {}", 3, "countries.US", "is given twice, first in line 2"),
        (
            "countries: {US: {platforms: {tictoc: {}}}}",
            1,
            "countries.US.platforms.tictoc",
            "did you mean tiktok?",
        ),
        ("countries: {US: {platforms: {youtube: {}}}}", 1, "countries.US.platforms.youtube", "are instagram, tiktok"),
        ("countries: [US]", 1, "countries", "must be a mapping, not a list"),
        ("groups:\n  default: [bdl_1]", 2, "groups.default", "the group default is the rest"),
        ("groups:\n  acme: bdl_1", 2, "groups.acme", "must be a list, not 'bdl_1'"),
        ("groups:\n  acme: [bdl_1, bdl_1]", 2, "groups.acme", "names 'bdl_1' twice"),
        ("groups:\n  'acme ': []", 2, "groups.acme ", "must be printable, without spaces around it"),
        ("channels:\n  ops: {}", 2, "channels.ops", 'must have a url, such as "env:OPS_ALERT_URL"'),
        ("channels:\n  ops: env:X", 2, "channels.ops", "must be a mapping, not 'env:X'"),
        (
            "channels:\n  ops: {url: OPS_ALERT_URL}",
            2,
            "channels.ops.url",
            "must be env: and the name of an environment",
        ),
        ("channels:\n  ops: {url: 'env:'}", 2, "channels.ops.url", "must be env: and the name of an environment"),
        ("channels:\n  ops: {ur: x}", 2, "channels.ops.ur", "did you mean url?"),
        ("just words", 1, "", "must be a mapping, not 'just words'"),
        ("[1, 2]", 1, "", "must be a mapping, not a list"),
    ],
)
def test_a_key_that_nobody_knows(text: str, line: int, key: str, says: str) -> None:
    problem = refused(text)[0]
    assert (problem.line, problem.key) == (line, key)
    assert says in problem.message


def test_a_url_that_is_refused_is_not_shown() -> None:
    assert "hunter2" not in str(Refused(refused("channels: {ops: {url: 'slack hunter2'}}")))


def test_every_kind_of_alert_may_be_told_elsewhere() -> None:
    kinds = "\n".join(f"    {kind}: [legal]" for kind in ALERTS)
    policies = parse(f"defaults:\n  alerts:\n{kinds}\nchannels: {{legal: {{url: env:X}}, ops: {{url: env:Y}}}}")
    assert {policies.channels_for(kind) for kind in ALERTS} == {("legal",)}


# What contradicts itself.


@pytest.mark.parametrize(
    ("text", "line", "key", "says"),
    [
        ("groups:\n  a: [bdl_1]\n  b: [bdl_1]", 3, "groups.b", "bdl_1 is in the group a already"),
        (
            "defaults:\n  reroute: {reserve: true}",
            2,
            "defaults.reroute.reserve",
            "reserves the listed backups, and none",
        ),
        ("countries:\n  US:\n    reroute: {reserve: true}", 3, "countries.US.reroute.reserve", "none are listed"),
        (
            "countries:\n  US: {reroute: {backups: any}}\ndefaults:\n  reroute: {reserve: true, backups: [bdl_1]}",
            2,
            "countries.US.reroute.backups",
            "reserves the listed backups, and none are listed",
        ),
        ("defaults:\n  reroute: {choose: listed_order}", 2, "defaults.reroute.choose", "asks for the order of a list"),
        ("defaults:\n  failure: {backoff: []}", 2, "defaults.failure.backoff", "there are retries and no back-off"),
        ("defaults:\n  posting: {per_day: 1, ramp: [1, 2]}", 2, "defaults.posting.ramp", "goes above posting.per_day"),
        ("defaults:\n  alerts: {banned: [legal]}", 2, "defaults.alerts.banned", "there is no channel 'legal'"),
        (
            "defaults:\n  alerts: {banned: [opps]}\nchannels: {ops: {url: env:X}}",
            2,
            "defaults.alerts.banned",
            "there is no channel 'opps'; did you mean ops?",
        ),
        (
            'defaults:\n  alerts: {"*": [ops]}\nchannels: {legal: {url: env:X}}',
            2,
            "defaults.alerts.*",
            "there is no channel 'ops'",
        ),
    ],
)
def test_contradictions(text: str, line: int, key: str, says: str) -> None:
    problem = only(text)
    assert (problem.line, problem.key) == (line, key)
    assert says in problem.message


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file() -> None:
    text = """version: 3
defaults:
  posting: {per_day: 9, days: [someday]}
  warming: {term: []}
countries:
  XX: {}
groups: {a: [b1], b: [b1]}
"""
    assert [(problem.line, problem.key) for problem in refused(text)] == [
        (1, "version"),
        (3, "defaults.posting.per_day"),
        (3, "defaults.posting.days[0]"),
        (4, "defaults.warming.term"),
        (6, "countries.XX"),
        (7, "groups.b"),
    ]


def test_of_very_many_problems_the_number_is_told() -> None:
    problems = refused("groups:\n" + "".join(f"  g{n}: 1\n" for n in range(20_000)))
    assert len(problems) == 100
    assert problems[-1].message == "and 19,901 more problems"


# What cannot be read at all.


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: &a [x]\nb: *a", 1, "anchors (&name) are not allowed"),
        ("&a version: 1", 1, "anchors (&name) are not allowed"),
        ("defaults: !!python/object/apply:os.system [ls]", 1, "tags (!name) are not allowed"),
        ("version: 1\nversion: 1", 2, "is given twice, first in line 1"),
        ("defaults:\n\tposting: {}", 2, "cannot start any token"),
        ("defaults: [", 1, "this is no YAML"),
        ("version: 1\n---\nversion: 1", 2, "there is a second document"),
        ("a:\n  " + "[" * 100, 2, "nested more than 40 levels deep"),
        ("{a: " * 50_000, 1, "nested more than 40 levels deep"),
        ("a: 1\nb: \x00", 2, "a character that YAML does not allow"),
        ('a: "\\ud800"', 1, "half of a surrogate pair"),
        ('a: 1\nb: "\\UFFFFFFFF"', 2, "an escape that stands for no character"),
        ('a: "\\U00110000"', 1, "an escape that stands for no character"),
        ("x" * (LARGEST + 1), 1, "the file is larger than 512 KiB"),
        ("é" * (LARGEST // 2 + 1), 1, "the file is larger than 512 KiB"),
    ],
)
def test_what_cannot_be_read(text: str, line: int, says: str) -> None:
    problem = only(text)
    assert problem.line == line
    assert says in problem.message


# What merely cannot work.


def warned(text: str) -> list[tuple[int, str, str]]:
    """Beside those of the defaults: these are about warming, and each test of them says so."""
    quiet = {"defaults.warming.terms", "warming.terms", "budget.approve_above"}
    return [(w.line, w.key, w.message) for w in parse(text).warnings if w.key not in quiet]


def test_advanced_warming_without_terms_waits() -> None:
    policies = parse("defaults:\n  warming: {mode: advanced}\n  budget: {credits_per_day: 90, approve_above: 90}")
    (warning,) = policies.warnings
    assert (warning.line, warning.key) == (2, "defaults.warming.mode")
    assert warning.message == ("advanced warming has no search terms: every start waits until warming.terms names some")


@pytest.mark.parametrize("budget", ["", "credits_per_day: 0", "approve_above: 0", "credits_per_day: 90"])
def test_advanced_warming_with_budget_0_waits_for_an_admin(budget: str) -> None:
    policies = parse(f"defaults:\n  warming: {{terms: [a1, b2, c3]}}\n  budget: {{{budget}}}")
    (warning,) = policies.warnings
    assert warning.message == (
        "advanced warming costs credits, and the budget is 0: every start waits for an admin's approval"
    )


def test_what_a_person_starts_or_nobody_needs_no_budget() -> None:
    assert parse("defaults: {warming: {start: manual}}").warnings == ()
    assert parse("defaults: {warming: {mode: none}}").warnings == ()


@pytest.mark.parametrize("mode", ["niche", "deep"])
def test_warming_that_tokportal_does_not_know(mode: str) -> None:
    ((_, key, message),) = warned(f"defaults: {{warming: {{mode: {mode}}}}}")
    assert key == "defaults.warming.mode"
    assert message == f"TokPortal's public API does not know {mode} warming: it will refuse it"


@pytest.mark.parametrize("states", ["[completed]", "[warming, completed]"])
def test_nothing_is_warmed_and_only_warm_accounts_may_post(states: str) -> None:
    ((line, key, message),) = warned(f"defaults:\n  warming: {{mode: none}}\n  posting: {{postable: {states}}}")
    assert (line, key) == (3, "defaults.posting.postable")
    assert message.endswith("nothing is ever placed")


def test_a_ramp_above_a_narrower_cap_is_cut_by_it() -> None:
    text = """
defaults:
  posting: {ramp: [1, 2]}
countries:
  US: {posting: {per_day: 1}}
"""
    assert warned(text) == [(5, "countries.US.posting.per_day", "the ramp goes above posting.per_day: 1 is the most")]


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("defaults: {posting: {lead_days: {new: 2}}}", "defaults.posting.lead_days.new", "it refuses what is sooner"),
        ("defaults: {posting: {lead_days: {existing: 0}}}", "defaults.posting.lead_days.existing", "what is sooner"),
        (
            "defaults: {reroute: {enabled: false}}",
            "defaults.reroute.enabled",
            "nothing is rerouted: a video that fails",
        ),
        ("defaults: {reroute: {max: 0}}", "defaults.reroute.max", "nothing is rerouted: a video that fails"),
        ("defaults: {reroute: {backups: []}}", "defaults.reroute.backups", "no backup is listed"),
        (
            "defaults: {failure: {retries: 0, codes: {'rate_*': retry}}}",
            "defaults.failure.retries",
            "no further try is allowed",
        ),
        (
            "defaults: {failure: {codes: {'content_*': stop, 'content_spam': reroute}}}",
            "defaults.failure.codes.content_spam",
            "is never reached: the first that fits counts, and 'content_*' does",
        ),
        (
            "defaults: {reroute: {backups: [bdl_1, bdl_2]}}\ngroups: {acme: [bdl_1]}",
            "defaults.reroute.backups",
            "the backups are of several groups (acme, default): each serves its own group only",
        ),
        (
            "countries: {US: {reroute: {backups: [bdl_1]}}, FR: {reroute: {backups: [bdl_1]}}}",
            "countries.FR.reroute.backups",
            "bdl_1 is listed for US too: it serves only where it is",
        ),
        ("channels: {ops: {url: 'json://127.0.0.1'}}", "channels.ops.url", "everybody who may see the policies sees"),
        ("channels: {legal: {url: env:X}}", "defaults.alerts.*", "there is no channel ops: alerts are only written to"),
    ],
)
def test_what_cannot_work_is_told_with_what_will_happen(text: str, key: str, says: str) -> None:
    ((_, told, message),) = warned(text)
    assert told == key
    assert says in message


def test_what_looks_like_trouble_and_is_none() -> None:
    quiet = """
defaults:
  failure: {codes: {"a?": stop, "a_*": retry, "b[12]": stop, "b*": retry, "*": reroute}}
countries:
  US:
    reroute: {backups: [bdl_1, bdl_2]}
    platforms: {tiktok: {reroute: {backups: [bdl_1]}}, instagram: {reroute: {backups: [bdl_2]}}}
"""
    assert warned(quiet) == []


def test_a_warning_of_the_defaults_is_not_told_again_for_every_country() -> None:
    assert len(warned("defaults: {reroute: {max: 0}}\ncountries: {US: {posting: {per_day: 1}}, FR: {}}")) == 1


# Whatever the text.

words = st.sampled_from(
    ["version", "defaults", "countries", "groups", "channels", "US", "NO", "platforms", "tiktok", "url", "alerts", "*"]
    + [part for name in FIELDS for part in name.split(".")]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["auto", "any", "1d", "0s", "2026-12-24..2026-12-26", "2026-02-30", "env:X", "retry", "mon"])
    | st.text(max_size=6)
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=4), inner, max_size=4),
    max_leaves=25,
)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.dictionaries(words, documents, max_size=5))
def test_any_document_is_read_or_refused(document: object) -> None:
    try:
        policies = parse(json.dumps(document))
    except Refused as error:
        assert error.problems
        assert all(problem.message and problem.line >= 1 for problem in error.problems)
    else:
        policies.at("NO", "tiktok")
        json.dumps(policies.provenance("NO", "tiktok"))


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.text(st.sampled_from("defaultsv:1-[]{}?!&*|>'\"#,% \n\r\t\\0U\ufeff\ud83d\x85"), max_size=80))
@example("? ")
@example("!<%ff> a")
@example("%YAML 9.1\n---\na")
@example("- !")
@example('"\\x')
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except Refused as error:
        assert error.problems
