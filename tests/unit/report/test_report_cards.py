"""What the cards say, by value."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import pytest
from fixtures import BASE, EXERCISE, PROPOSAL, REFERENCE, TITLES, recommendation

from scanwise.errors import ScanwiseError
from scanwise.report import Card, build_report, formats
from scanwise.report.cards import SECTIONS, front


@pytest.fixture(scope="module")
def report() -> Any:
    return build_report(recommendation())


def rows(card: Card) -> list[dict[str, Any]]:
    assert card.table is not None
    return [dict(row.cells) | {"role": row.role} for row in card.table.rows]


def test_every_registered_card_is_there_explains_itself_and_stands(report: Any) -> None:
    ids = [entry.id for section in SECTIONS for entry in section.entries]
    assert [card.id for card in report.cards] == ids
    assert len(set(ids)) == len(ids)
    for card in report.cards:
        made_up = card.id in (
            "assumptions",
            "doubts",
            "patterns",
            "pictures",
        )  # patients are real, and tests are no images
        assert card.status in (("not applicable",) if made_up else ("ok", "attention")), card
        assert card.title
        assert "bad case" in card.how_to_read or card.id == "limits"
        assert bool(card.figure) == bool(card.alt and card.figure)


def test_assumed_numbers_of_a_virtual_cohort_are_listed() -> None:
    given = recommendation()
    given["study"]["assumptions"] = [
        {"what": "tissues.pz.vp.mean", "value": 0.02, "source": "no in-vivo source found", "confidence": "assumed"}
    ]
    card = build_report(given).card("assumptions")
    assert card.title == "1 number of the virtual patients is assumed"
    assert rows(card) == [
        {"what": "tissues.pz.vp.mean", "value": "0.02", "source": "no in-vivo source found", "role": ""}
    ]


def doubtful(**change: float) -> dict[str, Any]:
    """Two numbers that were moved; the difference changes by what is told for T2 of the cancer."""

    def interval(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.004, "high": value + 0.004}

    numbers = (
        ("tissues.fat.t1_s", 0.362, 0.382, 0.402, {}),
        ("findings.cancer.tissue.t2_s", 0.07, 0.08, 0.09, change),
        ("findings.stromal_nodule.per_patient", 1.0, 1.3, 1.7, {}),
    )
    given = recommendation()
    given["doubts"] = {
        "applicable": True,
        "n": 200,
        "n_positive": 100,
        "moved": [
            {"where": where, "low": low, "value": value, "high": high}
            | {side: interval(by.get(side, 0.001)) for side in ("down", "up")}
            for where, low, value, high, by in numbers
        ],
    }
    return given


def test_the_number_that_matters_most_stands_first_and_in_the_title() -> None:
    card = build_report(doubtful(down=-0.006, up=0.002)).card("doubts")
    assert card.status == "ok"
    assert card.title == (
        "No number alone is shown to take the proposal below the margin, of 3 that were moved; "
        "T2 of cancer moves it most, by −.006 where it is lower"
    )
    assert [row["number"] for row in rows(card)] == [
        "T2 of cancer",
        "number of stromal nodule",
        "T1 of fat",
    ]
    assert [row["range"] for row in rows(card)] == ["70, 80, 90 ms", "1, 1.3, 1.7 per patient", "362, 382, 402 ms"]
    assert card.figure is not None
    lower, higher = card.figure["data"]
    assert [trace["name"] for trace in (lower, higher)] == ["lower", "higher"]
    assert higher["x"][0] - lower["x"][0] == pytest.approx(0.008)


def test_a_number_that_turns_the_advice_calls_for_attention() -> None:
    card = build_report(doubtful(up=-0.05)).card("doubts")
    assert card.status == "attention"
    assert card.title.startswith("1 number alone would take the proposal below the margin; T2 of cancer moves it most")


def test_what_chance_may_have_moved_is_not_called_moved() -> None:
    given = doubtful(up=-0.05)
    given["doubts"]["moved"][1]["up"].update(low=-0.11, high=0.01)
    card = build_report(given).card("doubts")
    assert card.status == "ok"
    assert card.title == (
        "No number alone is shown to take the proposal below the margin, of 3 that were moved; "
        "none of 3 numbers is shown to move it"
    )


def test_where_today_stays_it_is_todays_auc_that_moves() -> None:
    given = doubtful(up=-0.05)
    given["decision"]["key"] = given["decision"]["proposed"] = given["reference"]
    card = build_report(given).card("doubts")
    assert card.title == ("T2 of cancer moves the AUC of today's protocol most, by −.050 where it is higher")
    assert card.status == "ok"


def test_minutes_tell_scanning_from_set_up() -> None:
    given = recommendation()
    for candidate in given["candidates"]:
        candidate["cost"]["minutes"] = 30.0
        for line in candidate["bill"]:
            line["cost"]["minutes"] = 2.0 if line["kind"] == "shots" else 7.0
    given["axes"] = ["money", "minutes"]
    tile = rows(build_report(given).card("tiles"))[1]
    shown = next(one for one in given["candidates"] if one["key"] == given["decision"]["key"])
    scanning = 2.0 * sum(line["kind"] == "shots" for line in shown["bill"])
    assert f"{scanning:g} min of scanning" in tile["detail"]


def test_waiting_between_frames_belongs_to_its_scan() -> None:
    given = recommendation()
    reference = next(one for one in given["candidates"] if one["key"] == given["reference"])
    (scan,) = [line for line in reference["bill"] if line["label"] == "fluoroscopy"]
    before = {row["modality"]: row["cost_today"] for row in rows(build_report(given).card("order"))}
    for price in (1.0, 2.5):
        waiting = {**scan, "label": "fluoroscopy waiting", "cost": {**scan["cost"], "money": price}}
        reference["bill"].append(waiting)
    after = {row["modality"]: row["cost_today"] for row in rows(build_report(given).card("order"))}
    assert after["fluoroscopy"] == pytest.approx(before["fluoroscopy"] + 3.5)
    assert {name for name in after if after[name] != before[name]} == {"fluoroscopy"}


def test_tiles_state_price_visits_diagnosis_and_patients(report: Any) -> None:
    price, visits, diagnosis, patients = rows(report.card("tiles"))
    assert (price["value"], price["detail"], price["change"]) == ("CA$ 194.20", "today CA$ 323.97", "−40 %")
    assert price["bar"] == pytest.approx(194.20 / 323.97)
    assert (visits["value"], visits["change"]) == ("2 visits", "unchanged")
    assert (diagnosis["value"], diagnosis["verdict"]) == (".908", "non-inferior")
    assert "today .913, difference −.005 (−.018 to +.008), margin .03" in diagnosis["detail"]
    assert patients["value"] == "303"
    assert patients["detail"].startswith("139 positive")


def test_order_lists_every_test_and_fee_and_adds_up(report: Any) -> None:
    card = report.card("order")
    assert card.title == "Leave out 3, keep 3 of 6 tests"
    table = rows(card)
    tests = {row["modality"]: row["proposed"] for row in table[:6]}
    assert tests == dict.fromkeys(TITLES.values(), "done") | dict.fromkeys(
        ("blood panel", "resting ECG", "thallium stress test"), "left out"
    )
    assert [row["role"] for row in table if "fee" in row["role"]] == ["fee out", "fee out", "fee"]
    for column, total in (("cost_today", 323.97), ("cost_proposed", 194.20)):
        assert sum(row[column] or 0.0 for row in table[:-1]) == pytest.approx(total)
        assert table[-1][column] == pytest.approx(total)


def test_order_describes_part_of_a_test_as_the_bill_does() -> None:
    given = recommendation()
    proposal = next(c for c in given["candidates"] if c["key"] == PROPOSAL)
    given["decision"]["key"] = proposal["key"] = "exercise=1,0,1 fluoroscopy=1 history=1x4"
    line = next(line for line in proposal["bill"] if line["label"] == "exercise ECG")
    line["label"] = "exercise ECG (exang + slope)"
    row = next(row for row in rows(build_report(given).card("order")) if row["modality"] == "exercise ECG")
    assert (row["today"], row["proposed"], row["role"]) == ("done", "exang + slope", "changed")


def test_front_places_every_protocol_once_by_key(report: Any) -> None:
    figure = report.figure("front")
    assert isinstance(figure, go.Figure)
    keys = {trace.meta["role"]: [item[0] for item in trace.customdata or ()] for trace in figure.data}
    assert keys["proposal"] == [PROPOSAL]
    assert keys["reference"] == [REFERENCE]
    assert len(keys["within"]) == 13
    assert keys["above"] == []
    band = next(trace for trace in figure.data if trace.meta["role"] == "band")
    assert len(band.x) == 6  # the proposal and those that cannot be told apart from it, from left to right
    assert list(band.x) == sorted(band.x)
    assert len(keys["alike"]) == 5
    assert PROPOSAL not in keys["alike"]
    proposal = next(trace for trace in figure.data if trace.meta["role"] == "proposal")
    assert (proposal.x[0], round(proposal.y[0], 3)) == (194.2, 0.908)
    assert proposal.y[0] + proposal.error_y.array[0] == pytest.approx(0.9379, abs=5e-4)
    assert proposal.y[0] - proposal.error_y.arrayminus[0] == pytest.approx(0.8661, abs=5e-4)
    assert "194.20" in report.card("front").alt
    assert report.card("front").title == "Beyond CA$ 194.20, paying more buys at most .005 AUC"


def test_front_greys_what_is_above_the_budget_and_starts_the_slider_there() -> None:
    given = recommendation()
    given["budget"] = {"limits": {"money": 100.0}, "text": "at most CA$ 100"}
    for candidate in given["candidates"]:
        candidate["feasible"] = candidate["cost"]["money"] <= 100
    given["decision"].update(key=EXERCISE, status="best affordable")
    card = build_report(given).card("front")
    assert card.figure is not None
    keys = {trace["meta"]["role"]: [item[0] for item in trace.get("customdata") or ()] for trace in card.figure["data"]}
    assert keys["proposal"] == [EXERCISE]
    assert len(keys["above"]) == 10
    assert set(keys["within"]) == {BASE, "blood=1x2 history=1x4", "history=1x4 resting_ecg=1"}
    slider = card.data["sliders"][0]
    assert slider["texts"][slider["start"]] == "CA$ 100.00"
    assert slider["stops"] == sorted(set(slider["stops"]))


def test_arrangement_never_loses_a_protocol() -> None:
    points = [front.Point(key, 1.0, 0.8, 0.7, 0.9, key != "c", key == "b", "") for key in "abcd"]
    roles = front.arrange(points, proposal="a", reference="a")
    assert roles == {
        "above": ["c"],
        "within": ["b", "d"],
        "alike": ["b"],
        "reference": ["a"],
        "proposal": [],
    }


def test_every_protocol_has_a_card_of_what_is_done_what_it_costs_and_how_good_it_is(report: Any) -> None:
    data = report.card("front").data
    card = {
        point["key"]: dict(zip(data["labels"], (data["words"][place] for place in point["facts"]), strict=True))
        for point in data["points"]
    }
    assert len(card) == 15
    assert card[PROPOSAL]["fluoroscopy"] == card[PROPOSAL]["exercise ECG"] == "done"
    assert card[PROPOSAL]["blood panel"] == "not done"
    assert card[PROPOSAL]["Price per patient"] == "CA$ 194.20"
    assert card[PROPOSAL]["AUC (95 %)"].startswith(".908 (")
    assert card[PROPOSAL]["Verdict"] == "✓ non-inferior"
    assert card[REFERENCE]["Against today"] == "–"
    assert list(card[PROPOSAL])[data["n_parts"]] == "Price per patient"
    assert list(card[PROPOSAL])[data["auc"]] == "AUC (95 %)"


def test_the_rule_is_on_the_page_only_where_all_its_grounds_are() -> None:
    given = recommendation()
    assert build_report(given).card("front").data["rule"] is None
    keys = [candidate["key"] for candidate in given["candidates"]][::-1]
    n = len(keys)
    given["choice"] = {
        "keys": keys,
        "auc": [0.8 + 0.01 * (row // 2) + 1e-9 * (row == 1) for row in range(n)],
        "dearness": list(range(n))[::-1],
        "non_inferior": [row % 2 == 0 for row in range(n)],
        "confirmed": None,
        "alike": ["1"] * n,
    }
    given["budget"] = {"limits": {"visits": 1.0}, "text": "at most 1 visit"}
    data = build_report(given).card("front").data
    assert data["rule"]["in_sequence"] is False
    by_key = dict(zip((point["key"] for point in data["points"]), data["rule"]["protocols"], strict=True))
    assert by_key[keys[0]] == [14, 8, 0, 1, 0, "1"]
    assert by_key[keys[1]] == [13, 7, 1, 0, 0, "1"]  # higher by less than what is rounded away elsewhere
    assert by_key[keys[2]][1] == by_key[keys[3]][1] == 6  # level protocols share a place
    assert by_key[keys[14]][1] == 0
    sliders = {slider["axis"]: slider for slider in data["sliders"]}
    assert (sliders["visits"]["stops"], sliders["visits"]["start"]) == ([1.0, 2.0], 0)  # and may be raised as well
    given["choice"]["keys"] = keys[1:]
    assert build_report(given).card("front").data["rule"] is None


def test_ladder_has_words_for_every_budget(report: Any) -> None:
    table = rows(report.card("ladder"))
    assert [row["limit"] for row in table] == [4.0, 93.3, 194.2]
    assert [row["verdict"] for row in table] == ["inferior", "undecided", "non-inferior"]
    assert table[-1]["role"] == "proposal"
    assert report.card("ladder").title == "From CA$ 194.20 on the diagnosis is shown to hold"
    words = [rung["text"] for rung in report.card("front").data["ladder"]]
    assert words[1].startswith("From CA$ 93.30 up to CA$ 194.20: history and blood pressure + exercise ECG. AUC .881 (")
    assert words[2].startswith("From CA$ 194.20 on: ")


def test_a_vetoed_protocol_is_not_advised_at_any_budget() -> None:
    given = recommendation()
    given["decision"].update(key=REFERENCE, proposed=PROPOSAL, status="no change")
    report = build_report(given)
    assert (
        report.card("ladder").title
        == "At no budget is the diagnosis shown to hold; a guard forbids what the rule picked"
    )
    assert report.card("ladder").status == "attention"
    assert rows(report.card("ladder"))[-1]["reading"].endswith("fluoroscopy (vetoed by a guard)")
    assert report.card("front").data["ladder"][-1]["text"].endswith("A guard forbids this change.")


def test_a_second_limit_can_only_be_lowered() -> None:
    given = recommendation()
    given["budget"] = {"limits": {"visits": 2.0}, "text": "at most 2 visits"}
    sliders = {slider["axis"]: slider for slider in build_report(given).card("front").data["sliders"]}
    assert (sliders["visits"]["stops"], sliders["visits"]["start"]) == ([1.0, 2.0], 1)
    given["budget"] = {"limits": {"visits": 1.0}, "text": "at most 1 visit"}
    data = build_report(given).card("front").data
    assert [slider["axis"] for slider in data["sliders"]] == ["money"]
    assert data["limits"] == {"visits": 1.0}


def test_evidence_cards_carry_their_numbers(report: Any) -> None:
    assert report.card("roc").title == "AUC .908 proposed against .913 today, difference −.005 (−.018 to +.008)"
    assert len(rows(report.card("roc"))) == 102
    assert report.card("calibration").title == "Predicted risks agree with what was observed: slope 0.97 (0.79 to 1.15)"
    assert [row["n"] for row in rows(report.card("calibration"))] == [61, 61, 61, 61, 60] * 2
    assert "at 5 of 5 thresholds" in report.card("decision_curve").title
    curve = rows(report.card("decision_curve"))
    prevalence = 139 / 303
    assert curve[-1]["treat_all"] == pytest.approx(2 * prevalence - 1)
    assert report.card("operating").title == "At 90 % specificity 72 of 100 positive patients are found, 74 today"
    assert report.card("nested").title.startswith("Repeated blindly, the procedure reaches AUC .902 (")
    assert [row["share"] for row in rows(report.card("nested"))] == [0.72, 0.28]


@pytest.mark.parametrize(
    ("low", "high", "title", "status"),
    [
        (0.5, 0.9, "too extreme", "attention"),
        (1.1, 1.5, "too timid", "attention"),
        (None, None, "could not be estimated", "ok"),
    ],
)
def test_calibration_title_names_the_bad_case(low: Any, high: Any, title: str, status: str) -> None:
    given = recommendation()
    proposal = next(c for c in given["candidates"] if c["key"] == PROPOSAL)
    proposal["assessment"]["calibration"]["slope"] = {"value": 0.7, "low": low, "high": high, "se": None, "level": 0.95}
    card = build_report(given).card("calibration")
    assert title in card.title
    assert card.status == status


def test_bill_adds_up_and_names_the_largest_part(report: Any) -> None:
    card = report.card("bill")
    assert card.title == "CA$ 129.77 saved, the largest part is thallium stress session (CA$ 101.90)"
    table = rows(card)
    for name in ("money", "visits"):
        for who in ("today", "proposed"):
            assert sum(row[f"{who}_{name}"] for row in table[:-1]) == pytest.approx(table[-1][f"{who}_{name}"])


def test_a_test_that_is_acquired_otherwise_stays_one_line_of_the_bill() -> None:
    given = recommendation()
    shown = next(one for one in given["candidates"] if one["key"] == given["decision"]["key"])
    line = next(line for line in shown["bill"] if line["label"] == "exercise ECG")
    line["label"], line["cost"]["money"] = "exercise ECG, 6 of 12 leads", 1.5
    (found,) = [
        row
        for row in rows(build_report(given).card("bill"))
        if row["kind"] == "test" and "ECG" in row["label"] and row["label"] != "resting ECG"
    ]
    assert (found["label"], found["today_money"], found["proposed_money"]) == ("exercise ECG", 3.0, 1.5)


def test_a_session_named_like_its_test_is_not_counted_twice() -> None:
    given = recommendation()
    for candidate in given["candidates"]:
        for line in candidate["bill"]:
            line["label"] = line["label"].replace("thallium stress session", "thallium stress test")
    report = build_report(given)
    for name in ("order", "bill"):
        table = rows(report.card(name))
        column = "cost_today" if name == "order" else "today_money"
        assert (
            sum(row[column] or 0.0 for row in table[:-1]) == pytest.approx(table[-1][column]) == pytest.approx(323.97)
        )
    assert "thallium stress test (session)" in [row["label"] for row in rows(report.card("bill"))]


def test_a_lone_currency_sign_touches_the_amount() -> None:
    assert formats.cost("money", 222, "$") == "$222.00"
    assert formats.cost("money", 222, "") == "222.00"


def test_one_site_is_no_comparison_of_sites() -> None:
    given = recommendation()
    for candidate in given["candidates"]:
        candidate["assessment"]["sites"] = candidate["assessment"]["sites"][:1]
    assert build_report(given).card("sites").status == "not applicable"


def test_sites_count_only_those_that_can_be_judged(report: Any) -> None:
    card = report.card("sites")
    assert card.title == "Shown to hold in 1 of 3 sites that can be judged alone; undecided in hungarian, va"
    assert [row["site"] for row in rows(card)] == ["All", "cleveland", "hungarian", "va", "switzerland"]
    assert "only 3 patients" in rows(card)[-1]["reason"]
    margin = [shape for shape in card.figure["layout"]["shapes"] if shape["name"] == "red"]
    assert [shape["x0"] for shape in margin] == [-0.03]
    drawn = sorted(x for trace in card.figure["data"] for x in trace["x"])
    assert drawn == pytest.approx(sorted(row["difference"]["value"] for row in rows(card)[:-1]), abs=1e-6)


def test_a_site_that_is_worse_by_more_than_the_margin_is_named() -> None:
    given = recommendation()
    proposal = next(c for c in given["candidates"] if c["key"] == PROPOSAL)
    proposal["assessment"]["sites"][2]["difference"].update(value=-0.08, low=-0.12, high=-0.04)
    card = build_report(given).card("sites")
    assert card.title.endswith("worse by more than the margin in va")
    assert card.status == "attention"


def test_considered_compares_search_and_judgement(report: Any) -> None:
    card = report.card("considered")
    assert (
        card.title
        == "32 protocols searched, 15 judged on unseen patients; the search was too hopeful by .004 AUC on average"
    )
    assert len(rows(card)) == 32
    assert sum(row["test_auc"] is not None for row in rows(card)) == 15
    assert card.data["mean_optimism"] == pytest.approx(0.004)


def test_a_search_that_still_climbs_calls_for_attention() -> None:
    given = recommendation()
    given["search"]["complete"] = False
    given["search"]["history"] = [{"evaluated": n, "hypervolume": v} for n, v in ((8, 0.7), (16, 0.8), (32, 0.804))]
    card = build_report(given).card("search")
    assert card.title == "The search sampled the menu; its second half made the front 0.5 % larger"
    assert card.status == "ok"
    given["search"]["history"][-1]["hypervolume"] = 0.88
    card = build_report(given).card("search")
    assert card.title.endswith("10.0 % larger")
    given["search"]["history"][1]["hypervolume"] = 0.0
    assert build_report(given).card("search").title == "The search sampled the menu"
    given["search"]["history"][1]["hypervolume"] = 0.8
    card = build_report(given).card("search")
    assert card.status == "attention"


def test_guards_are_ordered_by_severity_and_unknown_ones_are_the_worst() -> None:
    given = recommendation()
    given["guards"].append(
        {"id": "new", "severity": "catastrophe", "title": "Unheard of", "detail": "", "vetoes": True}
    )
    card = build_report(given).card("guards")
    assert [row["severity"] for row in rows(card)] == ["fail", "warning", "info", "pass", "pass"]
    assert card.title == "Guards: 1 failed, 1 warning, 3 passed; 1 veto"
    assert card.status == "attention"


def test_methods_text_cites_only_what_was_done() -> None:
    text = build_report(recommendation()).card("methods")
    assert "We studied 303 patients (UCI Heart Disease, processed files) [1], of whom 139 (46 %)" in text.paragraphs[1]
    references = text.lists[0][1]
    assert references[1] == "[2] Prices: Turney 1995, Ontario Health Insurance Program fee schedule"
    assert any("Prices were taken from [2]." in paragraph for paragraph in text.paragraphs)
    assert any("DeLong" in reference for reference in references)
    assert [reference.partition("]")[0] for reference in references] == [f"[{n + 1}" for n in range(len(references))]
    given = recommendation()
    given["candidates"] = [c for c in given["candidates"] if c["key"] in (PROPOSAL, REFERENCE)]
    given["study"]["citation"], given["price_source"], given["nested"] = "none", "", None
    given["guards"], given["model"]["text"] = [], "one network"
    for candidate in given["candidates"]:
        candidate["assessment"]["net_benefit"] = []
    names = [entry["key"] for entry in build_report(given).card("methods").data["references"]]
    assert names == ["delong1988", "vancalster2019", "wilson1927", "ahn2013", "claim2024", "tripodai2024"]


def test_limits_speak_of_virtual_patients_and_missing_tests() -> None:
    given = recommendation()
    given["study"]["virtual"] = True
    given["search"]["complete"] = False
    items = build_report(given).card("limits").lists[0][1]
    assert items[0].startswith("The cohort is virtual")
    assert any("thallium stress test (78 %), fluoroscopy (71 %)" in item for item in items)
    assert any("sampled the menu" in item for item in items)
    assert any("switzerland" in item for item in items)


def test_figures_come_back_as_plotly_objects_or_say_why_not(report: Any) -> None:
    for card in report.cards:
        if card.figure is not None:
            assert isinstance(report.figure(card.id), go.Figure)
    with pytest.raises(ScanwiseError, match="no card 'fron'"):
        report.figure("fron")
    with pytest.raises(ScanwiseError, match="'methods' has no figure"):
        report.figure("methods")


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.908, "auc", ".908"),
        (1.0, "auc", "1.000"),
        (-0.0049, "signed", "−.005"),
        (0.0, "signed", ".000"),
        (-0.0001, "signed", ".000"),
        (0.0123, "signed", "+.012"),
        (float("nan"), "auc", "–"),
        (None, "percent", "–"),
        (0.455, "percent", "46 %"),
        (1234.5, "axis:money", "CA$ 1,234.50"),
        (-101.9, "axis:money", "−CA$ 101.90"),
        (1, "axis:visits", "1 visit"),
        (6.25, "axis:msv", "6.2 mSv"),
        (12.0, "axis:minutes", "12 min"),
        ({"value": 0.9, "low": None, "high": None}, "auc_interval", ".900 (no interval)"),
        ({"value": None, "low": None, "high": None}, "auc_interval", "–"),
        ("undecided", "verdict", "? undecided"),
        ({"strange": 1}, "text", "{'strange': 1}"),
    ],
)
def test_cells_are_written_as_a_reader_expects(value: Any, form: str, text: str) -> None:
    assert formats.cell(value, form, "CA$") == text


def test_margins_keep_the_digits_they_need() -> None:
    assert (formats.margin(0.03), formats.margin(0.025)) == (".03", ".025")
