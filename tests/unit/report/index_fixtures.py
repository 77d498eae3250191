"""Folders of runs as they lie on a disk: reports of made-up recommendations with manifest and configuration."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from fixtures import PROPOSAL, REFERENCE, recommendation

from scanwise.artifacts import json_text, write_json, write_text
from scanwise.report import build_report

PAGE = "dashboard.html"
HEART, HEART_LATER, VIRTUAL, PUBLISHED = (
    "runs/heart/aaaa1111",
    "runs/heart/bbbb2222",
    "runs/virtual/cccc3333",
    "published/heart",
)


@cache
def drawn(*, of_virtual_patients: bool) -> str:
    """Return report.json of one of the two made-up recommendations, computed once."""
    return json_text(build_report(virtual() if of_virtual_patients else recommendation()).to_dict())


def settings(name: str, **changed: Any) -> dict[str, Any]:
    """Return a configuration; `changed` replaces top-level entries."""
    config = {
        "name": name,
        "seed": 0,
        "out": "reports/runs",
        "cohort": {"n": 303, "files": [{"path": "a.csv"}, {"path": "b.csv"}], "missing": ["?", "n/a"]},
        "model": {"steps": 150, "lr": 0.01},
        "policy": None,
    }
    return {**config, **changed}


def add_run(
    root: Path,
    where: str,
    *,
    started: str = "2026-11-20T10:00:00+00:00",
    data_hash: str | None = "d" * 64,
    config: Mapping[str, Any] | None = None,
    page: str | None = PAGE,
    given: dict[str, Any] | None = None,
) -> Path:
    """Write one run folder as the stages leave it."""
    folder = root / where
    folder.mkdir(parents=True, exist_ok=True)
    text = drawn(of_virtual_patients=where == VIRTUAL) if given is None else json_text(build_report(given).to_dict())
    (folder / "report.json").write_text(text, "utf-8")
    manifest = {
        "schema_version": 1,
        "command": f"scanwise experiment={where.split('/')[1]}",
        "data_hash": data_hash,
        "seed": 0,
        "git": "0f0f0f0",
        "started": started,
        "stages": {"fit": {}, "report": {}},
        "versions": {"scanwise": "0.1.0"},
        "model": {"text": "a network"},
    }
    (folder / "manifest.json").write_text(json_text(manifest), "utf-8")
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(dict(config)), "utf-8")
    if page is not None:
        (folder / page).write_text("the page", "utf-8")
    return folder


def virtual() -> dict[str, Any]:
    """Return a recommendation of virtual patients, in pounds, that changes nothing because a guard failed."""
    given = recommendation()
    given["study"] |= {"virtual": True, "title": "Virtual prostate", "name": "virtual"}
    given["currency"] = "£"
    given["decision"] |= {"status": "no change", "key": REFERENCE, "proposed": PROPOSAL, "headline": "Keep it."}
    given["guards"] = [{"id": "x", "title": "A guard says no.", "severity": "fail", "vetoes": True, "detail": ""}]
    return given


def reports(root: Path) -> Path:
    """Fill a folder: two runs of one study, a virtual one, a published copy, and a benchmark."""
    add_run(root, HEART, config=settings("heart"))
    later = settings("heart", seed=1, model={"steps": 300, "lr": 0.01, "width": 8})
    add_run(root, HEART_LATER, started="2026-11-21T11:30:00+02:00", config=later)
    add_run(root, VIRTUAL, started="2026-11-19T08:00:00+00:00", data_hash="e" * 64, config=settings("virtual"))
    add_run(root, PUBLISHED, config=settings("heart"), page="protocol-card.md")
    write_json(
        root / "published" / "benchmarks" / "speed.json",
        {
            "benchmark": "speed",
            "question": "How quick is ``it``?\n\nOn two cores.",
            "targets": [
                {"wanted": "below 1 s", "figure": "0.5 s", "met": True},
                {"wanted": "below 1 GB", "figure": "2 GB", "met": False},
                {"wanted": "for reference", "figure": "7", "met": None},
            ],
        },
    )
    write_text(root / "published" / "benchmarks" / "speed.md", "# speed\n")
    return root
