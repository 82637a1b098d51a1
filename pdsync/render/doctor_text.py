"""What `doctor` found, as text or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from pdsync.render.escape import visible
from pdsync.render.paint import Paint
from pdsync.render.state_text import table

if TYPE_CHECKING:
    from pdsync.model import Examination

_COLORS = {"readable": "green", "forbidden": "red", "unavailable": "yellow", "failed": "red"}


def render_examination(found: Examination, form: str, *, color: bool = False) -> str:
    """Both ends, each mapped kind with what the credentials may read of it, and the least scopes."""
    if form == "json":
        plain: Any = msgspec.to_builtins(found)
        return orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
    paint = Paint(color)
    states = [*found.kinds, *found.other_kinds]
    rows = [("kind", "PagerDuty says", "scope", "")]
    rows += [(visible(p.kind), p.status, p.scope, visible(p.detail)) for p in states]
    head, *lines = table(rows).splitlines()
    painted = [_painted(line, p.status, paint) for line, p in zip(lines, states, strict=True)]
    mapped, others = painted[: len(found.kinds)], painted[len(found.kinds) :]
    port = found.port_error or f"organisation {found.org_name} {found.org_id}, {found.blueprints} blueprints"
    pagerduty = ": ".join(filter(None, (found.credentials, found.pagerduty_error)))
    return "\n".join(
        [
            f"catalog    {found.catalog_blueprints} blueprints, {found.catalog_rules} mappings, valid",
            f"port       {visible(found.port_url)}  {visible(port)}",
            f"pagerduty  {visible(found.pagerduty_url)}  {visible(pagerduty)}",
            *(f"           {line}" for line in (head, *mapped)),
            *(f"           {line}" for line in (["not mapped:", *others] if others else [])),
            f"state      {visible('  '.join(filter(None, (found.state, found.state_error))))}",
            *_scopes(found, paint),
            paint("bold", "All is well." if found.well else "Not all is well: see above."),
            "",
        ]
    )


def _scopes(found: Examination, paint: Paint) -> list[str]:
    """The least scopes; of an app's token also what it has."""
    lines = [f"Least scopes for this catalog: {' '.join(found.scopes)}"]
    if found.granted is not None:
        lines.append(f"Granted to the app: {visible(' '.join(found.granted)) or 'none'}")
    if found.missing:
        lines.append(paint("red", f"Not granted: {' '.join(found.missing)}") + "; grant them to the app in PagerDuty")
    return lines


def _painted(line: str, status: str, paint: Paint) -> str:
    return line.replace(f"  {status}", f"  {paint(_COLORS.get(status, 'bold'), status)}", 1)
