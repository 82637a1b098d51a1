"""pdsync.yaml: the project, with one environment's part laid over it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pdsync.catalog.nodes import Map, Scalar, Sequence, find, plain
from pdsync.catalog.rules import found
from pdsync.catalog.schema import did_you_mean, secret_found
from pdsync.kinds import hours_in
from pdsync.model import DeleteLimit, Policy, Project

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pdsync.catalog.nodes import Document, Path
    from pdsync.errors import Diagnostic
    from pdsync.model import Json

STATE_SCHEMES = ("file", "git+branch", "s3", "gs", "az", "https", "http")
"""What a state URL may begin with; without `://` it is a folder, or `git:BRANCH`."""

_ADDRESSES: tuple[Path, ...] = (("port", "base_url"), ("pagerduty", "api_url"), ("state", "url"))

_AGE = ("pagerduty", "settled_after")
_A_DAY = 24
_WAIT = ("policy", "believe_shrink_after")
_NO_WAIT = re.compile(r"0+ ?(h|d|w|mo|y)")


def check_project(document: Document, environment: str | None, blueprints: Collection[str]) -> Iterator[Diagnostic]:
    """What the shape of the project file does not say: addresses, the environment, names in the policy."""
    names = _environments(document)
    if environment is not None and environment not in names:
        hint = did_you_mean(environment, names) or "add it under environments"
        yield found("PD117", document.key(("environments",)), f'there is no environment "{environment}"', hint)
    for part in ((), *(("environments", name) for name in names)):
        yield from _check_part(document, part, blueprints)


def _environments(document: Document) -> list[str]:
    node = find(document.root, "environments")
    return list(node.entries) if isinstance(node, Map) else []


def _check_part(document: Document, part: Path, blueprints: Collection[str]) -> Iterator[Diagnostic]:
    for path in _ADDRESSES:
        node = find(document.root, *part, *path)
        if isinstance(node, Scalar) and isinstance(node.value, str):
            yield from _check_address(document, (*part, *path), node.value)
    age = find(document.root, *part, *_AGE)
    if isinstance(age, Scalar) and isinstance(age.value, str) and (hours_in(age.value) or 0) < _A_DAY:
        place = document.value((*part, *_AGE))
        yield found("PD114", place, f'"{age.value}" is not an age of a day or more', "such as 90d, 12w, 6mo or 1y")
    wait = find(document.root, *part, *_WAIT)
    if isinstance(wait, Scalar) and isinstance(wait.value, str) and _stretch(wait.value) is None:
        yield found(
            "PD114", document.value((*part, *_WAIT)), f'"{wait.value}" is not a stretch of time', "such as 2h, 1d"
        )
    for key in ("deletes", "renames"):
        named = find(document.root, *part, "policy", key)
        for name in named.entries if isinstance(named, Map) else ():
            if name not in blueprints and (key, name) != ("deletes", "*"):
                place = document.key((*part, "policy", key, name))
                yield found("PD119", place, f'no blueprint "{name}"', did_you_mean(name, blueprints))


def _check_address(document: Document, path: Path, address: str) -> Iterator[Diagnostic]:
    try:
        parts = urlsplit(address)
        scheme, host, secret = parts.scheme, parts.hostname, parts.username or parts.password
    except ValueError:
        scheme, host, secret = "", None, None
    if secret:
        yield secret_found(document, path, "an address must not hold credentials")
    elif path[-1] == "url" and "://" in address and scheme not in STATE_SCHEMES:
        place = document.value(path)
        yield found("PD114", place, f'"{scheme}" is no kind of state URL', did_you_mean(scheme, STATE_SCHEMES))
    elif path[-1] != "url" and (scheme not in {"https", "http"} or not host):
        yield found("PD114", document.value(path), f'"{address}" is not an http address', "such as https://api.port.io")
    elif path[-1] != "url" and scheme == "http" and not _is_loopback(host or ""):
        detail = f'"{address}" is not encrypted, and credentials are sent there'
        yield found("PD114", document.value(path), detail, f"write https{address[4:]}")


def _is_loopback(host: str) -> bool:
    from pdsync.transport import is_loopback

    return is_loopback(host)


def asked_for(document: Document, environment: str | None) -> frozenset[str]:
    """Port's own blueprints that the project asks to write to (`policy.system_blueprints`), whatever else is wrong."""
    named: frozenset[str] = frozenset()
    for part in ((), ("environments", environment)) if environment else ((),):
        node = find(document.root, *part, "policy", "system_blueprints")
        if isinstance(node, Sequence):
            named = frozenset(str(item.value) for item in node.items if isinstance(item, Scalar))
    return named


def make_project(document: Document, environment: str | None) -> Project:
    """The project of a file without errors."""
    written = plain(document.root)
    named = (written.get("environments") or {}).get(environment) if environment is not None else None
    merged = _over(written, named or {})
    addresses = {
        "port_base_url": _get(merged, "port", "base_url"),
        "pagerduty_api_url": _get(merged, "pagerduty", "api_url"),
        "state_url": _get(merged, "state", "url"),
        "state_snapshot": _get(merged, "state", "snapshot"),
    }
    age = hours_in(_get(merged, *_AGE) or "")
    given = addresses | {
        "settled_after": timedelta(hours=age) if age else None,
        "full_every": _get(merged, "pagerduty", "full_every"),
    }
    given = {name: value for name, value in given.items() if value}
    return Project(name=written["name"], policy=_policy(merged.get("policy") or {}), **given)


def _policy(written: Mapping[str, Json]) -> Policy:
    wait = _stretch(written.get(_WAIT[-1]) or "")
    limits = {name: _limit(one or {}) for name, one in (written.get("deletes") or {}).items()}
    return Policy(
        deletes=limits,
        adopt=written.get("adopt") or "allow",
        on_remove=written.get("on_remove") or "release",
        protect=tuple(written.get("protect") or ()),
        invalid=written.get("invalid") or "hold",
        renames=written.get("renames") or {},
        system_blueprints=tuple(written.get("system_blueprints") or ()),
        **({} if wait is None else {"believe_shrink_after": wait}),
    )


def _stretch(text: str) -> timedelta | None:
    """A stretch of time, or none at all as `0h`; None when it is neither."""
    hours = 0 if _NO_WAIT.fullmatch(text.strip()) else hours_in(text)
    return None if hours is None else timedelta(hours=hours)


def _limit(written: Mapping[str, Json]) -> DeleteLimit:
    return DeleteLimit(**{key: value for key, value in written.items() if value is not None})


def _get(written: Mapping[str, Json], *path: str) -> Json:
    value: Json = written
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _over(below: Mapping[str, Json], above: Mapping[str, Json]) -> dict[str, Json]:
    """`above` laid over `below`, map by map; lists are replaced whole."""
    merged = dict(below)
    for key, value in above.items():
        mine = merged.get(key)
        merged[key] = _over(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return merged
