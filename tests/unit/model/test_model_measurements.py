from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from model_scenario import TRAINER

from scanwise.design import Protocol
from scanwise.errors import ScanwiseError
from scanwise.model import Measurements, PatternModel, SubsetModel, SubsetReader
from scanwise.model.measurements import SubsetBatches
from scanwise.model.peers import PatternNetwork, picked_softly

LEARN, NEW = np.arange(1500), np.arange(1500, 2500)
SMALL = SubsetModel(width=32, n_blocks=1, steps=400, batch_size=128, dropout=0.0, learning_rate=0.01)


def problem(kind: str = "labels", shots: int = 7, seed: int = 0) -> Measurements:
    """The target is in measurements 1 (much) and 4 (less); the others are noise."""
    rng = np.random.default_rng(seed)
    sick = rng.integers(0, 2, 2500)
    values = rng.normal(size=(2500, shots, 2)).astype(np.float32)
    values[:, 1] += 2.0 * sick[:, None]
    values[:, 4] += 1.0 * sick[:, None]
    if kind == "classes":
        return Measurements(values, sick, "classes")
    if kind == "values":
        return Measurements(values, (values[:, 1, :1] - 0.5 * values[:, 4, 1:]).astype(np.float32), "values")
    return Measurements(values, sick[:, None].astype(np.float32), "labels")


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return SMALL.fit(problem(), LEARN, seed=0, trainer=TRAINER, directory=tmp_path_factory.mktemp("subsets"))


def taking(*shots: int, n: int = 7) -> Protocol:
    return Protocol({"shots": [int(shot in shots) for shot in range(n)]})


def test_every_subset_is_read_as_well_as_it_can_be(reader):
    found = reader.on(NEW)([taking(), taking(0, 2), taking(4), taking(1), taking(1, 4), taking(*range(7))])
    nothing, noise, less, much, both, everything = -found
    assert nothing == pytest.approx(np.log(2), abs=0.03)
    assert noise == pytest.approx(nothing, abs=0.03)
    assert both < much < less < nothing - 0.1
    assert everything == pytest.approx(both, abs=0.05)


def test_probabilities_are_told_for_every_output(reader):
    told = reader.tell(np.eye(7, dtype=bool)[[1, 3]], NEW)
    assert told.shape == (2, 1000, 1)
    label = problem().target[NEW, 0]
    assert ((told[0, :, 0] > 0.5) == label).mean() > 0.85
    assert np.abs(told[1, :, 0] - 0.5).max() < 0.35


def test_everybody_may_have_a_subset_of_their_own(reader):
    taken = np.zeros((4, 7), dtype=bool)
    taken[:2, 1], taken[2:, 4] = True, True
    own = reader.tell_each(taken, NEW[:4])
    both = reader.tell(np.eye(7, dtype=bool)[[1, 4]], NEW[:4])
    assert own == pytest.approx(np.concatenate([both[0, :2], both[1, 2:]]), abs=1e-6)


def test_slopes_point_at_what_is_worth_taking(reader):
    value, slopes = reader.on(NEW).slopes(taking(0), np.random.default_rng(0))
    assert value == pytest.approx(float(reader.on(NEW)([taking(0)])[0]), abs=0.1)
    assert int(np.argmax(slopes["shots"])) == 1
    assert slopes["shots"][1] > slopes["shots"][4] > np.abs(slopes["shots"][[2, 3, 5, 6]]).max()


def test_slopes_are_those_of_the_loss(reader):
    network = reader.networks[0]
    values, target = torch.tensor(problem().values[NEW[:64]]), torch.tensor(problem().target[NEW[:64]])
    mask = torch.full((1, 7), 0.5)
    step = 1e-2 * torch.eye(7)[1][None]

    def loss(of: torch.Tensor) -> float:
        with torch.inference_mode():
            return float(network.losses(network(values, of), target).mean())

    slope = torch.autograd.grad(network.losses(network(values, mask.requires_grad_()), target).mean(), mask)[0]
    assert float(slope[0, 1]) == pytest.approx((loss(mask + step) - loss(mask - step)) / 2e-2, rel=0.02)


@pytest.mark.parametrize("kind", ["classes", "values"])
def test_classes_and_values_are_learned_too(kind, tmp_path):
    told = SMALL.fit(problem(kind), LEARN, seed=1, trainer=TRAINER, directory=tmp_path)
    found = told.on(NEW)([taking(), taking(1, 4)])
    assert found[1] > found[0] + (0.3 if kind == "classes" else 0.6)
    shown = told.tell(problem(kind).values[:2].any(2) | True, NEW[:5])
    assert shown.shape == (2, 5, 2 if kind == "classes" else 1)


def test_subsets_that_are_asked_for_are_learned_better(tmp_path):
    values = np.random.default_rng(3).normal(size=(2500, 40, 1)).astype(np.float32)
    summed = Measurements(values, values[:, :8, 0].sum(1, keepdims=True), "values")
    first = np.arange(40)[None] < 8
    plain, focused = (
        SubsetModel(width=32, n_blocks=1, steps=150, batch_size=128, dropout=0.0, focus=focus)
        .fit(summed, LEARN, seed=0, trainer=TRAINER, directory=tmp_path, subsets=first)
        .on(NEW)([Protocol({"shots": first[0].astype(int)})])[0]
        for focus in (0.0, 0.9)
    )
    assert focused > plain


def test_subsets_of_every_rows_own_are_drawn_for_that_row():
    made = problem()
    own = np.zeros((2, 2500, 7), dtype=bool)
    own[0, np.arange(2500), np.arange(2500) % 7] = True
    own[1] = own[0]
    values = made.values.copy()
    values[:, 6, 0] = np.arange(2500)  # tells the row
    rows = np.arange(500, 1500)
    settings = replace(SMALL, focus=1.0, steps=5)
    batches = SubsetBatches(replace(made, values=values), rows, settings, None, np.random.default_rng(0), own)
    seen = 0
    for batch in batches:
        row = batch["values"][:, 6, 0].numpy().astype(int)
        mask = batch["mask"].numpy() > 0
        assert not (mask & ~own[0, row]).any()
        seen += mask.sum()
    assert 0.6 < seen / (5 * 128) < 0.9  # half of them whole, the others with a random share left out


@pytest.mark.parametrize("method", ["loupe", "dps"])
def test_peers_find_what_is_worth_taking(method, tmp_path):
    taken, told = PatternModel(method, 2, SMALL).fit(problem(), LEARN, seed=0, trainer=TRAINER, directory=tmp_path)
    assert np.flatnonzero(taken).tolist() == [1, 4]
    both, nothing = told.on(NEW)([taking(1, 4), taking()])
    assert both > nothing + 0.3


def test_chances_of_loupe_add_up_to_the_length():
    measurements = problem()
    for n in (1, 3, 6):
        network = PatternNetwork(method="loupe", n=n, **dict(SMALL.network(measurements, 0).hparams))
        chances = network.chances().detach()
        assert float(chances.sum()) == pytest.approx(n, rel=1e-5)
        assert ((chances >= 0) & (chances <= 1)).all()


def test_draws_of_dps_take_exactly_as_many_as_asked_and_have_slopes():
    network = PatternNetwork(method="dps", n=3, **dict(SMALL.network(problem(), 0).hparams))
    network.__dict__["_trainer"] = None
    drawn = network.drawn(50)
    np.testing.assert_allclose(drawn.detach().sum(1), 3, atol=1e-4)
    (slope,) = torch.autograd.grad((drawn * torch.arange(7.0)).sum(), network.weights)
    assert float(slope[6]) > float(slope[0])


def test_soft_picks_of_dps_are_those_of_one_softmax_after_the_other():
    keys = (3 * torch.randn(5, 7, generator=torch.Generator().manual_seed(0))).requires_grad_()
    weights = torch.arange(7.0).sin()
    for n in (1, 3, 7):
        there, slowly = keys, torch.zeros_like(keys)
        for pick in keys.argsort(dim=1, descending=True)[:, :n].T:
            slowly = slowly + torch.softmax(there, dim=1)
            there = there.scatter(1, pick[:, None], -torch.inf)
        at_once = picked_softly(keys, n)
        torch.testing.assert_close(at_once, slowly)
        slopes = [torch.autograd.grad((one**2 @ weights).sum(), keys)[0] for one in (at_once, slowly)]
        torch.testing.assert_close(*slopes)


def test_bad_problems_are_refused():
    good = problem()
    with pytest.raises(ScanwiseError, match="the kind of a target"):
        Measurements(good.values, good.target, "numbers")
    with pytest.raises(ScanwiseError, match=r"values must have the shape"):
        Measurements(good.values[:, :, 0], good.target, "labels")
    with pytest.raises(ScanwiseError, match="cannot have the shape"):
        Measurements(good.values, good.target, "classes")
    with pytest.raises(ScanwiseError, match="must be finite"):
        Measurements(np.full_like(good.values, np.nan), good.target, "labels")
    with pytest.raises(ScanwiseError, match="9 of 7 measurements cannot be taken"):
        PatternModel("dps", 9, SMALL).fit(good, LEARN, seed=0, trainer=TRAINER, directory=None)
    with pytest.raises(ScanwiseError, match="a peer must be one of"):
        PatternModel("louppe", 2, SMALL)


def test_where_the_inverse_is_known_what_was_taken_stays_and_only_the_rest_is_filled_in(tmp_path):
    """Two measurements, mixed by a matrix, are the target; the second follows from the first, and noise."""
    rng = np.random.default_rng(0)
    first = rng.normal(3.0, 1.0, size=(2500, 2))
    values = np.stack([first, 2 * first + rng.normal(0, 0.1, first.shape)], axis=1).astype(np.float32)
    matrix = torch.from_numpy(rng.normal(size=(4, 4)).astype(np.float32))

    def inverse(some: torch.Tensor) -> torch.Tensor:
        return some.flatten(1) @ matrix

    target = inverse(torch.from_numpy(values)).numpy()
    known = Measurements(values, target, "values", inverse=inverse)
    every = np.array([[True, True], [True, False], [False, False]])
    untrained = SMALL.network(known, 0)
    untrained.standardise(torch.from_numpy(values[LEARN]), torch.from_numpy(target[LEARN]))
    mean = values[LEARN].mean(0)
    zero_filled = inverse(torch.from_numpy(np.where(every[1][:, None], values[NEW], mean)))
    told = SubsetReader([untrained], known).tell(every, NEW)
    np.testing.assert_allclose(told[0], target[NEW], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(told[1], zero_filled, rtol=1e-3, atol=1e-3)
    learned = SMALL.fit(known, LEARN, seed=0, trainer=TRAINER, directory=tmp_path).tell(every, NEW)
    off = ((learned - target[NEW]) ** 2).mean((1, 2))
    assert off[0] < 1e-6
    assert off[1] < 0.05 * ((zero_filled.numpy() - target[NEW]) ** 2).mean()
    assert off[2] > 10 * off[1]


def test_an_inverse_that_does_not_yield_the_targets_is_refused():
    good = problem("values")
    with pytest.raises(ScanwiseError, match=r"must yield targets of kind 'values' and shape \(1, 1\)"):
        Measurements(good.values, good.target, "values", inverse=lambda some: some.flatten(1))
    with pytest.raises(ScanwiseError, match=r"off by 200 % in the first row"):
        Measurements(good.values, -good.values[:, 0], "values", inverse=lambda some: some[:, 0])
