"""A made-up study of three tests whose worth is known: what the tests of `scanwise.recommend` reason about.

Every test yields one number, N(worth, 1) in the sick and N(0, 1) in the well, independent of the others. What a
protocol says is the exact posterior of the numbers it buys, so its AUC is Phi(|worth| / sqrt 2) (Green and Swets 1966),
plus a little noise per network, so that no two networks agree entirely.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from scanwise.design import Cost, Menu, Protocol, Setup
from scanwise.evidence import ScoreTable
from scanwise.modalities.panel import TestPanel
from scanwise.recommend import Recommendation, Record, Rule

HISTORY, ECG, CT = "history=1", "ecg=1 history=1", "ct=1 history=1"
REFERENCE = "ct=1 ecg=1 history=1"
KEYS = (REFERENCE, HISTORY, ECG, CT)
USELESS_CT = {"history": 0.8, "ecg": 1.3, "ct": 0.0}
"""Leaving CT out loses nothing."""
ALL_NEEDED = {"history": 0.8, "ecg": 1.0, "ct": 1.3}
"""Whatever is left out is missed."""
EITHER = {"history": 0.8, "ecg": 1.2, "ct": 1.2}
"""With `redundant`: ECG or CT, not both."""
NO_TEST = {"history": 0.0, "ecg": 0.0, "ct": 0.0}
QUICK = Rule(n_resamples=100)


def menu_of(prices: Mapping[str, float] | None = None, *, always: bool = True) -> Menu:
    """History 5, ECG 40 with a room of 10, CT 200; `prices` replaces the prices of single tests."""
    price = {"history": 5.0, "ecg": 40.0, "ct": 200.0, **(prices or {})}
    panels = [
        TestPanel("history", {"age": {"money": price["history"], "setups": ["visit"]}}),
        TestPanel("ecg", {"ecg": {"money": price["ecg"], "minutes": 10.0, "setups": ["room"]}}, title="resting ECG"),
        TestPanel("ct", {"ct": {"money": price["ct"], "minutes": 25.0, "msv": 3.0}}, title="CT"),
    ]
    setups = [Setup("visit", Cost(visits=1)), Setup("room", Cost(money=10.0), "stress room")]
    return Menu(panels, setups, always=Protocol({"history": [1]}) if always else None, currency="€", source="assumed")


def expected_auc(worth: Mapping[str, float], key: str) -> float:
    return float(norm.cdf(np.sqrt(sum(worth[name] ** 2 for name in Protocol.from_key(key).modalities) / 2)))


def tables(
    worth: Mapping[str, float],
    *,
    judged_worth: Mapping[str, float] | None = None,
    n: int = 600,
    repeats: int = 2,
    folds: int = 3,
    sites: Sequence[str] = ("north", "south"),
    keys: Sequence[str] = KEYS,
    noise: float = 0.15,
    redundant: bool = False,
    seed: int = 0,
) -> tuple[ScoreTable, ScoreTable, list[tuple[int, int]]]:
    """Tune and test scores of nested cross-fitting, and the places of the outer folds.

    With `judged_worth` the tests are worth something else to the judging patients; with `redundant` CT shows the same
    number as the ECG, so that either of them does.
    """
    rng = np.random.default_rng(seed)
    label = (np.arange(n) % 5 < 2).astype(np.int64)
    site = np.array(sites)[np.arange(n) // 5 % len(sites)]
    values = {name: rng.normal(size=n) for name in worth}
    if redundant:
        values["ct"] = values["ecg"]
    outer = np.stack([rng.permutation(n) % folds for _ in range(repeats)])

    def score(of_worth: Mapping[str, float]) -> np.ndarray:
        rows = []
        for key in keys:
            known = [
                name
                for name in Protocol.from_key(key).modalities
                if not (redundant and key == REFERENCE and name == "ct")
            ]
            evidence = [of_worth[k] * (values[k] + of_worth[k] * label) - of_worth[k] ** 2 / 2 for k in known]
            rows.append(expit(np.sum(evidence, axis=0) + np.log(0.4 / 0.6) + noise * rng.normal(size=n)))
        return np.array(rows)

    test = np.stack([score(judged_worth or worth) for _ in range(repeats)])
    places = list(itertools.product(range(repeats), range(folds)))
    tune = np.full((len(places), len(keys), n), np.nan)
    stratum = np.full((len(places), n), -1)
    for round_, (repeat, fold) in enumerate(places):
        looked_at = outer[repeat] != fold
        tune[round_][:, looked_at] = score(worth)[:, looked_at]
        stratum[round_, looked_at] = rng.permutation(looked_at.sum()) % 2
    return ScoreTable(keys, tune, stratum, label, site), ScoreTable(keys, test, outer, label, site), places


def record_of(worth: Mapping[str, float], *, menu: Menu | None = None, **changes: Any) -> Record:
    """What the earlier stages would have left behind; keywords that `tables` does not know replace parts of it."""
    known = ("judged_worth", "n", "repeats", "folds", "sites", "keys", "noise", "redundant", "seed")
    tune, test, places = tables(worth, **{name: changes.pop(name) for name in known if name in changes})
    menu = menu or menu_of()
    content: dict[str, Any] = {
        "menu": menu,
        "study": {
            "name": "made_up",
            "title": "A made-up study",
            "question": "Which tests are needed?",
            "positive": "sick",
            "virtual": True,
            "retrospective": "Nobody was examined.",
            "source": "assumed",
            "licence": "none",
            "citation": "none",
            "n_patients": len(test.label),
            "n_positive": int(test.label.sum()),
            "sites": [
                {
                    "site": name,
                    "n": int((test.site == name).sum()),
                    "n_positive": int(test.label[test.site == name].sum()),
                }
                for name in np.unique(test.site).tolist()
            ],
            "missing": [{"modality": n, "title": m.title, "share_done": 1.0} for n, m in menu.modalities.items()],
        },
        "done": {site: dict.fromkeys(menu.modalities, 1.0) for site in np.unique(test.site).tolist()},
        "tune": tune,
        "test": test,
        "places": places,
        "roles": {REFERENCE: ["reference", "front"], HISTORY: ["least", "front"], ECG: ["front"], CT: ["alone"]},
        "searches": [
            {"how": "exact lattice of 4 protocols", "complete": True, "history": [{"evaluated": 4, "hypervolume": 0.5}]}
        ]
        * tune.n_rounds,
        "considered": [{"key": key, "tune_auc": expected_auc(worth, key), "on_front": key != CT} for key in KEYS],
        "split": {"kind": "crossfit", "text": "3-fold cross-fitting, 2 times", "n_folds": len(places)},
        "model": {"kind": "posterior", "text": "the exact posterior"},
        "provenance": {
            "command": "scanwise",
            "seed": 0,
            "versions": {},
            "stages": [],
            "started": "2026-01-01T00:00:00",
        },
    }
    return Record(**{**content, **changes})


def sentences_of(recommendation: Recommendation) -> list[str]:
    return list(recommendation.content["sensitivity"])
