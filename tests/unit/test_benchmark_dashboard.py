"""The benchmark of the dashboard runs, tiny; the figures themselves are in reports/published."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest

from scanwise.artifacts import read_json
from scanwise.report import build_report

SCRIPTS = Path(__file__).resolve().parents[2] / "experiments" / "benchmarks"


def test_every_card_of_the_made_up_study_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    content = importlib.import_module("dashboard_speed").made_up(300)
    report = build_report(content)
    assert [card for card in report.cards if card.status == "error"] == []
    data = report.card("front").data
    assert len(data["points"]) == len({point["key"] for point in data["points"]}) == 300
    assert data["rule"] is not None
    assert [slider["axis"] for slider in data["sliders"]] == content["axes"]


@pytest.mark.skipif(
    not any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")),
    reason="no Chromium on the PATH",
)
def test_dashboard_speed_opens_the_page_and_moves_every_slider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    monkeypatch.syspath_prepend(SCRIPTS)
    script = importlib.import_module("dashboard_speed")
    content = script.main(["--protocols", "60", "--loads", "1", "--moves", "3", "--out", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dashboard_speed.json", "dashboard_speed.md"]
    assert read_json(tmp_path / "dashboard_speed.json")["targets"] == content["targets"]
    assert len(content["targets"]) == 4
    rows = content["tables"]["Sliders, from the move to the painted frame"]
    assert [(row["slider"], row["moves"]) for row in rows] == [(axis, 3) for axis in script.AXES]
    assert all(row["median ms"] > 0 for row in rows)
    assert str(tmp_path) not in (tmp_path / "dashboard_speed.md").read_text("utf-8")
