"""The layers of DESIGN 3: a module imports only downwards, and what is pure stays pure.

The imports are read from the source, so that those inside functions and under `TYPE_CHECKING` count too.
"""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import pdsync

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(pdsync.__file__).parent

LAYERS: tuple[tuple[str, ...], ...] = (
    ("pdsync.errors",),
    ("pdsync.model",),
    ("pdsync.sharing", "pdsync.searching", "pdsync.memo"),
    ("pdsync.kinds", "pdsync.normal", "pdsync.jq"),
    ("pdsync.diff", "pdsync.mapping", "pdsync.privacy", "pdsync.completeness", "pdsync.lacking"),
    ("pdsync.leftalone", "pdsync.pasting", "pdsync.subdomain", "pdsync.vanished"),
    ("pdsync.plan",),
    ("pdsync.render",),
    ("pdsync.spool", "pdsync.files", "pdsync.trust", "pdsync.web", "pdsync.garbage"),
    ("pdsync.recordfile",),
    ("pdsync.transport", "pdsync.init_files", "pdsync.sealing", "pdsync.emptied"),
    ("pdsync.catalog", "pdsync.sources", "pdsync.targets", "pdsync.state.backends"),
    ("pdsync.state",),
    (
        "pdsync.asked",
        "pdsync.aswritten",
        "pdsync.edition",
        "pdsync.freshness",
        "pdsync.lookups",
        "pdsync.needed",
        "pdsync.pinned",
        "pdsync.sight",
        "pdsync.around",
        "pdsync.causes",
        "pdsync.snapshots",
    ),
    ("pdsync.apply",),
    ("pdsync.resume",),
    ("pdsync.revert",),
    ("pdsync.commands", "pdsync.examination"),
    ("pdsync.explanation", "pdsync.branch"),
    ("pdsync.github",),
    ("pdsync.cli",),
    ("pdsync.__main__",),
)
"""Low to high; parts of one layer do not import each other.  A module belongs to the longest name that it begins with."""

ANYWHERE = ("pdsync",)
"""The package itself holds only the version."""

SANDBOX = "pdsync.sandbox"
SANDBOX_IMPORTS = ("pdsync.model", SANDBOX)
USES_SANDBOX = ("pdsync.sandbox*", "pdsync.cli.demo", "pdsync.cli.sandbox_commands", "pdsync.cli.selftest*")

PURE = (
    "pdsync.errors",
    "pdsync.model",
    "pdsync.searching",
    "pdsync.kinds",
    "pdsync.normal",
    "pdsync.sharing",
    "pdsync.diff",
    "pdsync.leftalone",
    "pdsync.plan",
    "pdsync.render",
    "pdsync.privacy",
    "pdsync.completeness",
    "pdsync.subdomain",
    "pdsync.vanished",
    "pdsync.memo",
)
IMPURE_MODULES = frozenset(
    [
        "asyncio",
        "fcntl",
        "git",
        "http",
        "httpx",
        "importlib",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "secrets",
        "shutil",
        "signal",
        "socket",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib.request",
        "uuid",
    ]
)
PURE_BUT_FOR = {"pdsync.mapping": frozenset({"importlib"})}
"""mapping asks for the version of the jq package; what it runs jq in is `pdsync.jq`."""

ENVIRONMENT = ("pdsync.cli*", "pdsync.jq.pool", "pdsync.jq.worker", "pdsync.trust")
"""The worker of jq is started with an emptied environment, which is not reading it; trust looks at the variables that
OpenSSL itself reads."""


class Import(NamedTuple):
    """One import statement: what is imported, and whether only a type checker sees it."""

    importer: str
    imported: str
    line: int
    typing_only: bool


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = (ROOT.name, *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


@cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


@cache
def imports_of(name: str, source: str) -> tuple[Import, ...]:
    return tuple(_imports(name, parsed(source), typing_only=False))


def _imports(name: str, node: ast.AST, *, typing_only: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(name, alias.name, node.lineno, typing_only) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{name}:{node.lineno} imports relatively"
        module = str(node.module)
        submodules = [f"{module}.{alias.name}" for alias in node.names if f"{module}.{alias.name}" in MODULES]
        yield from (Import(name, target, node.lineno, typing_only) for target in submodules or [module])
    elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        for child in node.body:
            yield from _imports(name, child, typing_only=True)
        for child in node.orelse:
            yield from _imports(name, child, typing_only=typing_only)
    else:
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, _HOLDS_STATEMENTS):
                yield from _imports(name, inner, typing_only=typing_only)


_HOLDS_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
"""What an import can be, or stand in: most of a tree is expressions."""


def covers(part: str, module: str) -> bool:
    return module == part or module.startswith(f"{part}.")


def place(module: str) -> tuple[int, str]:
    """The number of a module's layer and the part of it that it belongs to.  Raises `LookupError` outside the table."""
    fits = [(number, part) for number, layer in enumerate(LAYERS) for part in layer if covers(part, module)]
    if not fits:
        raise LookupError(f"{module} is in no layer")
    return max(fits, key=lambda fit: len(fit[1]))


def violations(name: str, source: str) -> list[str]:
    """The imports of a module that the table does not allow."""
    ours = [i for i in imports_of(name, source) if covers("pdsync", i.imported) and i.imported not in ANYWHERE]
    return [f"{name}:{i.line} imports {i.imported}" for i in ours if not allowed(i)]


def allowed(what: Import) -> bool:
    if covers(SANDBOX, what.imported):
        return any(fnmatchcase(what.importer, glob) for glob in USES_SANDBOX)
    if covers(SANDBOX, what.importer):
        return any(covers(part, what.imported) for part in SANDBOX_IMPORTS)
    (own_layer, own_part), (layer, part) = place(what.importer), place(what.imported)
    return layer < own_layer or part == own_part


def impurities(name: str, source: str, exempt: frozenset[str] = frozenset()) -> list[str]:
    """Imports at run time of what does I/O, tells the time or draws lots."""
    return [
        f"{name}:{i.line} imports {i.imported}"
        for i in imports_of(name, source)
        if not i.typing_only and any(covers(banned, i.imported) for banned in IMPURE_MODULES - exempt)
    ]


@cache
def read(name: str) -> str:
    return MODULES[name].read_text(encoding="utf-8")


def test_a_module_imports_only_downwards() -> None:
    """Nothing imports a higher layer or its neighbour, not even for types."""
    names = sorted(MODULES.keys() - set(ANYWHERE))
    assert len(names) > 200
    assert [violation for name in names for violation in violations(name, read(name))] == []


def test_the_pure_layers_import_nothing_impure() -> None:
    """No I/O, clock or randomness where plans are made and rendered."""
    names = [name for name in sorted(MODULES) if any(covers(part, name) for part in PURE) or name in PURE_BUT_FOR]
    exempt = {name: PURE_BUT_FOR.get(name, frozenset()) for name in names}
    assert len(names) > 50
    assert [impurity for name in names for impurity in impurities(name, read(name), exempt[name])] == []


def test_only_one_module_imports_httpx() -> None:
    """The one that leaves out what makes it slow."""
    imports = [each for name in MODULES for each in imports_of(name, read(name)) if each.imported == "httpx"]
    assert {each.importer for each in imports if not each.typing_only} == {"pdsync.web"}


def test_only_the_command_line_prints_and_reads_the_environment() -> None:
    """`print` and `os.environ` stand in pdsync/cli alone."""
    names = sorted(name for name in MODULES if not covers("pdsync.cli", name))
    assert [f"{name}:{line} prints" for name in names for line in printing(read(name))] == []
    reading = [name for name in names if not any(fnmatchcase(name, glob) for glob in ENVIRONMENT)]
    assert [f"{name}:{line}" for name in reading for line in environment(read(name))] == []


def printing(source: str) -> list[int]:
    """Lines that call `print`."""
    return [
        node.lineno
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def environment(source: str) -> list[int]:
    """Lines that use the process's environment."""
    return [
        node.lineno
        for node in ast.walk(parsed(source))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv"))
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and {"environ", "getenv"} & {a.name for a in node.names}
        )
    ]


def test_every_part_of_the_table_exists() -> None:
    """The table names no module that is gone."""
    parts = [part for layer in LAYERS for part in layer]
    assert [part for part in parts if not any(covers(part, name) for name in MODULES)] == []


UPWARD = [
    ("pdsync.model", "from pdsync.plan import make_plan"),
    ("pdsync.plan.order", "import pdsync.state.store"),
    ("pdsync.plan.order", "if TYPE_CHECKING:\n    from pdsync.render.plan_text import render_plan"),
    ("pdsync.commands", "def late():\n    from pdsync.cli import run"),
    ("pdsync.sources.pagerduty", "from pdsync.targets import EntityWrite"),
    ("pdsync.state.backends.local", "from pdsync.state import store"),
    ("pdsync.apply", "from pdsync.sandbox.server import Sandbox"),
    ("pdsync.sandbox.world", "from pdsync.normal import same"),
]


@pytest.mark.parametrize(("name", "source"), UPWARD, ids=[f"{name}: {source.split()[-1]}" for name, source in UPWARD])
def test_an_upward_import_is_seen(name: str, source: str) -> None:
    """The check itself tells an import against the layers, wherever it stands."""
    assert len(violations(name, source)) == 1


def test_an_impure_import_is_seen() -> None:
    """The check itself tells an import of what is impure, but not one for types alone."""
    assert impurities("pdsync.plan", "def f():\n    import os.path") == ["pdsync.plan:2 imports os.path"]
    assert impurities("pdsync.plan", "if TYPE_CHECKING:\n    from pathlib import Path") == []
    assert (printing("print(1)"), environment("import os\nos.environ['A']")) == ([1], [2])
