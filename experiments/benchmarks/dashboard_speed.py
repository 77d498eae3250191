"""How soon does the dashboard show its first plot, and how fast do its sliders answer, with 2,000 judged protocols?"""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _result import Result, parser

from scanwise.artifacts import write_text
from scanwise.report import build_report, render_html

FIRST_PLOT_SECONDS, SLIDER_MILLISECONDS, PAGE_MB, BUILD_SECONDS = 3.0, 100.0, 8.0, 10.0
AXES = ("money", "minutes", "msv", "contrast_ml", "visits")
TESTS = ("blood", "ecg", "echo", "t2w", "dwi", "dce", "ct", "pet", "spect", "stress", "spirometry")
_MOVES = """async ([axes, moves]) => {
    const found = {};
    for (const axis of axes) {
        const input = document.getElementById("slider-" + axis), times = [];
        for (let move = 0; move < moves; move += 1) {
            input.value = Math.round(Number(input.max) * ((move * 7) % 12) / 12);
            const began = performance.now();
            input.dispatchEvent(new Event("input"));
            await new Promise((go) => requestAnimationFrame(() => setTimeout(go, 0)));
            times.push(performance.now() - began);
        }
        found[axis] = times;
    }
    return found;
}"""
"""Far moves, each timed until the next frame is painted [ms]."""


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Build, open, move, and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--protocols", type=int, default=2000, help="all of them judged, all of them searched")
    cli.add_argument("--loads", type=int, default=5, help="how often the page is opened")
    cli.add_argument("--moves", type=int, default=20, help="moves of every slider")
    options = cli.parse_args(arguments)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        cli.error("a Chromium is needed: install the package chromium")
    if not 2 <= options.protocols <= 2 ** len(TESTS):
        cli.error(f"--protocols must be 2 to {2 ** len(TESTS)}")
    result = Result("dashboard_speed", str(__doc__), arguments)
    content = made_up(options.protocols)
    began = time.monotonic()
    page = render_html(build_report(content))
    building = time.monotonic() - began
    megabytes = len(page.encode()) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "dashboard.html"
        write_text(file, page)
        firsts, worked, moves, per_move, browser = _watch(chromium, file, options.loads, options.moves)
    slowest = {axis: max(times) for axis, times in moves.items()}
    every = np.concatenate([np.asarray(times) for times in moves.values()])
    n = f"{options.protocols:,} judged protocols"
    result.target(
        f"{n}: first plot in under {FIRST_PLOT_SECONDS:g} s",
        f"{max(firsts):.2f} s (slowest of {len(firsts)}, median {np.median(firsts):.2f} s)",
        bool(max(firsts) < FIRST_PLOT_SECONDS),
    )
    result.target(
        f"{n}: every slider answers in under {SLIDER_MILLISECONDS:g} ms",
        f"95 of 100 moves within {np.quantile(every, 0.95):.0f} ms, slowest {every.max():.0f} ms",
        bool(every.max() < SLIDER_MILLISECONDS),
    )
    result.target(f"{n}: at most {PAGE_MB:g} MB", f"{megabytes:.2f} MB", bool(megabytes <= PAGE_MB))
    result.target(
        f"{n}: built from files in under {BUILD_SECONDS:g} s", f"{building:.1f} s", bool(building < BUILD_SECONDS)
    )
    result.table(
        "Sliders, from the move to the painted frame",
        ("slider", "moves", "median ms", "slowest ms"),
        [[axis, len(times), float(np.median(times)), slowest[axis]] for axis, times in moves.items()],
    )
    result.table(
        "First plot, from the beginning of the navigation",
        ("load", "seconds", "processor seconds until all is drawn"),
        [[i + 1, first, work] for i, (first, work) in enumerate(zip(firsts, worked, strict=True))],
    )
    result.note(
        f"{browser}, headless, without a GPU, offline, 1440 x 900; every load in a fresh context. Moves are far ones: "
        "hundreds of protocols change sides at once."
    )
    result.note(
        f"A move takes {per_move:.0f} ms of processor time on average, painting included. Processor times hardly "
        "depend on who else uses the machine; the others do."
    )
    result.note(f"playwright {importlib.metadata.version('playwright')}; the recommendation is made up, from formulas.")
    return result.publish(options.out, patients="none", seeds=[])


def _watch(
    chromium: str, file: Path, loads: int, moves: int
) -> tuple[list[float], list[float], dict[str, list[float]], float, str]:
    """Return what was seen.

    Seconds to the first plot of every load, processor seconds of the page until all is drawn, milliseconds of every
    move by axis, mean processor milliseconds of a move, the browser's name.
    """
    from playwright.sync_api import sync_playwright

    firsts, worked = [], []
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        for load in range(loads):
            context = browser.new_context(offline=True, viewport={"width": 1440, "height": 900})
            page = context.new_page()
            client = context.new_cdp_session(page)
            client.send("Performance.enable")
            page.goto(file.as_uri())
            page.wait_for_selector("html[data-ready=yes]")
            firsts.append(page.evaluate("performance.getEntriesByName('scanwise-first-plot')[0].startTime") / 1000)
            worked.append(_processor_seconds(client))
            if load + 1 < loads:
                context.close()
        page.locator("#plot-front").scroll_into_view_if_needed()
        before = _processor_seconds(client)
        found = page.evaluate(_MOVES, [list(AXES), moves])
        per_move = 1000 * (_processor_seconds(client) - before) / (moves * len(AXES))
        name = f"Chromium {browser.version}"
        browser.close()
    return firsts, worked, found, per_move, name


def _processor_seconds(client: Any) -> float:
    """Return the processor time that the process of the page has used."""
    metrics = {one["name"]: one["value"] for one in client.send("Performance.getMetrics")["metrics"]}
    return float(metrics["ProcessTime"])


def made_up(n: int) -> dict[str, Any]:
    """Return a recommendation of `n` judged protocols with prices on five axes, from formulas alone."""
    price = {name: 20.0 + 17.0 * index for index, name in enumerate(TESTS)}
    minutes = {name: 4.0 + (5 * index) % 13 for index, name in enumerate(TESTS)}
    dose = {"ct": 6.0, "pet": 7.0, "spect": 9.0}
    gain = {name: 0.05 / (1 + index % 5) for index, name in enumerate(TESTS)}
    everything = 2 ** len(TESTS) - 1
    masks = sorted({everything, *np.linspace(0, everything, n).round().astype(int).tolist()})
    candidates = []
    for mask in masks[-n:]:
        bought = [name for bit, name in enumerate(TESTS) if mask >> bit & 1]
        cost = {
            "money": 5.0 + sum(price[name] for name in bought),
            "minutes": 2.0 + sum(minutes[name] for name in bought),
            "msv": sum(dose.get(name, 0.0) for name in bought),
            "contrast_ml": 7.5 * ("dce" in bought) + 90.0 * ("ct" in bought),
            "visits": 1.0 + len(bought) // 4,
        }
        auc = 0.96 - 0.3 * float(np.exp(-6.0 * sum(gain[name] for name in bought))) + 0.004 * float(np.sin(mask))
        difference = auc - 0.945
        verdict = "non-inferior" if difference > -0.02 else "undecided" if difference > -0.05 else "inferior"
        bill = [
            {"label": name, "kind": "shots", "cost": {**dict.fromkeys(AXES, 0.0), "money": price[name]}}
            for name in bought
        ]
        candidates.append(
            {
                "key": " ".join(sorted([*(f"{name}=1" for name in bought), "history=1"])),
                "reading": " + ".join(["history", *bought]),
                "modalities": ["history", *bought],
                "cost": cost,
                "bill": bill,
                "tune_auc": auc + 0.003,
                "on_front": False,
                "feasible": True,
                "indistinguishable_from_recommended": abs(difference) < 0.004,
                "assessment": {
                    "n": 300,
                    "n_positive": 120,
                    "auc": _interval(auc, 0.016),
                    "versus_reference": {"difference": _interval(difference, 0.01), "verdict": verdict},
                    "sensitivity": {"specificity": 0.8, "value": _interval(auc - 0.1, 0.03)},
                },
            }
        )
    reference = candidates[-1]["key"]
    order = sorted(candidates, key=lambda one: (one["cost"]["money"], one["key"]))
    fine = [one for one in order if one["assessment"]["versus_reference"]["verdict"] == "non-inferior"]
    proposal = (fine or order)[0]
    places = {one["key"]: place for place, one in enumerate(order)}
    keys = [one["key"] for one in candidates]
    good = {one["key"] for one in fine} | {reference}
    return {
        "schema_version": 1,
        "study": {"name": "made_up", "title": "A made-up study", "virtual": True, "n_patients": 300},
        "currency": "€",
        "axes": list(AXES),
        "modalities": [{"name": name, "title": name} for name in ("history", *TESTS)],
        "rule": {"primary": "money", "margin": 0.03, "alpha": 0.025, "level": 0.95, "specificity": 0.8},
        "budget": {"limits": {}, "text": "no limit"},
        "decision": {
            "status": "change",
            "key": proposal["key"],
            "proposed": proposal["key"],
            "headline": f"Order {proposal['reading']}.",
        },
        "reference": reference,
        "candidates": order,
        "considered": [
            {name: one[name] for name in ("key", "reading", "cost", "tune_auc", "on_front")} | {"short_listed": True}
            for one in order
        ],
        "ladder": [],
        "choice": {
            "keys": keys,
            "auc": [one["tune_auc"] for one in candidates],
            "dearness": [places[key] for key in keys],
            "non_inferior": [key in good for key in keys],
            "confirmed": None,
            "alike": ["" if key in good else format(1 << places[key], "x") for key in keys],
        },
    }


def _interval(value: float, se: float) -> dict[str, float]:
    return {"value": value, "low": value - 1.96 * se, "high": min(value + 1.96 * se, 1.0), "se": se, "level": 0.95}


if __name__ == "__main__":
    main()
