"""What is planned is not looked through for garbage, and becomes garbage like anything else."""

from __future__ import annotations

import gc
import weakref

import pytest

from pdsync import garbage


class Node:
    """Something that holds itself."""

    def __init__(self) -> None:
        self.itself = self


def made() -> weakref.ref[Node]:
    return weakref.ref(Node())


def test_nothing_is_looked_for_meanwhile_nor_among_that_afterwards() -> None:
    """Only what was there before is found, and at the end the collector is as it was."""
    before = made()
    with garbage.put_off():
        meanwhile, many = made(), [[n] for n in range(200_000)]
        assert before() is None
        assert not gc.isenabled()
    gc.collect()
    assert gc.isenabled()
    assert (meanwhile() is not None, len(many)) == (True, 200_000)
    with garbage.put_off():
        assert meanwhile() is None
    gc.unfreeze()


def test_what_is_little_is_not_put_aside() -> None:
    """Then looking through it costs nothing, and all that has been there for long would be looked through with it."""
    with garbage.put_off():
        meanwhile = made()
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert meanwhile() is None


def test_what_an_error_leaves_is_found_as_ever() -> None:
    """A plan that failed is not kept for good."""
    left: list[weakref.ref[Node]] = []

    def failing() -> None:
        with garbage.put_off():
            left.append(made())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert gc.isenabled()
    gc.collect()
    assert left[0]() is None


def test_who_has_switched_it_off_keeps_it_off() -> None:
    """It is somebody else's then."""
    gc.disable()
    try:
        with garbage.put_off():
            assert not gc.isenabled()
        assert not gc.isenabled()
        assert gc.get_freeze_count() == 0
    finally:
        gc.enable()
