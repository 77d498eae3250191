"""Every registered kind of modality keeps the contract; a new file is all it takes to be among them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from _contracts import MODALITY_CONTRACT, NOISE_FREE_CONTRACT, examples
from numpy.typing import NDArray

import scanwise.modalities
from scanwise.design import ImagingModality, Measurement, Modality, modality_kinds, register_modality
from scanwise.errors import ScanwiseError
from scanwise.modalities import load_all
from scanwise.modalities.panel import TestPanel

load_all()

KINDS, MISSING = examples(modality_kinds())
EXAMPLES: dict[str, Modality] = {
    **KINDS,
    "panel of 1 shot": TestPanel("single", {"ct": {"msv": 5.0, "contrast_ml": 60.0}}),
    "panel of 7 shots": TestPanel(
        "seven",
        {f"s{index}": {"money": index, "setups": ["draw", "visit"][: index % 3]} for index in range(7)},
        schemes=("subset",),
    ),
}


@pytest.mark.parametrize("check", MODALITY_CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("example", EXAMPLES)
def test_modality(example, check):
    check(EXAMPLES[example])


NOISE_FREE = [name for name, modality in EXAMPLES.items() if not isinstance(modality, ImagingModality)]


@pytest.mark.parametrize("check", NOISE_FREE_CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("example", NOISE_FREE)
def test_modality_without_noise(example, check):
    check(EXAMPLES[example])


def test_kinds_of_extras_are_tested_too():
    if MISSING:
        pytest.skip(f"not tested here: {MISSING}")
    assert set(KINDS) == set(modality_kinds())


def test_without_its_extra_a_kind_is_left_out_and_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchkbnufft", None)
    made, missing = examples(modality_kinds())

    assert set(missing) == {"radial_t1w"}
    assert set(made) == set(modality_kinds()) - {"radial_t1w"}
    assert "torchkbnufft, which is not installed\n  -> pip install scanwise[nufft]" in missing["radial_t1w"]


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("patients", [1, 4])
def test_example_data_have_the_patients_first(kind, patients):
    modality = modality_kinds()[kind].example()
    data = modality.example_data(patients, seed=0)
    assert len(data) == patients
    measured = modality.measure(data, np.ones(len(modality.shots), dtype=np.int64), np.random.default_rng(0))
    assert len(measured.data) == patients
    assert measured.counts.shape == (patients, len(modality.shots))


# ---- one file

NEW_FILE = '''
"""Ultrasound of a made-up kind: every shot is a transmit, an image is their mean."""

import numpy as np

from scanwise.design import Measurement, Modality, ShotTable, Subset, Whole, register_modality


@register_modality("Made_Up_Ultrasound")
class MadeUpUltrasound(Modality):
    name = "ultrasound"
    title = "ultrasound"
    schemes = (Whole(), Subset())

    def __init__(self, transmits=3):
        self.shots = ShotTable.build([f"angle{i}" for i in range(transmits)], seconds=0.5, money=1.0, setups=["probe"])

    @classmethod
    def example(cls):
        return cls()

    def example_data(self, patients, seed):
        return np.random.default_rng(seed).normal(size=(patients, len(self.shots), 4, 5))

    def measure(self, data, counts, rng):
        asked = np.broadcast_to(counts, data.shape[:2])
        done = ~np.isnan(data).all(axis=(2, 3))
        return Measurement(np.where((asked > 0)[:, :, None, None], data, np.nan), np.where(done, asked, 0))
'''


@pytest.fixture
def registry(monkeypatch) -> dict[str, type[Modality]]:
    """The registry, put back afterwards."""
    kinds = modality_kinds()
    monkeypatch.setattr("scanwise.design.modality._MODALITIES", kinds)
    return kinds


@pytest.fixture
def new_file(tmp_path: Path, monkeypatch, registry) -> str:
    """The name of a module that lies where the package looks for modalities."""
    (tmp_path / "made_up_ultrasound.py").write_text(NEW_FILE)
    monkeypatch.setattr(scanwise.modalities, "__path__", [*scanwise.modalities.__path__, str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = "scanwise.modalities.made_up_ultrasound"
    yield module
    sys.modules.pop(module, None)
    vars(scanwise.modalities).pop("made_up_ultrasound", None)


def test_a_new_modality_is_one_file(new_file):
    assert "made_up_ultrasound" not in modality_kinds()
    load_all()
    newcomer = modality_kinds()["made_up_ultrasound"].example()
    for check in (*MODALITY_CONTRACT, *NOISE_FREE_CONTRACT):
        check(newcomer)


def test_loading_twice_changes_nothing(new_file):
    load_all()
    first = modality_kinds()
    load_all()
    assert modality_kinds() == first


def test_the_new_modality_did_not_stay():
    assert "made_up_ultrasound" not in modality_kinds()
    assert "scanwise.modalities.made_up_ultrasound" not in sys.modules
    assert set(modality_kinds()) >= {"panel"}


@pytest.mark.parametrize("kind", ["panel", "PANEL", " Panel "])
def test_a_second_kind_of_one_name_is_refused(registry, kind):
    class Other(TestPanel):
        """Another panel."""

    with pytest.raises(ScanwiseError, match="already a kind of modality called 'panel'"):
        register_modality(kind)(Other)
    assert registry["panel"] is TestPanel


def test_a_class_of_the_same_name_from_another_file_is_still_another(registry):
    impostor = type("TestPanel", (TestPanel,), {"__module__": "elsewhere"})
    with pytest.raises(ScanwiseError, match="already a kind of modality called 'panel'"):
        register_modality("panel")(impostor)


def test_the_registry_cannot_be_changed_from_outside():
    modality_kinds().clear()
    assert "panel" in modality_kinds()


# ---- the contract itself


class Invents(TestPanel):
    def measure(self, data: NDArray, counts: NDArray, rng: np.random.Generator) -> Measurement:
        measured = super().measure(data, counts, rng)
        return Measurement(np.nan_to_num(measured.data), measured.counts)


class Claims(TestPanel):
    def measure(self, data: NDArray, counts: NDArray, rng: np.random.Generator) -> Measurement:
        measured = super().measure(data, counts, rng)
        return Measurement(measured.data, np.array(np.broadcast_to(counts, measured.counts.shape)))


class Overwrites(TestPanel):
    def measure(self, data: NDArray, counts: NDArray, rng: np.random.Generator) -> Measurement:
        data[:, counts == 0] = np.nan
        return super().measure(data, counts, rng)


class Noisy(TestPanel):
    def measure(self, data: NDArray, counts: NDArray, rng: np.random.Generator) -> Measurement:
        measured = super().measure(data, counts, rng)
        return Measurement(measured.data + np.random.default_rng().normal(size=data.shape), measured.counts)


class Passes(TestPanel):
    def measure(self, data: NDArray, counts: NDArray, rng: np.random.Generator) -> Measurement:
        return Measurement(data.copy(), super().measure(data, counts, rng).counts)


class Wordy(TestPanel):
    def __repr__(self) -> str:
        return "TestPanel(\n)"


@pytest.mark.parametrize(
    ("broken", "by"),
    [
        (Invents, "check_nothing_asked"),
        (Invents, "check_patient_without_data"),
        (Invents, "check_absent_shots"),
        (Claims, "check_patient_without_data"),
        (Overwrites, "check_input_untouched"),
        (Noisy, "check_repeatable_measurement"),
        (Noisy, "check_full_protocol"),
        (Noisy, "check_some_shots"),
        (Noisy, "check_others_without_data"),
        (Passes, "check_absent_shots"),
        (Wordy, "check_names"),
    ],
)
def test_the_contract_finds_what_is_broken(broken, by):
    check = next(check for check in (*MODALITY_CONTRACT, *NOISE_FREE_CONTRACT) if check.__name__ == by)
    check(TestPanel.example())
    with pytest.raises(AssertionError):
        check(broken.example())
