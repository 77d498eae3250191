"""Parts, sampling, images, groups, changed diagnoses and the flow of patients: what the cards say, by value."""

from __future__ import annotations

from typing import Any

import pytest
from fixtures import PROPOSAL, REFERENCE, recommendation

from scanwise.report import Card, build_report, render_html
from scanwise.report.drawings import HEIGHT, drawing

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
"""One black point."""


def card(card_id: str, given: dict[str, Any] | None = None) -> Card:
    return build_report(given or recommendation()).card(card_id)


def rows(found: Card) -> list[dict[str, Any]]:
    assert found.table is not None
    return [dict(row.cells) for row in found.table.rows]


def test_parts_stand_in_the_order_of_their_worth_and_idle_ones_are_named():
    found = card("contributions")
    assert found.title == (
        "Fluoroscopy adds .032 of the .075 AUC that today's protocol adds; nothing is shown to be added by "
        "resting ECG and blood panel"
    )
    assert [row["part"] for row in rows(found)][:2] == ["fluoroscopy", "exercise ECG"]
    assert rows(found)[0]["price"] == 100.9
    assert found.figure is not None
    by_name = {trace["name"]: trace for trace in found.figure["data"]}
    assert by_name["on average (Shapley)"]["x"] == [0.032, 0.028, 0.012, 0.002, 0.001]
    assert "Without any of them the AUC is .838" in found.paragraphs[0]


def test_pairs_say_who_stands_in_for_whom():
    found = card("pairs")
    assert (
        found.title == "Thallium stress test and exercise ECG overlap most; blood panel and resting ECG help each other"
    )
    readings = {row["pair"]: row["reading"] for row in rows(found)}
    assert readings["exercise ECG and fluoroscopy"] == "one stands in for the other"
    assert readings["blood panel and resting ECG"] == "worth more together"


def test_changed_diagnoses_are_on_the_first_screen_both_ways():
    report = build_report(recommendation())
    words = "of 139 positive patients found today would be missed, and 4 missed today would be found."
    assert f"At 90 % specificity 6 {words}" in report.head["lead"]
    found = report.card("flips")
    assert found.title == "Of 139 positive patients 6 found today would be missed, 4 missed today would be found"
    assert found.status == "ok"
    assert rows(found)[0] == {"at": "at 90 % specificity", "missed": 6.0, "found": 4.0, "alarmed": 9.0, "spared": 9.0}


def test_many_missed_patients_call_for_attention():
    given = recommendation()
    given["flips"][0]["missed"] = 20.0
    assert card("flips", given).status == "attention"


def test_the_least_good_group_is_named_and_small_ones_are_not_judged():
    found = card("groups")
    assert found.title == (
        "Shown to hold in 1 of 2 groups that can be judged alone; undecided in age 56 or more; least good: "
        "age 56 or more, −.021 (−.033 to −.009)"
    )
    assert rows(found)[2]["reason"] == "fewer than 5 patients of a class"
    assert found.figure is not None
    assert sum(len(trace["y"]) for trace in found.figure["data"]) == 3  # both groups, and all patients


def test_the_flow_conserves_patients():
    found = card("stops").figure
    assert found is not None
    (flow,) = found["data"]
    link, labels = flow["link"], flow["node"]["label"]
    into: dict[str, float] = dict.fromkeys(labels, 0.0)
    out: dict[str, float] = dict.fromkeys(labels, 0.0)
    for source, target, value in zip(link["source"], link["target"], link["value"], strict=True):
        out[labels[source]] += value
        into[labels[target]] += value
    assert labels[:3] == ["0", "1", "2"]
    assert out["0"] == pytest.approx(1.0)
    assert into["1"] == pytest.approx(out["1"]) == pytest.approx(0.7)
    assert into["exercise ECG + fluoroscopy, 60 %"] == pytest.approx(0.6)
    assert into["1 other ways, 2 %"] == pytest.approx(0.02)


def imaging() -> dict[str, Any]:
    """The exercise ECG as a scan of three lines, of which the proposal takes two."""
    given = recommendation()
    given["layout"]["exercise"] = {
        "kind": "lines",
        "shots": ["k-1", "k+0", "k+1"],
        "position": [0.0, 1.0, 2.0],
        "standard": [1, 1, 1],
    }
    given["pictures"] = {
        "applicable": True,
        "patients": [
            {
                "key": PROPOSAL,
                "case": "lost",
                "positive": True,
                "today": 0.9,
                "proposed": 0.2,
                "box": [0.25, 0.5, 0.125, 0.25],
                "images": [
                    {"modality": "exercise", "channel": "<i>trace</i>", "today": PNG, "proposed": None},
                ],
            }
        ],
    }
    return given


def test_patterns_show_every_shot_of_scans_and_no_test():
    found = card("patterns", imaging())
    assert [one["title"] for one in found.data["drawings"]] == ["exercise ECG"]
    sides = {side["role"]: side for side in found.data["drawings"][0]["sides"]}
    assert sides["reference"]["alt"] == "exercise ECG, today: 3 of 3 lines, 3 acquisitions."
    assert len(sides["reference"]["drawing"]["on"]) == 3
    assert len(rows(found)) == 6
    assert found.title == "Sampled as today"
    without = imaging()
    without["decision"]["key"] = without["decision"]["proposed"] = "history=1x4"
    assert card("patterns", without).title == "Exercise ECG is sampled differently"


def test_images_show_what_is_lost_and_escape_their_words():
    given = imaging()
    found = card("pictures", given)
    assert found.title == "The proposal's worst case: probability .90 today becomes .20"
    page = render_html(build_report(given))
    section = page[page.index('id="card-pictures"') :]
    section = section[: section.index("</section>")]
    assert section.count("data:image/png;base64," + PNG) == 1
    assert "left:25.0%;top:50.0%;width:12.5%;height:25.0%" in section
    assert "not acquired" in section
    assert "<i>trace" not in section
    assert "&lt;i&gt;trace" in section


def test_reports_of_older_runs_say_what_to_run():
    given = recommendation()
    for name in ("contributions", "groups", "flips", "doubts", "pictures", "layout"):
        del given[name]
    given["adaptive"].pop("flow")
    report = build_report(given)
    for card_id in ("contributions", "pairs", "groups", "flips", "doubts", "pictures", "patterns"):
        assert report.card(card_id).status == "not applicable", card_id
        assert "run" in (report.card(card_id).not_applicable_reason or "")
    assert report.card("stops").figure is None
    assert report.card("stops").status == "ok"


def test_a_depth_that_cannot_be_judged_is_not_said_to_be_off():
    given = recommendation()
    unknown = {"value": None, "low": None, "high": None}
    given["adaptive"]["calibration"] = [{"steps": 1, "n": 23.0, "slope": unknown}]
    found = card("changed", given)
    assert found.lists[0][1] == ("after 1 step: 23 patients, calibration slope not judged, too few patients",)
    assert (found.status, "do not hold" in found.title) == ("ok", False)
    given["adaptive"]["calibration"][0]["slope"] = {"value": 0.5, "low": 0.3, "high": 0.7}
    found = card("changed", given)
    assert found.title.endswith("probabilities do not hold after 1 step")
    assert found.status == "attention"


def test_nothing_changes_where_today_stays():
    given = recommendation()
    given["decision"]["key"] = given["decision"]["proposed"] = REFERENCE
    given["flips"] = []
    report = build_report(given)
    assert report.card("flips").not_applicable_reason == "today's protocol stays as it is"
    assert "would be missed" not in report.head["lead"]


# ---- drawings ------------------------------------------------------------------------------------------------------


def layout(kind: str, position: Any, n: int) -> dict[str, Any]:
    return {"kind": kind, "shots": [f"s{i}" for i in range(n)], "position": position, "standard": [1] * n}


def test_bars_stand_side_by_side_and_are_as_high_as_counts():
    found = drawing(layout("b-values", [50.0, 400.0, 800.0], 3), [2, 0, 6], 6)
    assert [len(found["on"]), len(found["off"])] == [2, 1]
    low, high = found["on"]
    assert high[3] > 2.5 * low[3]
    assert low[1] + low[3] == pytest.approx(HEIGHT)
    assert low[0] + low[2] < found["off"][0][0] < high[0]
    assert {"2", "6", "s0", "s1", "s2"} == {label[2] for label in found["labels"]}


def test_views_are_rays_at_their_angles():
    found = drawing(layout("views", [0.0, 1.5707963, 3.1415927], 3), [1, 1, 0], 1)
    (right, up) = found["rays"]
    middle = found["width"] / 2
    assert right[1] == right[3] == middle
    assert right[2] > right[0] > middle
    assert up[0] == pytest.approx(middle)
    assert up[3] < up[1] < middle


def test_lines_of_frames_are_a_grid():
    position = [[float(frame), float(line)] for frame in range(3) for line in range(4)]
    counts = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    found = drawing(layout("dynamic lines", position, 12), counts, 1)
    boxes = found["on"]
    assert len(boxes) == 3
    assert [box[0] for box in boxes] == sorted(box[0] for box in boxes)
    assert [box[1] for box in boxes] == sorted(box[1] for box in boxes)
    assert max(box[0] + box[2] for box in boxes) <= found["width"]
    assert max(box[1] + box[3] for box in boxes) <= found["height"]
