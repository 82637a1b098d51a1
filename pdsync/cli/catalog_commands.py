"""init, validate, schema, eval: what needs no account."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pdsync.cli.trouble import color_wanted, printable
from pdsync.errors import Severity, UsageError, counted, error

if TYPE_CHECKING:
    from pdsync.cli import Options
    from pdsync.model import MappingRule, Record, Snapshot

PROJECT = "pdsync.yaml"
FORMATS = ("text", "json", "github", "sarif")


@click.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.pass_obj
def init(options: Options, *, folder: Path) -> int:
    """Start a catalog in DIR: blueprints, mappings, a workflow.  Files that exist are left alone.

    With --state, or where the project names one, that the state can be kept there is seen to as well.
    """
    from pdsync.catalog.starter import starter_files
    from pdsync.init_files import init_files

    files = {f"{options.catalog.as_posix()}/{name}": data for name, data in starter_files().items()} | init_files()
    written, kept = [], []
    for name, data in sorted(files.items()):
        path = folder / name
        if path.exists():
            kept.append(name)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        written.append(name)
    for name in written:
        click.echo(f"wrote  {name}")
    for name in kept:
        click.echo(f"kept   {name} (it was there)")
    _prove_state(replace(options, catalog=folder / options.catalog))
    click.echo("\nNext: set PORT_CLIENT_ID, PORT_CLIENT_SECRET and PAGERDUTY_TOKEN, then run `pdsync plan`.")
    return 0


def _prove_state(options: Options) -> None:
    """See that the place of the state, where one is named, honours what it is asked.  Raises `StateError`."""
    from pdsync.cli.session import Session

    session = Session(options)
    if url := session.state_url:
        session.tell(session.store.backend.prove())
        place = "" if session.catalog.project.state_url == url else f"; for all commands, state.url in {PROJECT}"
        click.echo(f"\nThe state can be kept at {session.store.backend.url}{place}.")


@click.command()
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--ref", metavar="REF", help="Check the catalog as it is in this git commit.")
@click.pass_obj
def validate(options: Options, *, form: str, ref: str | None) -> int:
    """Check the catalog offline: every problem of every file at once, with its place and what to do."""
    from pdsync.catalog import check_catalog
    from pdsync.render.diagnostics import render_diagnostics

    now = datetime.now(UTC)
    catalog, diagnostics = check_catalog(options.catalog, ref=ref, environment=options.environment, now=now)
    shown = [d for d in diagnostics if options.verbose or d.severity != Severity.NOTE]
    if shown or form != "text":
        color = color_wanted(options.color, sys.stdout)
        told = render_diagnostics(shown, form, color=color)  # type: ignore[arg-type]
        click.echo(printable(told.rstrip("\n"), options.env, form))
    if form == "text" and catalog is not None:
        size = f"{counted(len(catalog.blueprints), 'blueprint')}, {counted(len(catalog.rules), 'mapping')}"
        hidden = len(diagnostics) - len(shown)
        more = f"; `pdsync --verbose validate` has {counted(hidden, 'note')}" if hidden else ""
        click.echo(f"{options.catalog}: {size}, valid{more}")
    return 0 if catalog is not None else 1


@click.command()
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write one file for each there.")
def schema(*, name: str | None, out: Path | None) -> int:
    """Print the JSON Schema NAME (project, blueprint, mapping, webhook, test, plan, explanation), or list them."""
    import orjson

    from pdsync.catalog.schema import json_schemas
    from pdsync.plan.document import plan_schema
    from pdsync.render.explanation import explanation_schema

    schemas = {**json_schemas(), "plan": plan_schema(), "explanation": explanation_schema()}
    if name is not None and name not in schemas:
        raise UsageError(error("PD807", "no such schema", detail=name, hint="one of " + ", ".join(sorted(schemas))))
    wanted = {name: schemas[name]} if name else schemas
    texts = {n: orjson.dumps(s, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE) for n, s in wanted.items()}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for key, text in texts.items():
            (out / f"{key}.schema.json").write_bytes(text)
            click.echo(out / f"{key}.schema.json")
    elif name:
        click.echo(texts[name].decode(), nl=False)
    else:
        click.echo("\n".join(sorted(texts)))
    return 0


@click.command(name="eval")
@click.argument("kind")
@click.argument("identifier", metavar="ID")
@click.option(
    "--snapshot",
    "file",
    type=click.Path(path_type=Path, exists=True),
    metavar="FILE",
    help="Use the snapshot in FILE instead of the last one of the state.",
)
@click.pass_obj
def eval_(options: Options, *, kind: str, identifier: str, file: Path | None) -> int:
    """Show how the record ID of KIND is mapped by every rule that reads it, value by value."""
    from pdsync.cli.session import Session
    from pdsync.mapping import evaluate_record
    from pdsync.render.trace_text import render_trace
    from pdsync.state.snapshot_file import open_snapshot

    session = Session(options)
    snapshot = open_snapshot(file, session.keyring) if file else session.store.load_snapshot()
    if snapshot is None:
        raise UsageError(error("PD804", "there is no snapshot yet", hint="run `pdsync snapshot`"))
    found = _records(session.catalog.rules, snapshot, kind, identifier)
    color = color_wanted(options.color, sys.stdout)
    for rule, record in found:
        session.show(render_trace(evaluate_record(rule, record), color=color) + "\n")
    return 0


def _records(
    rules: tuple[MappingRule, ...], snapshot: Snapshot, kind: str, identifier: str
) -> list[tuple[MappingRule, Record]]:
    """The rules that read a record, with the record as each of them gets it.  Raises `UsageError` when none does."""
    found, ids = [], []
    for rule in rules:
        collection = snapshot.collections.get(rule.query) if rule.kind == kind else None
        for record in collection.records if collection else ():
            ids.append(record.id)
            if record.id == identifier:
                found.append((rule, record))
    if found:
        return found
    import difflib

    if not ids:
        kinds = ", ".join(sorted({rule.kind for rule in rules}))
        raise UsageError(error("PD808", "no records of this kind", detail=kind, hint=f"mapped kinds: {kinds}"))
    close = difflib.get_close_matches(identifier, ids, n=3, cutoff=0.4) or sorted(set(ids))[:3]
    hint = f"try one of {', '.join(close)}; the snapshot was taken {snapshot.taken_at}"
    raise UsageError(error("PD809", "no such record in the snapshot", detail=f"{kind}/{identifier}", hint=hint))
