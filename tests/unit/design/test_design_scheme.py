from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pytest
from design_scenario import Plain, one
from numpy.typing import NDArray

from scanwise.design import (
    Menu,
    Parameter,
    Protocol,
    Scheme,
    Setting,
    ShotTable,
    Subset,
    Whole,
    make_scheme,
    random_protocol,
    register_scheme,
    schemes,
    settings_of,
)
from scanwise.errors import ScanwiseError


class Spread(Scheme):
    """Shots in number, averages, share and direction: one parameter of every kind."""

    name: ClassVar[str] = "spread"

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        return (
            Parameter("n", low=1, high=len(shots), integer=True),
            Parameter("share", low=0.25, high=4.0, log=True),
            Parameter("shift", low=-1.0, high=1.0),
            Parameter("end", choices=("front", "back")),
        )

    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        for n in range(1, len(shots) + 1):
            yield {"n": n, "share": 1.0, "shift": 0.0, "end": "front"}

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        taken = np.arange(len(shots)) < int(setting["n"])
        return (taken if setting["end"] == "front" else taken[::-1]).astype(np.int64)


@pytest.fixture
def clean_registry(monkeypatch) -> dict[str, type[Scheme]]:
    """A registry that is put back afterwards."""
    registry = schemes()
    monkeypatch.setattr("scanwise.design.scheme._SCHEMES", registry)
    return registry


SHOTS = ShotTable.build(["a", "b", "c"])
SETTING = {"n": 2, "share": 0.5, "shift": 0.25, "end": "back"}


def test_whole_is_everything_once():
    assert list(Whole().settings(SHOTS)) == [{}]
    np.testing.assert_array_equal(Whole().counts(SHOTS, {}), [1, 1, 1])


def test_subset_is_every_combination_but_the_empty_one():
    counts = [tuple(Subset().counts(SHOTS, setting)) for setting in Subset().settings(SHOTS)]
    assert len(counts) == len(set(counts)) == 7
    assert (0, 0, 0) not in counts
    assert tuple(Subset().counts(SHOTS, {"a": 1, "b": 0, "c": 1})) == (1, 0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, r"n must be a whole number in \[1, 3\], but got 0"),
        ({"n": 4}, r"n must be a whole number in \[1, 3\], but got 4"),
        ({"n": 1.5}, r"n must be a whole number in \[1, 3\], but got 1.5"),
        ({"n": float("nan")}, "n must be a whole number"),
        ({"n": "2"}, "n must be a whole number"),
        ({"share": 0.2}, r"share must be a number in \[0.25, 4\], but got 0.2"),
        ({"shift": 1.01}, r"shift must be a number in \[-1, 1\], but got 1.01"),
        ({"end": "middle"}, r"end must be one of \('front', 'back'\), but got 'middle'"),
        ({"end": 1}, "end must be one of"),
    ],
)
def test_a_value_out_of_range_names_the_parameter(change, message):
    with pytest.raises(ScanwiseError, match=message):
        Spread().counts(SHOTS, {**SETTING, **change})


def test_both_bounds_belong_to_the_range():
    for change in ({"n": 1}, {"n": 3.0}, {"share": 0.25}, {"share": 4.0}, {"shift": -1}, {"shift": 1}):
        assert Spread().counts(SHOTS, {**SETTING, **change}).shape == (3,)


def test_unknown_and_missing_parameters_are_refused():
    with pytest.raises(ScanwiseError, match="no parameter 'shifd'\n  -> did you mean 'shift'"):
        Spread().counts(SHOTS, {**SETTING, "shifd": 1})
    with pytest.raises(ScanwiseError, match="needs a value for 'end'"):
        Spread().counts(SHOTS, {"n": 2, "share": 0.5, "shift": 0.25})


@pytest.mark.parametrize("bounds", [{"low": 2, "high": 1}, {"low": float("nan"), "high": 1}])
def test_bounds_have_to_be_in_order(bounds):
    with pytest.raises(ScanwiseError, match="`low <= high` must hold for parameter 'n'"):
        Parameter("n", **bounds)


def test_a_logarithmic_range_starts_above_zero():
    with pytest.raises(ScanwiseError, match="log scale and needs `low > 0`"):
        Parameter("share", low=0.0, high=1.0, log=True)


def test_schemes_are_made_by_name(clean_registry):
    assert isinstance(make_scheme("whole"), Whole)
    assert isinstance(make_scheme("subset"), Subset)
    with pytest.raises(ScanwiseError, match="no sampling scheme 'hole'\n  -> did you mean 'whole'"):
        make_scheme("hole")
    register_scheme(Spread)
    assert isinstance(make_scheme(" Spread"), Spread)


def test_a_second_scheme_of_one_name_is_refused(clean_registry):
    class Other(Whole):
        name = " WHOLE "

    with pytest.raises(ScanwiseError, match="already a scheme called 'whole'"):
        register_scheme(Other)
    assert clean_registry["whole"] is Whole


def test_the_registry_cannot_be_changed_from_outside():
    schemes().clear()
    assert {"whole", "subset"} <= set(schemes())


# ---- lattice


def test_settings_of_a_modality_are_distinct_across_schemes():
    modality = Plain("mri", SHOTS, [Whole(), Spread(), Subset()])
    found = list(settings_of(modality))
    assert found[:3] == [(1, 1, 1), (1, 0, 0), (1, 1, 0)], "scheme order, what is there already is left out"
    assert len(found) == len(set(found)) == 7
    assert (0, 0, 0) not in found


def test_a_scheme_may_offer_nothing():
    class Empty(Spread):
        def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
            return np.zeros(len(shots), dtype=np.int64)

    assert list(settings_of(Plain("mri", SHOTS, [Empty()]))) == []


def test_random_protocols_stay_in_range_and_vary():
    menu = Menu(
        [Plain("mri", SHOTS, [Spread(), Subset()]), one("ct"), one("history")], always=Protocol({"history": [1]})
    )
    rng = np.random.default_rng(11)
    drawn = [random_protocol(menu, rng) for _ in range(300)]
    for protocol in drawn:
        menu.check(protocol)
        assert protocol.covers(menu.always)
    assert len(set(drawn)) == 2 * 8, "MRI in seven ways or not at all, CT or not"
    assert 0.4 < np.mean(["ct" in protocol.modalities for protocol in drawn]) < 0.6


def test_the_probability_of_a_modality():
    menu = Menu([one("ct"), one("mri"), one("history")], always=Protocol({"history": [1]}))
    rng = np.random.default_rng(0)
    assert random_protocol(menu, rng, probability=0.0) == menu.always
    assert random_protocol(menu, rng, probability=1.0) == menu.everything()


def test_random_protocols_repeat_with_their_seed():
    menu = Menu([Plain("mri", SHOTS, [Spread(), Subset()]), one("ct")])

    def draw(seed: int) -> list[Protocol]:
        rng = np.random.default_rng(seed)
        return [random_protocol(menu, rng) for _ in range(10)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_whole_numbers_need_whole_bounds() -> None:
    with pytest.raises(ScanwiseError, match="'n' is a whole number, but its range is"):
        Parameter("n", low=0.5, high=3, integer=True)
