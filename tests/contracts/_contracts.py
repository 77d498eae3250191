"""What every modality and every scheme must do: plain functions that take an instance and raise `AssertionError`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from scanwise.design import (
    PHASE_ENCODES,
    Cost,
    Measurement,
    Menu,
    Modality,
    Parameter,
    Protocol,
    Scheme,
    Setting,
    Setup,
    ShotTable,
)
from scanwise.design.scheme import Value
from scanwise.errors import ScanwiseError

N_PATIENTS = (1, 5)
"""Sizes of the batches that are measured: one patient, and several."""


def shot_tables() -> dict[str, ShotTable]:
    """Return tables of odd sizes: one shot, a few, and a prime number, with and without averages."""
    return {
        "1 shot": ShotTable.build(["only"]),
        "2 shots": ShotTable.build(["b50", "b800"], max_count=[4, 9], what={"standard": np.array([2, 6])}),
        "3 shots": ShotTable.build(["k0", "k1", "k2"], seconds=[1.0, 2.0, 4.0]),
        "7 shots": ShotTable.build([f"b{index}" for index in range(7)], money=2.0, max_count=3),
    }


def long_tables() -> dict[str, ShotTable]:
    """Return tables of lines and frames: odd and even, with echo trains that divide the matrix and that do not."""

    def lines(n: int, train_length: int) -> ShotTable:
        what = {"train_length": np.full(n, train_length)} if train_length else {}
        return ShotTable.build([f"k{index}" for index in range(n)], seconds=0.5, what=what)

    return {
        "33 lines": lines(33, 0),
        "24 lines in trains of 4": lines(24, 4),
        "26 lines in trains of 8": lines(26, 8),
        "5 lines in trains of 9": lines(5, 9),
        "12 frames": ShotTable.build(
            [f"frame{index}" for index in range(12)], seconds=15.0, what={"baseline": np.arange(12) < 2}
        ),
    }


def suited_tables(scheme: Scheme) -> dict[str, ShotTable]:
    """Return tables of 1, 2, 7 and more shots of the kind a scheme is made for, sizes odd and even, order mixed up."""
    sizes = {1: [(1,), (2,), (7,), (31,)], 2: [(1, 1), (1, 2), (2, 1), (7, 1), (1, 7), (9, 5), (6, 14)]}
    tables = {}
    for size in sizes[len(scheme.kind.axes)]:
        plain = scheme.kind.plain_table(size, seconds=2.0, money=0.5, msv=0.01)
        tables["x".join(map(str, size))] = plain
    mixed = np.random.default_rng(41).permutation(len(plain))
    what = {column: values[mixed] for column, values in plain.what.items()}
    names = [plain.names[shot] for shot in mixed]
    tables["mixed up"] = ShotTable.build(names, seconds=2.0, what=what)
    if scheme.kind is PHASE_ENCODES:
        inside = np.hypot(*(np.indices((13, 8)) - np.array([6, 4])[:, None, None]) / [[[6.5]], [[4.0]]]).ravel() <= 1
        what = {axis: index.ravel()[inside] for axis, index in zip(("ky", "kz"), np.indices((13, 8)), strict=True)}
        tables["ellipse"] = ShotTable.build([f"p{shot}" for shot in range(int(inside.sum()))], money=1.0, what=what)
    if scheme.kind.columns == ("angle_rad",):
        angles = np.linspace(0, np.pi, 24, endpoint=False)
        tables["half a turn"] = ShotTable.build([f"a{shot}" for shot in range(24)], what={"angle_rad": angles})
        tables["tube output"] = ShotTable.build(
            [f"a{shot}" for shot in range(24)], max_count=6, what={"angle_rad": angles, "standard": np.full(24, 4)}
        )
    return tables


def random_setting(scheme: Scheme, shots: ShotTable, rng: np.random.Generator) -> Setting:
    """Draw every parameter from its range, bounds included."""
    setting: dict[str, Value] = {}
    for parameter in scheme.parameters(shots):
        if parameter.choices:
            setting[parameter.name] = parameter.choices[rng.integers(len(parameter.choices))]
        elif parameter.integer:
            setting[parameter.name] = int(rng.integers(int(parameter.low), int(parameter.high) + 1))
        else:
            setting[parameter.name] = float(
                rng.choice([parameter.low, parameter.high, rng.uniform(parameter.low, parameter.high)])
            )
    return setting


def outside(parameter: Parameter) -> list[Value]:
    """Return values one step outside the range of a parameter, and of the wrong kind."""
    if parameter.choices:
        return ["no such choice", 0.5]
    step = 1 if parameter.integer else 1e-6 * max(1.0, parameter.high - parameter.low)
    values: list[Value] = [parameter.low - step, parameter.high + step, float("nan"), "text"]
    return [*values, parameter.low + 0.5] if parameter.integer else values


# ---- schemes


def check_counts(scheme: Scheme, shots: ShotTable) -> None:
    """Counts are whole numbers in ``[0, max_count]``, one per shot, on the lattice and between its points."""
    rng = np.random.default_rng(17)
    lattice = list(scheme.settings(shots))
    assert lattice, "there is at least one setting"
    for setting in [*lattice, *(random_setting(scheme, shots, rng) for _ in range(20))]:
        counts = scheme.counts(shots, setting)
        assert counts.shape == (len(shots),)
        assert counts.dtype == np.int64
        assert ((counts >= 0) & (counts <= shots.max_count)).all()


def check_lattice(scheme: Scheme, shots: ShotTable) -> None:
    """Every setting of the lattice takes something, and no two take the same."""
    counts = [tuple(scheme.counts(shots, setting)) for setting in scheme.settings(shots)]
    assert len(set(counts)) == len(counts)
    assert all(any(row) for row in counts)


def check_parameters(scheme: Scheme, shots: ShotTable) -> None:
    """A parameter out of range, unknown or missing is refused by its name; names are unique."""
    parameters = scheme.parameters(shots)
    assert len({parameter.name for parameter in parameters}) == len(parameters)
    setting = dict(next(iter(scheme.settings(shots))))
    assert set(setting) == {parameter.name for parameter in parameters}
    with pytest.raises(ScanwiseError, match="has no parameter 'no_such_parameter'"):
        scheme.counts(shots, {**setting, "no_such_parameter": 1})
    for parameter in parameters:
        for value in outside(parameter):
            with pytest.raises(ScanwiseError, match=rf"^{re.escape(parameter.name)} must be"):
                scheme.counts(shots, {**setting, parameter.name: value})
        rest = {name: value for name, value in setting.items() if name != parameter.name}
        with pytest.raises(ScanwiseError, match=f"needs a value for {re.escape(repr(parameter.name))}"):
            scheme.counts(shots, rest)


def check_repeatable(scheme: Scheme, shots: ShotTable) -> None:
    """The same setting gives the same counts, whichever instance is asked and whatever was asked before."""
    again = type(scheme)()
    lattice = list(scheme.settings(shots))
    assert lattice == list(again.settings(shots))
    first = [scheme.counts(shots, setting).tolist() for setting in lattice]
    second = [again.counts(shots, setting).tolist() for setting in reversed(lattice)]
    assert first == second[::-1]


def promised(shots: ShotTable, setting: Setting) -> set[int] | None:
    """Return how many shots a setting may take, `None` where the names of its parameters say nothing of it.

    These names mean the same in every scheme: "acceleration", "fraction", "n" with or without "spacing", "output" for
    how often each of them is taken, and names of shots for their counts.
    """
    if "output" in setting:
        once = promised(shots, {name: value for name, value in setting.items() if name != "output"})
        return None if once is None else {int(setting["output"]) * number for number in once}
    n = len(shots)
    train = int(shots.what.get("train_length", np.ones(1))[0])
    whole_trains = [min(number * train, n) for number in range(1, n + 1)]
    if set(setting) == set(shots.names):
        return {sum(int(value) for value in setting.values())}
    if "acceleration" in setting:
        off = [abs(lines - n / float(setting["acceleration"])) for lines in whole_trains]
        return {lines for lines, error in zip(whole_trains, off, strict=True) if error <= min(off) + 1e-9}
    if "fraction" in setting:
        return {min(lines for lines in whole_trains if lines >= float(setting["fraction"]) * n - 1e-9)}
    if "n" in setting:
        before_contrast = max(1, int(np.sum(shots.what.get("baseline", 0))))
        later = max(0, int(setting["n"]) - before_contrast)
        return {before_contrast + later // int(setting.get("spacing", 1))}
    return None


def check_exact_length(scheme: Scheme, shots: ShotTable) -> None:
    """A setting takes exactly as many shots as it says, on the lattice and between its points."""
    rng = np.random.default_rng(23)
    for setting in [*scheme.settings(shots), *(random_setting(scheme, shots, rng) for _ in range(20))]:
        lengths = promised(shots, setting)
        assert lengths is None or scheme.counts(shots, setting).sum() in lengths


LONGER: dict[str, int] = {"acceleration": -1, "fraction": 1, "n": 1, "spacing": -1, "output": 1}
"""Which way a parameter lengthens an acquisition; that of a shot does so with its count."""


def check_monotone_in_length(scheme: Scheme, shots: ShotTable) -> None:
    """A parameter that asks for more never takes fewer shots."""
    rng = np.random.default_rng(29)
    for parameter in scheme.parameters(shots):
        direction = LONGER.get(parameter.name, 1 if parameter.name in shots.names else 0)
        values = np.linspace(parameter.low, parameter.high, 33)[::direction] if direction else []
        for _ in range(3):
            rest = random_setting(scheme, shots, rng)
            steps: list[Value] = [round(value) if parameter.integer else float(value) for value in values]
            totals = [int(scheme.counts(shots, {**rest, parameter.name: value}).sum()) for value in steps]
            assert totals == sorted(totals)


def check_seed(scheme: Scheme, shots: ShotTable) -> None:
    """A seed changes which shots are taken, not how many."""
    if "seed" not in {parameter.name for parameter in scheme.parameters(shots)}:
        return
    for setting in scheme.settings(shots):
        counts = [scheme.counts(shots, {**setting, "seed": seed}) for seed in range(20)]
        assert len({int(row.sum()) for row in counts}) == 1
    rng = np.random.default_rng(31)
    settings = [random_setting(scheme, shots, rng) for _ in range(20)]
    varied = {len({scheme.counts(shots, {**one, "seed": seed}).tobytes() for seed in range(20)}) for one in settings}
    assert max(varied) > 1 or len(shots) < 10, "a few shots may leave no choice"


def check_price_of_pattern(scheme: Scheme, shots: ShotTable) -> None:
    """A pattern has the price of its shots and one set-up, whatever the setting."""
    needed = ShotTable.build(
        shots.names, seconds=3.0, money=2.0, setups=["room"], max_count=shots.max_count.tolist(), what=shots.what
    )
    menu = Menu([_Priced(needed, scheme)], [Setup("room", Cost(money=5.0))])
    for setting in scheme.settings(needed):
        counts = scheme.counts(needed, setting)
        cost = menu.price(Protocol({"priced": counts}))
        assert cost.money == pytest.approx(5.0 + 2.0 * counts.sum())
        assert cost.minutes == pytest.approx(3.0 / 60.0 * counts.sum())


def check_kind(scheme: Scheme, shots: ShotTable) -> None:
    """A table that lacks a column, or has one that tells it is something else, is refused by name."""
    setting = next(iter(scheme.settings(shots)))
    columns = scheme.kind.columns
    lacking = {column: shots.what[column] for column in columns[1:]}
    foreign = {column: np.arange(len(shots)) for column in scheme.kind.foreign[:1]}
    for what in [lacking] * bool(columns) + [{**shots.what, **foreign}] * bool(foreign):
        with pytest.raises(ScanwiseError, match=rf"scheme '{scheme.name}' is for {scheme.kind.name}: (?s:.*)->"):
            scheme.counts(ShotTable.build(shots.names, what=what), setting)


def check_centre(scheme: Scheme, shots: ShotTable) -> None:
    """A centre that fits is fully sampled: of its size, at least one shot, and taken whatever the seed."""
    rng = np.random.default_rng(37)
    for setting in (random_setting(scheme, shots, rng) for _ in range(20)):
        size = scheme.centre_size(shots, setting)
        assert (size >= 1) == ("centre" in setting)
        assert size <= len(shots)
        if 0 < size <= scheme.counts(shots, setting).sum():
            seeds = range(20 if "seed" in setting else 1)
            drawn = [scheme.counts(shots, {**setting, "seed": seed} if len(seeds) > 1 else setting) for seed in seeds]
            assert (np.min(drawn, axis=0) > 0).sum() >= size


class _Priced(Modality):
    """A modality of one scheme, to ask what it costs."""

    name = title = "priced"

    def __init__(self, shots: ShotTable, scheme: Scheme) -> None:
        self.shots, self.schemes = shots, (scheme,)

    @classmethod
    def example(cls) -> _Priced:
        raise NotImplementedError

    def example_data(self, patients: int, seed: int) -> np.ndarray:
        raise NotImplementedError

    def measure(self, data: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> Measurement:
        raise NotImplementedError


SCHEME_CONTRACT: tuple[Callable[[Scheme, ShotTable], None], ...] = (
    check_counts,
    check_lattice,
    check_parameters,
    check_repeatable,
    check_exact_length,
    check_monotone_in_length,
    check_seed,
    check_price_of_pattern,
    check_kind,
    check_centre,
)


# ---- modalities


def examples(kinds: Mapping[str, type[Modality]]) -> tuple[dict[str, Modality], dict[str, str]]:
    """Return an example of every kind that can be made here, and why the others cannot: an extra is not installed."""
    made, missing = {}, {}
    for kind, cls in kinds.items():
        try:
            made[kind] = cls.example()
        except ScanwiseError as error:
            if not error.hint.startswith("pip install scanwise["):
                raise
            missing[kind] = str(error)
    return made, missing


def menu_of(modality: Modality) -> Menu:
    """Return a menu of one modality, all its set-ups priced."""
    needed = sorted({name for row in modality.shots.setups for name in row})
    return Menu([modality], [Setup(name, Cost(money=3.0, minutes=1.0, visits=1.0)) for name in needed])


def measure(modality: Modality, data: np.ndarray, counts: np.ndarray, seed: int = 0) -> Measurement:
    """Measure with a generator of its own."""
    return modality.measure(data, counts, np.random.default_rng(seed))


def everything(modality: Modality) -> np.ndarray:
    """Return every shot once, shape ``(shots,)``."""
    return np.ones(len(modality.shots), dtype=np.int64)


def complete_data(modality: Modality, patients: int) -> np.ndarray:
    """Return data of patients who lack nothing."""
    pool = modality.example_data(60, seed=1)
    complete = ~np.isnan(pool.reshape(60, -1)).any(axis=1)
    assert complete.sum() >= patients, "among 60 example patients a few must be complete"
    return pool[complete][:patients]


def by_shot(modality: Modality, data: np.ndarray) -> bool:
    """Whether the axis after the patients is that of the shots."""
    return data.ndim >= 2 and data.shape[1] == len(modality.shots)


def check_names(modality: Modality) -> None:
    """The name fits into a protocol key, the title is for people, `repr` is one line."""
    protocol = Protocol({modality.name: everything(modality)})
    assert Protocol.from_key(protocol.key) == protocol
    assert modality.title.strip()
    assert modality.schemes
    for thing in (modality, modality.shots, menu_of(modality)):
        assert "\n" not in repr(thing)
        assert len(repr(thing)) <= 120
        assert " object at 0x" not in repr(thing)
    assert modality.describe(modality.standard) == modality.title


def check_schemes(modality: Modality) -> None:
    """Every scheme on offer keeps the contract of schemes on this shot table."""
    for scheme in modality.schemes:
        for check in SCHEME_CONTRACT:
            check(scheme, modality.shots)


def check_price(modality: Modality) -> None:
    """Every setting has a finite price >= 0, and no shot more ever costs less."""
    menu = menu_of(modality)
    for scheme in modality.schemes:
        for setting in scheme.settings(modality.shots):
            counts = scheme.counts(modality.shots, setting)
            cost = menu.price(Protocol({modality.name: counts})).to_array()
            assert np.isfinite(cost).all()
            assert (cost >= 0).all()
            for shot in np.flatnonzero(counts < modality.shots.max_count):
                more = counts + (np.arange(len(counts)) == shot)
                assert (menu.price(Protocol({modality.name: more})).to_array() >= cost).all()


def check_nothing_asked(modality: Modality) -> None:
    """Nothing asked, nothing known: NaN everywhere and counts of 0."""
    for patients in N_PATIENTS:
        data = complete_data(modality, patients)
        measured = measure(modality, data, 0 * everything(modality))
        assert len(measured.data) == patients
        assert np.isnan(measured.data).all()
        np.testing.assert_array_equal(measured.counts, np.zeros((patients, len(modality.shots))))


def check_absent_shots(modality: Modality) -> None:
    """A shot that is not asked for has the count 0 and, where the data have an axis of shots, no value."""
    data = complete_data(modality, 5)
    for shot in range(len(modality.shots)):
        counts = everything(modality)
        counts[shot] = 0
        measured = measure(modality, data, counts)
        np.testing.assert_array_equal(measured.counts, np.tile(counts, (5, 1)))
        if by_shot(modality, data):
            assert np.isnan(measured.data[:, shot]).all()
            assert not np.isnan(measured.data[:, counts > 0]).any()


def check_patient_without_data(modality: Modality) -> None:
    """A patient who lacks the modality, or a shot of it, has NaN and counts of 0 whatever is asked."""
    data = complete_data(modality, 5)
    data[3] = np.nan
    measured = measure(modality, data, everything(modality))
    assert np.isnan(measured.data[3]).all()
    expected = np.ones((5, len(modality.shots)))
    expected[3] = 0
    np.testing.assert_array_equal(measured.counts, expected)
    assert not np.isnan(measured.data[[0, 1, 2, 4]]).any()
    for shot in range(len(modality.shots) if by_shot(modality, data) else 0):
        lacking = complete_data(modality, 2)
        lacking[1, shot] = np.nan
        effective = measure(modality, lacking, everything(modality)).counts
        assert effective[1, shot] == 0
        assert effective.sum() == effective.size - 1


def check_counts_per_patient(modality: Modality) -> None:
    """Patients may have counts of their own; the first shot for one says nothing about the next."""
    data = complete_data(modality, 5)
    counts = np.tile(everything(modality), (5, 1))
    counts[::2, 0] = 0
    together = measure(modality, data, counts)
    np.testing.assert_array_equal(together.counts, counts)
    for row in range(5):
        alone = measure(modality, data[row : row + 1], counts[row])
        np.testing.assert_array_equal(np.isnan(together.data[row]), np.isnan(alone.data[0]))


def check_repeatable_measurement(modality: Modality) -> None:
    """The same seed gives the same example data and the same measurement, another seed other data."""
    data = modality.example_data(5, seed=2)
    assert len(data) == 5
    np.testing.assert_array_equal(data, modality.example_data(5, seed=2))
    assert not np.array_equal(data, modality.example_data(5, seed=3), equal_nan=True)
    first, second = (measure(modality, data, everything(modality), seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.data, second.data)
    np.testing.assert_array_equal(first.counts, second.counts)


def check_input_untouched(modality: Modality) -> None:
    """Measuring changes neither the data nor the counts it was handed, nor hands out a window on them."""
    data, counts = complete_data(modality, 5), everything(modality)
    counts[0] = 0
    before = data.copy(), counts.copy()
    measured = measure(modality, data, counts)
    np.testing.assert_array_equal(data, before[0])
    np.testing.assert_array_equal(counts, before[1])
    assert not np.shares_memory(measured.data, data)
    assert not np.shares_memory(measured.counts, counts)


def check_full_protocol(modality: Modality) -> None:
    """Everything once gives the data as they are, in their shape, and says that everything was taken."""
    for patients in N_PATIENTS:
        data = complete_data(modality, patients)
        measured = measure(modality, data, everything(modality))
        np.testing.assert_allclose(measured.data, data, rtol=1e-5, atol=1e-8)
        np.testing.assert_array_equal(measured.counts, np.ones((patients, len(modality.shots))))
        assert "\n" not in repr(measured)


def check_some_shots(modality: Modality) -> None:
    """Shots that are asked for have their values, whatever else is not asked for."""
    data = complete_data(modality, 5)
    for shot in range(len(modality.shots) if by_shot(modality, data) else 0):
        counts = everything(modality)
        counts[shot] = 0
        measured = measure(modality, data, counts)
        np.testing.assert_array_equal(measured.data[:, counts > 0], data[:, counts > 0])


def check_others_without_data(modality: Modality) -> None:
    """What is measured of a patient does not depend on whether another one lacks the modality."""
    data = complete_data(modality, 5)
    alone = measure(modality, data[:1], everything(modality))
    data[3] = np.nan
    np.testing.assert_allclose(measure(modality, data, everything(modality)).data[:1], alone.data)


MODALITY_CONTRACT: tuple[Callable[[Modality], None], ...] = (
    check_names,
    check_schemes,
    check_price,
    check_nothing_asked,
    check_absent_shots,
    check_patient_without_data,
    check_counts_per_patient,
    check_repeatable_measurement,
    check_input_untouched,
)
"""What holds for every modality, with measurement noise or without."""

NOISE_FREE_CONTRACT: tuple[Callable[[Modality], None], ...] = (
    check_full_protocol,
    check_some_shots,
    check_others_without_data,
)
"""What holds besides where a measurement is the data themselves: tests that have happened already."""
