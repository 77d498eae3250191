"""The index of runs in a real browser, offline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_tab import AXE, Tab, needs_chromium, running_browser
from index_fixtures import HEART, HEART_LATER, PUBLISHED, VIRTUAL, add_run, reports, settings, virtual

from scanwise.artifacts import write_text
from scanwise.report import write_index

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = reports(tmp_path_factory.mktemp("index") / "reports")
    write_text(root / "runs" / "heart" / "bad" / "report.json", "{")
    return write_index(root)[0]


class Listing(Tab):
    """The index of runs."""

    def rows(self) -> list[str]:
        """Return the folders of the rows that are shown, top to bottom."""
        found: list[str] = self.page.evaluate(
            "[...document.querySelectorAll('#list tbody tr:not([hidden])')].map((row) => row.dataset.path)"
        )
        return found

    def box(self, path: str) -> Any:
        return self.page.locator(f'tr[data-path="{path}"] input[type=checkbox]')

    def picked(self) -> list[str]:
        return [self.page.locator(f"#{name}").input_value() for name in ("first", "second")]

    def pair(self, label: str) -> list[str]:
        """Return what a comparison says in one row."""
        row = self.page.locator("#compared tbody tr", has=self.page.locator(f'th:text("{label}")')).first
        return [str(text) for text in row.locator("td").all_inner_texts()]


@pytest.fixture
def tab(browser: Any, file: Path) -> Iterator[Listing]:
    opened = Listing(browser, file)
    yield opened
    opened.context.close()


def test_one_request_no_complaints_newest_first(tab: Listing, file: Path) -> None:
    assert tab.requests == [file.as_uri()]
    assert tab.complaints == []
    assert tab.rows() == [HEART_LATER, PUBLISHED, HEART, VIRTUAL]
    assert tab.page.locator("#found").inner_text() == "4 runs"
    assert "runs/heart/bad" in tab.page.locator("#troubles").inner_text()
    assert tab.page.locator("#tray").is_hidden()


def test_without_scripts_the_lists_stand(browser: Any, file: Path) -> None:
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator("#list tbody tr").count() == 4
    assert page.locator("#tools").is_hidden()
    assert "need JavaScript" in page.locator("main").inner_text()
    context.close()


def test_columns_sort_both_ways_and_say_so(tab: Listing) -> None:
    head = tab.page.locator("th[data-sort=started]")
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").click()
    assert tab.rows() == [VIRTUAL, PUBLISHED, HEART, HEART_LATER]
    assert head.get_attribute("aria-sort") == "ascending"
    tab.page.locator("th[data-sort=study] button").click()
    assert tab.rows()[-1] == VIRTUAL
    assert head.get_attribute("aria-sort") == "none"
    assert tab.page.locator("#order").input_value() == "study"
    tab.page.locator("#order").select_option("-auc")
    assert tab.rows()[0] == VIRTUAL, "today's protocol has the higher AUC"
    assert tab.hash == "sort=-auc"


def test_prices_are_sorted_among_their_own_currency(tab: Listing) -> None:
    tab.page.locator("th[data-sort=money] button").click()
    assert tab.rows()[-1] == VIRTUAL
    tab.page.locator("th[data-sort=money] button").click()
    assert tab.rows()[-1] == VIRTUAL


def test_what_is_missing_stands_last_both_ways(browser: Any, tmp_path: Path) -> None:
    root = reports(tmp_path)
    report = (root / HEART / "report.json").read_text("utf-8").replace('"role": "patients"', '"role": "none"')
    (root / HEART / "report.json").write_text(report, "utf-8")
    tab = Listing(browser, write_index(root)[0])
    for _ in range(2):
        tab.page.locator("th[data-sort=patients] button").click()
        assert tab.rows()[-1] == HEART
    tab.context.close()


def test_searching_keeps_runs_that_have_all_words(tab: Listing) -> None:
    tab.page.locator("#search").fill("CORONARY bbbb")
    assert tab.rows() == [HEART_LATER]
    assert tab.page.locator("#found").inner_text() == "1 of 4 runs"
    assert tab.hash == "q=CORONARY+bbbb"
    tab.page.locator("#search").fill("no such thing")
    assert tab.rows() == []
    assert tab.page.locator("#nothing").is_visible()
    tab.page.locator("#search").fill("guard")
    assert tab.rows() == [VIRTUAL]
    tab.page.locator("#search").fill("")
    assert len(tab.rows()) == 4
    assert tab.hash == ""


def test_two_runs_of_the_same_data_side_by_side(tab: Listing) -> None:
    tab.box(HEART).check()
    assert "tick another run" in tab.page.locator("#picked").inner_text()
    assert tab.page.locator("#show").is_disabled()
    tab.box(HEART_LATER).check()
    assert tab.picked() == [HEART, HEART_LATER]
    words = tab.page.locator("#compared").inner_text()
    assert "The same data (dddddddd)" in words
    assert "Both hold the very same recommendation." in words
    assert "not comparable" not in words
    heads = tab.page.locator("#compared table").first.locator("thead th").all_inner_texts()
    assert [HEART in heads[0], HEART_LATER in heads[1]] == [True, True]
    assert tab.pair("Price per patient")[0].startswith("CA$ 323.97 → CA$ 194.20")
    rows = tab.page.locator(".settings tbody tr:not(.group)")
    assert [row.split("\t") for row in rows.all_inner_texts()] == [
        ["steps", "150", "300"],
        ["width", "not set", "8"],
        ["seed", "0", "1"],
    ]
    assert [group.strip() for group in tab.page.locator(".settings .group").all_inner_texts()] == ["model", "seed"]
    tab.page.locator("#show").click()
    assert tab.page.evaluate("document.activeElement.id") == "comparison-title"
    assert tab.complaints == []


def test_different_data_are_warned_of_and_what_differs_is_marked(tab: Listing) -> None:
    tab.page.locator("#first").select_option(HEART)
    tab.page.locator("#second").select_option(VIRTUAL)
    warnings = tab.page.locator("#compared .warning").all_inner_texts()
    assert warnings[0].startswith("Virtual cohort (Virtual prostate")
    assert "AUCs of different patients are not comparable" in warnings[1]
    assert warnings[2] == "Prices are in different currencies: CA$ and £."
    assert tab.pair("Guards: failed") == ["none", "A guard says no. (veto)"]
    assert tab.pair("Status") == ["change", "no change"]
    differing = tab.page.locator("#compared .differs th").all_text_contents()
    assert "Status (differs)" in differing
    assert "Patients judged (differs)" not in differing
    assert tab.page.locator("#compared .pill-virtual").count() == 2, "above the facts and above the settings"


def test_unknown_data_and_settings_are_said_to_be_unknown(browser: Any, tmp_path: Path) -> None:
    add_run(tmp_path, "heart/a", data_hash=None)
    add_run(tmp_path, "heart/b", data_hash=None, config=settings("heart"))
    tab = Listing(browser, write_index(tmp_path)[0], hash="a=heart%2Fa&b=heart%2Fb")
    words = tab.page.locator("#compared").inner_text()
    assert "It is not known whether both runs saw the same data" in words
    assert "The settings of Coronary artery disease before angiography · heart/a are not there." in words
    tab.context.close()


def test_runs_of_one_configuration_differ_in_no_setting(tab: Listing) -> None:
    tab.box(HEART).check()
    tab.box(PUBLISHED).check()
    assert "both runs have the same configuration" in tab.page.locator("#compared").inner_text()


def test_a_third_run_takes_the_place_of_the_first(tab: Listing) -> None:
    for path in (HEART, HEART_LATER, VIRTUAL):
        tab.box(path).check()
    assert tab.picked() == [HEART_LATER, VIRTUAL]
    assert not tab.box(HEART).is_checked()
    tab.box(HEART_LATER).uncheck()
    assert tab.picked() == [VIRTUAL, ""]
    tab.page.locator("#clear").click()
    assert tab.picked() == ["", ""]
    assert tab.hash == ""


def test_choosing_the_same_run_twice_swaps(tab: Listing) -> None:
    tab.page.locator("#first").select_option(HEART)
    tab.page.locator("#second").select_option(VIRTUAL)
    tab.page.locator("#first").select_option(VIRTUAL)
    assert tab.picked() == [VIRTUAL, HEART]


def test_the_address_restores_everything(browser: Any, tab: Listing, file: Path) -> None:
    tab.page.locator("#search").fill("coronary")
    tab.page.locator("#order").select_option("started")
    tab.box(HEART).check()
    tab.box(HEART_LATER).check()
    other = Listing(browser, file, hash=tab.hash)
    try:
        assert other.picked() == [HEART, HEART_LATER]
        assert other.rows() == tab.rows() == [PUBLISHED, HEART, HEART_LATER]
        assert other.page.locator("#search").input_value() == "coronary"
        assert other.page.locator("#compared").inner_text() == tab.page.locator("#compared").inner_text()
        assert other.page.evaluate("document.activeElement.id") == "comparison-title"
    finally:
        other.context.close()


def test_back_goes_to_the_comparison_before(tab: Listing) -> None:
    tab.box(HEART).check()
    tab.box(VIRTUAL).check()
    tab.box(HEART_LATER).check()
    assert tab.picked() == [VIRTUAL, HEART_LATER]
    tab.page.go_back()
    tab.page.wait_for_timeout(100)
    assert tab.picked() == [HEART, VIRTUAL]
    assert tab.box(HEART).is_checked()
    tab.page.go_forward()
    tab.page.wait_for_timeout(100)
    assert tab.picked() == [VIRTUAL, HEART_LATER]


@pytest.mark.parametrize(
    "hash_",
    ["main", "a=", "sort=nonsense&q=" + "x" * 500, "%E0%A4%A=%", "a=__proto__&b=constructor", "&&&==", "sort=-"],
)
def test_a_broken_address_is_survived(browser: Any, file: Path, hash_: str) -> None:
    tab = Listing(browser, file, hash=hash_)
    try:
        assert tab.picked() == ["", ""]
        assert tab.page.locator("th[data-sort=started]").get_attribute("aria-sort") == "descending"
        assert len(tab.page.locator("#search").input_value()) <= 200
        assert tab.complaints == []
    finally:
        tab.context.close()


def test_a_link_to_a_run_that_is_gone_says_so(browser: Any, file: Path) -> None:
    tab = Listing(browser, file, hash=f"a=runs%2Fgone%2F%3Cb%3E&b={HEART}")
    try:
        assert tab.picked() == [HEART, ""]
        words = tab.page.locator("#compared").inner_text()
        assert "A run that the link names is not listed here: runs/gone/<b>" in words
    finally:
        tab.context.close()


def test_links_within_the_page_keep_the_state(tab: Listing) -> None:
    tab.box(HEART).check()
    before = tab.hash
    tab.page.locator("nav a", has_text="Benchmarks").click()
    assert tab.page.evaluate("document.activeElement.id") == "benchmarks"
    assert tab.hash == before


def test_everything_works_by_keyboard(tab: Listing) -> None:
    keys = tab.page.keyboard
    keys.press("Tab")
    assert tab.page.evaluate("document.activeElement.className") == "skip"
    keys.press("Enter")
    assert tab.page.evaluate("document.activeElement.id") == "main"
    keys.press("Tab")
    assert tab.page.evaluate("document.activeElement.id") == "search"
    keys.type("coronary")
    keys.press("Tab")
    assert tab.page.evaluate("document.activeElement.id") == "order"
    keys.press("Tab")
    assert tab.page.evaluate("document.activeElement.textContent") == "Study"
    keys.press("Space")
    assert tab.page.locator("th[data-sort=study]").get_attribute("aria-sort") == "ascending"
    tab.box(HEART).focus()
    assert "Compare Coronary" in tab.box(HEART).get_attribute("aria-label")
    keys.press("Space")
    assert tab.page.evaluate("document.activeElement.checked"), "the focus stays where it was"
    tab.box(HEART_LATER).focus()
    keys.press("Space")
    tab.page.locator("#show").focus()
    keys.press("Enter")
    assert tab.page.evaluate("document.activeElement.id") == "comparison-title"
    keys.press("Escape")
    assert tab.picked() == ["", ""]


def test_untrusted_text_runs_nothing(browser: Any, tmp_path: Path) -> None:
    evil = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    given = virtual()
    given["study"]["title"] = given["decision"]["headline"] = given["guards"][0]["title"] = evil
    given["currency"] = given["decision"]["status"] = evil
    where = "heart/" + evil.replace("/", "_")
    add_run(tmp_path, where, given=given, config={"name": evil, "__proto__": {evil: evil}}, data_hash=evil)
    add_run(tmp_path, "heart/plain", config=settings("heart"))
    tab = Listing(browser, write_index(tmp_path)[0])
    try:
        tab.page.locator("#first").select_option(where)
        tab.page.locator("#second").select_option("heart/plain")
        assert tab.pair("Headline")[0] == evil
        groups = [group.strip() for group in tab.page.locator(".settings .group").all_text_contents()]
        assert "__proto__" in groups
        assert f"{evil}{evil}not set" in tab.page.locator(".settings").text_content()
        assert tab.page.evaluate("window.hacked") is None
        assert tab.complaints == []
        assert len(tab.requests) == 1
        link = tab.page.locator("#compared thead a").first.get_attribute("href")
        with tab.page.expect_navigation():
            tab.page.locator("#compared thead a").first.click()
        assert tab.page.locator("body").inner_text() == "the page"
        assert link.startswith("heart/%3C")
    finally:
        tab.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_scrolls_sideways(browser: Any, file: Path, width: int, scheme: str) -> None:
    tab = Listing(
        browser, file, hash=f"a={HEART}&b={VIRTUAL}", viewport={"width": width, "height": 844}, color_scheme=scheme
    )
    try:
        assert tab.page.evaluate("document.documentElement.scrollWidth") == width
        assert tab.page.locator("#compared table").count() == 2
    finally:
        tab.context.close()


def test_on_paper_there_are_no_controls(browser: Any, file: Path) -> None:
    tab = Listing(browser, file, hash=f"a={HEART}&b={VIRTUAL}", color_scheme="dark")
    try:
        tab.page.emulate_media(media="print", color_scheme="dark")
        for name in ("#tools", "#tray", "#choose"):
            assert tab.page.locator(name).is_hidden()
        assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert len(tab.page.pdf(prefer_css_page_size=True)) > 10_000
    finally:
        tab.context.close()


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: npm install --no-save axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_no_serious_violation_of_accessibility(browser: Any, file: Path, width: int, scheme: str) -> None:
    tab = Listing(
        browser,
        file,
        hash=f"a={HEART}&b={VIRTUAL}",
        viewport={"width": width, "height": 844},
        color_scheme=scheme,
        bypass_csp=True,
        script=AXE.read_text("utf-8"),
    )
    try:
        found = tab.page.evaluate("axe.run().then((result) => result.violations)")
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in serious] == []
    finally:
        tab.context.close()
