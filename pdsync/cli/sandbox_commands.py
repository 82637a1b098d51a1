"""sandbox and demo: pdsync without any account."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pdsync.cli import Options
    from pdsync.sandbox.server import Sandbox


@click.command()
@click.option("--seed", default=7, show_default=True, help="Another number, another company.")
@click.option("--services", default=12, show_default=True)
@click.option("--users", default=20, show_default=True)
@click.option("--incidents", default=60, show_default=True)
@click.option("--pagerduty-port", default=0, help="TCP port of PagerDuty [default: any].")
@click.option("--port-port", default=0, help="TCP port of Port [default: any].")
@click.option("--change", metavar="JSON", help="Change a sandbox that runs (needs PAGERDUTY_API_URL), then end.")
@click.pass_obj
def sandbox(
    options: Options,
    *,
    seed: int,
    services: int,
    users: int,
    incidents: int,
    pagerduty_port: int,
    port_port: int,
    change: str | None,
) -> int:
    """Run a local PagerDuty and Port on loopback until Ctrl-C, and print the variables that point here."""
    if change is not None:
        return _change(options, change)
    from pdsync.cli.session import now
    from pdsync.errors import UsageError, error
    from pdsync.sandbox.server import ListenError, Sandbox, serve_forever
    from pdsync.sandbox.world import World

    world = World(seed, services=services, users=users, incidents=incidents, now=now())
    try:
        serve_forever(Sandbox(world, pagerduty_port=pagerduty_port, port_port=port_port), ready=_announce)
    except ListenError as e:
        hint = "name another one, or none: then any that is free is taken"
        raise UsageError(error("PD820", "the sandbox did not start", detail=str(e), hint=hint)) from e
    return 0


def _announce(box: Sandbox) -> None:
    for name, value in box.env().items():
        click.echo(f"export {name}={value}")
    click.echo("Both run until Ctrl-C.  Paste the lines above into another terminal, then: pdsync plan", err=True)
    sys.stdout.flush()


def _change(options: Options, change: str) -> int:
    """Send one command to the control route of a sandbox that runs elsewhere."""
    import orjson

    from pdsync.errors import UsageError, error
    from pdsync.web import httpx

    base = options.env.get("PAGERDUTY_API_URL", "")
    try:
        command = orjson.loads(change)
        route = "port" if "op" in command else "world"
        reply = httpx.post(f"{base}/_sandbox/{route}", json=command)
    except (orjson.JSONDecodeError, TypeError, httpx.HTTPError, httpx.InvalidURL) as e:
        hint = 'write --change \'{"action":"rename_service","id":"...","name":"..."}\' with PAGERDUTY_API_URL set'
        raise UsageError(error("PD812", "the sandbox was not changed", detail=str(e), hint=hint)) from e
    click.echo("done" if reply.text == "null" else reply.text)
    return 0 if reply.is_success else 1


@click.command()
@click.option("--keep", is_flag=True, help="Keep the folder that the demo worked in.")
@click.pass_obj
def demo(options: Options, *, keep: bool) -> int:
    """Watch the whole cycle: plan, apply, nothing to do, three changes, plan, apply, nothing to do."""
    from pdsync.cli.demo import run_demo

    return run_demo(env=options.env, keep=keep)
