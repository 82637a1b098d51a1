"""Runs a composite action's steps on this machine, by the rules of the GitHub runner that matter here.

`${{ }}` of the forms the action uses (contexts, literals, `== != && || !`, `cancelled()`), inputs with defaults, `if`
with its implied `success()`, environment and output files, `bash --noprofile --norc -eo pipefail`, annotations and masks
from the log, `uses:` replaced by functions.  Not modelled: permissions, post steps, nested composites.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.github.runner_log import RunnerLog

Stub = Callable[[dict[str, str]], dict[str, str]]
"""Stands in for an action that is used: from its `with` to its outputs."""

TOKENS = re.compile(r"\s*(?:(\|\||&&|==|!=|!|\(|\))|'((?:[^']|'')*)'|([A-Za-z_][\w.-]*)|(\S))")


@dataclass
class Outcome:
    """How a run of the action ended."""

    success: bool
    outputs: dict[str, str]
    steps: dict[str, dict[str, str]]
    conclusions: dict[str, str]
    log: RunnerLog
    summary: str
    text: str


@dataclass
class Composite:
    """One action file, ready to be run with inputs in an environment."""

    path: Path
    stubs: Mapping[str, Stub] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Cancel the job while a step runs: the first thing a runner does is to send that step SIGINT."""
        assert self.process is not None
        self.is_cancelled = True
        self.process.send_signal(signal.SIGINT)

    def run(self, inputs: Mapping[str, str], env: Mapping[str, str], folder: Path, cancel: str = "") -> Outcome:
        """Run all steps; `folder` is for the runner's files; the job is cancelled before the step named `cancel`."""
        action: dict[str, Any] = YAML(typ="safe").load(self.path.read_text("utf-8"))
        unknown = set(inputs) - set(action["inputs"])
        assert not unknown, f"undeclared inputs: {unknown}"
        self.is_cancelled = False
        run = _Run(self, env, folder)
        github = {"token": env.get("TEST_GITHUB_TOKEN", "")}
        defaults = {
            name: evaluate_text(str(part.get("default", "")), {"github": github})
            for name, part in action["inputs"].items()
        }
        contexts: dict[str, Any] = {"inputs": {**defaults, **inputs}, "github": github, "steps": {}}
        for number, step in enumerate(action["runs"]["steps"]):
            self.is_cancelled = self.is_cancelled or (bool(cancel) and step["name"] == cancel)
            run.step(number, step, contexts)
        outputs = {name: evaluate_text(part["value"], contexts) for name, part in action.get("outputs", {}).items()}
        steps = {name: part["outputs"] for name, part in contexts["steps"].items()}
        return Outcome(
            run.success and not self.is_cancelled, outputs, steps, run.conclusions, run.log, run.summary, run.text
        )


class _Run:
    def __init__(self, composite: Composite, env: Mapping[str, str], folder: Path) -> None:
        self.composite, self.env, self.folder = composite, dict(env), folder
        self.success = True
        self.log, self.summary, self.text = RunnerLog(), "", ""
        self.conclusions: dict[str, str] = {}

    def step(self, number: int, step: dict[str, Any], contexts: dict[str, Any]) -> None:
        name = step["name"]
        cancelled = self.composite.is_cancelled
        status = {"success()": self.success and not cancelled, "cancelled()": cancelled}
        if not condition(str(step.get("if", "success()")), contexts, status):
            self.conclusions[name] = "skipped"
            return
        if "uses" in step:
            given = {key: evaluate_text(str(value), contexts) for key, value in step.get("with", {}).items()}
            outputs, ended = self.composite.stubs[step["uses"].split("@")[0]](given), True
        else:
            outputs, ended = self._shell(number, step, contexts)
        self.success = self.success and ended
        self.conclusions[name] = "success" if ended else "failure"
        if "id" in step:
            contexts["steps"][step["id"]] = {"outputs": outputs, "outcome": self.conclusions[name]}

    def _shell(self, number: int, step: dict[str, Any], contexts: dict[str, Any]) -> tuple[dict[str, str], bool]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an expression in run: is an injection"
        files = {name: self.folder / f"{name.lower()}-{number}" for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.write_text("")
        script = self.folder / f"step-{number}.sh"
        script.write_text(step["run"])
        own = {key: evaluate_text(str(value), contexts) for key, value in step.get("env", {}).items()}
        action_path = {"GITHUB_ACTION_PATH": str(self.composite.path.parent)}
        env = {**self.env, **own, **{name: str(file) for name, file in files.items()}, **action_path}
        workspace = Path(self.env["GITHUB_WORKSPACE"])
        where = workspace / evaluate_text(str(step.get("working-directory", ".")), contexts)
        with subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=where,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            self.composite.process = process
            text = process.communicate()[0].decode("utf-8")
        self.text += text
        for line in text.splitlines():
            self.log.read(line)
        self.summary += files["GITHUB_STEP_SUMMARY"].read_text("utf-8")
        return read_env_file(files["GITHUB_OUTPUT"].read_text("utf-8")), process.returncode == 0


def read_env_file(text: str) -> dict[str, str]:
    """A file of `GITHUB_OUTPUT` as the runner reads it."""
    values: dict[str, str] = {}
    lines = iter(re.split(r"\r\n|\n|\r", text))
    for line in lines:
        plain, heredoc = line.find("="), line.find("<<")
        if not line:
            continue
        if plain >= 0 and (heredoc < 0 or plain < heredoc):
            values[line[:plain]] = line[plain + 1 :]
            continue
        assert heredoc > 0, f"not an output: {line!r}"
        name, delimiter = line[:heredoc], line[heredoc + 2 :]
        body: list[str] = []
        for inner in lines:
            if inner == delimiter:
                break
            body.append(inner)
        else:
            raise AssertionError(f"no end of {name}")
        values[name] = "\n".join(body)
    return values


def condition(text: str, contexts: Mapping[str, Any], status: Mapping[str, bool]) -> bool:
    """An `if`; without a status function in it, `success()` is required too."""
    inner = re.sub(r"^\$\{\{(.*)\}\}$", r"\1", text.strip(), flags=re.DOTALL)
    implied = not re.search(r"\b(success|failure|always|cancelled)\(\)", inner)
    return truth(evaluate(inner, contexts, status)) and (status["success()"] or not implied)


def evaluate_text(text: str, contexts: Mapping[str, Any]) -> str:
    """A value with its `${{ }}` replaced."""
    return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(evaluate(found[1], contexts, {})), text, flags=re.DOTALL)


def truth(value: object) -> bool:
    """GitHub's truth: false, null, 0 and the empty string are false."""
    return value not in (False, None, 0, "")


def evaluate(text: str, contexts: Mapping[str, Any], status: Mapping[str, bool]) -> object:
    """One expression."""
    parser = _Parser(TOKENS.findall(text.strip()), contexts, status)
    value = parser.either()
    assert not parser.tokens, f"not understood: {text}"
    return value


class _Parser:
    def __init__(
        self, tokens: list[tuple[str, str, str, str]], contexts: Mapping[str, Any], status: Mapping[str, bool]
    ) -> None:
        self.tokens, self.contexts, self.status = tokens, contexts, status

    def take(self, *operators: str) -> str:
        return self.tokens.pop(0)[0] if self.tokens and self.tokens[0][0] in operators else ""

    def either(self) -> object:
        value = self.both()
        while self.take("||"):
            other = self.both()
            value = value if truth(value) else other
        return value

    def both(self) -> object:
        value = self.compared()
        while self.take("&&"):
            other = self.compared()
            value = other if truth(value) else value
        return value

    def compared(self) -> object:
        value = self.single()
        while operator := self.take("==", "!="):
            same = str(value).lower() == str(self.single()).lower()
            value = same if operator == "==" else not same
        return value

    def single(self) -> object:
        if self.take("!"):
            return not truth(self.single())
        if self.take("("):
            value = self.either()
            assert self.take(")")
            return value
        _, literal, name, other = self.tokens.pop(0)
        assert not other, f"not understood: {other}"
        if not name:
            return literal.replace("''", "'")
        if self.take("("):
            assert self.take(")")
            return self.status[f"{name}()"]
        return self._context(name)

    def _context(self, name: str) -> object:
        value: Any = self.contexts
        for part in name.split("."):
            value = value.get(part, "") if isinstance(value, dict) else ""
        return value


def clean_environment() -> dict[str, str]:
    """What every runner has, and nothing of this machine's own settings."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
