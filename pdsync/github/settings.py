"""The action's inputs and the runner's facts, read once from an environment that is handed in."""

from __future__ import annotations

import base64
import hashlib
import json
import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

from pdsync.errors import Diagnostic, UsageError, error

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMANDS = ("auto", "plan", "apply", "drift", "check", "validate")
COMMENTS = ("always", "changes-only", "never")
WITHHELD = ("apply", "always", "never")
STATE_SECRETS = (
    "PDSYNC_STATE_KEY",
    "PDSYNC_STATE_KEY_FALLBACK",
    "PDSYNC_STATE_HTTP_TOKEN",
    "PDSYNC_STATE_HTTP_PASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
)
"""Variables with what opens the state: no message holds any of it, and should one ever, it is blotted out."""

DEFAULT_STATE = "git+branch://pdsync-state"
"""Where the action keeps the state when neither input nor catalog says: a runner's disk does not survive the job.

Another catalog of the repository than `catalog`, and each environment, has a branch of its own that begins like this.
"""

ALLOWED = re.compile(r"([A-Za-z0-9@_=.-]+)=([0-9]+)")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What opens Port and PagerDuty; PagerDuty by an API token or by a scoped OAuth client."""

    port_client_id: str = field(default="", repr=False)
    port_client_secret: str = field(default="", repr=False)
    pagerduty_token: str = field(default="", repr=False)
    pagerduty_client_id: str = field(default="", repr=False)
    pagerduty_client_secret: str = field(default="", repr=False)
    pagerduty_subdomain: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """The inputs that must be given before anything can be read."""
        oauth = self.pagerduty_client_id and self.pagerduty_client_secret
        needed = {
            "port-client-id": self.port_client_id,
            "port-client-secret": self.port_client_secret,
            "pagerduty-token": self.pagerduty_token or oauth,
        }
        return tuple(name for name, value in needed.items() if not value)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that must appear nowhere."""
        values = (self.port_client_secret, self.pagerduty_token, self.pagerduty_client_secret, self.port_client_id)
        return tuple(value for value in values if value)


@dataclass(frozen=True, slots=True)
class Runner:
    """What the runner says about this job (GitHub documentation, Variables reference)."""

    event_name: str = ""
    event_path: str = ""
    repository: str = ""
    sha: str = ""
    ref: str = ""
    actor: str = ""
    run_id: str = ""
    run_attempt: str = "1"
    api_url: str = "https://api.github.com"
    server_url: str = "https://github.com"
    workspace: str = ""
    temp: str = ""
    output: str = ""
    summary: str = ""

    @property
    def run_url(self) -> str:
        """The page of this run; built from the runner's own values only."""
        return f"{self.server_url}/{self.repository}/actions/runs/{self.run_id}/attempts/{self.run_attempt}"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the action was told.

    `catalog` and `working_directory` are as written; `allow_deletes` maps a blueprint to the number of deletes
    that are let through, `allow_breaking` a part of one to the number of entities that may lose a value;
    `accept_shrink` are kinds that may be short all at once; `state` is empty when the catalog (or `default_state`)
    decides.
    """

    command: str
    catalog: str
    environment: str
    state: str
    working_directory: str
    comment: Literal["always", "changes-only", "never"]
    fail_on_changes: bool
    fail_on_withheld: Literal["apply", "always", "never"]
    allow_deletes: dict[str, int]
    allow_breaking: dict[str, int]
    accept_shrink: tuple[str, ...]
    port_base_url: str
    pagerduty_api_url: str
    credentials: Credentials
    runner: Runner
    token: str = field(default="", repr=False)
    state_secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def catalog_path(self) -> str:
        """The catalog's folder relative to the workspace, with forward slashes."""
        path = posixpath.join(self.working_directory.replace("\\", "/"), self.catalog.replace("\\", "/"))
        home = self.runner.workspace.replace("\\", "/").rstrip("/")
        return posixpath.normpath(path.removeprefix(f"{home}/") if home else path)

    @property
    def default_state(self) -> str:
        """Where the state is kept when nobody says: two catalogs in one ledger would delete each other's entities."""
        words = [self.environment, *(part for part in self.catalog_path.split("/") if part)]
        if self.catalog_path == "catalog":
            del words[1:]
        plain = [re.sub(r"[^A-Za-z0-9_-]", "_", word) for word in words]
        told = "\n".join(words).encode()
        is_odd = plain != words or words[-1] == "lock"  # no branch ends in `.lock`
        mark = f"_{hashlib.sha256(told).hexdigest()[:8]}" if is_odd else ""
        environment, *folders = plain
        return (
            DEFAULT_STATE + (f"-{environment}" if environment else "") + "".join(f".{name}" for name in folders) + mark
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value that must appear neither in the log nor in anything sent to GitHub."""
        return (*self.credentials.secrets, *self.state_secrets, *((self.token,) if self.token else ()))


def read_settings(env: Mapping[str, str]) -> Settings:
    """The settings of this environment; inputs are `PDSYNC_ACTION_<NAME>`, the rest is the runner's.

    A credential that is no input may stand under the command line's own name (`PORT_CLIENT_ID`, ...), so that a job
    can set it once.  Raises `UsageError` with every input that is wrong.
    """
    given = _Inputs(env)
    settings = Settings(
        command=given.choice("command", COMMANDS),
        catalog=given.text("catalog", "catalog"),
        environment=given.text("environment"),
        state=given.text("state"),
        working_directory=given.text("working-directory", "."),
        comment=given.choice("comment", COMMENTS),  # type: ignore[arg-type]
        fail_on_changes=given.flag("fail-on-changes"),
        fail_on_withheld=given.choice("fail-on-withheld", WITHHELD),  # type: ignore[arg-type]
        allow_deletes=given.numbers("allow-deletes"),
        allow_breaking=given.numbers("allow-breaking"),
        accept_shrink=given.words("accept-shrink"),
        port_base_url=given.text("port-base-url") or env.get("PORT_BASE_URL", ""),
        pagerduty_api_url=given.text("pagerduty-api-url") or env.get("PAGERDUTY_API_URL", ""),
        credentials=_credentials(given, env),
        runner=_runner(env),
        token=given.text("token"),
        state_secrets=tuple(word for name in STATE_SECRETS for word in env.get(name, "").replace(",", " ").split()),
    )
    if given.problems:
        raise UsageError(*given.problems)
    return settings


def git_environment(server_url: str, token: str) -> dict[str, str]:
    """Variables that let git use `token` for `server_url`, and nothing else for it.

    The empty first value drops what a checkout left in the repository's own configuration: two Authorization
    headers are refused by GitHub.  Without a token git is left as it is.
    """
    if not token:
        return {}
    key = f"http.{server_url.rstrip('/')}/.extraheader"
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": key,
        "GIT_CONFIG_VALUE_0": "",
        "GIT_CONFIG_KEY_1": key,
        "GIT_CONFIG_VALUE_1": f"AUTHORIZATION: basic {basic}",
    }


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """`text` without the secrets, plain, in base64, percent-encoded or as inside JSON.

    The runner masks its own log; what we send over REST is for us to clean.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
            for form in (secret, encoded, quote(secret, safe=""), json.dumps(secret)[1:-1]):
                text = text.replace(form, "***")
    return text


SHORTEST_SECRET = 6
"""Shorter values are no secrets and would riddle the text with stars."""


class _Inputs:
    """Reads inputs and collects what is wrong with them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.problems: list[Diagnostic] = []

    def text(self, name: str, default: str = "") -> str:
        return self._env.get("PDSYNC_ACTION_" + name.upper().replace("-", "_"), "").strip() or default

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, allowed[0])
        if value not in allowed:
            self._problem(name, value, f"Write one of: {', '.join(allowed)}.")
        return value

    def flag(self, name: str) -> bool:
        value = self.text(name, "false")
        if value.lower() not in {"true", "false"}:
            self._problem(name, value, "Write true or false.")
        return value.lower() == "true"

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(self.text(name).replace(",", " ").split())

    def numbers(self, name: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for word in self.words(name):
            matched = ALLOWED.fullmatch(word)
            if matched is None:
                self._problem(name, word, "Write BLUEPRINT=NUMBER, several separated by spaces or commas.")
            else:
                found[matched[1]] = int(matched[2])
        return found

    def _problem(self, name: str, value: str, hint: str) -> None:
        self.problems.append(
            error("PD701", f"the input {name} is not usable", detail=f"{value!r} was given", hint=hint)
        )


def _credentials(given: _Inputs, env: Mapping[str, str]) -> Credentials:
    names = (
        "port-client-id",
        "port-client-secret",
        "pagerduty-token",
        "pagerduty-client-id",
        "pagerduty-client-secret",
        "pagerduty-subdomain",
    )
    found = {name.replace("-", "_"): given.text(name) or env.get(name.upper().replace("-", "_"), "") for name in names}
    return Credentials(**found)


def _runner(env: Mapping[str, str]) -> Runner:
    names = {
        "event_name": "GITHUB_EVENT_NAME",
        "event_path": "GITHUB_EVENT_PATH",
        "repository": "GITHUB_REPOSITORY",
        "sha": "GITHUB_SHA",
        "ref": "GITHUB_REF",
        "actor": "GITHUB_ACTOR",
        "run_id": "GITHUB_RUN_ID",
        "run_attempt": "GITHUB_RUN_ATTEMPT",
        "api_url": "GITHUB_API_URL",
        "server_url": "GITHUB_SERVER_URL",
        "workspace": "GITHUB_WORKSPACE",
        "temp": "RUNNER_TEMP",
        "output": "GITHUB_OUTPUT",
        "summary": "GITHUB_STEP_SUMMARY",
    }
    return Runner(**{part: env[name] for part, name in names.items() if env.get(name)})


def is_web_url(url: str) -> bool:
    """Whether this may stand as a link in what we write."""
    return urlsplit(url).scheme in {"http", "https"} and not re.search(r"[\s<>()\[\]\"'`|\\]", url)
