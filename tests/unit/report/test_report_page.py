"""The real page in a real browser, offline."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures import BASE, EXERCISE, PROPOSAL, REFERENCE, recommendation

from scanwise.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
api: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")

KEYS = """(role) => document.getElementById("plot-front").data
    .filter((trace) => trace.meta.role === role).flatMap((trace) => trace.customdata.map((item) => item[0]))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield running
        running.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_report(recommendation(), folder)
    return folder / "dashboard.html"


class Tab:
    """An open page, and everything it asked for or complained about."""

    def __init__(self, browser: Any, file: Path, **settings: Any) -> None:
        self.context = browser.new_context(offline=True, **({"viewport": {"width": 1440, "height": 900}} | settings))
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready=yes]")

    def keys(self, role: str) -> list[str]:
        found: list[str] = self.page.evaluate(KEYS, role)
        return found

    def wait_until(self, expression: str, value: str) -> None:
        """Poll from here: the page's own content security policy forbids polling by eval inside it."""
        for _ in range(100):
            if self.page.evaluate(expression) == value:
                return
            self.page.wait_for_timeout(50)
        pytest.fail(f"{expression} is {self.page.evaluate(expression)!r}, not {value!r}")

    def slide(self, axis: str, position: int) -> str:
        self.page.locator(f"#slider-{axis}").fill(str(position))
        return str(self.page.locator("#budget-headline").inner_text())


@pytest.fixture
def tab(browser: Any, file: Path) -> Iterator[Tab]:
    opened = Tab(browser, file)
    yield opened
    opened.context.close()


def test_one_request_no_complaints_and_every_figure_drawn(tab: Tab, file: Path) -> None:
    assert tab.requests == [file.as_uri()]
    assert tab.complaints == []
    assert tab.page.locator(".plot").count() == tab.page.locator(".plot .main-svg:first-child").count() == 9


def test_the_page_sorts_the_protocols_as_python_does(tab: Tab) -> None:
    before = {role: tab.keys(role) for role in ("above", "within", "alike", "reference", "proposal", "selected")}
    assert before["proposal"] == [PROPOSAL]
    tab.slide("money", 0)
    last = int(tab.page.locator("#slider-money").get_attribute("max"))
    tab.slide("money", last)
    assert {role: sorted(tab.keys(role)) for role in before} == {role: sorted(keys) for role, keys in before.items()}


def test_the_slider_changes_headline_and_proposal(tab: Tab) -> None:
    assert tab.page.locator("#budget-headline").inner_text().startswith("Leave out blood panel")
    assert tab.page.locator("#budget-headline").get_attribute("aria-live") == "polite"
    words = tab.slide("money", 3)
    assert words.startswith("From CA$ 93.30 up to CA$ 194.20: history and blood pressure + exercise ECG.")
    assert tab.page.locator("#value-money").inner_text() == "CA$ 93.30"
    assert tab.page.locator("#slider-money").get_attribute("aria-valuetext") == "CA$ 93.30"
    assert tab.keys("proposal") == [EXERCISE]
    assert len(tab.keys("above")) == 10
    assert tab.keys("alike") == []
    assert tab.slide("money", 0).startswith("From CA$ 4.00 up to CA$ 93.30")
    assert tab.complaints == []


def test_the_slider_works_by_keyboard(tab: Tab) -> None:
    tab.page.locator("#slider-money").focus()
    tab.page.keyboard.press("Home")
    assert tab.page.locator("#value-money").inner_text() == "CA$ 4.00"
    tab.page.keyboard.press("ArrowRight")
    assert tab.page.locator("#value-money").inner_text() == "CA$ 14.37"


def test_a_second_limit_is_not_glossed_over(tab: Tab) -> None:
    words = tab.slide("visits", 0)
    assert "It is above your limit for visits" in words
    assert "budget.visits=1" in words
    assert tab.keys("proposal") == []
    assert tab.keys("within") == [BASE]


def test_filtering_never_moves_the_selection_to_another_protocol(tab: Tab) -> None:
    tab.page.locator("#pick").select_option(EXERCISE)
    assert tab.keys("selected") == [EXERCISE]
    assert "CA$ 93.30" in tab.page.locator("#selected").inner_text()
    for position in (0, 2, 5, 9, 1):
        tab.slide("money", position)
        assert tab.keys("selected") == [EXERCISE]
        assert tab.page.locator("#pick").input_value() == EXERCISE
    x = tab.page.evaluate("document.getElementById('plot-front').data.find((one) => one.meta.role === 'selected').x")
    assert x == [93.3]
    marked = tab.page.evaluate("document.getElementById('plot-front').data.filter((one) => one.selectedpoints).length")
    assert marked == 0


def test_a_click_on_a_point_shows_that_protocol_beside_today(tab: Tab) -> None:
    place = tab.page.evaluate(
        """() => {
        const box = document.getElementById("plot-front");
        box.scrollIntoView({block: "center", behavior: "instant"});
        const trace = box.data.find((one) => one.meta.role === "reference");
        const area = box.getBoundingClientRect(), layout = box._fullLayout;
        return [area.left + layout.xaxis._offset + layout.xaxis.l2p(trace.x[0]),
                area.top + layout.yaxis._offset + layout.yaxis.l2p(trace.y[0])];
    }"""
    )
    tab.page.mouse.move(*place)
    tab.page.mouse.click(*place)
    tab.page.wait_for_selector("#selected table")
    assert tab.page.locator("#pick").input_value() == REFERENCE
    assert "CA$ 323.97" in tab.page.locator("#selected").inner_text()
    tab.page.locator("#pick").select_option(PROPOSAL)
    heads = tab.page.locator("#selected thead th").all_inner_texts()
    assert heads == ["This protocol", "Today"]
    assert (
        tab.page.locator("#selected caption").inner_text() == "history and blood pressure + exercise ECG + fluoroscopy"
    )


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_scrolls_sideways(browser: Any, file: Path, width: int) -> None:
    tab = Tab(browser, file, viewport={"width": width, "height": 844})
    try:
        assert tab.page.evaluate("document.documentElement.scrollWidth") == width
    finally:
        tab.context.close()


def test_figures_follow_the_colour_scheme_and_print_is_light(browser: Any, file: Path) -> None:
    tab = Tab(browser, file, color_scheme="dark")
    ink = "document.getElementById('plot-roc').data.find((one) => one.meta.tokens['line.color'] === 'ink').line.color"
    try:
        assert tab.page.evaluate(ink) == "#e8ecf4"
        tab.page.emulate_media(color_scheme="light")
        tab.wait_until(ink, "#14213d")
        tab.page.emulate_media(media="print", color_scheme="dark")
        tab.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        tab.wait_until(ink, "#000000")
        assert tab.page.evaluate("document.getElementById('plot-roc')._fullLayout.width") <= 660
        tab.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert tab.page.evaluate("document.getElementById('plot-bill')._fullLayout.width") > 1000
        assert len(tab.page.pdf(prefer_css_page_size=True)) > 10_000
        assert tab.complaints == []
    finally:
        tab.context.close()


def test_untrusted_text_runs_nothing_in_the_browser(browser: Any, tmp_path: Path) -> None:
    given = recommendation()
    evil = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    given["decision"]["headline"] = evil
    for candidate in given["candidates"]:
        candidate["reading"] = evil
        candidate["assessment"]["sites"][0]["site"] = evil
    write_report(given, tmp_path)
    tab = Tab(browser, tmp_path / "dashboard.html")
    try:
        tab.page.locator("#pick").select_option(PROPOSAL)
        tab.slide("money", 3)
        assert tab.page.evaluate("window.hacked") is None
        assert tab.page.locator("h1").inner_text() == evil
        assert tab.page.locator("#selected caption").inner_text() == evil
        assert len(tab.requests) == 1
        assert tab.complaints == []
    finally:
        tab.context.close()
