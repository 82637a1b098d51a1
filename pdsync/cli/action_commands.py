"""action run|report: what the two thinking steps of action.yml call."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pdsync.errors import Diagnostic, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdsync.apply import ApplyResult
    from pdsync.branch import Base
    from pdsync.cli import Options
    from pdsync.errors import CatalogError
    from pdsync.github.settings import Settings
    from pdsync.model import Plan


@click.group()
def action() -> None:
    """What the GitHub Action runs."""


@action.command()
@click.pass_obj
def run(options: Options) -> int:
    """Do what the event asks for, write outputs, summary and annotations."""
    from pdsync.github.action import run_action

    return run_action(options.env, sys.stdout, lambda settings, hide: _Operations(options, settings, hide))


@action.command()
@click.pass_obj
def report(options: Options) -> int:
    """Write the comment and end with the exit code."""
    from pdsync.github.action import report_action

    return report_action(options.env, sys.stdout)


class _Operations:
    """The action's work, done as the command line does it, under the action's inputs.

    `hide` masks a value in the log.
    """

    def __init__(self, options: Options, settings: Settings, hide: Callable[[str], None]) -> None:
        from pdsync.cli.session import Session
        from pdsync.github.settings import git_environment

        del hide  # tokens that are derived from the credentials never leave the HTTP clients
        self._settings = settings
        options.catalog = Path(settings.catalog)
        options.environment = settings.environment or None
        options.state = settings.state
        options.env = {**options.env, **_credentials(settings)}
        self._session = Session(
            options,
            default_state=settings.default_state,
            git_environment=git_environment(settings.runner.server_url, settings.token) if settings.token else {},
        )

    def validate(self) -> tuple[Diagnostic, ...]:
        """See `pdsync.github.action.Operations`."""
        from pdsync.catalog import check_catalog

        options = self._session.options
        return check_catalog(options.catalog, environment=options.environment, now=datetime.now(UTC))[1]

    def plan(self, base: str) -> Plan:
        """See `pdsync.github.action.Operations`; without a base that can be used, the plan notes why."""
        from pdsync.cli.making import Asking, make_plan
        from pdsync.errors import CatalogError
        from pdsync.plan import Scope
        from pdsync.snapshots import Fetching

        allowed = self._settings
        scope = Scope(allow_deletes=allowed.allow_deletes, allow_breaking=allowed.allow_breaking)
        asking = Asking(how=Fetching(accept_shrink=allowed.accept_shrink))
        try:
            beside = self._base(base) if base else None
        except CatalogError as problem:
            made = make_plan(self._session, scope, asking)
            return replace(made, diagnostics=(*made.diagnostics, _without_base(problem)))
        return make_plan(self._session, scope, asking, beside)

    def _base(self, commit: str) -> Base:
        """The base of a pull request; it is fetched if the checkout does not have it.  Raises `CatalogError`."""
        from pdsync.cli.making import base_of
        from pdsync.github.settings import git_environment

        settings = self._settings
        git = git_environment(settings.runner.server_url, settings.token)
        self._session.history.fetch(commit, git)
        return base_of(self._session, commit)

    def overtaken(self, branch: str) -> str:
        """See `pdsync.github.action.Operations`."""
        from pdsync.github.settings import git_environment

        settings = self._settings
        git = git_environment(settings.runner.server_url, settings.token)
        applied = self._session.store.load().commit
        return applied if self._session.history.overtaken(applied, branch, git) else ""

    def apply(self, plan: Plan) -> ApplyResult:
        """See `pdsync.github.action.Operations`."""
        from pdsync.cli.plan_commands import applied

        with self._session.store.lock("apply"):
            self._session.store.load()
            result = self._session.run(applied(self._session, plan, "now"))
        if not result.saved and result.problem is not None:
            raise result.problem
        return result


def _without_base(problem: CatalogError) -> Diagnostic:
    """A note in the place of what a pull request changes."""
    (first, *_) = problem.diagnostics
    summary = "what this pull request changes is not told apart from the rest"
    return Diagnostic(Severity.NOTE, "PD720", summary, detail=f"{first.summary}: {first.detail}", hint=first.hint)


def _credentials(settings: Settings) -> dict[str, str]:
    given = settings.credentials
    values = {
        "PORT_CLIENT_ID": given.port_client_id,
        "PORT_CLIENT_SECRET": given.port_client_secret,
        "PORT_BASE_URL": settings.port_base_url,
        "PAGERDUTY_TOKEN": given.pagerduty_token,
        "PAGERDUTY_CLIENT_ID": given.pagerduty_client_id,
        "PAGERDUTY_CLIENT_SECRET": given.pagerduty_client_secret,
        "PAGERDUTY_SUBDOMAIN": given.pagerduty_subdomain,
        "PAGERDUTY_API_URL": settings.pagerduty_api_url,
    }
    return {name: value for name, value in values.items() if value}
