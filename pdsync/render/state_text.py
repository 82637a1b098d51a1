"""State, history, drift and snapshot, as text or JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import orjson

from pdsync.model import makers
from pdsync.render.escape import quoted, value_text, visible
from pdsync.render.paint import Paint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pdsync.model import Collection, Ledger, LedgerEntry, Query, Snapshot
    from pdsync.plan.drift import Drift


def render_snapshot(snapshot: Snapshot) -> str:
    """One line per list: records, requests, seconds, complete or why not, how it was read; below it, what was asked."""
    collections = sorted(snapshot.collections.values(), key=lambda c: str(c.query))
    head, *lines = table([_HEAD, *map(_row, collections)]).splitlines()
    alike = Counter((collection.query.kind, collection.query.params) for collection in collections)
    asked = [_asked(each.query, alike[each.query.kind, each.query.params] > 1) for each in collections]
    shown = [f"{line}\n  {params}" if params else line for line, params in zip(lines, asked, strict=True)]
    requests = sum(collection.requests for collection in collections)
    title = f"Snapshot of {visible(snapshot.source)}, taken {visible(snapshot.taken_at)}, {requests:,} requests"
    return "\n".join([title, head, *shown]) + "\n"


_HEAD = ("kind", "records", "requests", "seconds", "complete", "reading")


def _row(collection: Collection) -> tuple[str, ...]:
    problem = collection.problem
    return (
        visible(collection.query.kind),
        f"{len(collection.records):,}",
        f"{collection.requests:,}",
        f"{collection.seconds:.1f}",
        "yes" if problem is None else f"no: {visible(problem.summary)}",
        visible(_reading(collection)),
    )


def _asked(query: Query, differs_in_enrichments: bool) -> str:  # noqa: FBT001
    """The parameters of a query, each once; what is fetched besides where nothing else tells two queries apart."""
    params: dict[str, list[str]] = {}
    for name, value in query.params:
        params.setdefault(name.removesuffix("[]"), []).append(value)
    parts = [f"{name}={','.join(values)}" for name, values in params.items()]
    if differs_in_enrichments:
        names = [f"{name} ({argument})" if argument else name for name, argument in query.enrich]
        parts.append(f"with {', '.join(names)}" if names else "with nothing besides")
    return visible("  ".join(parts))


def _reading(collection: Collection) -> str:
    """Whether all of it was read, together with what, and as of when it is what was not."""
    parts = ["full"]
    if collection.incremental:
        parts = [f"incremental, {collection.taken:,} taken over, last full {collection.since_full} ago"]
    parts += [collection.sharing] if collection.sharing else []
    parts += [f"{name or 'records'} of {when}" for name, when in sorted(collection.as_of.items())]
    return ", ".join(parts)


def render_ledger(ledger: Ledger, snapshot: Snapshot | None, form: str) -> str:
    """What is owned, counted by blueprint, and how old the snapshot is."""
    counts = Counter(key.blueprint for key in ledger.entities)
    adopted = Counter(key.blueprint for key, entry in ledger.entities.items() if entry.origin != "created")
    if form == "json":
        return as_json(
            {
                "lineage": ledger.lineage,
                "serial": ledger.serial,
                "org_id": ledger.org_id,
                "account": ledger.account,
                "commit": ledger.commit,
                "entities": counts,
                "blueprints": sorted(ledger.blueprints),
                "snapshot": snapshot.taken_at if snapshot else None,
            }
        )
    taken = snapshot.taken_at if snapshot else "none"
    head = f"serial {ledger.serial}, lineage {ledger.lineage or 'none yet'}, organisation {ledger.org_id or 'unknown'}"
    head += f", PagerDuty account {ledger.account}" if ledger.account else ""
    kept = f"catalog commit {ledger.commit or 'unknown'}, snapshot {taken}"
    head = f"{visible(head)}\n{visible(kept)}\n"
    rows = [("blueprint", "entities", "of them adopted")]
    rows += [(visible(name), str(counts[name]), str(adopted[name])) for name in sorted({*counts, *ledger.blueprints})]
    return head + table(rows)


def render_entry(name: str, entry: LedgerEntry, form: str) -> str:
    """One owned entity or blueprint: where it comes from and every value we last wrote."""
    if form == "json":
        return as_json({"key": name, **msgspec.to_builtins(entry)})
    lines = [f"{visible(name)}  {entry.origin}" + ("  protected" if entry.protect else "")]
    lines += [f"  from {visible(source)} by {', '.join(map(visible, rules))}" for source, rules in makers(entry)]
    lines += [f"  {visible(path)}  {value_text(value)}" for path, value in sorted(entry.fields.items())]
    return "\n".join(lines) + "\n"


def render_drift(found: Sequence[Drift], form: str, *, color: bool = False) -> str:
    """What somebody else changed."""
    if form == "json":
        return as_json([msgspec.to_builtins(item) for item in found])
    if not found:
        return "No drift: Port is as we last wrote it.\n"
    paint = Paint(color)
    lines = []
    for item in found:
        who = f"  by {visible(item.updated_by)} {visible(item.updated_at)}".rstrip() if item.updated_by else ""
        name = visible(str(item.key) if item.target == "entity" else item.key.blueprint)
        gone = "" if item.fields else paint("red", "  gone")
        lines.append(f"{paint('yellow', '~')} {name} {quoted(item.title, 80)}{gone}{paint('dim', who)}")
        lines += [
            f"    {visible(path)}  {paint('red', value_text(wrote))} -> {paint('green', value_text(holds))}"
            for path, wrote, holds in item.fields
        ]
    return "\n".join([*lines, f"Drift: {_changed(found)}."]) + "\n"


def _changed(found: Sequence[Drift]) -> str:
    """How many were changed outside, and how many of them Port alone may have changed."""
    ours = sum(each.by_us for each in found)
    said = f", {ours} of them last written by who made them: Port may keep such values otherwise"
    return f"{len(found)} changed outside{said if ours else ''}"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows in columns, the first row as the head."""
    listed = [list(row) for row in rows]
    widths = [max(len(row[n]) for row in listed) for n in range(len(listed[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in listed]
    return "\n".join(lines) + "\n"


def as_json(value: object) -> str:
    """A value as JSON for people."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE).decode()
