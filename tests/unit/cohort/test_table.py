from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scanwise.cohort import TableCohort
from scanwise.design import Cost, Menu, Setup
from scanwise.errors import ScanwiseError
from scanwise.modalities.panel import TestPanel

TABLE = """id,centre,age,sugar,fat1,fat2,kind,outcome
P-001,north,50,5.5,1.0,2.0,1,0
P-002,north,60,?,1.5,2.5,2,3
P-003,south,70,0,?,?,3,1
P-004,south,80,7.25,2.0,3.0,1,0
"""


def write(folder: Path, text: str, name: str = "table.csv") -> Path:
    (folder / name).write_bytes(text.encode("utf-8"))
    return folder


def config(root: Path, **changes) -> TableCohort:
    arguments = {
        "name": "small",
        "root": str(root),
        "files": [{"path": "table.csv"}],
        "modalities": {"blood": {"sugar": "sugar", "fats": ["fat*"]}, "exam": {"kind": "kind"}},
        "label": {"column": "outcome", "positive": {"above": 0}},
        "missing": ["?"],
        "site": "centre",
        "patient": "id",
        "columns": {"sugar": {"absent": [0], "low": 1, "high": 30, "unit": "mmol/L"}, "kind": {"levels": [1, 2, 3]}},
        "covariates": ["age"],
    }
    return TableCohort(**{**arguments, **changes})


def menu(**shots: list[str]) -> Menu:
    panels = [
        TestPanel(name, {shot: {"money": 1.0, "setups": ["visit"]} for shot in row}) for name, row in shots.items()
    ]
    return Menu(panels, [Setup("visit", Cost(visits=1))])


def test_a_table_becomes_a_cohort(tmp_path):
    cohort = config(write(tmp_path, TABLE)).load()
    everyone = np.arange(4)
    np.testing.assert_array_equal(cohort.label, [0, 1, 1, 0])
    assert cohort.site.tolist() == ["north", "north", "south", "south"]
    nan = np.nan
    np.testing.assert_array_equal(
        cohort.data("blood", everyone),
        [
            [[5.5, nan], [1.0, 2.0]],
            [[nan, nan], [1.5, 2.5]],
            [[nan, nan], [nan, nan]],  # 0 is a code for "not measured"
            [[7.25, nan], [2.0, 3.0]],
        ],
    )
    assert [(c.name, c.shot, c.slot, c.levels, c.unit) for c in cohort.columns("blood")] == [
        ("sugar", 0, 0, (), "mmol/L"),
        ("fat1", 1, 0, (), ""),
        ("fat2", 1, 1, (), ""),
    ]
    assert cohort.columns("exam")[0].levels == (1.0, 2.0, 3.0)
    assert cohort.words == {}
    assert sorted(cohort[2].data) == ["exam"]
    np.testing.assert_array_equal(cohort.covariates["age"], [50, 60, 70, 80])
    assert "P-00" not in json.dumps(cohort.describe()) + repr(cohort) + repr(vars(cohort))
    assert cohort.describe()["notes"] == ["Cells of 'sugar' with a code for 'not measured': 1."]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_byte_order_mark_and_other_delimiters_are_read(tmp_path, delimiter):
    plain = config(write(tmp_path, TABLE)).load()
    text = "\ufeff" + TABLE.replace(",", delimiter).replace("\n", "\r\n") + "\r\n"
    excel = config(write(tmp_path, text)).load()
    assert excel.fingerprint == plain.fingerprint


def test_the_menu_sets_the_order_and_drops_what_it_lacks(tmp_path):
    cohort = config(write(tmp_path, TABLE)).load(menu(blood=["fats", "sugar"]))
    assert cohort.modalities == ("blood",)
    assert cohort.shots("blood") == ("fats", "sugar")
    np.testing.assert_array_equal(cohort.data("blood", np.array([0])), [[[1.0, 2.0], [5.5, np.nan]]])
    assert cohort.describe()["notes"][-1] == "Not on the menu and therefore left out: exam.kind."


@pytest.mark.parametrize(
    ("offered", "match"),
    [
        ({"blod": ["sugar"]}, "menu offers 'blod'.*\n.*'blood'"),
        ({"blood": ["suger"]}, r"menu offers blood\.suger.*\n.*'sugar'"),
    ],
)
def test_a_menu_the_cohort_cannot_serve_is_an_error(tmp_path, offered, match):
    cohort = config(write(tmp_path, TABLE))
    with pytest.raises(ScanwiseError, match=match):
        cohort.load(menu(**offered))


def test_a_test_that_nobody_had_cannot_be_on_the_menu(tmp_path):
    cohort = config(write(tmp_path, TABLE), columns={"kind": {"absent": [1, 2, 3]}})
    with pytest.raises(ScanwiseError, match=r"exam\.kind, but no patient of cohort 'small' has it"):
        cohort.load(menu(exam=["kind"]))


def test_labels_and_sites_by_file_without_a_header(tmp_path):
    write(tmp_path, "1,2.5\n2,3.5\n", "sick.txt")
    write(tmp_path, "3,4.5\n\n4,5.5\n", "well.txt")
    cohort = TableCohort(
        name="two",
        root=str(tmp_path),
        files=[{"path": "sick.txt", "site": "a", "label": 1}, {"path": "well.txt", "site": "b", "label": 0}],
        header=False,
        names=["x", "y"],
        modalities={"both": {"both": ["x", "y"]}},
    ).load()
    np.testing.assert_array_equal(cohort.label, [1, 1, 0, 0])
    assert cohort.sites == ("a", "b")
    np.testing.assert_array_equal(cohort.data("both", np.array([3])), [[[4.0, 5.5]]])
    assert [entry["path"] for entry in cohort.describe()["files"]] == ["sick.txt", "well.txt"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [({"equals": [0, 3]}, [1, 1, 0, 1]), ({"above": 1}, [0, 1, 0, 0])],
)
def test_label_rules(tmp_path, rule, expected):
    cohort = config(write(tmp_path, TABLE), label={"column": "outcome", "positive": rule}).load()
    np.testing.assert_array_equal(cohort.label, expected)


def test_a_label_may_be_text(tmp_path):
    text = TABLE.replace(",0\n", ",benign\n").replace(",3\n", ",cancer\n").replace(",1\n", ",cancer\n")
    cohort = config(write(tmp_path, text), label={"column": "outcome", "positive": {"equals": ["cancer"]}}).load()
    np.testing.assert_array_equal(cohort.label, [0, 1, 1, 0])


def test_a_value_that_is_neither_positive_nor_negative_is_an_error(tmp_path):
    write(tmp_path, TABLE)
    for equals, negative in (([3], [0]), (["3"], ["0"])):
        rule = {"column": "outcome", "positive": {"equals": equals}, "negative": {"equals": negative}}
        cohort = config(tmp_path, label=rule)
        with pytest.raises(ScanwiseError, match=r"line 4, column 'outcome': '1' is neither positive nor negative"):
            cohort.load()


def test_a_label_that_is_no_number_is_noted_once(tmp_path):
    cohort = config(write(tmp_path, TABLE.replace(",3\n", ",x\n")))
    with pytest.raises(
        ScanwiseError, match=r"but 1 does not:\n  table.csv line 3, column 'outcome': 'x' is not a finite"
    ):
        cohort.load()


def test_sites_select_rows(tmp_path):
    cohort = config(write(tmp_path, TABLE), sites=["south"]).load()
    assert len(cohort) == 2
    assert cohort.sites == ("south",)


def test_sites_select_files_and_leave_the_others_unread(tmp_path):
    files = [{"path": "table.csv", "site": "here"}, {"path": "absent.csv", "site": "there"}]
    cohort = config(write(tmp_path, TABLE), site=None, files=files, sites=["here"]).load()
    assert cohort.sites == ("here",)


@pytest.mark.parametrize(("by_file"), [True, False])
def test_a_site_without_patients_is_an_error(tmp_path, by_file):
    changes = {"site": None, "files": [{"path": "table.csv", "site": "south"}]} if by_file else {}
    cohort = config(write(tmp_path, TABLE), sites=["soth"], **changes)
    with pytest.raises(ScanwiseError, match=r"site 'soth' is empty.*\n.*'south'"):
        cohort.load()


def test_a_file_without_rows_is_an_error(tmp_path):
    cohort = config(write(tmp_path, TABLE.splitlines()[0] + "\n"))
    with pytest.raises(ScanwiseError, match=r"'table.csv' has no rows: its site is empty"):
        cohort.load()


def test_a_missing_root_names_the_cure(tmp_path):
    cohort = config(tmp_path / "nowhere")
    with pytest.raises(ScanwiseError, match=r"nowhere' does not exist\n.*SCANWISE_DATA"):
        cohort.load()


def test_a_missing_file_names_the_cure(tmp_path):
    cohort = config(tmp_path)
    with pytest.raises(ScanwiseError, match=r"no readable file 'table.csv'.*\n.*SCANWISE_DATA"):
        cohort.load()


@pytest.mark.parametrize(
    "changes",
    [
        {"modalities": {"blood": {"sugar": "suger"}}},
        {"site": "suger"},
        {"patient": "suger"},
        {"covariates": ["suger"]},
        {"columns": {"suger": {"low": 0}}},
        {"label": {"column": "suger", "positive": {"above": 0}}},
    ],
    ids=["test", "site", "patient", "covariate", "rule", "label"],
)
def test_a_column_that_is_not_there_is_an_error_with_a_suggestion(tmp_path, changes):
    cohort = config(write(tmp_path, TABLE), **changes)
    with pytest.raises(ScanwiseError, match=r"'suger' is.*\n.*'sugar'"):
        cohort.load()


def test_every_file_must_have_the_columns(tmp_path):
    write(tmp_path, TABLE)
    write(tmp_path, TABLE.replace("fat2", "fat3").replace("P-", "Q-"), "second.csv")
    cohort = config(tmp_path, files=[{"path": "table.csv"}, {"path": "second.csv"}])
    with pytest.raises(ScanwiseError, match=r"column 'fat2' is not in 'second.csv'"):
        cohort.load()


def test_a_patient_twice_is_an_error_that_does_not_name_the_patient(tmp_path):
    cohort = config(write(tmp_path, TABLE + "P-002,south,61,6,1,2,1,1\n"))
    with pytest.raises(ScanwiseError, match=r"table.csv line 6: the same patient as in table.csv line 3") as caught:
        cohort.load()
    assert "P-002" not in str(caught.value)


def test_a_missing_identifier_is_an_error(tmp_path):
    cohort = config(write(tmp_path, TABLE.replace("P-003", "?")))
    with pytest.raises(ScanwiseError, match="line 4, column 'id': the patient identifier is missing"):
        cohort.load()


def test_equal_rows_without_an_identifier_are_kept_and_noted(tmp_path):
    text = TABLE.replace("P-004,south,80,7.25,2.0,3.0,1,0", "P-001,north,50,5.5,1.0,2.0,1,0")
    cohort = config(write(tmp_path, text), patient=None).load()
    assert len(cohort) == 4
    assert "table.csv line 5 equals table.csv line 2 in every cell" in cohort.describe()["notes"][-1]


def test_all_bad_cells_are_listed_at_once(tmp_path):
    text = TABLE.replace("5.5", "abc").replace("1.5", "inf").replace("2.5", "nan").replace("7.25", "99")
    text = text.replace("2.0,3.0,1,0", "2.0,1_0,4,?")
    with pytest.raises(ScanwiseError, match="but 7 do not") as caught:
        config(write(tmp_path, text), missing=["?"], covariates=["age", "kind"]).load()
    for line in (
        "table.csv line 2, column 'sugar': 'abc' is not a finite number",
        "table.csv line 3, column 'fat1': 'inf' is not a finite number",
        "table.csv line 3, column 'fat2': 'nan' is not a finite number",
        "table.csv line 5, column 'sugar': 99 is outside [1, 30]",
        "table.csv line 5, column 'fat2': '1_0' is not a finite number",
        "table.csv line 5, column 'kind': 4 is not one of the levels 1, 2, 3",
        "table.csv line 5, column 'outcome': the label is missing",
    ):
        assert line in str(caught.value)


def test_the_list_of_bad_cells_ends_after_ten(tmp_path):
    rows = "".join(f"R{i},north,50,x,1,2,1,{i % 2}\n" for i in range(13))
    cohort = config(write(tmp_path, TABLE.splitlines()[0] + "\n" + rows))
    with pytest.raises(ScanwiseError, match=r"13 do not:(\n  table.csv line.*){10}\n  \.\.\. and 3 more"):
        cohort.load()


def test_an_empty_cell_is_missing_only_where_declared(tmp_path):
    write(tmp_path, TABLE.replace("5.5", ""))
    assert np.isnan(config(tmp_path, missing=["?", ""]).load().data("blood", np.array([0]))[0, 0, 0])
    cohort = config(tmp_path)
    with pytest.raises(ScanwiseError, match="line 2, column 'sugar': '' is not a finite number"):
        cohort.load()


def test_broken_cells_are_read_as_missing_where_declared_and_are_counted(tmp_path):
    write(tmp_path, TABLE.replace("5.5", "#DIV/0!").replace("7.25", "Inf"))
    cohort = config(tmp_path, text_as_missing=["#DIV/0!", "Inf"]).load()
    assert np.isnan(cohort.data("blood", np.arange(4))[:, 0]).all()
    assert "Broken cells were read as not measured: 1 x '#DIV/0!', 1 x 'Inf'." in cohort.describe()["notes"]


def test_a_label_with_one_class_is_an_error(tmp_path):
    cohort = config(write(tmp_path, TABLE), label={"column": "outcome", "positive": {"above": 9}})
    with pytest.raises(ScanwiseError, match="both classes, but all 4 patients have label 0"):
        cohort.load()


def test_a_code_for_not_measured_is_no_label(tmp_path):
    cohort = config(write(tmp_path, TABLE), columns={"outcome": {"absent": [3]}})
    with pytest.raises(ScanwiseError, match="line 3, column 'outcome': the label is missing"):
        cohort.load()


def test_a_missing_site_is_an_error(tmp_path):
    cohort = config(write(tmp_path, TABLE.replace("P-003,south", "P-003,?")))
    with pytest.raises(ScanwiseError, match="line 4, column 'centre': the site is missing"):
        cohort.load()


@pytest.mark.parametrize(
    ("layout", "match"),
    [
        ({"blood": {"a": "sugar", "b": ["s*"]}}, r"'sugar' belongs to blood\.a and to blood\.b"),
        ({"blood": {"a": ["o*"]}}, r"'outcome' is the label and must not be a test, but blood\.a takes it"),
        ({"blood": {"a": "id"}}, "'id' is the patient"),
        ({"blood": {"a": "centre"}}, "'centre' is the site"),
        ({"blood": {"a": []}}, "at least one column"),
    ],
)
def test_no_column_is_bought_twice_or_gives_the_answer_away(tmp_path, layout, match):
    cohort = config(write(tmp_path, TABLE), modalities=layout)
    with pytest.raises(ScanwiseError, match=match):
        cohort.load()


def test_excluded_columns_are_out_of_reach_of_globs(tmp_path):
    cohort = config(
        write(tmp_path, TABLE), modalities={"all": {"all": ["*"]}}, exclude=["id", "centre", "outcome", "a*"]
    )
    assert [column.name for column in cohort.load().columns("all")] == ["sugar", "fat1", "fat2", "kind"]


def test_feature_sets_choose_the_columns(tmp_path):
    sets = {"few": {"blood": {"fats": ["fat1"]}}, "many": {"blood": {"fats": ["fat1", "fat2"]}}}
    write(tmp_path, TABLE)
    for features, n in (("few", 1), ("many", 2)):
        cohort = config(tmp_path, modalities=None, feature_sets=sets, features=features).load()
        assert cohort.data("blood", np.arange(4)).shape == (4, 1, n)
    with pytest.raises(ScanwiseError, match=r"`features` must name a feature set, but got 'fw'\n.*'few'"):
        config(tmp_path, modalities=None, feature_sets=sets, features="fw")


def test_values_of_covariates_have_words(tmp_path):
    rules = {"kind": {"levels": [1, 2, 3], "words": ["typical", "other", "none"]}}
    cohort = config(write(tmp_path, TABLE), columns=rules, covariates=["age", "kind"]).load()
    assert cohort.words == {"kind": {1.0: "typical", 2.0: "other", 3.0: "none"}}


def test_ragged_rows_are_an_error(tmp_path):
    cohort = config(write(tmp_path, TABLE + "P-005,south\n"))
    with pytest.raises(ScanwiseError, match="must have 8 cells, but 1 does not:\n  line 6 has 2"):
        cohort.load()


def test_repeated_column_names_are_an_error(tmp_path):
    cohort = config(write(tmp_path, TABLE.replace("fat2", "fat1")))
    with pytest.raises(ScanwiseError, match=r"column names of 'table.csv' must differ, but repeated are: fat1"):
        cohort.load()


def test_other_encodings_are_an_error(tmp_path):
    (tmp_path / "table.csv").write_bytes(TABLE.replace("north", "nörd").encode("latin-1"))
    cohort = config(tmp_path)
    with pytest.raises(ScanwiseError, match="must be UTF-8 text"):
        cohort.load()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"files": []}, "at least one file"),
        ({"files": [{"pth": "table.csv"}]}, "unknown key 'pth'\n.*'path'"),
        ({"files": [{"site": "x"}]}, "needs a path"),
        ({"files": [{"path": "table.csv", "site": "x"}]}, "although column 'centre' tells the site"),
        ({"files": [{"path": "table.csv", "label": 1}]}, "label must be told once"),
        ({"label": None}, "label must be told once"),
        ({"label": {"column": "outcome"}}, "label rule must name a column"),
        ({"label": {"column": "outcome", "positive": {"abve": 0}}}, "unknown rule 'abve'\n.*'above'"),
        ({"label": {"column": "outcome", "positive": {"above": "x"}}}, "must be a number, but got 'x'"),
        ({"label": {"column": "outcome", "positive": {"equals": 1}}}, "must be a list"),
        ({"label": {"column": "outcome", "positive": {"above": 0}, "negative": [0]}}, "label rule must name a column"),
        ({"columns": {"sugar": {"lo": 1}}}, "unknown key 'lo'\n.*'low'"),
        ({"columns": {"sugar": {"levels": ["a"]}}}, "levels of column 'sugar' must be a number"),
        ({"columns": {"kind": {"levels": [1], "words": ["a", "b"]}}}, "needs one word per level, but has 2 words"),
        ({"columns": {"kind": {"words": ["a"]}}}, "needs one word per level, but has 1 words for 0"),
        ({"header": False}, "column names must be told once"),
        ({"names": ["a"]}, "column names must be told once"),
        ({"missing": [-9]}, "marker must be text, but got -9"),
        ({"modalities": None}, "either `modalities` or `feature_sets`"),
        ({"about": {"tilte": "x"}}, "unknown key 'tilte'"),
        ({"sites": [], "site": "centre"}, "at least one site"),
    ],
)
def test_bad_configurations_are_refused(tmp_path, changes, match):
    write(tmp_path, TABLE)
    with pytest.raises(ScanwiseError, match=match):
        config(tmp_path, **changes).load()
