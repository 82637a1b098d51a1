"""Figures as Markdown."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Cost
from benchmarks.rendering import CHANGES
from benchmarks.rendering import GOAL as MOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from benchmarks.comparison import Contest, Situation
    from benchmarks.figures import Kept
    from benchmarks.journal import Journalled, Way
    from benchmarks.rendering import Rendered
    from benchmarks.scale import Limited, Measured, Scale
    from benchmarks.startup import Started
    from benchmarks.world import Size

RESULTS = Path(__file__).parent / "RESULTS.md"
GOAL = 10.0
SCALE_GOALS = {"first plan, nothing in Port": (20.0, 400.0), "nothing changed": (8.0, None)}
"""By situation: seconds of wall time, megabytes at the worst moment."""
GOAL_YARDSTICK = 280.0
"""Seconds that the straightforward pipeline took where the goals in seconds were set."""
LIMIT_GOAL = 1.1
JOURNAL_GOAL = 0.05
"""The share of an apply's wall time that the journal may cost."""
_HEAD = """\
# Benchmarks

Measured by `python -m benchmarks` (`make bench`); `--only NAME` measures one part anew. This page is made of the
figures that are kept of each part in `figures.json`."""
_CONTEST = """\
Catalog: the starter. Both pipelines read the same sandbox, which runs in a process of its own on the same machine and
limits nobody, and must come to the same plan: the same creates with the same values, the same updates of the same
fields, the same deletes. Both read analytics anew, which pdsync does only once a day unless asked to. The
straightforward one (`yardstick.py`) pages one list after the other, parses every record, runs one cached jq program per
expression and DeepDiff on every pair; it keeps no state, shows nothing and does not prove that its lists are complete.
Ours is the whole of `pdsync plan --out FILE`: start, catalog, state, causes, text, the snapshot saved. The first plan
starts without a state; the others with what the plan before has remembered."""
_COSTS = """\
CPU is user and system, children included; memory is the resident set of all processes of the pipeline together. The
ratio says how many times as much the straightforward pipeline takes."""
_PHASES = """\
Seconds (medians). For pdsync the phases are run one after the other, to be told apart; the command itself reads
PagerDuty and Port at the same time."""
_SCALE = """\
The sandbox runs in a process of its own on the same machine. *Bare* sends the requests that `pdsync plan --out FILE`
has just sent once more with httpx, ten at a time, as if all pages were known beforehand, and throws the answers away:
the floor for whoever reads the same over HTTP. The straightforward pipeline, which cuts lists of more than 10,000 by
time here, made the first plan once, the same as pdsync to the last value; its other figures, in brackets, are those
of the comparison above, times the ratio of the records (x{times:.1f}). pdsync runs as one runs it: analytics are read
once a day, so by the first plan. Between the first two, Port and the state are given what an apply of the first plan
leaves, without one. The sandbox has made up all records before, which is no work of whoever reads them. What a goal
is about was run several times: the line is the fastest of them, in brackets is the wall time of the slowest, for the
machine was never without other work. *Machine* is how much libjq parsed in a second of one core just before and
after, at best, which is what depends on no code of ours. The goals in seconds were set where the straightforward
pipeline took {yardstick:g} s: how many times as fast they ask pdsync to be is what any other machine can tell of
them, and stands beside."""
_LIMITED = """\
Every answer takes {latency:g} s, and PagerDuty takes {per_minute} requests a minute (beyond them the sandbox answers
429). *Least* is the time in which that many requests are given at an even pace; the limit counts by the minute, so that
fewer than a minute's requests may come sooner. Each line is the faster of two rounds, in brackets is the wall time of
the slower; *machine* is as above."""
_JOURNAL = """\
One plan of {changes:,} changes, applied to an empty Port in each way in turn; every answer takes {latency:g} s. No
write begins before its begin is synced, none counts before its end is; those that come at the same time share a sync.
*Spent on it* is the time in which the journal was appended to, measured within the process, against the wall time of
the whole command; other writes are in flight meanwhile. Each line is the fastest of {rounds} rounds. The disk, shared
with whatever else ran, took {sync:.1f} ms for one synced line by itself."""
_LIBRARIES = ("jq", "httpx", "msgspec", "orjson", "deepdiff")


def machine() -> str:
    """What it runs on, and whether something else runs, too."""
    cores = os.cpu_count() or 1
    busy = os.getloadavg()[0]
    shared = f"shared with other work (load {busy:.1f} at the start)" if busy > cores / 4 else "otherwise idle"
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {cores} cores ({_processor()}), {platform.system()} {platform.machine()}, "
        f"{platform.python_implementation()} {platform.python_version()}, {libraries}; the machine was {shared}"
    )


def report(kept: Mapping[str, Kept]) -> str:
    """The page: a section for each scenario that was measured."""
    yardstick: Contest | None = kept["plan"].found if "plan" in kept else None
    sections: dict[str, Callable[[Any], str]] = {
        "startup": startup_section,
        "rendering": rendering_section,
        "plan": contest_section,
        "scale": lambda found: scale_section(found, yardstick),
        "limited": limited_section,
        "journal": journal_section,
    }
    told = [f"{sections[name](kept[name].found)}\n\n*{kept[name].where}.*" for name in sections if name in kept]
    return "\n\n".join((_HEAD, *told)) + "\n"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


# --- 100,000 incidents ------------------------------------------------------------------------------------------


def scale_section(found: Scale, yardstick: Contest | None) -> str:
    """The table of a large company, the straightforward pipeline beside it where that was measured at all."""
    times = _records(found.size) / _records(yardstick.size) if yardstick else 0.0
    known = {situation.name: situation for situation in yardstick.situations} if yardstick else {}
    rows: list[tuple[str, ...]] = []
    for each in found.situations:
        read = f"{each.work}; {each.requests} requests, {each.megabytes:.0f} MB"
        rows.append((each.name, read, "bare", *_cost_cells(each.bare), "", ""))
        scaled = _scaled(known[each.name].yardstick, times) if each.name in known else None
        if slow := each.straightforward:
            rows.append(("", "", "straightforward", *_cost_cells(slow), "", ""))
        elif slow := scaled:
            told = (f"({slow.wall:.0f} s)", f"({slow.cpu:.0f} s)", f"({slow.memory:.0f} MB)")
            rows.append(("", "", "straightforward, scaled", *told, "", ""))
        ours = (*_cost_cells(each.ours, each.slowest), _speed_cell(each.speed))
        rows.append(("", "", "**pdsync**", *ours, _goals(each, slow)))
        of_bare = (f"x{each.ours.wall / each.bare.wall:.1f}", f"x{each.ours.cpu / each.bare.cpu:.1f}")
        rows.append(("", "", "against bare", *of_bare, f"x{each.ours.memory / each.bare.memory:.1f}", "", ""))
    return "\n\n".join(
        (
            f"## {found.size.incidents:,} incidents and {found.size.services:,} services",
            _SCALE.format(times=times, yardstick=GOAL_YARDSTICK),
            _table(("situation", "the plan", "", "wall", "CPU", "peak memory", "machine", "goals"), rows),
        )
    )


def limited_section(found: Sequence[Limited]) -> str:
    """The table of plans under a limit."""
    pace = found[0].pace
    columns = ("company", "situation", "requests", "least", "wall", "CPU", "peak memory", "machine", "against least")
    return "\n\n".join(
        (
            "## Under PagerDuty's limit",
            _LIMITED.format(latency=pace.latency, per_minute=pace.per_minute),
            _table(columns, [_limited_row(each) for each in found]),
        )
    )


def _limited_row(found: Limited) -> tuple[str, ...]:
    ratio = found.cost.wall / found.least
    return (
        f"{found.size.incidents:,} incidents, {found.size.services:,} services",
        found.name,
        str(found.requests),
        f"{found.least:.1f} s",
        *_cost_cells(found.cost, found.slowest),
        _speed_cell(found.speed),
        f"**x{ratio:.2f}** (goal x{LIMIT_GOAL}: {_kept(ratio <= LIMIT_GOAL)})",
    )


def journal_section(found: Journalled) -> str:
    """The table of what the journal costs an apply."""
    told = {
        "changes": found.changes,
        "latency": found.pace.latency,
        "rounds": len(found.ways[0].costs),
        "sync": found.sync * 1000,
    }
    return "\n\n".join(
        (
            "## The journal",
            _JOURNAL.format(**told),
            _table(
                ("journal", "wall", "CPU", "appends", "spent on it", f"of the wall time (goal < {JOURNAL_GOAL:.0%})"),
                [_journal_row(way) for way in found.ways],
            ),
        )
    )


def _journal_row(way: Way) -> tuple[str, ...]:
    cost, spent = way.costs[way.best], way.seconds[way.best]
    share = f"{way.share:.1%}: {_kept(way.share < JOURNAL_GOAL)}"
    return (
        way.name,
        f"{cost.wall:.2f} s",
        f"{cost.cpu:.2f} s",
        str(way.appends[way.best]),
        f"{spent * 1000:.0f} ms",
        share,
    )


def _records(size: Size) -> int:
    return size.incidents + size.services


def _cost_cells(cost: Cost, slowest: float = 0.0) -> tuple[str, str, str]:
    wall = f"{cost.wall:.1f} s" + (f" ({slowest:.1f} s)" if slowest else "")
    return wall, f"{cost.cpu:.1f} s", f"{cost.memory:.0f} MB"


def _speed_cell(speed: float) -> str:
    return f"{speed:.0f} MB/s" if speed else ""


def _scaled(costs: Sequence[Cost], times: float) -> Cost:
    return Cost(*(median(getattr(cost, what) for cost in costs) * times for what in ("wall", "cpu", "memory")))


def _goals(found: Measured, slow: Cost | None) -> str:
    seconds, megabytes = SCALE_GOALS.get(found.name, (None, None))
    wall, memory, told = found.ours.wall, found.ours.memory, []
    if seconds:
        told.append(f"< {seconds:g} s: {_kept(wall < seconds)}")
    if seconds and slow:
        asked, have = GOAL_YARDSTICK / seconds, slow.wall / wall
        told.append(f"x{asked:g} as fast as straightforward: x{have:.1f}, {_kept(have > asked)}")
    if megabytes:
        told.append(f"< {megabytes:g} MB: {_kept(memory < megabytes)}")
    return ", ".join(told)


def _kept(is_kept: bool) -> str:  # noqa: FBT001
    return "kept" if is_kept else "**missed**"


# --- start-up --------------------------------------------------------------------------------------------------


def startup_section(found: Sequence[Started]) -> str:
    """The table of start-up times."""
    rows = [_startup_row(started) for started in found]
    return "\n\n".join(
        (
            "## Start-up",
            f"Wall time of a fresh process through the console script, {len(found[0].costs)} rounds.",
            _table(("command", "median", "fastest", "slowest", "CPU, median", "goal"), rows),
        )
    )


def rendering_section(found: Sequence[Rendered]) -> str:
    """The table of a large plan's formats."""
    rows = [
        (one.name, f"{one.seconds:.2f} s", f"{one.size:,} bytes", "kept" if one.seconds < MOST else "**missed**")
        for one in found
    ]
    changes = ", ".join(f"{count:,} {action}s" for action, count in CHANGES.items())
    return "\n\n".join(
        (
            "## A large plan in every format",
            f"{changes}, no two alike. CPU seconds of rendering alone, the fastest of three.",
            _table(("format", "CPU", "size", f"goal < {MOST:g} s"), rows),
        )
    )


def _startup_row(started: Started) -> tuple[str, ...]:
    walls = [cost.wall * 1000 for cost in started.costs]
    cpu = median(cost.cpu for cost in started.costs) * 1000
    goal = started.command.goal
    kept = "" if goal is None else f"< {goal} ms: {'kept' if started.milliseconds < goal else '**missed**'}"
    name = started.command.name
    return name, f"{started.milliseconds:.0f} ms", f"{min(walls):.0f} ms", f"{max(walls):.0f} ms", f"{cpu:.0f} ms", kept


# --- against the yardstick -------------------------------------------------------------------------------------


def contest_section(found: Contest) -> str:
    """The tables of a contest: what it cost, and where the time went."""
    company = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in found.records.items())
    costs = [row for situation in found.situations for row in _cost_rows(situation)]
    return "\n\n".join(
        (
            "## A plan, against the straightforward pipeline",
            f"The company: {company}. {_CONTEST}",
            _table(("situation", "the plan", "", "wall", "CPU", "peak memory"), costs),
            f"Medians of {len(found.situations[0].ours)} rounds. {_COSTS}",
            "### Where the time goes",
            _PHASES,
            _phase_table(found.situations),
        )
    )


def _cost_rows(situation: Situation) -> list[tuple[str, ...]]:
    ratio = situation.ratio("wall")
    kept = f"**x{ratio:.1f}**" + ("" if ratio >= GOAL else f" (goal x{GOAL:.0f} missed)")
    return [
        (situation.name, situation.work, "straightforward", *_cells(situation, "yardstick")),
        ("", "", "pdsync", *_cells(situation, "ours")),
        ("", "", "ratio", kept, f"x{situation.ratio('cpu'):.1f}", f"x{situation.ratio('memory'):.2f}"),
    ]


def _cells(situation: Situation, who: str) -> tuple[str, ...]:
    costs = getattr(situation, who)
    walls = [cost.wall for cost in costs]
    cpu, memory = (median(getattr(cost, what) for cost in costs) for what in ("cpu", "memory"))
    spread = f"{median(walls):.2f} s ({min(walls):.2f} to {max(walls):.2f})"
    return spread, f"{cpu:.2f} s", f"{memory:.0f} MB"


def _phase_table(situations: Sequence[Situation]) -> str:
    """A line for each pipeline and situation, a column for each phase that either has."""
    lines = [(s.name, who, _medians(rounds)) for s in situations for who, rounds in _phases(s)]
    names = list(dict.fromkeys(name for _, _, phases in reversed(lines) for name in phases))
    rows = [
        (name, who, *(f"{phases[phase]:.2f}" if phase in phases else "" for phase in names))
        for name, who, phases in lines
    ]
    return _table(("situation", "", *names), rows)


def _phases(situation: Situation) -> list[tuple[str, list[dict[str, float]]]]:
    return [("straightforward", situation.yardstick_phases), ("pdsync", situation.our_phases)]


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: median(phases[name] for phases in rounds) for name in rounds[0]}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))
