"""The report as a whole: degenerate input, untrusted text, determinism, files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fixtures import BASE, PROPOSAL, REFERENCE, recommendation

from scanwise.artifacts import read_json, write_json
from scanwise.errors import ScanwiseError
from scanwise.report import build_report, render_again, render_html, render_markdown, write_report

VOID = {"meta", "link", "input", "br", "hr", "img"}
EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>'
HEBREW = "\u202eשלום עולם\u202c"


class Page(HTMLParser):
    """Collects what a browser would see, and refuses tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, tag
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self.stack and self.stack[-1] == "script" else self.texts).append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


@pytest.fixture(scope="module")
def page_text() -> str:
    return render_html(build_report(recommendation()))


@pytest.fixture(scope="module")
def page(page_text: str) -> Page:
    return Page(page_text)


def test_the_page_parses_and_is_well_ordered(page: Page) -> None:
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert ("html", {"lang": "en"}) in page.tags
    for _, attributes in page.tags:
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert set((attributes.get(name) or "").split()) <= set(ids)
    for href in (attributes["href"] for tag, attributes in page.tags if tag == "a"):
        assert href is not None
        assert href.startswith("#")
        assert href[1:] in ids


def test_every_figure_has_a_name_and_a_table(page_text: str, page: Page) -> None:
    report = build_report(recommendation())
    plots = [attributes for tag, attributes in page.tags if (attributes.get("class") or "") == "plot"]
    drawn = [card for card in report.cards if card.figure is not None]
    assert [plot["id"] for plot in plots] == [f"plot-{card.id}" for card in drawn]
    for plot, card in zip(plots, drawn, strict=True):
        assert plot["role"] == "img"
        assert plot["aria-label"] == card.alt
        assert card.table is not None
    assert page_text.count("<table") == page_text.count("<caption")


def test_plotly_is_there_exactly_once_and_nothing_is_fetched(page_text: str, page: Page) -> None:
    assert page_text.count("plotly.js v") == 1
    assert len(page_text) < 5_400_000
    for tag, attributes in page.tags:
        assert "src" not in attributes
        if tag == "link":
            assert attributes["href"] == "data:,"
    style = "".join(re.findall(r"<style>(.*?)</style>", page_text, flags=re.DOTALL))
    assert "url(" not in style
    assert "@import" not in style


def test_the_embedded_json_holds_every_figure(page_text: str) -> None:
    embedded = re.search(
        r'<script type="application/json" id="scanwise-data">(.*?)</script>', page_text, flags=re.DOTALL
    )
    assert embedded is not None
    assert not set("<>&") & set(embedded[1])
    data = json.loads(embedded[1])
    report = build_report(recommendation()).to_dict()
    figures = {
        card["id"]: card["figure"] for section in report["sections"] for card in section["cards"] if card["figure"]
    }
    drawn = data["figures"]["front"]["data"]  # the page looks keys up by row
    for trace in drawn:
        if trace.get("customdata"):
            trace["customdata"] = [data["front"]["points"][row]["key"] for row in trace["customdata"]]
    for trace in figures["front"]["data"]:
        if trace.get("customdata"):
            trace["customdata"] = [key for key, _ in trace["customdata"]]
    assert data["figures"] == figures


def test_same_input_gives_the_same_bytes_and_input_is_left_alone() -> None:
    given = recommendation()
    first, second = build_report(given), build_report(recommendation())
    assert given == recommendation()
    assert render_html(first) == render_html(second)
    assert render_markdown(first) == render_markdown(second)
    assert json.dumps(first.to_dict()) == json.dumps(second.to_dict())


def test_files_are_written_and_json_is_the_truth(tmp_path: Path) -> None:
    report = write_report(recommendation(), tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checklist.md",
        "dashboard.html",
        "methods.md",
        "methods.tex",
        "protocol-card.html",
        "protocol-card.md",
        "references.bib",
        "report.json",
    ]
    read = json.loads((tmp_path / "run" / "report.json").read_text("utf-8"))
    assert read == report.to_dict()
    assert read["schema_version"] == 1


def test_repr_is_readable() -> None:
    lines = repr(build_report(recommendation())).splitlines()
    assert lines[0].startswith("Report: Leave out blood panel")
    assert "     front: Beyond CA$ 194.20, paying more buys at most .005 AUC" in lines
    assert "   ! guards: Guards: 1 warning, 3 passed" in lines


def test_virtual_cohorts_carry_a_banner_on_screen_print_and_card() -> None:
    given = recommendation()
    given["study"]["virtual"] = True
    report = build_report(given)
    text = render_html(report)
    assert "@top-center" in text
    assert '<div class="banner" role="note">Virtual cohort' in text
    assert "> **Virtual cohort" in render_markdown(report)
    plain = render_html(build_report(recommendation()))
    assert "@top-center" not in plain
    assert 'class="banner"' not in plain


def test_the_retrospective_sentence_and_prices_are_on_the_page(page: Page) -> None:
    assert "all patients had been referred for angiography" in page.text
    assert "CA$ 194.20" in page.text
    assert "CA$ 323.97" in page.text


def test_protocol_card_has_tables_and_a_block_to_sign() -> None:
    text = render_markdown(build_report(recommendation()))
    assert text.startswith("# Leave out blood panel, resting ECG and thallium")
    assert "| resting ECG | done | left out | CA$ 15.50 | – |" in text
    assert "| **In total** |" in text
    for role in ("Medical physicist", "Radiologist", "Technologist"):
        assert f"| {role} | | | | |" in text
    assert "Review by:" in text
    assert re.search(r"Version of this card: `[0-9a-f]{12}`", text)
    assert "* warning: Sites disagree. In va the interval crosses the margin." in text


# ---- degenerate input ---------------------------------------------------------------------------------------------


def without_sites(given: dict[str, Any]) -> None:
    given["study"]["sites"] = []
    for candidate in given["candidates"]:
        candidate["assessment"]["sites"] = []


def one_candidate(given: dict[str, Any]) -> None:
    given["candidates"] = [c for c in given["candidates"] if c["key"] == REFERENCE]
    given["decision"].update(key=REFERENCE, proposed=REFERENCE, status="no change", headline="Change nothing.")
    given["ladder"], given["considered"] = [], []


def no_change(given: dict[str, Any]) -> None:
    given["decision"].update(
        key=REFERENCE, proposed=REFERENCE, status="no change", headline="Change nothing: a guard forbids it."
    )


def nothing_affordable(given: dict[str, Any]) -> None:
    given["decision"].update(
        key=None, proposed=None, status="nothing affordable", headline="Nothing can be bought for CA$ 2.00."
    )
    given["budget"] = {"limits": {"money": 2.0}, "text": "at most CA$ 2.00"}
    given["ladder"] = [{"limit": 0.0, "key": None, "status": "nothing affordable"}, *given["ladder"]]
    for candidate in given["candidates"]:
        candidate["feasible"] = False


def no_nested(given: dict[str, Any]) -> None:
    given["nested"] = None


def no_intervals(given: dict[str, Any]) -> None:
    def blank(value: Any) -> Any:
        if isinstance(value, dict):
            fresh = {name: blank(item) for name, item in value.items()}
            return fresh | {"low": None, "high": None, "se": None} if {"low", "high"} <= set(value) else fresh
        return [blank(item) for item in value] if isinstance(value, list) else value

    given.update(blank(given))


def no_values(given: dict[str, Any]) -> None:
    for candidate in given["candidates"]:
        for name in ("auc", "auc_bootstrap", "brier", "log_loss"):
            candidate["assessment"][name] = dict.fromkeys(("value", "low", "high", "se"), None) | {"level": 0.95}
        candidate["tune_auc"] = None


def nan_values(given: dict[str, Any]) -> None:
    for candidate in given["candidates"]:
        candidate["assessment"]["auc"] = dict.fromkeys(("value", "low", "high", "se"), float("nan")) | {"level": 0.95}


def thin_assessment(given: dict[str, Any]) -> None:
    for candidate in given["candidates"]:
        candidate["assessment"] = {name: candidate["assessment"][name] for name in ("key", "n", "n_positive", "auc")}


def no_assessment(given: dict[str, Any]) -> None:
    for candidate in given["candidates"]:
        candidate["assessment"] = None


def bare(given: dict[str, Any]) -> None:
    for name in (
        "nested",
        "guards",
        "audit",
        "sensitivity",
        "ladder",
        "considered",
        "search",
        "split",
        "model",
        "provenance",
        "adaptive",
    ):
        given[name] = None
    given["decision"]["reasons"] = []
    given["study"]["missing"] = []


def empty_nested(given: dict[str, Any]) -> None:
    given["nested"] = {"auc": None, "difference": None, "optimism": None, "picks": [], "text": "Nothing is affordable."}


CASES = (
    empty_nested,
    without_sites, one_candidate, no_change, nothing_affordable, no_nested, no_intervals, no_values, nan_values,
    thin_assessment, no_assessment, bare,
)  # fmt: skip


@pytest.mark.parametrize("spoil", CASES, ids=lambda spoil: spoil.__name__)
def test_degenerate_input_gives_a_whole_page_without_a_failed_card(spoil: Any) -> None:
    given = recommendation()
    spoil(given)
    report = build_report(given)
    assert [repr(card) + str(card.not_applicable_reason) for card in report.cards if card.status == "error"] == []
    page = Page(render_html(report))
    assert "NaN" not in page.text
    assert "None" not in page.text
    assert "None" not in render_markdown(report)
    json.dumps(report.to_dict(), allow_nan=False)


def test_no_change_shows_today_and_no_proposal() -> None:
    given = recommendation()
    no_change(given)
    report = build_report(given)
    assert report.card("order").title == "Order the same 6 tests as today"
    assert report.card("roc").title == "AUC .913 today"
    assert report.card("front").title == "A judged protocol at CA$ 313.60 has the same AUC or a higher one"
    tiles = report.card("tiles").table
    assert tiles is not None
    assert [row.cells["verdict"] for row in tiles.rows if row.role == "diagnosis"] == ["reference"]
    assert "AUC runs from" in report.card("sites").title
    for name in ("front", "considered", "ladder", "nested"):
        table = report.card(name).table
        assert table is not None
        assert "proposal" not in [row.role for row in table.rows], name
    assert {trace.meta["role"] for trace in report.figure("front").data if trace.x} >= {"reference", "within"}


def test_nothing_affordable_proposes_nothing() -> None:
    given = recommendation()
    nothing_affordable(given)
    report = build_report(given)
    order, tiles = report.card("order"), report.card("tiles").table
    assert order.title == "Nothing to order; today's 6 tests for comparison"
    assert order.table is not None
    assert [column.id for column in order.table.columns] == ["modality", "today", "cost_today"]
    assert tiles is not None
    assert tiles.rows[0].cells["detail"] == "today; nothing fits the budget"
    assert report.card("methods").paragraphs[-1].startswith("No protocol fitted the budget. ")
    assert report.card("ladder").table is not None
    roles = {trace.meta["role"]: trace.customdata for trace in report.figure("front").data}
    assert not roles["proposal"]
    assert len(roles["above"]) == 14


def test_two_thousand_considered_protocols_stay_a_small_page() -> None:
    given = recommendation()
    entry = given["considered"][0]
    given["considered"] = [{**entry, "key": f"history=1x{index + 1}"} for index in range(2000)]
    text = render_html(build_report(given))
    assert len(text) < 6_500_000
    assert "All protocols that were searched, cheapest first (2000 rows)" in text


def test_not_applicable_cards_say_why() -> None:
    given = recommendation()
    bare(given)
    without_sites(given)
    report = build_report(given)
    for name in (
        "sites",
        "nested",
        "ladder",
        "considered",
        "search",
        "guards",
        "audit",
        "provenance",
        "reasons",
        "data",
        "assumptions",
        "doubts",
        "walked",
        "stops",
        "changed",
    ):
        assert report.card(name).status == "not applicable", name
        assert report.card(name).not_applicable_reason
    n = sum(card.status == "not applicable" for card in report.cards)
    assert render_html(report).count("Not applicable:") == n >= 15


def test_a_failing_card_becomes_an_error_card_and_the_others_stand() -> None:
    given = recommendation()
    given["guards"] = 5
    report = build_report(given)
    assert [card.id for card in report.cards if card.status == "error"] == ["guards"]
    assert "'int' object is not iterable" in str(report.card("guards").not_applicable_reason)
    assert "This card failed:" in render_html(report)
    assert "'int' object is not iterable" in render_markdown(report)


def test_a_decision_outside_the_short_list_fails_its_cards_only() -> None:
    given = recommendation()
    given["decision"]["key"] = "fluoroscopy=7"
    report = build_report(given)
    failed = {card.id: str(card.not_applicable_reason) for card in report.cards if card.status == "error"}
    assert "'fluoroscopy=7', which is not on its short list" in failed["order"]
    assert "guards" not in failed
    assert "provenance" not in failed
    Page(render_html(report))


def test_a_schema_nobody_knows_is_refused() -> None:
    with pytest.raises(ScanwiseError, match="schema_version 1, but this one has 99"):
        build_report({"schema_version": 99})
    with pytest.raises(ScanwiseError, match="schema_version 1, but this one has None"):
        build_report({})


# ---- untrusted text -----------------------------------------------------------------------------------------------


def test_untrusted_text_is_shown_as_text() -> None:
    given = recommendation()
    long = "x" * 10_000
    quoted = "\"'` & {{ 7 * 7 }} | *bold* $1 %{x}"
    given["study"].update(title=EVIL, retrospective=HEBREW, citation=EVIL, source=quoted)
    given["decision"].update(headline=EVIL, lead=quoted, reasons=[long, EVIL])
    given["guards"][0].update(title=EVIL, detail=long)
    given["currency"] = "<b>"
    for candidate in given["candidates"]:
        candidate["reading"] = f"{EVIL} {candidate['key']}"
        for line in candidate["bill"]:
            line["label"] = f"{line['label']}{EVIL}"
        for site, name in zip(candidate["assessment"]["sites"], (EVIL, long, HEBREW, quoted), strict=True):
            site["site"] = name
    for entry in given["considered"]:
        entry["reading"] = EVIL
    given["provenance"]["command"] = EVIL
    report = build_report(given)
    assert [card for card in report.cards if card.status == "error"] == []
    text = render_html(report)
    page = Page(text)
    assert EVIL not in text
    assert not any(tag == "img" for tag, _ in page.tags)
    assert len(page.scripts) == len(Page(render_html(build_report(recommendation()))).scripts)
    for shown in (EVIL, HEBREW, long, "\"'` & {{ 7 * 7 }} | *bold* $1 %{x}"):
        assert shown in page.text
    for trace in (trace for card in report.cards if card.figure for trace in card.figure["data"]):
        for custom in trace.get("customdata") or []:
            shown = custom if isinstance(custom, str) else custom[1]
            assert set(re.findall(r"<[^>]*>", shown)) <= {"<br>", "<b>", "</b>"}
            assert len(shown) < 400
    card = render_markdown(report)
    assert "<script" not in card.replace("\\<script", "")
    assert "\\*bold\\*" in card


# ---- what it needs ------------------------------------------------------------------------------------------------


def test_importing_the_report_loads_neither_torch_nor_optuna() -> None:
    code = (
        "import sys, scanwise.report\n"
        "heavy = {'torch', 'optuna', 'lightning', 'hydra', 'sklearn', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_report_is_rebuilt_from_files_without_torch_or_optuna(tmp_path: Path) -> None:
    (tmp_path / "recommendation.json").write_text(json.dumps(recommendation()), encoding="utf-8")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "for name in ('torch', 'optuna', 'lightning', 'hydra'):\n"
        "    sys.modules[name] = None\n"  # importing one of them is an ImportError
        "from scanwise.artifacts import read_json\n"
        "from scanwise.report import write_report\n"
        "folder = Path(sys.argv[1])\n"
        "report = write_report(read_json(folder / 'recommendation.json'), folder)\n"
        "assert not [card for card in report.cards if card.status == 'error'], report\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    assert "</html>" in (tmp_path / "dashboard.html").read_text("utf-8")
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["schema_version"] == 1


def contrast(first: str, second: str) -> float:
    """WCAG 2.2 contrast ratio of two colours given as #rrggbb."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_helper_knows_black_and_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_and_marks_have_enough_contrast(page_text: str, scheme: int) -> None:
    block = re.findall(r":root \{(.*?)\}", page_text, flags=re.DOTALL)[scheme]
    tokens = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
    for ground in ("card", "wash", "paper"):
        for name in ("ink", "soft", "green-text", "red-text", "orange-text", "blue-text"):
            assert contrast(tokens[name], tokens[ground]) >= 4.5, (name, ground)
    for name in ("blue", "green", "red", "faint", "ink"):
        assert contrast(tokens[name], tokens["card"]) >= 3.0, name


def test_the_base_story_is_what_the_fixture_says() -> None:
    short = {candidate["key"]: candidate for candidate in recommendation()["candidates"]}
    assert len(short) == 15
    story = {
        key: (short[key]["cost"]["money"], round(short[key]["assessment"]["auc"]["value"], 3))
        for key in (BASE, PROPOSAL, REFERENCE)
    }
    assert story == {BASE: (4.0, 0.838), PROPOSAL: (194.2, 0.908), REFERENCE: (323.97, 0.913)}


def test_a_report_is_drawn_again_from_its_numbers(tmp_path: Path) -> None:
    written = write_report(recommendation(), tmp_path / "run")
    again = render_again(tmp_path / "run" / "report.json", tmp_path / "copy")
    assert {path.name for path in again} == {path.name for path in (tmp_path / "run").iterdir()} - {"report.json"}
    for path in again:
        assert path.read_bytes() == (tmp_path / "run" / path.name).read_bytes(), path.name
    assert written.to_dict() == read_json(tmp_path / "run" / "report.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"schema_version": 9}, "schema_version 1 and sections, but this one has 9"),
        ({"schema_version": 1, "head": {}}, "must have schema_version 1 and sections"),
        ({"schema_version": 1, "head": {}, "sections": [{"id": "x", "title": "y"}]}, "not whole: KeyError 'cards'"),
    ],
)
def test_what_is_no_report_is_not_drawn(content: dict[str, Any], words: str, tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", content)
    with pytest.raises(ScanwiseError, match=words):
        render_again(tmp_path / "report.json", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
