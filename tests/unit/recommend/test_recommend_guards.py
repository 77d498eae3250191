"""Every branch of every guard: what it says, how bad it is, and whether it forbids a change."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from recommend_scenario import ECG, HISTORY, KEYS, REFERENCE, USELESS_CT, menu_of, tables

from scanwise.evidence import Interval, SiteResult, assess_all, normal_interval
from scanwise.recommend import Case, Finding, Severity, guards
from scanwise.recommend.findings import by_severity

SETTLED = {"complete": False, "history": [{"evaluated": n, "hypervolume": 0.5} for n in range(1, 21)]}
COMPLETE = {"complete": True, "history": [{"evaluated": 4, "hypervolume": 0.5}]}


@cache
def assessments():
    _, test, _ = tables(USELESS_CT)
    return dict(zip(KEYS, assess_all(test, KEYS, REFERENCE, margin=0.03, n_resamples=100), strict=True))


def case(**changes) -> Case:
    """A study in which every guard is content."""
    judged = assessments()
    content = {
        "menu": menu_of(),
        "proposed": judged[ECG],
        "reference": judged[REFERENCE],
        "minimal": judged[HISTORY],
        "gain_by_site": {"north": normal_interval(0.12, 0.02), "south": normal_interval(0.11, 0.02)},
        "learned_gain": normal_interval(0.12, 0.02),
        "learned_auc": normal_interval(0.84, 0.02),
        "margin": 0.03,
        "learned_at": ["north", "south", "s0", "s1", "s2", "tiny"],
        "done": {site: {"history": 1.0, "ecg": 1.0, "ct": 1.0} for site in ("north", "south", "east")},
        "searches": [COMPLETE],
        "pick_share": 0.8,
        "nested": normal_interval(0.0, 0.01),
        "affordable_reference": True,
    }
    return Case(**{**content, **changes})


def found(guard: str, **changes) -> Finding:
    (finding,) = [finding for finding in guards(case(**changes)) if finding.id == guard]
    return finding


def proposed(**changes):
    return replace(assessments()[ECG], **changes)


def verdict(name: str):
    return proposed(versus_reference=replace(assessments()[ECG].versus_reference, verdict=name))


def outcome(finding: Finding) -> tuple[Severity, bool]:
    return finding.severity, finding.vetoes


PASS, INFO, WARNING = (Severity.PASS, False), (Severity.INFO, False), (Severity.WARNING, False)
FAIL, VETO = (Severity.FAIL, False), (Severity.FAIL, True)


def test_all_guards_are_content_with_a_good_case():
    findings = guards(case())

    assert [finding.id for finding in findings] == [
        "confirmed",
        "patients",
        "informative",
        "search",
        "edge",
        "calibration",
        "sites",
        "procedure",
        "steady",
    ]
    assert {finding.severity for finding in findings} == {Severity.PASS}
    assert not any(finding.vetoes for finding in findings)


def test_severities_are_ordered_and_sorting_is_stable():
    assert Severity.PASS < Severity.INFO < Severity.WARNING < Severity.FAIL
    mixed = [Finding(name, Severity[name[2:]], "") for name in ("1 PASS", "2 FAIL", "3 INFO", "4 FAIL", "5 WARNING")]
    assert [finding.id[0] for finding in by_severity(mixed)] == list("24531")


@pytest.mark.parametrize("severity", list(Severity))
def test_a_finding_survives_being_written_down(severity):
    finding = Finding("x", severity, "title", "detail", vetoes=severity is Severity.FAIL)

    assert finding.to_dict()["severity"] == severity.name.lower()
    assert Finding.from_dict(finding.to_dict()) == finding


@pytest.mark.parametrize(
    ("name", "expected", "words"),
    [
        ("better", PASS, "confirm it: better, margin .03"),
        ("non-inferior", PASS, "confirm it: non-inferior"),
        ("undecided", VETO, "is not shown to be non-inferior"),
        ("inferior", VETO, "is inferior"),
    ],
)
def test_confirmed(name, expected, words):
    finding = found("confirmed", proposed=verdict(name))

    assert outcome(finding) == expected
    assert words in finding.title


def test_nothing_is_to_be_confirmed_where_nothing_changes_or_the_reference_is_out_of_reach():
    unchanged = {finding.id for finding in guards(case(proposed=assessments()[REFERENCE]))}
    unaffordable = {finding.id for finding in guards(case(affordable_reference=False))}

    assert not {"confirmed", "procedure"} & unchanged
    assert not {"confirmed", "procedure"} & unaffordable


@pytest.mark.parametrize(
    ("n", "n_positive", "expected"),
    [
        (200, 100, PASS),
        (200, 99, WARNING),
        (1000, 901, WARNING),
        (60, 30, WARNING),
        (60, 31, VETO),
        (1000, 29, VETO),
    ],
)
def test_patients_counts_the_smaller_class(n, n_positive, expected):
    finding = found("patients", proposed=proposed(n=n, n_positive=n_positive))

    assert outcome(finding) == expected
    assert f"{n} patients judge, {n_positive} of them positive" in finding.detail


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        (Interval(0.6, 0.501, 0.7, 0.05, 0.95), PASS),
        (Interval(0.6, 0.5, 0.7, 0.05, 0.95), VETO),
        (Interval(0.4, 0.3, 0.49, 0.05, 0.95), VETO),
        (Interval.unknown(0.95), VETO),
    ],
)
def test_informative(area, expected):
    assert outcome(found("informative", proposed=proposed(auc=area))) == expected


@pytest.mark.parametrize(("low", "expected"), [(0.51, PASS), (0.49, VETO)])
def test_a_pick_informs_only_where_the_whole_procedure_does(low, expected):
    finding = found("informative", nested_auc=Interval(0.6, low, 0.7, 0.05, 0.95))

    assert outcome(finding) == expected
    assert ("other patients" in finding.detail) == (low < 0.5)


def history(*volumes: float) -> dict:
    return {"complete": False, "history": [{"evaluated": n, "hypervolume": v} for n, v in enumerate(volumes, 1)]}


@pytest.mark.parametrize(
    ("searches", "expected", "words"),
    [
        ([COMPLETE, COMPLETE], PASS, "Every protocol was scored"),
        ([SETTLED], PASS, "settled"),
        ([history(0.1, 0.2, 0.4, 0.5)], WARNING, "n_trials"),  # the last quarter starts after three of four
        ([history(0.1, 0.2, 0.4, 0.4)], PASS, "settled"),
        ([history(0.1, 0.2, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4)], PASS, "settled"),
        ([history(*[0.4] * 6, 0.4, 0.4019)], PASS, "settled"),
        ([history(*[0.4] * 6, 0.4, 0.4021)], WARNING, "1 of 1"),
        ([history(0.4)], PASS, "settled"),
        ([history(0.0, 0.0, 0.0, 0.1)], WARNING, "1 of 1"),
        ([COMPLETE, history(0.1, 0.2, 0.3, 0.4), SETTLED], WARNING, "1 of 3"),
    ],
)
def test_search(searches, expected, words):
    finding = found("search", searches=searches)

    assert outcome(finding) == expected
    assert words in finding.title + finding.detail


def test_edge():
    assert outcome(found("edge")) == PASS
    assert outcome(found("edge", proposed=assessments()[REFERENCE])) == INFO


@pytest.mark.parametrize(
    ("slope", "expected"),
    [
        (Interval(1.0, 0.8, 1.2, 0.1, 0.95), PASS),
        (Interval(0.7, 0.5, 0.9, 0.1, 0.95), PASS),
        (Interval(0.69, 0.5, 0.9, 0.1, 0.95), WARNING),
        (Interval(1.41, 1.1, 1.7, 0.1, 0.95), WARNING),
        (Interval(0.4, 0.2, 0.69, 0.1, 0.95), FAIL),
        (Interval(2.0, 1.41, 2.6, 0.3, 0.95), FAIL),
        (Interval.unknown(0.95), INFO),
    ],
)
def test_calibration(slope, expected):
    calibration = replace(assessments()[ECG].calibration, slope=slope)

    assert outcome(found("calibration", proposed=proposed(calibration=calibration))) == expected


def sites(*differences: tuple[float, float]) -> tuple[SiteResult, ...]:
    return tuple(
        SiteResult(f"s{n}", 100, 50, normal_interval(0.8, 0.03), normal_interval(value, se), "")
        for n, (value, se) in enumerate(differences)
    )


@pytest.mark.parametrize(
    ("differences", "expected", "words"),
    [
        # Q by hand: sum of w (d - mean)^2; p from the chi-square table
        ([(-0.01, 0.01), (0.01, 0.01)], PASS, "Q 2.00 over 2 sites, p = 0.157"),
        ([(-0.02, 0.01), (0.02, 0.01)], WARNING, "Q 8.00 over 2 sites, p = 0.005"),
        ([(0.0, 0.01), (0.02, 0.02), (0.04, 0.02)], PASS, "Q 3.50 over 3 sites, p = 0.174"),
        ([(-0.10, 0.02), (0.0, 0.02)], VETO, "At s0 the protocol loses more"),
        ([(-0.10, 0.02), (-0.09, 0.02)], VETO, "At s0, s1"),
        ([(-0.10, 0.02)], INFO, "fewer than two sites"),
        ([(0.0, 0.0), (0.01, 0.02)], INFO, "fewer than two sites"),
    ],
)
def test_sites(differences, expected, words):
    finding = found("sites", proposed=proposed(sites=sites(*differences)))

    assert outcome(finding) == expected
    assert words in finding.title + finding.detail


def test_sites_that_cannot_be_judged_do_not_count():
    silent = SiteResult("tiny", 4, 2, None, None, "2 positive patients")

    assert outcome(found("sites", proposed=proposed(sites=(*sites((0.0, 0.01)), silent)))) == INFO
    assert outcome(found("sites", proposed=assessments()[REFERENCE])) == INFO


@pytest.mark.parametrize(("low", "expected"), [(-0.029, PASS), (-0.031, WARNING)])
def test_procedure(low, expected):
    assert outcome(found("procedure", nested=Interval(0.0, low, 0.05, 0.02, 0.95))) == expected


def test_no_procedure_without_nested_folds():
    assert "procedure" not in {finding.id for finding in guards(case(nested=None))}


@pytest.mark.parametrize(("share", "expected"), [(1.0, PASS), (0.5, PASS), (0.49, WARNING), (0.0, WARNING)])
def test_steady(share, expected):
    finding = found("steady", pick_share=share)

    assert outcome(finding) == expected
    assert f"{share:.0%}" in finding.detail


def test_nothing_is_said_about_steadiness_with_one_fold():
    assert "steady" not in {finding.id for finding in guards(case(pick_share=None))}


def east(area: Interval | None, gain: Interval | None, reason: str = "", **changes) -> list[Finding]:
    """What the guards say of a site that nobody learned at."""
    site = SiteResult("east", 100, 50, area, None if area is None else normal_interval(0.0, 0.02), reason)
    with_east = proposed(sites=(*assessments()[ECG].sites, site))
    gains = {**case().gain_by_site, **({} if gain is None else {"east": gain})}
    findings = guards(case(proposed=with_east, gain_by_site=gains, **changes))
    return [finding for finding in findings if finding.id.startswith("transfer:")]


def test_sites_that_were_learned_at_need_no_transfer():
    assert not [finding for finding in guards(case()) if finding.id.startswith("transfer")]


def test_the_gain_carries():
    (finding,) = east(normal_interval(0.83, 0.03), normal_interval(0.10, 0.03))

    assert finding.id == "transfer:east"
    assert outcome(finding) == PASS
    assert "while at north, south, s0, s1, s2, tiny the tests add .120" in finding.detail


def test_a_drop_beyond_the_margin_vetoes():
    """The upper limit of the drop, value + 1.96 hypot(se, se), lies below minus the margin."""
    learned = normal_interval(0.84, 0.02)
    reach = 1.959964 * np.hypot(0.03, 0.02)
    (lost,) = east(normal_interval(0.84 - 0.0301 - reach, 0.03), normal_interval(0.10, 0.03), learned_auc=learned)
    (kept,) = east(normal_interval(0.84 - 0.0299 - reach, 0.03), normal_interval(0.10, 0.03), learned_auc=learned)

    assert outcome(lost) == VETO
    assert "does not carry to east" in lost.title
    assert ".840 where it was learned" in lost.title
    assert outcome(kept) == PASS


@pytest.mark.parametrize(("low", "expected"), [(0.001, PASS), (0.0, VETO), (-0.02, VETO)])
def test_a_gain_that_cannot_be_told_from_none_vetoes(low, expected):
    (finding,) = east(normal_interval(0.83, 0.03), Interval(0.05, low, 0.12, 0.03, 0.95))

    assert outcome(finding) == expected
    if expected == VETO:
        assert "cannot be told from none" in finding.title


@pytest.mark.parametrize(
    ("area", "gain"), [(None, None), (None, normal_interval(0.1, 0.02)), (normal_interval(0.83, 0.03), None)]
)
def test_a_strange_site_that_cannot_judge_is_a_warning(area, gain):
    (finding,) = east(area, gain, reason="3 positive patients")

    assert outcome(finding) == WARNING
    assert finding.title == "east cannot judge: 3 positive patients."


def test_tests_that_are_rarely_done_at_a_strange_site_are_named():
    rarely = {**case().done, "east": {"history": 0.2, "ecg": 0.49, "ct": 0.1}}
    often = {**case().done, "east": {"history": 0.2, "ecg": 0.5, "ct": 0.1}}
    area, gain = normal_interval(0.83, 0.03), normal_interval(0.1, 0.03)

    (named,) = east(area, gain, done=rarely)
    (silent,) = east(area, gain, done=often)
    (unjudged,) = east(None, None, done=rarely)

    assert named.detail.endswith("Done there in few: resting ECG 49%."), "history is always done, CT is not proposed"
    assert "Done there in few" not in silent.detail
    assert unjudged.detail == "Done there in few: resting ECG 49%."


def test_what_all_tests_of_today_reach_at_a_strange_site_is_told():
    site = SiteResult("east", 100, 50, normal_interval(0.75, 0.03), None, "")
    reference = replace(assessments()[REFERENCE], sites=(site,))

    (finding,) = east(normal_interval(0.83, 0.03), normal_interval(0.1, 0.03), reference=reference)

    assert "All tests of today reach .750 there" in finding.detail
