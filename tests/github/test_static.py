"""The YAML files: valid by GitHub's schemas, clean by zizmor, and as safe as we say they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
ACTION = ROOT / "action.yml"
EXAMPLE = ROOT / "pdsync/init_files/workflows/pdsync.yml"
CI = ROOT / ".github/workflows/ci.yml"
SCRIPT = ROOT / "pdsync/github/run.sh"
DOCS = ROOT / "docs/github-action.md"
BIN = Path(sys.executable).parent


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text("utf-8"))


def check(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("path", [ACTION, EXAMPLE, CI], ids=lambda path: path.name)
def test_zizmor_finds_nothing(path: Path) -> None:
    """The strictest offline persona is content."""
    assert check(BIN / "zizmor", "--offline", "--no-progress", "--persona=pedantic", path) == ""


@pytest.mark.parametrize(
    ("schema", "path"),
    [("github-actions", ACTION), ("github-workflows", EXAMPLE), ("github-workflows", CI)],
    ids=lambda found: getattr(found, "name", found),
)
def test_the_schema_holds(schema: str, path: Path) -> None:
    """By GitHub's published schemas."""
    assert check(BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", path) == ""


def test_the_script_is_bash() -> None:
    """Bash reads it, and it uses nothing that bash 3.2 lacks."""
    text = SCRIPT.read_text("utf-8")
    assert check("bash", "-n", SCRIPT) == ""
    assert re.findall(r"\bmapfile\b|\breadarray\b|declare -A|\$\{\w+(?:,,|\^\^)|\beval\b", text) == []


@pytest.mark.parametrize("path", [ACTION, EXAMPLE, CI], ids=lambda path: path.name)
def test_everything_used_is_pinned_to_a_commit(path: Path) -> None:
    """A full commit and a word for people; the example leaves exactly one place to fill in."""
    used = re.findall(r"uses: (\S+)(.*)", path.read_text("utf-8"))
    assert used
    for name, note in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name), name
        assert note.startswith(" # "), name
    empty = {name for name, _ in used if name.endswith("@" + "0" * 40)}
    assert empty == ({"OWNER/pdsync@" + "0" * 40} if path == EXAMPLE else set())


def test_no_expression_reaches_a_shell() -> None:
    """Inputs go through env only; the token is exported to no later step."""
    text = ACTION.read_text("utf-8")
    runs = [step["run"] for step in load(ACTION)["runs"]["steps"] if "run" in step]
    assert len(runs) == 2
    assert [run for run in runs if "${{" in run] == []
    assert re.findall("GITHUB_ENV|GITHUB_PATH", text + SCRIPT.read_text("utf-8")) == []


def test_every_input_is_handed_over() -> None:
    """An input that no step reads would be a lie; one that is read must be declared."""
    action = load(ACTION)
    read = set(re.findall(r"inputs\.([\w-]+)", ACTION.read_text("utf-8")))
    assert read == set(action["inputs"])


def test_the_report_step_gets_no_credentials() -> None:
    """What talks to GitHub knows neither Port's nor PagerDuty's secrets."""
    report = next(step for step in load(ACTION)["runs"]["steps"] if step.get("id") == "report")
    assert [name for name in report["env"] if "SECRET" in name or "CLIENT_ID" in name or "PAGERDUTY" in name] == []


def test_run_and_report_are_told_the_same() -> None:
    """What both read is the same expression in both."""
    steps = {step["id"]: step["env"] for step in load(ACTION)["runs"]["steps"] if "env" in step}
    differing = [
        name for name in steps["run"].keys() & steps["report"].keys() if steps["run"][name] != steps["report"][name]
    ]
    assert differing == []


def test_uv_is_one_that_the_project_accepts() -> None:
    """The version that is set up lies in what pyproject.toml asks for."""
    setup = next(step for step in load(ACTION)["runs"]["steps"] if "setup-uv" in step.get("uses", ""))
    minor = str(setup["with"]["version"]).rpartition(".")[0]
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'required-version = ">={minor}' in pyproject
    assert f'requires = ["uv_build>={minor}' in pyproject


def test_the_example_uses_declared_inputs_and_least_rights() -> None:
    """Only the apply job may write to the repository; nothing leaves credentials in the checkout."""
    example = load(EXAMPLE)
    steps = [step for job in example["jobs"].values() for step in job["steps"]]
    given = {name for step in steps if "OWNER" in step["uses"] for name in step["with"]}
    rights = {name: job["permissions"]["contents"] for name, job in example["jobs"].items()}
    assert given <= set(load(ACTION)["inputs"])
    assert (example["permissions"], rights) == ({}, {"plan": "read", "apply": "write"})
    assert all(step["with"]["persist-credentials"] is False for step in steps if "checkout" in step["uses"])


def test_the_documentation_lists_exactly_what_there_is() -> None:
    """Every input with its default and every output, in the order of action.yml."""
    text = DOCS.read_text("utf-8")
    action = load(ACTION)
    inputs = re.findall(
        r"^\| `([\w-]+)` \| (\S.*?) \|", text.partition("## Inputs")[2].partition("## ")[0], re.MULTILINE
    )
    outputs = re.findall(r"^\| `([\w-]+)` \|", text.partition("## Outputs")[2].partition("## ")[0], re.MULTILINE)
    expected = [
        (name, f"`{part['default']}`" if part["default"] else "none") for name, part in action["inputs"].items()
    ]
    assert (inputs, outputs) == (expected, list(action["outputs"]))
