"""How the runner reads a log: written anew from the rules of actions/runner (ActionCommand, ActionCommandManager)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

ANNOTATIONS = {"error", "warning", "notice"}
KNOWN = {
    *ANNOTATIONS,
    "debug",
    "group",
    "endgroup",
    "add-mask",
    "set-output",
    "set-env",
    "add-path",
    "stop-commands",
    "echo",
    "save-state",
    "add-matcher",
    "remove-matcher",
}


@dataclass
class RunnerLog:
    """Fed with lines; keeps annotations, masks, other commands, and the text that people see."""

    annotations: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    others: list[tuple[str, str]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    _resume: str = ""

    def read(self, line: str) -> None:
        """One line of standard output or standard error."""
        command = _parse(line)
        if self._resume:
            if command and command[0] == self._resume:
                self._resume = ""
            else:
                self.shown.append(self._masked(line))
            return
        if command is None or command[0] not in KNOWN:
            self.shown.append(self._masked(line))
            return
        name, properties, data = command
        if name == "stop-commands":
            self._resume = data
        elif name in ANNOTATIONS:
            self.annotations.append((name, properties, data))
        elif name == "add-mask":
            self.masks.append(data)
        else:
            self.others.append((name, data))

    def _masked(self, line: str) -> str:
        for mask in sorted(self.masks, key=len, reverse=True):
            line = line.replace(mask, "***")
        return line


def _parse(line: str) -> tuple[str, dict[str, str], str] | None:
    stripped = line.lstrip()
    found = re.match(r"::([^:\s]+)(?: ([^\n]*?))?::", stripped)
    if found:
        return found[1].lower(), _properties(found[2] or "", ","), _unescape(stripped[found.end() :])
    old = re.search(r"##\[([^\]\s]+)(?: ([^\]]*))?\]", line)
    return (old[1].lower(), _properties(old[2] or "", ";"), line[old.end() :]) if old else None


def _properties(text: str, separator: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(separator) if "=" in part)
    return {key.strip(): _unescape(value.replace("%3A", ":").replace("%2C", ",")) for key, _, value in pairs}


def _unescape(text: str) -> str:
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
