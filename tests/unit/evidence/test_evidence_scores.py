from __future__ import annotations

import numpy as np
import pytest
from evidence_scenario import random_table

from scanwise.errors import ScanwiseError
from scanwise.evidence import ScoreTable


def _arrays(**changed):
    arrays = random_table(rounds=2, protocols=3, patients=11).to_arrays()
    return {**arrays, **changed}


def test_round_trip_through_arrays_and_one_line_repr():
    table = random_table(rounds=2, protocols=3, patients=11)
    again = ScoreTable.from_arrays(table.to_arrays())
    assert again.protocols == table.protocols
    for name in ("probability", "stratum", "label", "site"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name))
    assert repr(table).startswith("<ScoreTable 3 protocols x 11 patients (11 judged, ")
    assert "\n" not in repr(table)


def test_rows_are_found_by_key_and_misspellings_get_a_suggestion():
    table = random_table()
    assert table.row("p2") == 2
    with pytest.raises(ScanwiseError, match="did you mean"):
        table.row("p22")


def test_judged_counts_patients_with_a_score_in_any_round():
    table = random_table(rounds=2, protocols=3, patients=11)
    probability, stratum = table.probability.copy(), table.stratum.copy()
    probability[0, :, 4], stratum[0, 4] = np.nan, -1
    probability[:, :, 7], stratum[:, 7] = np.nan, -1
    partly = ScoreTable(table.protocols, probability, stratum, table.label, table.site)
    assert np.flatnonzero(~partly.judged).tolist() == [7]
    assert partly.n == 10
    assert partly.n_positive == int(np.delete(table.label, 7).sum())


def test_subset_keeps_patients_and_rejects_row_numbers():
    table = random_table(rounds=2, protocols=3, patients=11)
    kept = table.subset(table.label == 1)
    assert kept.probability.shape == (2, 3, int(table.label.sum()))
    assert kept.label.all()
    with pytest.raises(ScanwiseError, match="boolean mask"):
        table.subset(np.array([0, 3]))


def test_extend_adds_protocols_of_the_same_patients_only():
    table = random_table(protocols=3)
    other = ScoreTable(("q0",), table.probability[:, :1], table.stratum, table.label, table.site)
    joined = table.extend(other)
    assert joined.protocols == ("p0", "p1", "p2", "q0")
    np.testing.assert_array_equal(joined.probability[:, 3], table.probability[:, 0])
    with pytest.raises(ScanwiseError, match="listed twice"):
        table.extend(table)
    flipped = ScoreTable(("q0",), table.probability[:, :1], table.stratum, 1 - table.label, table.site)
    with pytest.raises(ScanwiseError, match="these differ"):
        table.extend(flipped)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label": np.arange(11)}, "a label must be 0 or 1"),
        ({"protocols": np.array(["a", "b"])}, "protocols must have the shape"),
        ({"protocols": np.array(["a", "b", "a"])}, "'a' is listed twice"),
        ({"stratum": np.zeros((1, 11), dtype=int)}, "stratum must have the shape"),
        ({"site": np.array(["x"] * 10)}, "site must have the shape"),
        ({"probability": np.zeros((3, 11))}, "scores have the shape"),
        ({"probability": np.full((2, 3, 11), 1.2)}, r"probability in \[0, 1\], but got .*1.2"),
        ({"probability": np.full((2, 3, 11), np.nan)}, r"probability in \[0, 1\], but got .*nan"),
        ({"stratum": np.full((2, 11), -1)}, "without a stratum"),
    ],
)
def test_broken_tables_are_refused(changed, message):
    with pytest.raises(ScanwiseError, match=message):
        ScoreTable.from_arrays(_arrays(**changed))


def test_missing_array_is_named():
    arrays = _arrays()
    del arrays["stratum"]
    with pytest.raises(ScanwiseError, match="'stratum'"):
        ScoreTable.from_arrays(arrays)
