"""Every registered scheme keeps the contract, on shot tables of odd sizes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from _contracts import SCHEME_CONTRACT, long_tables, shot_tables, suited_tables
from numpy.typing import NDArray

from scanwise.design import (
    ANY_SHOTS,
    B_VALUES,
    DYNAMIC_LINES,
    FRAMES,
    LINES,
    PHASE_ENCODES,
    SPOKES,
    VIEWS,
    Parameter,
    Scheme,
    Setting,
    ShotTable,
    Whole,
    make_scheme,
    schemes,
)
from scanwise.modalities import load_all

load_all()


EVERY_COMBINATION = {"averages", "subset"}
"""Schemes that list every combination of shots: for short tables."""

CASES = [
    pytest.param(name, shots, id=f"{name}, {table}")
    for name in sorted(schemes())
    for table, shots in {**shot_tables(), **long_tables(), **suited_tables(make_scheme(name))}.items()
    if make_scheme(name).kind.suits(shots) and not (name in EVERY_COMBINATION and len(shots) > 7)
]


@pytest.mark.parametrize("check", SCHEME_CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "shots"), CASES)
def test_scheme(name, shots, check):
    check(make_scheme(name), shots)


@pytest.mark.parametrize("name", sorted(schemes()))
def test_every_scheme_meets_tables_of_one_two_and_seven_shots_and_more(name):
    sizes = {len(case.values[1]) for case in CASES if case.values[0] == name}

    assert sizes >= {1, 2, 7}
    assert max(sizes) > 20 or name in EVERY_COMBINATION


def test_there_are_schemes_of_every_kind():
    kinds = {cls.kind for cls in schemes().values()}

    assert kinds == {ANY_SHOTS, B_VALUES, LINES, FRAMES, PHASE_ENCODES, DYNAMIC_LINES, SPOKES, VIEWS}
    assert len(schemes()) >= 17


class FirstN(Scheme):
    """A scheme that keeps the contract, to be broken below."""

    name = "first_n"

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        return (Parameter("n", low=1, high=len(shots), integer=True),)

    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        yield from ({"n": n} for n in range(1, len(shots) + 1))

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return (np.arange(len(shots)) < int(setting["n"])).astype(np.int64)


class TooOften(FirstN):
    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return 1 + shots.max_count


class Fractions(FirstN):
    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return super()._counts(shots, setting).astype(np.float64)


class Twice(FirstN):
    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        yield from ({"n": 1}, {"n": 1})


class Unchecked(FirstN):
    def counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return self._counts(shots, {"n": 1, **setting})


class Forgetful(FirstN):
    calls = 0

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        type(self).calls += 1
        return np.full(len(shots), type(self).calls % 2, dtype=np.int64)


class Short(FirstN):
    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return super()._counts(shots, {"n": max(1, int(setting["n"]) - 1)})


class Backwards(FirstN):
    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return super()._counts(shots, {"n": len(shots) + 1 - int(setting["n"])})


class Gamble(FirstN):
    """The seed decides on the length."""

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        return (Parameter("seed", low=0, high=99, integer=True),)

    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        yield {"seed": 0}

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return super()._counts(shots, {"n": 1 + int(setting["seed"]) % len(shots)})


class Lenient(FirstN):
    """Made for frames, and takes anything."""

    kind = FRAMES

    def check(self, shots: ShotTable) -> None:
        pass


class Hollow(FirstN):
    """Promises a centre of three shots and takes them by chance."""

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        return (Parameter("centre", low=0.0, high=1.0), Parameter("seed", low=0, high=99, integer=True))

    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        yield {"centre": 0.5, "seed": 0}

    def centre_size(self, shots: ShotTable, setting: Setting) -> int:
        return 3

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return np.roll(super()._counts(shots, {"n": 4}), int(setting["seed"]))


class Stubborn(Gamble):
    """The seed does nothing."""

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return super()._counts(shots, {"seed": 0})


@pytest.mark.parametrize("shots", shot_tables().values(), ids=shot_tables())
def test_a_sound_scheme_passes(shots):
    for check in SCHEME_CONTRACT:
        check(FirstN(), shots)


@pytest.mark.parametrize(
    ("broken", "by"),
    [
        (TooOften, "check_counts"),
        (Fractions, "check_counts"),
        (Twice, "check_lattice"),
        (Unchecked, "check_parameters"),
        (Forgetful, "check_repeatable"),
        (Short, "check_exact_length"),
        (Backwards, "check_monotone_in_length"),
        (Gamble, "check_seed"),
        (Stubborn, "check_seed"),
        (Lenient, "check_kind"),
        (Hollow, "check_centre"),
    ],
)
def test_the_contract_finds_what_is_broken(broken, by):
    check = next(check for check in SCHEME_CONTRACT if check.__name__ == by)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(broken(), ShotTable.build([f"k{index}" for index in range(13)], max_count=3))


def test_whole_takes_every_shot_whatever_the_size():
    for shots in shot_tables().values():
        assert Whole().counts(shots, {}).tolist() == [1] * len(shots)
