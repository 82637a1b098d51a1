"""What the pages say in words and tables is so: links, commands, exit codes, variables, targets, layers, keys."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from ruamel.yaml import YAML

from pdsync.catalog.models import EntityMappings, EntityPart, MappingFile, ResourcePart, ResourcePortPart
from pdsync.catalog.schema import json_schemas
from pdsync.cli import COMMANDS
from tests.docs.pages import PAGES, ROOT, anchors, blocks, generated, links, name_of, prose, read
from tests.docs.tables import PARTS, every_command, exit_codes_of_errors
from tests.test_layers import MODULES, covers, imports_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

README = ROOT / "README.md"
CATALOG = ROOT / "docs" / "catalog.md"
VARIABLE = re.compile(r"\b(?:PORT|PAGERDUTY|PDSYNC)_(?!ACTION_|COMPLETE\b)[A-Z_]+\b")
INTERNAL = "PDSYNC_FAULT"
"""`pdsync selftest --faults` sets it for what it starts; nobody else does."""


# --- links -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link within the repository names a file that is there, and a heading that is in it."""
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    """No page is written for nobody."""
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(README) if "://" not in link}
    assert [name_of(page) for page in PAGES if page != README and page not in linked] == []


def test_files_named_in_the_readme_exist() -> None:
    """A path of this repository in running text is there."""
    named = re.findall(r"`((?:pdsync|tests|benchmarks)/[\w./]+)`", prose(README))
    assert named
    assert [path for path in named if not (ROOT / path).exists() and path != "benchmarks/RESULTS.md"] == []


# --- generated parts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARTS)
def test_generated_parts_are_up_to_date(name: str) -> None:
    """Each stands on exactly one page, as the code has it now (else: `python -m tests.docs.generate`)."""
    found = [part.text for page in PAGES for part in generated(page) if part.name == name]
    assert found == [f"\n{PARTS[name]()}\n"]


def test_every_generated_part_has_something_that_writes_it() -> None:
    """A name without a function would never be brought up to date."""
    assert {part.name for page in PAGES for part in generated(page)} == set(PARTS)


# --- commands --------------------------------------------------------------------------------------------------


def test_every_command_is_documented() -> None:
    """Each command and subcommand has a heading in the reference."""
    headings = re.findall(r"^### (.+)$", read(ROOT / "docs" / "commands.md"), re.MULTILINE)
    assert headings == [path for path, _ in every_command()]
    assert {path.split()[1] for path, _ in every_command() if " " in path} == set(COMMANDS)


@pytest.mark.parametrize("command", ["", "plan", "state", "state push"])
def test_the_reference_is_what_help_prints(command: str) -> None:
    """On a terminal of 100 columns `--help` prints what stands in the reference."""
    env = {**os.environ, "COLUMNS": "100"}
    printed = subprocess.run(
        [sys.executable, "-m", "pdsync", *command.split(), "--help"],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    text = read(ROOT / "docs" / "commands.md")
    assert f"### pdsync {command}".rstrip() + f"\n\n```text\n{printed.replace('python -m pdsync', 'pdsync')}```" in text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_prose_exist(page: Path) -> None:
    """`pdsync something` in running text is a command, with options that it has."""
    known = dict(every_command())
    unknown = []
    for span in re.findall(r"`pdsync ([^`\n]+)`", prose(page)):
        words = [word for word in span.split() if word not in ("--environment", "eu", "staging")]
        path = f"pdsync {words[0]}" if words else "pdsync"
        if f"{path} {' '.join(words[1:2])}" in known:
            path = f"{path} {words[1]}"
        options = {word.split("=")[0] for word in words if word.startswith("--")}
        given = {o for p in (known.get(path), known["pdsync"]) if p for param in p.params for o in param.opts}
        if (path not in known and not words[0].startswith("-")) or not options <= given | {"--help"}:
            unknown.append(span)
    assert unknown == []


# --- README ----------------------------------------------------------------------------------------------------


def _rows(page: Path, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    section = read(page).split(f"\n{heading}\n", 1)[1]
    lines = iter(section.splitlines())
    table = [line for line in _first_run(lines) if not re.fullmatch(r"[| -]+", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1:]]


def _first_run(lines: Iterator[str]) -> Iterator[str]:
    began = False
    for line in lines:
        if line.startswith("|"):
            began = True
            yield line
        elif began:
            return


def test_exit_codes_are_those_of_the_errors() -> None:
    """The README's table has every exit code there is, once: those of errors, 0, 2 for changes, 143 for SIGTERM."""
    assert [int(row[0]) for row in _rows(README, "## Exit codes")] == sorted(exit_codes_of_errors() | {0, 2, 143})


def test_variables_are_those_that_are_read() -> None:
    """Every environment variable that command line and state backends read stands in the README's table, and no other."""
    readers = ("cli/*.py", "state/backends/*.py", "sealing.py")
    code = "\n".join(path.read_text(encoding="utf-8") for glob in readers for path in (ROOT / "pdsync").glob(glob))
    table = read(README).split("**Say who you are.**", 1)[1].split("Least privileges", 1)[0]
    assert set(VARIABLE.findall(table)) == set(VARIABLE.findall(code)) - {"PORT_PORT", INTERNAL}


def test_variables_named_anywhere_are_in_the_table() -> None:
    """No page speaks of a variable that does nothing."""
    table = set(VARIABLE.findall(read(README).split("**Say who you are.**", 1)[1].split("Least privileges", 1)[0]))
    assert {name for page in PAGES for name in VARIABLE.findall(read(page))} - table == set()


def test_make_targets_exist() -> None:
    """`make something` is in the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|^)make ([a-z]+)(?:`|$)", read(page), re.MULTILINE)}
    assert "demo" in named
    assert named - targets == set()


def _layers() -> list[list[str]]:
    """The modules of each row of the README's table, as dotted names."""
    rows = [re.findall(r"`([\w/]+)`", row[1]) for row in _rows(README, "## Architecture")]
    return [[f"pdsync.{name.rstrip('/').replace('/', '.')}" for name in row] for row in rows]


def test_layers_name_every_module_once() -> None:
    """The table of layers has each module and package of pdsync/, and nothing that is not there."""
    top = {".".join(name.split(".")[:2]) for name in MODULES} - {"pdsync", "pdsync.__main__"}
    assert sorted(name for row in _layers() for name in row) == sorted(top | {"pdsync.state.backends"})


def test_modules_import_only_from_their_row_and_those_above() -> None:
    """What the README says of its table is so; the sandbox stands aside."""
    rows = {name: number for number, row in enumerate(_layers()) for name in row}

    def row_of(module: str) -> int:
        return rows[max((name for name in rows if covers(name, module)), key=len)]

    wrong = [
        f"{module} imports {found.imported}"
        for module in MODULES
        if module not in ("pdsync", "pdsync.__main__") and not covers("pdsync.sandbox", module)
        for found in imports_of(module, read(MODULES[module]))
        if covers("pdsync", found.imported) and found.imported != "pdsync"
        if not covers("pdsync.sandbox", found.imported) and row_of(found.imported) > row_of(module)
    ]
    assert wrong == []


def test_the_workflow_uses_inputs_that_the_action_has() -> None:
    """What stands under `with:` in the README's workflow is an input of action.yml."""
    (workflow,) = (_yaml(block.text) for block in blocks(README) if block.language == "yaml")
    action = _yaml((ROOT / "action.yml").read_text(encoding="utf-8"))
    given = [step["with"] for step in workflow["jobs"]["pdsync"]["steps"] if "with" in step]
    assert len(given) == 1
    assert set(given[0]) <= set(action["inputs"])


# --- catalog ---------------------------------------------------------------------------------------------------


def _yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def _names(schema: Any) -> Iterator[str]:
    """The names of all properties in a JSON Schema."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        yield from properties if isinstance(properties, dict) else ()
        for value in schema.values():
            yield from _names(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _names(value)


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for inner in value.values():
            yield from _keys(inner)


def test_the_project_file_that_is_shown_has_every_key() -> None:
    """It says of itself that it is all there can be."""
    (shown,) = (b.text for b in blocks(CATALOG) if b.marks.get("file") == "catalog/pdsync.yaml")
    assert set(_names(json_schemas()["project"])) - set(_keys(_yaml(shown))) == set()


def test_every_key_of_a_mapping_is_explained() -> None:
    """Each key of a mapping file stands in the page's section about mappings."""
    section = read(CATALOG).split("\n## Mappings\n", 1)[1].split("\n## ", 1)[0]
    models = (MappingFile, ResourcePart, ResourcePortPart, EntityPart, EntityMappings)
    keys = {field.alias or name for model in models for name, field in model.model_fields.items()}
    assert {key for key in keys if not re.search(rf"\b{key}\b", section)} == set()


# --- form ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "github-action.md"], ids=name_of)
def test_lines_of_prose_can_be_read_in_a_diff(page: Path) -> None:
    """At most 120 characters, tables, generated parts and blocks left out."""
    text = prose(page)
    for part in generated(page, text):
        text = text.replace(part.text, "")
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_data_blocks_are_valid(page: Path) -> None:
    """A block of YAML or JSON can be parsed."""
    for block in blocks(page):
        if block.language == "yaml":
            assert _yaml(block.text), block.place
        elif block.language == "json":
            assert orjson.loads(block.text), block.place
