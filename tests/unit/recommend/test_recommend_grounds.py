"""The grounds of the rule suffice to apply it anywhere: read back as told, they pick what `Chooser` picks."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from scanwise.design import Budget, Cost
from scanwise.evidence import ScoreTable
from scanwise.recommend import Chooser, Rule
from scanwise.recommend.grounds import grounds


def chooser_of(seed: int, in_sequence: bool) -> tuple[Chooser, dict[str, Cost]]:
    """Twelve protocols with prices that tie; p0 is the reference, the best and not the dearest; two are level."""
    rng = np.random.default_rng(seed)
    label = (np.arange(120) % 3 == 0).astype(np.int64)
    quality = np.concatenate([[2.0], rng.uniform(0.2, 2.0, size=11)])[:, None]
    odds = quality * label + 0.8 * rng.normal(size=120) + 0.25 * rng.normal(size=(12, 120))
    odds[4] = odds[7]
    keys = tuple(f"p{row}" for row in range(12))
    table = ScoreTable(keys, 1 / (1 + np.exp(-odds))[None], np.zeros((1, 120), int), label, np.full(120, "here"))
    amounts = rng.integers(1, 6, size=(12, 3))
    amounts[0] = 4
    costs = {key: Cost(*map(float, row)) for key, row in zip(keys, amounts, strict=True)}
    confirmed = dict(zip(keys, (rng.uniform(size=12) < 0.6).tolist(), strict=True)) if in_sequence else None
    return Chooser(table, costs, "p0", Rule(margin=0.05), confirmed), costs


def picked(given: dict[str, Any], affordable: list[int]) -> str | None:
    """The rule, from the grounds alone and in plain words; for a fixed sequence see `test_report_page`."""
    if not affordable:
        return None
    by_price = sorted(affordable, key=lambda row: given["dearness"][row])
    good = [row for row in by_price if given["non_inferior"][row]]
    if good:
        return given["keys"][good[0]]
    best = max(affordable, key=lambda row: given["auc"][row])
    alike = int(given["alike"][best], 16)
    return next(given["keys"][row] for row in by_price if alike >> given["dearness"][row] & 1)


@pytest.mark.parametrize("seed", range(6))
def test_grounds_pick_what_the_chooser_picks_within_any_limits(seed: int) -> None:
    chooser, costs = chooser_of(seed, in_sequence=False)
    given = json.loads(json.dumps(grounds(chooser)))
    statuses = set()
    for minutes, money, dose in itertools.product(range(6), repeat=3):
        budget = Budget(minutes=minutes, money=money, msv=dose)
        choice = chooser.pick(budget)
        affordable = [row for row, key in enumerate(given["keys"]) if budget.allows(costs[key])]
        assert picked(given, affordable) == choice.key
        statuses.add(choice.status)
    assert len(statuses) == 3


def test_confirmations_are_told_where_other_patients_judge() -> None:
    plain, sequence = (grounds(chooser_of(0, in_sequence)[0]) for in_sequence in (False, True))
    assert plain["confirmed"] is None
    assert sequence["confirmed"] is not None
    assert len(sequence["confirmed"]) == 12
    assert {**plain, "confirmed": 0} == {**sequence, "confirmed": 0}
    assert sorted(plain["dearness"]) == list(range(12))
