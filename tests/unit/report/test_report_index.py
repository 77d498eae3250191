"""The index of runs: what it lists, what it survives, and that it is written safely."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from fixtures import recommendation
from index_fixtures import HEART, HEART_LATER, PUBLISHED, VIRTUAL, add_run, reports, settings, virtual

from scanwise.artifacts import write_json, write_text
from scanwise.errors import ScanwiseError
from scanwise.pipeline import Run
from scanwise.report import build_index, refresh_index, render_index, write_index
from scanwise.report import index as module

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return reports(tmp_path / "reports")


class Page(HTMLParser):
    """Tags, and text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        self.text += data if self.inside not in ("script", "style") else ""

    def links(self) -> list[str]:
        return [attributes["href"] or "" for tag, attributes in self.tags if tag == "a"]


def payload(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="scanwise-data">(.*?)</script>', page, flags=re.DOTALL)
    assert found is not None
    assert not set("<>&") & set(found[1])
    return json.loads(found[1])


def facts(run: dict[str, Any]) -> dict[tuple[str, str], list[Any]]:
    return {(group, label): [items, note] for group, label, items, note in run["facts"]}


# ---- what is listed -----------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_with_what_they_say(root: Path) -> None:
    index = build_index(root)
    assert [run.path for run in index.runs] == [HEART_LATER, PUBLISHED, HEART, VIRTUAL]
    first, published, _, last = index.runs
    assert first.started == "2026-11-21 09:30"
    assert first.title == "Coronary artery disease before angiography"
    assert first.headline.startswith("Leave out blood panel")
    assert (first.status, first.virtual, first.verdict, first.failed) == ("change", False, "non-inferior", 0)
    assert first.auc_words.startswith(".908 (")
    assert first.patients == 303
    assert first.prices["money"].parts == ("CA$ 323.97", "→ CA$ 194.20")
    assert first.prices["money"].change == "\u221240 %"
    assert "minutes" not in first.prices, "what is not priced in a study is not listed"
    assert first.href == f"{HEART_LATER}/dashboard.html"
    assert published.href == f"{PUBLISHED}/protocol-card.md"
    assert (last.virtual, last.status, last.verdict, last.failed) == (True, "no change", "reference", 1)
    assert last.prices["money"].parts == ("£323.97",)
    assert index.troubles == ()


def test_the_page_says_so_too(root: Path) -> None:
    page = Page(render_index(build_index(root)))
    assert "4 runs of 2 studies" in page.text
    assert "1 of 4 with virtual patients" in page.text
    assert page.text.count("virtual cohort") == 1
    assert {f"{HEART}/dashboard.html", f"{PUBLISHED}/protocol-card.md"} <= set(page.links())
    assert all((root / unquote(link)).is_file() for link in page.links() if not link.startswith("#"))
    rows = [attributes["data-path"] for tag, attributes in page.tags if tag == "tr" and "data-path" in attributes]
    assert rows == [HEART_LATER, PUBLISHED, HEART, VIRTUAL]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert not [attributes for _, attributes in page.tags if "src" in attributes], "nothing is fetched"


def test_a_run_where_nothing_is_affordable_proposes_nothing(tmp_path: Path) -> None:
    given = recommendation()
    given["decision"] |= {"status": "nothing affordable", "key": None, "headline": "Nothing fits."}
    add_run(tmp_path, "heart/aaaa", given=given)
    (run,) = build_index(tmp_path).runs
    assert run.prices["money"].parts == ("CA$ 323.97", "→ –")
    assert run.prices["money"].change == ""
    assert run.verdict == "reference"
    found = facts(payload(render_index(build_index(tmp_path)))["runs"][0])
    assert found["What is acquired", "fluoroscopy"] == [["nothing proposed"], "today: done"]
    assert found["Diagnosis", "AUC proposed"] == [["–"], ""]


def test_a_card_that_failed_leaves_its_numbers_open(tmp_path: Path) -> None:
    given = recommendation()
    given["candidates"][0]["cost"] = "not a mapping"
    add_run(tmp_path, "heart/aaaa", given=given)
    (run,) = build_index(tmp_path).runs
    assert run.headline.startswith("Leave out")
    assert render_index(build_index(tmp_path))


def test_benchmarks_are_listed_with_what_was_reached(root: Path) -> None:
    (found,) = build_index(root).benchmarks
    assert (found.name, found.reached, found.judged) == ("speed", 1, 2)
    assert found.question == "How quick is it? On two cores."
    assert found.missed == ("below 1 GB: 2 GB",)
    assert found.href == "published/benchmarks/speed.md"
    page = Page(render_index(build_index(root)))
    assert "1 of 2" in page.text
    assert "below 1 GB: 2 GB" in page.text


def test_published_benchmarks_of_this_checkout_can_be_read() -> None:
    here = Path(__file__).resolve().parents[3] / "reports"
    index = build_index(here)
    assert {"prostate_trials", "scoring_speed"} <= {found.name for found in index.benchmarks}
    assert "published/prostate" in {run.path for run in index.runs}
    assert not [trouble for trouble in index.troubles if trouble.path.startswith("published/")]


def test_folders_without_a_report_are_named(root: Path) -> None:
    write_json(root / "runs" / "heart" / "new" / "manifest.json", {"stages": {"fit": {}, "search": {}}})
    write_json(root / "runs" / "else" / "app" / "manifest.json", {"icons": []})
    (root / "runs" / "heart" / "empty").mkdir()
    assert [(one.path, one.kind, one.reason) for one in build_index(root).troubles] == [
        ("runs/heart/new", "unfinished", "no report yet; done so far: fit, search")
    ]


def test_both_layouts_are_found(root: Path, tmp_path: Path) -> None:
    add_run(tmp_path / "out", "heart/aaaa")
    assert [run.path for run in build_index(tmp_path / "out").runs] == ["heart/aaaa"]
    assert [run.path for run in build_index(root / "runs").runs] == [
        path.removeprefix("runs/") for path in (HEART_LATER, HEART, VIRTUAL)
    ]


# ---- comparing ----------------------------------------------------------------------------------------------------


def test_what_two_runs_are_compared_by(root: Path) -> None:
    runs = {run["path"]: run for run in payload(render_index(build_index(root)))["runs"]}
    heart, other = facts(runs[HEART]), facts(runs[VIRTUAL])
    assert heart["What is acquired", "thallium stress test"] == [["left out"], "today: done"]
    assert heart["What is acquired", "exercise ECG"] == [["done"], "as today"]
    assert heart["Sessions and fees", "thallium stress session"] == [["saved"], "today: paid"]
    assert heart["Cost, today → proposed", "Price per patient"] == [["CA$ 323.97 → CA$ 194.20"], "\u221240 %"]
    assert heart["Cost, today → proposed", "Visits"] == [["2 visits"], ""]
    assert heart["Diagnosis", "Verdict"] == [["✓ non-inferior"], ""]
    assert heart["Guards", "Guards: failed"] == [["none"], ""]
    assert other["Guards", "Guards: failed"] == [["A guard says no. (veto)"], ""]
    assert other["Diagnosis", "Verdict"] == [["■ today's protocol"], ""]
    assert runs[HEART]["data"] == "d" * 64 != runs[VIRTUAL]["data"]


def test_settings_are_flat_and_those_of_one_study_are_stored_once(root: Path) -> None:
    data = payload(render_index(build_index(root)))
    runs = {run["path"]: run for run in data["runs"]}

    def of(path: str) -> dict[str, str]:
        stored = runs[path]["settings"]
        found = {**data["bases"][stored["base"]], **stored["changed"]}
        return {key: value for key, value in found.items() if value is not None}

    assert of(HEART) == {
        "cohort.files[0].path": "a.csv",
        "cohort.files[1].path": "b.csv",
        "cohort.missing": '["?", "n/a"]',
        "cohort.n": "303",
        "model.lr": "0.01",
        "model.steps": "150",
        "name": "heart",
        "out": "reports/runs",
        "policy": "null",
        "seed": "0",
    }
    assert {key: value for key, value in of(HEART_LATER).items() if of(HEART).get(key) != value} == {
        "model.steps": "300",
        "model.width": "8",
        "seed": "1",
    }
    assert len(data["bases"]) == 2
    assert runs[HEART]["settings"]["changed"] == {"model.steps": "150", "model.width": None, "seed": "0"}


def test_two_long_settings_that_differ_at_the_end_still_differ(tmp_path: Path) -> None:
    for name in "ab":
        add_run(tmp_path, f"heart/{name}", config=settings("heart", long="x" * 5000 + name))
    first, second = (run.settings for run in build_index(tmp_path).runs)
    assert first is not None
    assert second is not None
    assert first["long"] != second["long"]
    assert len(first["long"]) < 450


# ---- what it survives ---------------------------------------------------------------------------------------------


BROKEN = {
    "empty": ("", "report.json is not readable JSON"),
    "torn": ('{"schema_version": 1, "head": {', "report.json is not readable JSON"),
    "list": ("[]", "report.json is not what scanwise writes: a list, not a mapping"),
    "other version": ('{"schema_version": 99}', "report.json has schema version 99; this scanwise reads 1"),
    "no version": ("{}", "report.json has schema version None"),
    "no head": ('{"schema_version": 1}', "head of report.json is not what scanwise writes"),
    "no headline": ('{"schema_version": 1, "head": {"title": "x"}}', "report.json has no headline"),
    "deep": ("[" * 200_000, "RecursionError"),
    "bytes": (b"\xff\xfe\x00", "report.json is not readable JSON"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_report_is_listed_with_what_is_wrong(root: Path, name: str) -> None:
    content, reason = BROKEN[name]
    folder = root / "runs" / "heart" / "broken"
    folder.mkdir()
    (folder / "report.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    index = build_index(root)
    assert len(index.runs) == 4
    (trouble,) = index.troubles
    assert (trouble.path, trouble.kind) == ("runs/heart/broken", "damaged")
    assert trouble.reason.startswith(reason)
    assert reason in Page(render_index(index)).text


@pytest.mark.parametrize("content", ["{", "[1]", "a: [", "a: &x [*x]", "- 1", ""])
def test_a_run_with_a_broken_configuration_stays_in_the_list(root: Path, content: str) -> None:
    (root / HEART / "config.yaml").write_text(content, "utf-8")
    index = build_index(root)
    assert len(index.runs) == 4
    assert [(one.path, one.kind) for one in index.troubles] == [(HEART, "damaged")]
    assert index.troubles[0].reason.startswith("config.yaml cannot be read: ")
    assert {run["path"]: run["settings"] for run in payload(render_index(index))["runs"]}[HEART] is None


def test_a_configuration_that_unfolds_without_end_is_refused(root: Path) -> None:
    lines = ["a: &a {x: 1, y: 2}"]
    lines += [
        f"{chr(97 + i)}: &{chr(97 + i)} {{{', '.join(f'k{j}: *{chr(96 + i)}' for j in range(9))}}}" for i in range(1, 9)
    ]
    (root / HEART / "config.yaml").write_text("\n".join(lines), "utf-8")
    (trouble,) = build_index(root).troubles
    assert "more than 20000 settings" in trouble.reason


def test_a_run_with_a_broken_manifest_stays_in_the_list(root: Path) -> None:
    (root / HEART / "manifest.json").write_text("nonsense", "utf-8")
    index = build_index(root)
    (run,) = [run for run in index.runs if run.path == HEART]
    assert (run.data_hash, run.started) == ("", "2026-08-01 09:30"), "the report knows when, too"
    assert [one.path for one in index.troubles] == [HEART]


def test_who_does_not_say_when_comes_last(root: Path) -> None:
    given = recommendation()
    del given["provenance"]["started"]
    add_run(root, "runs/heart/undated", started="some day", given=given)
    run = build_index(root).runs[-1]
    assert (run.path, run.started) == ("runs/heart/undated", "")


def test_a_broken_benchmark_is_named_and_other_json_passed_over(root: Path) -> None:
    write_text(root / "published" / "benchmarks" / "torn.json", "{")
    write_json(root / "published" / "benchmarks" / "wrong.json", {"benchmark": "x", "targets": [1]})
    write_json(root / "published" / "benchmarks" / "other.json", {"something": "else"})
    index = build_index(root)
    assert [found.name for found in index.benchmarks] == ["speed"]
    assert [one.path for one in index.troubles] == ["published/benchmarks/torn.json", "published/benchmarks/wrong.json"]


def test_untrusted_text_is_text(tmp_path: Path) -> None:
    given = virtual()
    given["study"]["title"] = EVIL
    given["decision"]["headline"] = EVIL + "x" * 10_000 + "\u202eשלום"
    given["decision"]["status"] = EVIL
    given["guards"][0]["title"] = EVIL
    given["currency"] = EVIL
    where = f"javascript:alert(1)/{EVIL.replace('/', '_')}%#?&'"
    add_run(tmp_path, where, given=given, config={"name": EVIL, EVIL: EVIL})
    add_run(tmp_path, "heart/bad", started=EVIL, data_hash=EVIL)
    write_json(tmp_path / "published" / "x.json", {"benchmark": EVIL, "question": EVIL, "targets": []})
    (tmp_path / "heart" / "worse").mkdir()
    (tmp_path / "heart" / "worse" / "report.json").write_text(json.dumps({"schema_version": EVIL}), "utf-8")
    index = build_index(tmp_path)
    assert len(index.runs) == 2
    text = render_index(index)
    page = Page(text)
    assert [tag for tag, _ in page.tags if tag == "img"] == []
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    (link,) = [link for link in page.links() if link.startswith("javascript")]
    assert link.startswith("javascript%3Aalert")
    assert (tmp_path / unquote(link)).is_file()
    assert payload(text)["runs"][0]["path"] == "heart/bad" or payload(text)["runs"][1]["path"] == "heart/bad"


def test_half_a_character_and_a_name_that_is_no_text_stop_nothing(tmp_path: Path) -> None:
    folder = add_run(tmp_path, "heart/aaaa")
    report = (folder / "report.json").read_text("utf-8").replace("Leave out", "\\ud800 Leave out")
    (folder / "report.json").write_text(report, "utf-8")
    odd = tmp_path / "heart" / os.fsdecode(b"b\xff")
    folder.rename(odd)
    path, index = write_index(tmp_path)
    assert index.runs[0].path == "heart/b\ufffd"
    assert index.runs[0].href == "heart/b%FF/dashboard.html"
    assert "? Leave out" in path.read_text("utf-8")


# ---- writing ------------------------------------------------------------------------------------------------------


def test_the_same_folders_give_the_same_bytes_wherever_they_lie(tmp_path: Path) -> None:
    first, second = (write_index(reports(tmp_path / name / "reports"))[0].read_bytes() for name in ("one", "two"))
    assert first == second
    assert str(tmp_path).encode() not in first
    again = write_index(tmp_path / "one" / "reports")[0]
    assert again.read_bytes() == first, "the index does not list itself"
    assert sorted(path.name for path in again.parent.iterdir()) == ["index.html", "published", "runs"]


def test_a_changed_run_is_read_again(root: Path) -> None:
    write_index(root)
    given = recommendation()
    given["decision"]["headline"] = "Something else."
    add_run(root, HEART, given=given)
    assert "Something else." in write_index(root)[0].read_text("utf-8")


def test_a_run_that_finishes_meanwhile_is_not_lost(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def slow(path: Path, text: str) -> None:
        if not written:  # another process finishes between looking and writing, and wrote its index already
            add_run(root, "runs/heart/late", started="2026-11-22T00:00:00+00:00")
        written.append(text)
        write_text(path, text)

    monkeypatch.setattr(module, "write_text", slow)
    path, index = write_index(root)
    assert index.runs[0].path == "runs/heart/late"
    assert "runs/heart/late" in path.read_text("utf-8")
    assert len(written) == 2


def test_nothing_is_written_where_there_is_nothing_to_list(tmp_path: Path) -> None:
    with pytest.raises(ScanwiseError, match="there is no run below"):
        write_index(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ScanwiseError, match="there is no folder"):
        write_index(tmp_path / "nowhere")


def test_a_page_of_somebody_else_is_left_alone(root: Path) -> None:
    (root / "index.html").write_text("<!doctype html><title>mine</title>", "utf-8")
    with pytest.raises(ScanwiseError, match="a page that scanwise did not write"):
        write_index(root)
    assert "did not write" in refresh_index(root / HEART, root / "runs")
    assert "mine" in (root / "index.html").read_text("utf-8")


def test_after_a_run_the_index_lies_beside_runs_or_in_any_other_folder(root: Path, tmp_path: Path) -> None:
    assert refresh_index(root / HEART, root / "runs") == ""
    assert (root / "index.html").is_file()
    assert not (root / "runs" / "index.html").exists()
    folder = add_run(tmp_path / "mine", "heart/aaaa")
    assert refresh_index(folder, tmp_path / "mine") == ""
    assert (tmp_path / "mine" / "index.html").is_file()
    assert not (tmp_path / "index.html").exists()


def test_a_copied_run_leaves_its_surroundings_alone_unless_there_is_an_index(root: Path, tmp_path: Path) -> None:
    copied = add_run(tmp_path / "elsewhere", "heart/aaaa")
    assert refresh_index(copied, root / "runs") == ""
    assert not (tmp_path / "elsewhere" / "index.html").exists()
    write_index(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere" / "index.html").read_bytes()
    add_run(tmp_path / "elsewhere", "heart/bbbb")
    assert refresh_index(copied, root / "runs") == ""
    assert (tmp_path / "elsewhere" / "index.html").read_bytes() != before


def test_refreshing_never_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(module, "build_index", broken)
    assert refresh_index(root / HEART, root / "runs") == "index.html was not brought up to date: KeyError: 'x'"


def test_the_report_stage_brings_the_index_up_to_date(root: Path) -> None:
    told: list[str] = []
    folder = root / "runs" / "heart" / "fresh"
    write_json(folder / "recommendation.json", recommendation())
    write_text(root / "runs" / "heart" / "bad" / "report.json", "{")
    config = {"seed": 0, "out": str(root / "runs"), "name": "heart"}
    run = Run(config, folder, progress=lambda *words: told.append(words[-1]))
    run._report()
    assert "runs/heart/fresh" in (root / "index.html").read_text("utf-8")
    assert told[-1] == run.dashboard.as_posix()
    (root / "index.html").write_text("mine", "utf-8")
    run._report()
    assert told[-1].endswith("is a page that scanwise did not write")
    assert run.dashboard.is_file(), "the run stands"


# ---- the command --------------------------------------------------------------------------------------------------


def test_the_command_writes_the_page(root: Path, scanwise_command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(root / "runs" / "heart" / "bad" / "report.json", "{")
    monkeypatch.chdir(root.parent)
    answer = scanwise_command("index")
    assert answer.code == 0
    assert answer.out.splitlines()[0] == "4 runs, 1 not finished or damaged, 1 benchmark"
    assert answer.out.splitlines()[1].startswith("  runs/heart/bad: report.json is not readable JSON")
    assert answer.out.splitlines()[-1] == "Written to reports/index.html"
    assert (root / "index.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "root=nowhere"], "there is no folder 'nowhere'"),
        (["index", "rot=reports"], "scanwise index knows no 'rot'"),
        (["index", "root=."], "there is no run below"),
    ],
)
def test_a_wrong_command_is_answered_and_writes_nothing(
    tmp_path: Path, scanwise_command: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = scanwise_command(*arguments)
    assert answer.code == 2
    assert message in answer.err
    assert list(tmp_path.iterdir()) == []


def test_the_command_explains_itself(scanwise_command: Any) -> None:
    answer = scanwise_command("index", "--help")
    assert answer.code == 0
    assert "scanwise index root=reports" in answer.out
