"""state list|show|rm|mv|pull|push|check|migrate|reopen|keygen|rekey, and unlock."""

from __future__ import annotations

import sys
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pdsync.cli.session import Session, now
from pdsync.errors import StateError, UsageError, error
from pdsync.model import EntityKey, Ledger
from pdsync.render.escape import quoted, visible
from pdsync.render.state_text import render_entry, render_ledger
from pdsync.state.ledger_file import dump_ledger, parse_ledger

if TYPE_CHECKING:
    from pdsync.cli import Options
    from pdsync.errors import Diagnostic
    from pdsync.state.store import StateStore


@click.group()
def state() -> None:
    """Look at the state and repair it."""


@state.command(name="list", short_help="List what is owned.")
@click.argument("globs", nargs=-1, metavar="[GLOB]...")
@click.pass_obj
def list_(options: Options, *, globs: tuple[str, ...]) -> int:
    """List what is owned, as blueprint/identifier; limited to GLOBs, if any."""
    session = Session(options)
    ledger = session.store.load()
    names = (*sorted(ledger.blueprints), *map(str, sorted(ledger.entities)))
    session.show("".join(f"{visible(name)}\n" for name in names if not globs or _means(globs, name)))
    return 0


@state.command(short_help="Show what is owned in numbers, or one KEY.")
@click.argument("key", required=False)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def show(options: Options, *, key: str | None, form: str) -> int:
    """Show what is owned in numbers, or one KEY (blueprint/identifier) with its values."""
    session = Session(options)
    ledger = session.store.load()
    if key is None:
        session.show(render_ledger(ledger, session.store.load_snapshot(), form), form)
    else:
        session.show(render_entry(key, ledger.entities[_owned(ledger, key)], form), form)
    return 0


@state.command(name="rm", short_help="Stop owning entities or blueprints.")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@click.option("--auto-approve", is_flag=True, help="Do not ask.")
@click.pass_obj
def remove(options: Options, *, keys: tuple[str, ...], auto_approve: bool) -> int:
    """Stop owning entities (blueprint/identifier) or blueprints; Port is not touched."""
    store = Session(options).store
    with store.lock("state rm"):
        ledger = store.load()
        blueprints = {key for key in keys if key in ledger.blueprints}
        entities = {_owned(ledger, key) for key in keys if key not in blueprints}
        count = len(entities) + len(blueprints)
        _confirm(f"{count} will no longer be owned, and so never be changed or deleted again.", auto=auto_approve)
        left = replace(
            ledger,
            blueprints={name: entry for name, entry in ledger.blueprints.items() if name not in blueprints},
            entities={key: entry for key, entry in ledger.entities.items() if key not in entities},
        )
        saved = store.save(left, deletes=len(entities))
    click.echo(f"{count} no longer owned.  State saved, serial {saved.serial}.")
    return 0


@state.command(short_help="Let what was protected be deleted again.")
@click.argument("globs", nargs=-1, required=True, metavar="GLOB...")
@click.pass_obj
def unprotect(options: Options, *, globs: tuple[str, ...]) -> int:
    """Let what an earlier `policy.protect` named be deleted again: blueprint/identifier, or a blueprint.

    What the policy still names stays protected, and is remembered anew by the next apply.
    """
    session = Session(options)
    store = session.store
    with store.lock("state unprotect"):
        ledger = store.load()
        entities = {k: e for k, e in ledger.entities.items() if e.protect and _means(globs, str(k))}
        blueprints = {k: e for k, e in ledger.blueprints.items() if e.protect and _means(globs, k)}
        if not entities and not blueprints:
            kept = [*sorted(k for k, e in ledger.blueprints.items() if e.protect)]
            kept += map(str, sorted(k for k, e in ledger.entities.items() if e.protect))
            hint = f"protected: {', '.join(kept[:5])}" + (f" and {len(kept) - 5} more" if len(kept) > 5 else "")  # noqa: PLR2004
            raise UsageError(
                error("PD818", "nothing that is protected", detail=", ".join(globs), hint=hint if kept else "")
            )
        freed = replace(
            ledger,
            entities={**ledger.entities, **{k: replace(e, protect=False) for k, e in entities.items()}},
            blueprints={**ledger.blueprints, **{k: replace(e, protect=False) for k, e in blueprints.items()}},
        )
        saved = store.save(freed, deletes=0)
    session.show("".join(f"{visible(name)}\n" for name in (*sorted(blueprints), *map(str, sorted(entities)))))
    click.echo(f"{len(entities) + len(blueprints)} no longer protected.  State saved, serial {saved.serial}.")
    return 0


@state.command(name="mv", short_help="Give an owned entity another key.")
@click.argument("before")
@click.argument("after")
@click.pass_obj
def move(options: Options, *, before: str, after: str) -> int:
    """Give an owned entity another key, as when it was renamed in Port by hand."""
    session = Session(options)
    store = session.store
    with store.lock("state mv"):
        ledger = store.load()
        key, target = _owned(ledger, before), _key(after)
        if target in ledger.entities:
            hint = f"if it is the one that is left, `pdsync state rm {before}`; if not, `pdsync state rm {after}` first"
            raise UsageError(error("PD811", "the other key is owned already", detail=after, hint=hint))
        entities = {target if k == key else k: entry for k, entry in ledger.entities.items()}
        saved = store.save(replace(ledger, entities=entities), deletes=0)
    session.show(f"{visible(before)} is now {visible(after)}.  State saved, serial {saved.serial}.\n")
    return 0


@state.command()
@click.pass_obj
def pull(options: Options) -> int:
    """Write the ledger to stdout, in the clear."""
    session = Session(options)
    ledger = dump_ledger(session.store.load())
    if sys.stdout.isatty():
        session.show(ledger.decode(), "json")
    else:
        sys.stdout.buffer.write(ledger)
    return 0


@state.command(short_help="Replace the ledger by its successor.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    type=click.Choice(["another-lineage", "another-organization", "older", "other-content", "empty"]),
    help="Replace what is kept in spite of this (repeatable).",
)
@click.pass_obj
def push(options: Options, *, file: Path, allowed: tuple[str, ...]) -> int:
    """Replace the ledger by FILE, which must be its successor: of the same lineage and with a higher serial."""
    session = Session(options)
    pushed = parse_ledger(sys.stdin.buffer.read() if str(file) == "-" else session.read_file(file), str(file))
    store = session.store
    with store.lock("state push"):
        held = store.load()
        saved = store.push(pushed, allowed)
    said = "It was kept already" if saved.serial == held.serial else "State saved"
    click.echo(f"{len(saved.entities)} entities owned.  {said}, serial {saved.serial}.")
    return 0


@state.command()
@click.pass_obj
def check(options: Options) -> int:
    """Read everything and say whether it is whole."""
    from pdsync.state.audit import audit

    session = Session(options)
    store = session.store
    ledger = store.load()
    snapshot, problems = _snapshot_as_kept(store)
    unfinished = store.unfinished()
    kept = f"serial {ledger.serial}, {len(ledger.entities)} entities, checksum matches" if ledger.serial else "none yet"
    click.echo(f"ledger    {kept}")
    click.echo(f"snapshot  {snapshot}")
    runs = len(store.history())
    click.echo(f"journal   {runs} run{'' if runs == 1 else 's'}, {len(unfinished)} cut short")
    for record in unfinished:
        click.echo(f"          {record.run}: its outcome is entered by the next apply")
    holder = store.backend.holder()
    held = visible(f"{holder.operation} by {holder.who} since {holder.since}") if holder else "free"
    session.show(f"lock      {held}\n")
    session.tell([*audit(ledger), *problems])
    return 1 if problems else 0


def _snapshot_as_kept(store: StateStore) -> tuple[str, tuple[Diagnostic, ...]]:
    """In words, what the kept snapshot is, and what is wrong with it."""
    from pdsync.state.snapshot_file import read_through

    try:
        snapshot = store.load_snapshot()
        if snapshot is None:
            return "none", ()
        read_through(snapshot)
    except StateError as problem:
        return "cannot be used", problem.diagnostics
    return f"taken {snapshot.taken_at}, checksum matches", ()


def _refuse_cut_short(store: StateStore) -> None:
    """Raise `StateError` where a journal tells of writes that the ledger does not have: it would stay behind."""
    ways = {record.run: "apply once more" for record in store.unfinished()}
    ways |= {record.run: f"go on with it (pdsync resume {record.run})" for record in store.astray()}
    if ways:
        hints = {run: f"{way} first, or give --with-history" for run, way in sorted(ways.items())}
        raise StateError(*(error("PD576", "a run was cut short", detail=run, hint=hint) for run, hint in hints.items()))


@state.command(short_help="Move the state from one URL to another.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--with-snapshot", is_flag=True, help="Copy the last snapshot as well.")
@click.option("--with-history", is_flag=True, help="Copy the journals of all runs as well.")
@click.option("--keep-source", is_flag=True, help="Leave the old state usable.")
@click.pass_obj
def migrate(
    options: Options, *, source: str, target: str, with_snapshot: bool, with_history: bool, keep_source: bool
) -> int:
    """Move the state from one URL to another, and leave a marker where it was."""
    from pdsync.state.migrate import migrate as move_state
    from pdsync.state.open import open_places

    session = Session(options)
    old, new = session.open_state(source), session.open_state(target)
    if old.backend.url == new.backend.url:
        raise UsageError(error("PD816", "this is one and the same place", detail=old.backend.url))
    session.tell(new.backend.prove())
    with old.lock("state migrate"), new.lock("state migrate"):
        old.load()
        if not with_history:
            _refuse_cut_short(old)
        there = open_places(target, session.around)
        moved = move_state(
            open_places(source, session.around),
            there,
            session.keyring,
            at=now(),
            snapshot=with_snapshot,
            journals=with_history,
            keep=keep_source,
        )
    parts = ["ledger", *(["snapshot"] if moved.snapshot else [])]
    parts += [f"{moved.journals} journal{'s' if moved.journals > 1 else ''}"] if moved.journals else []
    click.echo(f"{', '.join(parts)} moved: serial {moved.ledger.serial}, {len(moved.ledger.entities)} entities.")
    click.echo(f"Now use --state {there.url}, or state.url in pdsync.yaml.")
    return 0


@state.command(short_help="Use a state again that was moved elsewhere.")
@click.option("--auto-approve", is_flag=True, help="Do not ask.")
@click.pass_obj
def reopen(options: Options, *, auto_approve: bool) -> int:
    """Use a state again that was moved elsewhere, as it was then."""
    from pdsync.state.migrate import reopen as use_again
    from pdsync.state.open import open_places

    session = Session(options)
    with session.store.lock("state reopen"):
        _confirm("There will be two states, and whoever applies from the other one undoes this one.", auto=auto_approve)
        ledger = use_again(open_places(session.state_url, session.around), session.keyring)
    click.echo(f"{len(ledger.entities)} entities owned, serial {ledger.serial}.")
    return 0


@state.command(short_help="Print a new key for PDSYNC_STATE_KEY.")
def keygen() -> int:
    """Print a new key for PDSYNC_STATE_KEY: keep it where you keep secrets."""
    from pdsync.sealing import new_key

    click.echo(new_key())
    return 0


@state.command(short_help="Encrypt the whole state with the present key.")
@click.option("--decrypt", is_flag=True, help="Write everything in the clear instead.")
@click.pass_obj
def rekey(options: Options, *, decrypt: bool) -> int:
    """Encrypt the whole state with the present key: for the first time, or after a change of key."""
    from pdsync.state.open import open_places
    from pdsync.state.rekey import rekey as rewrite

    session = Session(options)
    if session.keyring is None:
        hint = "set PDSYNC_STATE_KEY to what `pdsync state keygen` prints"
        raise UsageError(error("PD815", "there is no key", hint=hint))
    with session.store.lock("state rekey"):
        want = None if decrypt else session.keyring
        done = rewrite(open_places(session.state_url, session.around), session.keyring, want)
    how = "in the clear: unset PDSYNC_STATE_KEY now" if want is None else f"encrypted with the key {want.key.id}"
    click.echo(f"{len(done)} files are {how}.")
    return 0


@click.command()
@click.argument("lock_id", metavar="ID")
@click.pass_obj
def unlock(options: Options, *, lock_id: str) -> int:
    """Break the lock with this ID; refused while its holder gives signs of life."""
    Session(options).store.unlock(lock_id)
    click.echo(f"Lock {lock_id} is broken.")
    return 0


def _means(globs: tuple[str, ...], name: str) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _confirm(consequence: str, *, auto: bool) -> None:
    """Ask, or raise `UsageError` where there is nobody to ask."""
    if auto:
        return
    if not sys.stdin.isatty():
        raise UsageError(error("PD805", "nobody to ask", hint="give --auto-approve"))
    click.echo(consequence, err=True)
    if click.prompt("Only 'yes' goes on", default="", show_default=False, err=True) != "yes":
        raise click.Abort


def _owned(ledger: Ledger, text: str) -> EntityKey:
    key = _key(text)
    if key in ledger.entities:
        return key
    import difflib

    close = difflib.get_close_matches(text, map(str, ledger.entities), n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(map(quoted, close))}?" if close else "see `pdsync state list`"
    if any(letter in text for letter in "*?["):
        hint = f"write whole keys, as of many: pdsync state rm $(pdsync state list '{text}')"
    raise UsageError(error("PD806", "not owned", detail=text, hint=hint))


def _key(text: str) -> EntityKey:
    blueprint, slash, identifier = text.partition("/")
    if not slash or not identifier:
        raise UsageError(error("PD810", "not a key", detail=text, hint="write blueprint/identifier"))
    return EntityKey(blueprint, identifier)
