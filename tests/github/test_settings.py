"""Inputs: read once, refused with all that is wrong, secrets kept out of sight."""

from __future__ import annotations

import base64
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.errors import UsageError
from pdsync.github.settings import git_environment, read_settings, redact
from pdsync.state.backends.git import parse_git_url

if TYPE_CHECKING:
    from pathlib import Path


def test_every_wrong_input_is_named_at_once() -> None:
    """One run is enough to learn everything that is wrong."""
    env = {
        "PDSYNC_ACTION_COMMAND": "destroy",
        "PDSYNC_ACTION_FAIL_ON_CHANGES": "yes",
        "PDSYNC_ACTION_ALLOW_DELETES": "a=1 b=x",
        "PDSYNC_ACTION_COMMENT": "sometimes",
    }
    with pytest.raises(UsageError) as caught:
        read_settings(env)
    named = [d.summary.split()[2] for d in caught.value.diagnostics]
    assert named == ["command", "comment", "fail-on-changes", "allow-deletes"]


def default_state(environment: str = "", folder: str = "", catalog: str = "") -> str:
    given = {"ENVIRONMENT": environment, "WORKING_DIRECTORY": folder, "CATALOG": catalog}
    return read_settings({f"PDSYNC_ACTION_{name}": value for name, value in given.items()}).default_state


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ((), "git+branch://pdsync-state"),
        (("eu",), "git+branch://pdsync-state-eu"),
        (("", "teams/payments"), "git+branch://pdsync-state.teams.payments.catalog"),
        (("eu", "", "teams-a"), "git+branch://pdsync-state-eu.teams-a"),
        (("", "./", "catalog/"), "git+branch://pdsync-state"),
    ],
)
def test_each_catalog_and_environment_has_a_state_of_its_own(where: tuple[str, ...], expected: str) -> None:
    """Without anybody saying so: in one ledger they would delete each other's entities."""
    assert default_state(*where) == expected


def test_states_of_odd_names_are_branches_too() -> None:
    """What a branch cannot be called is told apart by a digest."""
    odd = [default_state("", name) for name in ("my team", "my_team", "my.team", "..", "ç", "a/b", "a.b", "lock")]
    odd += [default_state(name) for name in ("my team", "my_team", "a.b", "a..b")]
    assert len(set(odd)) == len(odd)
    assert all(parse_git_url(url).branch.startswith("pdsync-state") for url in odd)
    assert not any(".." in url or url.endswith(".lock") for url in odd)


def test_empty_inputs_are_defaults() -> None:
    """GitHub hands an input that was not given as an empty string."""
    settings = read_settings({"PDSYNC_ACTION_COMMAND": "", "PDSYNC_ACTION_CATALOG": "", "GITHUB_API_URL": ""})
    assert (settings.command, settings.catalog, settings.runner.api_url) == (
        "auto",
        "catalog",
        "https://api.github.com",
    )


def test_credentials_come_from_inputs_before_the_jobs_variables() -> None:
    """A job may set the command line's variables once; an input has the last word."""
    settings = read_settings(
        {"PDSYNC_ACTION_PORT_CLIENT_ID": "input", "PORT_CLIENT_ID": "job", "PAGERDUTY_TOKEN": "job-token"}
    )
    assert (settings.credentials.port_client_id, settings.credentials.pagerduty_token) == ("input", "job-token")


def test_oauth_stands_in_for_the_pagerduty_token() -> None:
    """With a scoped app no API token is missing."""
    env = dict.fromkeys(("PORT_CLIENT_ID", "PORT_CLIENT_SECRET", "PAGERDUTY_CLIENT_ID"), "x" * 8)
    without = read_settings(env).credentials.missing
    with_it = read_settings({**env, "PAGERDUTY_CLIENT_SECRET": "y"}).credentials.missing
    assert (without, with_it) == (("pagerduty-token",), ())


def test_deletes_are_let_through_by_number() -> None:
    """Separated by spaces, commas or lines."""
    settings = read_settings({"PDSYNC_ACTION_ALLOW_DELETES": "a=1, b=22\nc_d=0"})
    assert settings.allow_deletes == {"a": 1, "b": 22, "c_d": 0}


def test_kinds_may_be_short_all_at_once() -> None:
    """Separated as numbers are; none unless named."""
    settings = read_settings({"PDSYNC_ACTION_ACCEPT_SHRINK": "users, audit/records\nteams"})
    assert (settings.accept_shrink, read_settings({}).accept_shrink) == (("users", "audit/records", "teams"), ())


@pytest.mark.parametrize(
    ("folder", "catalog", "expected"),
    [
        (".", "catalog", "catalog"),
        ("teams/a", "./catalog/", "teams/a/catalog"),
        ("/home/runner/work/x", "catalog", "catalog"),
        ("teams\\a", "catalog", "teams/a/catalog"),
    ],
)
def test_the_catalog_is_told_relative_to_the_workspace(folder: str, catalog: str, expected: str) -> None:
    """Annotations and the comment's key need one spelling of one folder."""
    settings = read_settings(
        {
            "PDSYNC_ACTION_WORKING_DIRECTORY": folder,
            "PDSYNC_ACTION_CATALOG": catalog,
            "GITHUB_WORKSPACE": "/home/runner/work/x",
        }
    )
    assert settings.catalog_path == expected


def test_secrets_are_not_in_the_representation() -> None:
    """Whoever prints the settings shows no secret."""
    names = ("PORT_CLIENT_ID", "PORT_CLIENT_SECRET", "PAGERDUTY_TOKEN", "TOKEN", "PAGERDUTY_CLIENT_SECRET")
    env = {f"PDSYNC_ACTION_{name}": f"s3cret-{name}" for name in names}
    settings = read_settings(env)
    assert "s3cret" not in repr(settings)
    assert sorted(settings.secrets) == sorted(env.values())


@given(secret=st.text(min_size=6, max_size=30), before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_redacted_text_holds_no_secret(secret: str, before: str, after: str) -> None:
    """Neither as it is nor in base64."""
    encoded = base64.b64encode(secret.encode()).decode()
    shown = redact(f"{before}{secret}{after} {encoded}", (secret,))
    assert (secret in shown.replace("***", ""), encoded in shown) == (False, False)


def test_git_takes_the_token_from_the_environment_and_only_that(tmp_path: Path) -> None:
    """The variables replace the header that a checkout left, for that server only."""

    def git(*arguments: str, env: dict[str, str] | None = None) -> str:
        clean = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        done = subprocess.run(
            ["git", *arguments], cwd=tmp_path, env={**clean, **(env or {})}, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    git("config", "http.https://github.example/.extraheader", "AUTHORIZATION: basic old")
    env = git_environment("https://github.example", "tok")
    ours = git("config", "--get-urlmatch", "http.extraheader", "https://github.example/acme/catalog", env=env)
    assert base64.b64decode(ours.rpartition(" ")[2]) == b"x-access-token:tok"
    assert git_environment("https://github.example", "") == {}


def test_what_opens_the_state_is_a_secret() -> None:
    """Keys, older ones included, and credentials of the store, each by itself."""
    env = {"PDSYNC_STATE_KEY": "key", "PDSYNC_STATE_KEY_FALLBACK": "old, older", "AWS_SECRET_ACCESS_KEY": "cloud"}
    settings = read_settings(env)
    assert settings.secrets == ("key", "old", "older", "cloud")
    assert "older" not in repr(settings)
