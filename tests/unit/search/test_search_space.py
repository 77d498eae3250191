from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from search_scenario import FirstN, Plain, make_flat_menu, make_menu

from scanwise.design import Menu, Parameter, Protocol, Scheme, Setting, ShotTable, Subset, Whole, settings_of
from scanwise.errors import ScanwiseError
from scanwise.search import SearchSpace


class Asked:
    """Answers from a dictionary and notes what it was asked; anything missing is an error."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        assert self._answer(name) in choices
        return self.answers[name]

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        assert low <= self._answer(name) <= high
        return int(self.answers[name])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        assert low <= self._answer(name) <= high
        return float(self.answers[name])

    def _answer(self, name: str) -> Any:
        self.asked.append(name)
        return self.answers[name]


def patterns_by_hand() -> dict[str, set[tuple[int, ...]]]:
    first = {tuple([1] * n + [0] * (6 - n)) for n in range(1, 7)}
    thinned = {(1, 1, 1, 0, 0, 0), (0, 0, 0, 1, 1, 1), (1,) * 6}
    return {
        "blood": {counts for counts in itertools.product((0, 1), repeat=3) if any(counts)},
        "ecg": {(1,)},
        "mri": first | thinned,  # 7 different ones, not 10
    }


def test_the_lattice_is_every_distinct_combination_once() -> None:
    space = SearchSpace(make_menu())
    expected = {
        Protocol({"history": (1,), "blood": blood, "ecg": ecg, "mri": mri})
        for blood, ecg, mri in itertools.product(*({(), *patterns} for patterns in patterns_by_hand().values()))
    }
    lattice = list(space.lattice())
    assert len(expected) == 8 * 2 * 8 == len(lattice) == space.size()
    assert set(lattice) == expected
    assert lattice == list(SearchSpace(make_menu()).lattice())
    assert lattice[0] == Protocol({"history": [1]})
    assert lattice[1] == Protocol({"history": [1], "mri": [1, 0, 0, 0, 0, 0]})  # the last modality changes fastest


def test_what_is_mandatory_stays_and_what_is_not_allowed_goes() -> None:
    space = SearchSpace(make_menu(), Protocol({"blood": [0, 1, 0]}), allowed=["ecg", "blood"])
    assert [protocol.key for protocol in space.lattice()] == [
        "blood=0,1,0 history=1",
        "blood=0,1,0 ecg=1 history=1",
    ]
    assert space.size() == 2
    assert space.n_parameters == 1


def test_nothing_allowed_leaves_what_is_mandatory() -> None:
    space = SearchSpace(make_menu(), allowed=[])
    assert list(space.lattice()) == [Protocol({"history": [1]})]
    assert space.size() == 1


def test_size_counts_single_shots_without_listing_them() -> None:
    panel = Plain("panel", ShotTable.build([f"s{index}" for index in range(60)]), [Whole(), Subset()])
    space = SearchSpace(Menu([panel]))
    assert space.size() == 2**60
    assert not space.fits(2**60 - 1)
    assert space.fits(2**60)


class Endless(Scheme):
    name: ClassVar[str] = "endless"

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        return (Parameter("n", low=0, high=10**9, integer=True),)

    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        return ({"n": n} for n in itertools.count())

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return np.array([int(setting["n"])])


def test_fits_stops_counting_an_endless_lattice() -> None:
    menu = Menu([Plain("lines", ShotTable.build(["line"], max_count=10**9), [Endless()])])
    assert not SearchSpace(menu).fits(500)


def test_suggest_asks_only_for_what_depends_on_earlier_answers() -> None:
    space = SearchSpace(make_menu())
    trial = Asked(
        {"blood.on": 0, "ecg.on": 1, "mri.on": 1, "mri.scheme": "first", "mri.first.n": 2, "mri.first.averages": 2}
    )
    assert space.suggest(trial) == Protocol({"history": [1], "ecg": [1], "mri": [2, 2, 0, 0, 0, 0]})
    assert trial.asked == ["blood.on", "ecg.on", "mri.on", "mri.scheme", "mri.first.n", "mri.first.averages"]


def test_suggest_handles_choices_and_logarithmic_ranges() -> None:
    answers = {"mri.on": 1, "mri.scheme": "thinned", "mri.thinned.share": 0.34, "mri.thinned.end": "back"}
    space = SearchSpace(make_menu(), allowed=["mri"])
    assert space.suggest(Asked(answers)) == Protocol({"history": [1], "mri": [0, 0, 0, 0, 1, 1]})


def test_no_shot_of_a_modality_is_the_same_as_off() -> None:
    answers = {"blood.on": 1, "blood.subset.s0": 0, "blood.subset.s1": 0, "blood.subset.s2": 0}
    assert SearchSpace(make_menu(), allowed=["blood"]).suggest(Asked(answers)) == Protocol({"history": [1]})


def test_params_invert_suggest_on_the_whole_lattice() -> None:
    space = SearchSpace(make_menu())
    for protocol in space.lattice():
        params = space.params(protocol)
        assert params is not None
        trial = Asked(params)
        assert space.suggest(trial) == protocol
        assert set(trial.asked) == set(params)  # no name that Optuna would ignore without a word


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol({"ecg": [1]}),  # lacks the mandatory history
        Protocol({"history": [1], "mri": [0, 1, 0, 0, 0, 0]}),  # no scheme yields it
        Protocol({"history": [1], "blood": [1, 1]}),  # another shot table
        Protocol({"history": [1], "blood": [2, 0, 0]}),
        Protocol({"history": [1], "x": [1]}),
    ],
)
def test_params_are_none_where_a_protocol_is_out_of_reach(protocol: Protocol) -> None:
    assert SearchSpace(make_menu()).params(protocol) is None


def test_on_the_grid_a_modality_has_one_number_its_rank_by_price() -> None:
    space = SearchSpace(make_menu(), grid=True)
    for name, modality in space.optional.items():
        patterns = [
            space.suggest(
                Asked({**{f"{other}.on": 0 for other in space.optional}, f"{name}.on": 1, f"{name}.setting": rank})
            )
            for rank in range(len(list(settings_of(modality))))
        ]
        prices = space.menu.price_many(patterns)[:, 0]
        assert len({pattern.key for pattern in patterns}) == len(patterns)
        assert (np.diff(prices) >= 0).all()
    for protocol in space.lattice():
        params = space.params(protocol)
        assert params is not None
        assert space.suggest(Asked(params)) == protocol
    assert space.fingerprint() != SearchSpace(make_menu()).fingerprint()


def test_params_are_none_for_a_modality_that_is_not_allowed() -> None:
    assert SearchSpace(make_menu(), allowed=["mri"]).params(Protocol({"history": [1], "ecg": [1]})) is None


def test_a_modality_alone_takes_every_shot_or_its_first_pattern() -> None:
    space = SearchSpace(make_menu())
    assert space.alone("blood").key == "blood=1x3 history=1"
    pairs = ShotTable.build(["a", "b", "c"], max_count=2)

    class Twice(FirstN):
        def settings(self, shots: ShotTable) -> Iterator[Setting]:
            yield {"n": 2, "averages": 2}

    assert SearchSpace(Menu([Plain("pet", pairs, [Twice()])])).alone("pet").key == "pet=2x2,0"


def test_only_on_and_off_is_flat() -> None:
    assert SearchSpace(make_flat_menu(3)).is_flat
    assert not SearchSpace(make_menu()).is_flat
    assert SearchSpace(make_menu(), allowed=["ecg"]).is_flat


def test_the_fingerprint_moves_with_whatever_gives_a_trial_its_meaning() -> None:
    menu = make_menu()
    spaces = [
        SearchSpace(menu),
        SearchSpace(menu, allowed=["mri"]),
        SearchSpace(menu, Protocol({"ecg": [1]})),
        SearchSpace(menu, Protocol({"blood": [1, 0, 0]})),
        SearchSpace(make_menu(mri_price=21.0)),
        SearchSpace(make_flat_menu(4)),
        SearchSpace(make_flat_menu(5)),
    ]
    assert len({space.fingerprint() for space in spaces}) == len(spaces)
    assert SearchSpace(make_menu()).fingerprint() == spaces[0].fingerprint()


def test_the_fingerprint_moves_with_the_range_of_a_parameter() -> None:
    class Wider(FirstN):
        def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
            return (Parameter("n", low=1, high=9, integer=True), Parameter("averages", low=1, high=2, integer=True))

    shots = ShotTable.build(["a", "b"])
    plain, wider = (SearchSpace(Menu([Plain("mri", shots, [scheme])])) for scheme in (FirstN(), Wider()))
    assert plain.fingerprint() != wider.fingerprint()


def test_an_unknown_modality_gets_a_suggestion() -> None:
    with pytest.raises(ScanwiseError, match="did you mean 'blood'"):
        SearchSpace(make_menu(), allowed=["blod"])


def test_an_unknown_mandatory_modality_gets_a_suggestion() -> None:
    with pytest.raises(ScanwiseError, match="did you mean 'ecg'"):
        SearchSpace(make_menu(), Protocol({"ecgs": [1]}))


def test_two_schemes_of_one_name_are_refused() -> None:
    with pytest.raises(ScanwiseError, match="schemes with different names"):
        SearchSpace(Menu([Plain("mri", ShotTable.build(["a"]), [Whole(), Whole()])]))


def test_space_lattice_and_results_do_not_load_optuna() -> None:
    code = (
        "import sys; from search_scenario import Objective, make_menu; from scanwise.design import Budget\n"
        "from scanwise.search import AutoSearch, SearchResult, SearchSpace\n"
        "space = SearchSpace(make_menu())\n"
        "found = AutoSearch().run(space, objective=Objective(), budget=Budget(), seed=0, directory=None)\n"
        "SearchResult.from_dict(found.to_dict())\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('optuna', 'torch')))"
    )
    folder = __file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=True)
    assert done.stdout.strip() == "[]"
