"""Leaks that were planted are found, one at a time; a clean cohort is called clean."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from scanwise.design import Column, Fold, Menu
from scanwise.modalities.panel import TestPanel
from scanwise.recommend import Severity, audit
from scanwise.recommend.audit import MINIMUM_KNOWN, PATIENTS_AT_ONCE

N = 240


class Patients:
    """A cohort of two panels: `blood` with a number and a code, `scan` with two numbers in one shot."""

    def __init__(self, n: int = N, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.label = (np.arange(n) % 3 == 0).astype(np.int64)
        self.site = np.array(["north", "south"])[np.arange(n) // 3 % 2]
        code = rng.integers(0, 3, size=n).astype(float)
        self.values = {
            "blood": np.stack([rng.normal(size=n), code], axis=1)[:, :, None],
            "scan": rng.normal(size=(n, 1, 2)),
        }

    def data(self, modality: str, patients: np.ndarray) -> np.ndarray:
        return self.values[modality][patients].copy()

    def done(self, modality: str) -> np.ndarray:
        return ~np.isnan(self.values[modality].reshape(len(self.label), -1)).all(axis=1)

    def columns(self, modality: str) -> tuple[Column, ...]:
        if modality == "blood":
            return (Column("crp", 0, 0), Column("group", 1, 0, levels=(0.0, 1.0, 2.0)))
        return (Column("size", 0, 0), Column("signal", 0, 1))

    def folds(self) -> tuple[Fold, ...]:
        everyone = np.arange(len(self.label))
        return tuple(
            Fold(0, k, everyone[everyone % 4 != k], everyone[everyone % 4 != k] % 2, everyone[everyone % 4 != k], test)
            for k in range(4)
            for test in [everyone[everyone % 4 == k]]
        )


MENU = Menu(
    [
        TestPanel("blood", {"crp": {}, "group": {}}, title="blood panel"),
        TestPanel("scan", {"scan": {}}, title="whole scan"),
    ]
)


def findings_of(patients: Patients, *, menu: Menu = MENU, folds=None) -> dict:
    found = audit(patients, patients.site, menu, patients.folds() if folds is None else folds)
    assert len({finding.id for finding in found}) == len(found)
    return {finding.id: finding for finding in found}


def test_a_clean_cohort_gives_only_passes():
    found = findings_of(Patients())

    assert set(found) == {
        "requires",
        "telling-value",
        "telling-absence",
        "shared-patients",
        "identical-patients",
        "telling-site",
    }
    assert {finding.severity for finding in found.values()} == {Severity.PASS}


def only_this_warns(found: dict, name: str, severity: Severity = Severity.WARNING) -> None:
    assert {key for key, finding in found.items() if finding.severity is not Severity.PASS} == {name}
    assert found[name].severity is severity
    assert not found[name].vetoes


def test_declared_dependence_is_told():
    patients = Patients()
    menu = Menu(
        [
            TestPanel("blood", {"crp": {}, "group": {}}, title="blood panel", requires=["scan", "blood"]),
            TestPanel("scan", {"scan": {}}, title="whole scan"),
        ]
    )

    found = findings_of(patients, menu=menu)

    only_this_warns(found, "requires:blood")
    assert "blood panel were computed with the help of whole scan." in found["requires:blood"].title


def test_two_needed_modalities_are_listed_and_a_modality_does_not_need_itself():
    patients = Patients()
    patients.values["ecg"] = np.random.default_rng(2).normal(size=(N, 1, 1))
    panels = [
        TestPanel("blood", {"crp": {}, "group": {}}, requires=["scan", "ecg"]),
        TestPanel("scan", {"scan": {}}, title="whole scan", requires=["scan"]),
        TestPanel("ecg", {"ecg": {}}, title="resting ECG"),
    ]
    patients.columns = lambda name: () if name == "ecg" else Patients.columns(patients, name)

    found = findings_of(patients, menu=Menu(panels))

    only_this_warns(found, "requires:blood")
    assert "whole scan and resting ECG" in found["requires:blood"].title


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_number_made_with_the_diagnosis_is_found(sign):
    patients = Patients()
    patients.values["scan"][:, 0, 1] += sign * 4.0 * patients.label

    found = findings_of(patients)

    only_this_warns(found, "telling-value")
    assert found["telling-value"].title.startswith("signal of whole scan alone reaches an AUC of .99")
    assert found["telling-value"].detail.startswith("1 value at or above 0.9: signal (whole scan) .99")


def test_a_code_made_with_the_diagnosis_is_found_by_its_level():
    """The middle code tells all; the order of the codes tells nothing (the AUC of the code as a number is 1/2)."""
    patients = Patients()
    others = np.where(np.arange(N) % 2 == 0, 0.0, 2.0)
    patients.values["blood"][:, 1, 0] = np.where(patients.label == 1, 1.0, others)

    found = findings_of(patients)

    only_this_warns(found, "telling-value")
    assert "group of blood panel alone reaches an AUC of 1.000" in found["telling-value"].title


def test_the_most_telling_values_are_listed_first():
    patients = Patients()
    patients.values["scan"][:, 0, 0] += 3.0 * patients.label
    patients.values["scan"][:, 0, 1] += 6.0 * patients.label

    finding = findings_of(patients)["telling-value"]

    assert finding.title.startswith("signal of whole scan")
    assert finding.detail.startswith("2 values at or above 0.9: signal (whole scan)")
    assert finding.detail.index("signal") < finding.detail.index("size")


@pytest.mark.parametrize(("known", "severity"), [(MINIMUM_KNOWN, Severity.WARNING), (MINIMUM_KNOWN - 1, Severity.PASS)])
@pytest.mark.parametrize("of_class", [0, 1])
def test_a_value_is_looked_at_where_enough_of_each_class_are_known(known, severity, of_class):
    patients = Patients()
    patients.values["scan"][:, 0, 1] += 6.0 * patients.label
    patients.values["scan"][np.flatnonzero(patients.label == of_class)[known:], 0, 1] = np.nan

    assert findings_of(patients)["telling-value"].severity is severity


def test_a_telling_absence_is_found_and_a_chance_one_is_not():
    patients = Patients()
    rng = np.random.default_rng(5)
    ordered = np.where(patients.label == 1, 0.9, 0.3)
    patients.values["scan"][rng.random(N) > ordered] = np.nan
    patients.values["blood"][rng.random(N) > 0.5] = np.nan

    found = findings_of(patients)

    only_this_warns(found, "telling-absence:scan")
    assert "Whether whole scan was done" in found["telling-absence:scan"].title
    done = ~np.isnan(patients.values["scan"]).all(axis=(1, 2))
    area = 0.5 + (done[patients.label == 1].mean() - done[patients.label == 0].mean()) / 2
    assert f"(AUC {area:.2f})" in found["telling-absence:scan"].title


def test_a_partly_known_test_counts_as_done():
    patients = Patients()
    patients.values["scan"][patients.label == 1, 0, 1] = np.nan

    assert findings_of(patients)["telling-absence"].severity is Severity.PASS


def test_a_test_that_nobody_had_tells_nothing():
    patients = Patients()
    patients.values["scan"][:] = np.nan

    assert {finding.severity for finding in findings_of(patients).values()} == {Severity.PASS}


@pytest.mark.parametrize("part", ["learn", "tune"])
def test_a_judging_patient_that_was_seen_vetoes(part):
    """`Fold` refuses this; the audit looks again at whatever was really used."""
    parts = {"learn": np.array([0, 1, 2]), "tune": np.array([3, 4]), "test": np.array([5, 6, 7])}
    parts[part] = np.append(parts[part], [6, 7])

    found = findings_of(Patients(), folds=[SimpleNamespace(**parts)])

    assert found["shared-patients"].severity is Severity.FAIL
    assert found["shared-patients"].vetoes
    assert found["shared-patients"].title.startswith("2 patients judge")


def copied(patients: Patients, source: int, target: int) -> None:
    for values in patients.values.values():
        values[target] = values[source]


def test_identical_patients_across_a_split_warn():
    patients = Patients()
    copied(patients, 0, 3)  # both positive; fold 0 and fold 3

    found = findings_of(patients)

    only_this_warns(found, "identical-patients")
    assert found["identical-patients"].title == "1 pair of patients have the same values throughout."
    assert found["identical-patients"].detail.startswith("1 of them")


def test_identical_patients_within_a_part_are_only_mentioned():
    patients = Patients()
    copied(patients, 0, 12)  # both positive, both in fold 0: they judge together and teach together

    only_this_warns(findings_of(patients), "identical-patients", Severity.INFO)


def test_copies_that_teach_no_network_are_only_mentioned():
    patients = Patients()
    copied(patients, 0, 3)
    fold = Fold(0, 0, np.arange(6, N), np.full(N - 6, -1), tune=np.array([0, 1, 2]), test=np.array([3, 4, 5]))

    only_this_warns(findings_of(patients, folds=[fold]), "identical-patients", Severity.INFO)


def test_identical_values_with_another_diagnosis_are_two_patients():
    patients = Patients()
    copied(patients, 0, 1)

    assert findings_of(patients)["identical-patients"].severity is Severity.PASS


def test_patients_that_lack_the_same_values_can_be_identical():
    patients = Patients()
    for patient in (0, 3, 6):
        copied(patients, 0, patient)
        patients.values["blood"][patient] = np.nan

    finding = findings_of(patients)["identical-patients"]

    assert finding.title.startswith("3 pairs")
    assert finding.detail.startswith("3 of them")


def test_patients_of_whom_nothing_is_known_are_not_called_identical():
    patients = Patients()
    for values in patients.values.values():
        values[[0, 3, 6]] = np.nan

    assert findings_of(patients)["identical-patients"].severity is Severity.PASS


def test_many_identical_patients_are_counted():
    """Codes alone make most patients of a large cohort identical: millions of pairs."""
    patients = Patients(3000)
    patients.values["scan"][:] = 0.0
    patients.values["blood"][:, 0] = 0.0
    patients.values["blood"][:, 1, 0] = np.arange(3000) % 2

    finding = findings_of(patients)["identical-patients"]

    assert finding.title.startswith(f"{2 * (500 * 499 + 1000 * 999) // 2} pairs")


def test_a_site_that_predicts_the_diagnosis_is_found():
    patients = Patients()
    patients.site = np.where(np.arange(N) % 3 == 0, "south", "north")  # all positives at one site
    perfect = findings_of(patients)["telling-site"]
    assert perfect.severity is Severity.WARNING
    assert "Cramer's V 1.00" in perfect.title

    patients.label = np.repeat([0, 1, 0, 1], [30, 10, 10, 30]).astype(np.int64)
    patients.site = np.repeat(["north", "south"], 40)
    patients.values = {name: values[:80] for name, values in patients.values.items()}
    half = findings_of(patients)["telling-site"]
    # chi-square of ((30, 10), (10, 30)) is 80 (900 - 100)^2 / 40^4 = 20, V = sqrt(20 / 80)
    assert "Cramer's V 0.50" in half.title
    assert "north 25%, south 75%" in half.detail


def test_one_site_predicts_nothing():
    patients = Patients()
    patients.site = np.full(N, "here")

    finding = findings_of(patients)["telling-site"]

    assert finding.severity is Severity.PASS
    assert "There is one site" in finding.title


class Scanned(Patients):
    """Blood, and images that are handed out a few patients at a time; the label stands in one voxel of them."""

    def __init__(self, n: int = 600) -> None:
        super().__init__(n)
        images = np.random.default_rng(2).normal(size=(n, 1, 6, 8)).astype(np.float16)
        images[:, 0, 2, 3] = self.label
        self.values["scan"] = images
        self.most = 0

    def data(self, modality: str, patients: np.ndarray) -> np.ndarray:
        if modality == "scan":
            self.most = max(self.most, len(patients))
        return super().data(modality, patients)

    def columns(self, modality: str) -> tuple[Column, ...]:
        return super().columns(modality) if modality == "blood" else ()


def test_images_are_never_in_memory_together_and_have_no_telling_value():
    patients = Scanned()

    found = findings_of(patients)

    assert {finding.severity for finding in found.values()} == {Severity.PASS}
    assert 0 < patients.most <= PATIENTS_AT_ONCE < 600


def test_identical_images_are_found():
    patients = Scanned()
    patients.values["blood"][10] = patients.values["blood"][13]  # both negative
    assert findings_of(patients)["identical-patients"].severity is Severity.PASS

    patients.values["scan"][10] = patients.values["scan"][13]

    finding = findings_of(patients)["identical-patients"]
    assert finding.title.startswith("1 pair of patients")


def test_an_image_that_was_not_done_tells():
    patients = Scanned()
    patients.values["scan"][patients.label == 1] = np.nan

    assert findings_of(patients)["telling-absence:scan"].severity is Severity.WARNING
