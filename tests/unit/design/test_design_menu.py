from __future__ import annotations

import numpy as np
import pytest
from design_scenario import IMMEDIATE, TURNEY, Plain, one, turney_menu

from scanwise.design import COST_AXES, Cost, Menu, Protocol, Setup, ShotTable, Subset, make_scheme, random_protocol
from scanwise.errors import ScanwiseError


@pytest.fixture(scope="module")
def menu() -> Menu:
    """Three blood values with a needle, an MRI with averages, a CT; the MRI and the CT share a room."""
    return Menu(
        [
            Plain("mri", ShotTable.build(["t1", "t2"], seconds=[120, 240], money=10, setups=["room"], max_count=3)),
            Plain("blood", ShotTable.build(["na", "k", "crp"], money=[3, 4, 7], setups=[["needle"], ["needle"], []])),
            one("ct", money=80, msv=5, contrast_ml=60, setups=["room", "needle"]),
        ],
        [
            Setup("needle", Cost(money=2, minutes=5), title="blood draw"),
            Setup("room", Cost(money=50, minutes=10, visits=1)),
        ],
        currency="€",
    )


def random_protocols(menu: Menu, n: int) -> list[Protocol]:
    rng = np.random.default_rng(5)
    return [
        Protocol(
            {
                name: rng.integers(0, modality.shots.max_count + 1) * rng.integers(0, 2)
                for name, modality in menu.modalities.items()
            }
        )
        for _ in range(n)
    ]


# ---- Turney's rules


def test_the_full_panel_costs_what_turney_says():
    menu = turney_menu()
    everything = menu.everything()
    assert menu.price(everything).money == pytest.approx(323.97, abs=1e-9)
    assert menu.price_unshared(everything).money == pytest.approx(600.57, abs=1e-9)
    assert sum(full for _, full, _ in TURNEY.values()) == pytest.approx(600.57), "the list was copied rightly"


@pytest.mark.parametrize("test", TURNEY)
def test_a_single_test_costs_its_full_price(test):
    menu = turney_menu()
    price = menu.price(menu.protocol(test))
    assert price.money == pytest.approx(TURNEY[test][1])
    assert price.visits == 1


def test_the_second_test_of_a_group_is_cheaper():
    menu = turney_menu()
    assert menu.price(menu.protocol("exang", "slope")).money == pytest.approx(87.30 + 1.00)
    assert menu.price(menu.protocol("chol", "fbs")).money == pytest.approx(7.27 + 3.10)
    assert menu.price(menu.protocol("chol", "thal")).money == pytest.approx(7.27 + 102.90), "other groups share nothing"


def test_delayed_results_cost_one_more_visit_however_many():
    menu = turney_menu()
    assert menu.price(menu.protocol(*IMMEDIATE)).visits == 1
    assert menu.price(menu.protocol(*IMMEDIATE, "chol")).visits == 2
    assert menu.price(menu.everything()).visits == 2
    assert menu.priced_axes() == ("money", "visits")


# ---- prices


def test_a_set_up_is_paid_once(menu):
    assert menu.price(Protocol({"blood": [1, 0, 0]})) == Cost(money=3 + 2, minutes=5)
    assert menu.price(Protocol({"blood": [1, 1, 0]})) == Cost(money=3 + 4 + 2, minutes=5)
    assert menu.price(Protocol({"blood": [0, 0, 1]})) == Cost(money=7), "this shot needs no needle"
    both = menu.price(Protocol({"ct": [1], "mri": [1, 0]}))
    assert both == Cost(money=80 + 10 + 50 + 2, minutes=2 + 10 + 5, msv=5, contrast_ml=60, visits=1)


def test_averages_are_paid_each_and_their_set_up_once(menu):
    assert menu.price(Protocol({"mri": [3, 0]})) == Cost(money=3 * 10 + 50, minutes=3 * 2 + 10, visits=1)
    assert menu.price_unshared(Protocol({"mri": [3, 0]})) == Cost(money=3 * 60, minutes=3 * 12, visits=3)


def test_nothing_is_free(menu):
    assert menu.price(Protocol()) == Cost()
    assert menu.bill(Protocol()) == ()
    assert menu.reading(Protocol()) == "no test at all"
    assert menu.price_many([]).shape == (0, len(COST_AXES))


def test_price_many_equals_a_loop_over_shots(menu):
    protocols = random_protocols(menu, 50)
    expected = np.zeros((50, len(COST_AXES)))
    for row, protocol in zip(expected, protocols, strict=True):
        needed: set[str] = set()
        for name, modality in menu.modalities.items():
            for shot, count in enumerate(protocol.counts(name)):
                row += count * modality.shots.unit_costs[shot]
                needed |= set(modality.shots.setups[shot]) if count else set()
        for name in needed:
            row += menu.setups[name].cost.to_array()
    np.testing.assert_allclose(menu.price_many(protocols), expected, rtol=1e-12)
    np.testing.assert_allclose([menu.price(protocol).to_array() for protocol in protocols], expected, rtol=1e-12)
    assert expected.std(axis=0).min() > 0, "every axis was exercised"


def test_the_bill_sums_to_the_price(menu):
    for protocol in [*random_protocols(menu, 50), menu.everything()]:
        bill = menu.bill(protocol)
        total = sum((item.cost for item in bill), Cost())
        np.testing.assert_allclose(total.to_array(), menu.price(protocol).to_array(), rtol=1e-12)
        assert len({item.label for item in bill}) == len(bill), "no set-up twice"


def test_the_bill_names_shots_and_set_ups(menu):
    bill = menu.bill(Protocol({"blood": [1, 1, 0], "ct": [1]}))
    assert [(item.label, item.kind) for item in bill] == [
        ("blood (na + k)", "shots"),
        ("ct", "shots"),
        ("blood draw", "setup"),
        ("room", "setup"),
    ]
    assert bill[0].cost == Cost(money=7)
    assert bill[3].cost == Cost(money=50, minutes=10, visits=1)


@pytest.mark.parametrize("price", [-0.01, float("nan")])
def test_a_price_that_is_none_is_refused(price):
    with pytest.raises(ScanwiseError, match="'only' has money="):
        Menu([one("ct", money=price)])


# ---- names and reference


def test_two_of_one_name_are_refused():
    with pytest.raises(ScanwiseError, match="two modalities of the menu are called 'ct'"):
        Menu([one("ct"), one("ct")])
    with pytest.raises(ScanwiseError, match="two set-ups of the menu are called 'room'"):
        Menu([one("ct")], [Setup("room", Cost(money=1)), Setup("room", Cost(money=2))])
    with pytest.raises(ScanwiseError, match="at least one modality"):
        Menu([])


def test_a_set_up_no_one_defined_gets_a_suggestion():
    with pytest.raises(ScanwiseError, match="'nedle', which the menu does not define\n  -> did you mean 'needle'"):
        Menu([one("blood", setups=["nedle"])], [Setup("needle", Cost(money=1))])


@pytest.mark.parametrize(
    "ask",
    [
        lambda menu: menu.price(Protocol({"bloood": [1]})),
        lambda menu: menu.protocol("bloood"),
        lambda menu: menu.columns("bloood"),
        lambda menu: menu.reading(Protocol({"bloood": [1]})),
        lambda menu: menu.bill(Protocol({"bloood": [1]})),
    ],
)
def test_an_unknown_modality_gets_a_suggestion(menu, ask):
    with pytest.raises(ScanwiseError, match="no modality 'bloood'\n  -> did you mean 'blood'"):
        ask(menu)


def test_a_protocol_has_to_fit_the_shot_tables(menu):
    with pytest.raises(ScanwiseError, match="'blood' has 3 shots, but the protocol counts 2"):
        menu.check(Protocol({"blood": [1, 1]}))
    with pytest.raises(ScanwiseError, match="'t2' of 'mri' can be taken at most 3 times, but the protocol asks for 4"):
        menu.check(Protocol({"mri": [1, 4]}))


def test_reference_and_always():
    modalities = [one("history"), one("blood"), one("ct")]
    menu = Menu(modalities, reference=Protocol({"blood": [1]}), always=Protocol({"history": [1]}))
    assert menu.reference == menu.protocol("blood") == Protocol({"blood": [1], "history": [1]})
    assert Menu(modalities).reference == Menu(modalities).everything()
    assert Menu(modalities).always == Protocol()
    with pytest.raises(ScanwiseError, match="no modality 'mri'"):
        Menu(modalities, reference=Protocol({"mri": [1]}))
    with pytest.raises(ScanwiseError, match="'ct' has 1 shots, but the protocol counts 2"):
        Menu(modalities, always=Protocol({"ct": [1, 0]}))


def test_an_empty_reference_is_not_everything():
    assert Menu([one("ct")], reference=Protocol()).reference == Protocol()


def test_a_scheme_for_shots_of_another_kind_is_refused():
    with pytest.raises(ScanwiseError, match="scheme 'golden_angle' is for spokes"):
        Menu([Plain("mri", ShotTable.build(["k0", "k1"]), [make_scheme("golden_angle")])])


def test_what_a_modality_requires_must_be_on_the_menu():
    Menu([one("flair"), Plain("mask", ShotTable.build(["only"]), requires=["flair"])])
    with pytest.raises(ScanwiseError, match="no modality 'flair'"):
        Menu([one("t1"), Plain("mask", ShotTable.build(["only"]), requires=["flair"])])


# ---- tables and words


def test_the_matrix_has_the_modalities_side_by_side(menu):
    protocols = [Protocol({"ct": [1], "mri": [0, 2]}), Protocol({"blood": [1, 0, 1]})]
    np.testing.assert_array_equal(menu.matrix(protocols), [[0, 2, 0, 0, 0, 1], [0, 0, 1, 0, 1, 0]])
    assert menu.n_shots == 6
    assert [menu.columns(name) for name in menu.modalities] == [slice(0, 2), slice(2, 5), slice(5, 6)]


def test_readings_are_in_menu_order(menu):
    assert menu.reading(menu.everything()) == "mri + blood + ct"
    assert menu.reading(Protocol({"ct": [1], "mri": [2, 1]})) == "mri (2 x t1 + t2) + ct"


def test_a_long_pattern_is_counted_and_not_spelled_out():
    long = Plain("dce", ShotTable.build([f"frame{i}" for i in range(9)]), [Subset()])
    assert long.describe([1] * 9) == "dce"
    assert long.describe([1] * 7 + [0] * 2) == "dce (7 of 9 shots)"
    assert repr(long) == "Plain('dce', 9 shots)"


def test_priced_axes_are_those_that_can_differ(menu):
    assert menu.priced_axes() == COST_AXES
    assert Menu([one("a", money=1)]).priced_axes() == ("money",)
    assert Menu([one("a", setups=["v"])], [Setup("v", Cost(visits=1))]).priced_axes() == ("visits",)
    assert Menu([one("a")]).priced_axes() == ()


def test_the_menu_as_plain_data(menu):
    plain = menu.to_dict()
    assert plain["reference"] == "blood=1x3 ct=1 mri=1x2"
    assert plain["modalities"]["blood"]["shots"] == ["na", "k", "crp"]
    assert plain["setups"]["needle"] == {"label": "blood draw", "cost": Cost(money=2, minutes=5).to_dict()}
    assert repr(menu) == "Menu(mri, blood, ct; reference €166)"


def test_random_protocols_of_the_menu_can_be_priced(menu):
    rng = np.random.default_rng(0)
    protocols = [random_protocol(menu, rng) for _ in range(20)]
    assert np.isfinite(menu.price_many(protocols)).all()
