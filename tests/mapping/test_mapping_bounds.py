"""Run-away programs end in a clear error, the environment is closed, and no process is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest

from pdsync.errors import MappingError
from pdsync.jq.frames import TIME_IS_UP
from pdsync.jq.pool import JqLimits, Pool, Worker, end_all
from pdsync.jq.problems import OUT_OF_MEMORY
from pdsync.mapping import map_entities
from tests.mapping.builders import HEAVY, record, rule, snapshot, too_slow_together

_ROOT = Path(__file__).parent.parent.parent
_QUICK = JqLimits(seconds=0.2)
_SMALL = JqLimits(seconds=60, memory=400 << 20)
_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or needs a bound on the address space")

ENDLESS = [
    "last(while(true; .))",
    "until(false; .)",
    "[repeat(1)]",
    "def f: f; f",
    "empty, (while(true; .) | empty)",
]


@pytest.mark.parametrize("expression", ENDLESS)
def test_endless_expression_is_named(expression: str) -> None:
    """An expression without an end costs its own field in its own records; all else is mapped."""
    bad = f"if .bad then ({expression}) else .id end"
    world = snapshot(*({"id": f"s{n}", "bad": n == 2} for n in range(6)))
    got = map_entities([rule({"title": ".id", "properties.x": bad})], world, limits=_QUICK)
    assert [f"s{n}" for n in range(6)] == [key.identifier for key in got.entities]
    assert [entity.source for entity in got.entities.values() if entity.unknown] == ["services/P2"]
    [problem] = got.diagnostics
    assert (problem.code, problem.records) == ("PD203", ("services/P2",))
    assert problem.origin is not None
    assert (5, bad) == (problem.origin.line, problem.origin.text)
    assert got.failed == {}


@_linux
@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("def f: 1 + f; f", "PD204"),
        ('reduce range(100) as $i ("x"; . + .)', "PD204"),
        ("reduce range(1000000) as $i (null; [.])", "PD205"),
    ],
)
def test_memory_bomb_is_named(expression: str, code: str) -> None:
    """An expression that takes all memory, or brings libjq down, is told apart from one that takes all time."""
    bomb = f"if .bad then ({expression}) else 1 end"
    got = map_entities(
        [rule({"properties.x": bomb, "title": ".id"})], snapshot({"id": "a"}, {"id": "b", "bad": True}), limits=_SMALL
    )
    assert [(code, ("services/P1",))] == [(d.code, d.records) for d in got.diagnostics]
    assert [key.identifier for key in got.entities] == ["a", "b"]


def test_expression_that_stops_often_is_given_up() -> None:
    """After a few stops the expression is not tried again, for any record: the outcome hangs on no order."""
    world = snapshot(*({"id": f"s{n}", "bad": n % 100 >= 90} for n in range(300)))
    bad = rule({"properties.x": "if .bad then last(repeat(1)) else 1 end", "title": ".id"})
    got = map_entities([bad], world, limits=_QUICK)
    assert {"properties.x"} == set.union(*(set(entity.unknown) for entity in got.entities.values()))
    assert all(entity.unknown and entity.fields == {"title": key.identifier} for key, entity in got.entities.items())
    assert len(got.entities) == 300
    [problem] = got.diagnostics
    assert (problem.code, len(problem.records)) == ("PD203", 3)


@pytest.mark.parametrize("place", ["selector", "identifier", "blueprint", "items"])
def test_endless_key_expression_fails_the_records(place: str) -> None:
    """Without selector, identifier, blueprint or items nothing is known of a record: it is failed, not absent."""
    bad = rule({"title": ".id"}, **{place: "last(repeat(1))"})  # type: ignore[arg-type]
    got = map_entities([bad, rule({"title": ".id"}, number=1)], snapshot({"id": "a"}, {"id": "b"}), limits=_QUICK)
    assert list(got.failed) == ["services/P0", "services/P1"]
    assert all(place in reason and "stopped after 0.2 s" in reason for reason in got.failed.values())
    assert [key.identifier for key in got.entities] == ["a", "b"]
    assert [problem.code for problem in got.diagnostics] == ["PD203"]


def test_slow_together_but_not_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expressions that only together take too long still give their values."""
    too_slow_together(monkeypatch)
    many = {f"properties.p{n}": f"{HEAVY} | length" for n in range(24)}
    [(_, entity)] = map_entities([rule(many)], snapshot({"id": "a"})).entities.items()
    assert dict.fromkeys(many, 1) == entity.fields


def test_environment_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No expression can bring a variable of the environment into an entity."""
    monkeypatch.setenv("PAGERDUTY_TOKEN", "u+secret")
    ways = [
        "env.PAGERDUTY_TOKEN",
        "$ENV.PAGERDUTY_TOKEN",
        "env | tostring",
        '"\\(env)"',
        "$ENV | tojson",
        "[$ENV, env]",
    ]
    mapping = rule({f"properties.p{n}": way for n, way in enumerate(ways)})
    got = map_entities([mapping], snapshot({"id": "a"}))
    [entity] = got.entities.values()
    assert entity.fields == {}
    assert {"PD202"} == {d.code for d in got.diagnostics}
    assert "u+secret" not in repr(got)


def test_rule_is_given_up_when_no_expression_alone_is_to_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    """When only all expressions together take too long, and often, the records fail: the rule must not take for ever."""
    too_slow_together(monkeypatch)
    mapping = rule({f"properties.p{n}": HEAVY for n in range(80)})
    desired = map_entities([mapping], snapshot({"id": "a"}, {"id": "b"}), limits=JqLimits(stops=1))
    assert list(desired.failed) == ["services/P0", "services/P1"]
    assert desired.entities == {}
    assert [(d.code, d.records) for d in desired.diagnostics] == [("PD203", ("services/P0",))]


@_linux
def test_worker_starts_without_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the memory of the worker holds a token: it never had one."""
    monkeypatch.setenv("PAGERDUTY_TOKEN", "u+secret")
    with Pool(1, JqLimits()) as pool:
        pool.compile(["1"])
        inherited = Path(f"/proc/{_pid(pool)}/environ").read_bytes()
    assert b"u+secret" not in inherited
    assert b"PAGERDUTY" not in inherited


def test_worker_outlives_ctrl_c() -> None:
    """Ctrl-C reaches the whole process group; when workers end is the parent's decision."""
    with Pool(1, JqLimits()) as pool:
        pool.compile(["1"])
        os.kill(_pid(pool), signal.SIGINT)
        assert pool.run(".a", [record({"a": [1]})]) == ([b"[1]"], None)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_nothing_is_left_after_an_interrupt() -> None:
    """An exception in the block kills and buries every worker, busy ones too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
    pool = Pool(2, JqLimits(seconds=600))
    with contextlib.suppress(KeyboardInterrupt), pool:
        pool.compile(["1"])
        processes = [worker._process for worker in pool._workers if worker._process]
        answers = pool.in_order(partial(pool.run, "last(repeat(1))"), [[record({})], [record({})], [record({})]])
        threading.Timer(0.2, _interrupt_main_thread).start()
        list(answers)
    assert all(process.returncode is not None for process in processes)
    assert all(worker._process is None for worker in pool._workers)


def _interrupt_main_thread() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_program_and_workers(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a run-away expression ends the program and leaves no worker."""
    program = f"""
import sys; sys.path.insert(0, {str(_ROOT)!r})
from tests.mapping.builders import rule, snapshot
from pdsync.jq import pool
from pdsync.mapping import JqLimits, map_entities
spawn = pool._spawn
def spawn_and_tell(module):
    process = spawn(module)
    print(process.pid, flush=True)
    return process
pool._spawn = spawn_and_tell
map_entities([rule({{"title": "last(repeat(1))"}})], snapshot({{"id": "a"}}), limits=JqLimits(seconds=600))
"""
    script = tmp_path / "unguarded.py"
    script.write_text(program)
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    time.sleep(0.5)  # until the worker is in the middle of it
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in said
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.parametrize("way", ["script", "-c", "stdin"])
def test_works_from_an_unguarded_main(way: str, tmp_path: Path) -> None:
    """The caller's main module is not run again, so it needs no guard, wherever it comes from."""
    program = f"""
import sys; sys.path.insert(0, {str(_ROOT)!r})
from tests.mapping.builders import rule, snapshot
from pdsync.jq.problems import OUT_OF_MEMORY
from pdsync.mapping import map_entities
print([str(key) for key in map_entities([rule()], snapshot({{"id": "a"}})).entities])
"""
    script = tmp_path / "main.py"
    script.write_text(program)
    arguments = {"script": [str(script)], "-c": ["-c", program], "stdin": ["-"]}[way]
    done = subprocess.run([sys.executable, *arguments], input=program.encode(), capture_output=True, check=False)
    assert (done.stdout.replace(b"\r", b""), done.stderr) == (b"['service/a']\n", b"")


def test_worker_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that cannot evaluate jq is an error that says so."""
    monkeypatch.setattr(sys, "executable", sys.executable + "-missing")
    with pytest.raises(MappingError) as caught:
        map_entities([rule()], snapshot({"id": "a"}))
    assert [d.code for d in caught.value.diagnostics] == ["PD290"]


def test_worker_that_dies_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the worker said before it died is in the message."""
    monkeypatch.setattr(sys, "path", ["/nowhere"])
    with pytest.raises(MappingError) as caught:
        Worker(JqLimits()).compile(["1"])
    assert "No module named" in caught.value.diagnostics[0].detail


def _pid(pool: Pool) -> int:
    [process] = [worker._process for worker in pool._workers if worker._process]
    return process.pid


def test_who_ends_without_waiting_leaves_no_worker_behind() -> None:
    """One that is at work is killed in the middle of it, not left to its bound on time."""
    worker = Worker(JqLimits(seconds=60))
    assert worker.compile(["."]) == [None]
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(worker.run, "last(while(true; .))", [record({"id": "P1"})])
        end_all()
        answers, stop = running.result()
    assert (answers, stop is not None and stop.code) == ([], OUT_OF_MEMORY)
    worker.close()


def _ended(lines: str) -> tuple[int, str]:
    """The exit status of a process that runs this, and what it said."""
    done = subprocess.run([sys.executable, "-c", dedent(lines)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no timer of processor time")
def test_who_waits_is_not_stopped() -> None:
    """Processor time counts: on a machine that stalls, an innocent expression is not blamed."""
    lines = """
        import signal, time
        from pdsync.jq.worker import watchdog
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF})  # as whoever starts the process may have it
        bound = watchdog(0.1)
        bound.watch()
        time.sleep(0.3)
        print("waited", flush=True)
        bound.rest()
        bound.watch()
        while True:
            pass
    """
    assert _ended(lines) == (TIME_IS_UP, "waited\n")


def test_without_such_a_timer_the_clock_counts() -> None:
    """As on Windows."""
    lines = """
        from pdsync.jq.worker import ClockWatchdog
        bound = ClockWatchdog(0.05)
        bound.watch()
        bound.rest()
        bound.watch()
        while True:
            pass
    """
    code, said = _ended(lines)
    assert (code, "Timeout" in said) == (1, True)
