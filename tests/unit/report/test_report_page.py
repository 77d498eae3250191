"""The real page in a real browser, offline."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from browser_tab import AXE, Tab, needs_chromium, running_browser
from fixtures import BASE, EXERCISE, PROPOSAL, REFERENCE, recommendation

from scanwise.artifacts import write_text
from scanwise.design import Budget, Cost
from scanwise.evidence import ScoreTable
from scanwise.recommend import Chooser, Rule
from scanwise.recommend.grounds import grounds
from scanwise.report import build_report, render_html

pytestmark = needs_chromium

POINT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
"""An image of one black point."""
KEYS = "(role) => document.querySelector('.front-marks').roles[role]"
PLACE = """(key) => {
    const box = document.getElementById("plot-front");
    box.scrollIntoView({block: "center", behavior: "instant"});
    for (const trace of box.data) {
        const i = (trace.customdata || []).findIndex((item) => item[0] === key);
        if (i < 0) continue;
        const area = box.getBoundingClientRect(), layout = box._fullLayout;
        return [area.left + layout.xaxis._offset + layout.xaxis.l2p(trace.x[i]),
                area.top + layout.yaxis._offset + layout.yaxis.l2p(trace.y[i])];
    }
}"""
"""Where a protocol lies on the screen [px]."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(recommendation(), tmp_path_factory.mktemp("page"))


def page_of(given: dict[str, Any], folder: Path) -> Path:
    write_text(folder / "dashboard.html", render_html(build_report(given)))
    return folder / "dashboard.html"


def priced(given: dict[str, Any]) -> dict[str, Any]:
    """Give every protocol minutes, dose and contrast of its own, so that no axis orders them as money does."""
    for index, candidate in enumerate(given["candidates"]):
        candidate["cost"] |= {
            "minutes": 5.0 + (3 + 7 * index) % 4,
            "msv": float(index % 3),
            "contrast_ml": 7.5 * (index % 2),
        }
    given["axes"] = ["money", "minutes", "msv", "contrast_ml", "visits"]
    return given


def chooser_of(given: dict[str, Any], seed: int, in_sequence: bool) -> Chooser:
    """Return the rule on made-up scores of searching patients; some protocols are level, some not confirmed."""
    rng = np.random.default_rng(seed)
    keys = tuple(candidate["key"] for candidate in reversed(given["candidates"]))
    label = (np.arange(120) % 3 == 0).astype(np.int64)
    quality = rng.uniform(0.2, 1.5, size=len(keys))[:, None]
    noise = rng.normal(size=120)
    quality[keys.index(REFERENCE)] = 2.0
    odds = quality * label + 0.8 * noise + 0.25 * rng.normal(size=(len(keys), 120))
    odds[3] = odds[5]
    table = ScoreTable.of_one_round(keys, 1 / (1 + np.exp(-odds)), label)
    costs = {candidate["key"]: Cost(**candidate["cost"]) for candidate in given["candidates"]}
    confirmed = dict(zip(keys, (rng.uniform(size=len(keys)) < 0.6).tolist(), strict=True)) if in_sequence else None
    return Chooser(table, costs, REFERENCE, Rule(margin=0.05), confirmed)


class Front(Tab):
    """A dashboard, and its front."""

    def keys(self, role: str) -> list[str]:
        found: list[str] = self.page.evaluate(KEYS, role)
        return found

    def wait_until(self, expression: str, value: Any) -> None:
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
def tab(browser: Any, file: Path) -> Iterator[Front]:
    opened = Front(browser, file)
    yield opened
    opened.context.close()


def test_one_request_no_complaints_and_every_figure_drawn(tab: Front, file: Path) -> None:
    assert tab.requests == [file.as_uri()]
    assert tab.complaints == []
    n = sum(card.figure is not None for card in build_report(recommendation()).cards)
    assert tab.page.locator(".plot").count() == tab.page.locator(".plot .main-svg:first-child").count() == n >= 9


def test_the_page_sorts_the_protocols_as_python_does(tab: Front) -> None:
    before = {role: tab.keys(role) for role in ("above", "within", "alike", "reference", "proposal", "selected")}
    assert before["proposal"] == [PROPOSAL]
    tab.slide("money", 0)
    last = int(tab.page.locator("#slider-money").get_attribute("max"))
    tab.slide("money", last)
    assert {role: sorted(tab.keys(role)) for role in before} == {role: sorted(keys) for role, keys in before.items()}


def test_the_slider_changes_headline_and_proposal(tab: Front) -> None:
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


def test_the_slider_works_by_keyboard(tab: Front) -> None:
    tab.page.locator("#slider-money").focus()
    tab.page.keyboard.press("Home")
    assert tab.page.locator("#value-money").inner_text() == "CA$ 4.00"
    tab.page.keyboard.press("ArrowRight")
    assert tab.page.locator("#value-money").inner_text() == "CA$ 14.37"


def test_a_second_limit_is_not_glossed_over(tab: Front) -> None:
    words = tab.slide("visits", 0)
    assert words.startswith("Within 1 visit: what the rule picks within these limits is not in this file")
    assert words.endswith("budget.visits=1")
    assert tab.keys("proposal") == []
    assert tab.keys("within") == [BASE]
    assert tab.page.locator("#fitting").inner_text() == "1 of 15 judged protocols are within these limits."


@pytest.mark.parametrize(("seed", "in_sequence"), list(itertools.product(range(2), (False, True))))
def test_every_position_of_every_slider_is_answered_as_python_does(
    browser: Any, tmp_path: Path, seed: int, in_sequence: bool
) -> None:
    given = priced(recommendation())
    chooser = chooser_of(given, seed, in_sequence)
    given["choice"] = json.loads(json.dumps(grounds(chooser)))
    tab = Front(browser, page_of(given, tmp_path))
    try:
        sliders = build_report(given).card("front").data["sliders"]
        assert [slider["axis"] for slider in sliders] == given["axes"]
        positions = [list(range(0, len(slider["stops"]), 1 + (slider["axis"] == "money"))) for slider in sliders]
        combinations = list(itertools.product(*positions))
        found = tab.page.evaluate(
            """([axes, combinations]) => combinations.map((positions) => {
                axes.forEach((axis, i) => {
                    const input = document.getElementById("slider-" + axis);
                    input.value = positions[i];
                    input.dispatchEvent(new Event("input"));
                });
                return document.getElementById("budget-headline").dataset.key;
            })""",
            [given["axes"], combinations],
        )
        picks = set()
        for positions_, key in zip(combinations, found, strict=True):
            if all(at == slider["start"] for at, slider in zip(positions_, sliders, strict=True)):
                continue  # the decision itself, guards included
            limits = {slider["axis"]: slider["stops"][at] for at, slider in zip(positions_, sliders, strict=True)}
            choice = chooser.pick(Budget(**limits))
            assert (key or None) == choice.key, limits
            picks.add((choice.status, choice.key))
        assert {status for status, _ in picks} == {"non-inferior", "best affordable", "nothing affordable"}
        assert len(picks) > 5
        assert tab.complaints == []
    finally:
        tab.context.close()


def test_what_a_guard_forbade_is_not_advised_by_a_slider(browser: Any, tmp_path: Path) -> None:
    given = priced(recommendation())
    chooser = chooser_of(given, 0, False)
    given["choice"] = grounds(chooser)
    stops = sorted({candidate["cost"]["money"] for candidate in given["candidates"]})
    picked = [chooser.pick(Budget(money=stop)).key for stop in stops[:-1]]
    vetoed = next(key for key in reversed(picked) if key not in (None, REFERENCE))
    given["decision"] |= {"key": REFERENCE, "proposed": vetoed, "status": "no change"}
    given["ladder"] = []
    tab = Front(browser, page_of(given, tmp_path))
    try:
        words = tab.slide("money", len(picked) - 1 - picked[::-1].index(vetoed))
        assert words.endswith("A guard forbids this change: keep today's protocol.")
        assert tab.keys("proposal") == []
        assert tab.page.locator("#budget-headline").get_attribute("data-key") == REFERENCE
    finally:
        tab.context.close()


def test_filtering_never_moves_the_selection_to_another_protocol(tab: Front) -> None:
    tab.page.locator("#pick").select_option(EXERCISE)
    tab.page.locator("#compare").select_option(PROPOSAL)
    drawn = tab.page.locator(".mark-selected").first
    before = drawn.get_attribute("d")
    assert "CA$ 93.30" in tab.page.locator("#selected").inner_text()
    for position in (0, 2, 5, 9, 1):
        tab.slide("money", position)
        assert tab.keys("selected") == [EXERCISE]
        assert tab.keys("compared") == [PROPOSAL]
        assert drawn.get_attribute("d") == before
        assert tab.page.locator("#pick").input_value() == EXERCISE
        assert tab.page.locator("#selected caption").inner_text() == "history and blood pressure + exercise ECG"
    everything = [key for role in ("above", "within", "reference", "proposal") for key in tab.keys(role)]
    assert sorted(everything) == sorted(candidate["key"] for candidate in recommendation()["candidates"])


def test_every_protocol_is_drawn_where_its_numbers_are(tab: Front) -> None:
    tab.slide("money", 5)
    exact = """(key) => {
        const box = document.getElementById("plot-front"), layout = box._fullLayout;
        const trace = box.data.find((one) => (one.customdata || []).some((item) => item[0] === key));
        const i = trace.customdata.findIndex((item) => item[0] === key);
        return [layout.xaxis.l2p(trace.x[i]), layout.yaxis.l2p(trace.y[i])];
    }"""
    for role in ("within", "above", "proposal", "reference"):
        path = tab.page.locator(f"#plot-front .mark-{role}").get_attribute("d")
        drawn = [tuple(map(float, re.split("[mh]", start)[0].split(","))) for start in path.split("M")[1:]]
        assert len(drawn) == len(tab.keys(role)) > 0
        for key, place in zip(tab.keys(role), drawn, strict=True):
            assert place == pytest.approx(tab.page.evaluate(exact, key), abs=0.1), key


def test_protocols_that_cannot_be_told_apart_are_joined(tab: Front) -> None:
    alike = {c["key"] for c in recommendation()["candidates"] if c["indistinguishable_from_recommended"]}
    assert set(tab.keys("alike")) == alike
    assert set(tab.keys("band")) == alike | {PROPOSAL}
    assert tab.page.locator("#plot-front .mark-band").get_attribute("d").count("L") == len(alike)


def test_a_click_on_a_point_shows_that_protocol_beside_today_and_again_clears_it(tab: Front) -> None:
    place = tab.page.evaluate(PLACE, EXERCISE)
    tab.page.mouse.move(*place)
    tab.page.mouse.click(*place)
    tab.page.wait_for_selector("#selected table")
    assert tab.page.locator("#pick").input_value() == EXERCISE
    assert "CA$ 323.97" in tab.page.locator("#selected").inner_text()
    assert tab.page.locator("#selected thead th").all_inner_texts() == ["This protocol", "Today"]
    tab.page.locator("#compare").select_option(PROPOSAL)
    assert tab.page.locator("#selected thead th").all_inner_texts() == ["This protocol", "Today", "Compared"]
    heads = tab.page.locator("#selected thead th")
    assert [heads.nth(i).get_attribute("data-key") for i in range(3)] == [EXERCISE, REFERENCE, PROPOSAL]
    fluoroscopy = tab.page.locator("#selected tbody tr").filter(has_text="fluoroscopy").locator("td")
    assert fluoroscopy.all_inner_texts() == ["not done", "done", "done"]
    assert fluoroscopy.first.get_attribute("class") == "differs"
    assert "This protocol beside Today beside Compared" in tab.page.locator("#selected-said").inner_text()
    tab.page.mouse.click(*tab.page.evaluate(PLACE, EXERCISE))
    assert tab.keys("selected") == []
    assert tab.page.locator("#pick").input_value() == ""
    assert tab.page.locator("#selected thead th").all_inner_texts() == ["Today", "Compared"]


def test_hovering_shows_words_as_words(tab: Front) -> None:
    tab.page.mouse.move(*tab.page.evaluate(PLACE, EXERCISE))
    tab.page.wait_for_selector("#plot-front .hoverlayer .hovertext")
    words = tab.page.locator("#plot-front .hoverlayer").text_content()
    assert words.startswith("history and blood pressure +exercise ECG")
    assert "CA$ 93.30" in words


def test_escape_clears_and_every_control_works_by_keyboard(tab: Front) -> None:
    keyboard, page = tab.page.keyboard, tab.page
    page.locator("#slider-money").focus()
    order = []
    keyboard.press("ArrowLeft")
    for _ in range(6):
        order.append(page.evaluate("document.activeElement.id"))
        keyboard.press("Tab")
    assert order[:5] == ["slider-money", "slider-visits", "reset", "pick", "compare"]
    page.locator("#pick").focus()
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")
    second = tab.keys("selected")
    assert second == [page.locator("#pick").input_value()] != [""]
    page.locator("#compare").focus()
    keyboard.press("ArrowDown")
    assert len(tab.keys("compared")) == 1
    keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "clear"
    keyboard.press("Enter")
    assert tab.keys("selected") == tab.keys("compared") == []
    assert page.evaluate("document.activeElement.id") == "pick"
    keyboard.press("ArrowDown")
    assert len(tab.keys("selected")) == 1
    keyboard.press("Escape")
    assert tab.keys("selected") == []
    page.locator("#reset").focus()
    keyboard.press("Enter")
    assert page.locator("#slider-money").get_attribute("aria-valuetext") == "CA$ 323.97"
    assert page.locator("#reset").is_disabled()
    assert page.evaluate("document.activeElement.id") == "slider-money"


def test_the_skip_link_comes_first_and_leads_to_the_content(tab: Front) -> None:
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.className") == "skip"
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.getElementById('main').contains(document.activeElement)")


# ---- the address ----------------------------------------------------------------------------------------------------


def in_address(tab: Front) -> dict[str, list[str]]:
    tab.page.wait_for_timeout(250)  # moves of a slider are written when it rests
    return parse_qs(tab.page.url.partition("#")[2])


def test_the_address_holds_sliders_and_protocols_and_is_restored(tab: Front, browser: Any, file: Path) -> None:
    assert in_address(tab) == {}
    tab.slide("money", 9)
    tab.page.locator("#pick").select_option(EXERCISE)
    tab.page.locator("#compare").select_option(PROPOSAL)
    stop = tab.page.locator("#value-money").inner_text()
    words = in_address(tab)
    assert f"CA$ {float(words['money'][0]):.2f}" == stop
    assert (words["protocol"], words["compare"]) == ([EXERCISE], [PROPOSAL])
    other = Front(browser, file, hash=tab.hash)
    try:
        assert other.page.locator("#value-money").inner_text() == stop
        assert (other.keys("selected"), other.keys("compared")) == ([EXERCISE], [PROPOSAL])
        assert other.page.locator("#budget-headline").inner_text() == tab.page.locator("#budget-headline").inner_text()
    finally:
        other.context.close()


def test_the_back_button_takes_back_one_step_and_sections_keep_the_state(tab: Front) -> None:
    for position in (9, 8, 7):
        tab.slide("money", position)
    moved = in_address(tab)
    tab.page.locator("#pick").select_option(EXERCISE)
    tab.page.locator("nav a[href='#limits']").click()
    tab.page.wait_for_timeout(100)
    assert tab.page.url.partition("#")[2].startswith("limits&money=")
    assert tab.keys("selected") == [EXERCISE]
    tab.page.go_back()
    assert in_address(tab) == {**moved, "protocol": [EXERCISE]}
    tab.page.go_back()
    assert in_address(tab) == moved
    assert tab.keys("selected") == []
    assert tab.page.locator("#pick").input_value() == ""
    tab.page.go_back()  # the moves of one slider are one step
    assert in_address(tab) == {}
    assert tab.page.locator("#value-money").inner_text() == "CA$ 323.97"
    tab.page.go_forward()
    assert in_address(tab) == moved
    assert tab.complaints == []


@pytest.mark.parametrize(
    "broken",
    [
        "money=cheap&visits=&protocol=nobody&compare=__proto__",
        "%E0%A4%A&money=%",
        "money=-5&visits=NaN&toString=1&constructor=2",
        "&&&===",
        "<script>window.hacked=1</script>",
        "x" * 5000,
    ],
)
def test_a_broken_address_is_left_out(browser: Any, file: Path, broken: str) -> None:
    tab = Front(browser, file, hash=broken)
    try:
        assert tab.page.locator("#value-money").inner_text() == "CA$ 323.97"
        assert tab.keys("proposal") == [PROPOSAL]
        assert tab.keys("selected") == tab.keys("compared") == []
        assert tab.page.evaluate("window.hacked") is None
        assert tab.complaints == []
    finally:
        tab.context.close()


def test_a_limit_between_two_stops_holds(browser: Any, file: Path) -> None:
    tab = Front(browser, file, hash="money=100&protocol=nobody")
    try:
        assert tab.page.locator("#value-money").inner_text() == "CA$ 93.30"
        assert tab.keys("proposal") == [EXERCISE]
    finally:
        tab.context.close()


# ---- how it looks ---------------------------------------------------------------------------------------------------


def test_the_scheme_is_chosen_and_kept(tab: Front) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "document.getElementById('plot-roc').data.find((one) => one.meta.tokens['line.color'] === 'ink').line.color"
    light = tab.page.evaluate(ground)
    tab.page.locator("#scheme").select_option("dark")
    tab.wait_until(ink, "#e8ecf4")
    dark = tab.page.evaluate(ground)
    assert dark != light
    tab.page.reload()
    tab.page.wait_for_selector("html[data-ready=yes]")
    assert tab.page.locator("#scheme").input_value() == "dark"
    assert tab.page.evaluate(ground) == dark
    tab.page.emulate_media(color_scheme="dark")
    tab.page.locator("#scheme").select_option("light")
    tab.wait_until(ink, "#14213d")
    assert tab.page.evaluate(ground) == light
    tab.page.locator("#scheme").select_option("")
    tab.wait_until(ink, "#e8ecf4")
    tab.page.locator("#scheme").select_option("dark")
    tab.page.emulate_media(media="print")
    assert tab.page.evaluate(ground) == "rgb(255, 255, 255)"
    assert tab.complaints == []


def test_a_browser_that_keeps_nothing_still_shows_the_page(browser: Any, file: Path) -> None:
    refuse = (
        "for (const n of ['localStorage']) Object.defineProperty(window, n, {get() { throw new Error('refused') }});"
    )
    refuse += "for (const n of ['pushState', 'replaceState']) history[n] = () => { throw new Error('refused') };"
    tab = Front(browser, file, script=refuse)
    try:
        tab.page.locator("#scheme").select_option("dark")
        tab.page.locator("#pick").select_option(EXERCISE)
        tab.slide("money", 3)
        tab.page.wait_for_timeout(250)
        assert tab.keys("selected") == [EXERCISE]
        assert tab.complaints == []
    finally:
        tab.context.close()


@pytest.mark.skipif(not AXE.is_file(), reason="no axe-core: npm install --no-save axe-core@4.14.1")
@pytest.mark.parametrize(("width", "scheme"), list(itertools.product((1440, 390), ("light", "dark"))))
def test_axe_finds_nothing_serious(browser: Any, file: Path, width: int, scheme: str) -> None:
    script = AXE.read_text("utf-8")
    tab = Front(browser, file, script=script, viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        tab.page.locator("#pick").select_option(EXERCISE)
        tab.page.locator("#compare").select_option(PROPOSAL)
        tab.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        found = tab.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [
            f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"][:3]
        ]
        assert serious == []
        assert len(found["passes"]) > 20
    finally:
        tab.context.close()


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_scrolls_sideways(browser: Any, file: Path, width: int) -> None:
    tab = Front(browser, file, viewport={"width": width, "height": 844})
    try:
        assert tab.page.evaluate("document.documentElement.scrollWidth") == width
    finally:
        tab.context.close()


def test_figures_follow_the_colour_scheme_and_print_is_light(browser: Any, file: Path) -> None:
    tab = Front(browser, file, color_scheme="dark")
    ink = "document.getElementById('plot-roc').data.find((one) => one.meta.tokens['line.color'] === 'ink').line.color"
    try:
        assert tab.page.evaluate(ink) == "#e8ecf4"
        tab.page.emulate_media(color_scheme="light")
        tab.wait_until(ink, "#14213d")
        tab.page.emulate_media(media="print", color_scheme="dark")
        tab.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        tab.wait_until(ink, "#000000")
        assert tab.page.evaluate("document.getElementById('plot-roc')._fullLayout.width") <= 800
        tab.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert tab.page.evaluate("document.getElementById('plot-bill')._fullLayout.width") > 1000
        assert len(tab.page.pdf(prefer_css_page_size=True)) > 10_000
        assert tab.complaints == []
    finally:
        tab.context.close()


def test_no_figure_is_cut_on_paper(browser: Any, tmp_path: Path) -> None:
    given = recommendation()
    for candidate in given["candidates"]:  # a forest that is taller than a page
        site = candidate["assessment"]["sites"][0]
        candidate["assessment"]["sites"] = [{**site, "site": f"site {index}"} for index in range(30)]
    image = {"modality": "exercise", "channel": "signal at b = 1400 s/mm^2", "today": POINT, "proposed": None}
    patient = {"key": "", "case": "lost", "positive": True, "today": 0.9, "proposed": 0.2, "box": None}
    given["pictures"] = {"applicable": True, "patients": [{**patient, "images": [image] * 6}]}
    width, height = 695, 1000  # what A4 leaves within its margins [px]
    tab = Front(browser, page_of(given, tmp_path), viewport={"width": width, "height": height})
    try:
        tab.slide("money", 3)
        tab.page.locator("#pick").select_option(EXERCISE)
        tab.page.emulate_media(media="print")
        tab.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        tab.wait_until("document.getElementById('plot-sites')._fullLayout.width", 780)
        boxes = tab.page.evaluate(
            """() => [...document.querySelectorAll("figure")].map((one) => {
                const box = one.getBoundingClientRect(), drawn = one.querySelector(".main-svg").getBoundingClientRect();
                return [box.left, box.right, box.height, drawn.width, drawn.height, getComputedStyle(one).breakInside];
            })"""
        )
        assert len(boxes) > 8
        for left, right, tall, drawn_width, drawn_height, breaking in boxes:
            assert 0 <= left < right <= width
            assert drawn_width <= right - left + 1
            assert drawn_height <= tall + 1 <= 0.9 * height
            assert breaking == "avoid"
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
        frames = tab.page.evaluate(
            "[...document.querySelectorAll('.frame')].map((one) => one.getBoundingClientRect().right)"
        )
        assert len(frames) == 12
        assert max(frames) <= width, "what is wider would shrink the whole print"
        shown = {
            one: tab.page.locator(one).is_visible() for one in ("#selected", "#legend", "#budget-headline", "#pick")
        }
        assert shown == {"#selected": True, "#legend": True, "#budget-headline": True, "#pick": False}
        assert not tab.page.locator("#slider-money").is_visible()
        assert tab.page.locator("#value-money").is_visible()
    finally:
        tab.context.close()


def test_long_and_foreign_text_is_text_in_cards_side_by_side(browser: Any, tmp_path: Path) -> None:
    given = recommendation()
    long, foreign = "x" * 10_000, "\u202eשלום עולם\u202c \"'`&"
    for candidate in given["candidates"]:
        candidate["reading"] = foreign if candidate["key"] == EXERCISE else long
        for line in candidate["bill"]:
            line["label"] = f"{line['label']} <b>{foreign}</b>"
    for modality in given["modalities"]:
        modality["title"] = f"<i>{modality['title']}</i>"
    tab = Front(browser, page_of(given, tmp_path), viewport={"width": 390, "height": 844})
    try:
        tab.page.locator("#pick").select_option(EXERCISE)
        tab.page.locator("#compare").select_option(PROPOSAL)
        tab.slide("visits", 0)
        assert tab.page.locator("#selected caption").text_content() == foreign
        assert tab.page.locator("#selected tbody th").first.text_content().startswith("<i>")
        assert tab.page.locator("#selected i, #selected b").count() == 0
        assert max(len(words) for words in tab.page.locator("#pick option").all_text_contents()) == 90
        tab.page.mouse.move(*tab.page.evaluate(PLACE, PROPOSAL))
        tab.page.wait_for_selector("#plot-front .hoverlayer .hovertext")
        assert len(tab.page.locator("#plot-front .hoverlayer").text_content() or "") < 300
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
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
    tab = Front(browser, page_of(given, tmp_path))
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
