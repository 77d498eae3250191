"""From a record to a recommendation: what is decided, how it is said, and that every sentence about it is true."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from recommend_scenario import (
    ALL_NEEDED,
    CT,
    ECG,
    EITHER,
    HISTORY,
    KEYS,
    NO_TEST,
    QUICK,
    REFERENCE,
    USELESS_CT,
    expected_auc,
    menu_of,
    record_of,
)

from scanwise.artifacts import read_json, write_json
from scanwise.design import Budget, Cost, Menu, Protocol, Setup
from scanwise.evidence import Assessment, Interval, ScoreTable, auc
from scanwise.modalities.panel import TestPanel
from scanwise.recommend import Finding, Recommendation, Record, Severity, recommend
from scanwise.recommend.recommendation import _quality
from scanwise.report import build_report

VETO = Finding("shared-patients", Severity.FAIL, "2 patients judge a network that learned from them.", vetoes=True)
CASES: dict[str, tuple[dict, dict]] = {
    "change": ({"worth": USELESS_CT}, {}),
    "change within a budget": ({"worth": USELESS_CT}, {"money": 60.0, "minutes": 20.0}),
    "veto by the judging patients": ({"worth": USELESS_CT, "judged_worth": ALL_NEEDED}, {}),
    "veto by the audit": ({"worth": USELESS_CT, "audit": [VETO]}, {}),
    "the reference is the pick": ({"worth": ALL_NEEDED}, {}),
    "best affordable": ({"worth": ALL_NEEDED}, {"money": 100.0}),
    "reference out of reach, not confirmed": ({"worth": USELESS_CT, "judged_worth": ALL_NEEDED}, {"money": 100.0}),
    "nothing affordable": ({"worth": ALL_NEEDED}, {"money": 4.0, "visits": 1.0}),
    "either of two": ({"worth": EITHER, "redundant": True}, {}),
    "no test tells anything": ({"worth": NO_TEST}, {}),
    "one fold": ({"worth": USELESS_CT, "repeats": 1, "folds": 1}, {}),
}
STATUS = {
    "change": ("change", ECG),
    "change within a budget": ("change", ECG),
    "veto by the judging patients": ("no change", REFERENCE),
    "veto by the audit": ("no change", REFERENCE),
    "the reference is the pick": ("no change", REFERENCE),
    "best affordable": ("best affordable", ECG),
    "reference out of reach, not confirmed": ("best affordable", ECG),
    "nothing affordable": ("nothing affordable", None),
    "either of two": ("change", ECG),
    "no test tells anything": ("no change", REFERENCE),
    "one fold": ("change", ECG),
}


def one_fold_record(**changes) -> Record:
    """A holdout: the tune and test tables are of different patients, one round and one stratum each."""
    record = record_of(USELESS_CT, repeats=1, folds=2)
    part = record.test.stratum[0] == 0

    def half(mask: np.ndarray) -> ScoreTable:
        probability = np.where(mask, record.test.probability, np.nan)
        return ScoreTable(KEYS, probability, np.where(mask, 0, -1)[None], record.test.label, record.test.site)

    return replace(record, tune=half(part), test=half(~part), places=[(0, 0)], searches=record.searches[:1], **changes)


@cache
def record_for(case: str) -> Record:
    changes = dict(CASES[case][0])
    return one_fold_record() if case == "one fold" else record_of(changes.pop("worth"), **changes)


@cache
def answer(case: str) -> Recommendation:
    return recommend(record_for(case), Budget.from_mapping(CASES[case][1]), QUICK)


@pytest.mark.parametrize("case", CASES)
def test_what_is_decided(case):
    recommendation = answer(case)
    status, key = STATUS[case]

    assert (recommendation.status, recommendation.content["decision"]["key"]) == (status, key)
    assert recommendation.protocol == (None if key is None else Protocol.from_key(key))


def test_a_veto_names_its_reason_and_what_it_would_have_been():
    for case, reason in (("veto by the judging patients", "is inferior"), ("veto by the audit", VETO.title)):
        decision = answer(case).content["decision"]
        assert decision["proposed"] == ECG
        assert "did not pass" in decision["headline"]
        assert decision["lead"].count("It would have been history + resting ECG for €55.00.") == 1
        assert any(reason in line for line in decision["reasons"])


def test_useless_tests_are_vetoed_as_useless():
    decision = answer("no test tells anything").content["decision"]

    assert decision["proposed"] == HISTORY
    assert any("may be 0.5" in line for line in decision["reasons"])


def test_what_is_not_confirmed_is_never_called_as_good():
    """The reference cannot be paid, so nothing has to be confirmed; but then nothing may be claimed either."""
    decision = answer("reference out of reach, not confirmed").content["decision"]

    assert "the same diagnosis" not in decision["headline"]
    assert "is the best there is" in decision["headline"]
    assert decision["lead"].startswith("Not shown to be as good as today's protocol (€255.00).")


def test_a_confirmed_change_is_a_change_even_where_the_reference_is_out_of_reach():
    assert answer("change within a budget").content["decision"]["headline"].startswith("Leave out CT")


@pytest.mark.parametrize("case", [case for case in CASES if case != "nothing affordable"])
def test_headline_and_lead_tell_price_quality_and_certainty(case):
    recommendation = answer(case)
    decision = recommendation.content["decision"]
    candidate = recommendation.candidates[decision["proposed"]]
    area = Assessment.from_dict(candidate["assessment"]).auc

    assert f"€{candidate['cost']['money']:,.2f}" in decision["headline"] + decision["lead"]
    assert "€255.00" in decision["headline"] + decision["lead"], "what it costs today"
    assert f"AUC {area.reading()}" in decision["lead"]
    nested = recommendation.content["nested"]
    unseen = "the search never saw" if nested is None else "by networks that never saw them"
    assert f"judged on {candidate['assessment']['n']} patients {unseen}." in decision["lead"]
    if nested is not None and decision["proposed"] != REFERENCE:
        assert f"as well: {Interval.from_dict(nested['difference']).reading()}." in decision["lead"]
    if decision["proposed"] != REFERENCE:
        assert "difference" in decision["lead"]
        assert "margin .03" in decision["lead"]
    assert decision["headline"][0].isupper() or decision["headline"][0] == "€"
    for line in (decision["headline"], *repr(recommendation).splitlines()):
        assert "nan" not in line.lower().replace("finance", "")
    assert decision["headline"] in repr(recommendation)


def test_nothing_affordable_says_what_the_cheapest_misses():
    decision = answer("nothing affordable").content["decision"]

    assert decision["headline"] == "No protocol fits: at most €4.00, 1 visit."
    assert decision["lead"] == "The cheapest one, history, costs €5.00, 1 visit and misses money by 1."
    assert answer("nothing affordable").content["nested"]["picks"] == []


def test_the_change_is_said_in_words():
    def headline(reference: list[str], **prices) -> str:
        everything = menu_of(prices)
        menu = Menu(
            everything.modalities.values(),
            everything.setups.values(),
            reference=Protocol({name: [1] for name in reference}),
            always=everything.always,
            currency="€",
        )
        record = record_of(EITHER, redundant=True, menu=menu)
        return recommend(record, Budget(), QUICK).content["decision"]["headline"]

    assert headline(["history", "ecg", "ct"]).startswith("Leave out CT: the same diagnosis for €55.00 instead of €255")
    assert headline(["history", "ct"]).startswith("Leave out CT, add resting ECG: the same diagnosis for €55.00")
    assert headline(["history", "ecg", "ct"], ecg=900.0).startswith("Leave out resting ECG: the same diagnosis")


@pytest.mark.parametrize(
    ("low", "high", "verdict", "said"),
    [
        (-0.020, 0.004, "non-inferior", "the same diagnosis"),
        (-0.029, -0.017, "non-inferior", "an AUC lower by less than the margin of .03"),
        (0.010, 0.030, "better", "a better diagnosis"),
    ],
)
def test_what_is_surely_lower_is_not_called_the_same(low, high, verdict, said):
    comparison = SimpleNamespace(difference=Interval((low + high) / 2, low, high, 0.01, 0.95), verdict=verdict)

    assert _quality(comparison, 0.03) == said


def test_a_better_diagnosis_is_called_better():
    everything = menu_of()
    menu = Menu(
        everything.modalities.values(),
        everything.setups.values(),
        reference=Protocol({"history": [1], "ct": [1]}),
        always=everything.always,
        currency="€",
    )
    record = record_of({"history": 0.8, "ecg": 1.6, "ct": 0.6}, menu=menu)

    headline = recommend(record, Budget(), QUICK).content["decision"]["headline"]

    assert headline == "Leave out CT, add resting ECG: a better diagnosis for €55.00 instead of €205.00."


def numbers(node, at=""):
    if isinstance(node, dict):
        for key, value in node.items():
            assert isinstance(key, str)
            yield from numbers(value, f"{at}.{key}")
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from numbers(value, f"{at}[{index}]")
    elif isinstance(node, float):
        yield at, node


@pytest.mark.parametrize("case", CASES)
def test_it_survives_being_written_down(case, tmp_path):
    recommendation = answer(case)

    assert not [at for at, value in numbers(recommendation.to_dict()) if not math.isfinite(value)]
    write_json(tmp_path / "recommendation.json", recommendation.to_dict())
    read = Recommendation(read_json(tmp_path / "recommendation.json"))

    assert repr(read) == repr(recommendation)
    assert read.to_dict() == json.loads(json.dumps(recommendation.to_dict(), allow_nan=False))
    for key, candidate in read.candidates.items():
        assert Assessment.from_dict(candidate["assessment"]).key == key


KEYS_OF = {
    "": "schema_version study currency axes split model search rule budget decision reference candidates considered "
    "ladder nested guards audit sensitivity provenance",
    "split": "kind text n_judging n_searching",
    "search": "how n_evaluated complete history",
    "rule": "margin alpha level specificity thresholds primary text",
    "budget": "limits text",
    "decision": "status key headline lead reasons",
    "nested": "auc difference optimism picks text",
}
ROWS_OF = {
    "candidates": "key reading title_short modalities cost bill roles tune_auc on_front feasible "
    "indistinguishable_from_recommended assessment",
    "considered": "key reading cost tune_auc on_front short_listed",
    "ladder": "limit key status",
    "guards": "id severity title detail vetoes",
}


@pytest.mark.parametrize("case", CASES)
def test_it_has_the_keys_of_the_schema(case):
    content = answer(case).content

    assert content["schema_version"] == 1
    for part, keys in KEYS_OF.items():
        if part != "nested" or content["nested"] is not None:
            assert set(keys.split()) <= set(content[part] if part else content), part
    for part, keys in ROWS_OF.items():
        for row in content[part]:
            assert set(keys.split()) <= set(row), part
    assert (content["nested"] is None) == (case == "one fold")


def test_what_a_recommendation_reports():
    content = answer("change").content

    assert content["axes"] == ["money", "minutes", "msv", "visits"]
    assert content["reference"] == REFERENCE
    assert content["split"]["n_judging"] == content["split"]["n_searching"] == 600
    assert content["search"] == {
        "how": "exact lattice of 4 protocols",
        "complete": True,
        "n_evaluated": 4,
        "history": [{"evaluated": 4, "hypervolume": 0.5}],
    }
    assert [(step["limit"], step["key"], step["status"]) for step in content["ladder"]] == [
        (5.0, HISTORY, "best affordable"),
        (55.0, ECG, "non-inferior"),
    ]
    assert content["nested"]["picks"] == [{"key": ECG, "reading": "history + resting ECG", "share": 1.0}]
    procedure = Interval.from_dict(content["nested"]["difference"])
    judged = Assessment.from_dict(answer("change").candidates[ECG]["assessment"])
    assert procedure.value == pytest.approx(judged.versus_reference.difference.value), "every fold picked the same"


def test_candidates_are_sorted_by_price_and_add_up():
    content = answer("change within a budget").content
    prices = [row["cost"]["money"] for row in content["candidates"]]

    assert [row["key"] for row in content["candidates"]] == [HISTORY, ECG, CT, REFERENCE]
    assert prices == sorted(prices)
    for row in content["candidates"]:
        for axis, total in row["cost"].items():
            assert math.fsum(item["cost"][axis] for item in row["bill"]) == pytest.approx(total)
    assert [row["feasible"] for row in content["candidates"]] == [True, True, False, False]
    assert [row["title_short"] for row in content["candidates"]] == [
        "nothing more",
        "resting ECG",
        "CT",
        "resting ECG + CT",
    ]
    assert [row["indistinguishable_from_recommended"] for row in content["candidates"]] == [False, True, False, True]


def test_aucs_are_those_of_the_patients():
    record = record_for("change")
    for key, candidate in answer("change").candidates.items():
        row = record.test.row(key)
        mean = np.mean(
            [
                auc(record.test.label, record.test.probability[repeat, row], record.test.stratum[repeat])
                for repeat in range(record.test.n_rounds)
            ]
        )
        assert candidate["assessment"]["auc"]["value"] == pytest.approx(mean)
        assert mean == pytest.approx(expected_auc(USELESS_CT, key), abs=0.05)


def test_considered_shows_the_best_2000():
    rng = np.random.default_rng(0)
    considered = [
        {"key": KEYS[n % 4], "tune_auc": float(value), "on_front": n == 0} for n, value in enumerate(rng.random(2600))
    ]
    content = recommend(replace(record_for("change"), considered=considered), Budget(), QUICK).content

    assert content["search"]["n_evaluated"] == 2600
    assert len(content["considered"]) == 2000
    shown = [row["tune_auc"] for row in content["considered"]]
    assert shown == sorted((row["tune_auc"] for row in considered), reverse=True)[:2000]


def test_considered_protocols_that_were_not_judged_are_told_apart():
    considered = [{"key": key, "tune_auc": 0.8, "on_front": False} for key in (ECG, "ct=1 ecg=1")]

    rows = recommend(replace(record_for("change"), considered=considered), Budget(), QUICK).content["considered"]

    assert {row["key"]: row["short_listed"] for row in rows} == {ECG: True, "ct=1 ecg=1": False}
    assert rows[0]["cost"]["money"] == 250.0
    assert rows[0]["reading"] == "resting ECG + CT"


def test_patients_of_a_small_site_may_be_spread_over_all_folds():
    """Five of each class, one of each per fold: the site has no pair to compare, and the others are judged."""
    record = record_of(USELESS_CT, repeats=1, folds=5)
    site = np.full(600, "large", dtype="<U5")
    for fold in range(5):
        for of_class in (0, 1):
            site[np.flatnonzero((record.test.stratum[0] == fold) & (record.test.label == of_class))[0]] = "small"
    tables = {
        name: ScoreTable(KEYS, table.probability, table.stratum, table.label, site)
        for name, table in (("tune", record.tune), ("test", record.test))
    }
    done = {name: dict.fromkeys(record.menu.modalities, 1.0) for name in ("large", "small")}

    recommendation = recommend(replace(record, **tables, done=done), Budget(), QUICK)

    assert recommendation.status == "change"
    small = next(row for row in recommendation.candidates[ECG]["assessment"]["sites"] if row["site"] == "small")
    assert small["auc"] is None
    assert "none can be compared" in small["reason"]


@pytest.mark.parametrize("worth", [USELESS_CT, NO_TEST])
def test_without_tests_that_are_always_done_the_minimal_protocol_is_chance(worth):
    """Judged at a site where nobody learned: the gain is the AUC over one half."""
    record = record_of(worth, menu=menu_of(always=False), sites=("north", "east"))
    north = record.tune.site == "north"
    tune = ScoreTable(
        KEYS,
        np.where(north, record.tune.probability, np.nan),
        np.where(north, record.tune.stratum, -1),
        record.tune.label,
        record.tune.site,
    )

    recommendation = recommend(replace(record, tune=tune), Budget(), QUICK)

    (transfer,) = [finding for finding in recommendation.content["guards"] if finding["id"] == "transfer:east"]
    picked = recommendation.candidates[recommendation.content["decision"]["proposed"]]
    area = next(row["auc"] for row in picked["assessment"]["sites"] if row["site"] == "east")
    assert f"over the minimal protocol {area['value'] - 0.5:.3f}".replace("0.", ".") in transfer["detail"]
    assert transfer["severity"] == ("pass" if worth is USELESS_CT else "fail")
    assert recommendation.status == ("change" if worth is USELESS_CT else "no change")


# ---- what would change the advice ------------------------------------------------------------------------------------

MARGIN = re.compile(r"A margin (?P<side>below|above) (?P<margin>\.\d+) instead of \.\d+: it would (?P<not>not )?be")
LESS = re.compile(r"Less than €(?P<limit>[\d.]+) to spend: (?P<reading>.+) would be picked\.")
MORE = re.compile(r"€(?P<limit>[\d.]+) or more to spend: (?P<reading>.+) would be picked\.")
DEARER = re.compile(r"(?P<title>.+) dearer by more than € ?(?P<gap>[\d.]+): (?P<reading>.+) would be picked\.")
SAME_PRICE = {"ecg": 40.0, "ct": 50.0}
SENSITIVE: dict[str, tuple[dict, dict, dict, dict]] = {
    # what is true, budget, rule, prices
    "change": ({"worth": USELESS_CT}, {}, {}, {}),
    "change, noisy": ({"worth": USELESS_CT, "noise": 0.5}, {}, {"margin": 0.05}, {}),
    "change, other levels": (
        {"worth": USELESS_CT, "noise": 0.5},
        {},
        {"level": 0.8, "alpha": 0.01, "margin": 0.05},
        {},
    ),
    "change, wide intervals": ({"worth": USELESS_CT, "noise": 0.3}, {}, {"level": 0.999, "margin": 0.05}, {}),
    "few patients": ({"worth": USELESS_CT, "n": 200, "noise": 0.8, "seed": 3}, {}, {"margin": 0.08}, {}),
    "vetoed": ({"worth": USELESS_CT, "judged_worth": ALL_NEEDED}, {}, {}, {}),
    "vetoed, other levels": ({"worth": USELESS_CT, "judged_worth": ALL_NEEDED}, {}, {"level": 0.9, "alpha": 0.2}, {}),
    "best affordable": ({"worth": ALL_NEEDED}, {"money": 100.0}, {}, {}),
    "the reference": ({"worth": ALL_NEEDED}, {}, {}, {}),
    "either": ({"worth": EITHER, "redundant": True}, {}, {}, {}),
    "either, at one price": ({"worth": EITHER, "redundant": True}, {}, {}, SAME_PRICE),
    "either, within a budget": ({"worth": EITHER, "redundant": True}, {"money": 210.0}, {}, {}),
    "either, too little for both": ({"worth": EITHER, "redundant": True}, {"money": 100.0}, {}, {}),
    "either, quick": ({"worth": EITHER, "redundant": True}, {"minutes": 12.0}, {}, {}),
}


@cache
def advice(case: str, **changed: float) -> Recommendation:
    """The advice where one thing is different: the margin, a limit on money, or the price of a test."""
    world, budget, rule, prices = SENSITIVE[case]
    world = dict(world)
    prices = prices | {name: price for name, price in changed.items() if name in menu_of().modalities}
    record = record_of(world.pop("worth"), menu=menu_of(prices), **world)
    rule = replace(QUICK, **(rule | {name: value for name, value in changed.items() if name == "margin"}))
    return recommend(
        record, Budget.from_mapping(budget | {name: v for name, v in changed.items() if name == "money"}), rule
    )


def picked(recommendation: Recommendation) -> str:
    return recommendation.candidates[recommendation.content["decision"]["proposed"]]["reading"]


@cache
def check(case: str, sentence: str) -> str:
    """Change what the sentence names, slightly more and slightly less than it says; return its kind."""
    now = advice(case)
    key = now.content["decision"]["proposed"]
    if match := MARGIN.match(sentence):
        stated = float(match["margin"])
        below, above = (
            advice(case, margin=margin).candidates[key]["assessment"]["versus_reference"]["verdict"]
            for margin in (stated - 1e-9, stated + 0.001 if match["side"] == "below" else stated + 1e-9)
        )
        assert below in ("undecided", "inferior") or match["side"] == "above"
        assert above in ("non-inferior", "better")
        if match["side"] == "above":
            tighter = advice(case, margin=stated - 0.001)
            assert tighter.candidates[key]["assessment"]["versus_reference"]["verdict"] in ("undecided", "inferior")
        assert (match["side"] == "below") == (match["not"] is not None)
        return f"margin {match['side']}"
    if match := LESS.match(sentence):
        limit = float(match["limit"])
        assert picked(advice(case, money=limit - 0.01)) == match["reading"] != picked(now)
        assert picked(advice(case, money=limit)) == picked(now)
        return "less"
    if match := MORE.match(sentence):
        limit = float(match["limit"])
        assert picked(advice(case, money=limit - 0.01)) == picked(now)
        assert picked(advice(case, money=limit)) == match["reading"] != picked(now)
        return "more"
    match = DEARER.match(sentence)
    assert match, f"an unknown kind of sentence: {sentence}"
    titles = {modality.title.lower(): name for name, modality in menu_of().modalities.items()}
    name = titles[match["title"].lower()]
    price = {"history": 5.0, "ecg": 40.0, "ct": 200.0, **SENSITIVE[case][3]}[name]
    gap = float(match["gap"])
    assert picked(advice(case, **{name: price + gap - min(gap, 0.01)})) == picked(now)
    assert picked(advice(case, **{name: price + gap + 0.01})) == match["reading"] != picked(now)
    return "dearer"


@pytest.mark.parametrize("case", SENSITIVE)
def test_what_would_change_the_advice_really_does(case):
    for sentence in advice(case).content["sensitivity"]:
        check(case, sentence)


def test_every_kind_of_sentence_is_met():
    met = {check(case, sentence) for case in SENSITIVE for sentence in advice(case).content["sensitivity"]}

    assert met == {"margin below", "margin above", "less", "more", "dearer"}


def test_of_equally_dear_rivals_the_one_that_would_be_picked_is_named():
    """Three tests do alike at one price; the ECG is quickest, CT the slowest, the walk in between."""
    panels = [
        TestPanel("history", {"age": {"money": 5.0}}),
        TestPanel("ecg", {"ecg": {"money": 50.0, "minutes": 10.0}}, title="resting ECG"),
        TestPanel("ct", {"ct": {"money": 60.0, "minutes": 25.0}}, title="CT"),
        TestPanel("walk", {"walk": {"money": 60.0, "minutes": 20.0}}, title="walk"),
    ]
    walk = "history=1 walk=1"
    base = record_of(EITHER, redundant=True)

    def with_walk(table: ScoreTable) -> ScoreTable:
        row = table.probability[:, [table.row(ECG)]]
        rng = np.random.default_rng(8)
        jitter = np.clip(row + 1e-3 * rng.normal(size=row.shape), 0, 1)
        return table.extend(ScoreTable((walk,), jitter, table.stratum, table.label, table.site))

    record = replace(
        base,
        menu=Menu(panels, [Setup("visit", Cost())], always=Protocol({"history": [1]}), currency="€",
                  reference=Protocol.from_key(REFERENCE)),
        tune=with_walk(base.tune),
        test=with_walk(base.test),
        done={site: dict.fromkeys(("history", "ecg", "ct", "walk"), 1.0) for site in ("north", "south")},
    )  # fmt: skip

    sentences = recommend(record, Budget(), QUICK).content["sensitivity"]

    assert "Resting ECG dearer by more than €10.00: history + walk would be picked." in sentences


# ---- the report on it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_a_report_can_be_made_of_it(case, tmp_path):
    write_json(tmp_path / "recommendation.json", answer(case).to_dict())

    report = build_report(read_json(tmp_path / "recommendation.json"))

    assert not [(card.id, card.not_applicable_reason) for card in report.cards if card.status == "error"]
    assert report.head["headline"] == answer(case).content["decision"]["headline"]
