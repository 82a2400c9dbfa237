"""The settings of the service: environment variables, checked and typed before anything else starts."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from orchestrator import _parsing as parsing
from orchestrator.bundled import bundled
from orchestrator.clock import Scale
from orchestrator.database.connection import parse_url
from orchestrator.environment import Environment
from orchestrator.mask import HIDDEN, hide_credentials
from orchestrator.secrets import Secret, split_secrets
from orchestrator.webhooks.limits import RateLimit
from orchestrator.webhooks.networks import Networks, parse_address

SHORT_TOKEN: Final = 16
"""Characters below which an API token can be guessed."""

_T = TypeVar("_T")
_PREFIX: Final = "ORCHESTRATOR_"
_DATABASE: Final = "sqlite:///data/orchestrator.db"
_BASE_URL: Final = "https://app.tokportal.com/api/ext"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_KIND: Final = re.compile(r"([A-Za-z0-9_+]{1,32})://")
_KINDS: Final = ("sqlite", "postgresql", "postgresql+psycopg", "postgres")


class SettingsError(Exception):
    """One sentence: the variable, what is wrong with it, and what would be right. Shows no secret."""


class Mode(StrEnum):
    """How far the service goes: it watches and decides, it acts at TokPortal, or it plays in a world of its own."""

    OBSERVE = "observe"
    LIVE = "live"
    SANDBOX = "sandbox"


class Role(StrEnum):
    """What the bearer of an API token may do; each may do all that the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class LogFormat(StrEnum):
    """How log lines look: for people, or for machines."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A key to the API. `name` is who acts with it, as histories show it."""

    name: str
    role: Role
    token: Secret

    def __str__(self) -> str:
        return f"{self.name}:{self.role}:{self.token}"


@dataclass(frozen=True, slots=True)
class Effective:
    """A setting as it applies: its value as text with secrets masked, and where that comes from (`environment`, `.env`
    or `default`)."""

    variable: str
    value: str
    source: str


@dataclass(frozen=True)
class Settings:
    """Every setting of the service. `repr` and `str` show no secret.

    Attributes:
        database_url: the path of an SQLite file is absolute; shown without its password.
        allowed_networks: senders of webhooks; None: anybody.
        trusted_proxies: whose forwarding headers count; None: nobody's.
        max_body: bytes of the largest webhook.
        rate_limit: what `orchestrator.webhooks.limits.RateLimit` takes.
        clock: how the time of a sandbox world runs; None: as real time does.
        webhook_secrets: of the default endpoint, as configured. What `orchestrator.secrets` keeps comes on top.
        audit_key: signs the log's checkpoints; None: the one that `orchestrator.secrets` keeps.
        cwd: the folder that relative paths start at.
        environment: all variables there are, for configuration files that name them as `env:NAME`.
    """

    mode: Mode
    database_url: Secret
    config_dir: Path
    host: str
    port: int
    public_url: str | None
    api_tokens: tuple[ApiToken, ...]
    allowed_networks: Networks | None
    trusted_proxies: Networks | None
    require_https: bool
    max_body: int
    rate_limit: str
    clock: Scale | None
    log_format: LogFormat
    tokportal_api_key: Secret | None
    tokportal_base_url: str
    webhook_secrets: tuple[Secret, ...]
    audit_key: Secret | None
    cwd: Path
    environment: Environment = field(repr=False)

    @classmethod
    def load(cls, environ: Mapping[str, str], cwd: Path) -> Settings:
        """Read the settings from `environ`, and from `.env` in `cwd` what is not there.

        Nothing is written, and no database or network is asked.

        Raises:
            SettingsError: the first setting that cannot be used.
        """
        cwd = cwd.absolute()
        try:
            environment = Environment.read(environ, cwd)
        except ValueError as error:
            raise SettingsError(f"{error}.") from None
        read = partial(_read, environment)
        host = read("ORCHESTRATOR_HOST", parsing.host, "127.0.0.1")
        trusted_proxies = read("ORCHESTRATOR_TRUSTED_PROXIES", partial(parsing.networks, cwd=cwd), None)
        # Behind a proxy on this machine every peer is loopback, and the senders are outside all the same.
        is_private = is_loopback(host) and trusted_proxies is None
        settings = cls(
            mode=read("ORCHESTRATOR_MODE", parsing.choice(Mode), Mode.OBSERVE),
            database_url=read("ORCHESTRATOR_DATABASE_URL", partial(_database_url, cwd=cwd), None)
            or _database_url(_DATABASE, cwd),
            config_dir=read("ORCHESTRATOR_CONFIG_DIR", partial(parsing.folder, cwd=cwd), None) or _config_dir(cwd),
            host=host,
            port=read("ORCHESTRATOR_PORT", parsing.port, 8080),
            public_url=read("ORCHESTRATOR_PUBLIC_URL", parsing.http_url, None),
            api_tokens=read("ORCHESTRATOR_API_TOKENS", _api_tokens, ()),
            allowed_networks=read("ORCHESTRATOR_ALLOWED_NETWORKS", partial(parsing.networks, cwd=cwd), None),
            trusted_proxies=trusted_proxies,
            require_https=read("ORCHESTRATOR_REQUIRE_HTTPS", parsing.boolean, not is_private),
            max_body=read("ORCHESTRATOR_MAX_BODY", parsing.size, 1024 * 1024),
            rate_limit=read("ORCHESTRATOR_RATE_LIMIT", _rate_limit, "50/s"),
            clock=read("ORCHESTRATOR_CLOCK", _clock, None),
            log_format=read("ORCHESTRATOR_LOG_FORMAT", parsing.choice(LogFormat), _log_format()),
            tokportal_api_key=read("TOKPORTAL_API_KEY", _api_key, None),
            tokportal_base_url=read("TOKPORTAL_BASE_URL", _base_url, _BASE_URL),
            webhook_secrets=read("TOKPORTAL_WEBHOOK_SECRET", split_secrets, ()),
            audit_key=read("ORCHESTRATOR_AUDIT_KEY", _audit_key, None),
            cwd=cwd,
            environment=environment,
        )
        settings._check()
        return settings

    @property
    def data_dir(self) -> Path:
        """The folder of what the service keeps in files: where the SQLite database is, or `data` for PostgreSQL."""
        url = parse_url(self.database_url.reveal())
        return Path(url.database or "").parent if url.drivername == "sqlite" else self.cwd / "data"

    @property
    def world(self) -> str:
        """The world that a database must belong to: `sandbox` or `tokportal`."""
        return "sandbox" if self.mode is Mode.SANDBOX else "tokportal"

    @property
    def url(self) -> str:
        """How this machine reaches the service."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def names_tokportal(self) -> bool:
        """Whether TOKPORTAL_BASE_URL names the real TokPortal, as it does by default."""
        return urlsplit(self.tokportal_base_url).hostname == urlsplit(_BASE_URL).hostname

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret among the settings, for whoever has to mask them."""
        found = [*self.webhook_secrets, *(token.token for token in self.api_tokens)]
        found += [key for key in (self.tokportal_api_key, self.audit_key) if key is not None]
        url = parse_url(self.database_url.reveal())
        for password in (url.password, *url.normalized_query.get("password", ())):
            # One that is a name as well would blank half of every log, and hide nothing.
            if password and password not in (url.username, url.database, url.host):
                found.append(Secret(password, HIDDEN))
        return tuple(found)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found and has no effect, each with what may have been meant; and tokens that can be guessed."""
        known = [setting.variable for setting in self.effective]
        # Without the prefix, which makes any two of them look alike.
        names = [variable.removeprefix(_PREFIX) for variable in known if variable.startswith(_PREFIX)]
        warnings = list(self.environment.warnings)
        for variable in sorted(self.environment.names):
            name = variable.upper()
            if name.startswith(_PREFIX) and variable not in known:
                close = get_close_matches(name.removeprefix(_PREFIX), names, n=1)
                advice = f"did you mean {_PREFIX}{close[0]}?" if close else "it has no effect"
                warnings.append(f"{variable} is not a setting: {advice}")
        # By its number: a name may be a token, where somebody mixed up the two.
        for number, token in enumerate(self.api_tokens, start=1):
            if len(token.token.reveal()) < SHORT_TOKEN:
                warnings.append(
                    f"ORCHESTRATOR_API_TOKENS: the token in entry {number} has fewer than {SHORT_TOKEN} characters "
                    "and can be guessed"
                )
        return tuple(warnings)

    @property
    def effective(self) -> tuple[Effective, ...]:
        """Every variable that there is, with the value that applies."""
        values = {
            "ORCHESTRATOR_MODE": self.mode,
            "ORCHESTRATOR_DATABASE_URL": self.database_url,
            "ORCHESTRATOR_CONFIG_DIR": self.config_dir,
            "ORCHESTRATOR_HOST": self.host,
            "ORCHESTRATOR_PORT": self.port,
            "ORCHESTRATOR_PUBLIC_URL": self.public_url,
            "ORCHESTRATOR_API_TOKENS": self.api_tokens,
            "ORCHESTRATOR_ALLOWED_NETWORKS": self.allowed_networks,
            "ORCHESTRATOR_TRUSTED_PROXIES": self.trusted_proxies,
            "ORCHESTRATOR_REQUIRE_HTTPS": self.require_https,
            "ORCHESTRATOR_MAX_BODY": f"{self.max_body} bytes",
            "ORCHESTRATOR_RATE_LIMIT": self.rate_limit,
            "ORCHESTRATOR_CLOCK": self.clock or "real",
            "ORCHESTRATOR_LOG_FORMAT": self.log_format,
            "ORCHESTRATOR_AUDIT_KEY": self.audit_key,
            "TOKPORTAL_API_KEY": self.tokportal_api_key,
            "TOKPORTAL_BASE_URL": self.tokportal_base_url,
            "TOKPORTAL_WEBHOOK_SECRET": self.webhook_secrets,
        }
        return tuple(Effective(name, _show(value), self.environment.source(name)) for name, value in values.items())

    def _check(self) -> None:
        if self.mode is Mode.LIVE and self.tokportal_api_key is None:
            raise SettingsError("ORCHESTRATOR_MODE: live needs TOKPORTAL_API_KEY, set it or use observe or sandbox.")
        if not self.api_tokens and not is_loopback(self.host):
            raise SettingsError(
                f"ORCHESTRATOR_HOST: {self.host!r} can be reached by others and no ORCHESTRATOR_API_TOKENS keep them "
                "out, set tokens (name:role:token) or bind to 127.0.0.1."
            )
        if self.clock is not None and self.mode is not Mode.SANDBOX:
            raise SettingsError(
                f"ORCHESTRATOR_CLOCK: '{self.clock}' is for sandbox worlds and ORCHESTRATOR_MODE is {self.mode}, "
                "use real or the mode sandbox."
            )


def is_loopback(host: str) -> bool:
    """Whether `host`, an address or a name, is this machine alone. Never raises."""
    address = parse_address(host)
    return address.is_loopback if address is not None else host.lower() == "localhost"


def _read(environment: Environment, name: str, parse: Callable[[str], _T], default: _T) -> _T:
    secret = environment.get(name)
    if secret is None:
        return default
    try:
        return parse(secret.reveal())
    except ValueError as error:
        # Without its cause, since tracebacks show values.
        raise SettingsError(f"{name}: {error}.") from None


def _show(value: object) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _config_dir(cwd: Path) -> Path:
    own = cwd / "config"
    return own if own.is_dir() else bundled("config")


def _log_format() -> LogFormat:
    return LogFormat.TEXT if sys.stderr is not None and sys.stderr.isatty() else LogFormat.JSON


def _database_url(text: str, cwd: Path) -> Secret:
    shapes = "write sqlite:///data/orchestrator.db or postgresql://USER:PASSWORD@HOST/DATABASE"
    kind = _KIND.match(text)
    if kind is not None and kind[1] not in _KINDS:
        raise ValueError(f"databases of the kind {kind[1]!r} are not supported, {shapes}")
    # Nothing of the URL is shown: what cannot be read may be the password.
    try:
        url = parse_url(text)
    except ValueError:
        raise ValueError(f"the URL cannot be read, {shapes}, with what is special in a password as %XX") from None
    if url.drivername == "sqlite":
        if url.host is not None:
            raise ValueError("an SQLite URL names no host, write three slashes as in sqlite:///data/orchestrator.db")
        if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
            raise ValueError("the service needs a file to keep its database in, write sqlite:///data/orchestrator.db")
        url = url.set(database=str(cwd / str(url.database)))
    elif "@" in (url.host or ""):
        raise ValueError("there is more than one @ in the URL, write %40 for one in the password")
    value = url.render_as_string(hide_password=False)
    # The driver is our business: shown is what the documentation tells people to write.
    shown = hide_credentials(url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True))
    return Secret(value, shown)


def _api_tokens(text: str) -> tuple[ApiToken, ...]:
    """Nothing of an entry is shown in errors: in a wrong one any part may be the token."""
    tokens: list[ApiToken] = []
    for number, entry in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        name, _, rest = entry.partition(":")
        role, colon, token = rest.partition(":")
        if not colon:
            raise ValueError(f"entry {number} is incomplete, write name:role:token")
        if not _NAME.fullmatch(name):
            raise ValueError(f"the name in entry {number} is unusable, write 1 to 64 letters, digits, '_', '.' or '-'")
        if role not in list(Role):
            raise ValueError(f"the role in entry {number} is unknown, write {parsing.one_of(list(Role))} in the middle")
        if not parsing.is_visible(token):
            raise ValueError(
                f"the token in entry {number} is empty or no plain text, write ASCII characters without spaces"
            )
        if any(name == other.name for other in tokens):
            raise ValueError(f"entry {number} has the name of an earlier one, give each its own")
        if any(Secret(token) == other.token for other in tokens):
            raise ValueError(f"entry {number} has the token of an earlier one, give each its own")
        tokens.append(ApiToken(name, Role(role), Secret(token)))
    return tuple(tokens)


def _audit_key(text: str) -> Secret:
    parsing.key_bytes(text)  # The form is checked here, and the value is kept as it was written.
    return Secret(text)


def _api_key(text: str) -> Secret:
    if not parsing.is_visible(text):
        raise ValueError("the key holds spaces or characters beyond ASCII, copy it again as TokPortal shows it")
    return Secret(text)


def _base_url(text: str) -> str:
    url = parsing.http_url(text)
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"{text!r} would send the API key in the clear, write https:// (http:// is for loopback)")
    return url


def _rate_limit(text: str) -> str:
    RateLimit(text)
    return text


def _clock(text: str) -> Scale | None:
    return None if text.lower() == "real" else Scale.parse(text)
