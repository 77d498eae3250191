"""Methods text, references, checklists and the protocol card, as files to hand in."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fixtures import PROPOSAL, REFERENCE, recommendation

from scanwise.report import build_report, render_markdown, write_report
from scanwise.report.card_page import render_card_page
from scanwise.report.cards.console import shots
from scanwise.report.checklist import AUTHORS, LISTS, NOT_APPLICABLE, NOT_DONE, PARTLY, REPORTED, STATUSES
from scanwise.report.manuscript import render_bibliography, render_checklist, render_latex, render_methods
from scanwise.report.references import REGISTRY, bibliography, free_text, latex
from scanwise.report.report import Report
from scanwise.report.sheet import ROLES, review_by, sheet_of

FILES = {
    "methods.md": render_methods,
    "methods.tex": render_latex,
    "references.bib": render_bibliography,
    "checklist.md": render_checklist,
    "protocol-card.md": render_markdown,
    "protocol-card.html": render_card_page,
}
EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>'
LATEX_EVIL = '\\input{/etc/passwd} \\end{document} 100% of $x_1^2$ & #3 ~ {unbalanced \\write18{rm} | `a\' -- "q"'
BIB_EVIL = 'x}, author = {evil}}\n@comment{y} % "quoted" \\'
BIDI = "\u202eabc\u202c\u200b\x07"


def written(given: dict[str, Any]) -> dict[str, str]:
    report = build_report(given)
    return {name: render(report) for name, render in FILES.items()}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return written(recommendation())


def untrusted() -> dict[str, Any]:
    given = recommendation()
    given["study"].update(
        title=EVIL, question=LATEX_EVIL, citation=BIB_EVIL, source=EVIL, positive=LATEX_EVIL, notes=[EVIL, BIDI]
    )
    given["price_source"] = LATEX_EVIL
    given["decision"].update(headline=EVIL, lead=LATEX_EVIL, reasons=["x" * 10_000, EVIL])
    given["model"]["text"] = given["split"]["text"] = given["rule"]["text"] = LATEX_EVIL
    given["guards"][2].update(title=EVIL, detail=LATEX_EVIL)
    given["provenance"].update(
        versions={EVIL: LATEX_EVIL, "scanwise": EVIL}, git="`|\n", config_hash=EVIL, started=EVIL
    )
    given["currency"] = "<b>"
    for candidate in given["candidates"]:
        candidate["reading"] = f"{EVIL} {LATEX_EVIL} {candidate['key']}"
        candidate["console"] = {"exercise": {EVIL: LATEX_EVIL}}
    return given


# ---- citations ----------------------------------------------------------------------------------------------------


def cited(tex: str) -> set[str]:
    return {key for keys in re.findall(r"\\cite\{([^}]*)\}", tex) for key in keys.split(",")}


def entries(bib: str) -> list[str]:
    return re.findall(r"^@[a-z]+\{([a-z0-9]+),$", bib, flags=re.MULTILINE)


def one_round(given: dict[str, Any]) -> None:
    """Make it a holdout study: judged in a fixed sequence, with Optuna, sites apart."""
    given["nested"] = None
    given["split"]["kind"] = "site"
    given["rule"]["text"] += " The last before the first that fails is taken (fixed-sequence test); one standard error."
    given["search"].update(how="Optuna (TPE), 256 trials", complete=False)
    given["guards"][2]["detail"] = "Cochran's Q 3.2"


def nothing(given: dict[str, Any]) -> None:
    for name in ("nested", "guards", "audit", "search", "split", "model", "provenance", "adaptive", "rule"):
        given[name] = None
    given["study"] = {}
    for candidate in given["candidates"]:
        candidate["assessment"] = None


@pytest.mark.parametrize("spoil", [lambda given: None, one_round, nothing], ids=["crossfit", "one_round", "nothing"])
def test_every_citation_has_its_entry_and_every_entry_its_citation(spoil: Any) -> None:
    given = recommendation()
    spoil(given)
    files = written(given)
    keys = entries(files["references.bib"])
    assert len(keys) == len(set(keys))
    assert set(keys) == cited(files["methods.tex"])
    assert keys == sorted(keys)
    known = {reference.key for reference in REGISTRY} | {"study", "prices"}
    assert set(keys) <= known
    numbers = {int(n) for group in re.findall(r"\\\[([\d, ]+)\\\]", files["methods.md"]) for n in group.split(",")}
    assert numbers == set(range(1, len(keys) + 1))


def test_what_was_done_decides_what_is_cited() -> None:
    def keys(spoil: Any) -> set[str]:
        given = recommendation()
        spoil(given)
        return {entry["key"] for entry in build_report(given).card("methods").data["references"]}

    usual, once = keys(lambda given: None), keys(one_round)
    assert {"varma2006", "holm1979", "guo2017", "study", "prices"} <= usual
    assert not {"maurer1995", "akiba2019", "cochran1954", "breiman1984"} & usual
    assert {"maurer1995", "westfall2001", "akiba2019", "bergstra2011", "cochran1954", "breiman1984"} <= once
    assert "varma2006" not in once
    assert keys(nothing) == {"claim2024", "tripodai2024", "prices"}


def test_the_registry_is_complete_and_its_keys_are_plain() -> None:
    assert len({reference.key for reference in REGISTRY}) == len(REGISTRY)
    for reference in REGISTRY:
        assert re.fullmatch(r"[a-z]+\d{4}", reference.key)
        assert reference.key.endswith(str(reference.year))
        assert reference.authors
        assert re.fullmatch(r"10\.\d{4,}/\S+", reference.doi or "10.1000/none")
        assert reference.bibtex.count("{") == reference.bibtex.count("}")
    delong = next(reference for reference in REGISTRY if reference.key == "delong1988")
    assert delong.text.startswith("DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas")
    assert delong.text.endswith("Biometrics 1988;44:837-845. doi:10.2307/2531595")
    assert "author = {DeLong, E. R. and DeLong, D. M. and Clarke-Pearson, D. L.}" in delong.bibtex
    assert "pages = {837--845}" in delong.bibtex


# ---- the text -----------------------------------------------------------------------------------------------------


def paragraph(report: Report, heading: str) -> str:
    card = report.card("methods")
    headings = [entry["heading"] for entry in card.data["paragraphs"]]
    return card.paragraphs[headings.index(heading)] if heading in headings else ""


def test_the_text_answers_what_reviewers_ask() -> None:
    report = build_report(recommendation())
    expected = {
        "Aim": "the hypothesis was non-inferiority of the area under the ROC curve (AUC).",
        "Patients": "With the standard error that was reached (.007 for the difference in AUC), a protocol exactly as "
        "good as the reference would be shown to be non-inferior with a probability of more than 99 %.",
        "Tests and missing data": "resting ECG 99.0 %, thallium stress test 78.0 %, fluoroscopy 71.0 %.",
        "Protocols and prices": "32 protocols were scored (exact lattice of 32 protocols): every protocol on offer was",
        "Data partitions": "Parts are disjoint by patient.",
        "Model": "Classes were neither weighted nor resampled.",
        "Evaluation": "Net benefit was computed at thresholds agreed beforehand (10 %, 20 %, 30 %, 40 %, 50 %)",
        "Rule of choice and multiplicity": "Claims of being better were adjusted for 14 comparisons by Holm's method",
        "Decisions patient by patient": "an AUC of .908 (.869 to .947) at a mean of CA$ 150.00 (95 of 100 patients "
        "below CA$ 250.00); difference to the fixed protocol −.002 (−.012 to +.008).",
        "Safeguards": "Raised: Sites disagree. The site says something about the label.",
        "Software and reporting": "scanwise 0.1.0 with optuna 5.0.0, torch 2.13.0. Random seed 7,",
        "Result": "difference −.005 (−.018 to +.008), non-inferior.",
    }
    for heading, words in expected.items():
        assert words in paragraph(report, heading), heading


def test_sentences_follow_the_recommendation() -> None:
    given = recommendation()
    given["study"].update(virtual=True, assumptions=[{"what": "a"}, {"what": "b"}])
    given["study"]["sites"] = [{"site": f"s{n}", "n": 100 + n, "n_positive": 20} for n in range(12)]
    given["split"]["kind"] = "site"
    given["model"]["kind"] = "logistic regression per protocol"
    given["adaptive"] = {"applicable": False, "reason": "not run"}
    report = build_report(given)
    patients = paragraph(report, "Patients")
    assert "303 virtual patients" in patients
    assert "nobody was examined" in patients
    assert "2 were assumed rather than measured" in patients
    assert "12 sites (100 to 111 patients each, 18 % to 20 % positive)" in patients
    assert "test on external data" in paragraph(report, "Data partitions")
    assert "counted as the mean" in paragraph(report, "Tests and missing data")
    assert paragraph(report, "Decisions patient by patient") == ""
    one_round(given)
    text = paragraph(build_report(given), "Rule of choice and multiplicity")
    assert "The fixed sequence keeps the error rate" in text
    assert "nested" not in text


def test_a_section_that_cannot_be_computed_says_so_in_every_file() -> None:
    given = recommendation()
    given["decision"]["key"] = "fluoroscopy=7"
    files = written(given)
    assert "not on its short list" in files["methods.md"]
    assert "not on its short list" in files["methods.tex"]
    assert files["references.bib"] == ""
    assert "not on its short list" in files["protocol-card.html"]


def test_the_files_are_written_and_the_same_recommendation_gives_the_same_bytes(
    tmp_path: Path, texts: dict[str, str]
) -> None:
    write_report(recommendation(), tmp_path)
    assert {name: (tmp_path / name).read_text("utf-8") for name in FILES} == texts


# ---- untrusted text -----------------------------------------------------------------------------------------------


def test_latex_of_every_special_sign() -> None:
    assert latex("a & b_c # 5 % $x$") == "a \\& b\\_c \\# 5 \\% \\$x\\$"
    assert latex("\\cite{x}") == "\\textbackslash{}cite\\textbraceleft{}x\\textbraceright{}"
    assert latex("~ ^ < > | `") == (
        "\\textasciitilde{} \\textasciicircum{} \\textless{} \\textgreater{} \\textbar{} \\textasciigrave{}"
    )
    assert latex("−.005 to +.008 – 1 × 2 ± 3") == "$-$.005 to +.008 -- 1 $\\times$ 2 $\\pm$ 3"
    assert latex("---") == "-{}-{}-"
    assert latex("24\u202f000\u00a0£") == "24\\,000~\\pounds{}"
    assert latex("10⁻³ mm²/s, α ≤ 5 µm") == (
        "10\\textsuperscript{$-$}\\textsuperscript{3} mm\\textsuperscript{2}/s, $\\alpha$ $\\leq$ 5 $\\mu$m"
    )
    assert latex("a\n\n  b\t\u2028c") == "a b c"
    assert latex(BIDI) == "abc"
    assert latex("Kégl שלום") == "Kégl שלום"
    for code in (*range(32, 0x250), *range(0x2000, 0x2070), *range(0x2190, 0x22FF)):
        found = latex(f"a{chr(code)}b")
        assert found.count("{") == found.count("}"), hex(code)
        assert not re.search(r"(?<!\\)[%&#_^]", found.replace("$^\\circ$", "")), hex(code)


def test_untrusted_text_stays_text_in_latex_and_bibtex() -> None:
    files = written(untrusted())
    commands = set(re.findall(r"\\([A-Za-z]+)", re.sub(r"^%.*$", "", files["methods.tex"], flags=re.MULTILINE)))
    ours = {"paragraph", "cite", "textbackslash", "textbraceleft", "textbraceright", "textasciitilde", "textbar"}
    ours |= {"textasciicircum", "textless", "textgreater", "textasciigrave", "textbf"}
    assert commands <= ours
    for text in (files["methods.tex"], files["references.bib"]):
        body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
        assert not re.search(r"(?<!\\)[%&#_^~](?!\\cite)", body.replace("$^\\circ$", ""))
        assert body.count("{") == body.count("}")
        assert "\u202e" not in text
        assert "\x07" not in text
    assert entries(files["references.bib"]) == sorted(cited(files["methods.tex"]))
    assert "@comment{y}" not in files["references.bib"]
    depth = 0
    for sign in files["references.bib"]:
        depth += (sign == "{") - (sign == "}")
        assert depth >= 0
    assert depth == 0


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_untrusted_text_stays_text_in_markdown_and_page() -> None:
    files = written(untrusted())
    for name in ("methods.md", "checklist.md", "protocol-card.md"):
        assert not re.search(r"(?<!\\)<(script|img)", files[name]), name
        rows = [line for line in files[name].splitlines() if line.startswith("|")]
        for line in rows:
            assert line.endswith("|")
    card = files["protocol-card.md"]
    assert "x" * 900 not in card
    assert "scanwise `scriptaler`, commit ``, configuration `scriptaler`" in card
    page = Tags(files["protocol-card.html"])
    assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe", "form"}
    assert any(EVIL in text for text in page.texts)
    assert all("on" not in {name[:2] for name in attributes} for _, attributes in page.tags)


def test_latex_compiles(tmp_path: Path) -> None:
    """Where LaTeX is installed: the fragment and its bibliography, with untrusted text."""
    if shutil.which("pdflatex") is None or shutil.which("bibtex") is None:
        pytest.skip("no LaTeX on the PATH")
    files = written(untrusted())
    for name in ("methods.tex", "references.bib"):
        (tmp_path / name).write_text(files[name], "utf-8")
    (tmp_path / "main.tex").write_text(
        "\\documentclass{article}\\begin{document}\\input{methods}\\bibliographystyle{plain}"
        "\\bibliography{references}\\end{document}\n",
        "utf-8",
    )
    for command in (["pdflatex"], ["bibtex"], ["pdflatex"], ["pdflatex"]):
        options = [] if command == ["bibtex"] else ["-interaction=nonstopmode", "-halt-on-error"]
        done = subprocess.run([*command, *options, "main"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "main.log").read_text("latin-1")
    assert "undefined" not in log
    assert "Warning--" not in (tmp_path / "main.blg").read_text("utf-8")


def test_free_text_becomes_an_entry_of_its_own() -> None:
    entry = free_text("study", "  A & B\n1988 ")
    assert entry.text == "A & B 1988"
    assert entry.bibtex == "@misc{study,\n  title = {{A \\& B 1988}},\n  key = {study}\n}\n"
    assert bibliography([entry, REGISTRY[0]]).startswith("@article{ahn2013,")


# ---- checklists ---------------------------------------------------------------------------------------------------


def answers(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    report = build_report(given)
    return {f"{item['list']} {item['number']}": item for item in report.card("checklist").data["items"]}


def bare(given: dict[str, Any]) -> None:
    nothing(given)
    for name in ("sensitivity", "ladder", "considered", "contributions", "groups", "flips", "pictures", "layout"):
        given[name] = None
    given["decision"]["reasons"] = []
    given["price_source"] = ""


def test_the_lists_have_the_items_they_have() -> None:
    assert [item.number for item in LISTS["CLAIM"]] == [str(number) for number in range(1, 45)]
    numbers = [item.number for item in LISTS["TRIPOD+AI"]]
    assert len(numbers) == len(set(numbers)) == 52
    assert len({re.match(r"\d+", number)[0] for number in numbers}) == 27  # type: ignore[index]
    assert numbers == sorted(numbers, key=lambda number: (int(re.match(r"\d+", number)[0]), number))  # type: ignore[index]


@pytest.mark.parametrize("spoil", [lambda given: None, one_round, bare], ids=["whole", "one_round", "bare"])
def test_every_item_has_a_status_and_names_cards_with_content(spoil: Any) -> None:
    given = recommendation()
    spoil(given)
    report = build_report(given)
    card = report.card("checklist")
    assert card.table is not None
    assert len(card.table.rows) == 44 + 52
    content = {one.id for one in report.cards if one.status in ("ok", "attention")}
    for row, item in zip(card.table.rows, card.data["items"], strict=True):
        assert item["status"] in STATUSES
        assert row.cells["status"] == item["status"]
        assert row.cells["remark"]
        assert row.cells["item"]
        if item["status"] in (REPORTED, PARTLY):
            assert item["cards"], item
            assert set(item["cards"]) <= content, item
            assert row.cells["where"]
        else:
            assert not item["cards"]
    for status, words in ((REPORTED, "reported"), (NOT_DONE, "not done"), (AUTHORS, "for the authors")):
        count = sum(item["status"] == status for item in card.data["items"] if item["list"] == "CLAIM")
        claim, _, _ = card.title.partition("; ")
        assert (f" {count} {words}" in claim) == bool(count)


def test_nothing_is_reported_of_a_recommendation_that_holds_nothing() -> None:
    given = recommendation()
    bare(given)
    found = answers(given)
    reported = {name for name, item in found.items() if item["status"] == REPORTED}
    assert reported <= {"CLAIM 40", "TRIPOD+AI 26", "TRIPOD+AI 9a"}  # limits and menu are always there
    assert found["CLAIM 37"]["status"] == found["TRIPOD+AI 23a"]["status"] == NOT_DONE


SPOILS: dict[str, tuple[Any, str, str, str]] = {
    "external": (lambda g: g["split"].update(kind="site"), "CLAIM 33", NOT_DONE, REPORTED),
    "internal": (lambda g: g["split"].update(kind="site"), "CLAIM 32", REPORTED, PARTLY),
    "versions": (lambda g: g["provenance"].update(versions={}), "CLAIM 23", REPORTED, NOT_DONE),
    "sensitivity": (lambda g: g.update(sensitivity=[]), "CLAIM 30", REPORTED, PARTLY),
    "missing": (lambda g: g["study"].update(missing=[]), "TRIPOD+AI 11", REPORTED, NOT_DONE),
    "positive": (lambda g: g["study"].update(positive=""), "CLAIM 14", REPORTED, AUTHORS),
    "virtual": (lambda g: g["study"].update(virtual=True), "TRIPOD+AI 17", AUTHORS, NOT_APPLICABLE),
    "split": (lambda g: g.update(split=None), "CLAIM 19", REPORTED, NOT_DONE),
    "groups": (lambda g: g.update(groups=None), "TRIPOD+AI 14", PARTLY, NOT_DONE),
    "parts": (lambda g: g.update(contributions=None), "CLAIM 31", PARTLY, NOT_DONE),
    "ensemble": (lambda g: g["model"].update(text="one network"), "CLAIM 27", REPORTED, NOT_APPLICABLE),
    "margin": (lambda g: g["rule"].pop("margin"), "CLAIM 4", REPORTED, PARTLY),
}


@pytest.mark.parametrize("name", SPOILS)
def test_a_status_changes_when_its_part_is_not_there(name: str) -> None:
    spoil, item, before, after = SPOILS[name]
    given = recommendation()
    assert answers(given)[item]["status"] == before
    spoil(given)
    assert answers(given)[item]["status"] == after


def test_calibration_without_a_card_is_not_reported() -> None:
    given = recommendation()
    for candidate in given["candidates"]:
        candidate["assessment"]["calibration"] = None
        candidate["assessment"]["sensitivity"] = None
    found = answers(given)
    assert "calibration" not in found["CLAIM 37"]["cards"]
    assert found["CLAIM 38"]["status"] == NOT_DONE


def test_the_checklist_file_holds_both_lists(texts: dict[str, str]) -> None:
    rows = [line for line in texts["checklist.md"].splitlines() if re.match(r"\| \d", line)]
    assert len(rows) == 96
    assert "## CLAIM" in texts["checklist.md"]
    assert "doi:10.1136/bmj-2023-078378" in texts["checklist.md"]
    assert (
        "| 33 | Testing on external data | not done |  | The patients who judge come from the sites"
        in (texts["checklist.md"])
    )


# ---- the protocol card --------------------------------------------------------------------------------------------


def test_the_card_has_all_its_parts(texts: dict[str, str]) -> None:
    card = texts["protocol-card.md"]
    headings = re.findall(r"^## (.*)$", card, flags=re.MULTILINE)
    assert headings == [
        "In short",
        "What to order",
        "What to enter at the console",
        "Why, and what would change this advice",
        "Evidence",
        "Other budgets",
        "Sites",
        "Risks and limits",
        "Guards and leakage audit",
        "Decision",
    ]
    assert "Rule of choice, declared beforehand" in card
    assert "* AUC .908 proposed against .913 today, difference −.005 (−.018 to +.008)." in card
    assert "Protocol version: card `" in card
    assert "configuration `3f1c9a70b2e4`, data `a74b7efa387b`" in card
    assert "Review by: 2027-08-01 (proposed: one year after the run started)" in card


def test_page_and_markdown_hold_the_same(texts: dict[str, str]) -> None:
    report = build_report(recommendation())
    page = " ".join("".join(Tags(texts["protocol-card.html"]).texts).split())
    for section in sheet_of(report).sections:
        assert section.heading in page
        for block in section.blocks:
            for _, items in block.lists:
                for item in items:
                    assert " ".join(item.split())[:300] in page
    for role in ROLES:
        assert role in page
    assert "2027-08-01" in page
    assert str(report.head["fingerprint"]) in page


def test_the_page_is_one_file_without_script(texts: dict[str, str]) -> None:
    page = Tags(texts["protocol-card.html"])
    assert ("html", {"lang": "en"}) in page.tags
    assert "script" not in {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert "src" not in attributes
        if tag == "link":
            assert attributes["href"] == "data:,"
    assert "url(" not in texts["protocol-card.html"]
    assert "size: A4" in texts["protocol-card.html"]
    assert texts["protocol-card.html"].count("<table") == texts["protocol-card.html"].count("<caption")
    assert len(texts["protocol-card.html"]) < 60_000


def test_a_virtual_card_says_so_on_every_sheet() -> None:
    given = recommendation()
    given["study"]["virtual"] = True
    report = build_report(given)
    text = render_card_page(report)
    assert "@top-center" in text
    assert 'class="banner" role="note"' in text
    assert "@top-center" not in render_card_page(build_report(recommendation()))


def test_no_more_sites_and_budgets_than_fit_a_sheet() -> None:
    given = recommendation()
    for candidate in given["candidates"]:
        first = candidate["assessment"]["sites"][0]
        candidate["assessment"]["sites"] = [{**first, "site": f"site {n}"} for n in range(30)]
        for n, site in enumerate(candidate["assessment"]["sites"]):
            if site["difference"]:
                site["difference"] = {**site["difference"], "low": -0.001 * n}
    given["ladder"] = [{"limit": 4.0 + n, "key": REFERENCE, "status": "change"} for n in range(20)]
    sections = {section.id: section.blocks[0] for section in sheet_of(build_report(given)).sections}
    sites, ladder = sections["sites"], sections["ladder"]
    assert sites.table is not None
    assert [row.cells["site"] for row in sites.table.rows] == ["All", *(f"site {n}" for n in range(29, 24, -1))]
    assert sites.notes == ("The 5 sites that may lose most; 25 others in the dashboard.",)
    assert ladder.table is not None
    assert len(ladder.table.rows) == 5


@pytest.mark.parametrize("virtual", [False, True], ids=["patients", "virtual"])
def test_the_card_prints_on_two_sheets_without_a_request(tmp_path: Path, virtual: bool) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on the PATH")
    given = recommendation()
    given["study"]["virtual"] = virtual
    file = tmp_path / "protocol-card.html"
    file.write_text(render_card_page(build_report(given)), "utf-8")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(offline=True, viewport={"width": 390, "height": 844}).new_page()
        asked: list[str] = []
        told: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: told.append(message.text))
        page.goto(file.as_uri())
        width = page.evaluate("document.documentElement.scrollWidth")
        printed = page.pdf(prefer_css_page_size=True, print_background=True)
        browser.close()
    assert asked == [file.as_uri()]
    assert told == []
    assert width == 390
    assert len(re.findall(rb"/Type\s*/Page[^s]", printed)) <= 2


@pytest.mark.parametrize(
    ("started", "day"),
    [
        ("2026-11-22T12:27:26+00:00", date(2027, 11, 22)),
        ("2026-08-01T09:30:00Z", date(2027, 8, 1)),
        ("2028-02-29", date(2029, 2, 28)),
        ("9999-01-01", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_review_is_due_a_year_after_the_run(started: str, day: date | None) -> None:
    assert review_by(started) == day


def test_without_a_date_the_line_is_left_blank() -> None:
    given = recommendation()
    given["provenance"]["started"] = None
    assert "Review by: ____" in render_markdown(build_report(given))


# ---- what to enter at the console ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "names", "text"),
    [
        ([2, 4, 8, 12], ["b50", "b400", "b800", "b1400"], "b50 ×2, b400 ×4, b800 ×8, b1400 ×12"),
        ([3, 0, 0, 18], ["b50", "b400", "b800", "b1400"], "2 of 4: b50 ×3, b1400 ×18"),
        ([1] * 64, None, "all 64, once"),
        ([0] * 8, None, "not acquired"),
        ([1], None, "once"),
        ([0, 1, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1], None, "9 of 12: shots 2 to 4, 6, 8 to 12"),
        ([1, 1, 1, 1, 2, 2, 2, 0], None, "7 of 8: shots 1 to 4 (once each); 5 to 7 (2 times each)"),
    ],
)
def test_counts_in_words(counts: list[int], names: list[str] | None, text: str) -> None:
    assert shots(counts, names) == text


def test_settings_stand_beside_each_other() -> None:
    given = recommendation()
    today = next(candidate for candidate in given["candidates"] if candidate["key"] == REFERENCE)
    proposed = next(candidate for candidate in given["candidates"] if candidate["key"] == PROPOSAL)
    today["console"] = {"exercise": {"matrix": [64, 48], "echo_time_s": 0.1, "flip_angle_deg": 14.9999999, "fat": True}}
    proposed["console"] = {"exercise": {"matrix": [64, 32], "echo_time_s": 0.1, "flip_angle_deg": 15.0, "fat": False}}
    report = build_report(given)
    card = report.card("console")
    assert card.title == "To leave out: blood panel, resting ECG, thallium stress test"
    assert card.table is not None
    rows = [dict(row.cells) for row in card.table.rows if row.cells["modality"] == "exercise ECG"]
    settings = {row["setting"]: (row["today"], row["proposed"]) for row in rows}
    assert settings["matrix"] == ("64 × 48", "64 × 32")
    assert settings["echo time"] == ("0.1 s", "0.1 s")
    assert settings["flip angle"] == ("15 degrees", "15 degrees")
    assert settings["fat"] == ("yes", "no")
    block = next(section for section in sheet_of(report).sections if section.id == "console").blocks[0]
    assert block.table is not None
    shown = [(row.cells["modality"], row.cells["setting"]) for row in block.table.rows]
    assert ("exercise ECG", "matrix") in shown
    assert ("exercise ECG", "echo time") not in shown
    assert block.notes == ("As today: history and blood pressure, fluoroscopy.",)
