"""state list|show|rm|mv|pull|push|check, and unlock."""

from __future__ import annotations

import sys
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, BinaryIO

import click

from pdsync.cli.session import Session
from pdsync.errors import StateError, UsageError, error
from pdsync.model import EntityKey, Ledger
from pdsync.render.escape import quoted, visible
from pdsync.render.state_text import render_entry, render_ledger
from pdsync.state.ledger_file import dump_ledger, parse_ledger

if TYPE_CHECKING:
    from pdsync.cli import Options


@click.group()
def state() -> None:
    """Look at the state and repair it."""


@state.command(name="list")
@click.argument("globs", nargs=-1, metavar="[GLOB]...")
@click.pass_obj
def list_(options: Options, *, globs: tuple[str, ...]) -> int:
    """List what is owned, as blueprint/identifier; limited to GLOBs, if any."""
    ledger = Session(options).store.load()
    for name in [*sorted(ledger.blueprints), *map(str, sorted(ledger.entities))]:
        if not globs or _means(globs, name):
            click.echo(visible(name))
    return 0


@state.command()
@click.argument("key", required=False)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def show(options: Options, *, key: str | None, form: str) -> int:
    """Show what is owned in numbers, or one KEY (blueprint/identifier) with its values."""
    store = Session(options).store
    ledger = store.load()
    if key is None:
        click.echo(render_ledger(ledger, store.load_snapshot(), form), nl=False)
    else:
        click.echo(render_entry(key, ledger.entities[_owned(ledger, key)], form), nl=False)
    return 0


@state.command(name="rm")
@click.argument("keys", nargs=-1, required=True)
@click.pass_obj
def remove(options: Options, *, keys: tuple[str, ...]) -> int:
    """Stop owning entities; Port is not touched."""
    store = Session(options).store
    with store.lock("state rm"):
        ledger = store.load()
        owned = {_owned(ledger, key) for key in keys}
        left = {key: entry for key, entry in ledger.entities.items() if key not in owned}
        saved = store.save(replace(ledger, entities=left), deletes=len(owned))
    click.echo(f"{len(owned)} no longer owned.  State saved, serial {saved.serial}.")
    return 0


@state.command()
@click.argument("globs", nargs=-1, required=True, metavar="GLOB...")
@click.pass_obj
def unprotect(options: Options, *, globs: tuple[str, ...]) -> int:
    """Let what an earlier `policy.protect` named be deleted again: blueprint/identifier, or a blueprint.

    What the policy still names stays protected, and is remembered anew by the next apply.
    """
    store = Session(options).store
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
    for name in (*sorted(blueprints), *map(str, sorted(entities))):
        click.echo(visible(name))
    click.echo(f"{len(entities) + len(blueprints)} no longer protected.  State saved, serial {saved.serial}.")
    return 0


@state.command(name="mv")
@click.argument("before")
@click.argument("after")
@click.pass_obj
def move(options: Options, *, before: str, after: str) -> int:
    """Give an owned entity another key, as when it was renamed in Port by hand."""
    store = Session(options).store
    with store.lock("state mv"):
        ledger = store.load()
        key, target = _owned(ledger, before), _key(after)
        if target in ledger.entities:
            raise UsageError(error("PD811", "the other key is owned already", detail=after))
        entities = {target if k == key else k: entry for k, entry in ledger.entities.items()}
        saved = store.save(replace(ledger, entities=entities), deletes=0)
    click.echo(f"{before} is now {after}.  State saved, serial {saved.serial}.")
    return 0


@state.command()
@click.pass_obj
def pull(options: Options) -> int:
    """Write the ledger to stdout."""
    sys.stdout.buffer.write(dump_ledger(Session(options).store.load()))
    return 0


@state.command()
@click.argument("file", type=click.File("rb"))
@click.pass_obj
def push(options: Options, *, file: BinaryIO) -> int:
    """Replace the ledger by FILE, which must be of the same lineage and not older."""
    pushed = parse_ledger(file.read(), str(file.name))
    store = Session(options).store
    with store.lock("state push"):
        held = store.load()
        if held.lineage and (pushed.lineage != held.lineage or pushed.serial < held.serial):
            detail = f"it has serial {pushed.serial} of {pushed.lineage}; kept is {held.serial} of {held.lineage}"
            raise StateError(error("PD506", "not a successor of the state that is kept", detail=detail))
        saved = store.save(pushed, deletes=0)
    click.echo(f"{len(saved.entities)} entities owned.  State saved, serial {saved.serial}.")
    return 0


@state.command()
@click.pass_obj
def check(options: Options) -> int:
    """Read everything and say whether it is whole."""
    store = Session(options).store
    ledger = store.load()
    snapshot = store.load_snapshot()
    unfinished = store.unfinished(ledger)
    kept = f"serial {ledger.serial}, {len(ledger.entities)} entities, checksum matches" if ledger.serial else "none yet"
    click.echo(f"ledger    {kept}")
    click.echo(f"snapshot  {'none' if snapshot is None else f'taken {snapshot.taken_at}, checksum matches'}")
    click.echo(f"journal   {len(store.history())} runs, {len(unfinished)} cut short")
    for record in unfinished:
        click.echo(f"          {record.run}: its outcome is entered by the next apply")
    return 0


@state.command()
def keygen() -> int:
    """Print a new key for PDSYNC_STATE_KEY: keep it where you keep secrets."""
    from pdsync.sealing import new_key

    click.echo(new_key())
    return 0


@state.command()
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


def _owned(ledger: Ledger, text: str) -> EntityKey:
    key = _key(text)
    if key in ledger.entities:
        return key
    import difflib

    close = difflib.get_close_matches(text, map(str, ledger.entities), n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(map(quoted, close))}?" if close else "see `pdsync state list`"
    raise UsageError(error("PD806", "not owned", detail=text, hint=hint))


def _key(text: str) -> EntityKey:
    blueprint, slash, identifier = text.partition("/")
    if not slash or not identifier:
        raise UsageError(error("PD810", "not a key", detail=text, hint="write blueprint/identifier"))
    return EntityKey(blueprint, identifier)
