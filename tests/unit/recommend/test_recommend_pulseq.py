"""Sequences are read back with pypulseq: what is played must be the protocol, within the limits of the scanner."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scanwise.design import Modality, ShotTable
from scanwise.errors import ScanwiseError
from scanwise.modalities.diffusion import DiffusionWeighted
from scanwise.modalities.dynamic import DynamicContrast
from scanwise.modalities.flair import Flair
from scanwise.modalities.panel import TestPanel
from scanwise.modalities.t1_weighted import T1Weighted
from scanwise.modalities.turbo_spin_echo import TurboSpinEcho
from scanwise.recommend.pulseq import (
    MAX_B1_MICROTESLA,
    MAX_GRADIENT_MT_PER_M,
    MAX_SLEW_T_PER_M_S,
    NotPlayableError,
    Played,
    Scan,
    play,
)

pp = pytest.importorskip("pypulseq", reason="needs the extra pulseq")

FOV_MM = (120.0, 96.0)
GAMMA_HZ_PER_T = 42.576e6
COMMON: dict[str, Any] = {"snr": 50.0, "reference_voxel_mm3": 10.0, "matrix": (24, 20)}


def scan_of(modality: Modality, counts: Any, **settings: Any) -> Scan:
    counts = np.asarray(counts, dtype=np.int64)
    console = {**modality.console(counts.tolist()), **settings}
    return Scan(modality.name, console, modality.shots.what, counts, FOV_MM, {"Fingerprint": "0123456789ab"})


@dataclass
class Seen:
    """What a sequence does, found from its file alone."""

    sequence: Any
    line: np.ndarray
    """Line of every readout, from the trajectory."""
    label: np.ndarray
    off_centre: float
    """Largest distance from the centre of k-space along readout and slice, at the middle sample [lines]."""
    after_excitation_s: np.ndarray
    time_s: np.ndarray
    excitation_s: np.ndarray
    refocusing_s: np.ndarray


def read_back(played: Played, folder: Path, *, matrix: tuple[int, int] = (24, 20), turned: bool = False) -> Seen:
    path = folder / "back.seq"
    path.write_text(played.text, "utf-8")
    sequence = pp.Sequence()
    sequence.read(str(path))
    kspace, _, excitation, refocusing, time = sequence.calculate_kspace()
    samples = {
        int(block.adc.num_samples)
        for block in (sequence.get_block(number) for number in sequence.block_events)
        if block.adc is not None
    }
    assert len(samples) == 1
    n = samples.pop()
    centre = kspace.reshape(3, -1, n)[:, :, n // 2]
    moments = time.reshape(-1, n)[:, n // 2]
    fov_m = {"x": FOV_MM[1] / 1000, "y": FOV_MM[0] / 1000}
    read, phase, lines = ("y", "x", matrix[1]) if turned else ("x", "y", matrix[0])
    at = centre["xyz".index(phase)] * fov_m[phase] + lines // 2
    assert np.abs(at - np.rint(at)).max() < 1e-3
    excitation = np.asarray(excitation)
    return Seen(
        sequence,
        np.rint(at).astype(int),
        np.asarray(sequence.evaluate_labels(evolution="adc")["LIN"]).astype(int),
        max(np.abs(centre["xyz".index(read)]).max() * fov_m[read], np.abs(centre[2]).max() * fov_m[read]),
        moments - excitation[np.searchsorted(excitation, moments) - 1],
        moments,
        excitation,
        np.asarray(refocusing),
    )


def random_counts(modality: Modality, seed: int) -> np.ndarray:
    """Some lines, not in order of anything, the centre among them, a few of them twice."""
    rng = np.random.default_rng(seed)
    counts = (rng.random(len(modality.shots)) < 0.5).astype(np.int64)
    counts[len(counts) // 2] = 1
    counts[np.flatnonzero(counts)[::3]] = 2
    return counts


def every(counts: np.ndarray) -> list[int]:
    return sorted(np.repeat(np.arange(len(counts)), counts).tolist())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("turned", [False, True])
def test_a_turbo_spin_echo_plays_the_lines_of_the_protocol(seed, turned, tmp_path):
    scan = TurboSpinEcho("t2w", phase_axis="x" if turned else "y", train_length=8, **COMMON)
    counts = random_counts(scan, seed)
    played = play(scan_of(scan, counts))
    seen = read_back(played, tmp_path, turned=turned)

    assert sorted(seen.line.tolist()) == every(counts)
    assert (seen.label == seen.line).all()
    assert seen.off_centre < 1e-3
    trains = math.ceil(counts.sum() / 8)
    assert played.excitations == trains
    assert len(seen.excitation_s) == trains + played.preparations == trains + 1
    assert len(seen.refocusing_s) == 8 * (trains + 1)
    assert played.seconds == pytest.approx((trains + 1) * 4.0)
    assert sum(seen.sequence.block_durations.values()) == pytest.approx(played.seconds)
    middle = len(counts) // 2
    assert seen.after_excitation_s[seen.line == middle] == pytest.approx(0.1, abs=2e-5)
    # echoes midway between refocusing pulses (Carr, Purcell, Meiboom and Gill)
    assert np.diff(seen.refocusing_s[:8]) == pytest.approx(0.0125, abs=1e-6)
    assert seen.refocusing_s[0] - seen.excitation_s[0] == pytest.approx(0.00625, abs=1e-6)


def test_all_lines_are_taken_at_the_echo_that_was_simulated(tmp_path):
    scan = TurboSpinEcho("t2w", train_length=8, **COMMON)
    played = play(scan_of(scan, scan.standard))
    seen = read_back(played, tmp_path)

    echo = np.rint(seen.after_excitation_s / 0.0125).astype(int)
    assert (echo == scan.train.echo_of_line.numpy()[seen.line]).all()
    assert any("every line at the echo it was simulated at" in note for note in played.notes)


def test_every_second_line_stays_at_its_echo_in_half_the_trains(tmp_path):
    scan = TurboSpinEcho("t2w", train_length=6, echo_time_s=0.0375, **COMMON)  # 4 trains of 6
    counts = np.arange(24) % 2 == 0
    played = play(scan_of(scan, counts))
    seen = read_back(played, tmp_path)

    assert played.excitations == 2
    echo = np.rint(seen.after_excitation_s / 0.0125).astype(int)
    assert (echo == scan.train.echo_of_line.numpy()[seen.line]).all()


def test_a_moved_line_is_told():
    scan = TurboSpinEcho("t2w", train_length=8, **COMMON)
    counts = np.zeros(24, dtype=int)
    counts[10:14] = 1
    (note,) = [note for note in play(scan_of(scan, counts)).notes if note.startswith("trains: 1")]
    assert "echoes without acquisition: 4" in note
    assert "from where they were simulated" in note


def test_flair_inverts_at_its_inversion_time(tmp_path):
    scan = Flair("flair", train_length=8, echo_time_s=0.04, **COMMON)
    counts = random_counts(scan, 2)
    played = play(scan_of(scan, counts))
    seen = read_back(played, tmp_path)

    assert sorted(seen.line.tolist()) == every(counts)
    assert seen.off_centre < 1e-3
    inversions, elapsed = [], 0.0
    for number in seen.sequence.block_events:
        rf = seen.sequence.get_block(number).rf
        if rf is not None and rf.use == "inversion":
            inversions.append(elapsed + rf.delay + rf.center)
        elapsed += seen.sequence.block_durations[number]
    assert seen.excitation_s - np.array(inversions) == pytest.approx(2.5, abs=2e-5)
    assert np.diff(seen.excitation_s) == pytest.approx(9.0, abs=2e-5)


@pytest.mark.parametrize("sequence", ["spoiled_gradient_echo", "spin_echo"])
def test_t1_weighted_excites_once_for_every_line(sequence, tmp_path):
    echo_s = 0.0025 if sequence == "spoiled_gradient_echo" else 0.012
    scan = T1Weighted("t1w", sequence=sequence, echo_time_s=echo_s, **COMMON)
    counts = random_counts(scan, 3)
    played = play(scan_of(scan, counts))
    seen = read_back(played, tmp_path)

    assert sorted(seen.line.tolist()) == every(counts)
    assert (seen.label == seen.line).all()
    assert seen.off_centre < 1e-3
    assert played.excitations == counts.sum()
    assert len(seen.excitation_s) == counts.sum() + played.preparations
    assert seen.after_excitation_s == pytest.approx(echo_s, abs=2e-5)
    assert np.diff(seen.excitation_s) == pytest.approx(0.15, abs=2e-5)


def test_a_gradient_echo_is_near_its_steady_state_when_lines_are_taken():
    scan = T1Weighted("t1w", flip_angle_deg=30.0, **COMMON)
    played = play(scan_of(scan, scan.standard))
    assert math.cos(math.radians(30)) ** played.preparations <= 0.01


def b_values(seen: Seen, echo_time_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Integrate what the gradients do to spins, imaging gradients included: b and the direction of every excitation."""
    gradients = seen.sequence.get_gradients()
    found, directions = [], []
    for start, refocus in zip(seen.excitation_s, seen.refocusing_s, strict=True):
        time, step = np.linspace(start, start + echo_time_s, 80_001, retstep=True)
        waves = np.array([np.nan_to_num(one(time)) if one is not None else np.zeros_like(time) for one in gradients])
        waves[:, time < refocus] *= -1
        moment = np.cumsum(waves, axis=1) * step
        found.append((2 * np.pi) ** 2 * (moment**2).sum() * step / 1e6)
        directions.append(np.sign(moment[:, np.searchsorted(time, refocus)]))
    return np.array(found), np.array(directions)


def test_diffusion_gradients_make_the_b_values(tmp_path):
    scan = DiffusionWeighted("dwi", b_values=(0, 50, 600, 1200), averages=(1, 1, 1, 1), max_averages=(8,) * 4, **COMMON)
    counts = np.array([1, 0, 2, 5])
    played = play(scan_of(scan, counts))
    seen = read_back(played, tmp_path)

    assert played.excitations == counts.sum() == len(seen.excitation_s) - 1
    assert played.acquisitions == 24 * counts.sum()
    assert (np.bincount(seen.line, minlength=24) == counts.sum()).all()
    assert (seen.label == seen.line).all()
    assert seen.off_centre < 1e-3
    assert seen.after_excitation_s[seen.line == 12] == pytest.approx(0.08, abs=2e-5)
    assert seen.sequence.evaluate_labels(evolution="adc")["SET"].tolist() == [*[0] * 24, *[2] * 48, *[3] * 120]
    found, directions = b_values(seen, 0.08)
    assert found[:2] == pytest.approx(0.0, abs=10)  # crushers and readout alone
    assert found[2:4] == pytest.approx(600, rel=0.06)
    assert found[4:] == pytest.approx(1200, rel=0.05)
    # four averages: the trace, so the directions sum to zero and to an isotropic tensor
    four = directions[4:8]
    assert (four.sum(axis=0) == 0).all()
    assert (four.T @ four == 4 * np.eye(3)).all()
    assert any("b = 600" in note and "b = 1200" in note for note in played.notes)


def test_parallel_imaging_leaves_lines_out(tmp_path):
    scan = DiffusionWeighted("dwi", b_values=(0,), averages=(1,), parallel_imaging=2, **COMMON)
    seen = read_back(play(scan_of(scan, [1])), tmp_path)

    assert seen.line.tolist() == list(range(0, 24, 2))
    assert seen.after_excitation_s[seen.line == 12] == pytest.approx(0.08, abs=2e-5)


def test_frames_are_played_when_they_were_simulated(tmp_path):
    scan = DynamicContrast("dce", frames=5, frame_s=3.0, arrival_s=6.0, **COMMON)
    counts = np.array([1, 0, 1, 1, 0])
    played = play(scan_of(scan, counts))
    seen = read_back(played, tmp_path)

    assert sorted(seen.line.tolist()) == sorted(list(range(24)) * 3)
    assert seen.off_centre < 1e-3
    assert played.excitations == 72
    assert played.seconds == pytest.approx(12.0)
    centres = seen.time_s[seen.line == 12]
    assert centres == pytest.approx([1.5, 7.5, 10.5], abs=0.01)
    assert seen.sequence.evaluate_labels(evolution="adc")["REP"].tolist() == [*[0] * 24, *[2] * 24, *[3] * 24]
    assert any("bolus arrives 6 s after the start" in note for note in played.notes)


def test_lines_of_a_series_are_played_frame_by_frame(tmp_path):
    scan = DynamicContrast("dce", frames=2, frame_s=3.0, arrival_s=3.0, **COMMON)
    frame, line = (index.ravel() for index in np.indices((2, 24)))
    counts = ((frame + line) % 2 == 0).astype(np.int64)
    settings = scan.console([1, 1])
    played = play(Scan("dce", settings, {"frame": frame, "line": line}, counts, FOV_MM))
    seen = read_back(played, tmp_path)

    assert seen.line.tolist() == [*range(0, 24, 2), *range(1, 24, 2)]
    assert (seen.time_s[:12] < 3).all()
    assert (seen.time_s[12:] > 3).all()


def examples() -> list[Modality]:
    return [
        TurboSpinEcho("t2w", **COMMON),
        Flair("flair", **COMMON),
        T1Weighted("t1w", **COMMON),
        DiffusionWeighted("dwi", **COMMON),
        DynamicContrast("dce", frames=2, **COMMON),
        TurboSpinEcho.example(),
        Flair.example(),
        T1Weighted.example(),
        DiffusionWeighted.example(),
        DynamicContrast.example(),
    ]


@pytest.mark.parametrize("modality", examples(), ids=lambda one: one.name)
def test_the_scanner_can_play_it(modality, tmp_path):
    scan = scan_of(modality, modality.standard)
    played = play(scan)
    path = tmp_path / "scan.seq"
    path.write_text(played.text, "utf-8")
    sequence = pp.Sequence()
    sequence.read(str(path))

    assert sequence.check_timing()[0]
    strongest = MAX_GRADIENT_MT_PER_M * 1e-3 * GAMMA_HZ_PER_T
    steepest = MAX_SLEW_T_PER_M_S * GAMMA_HZ_PER_T
    for number in sequence.block_events:
        block = sequence.get_block(number)
        for gradient in (block.gx, block.gy, block.gz):
            if gradient is not None:
                assert abs(gradient.amplitude) <= strongest * 1.001
                assert abs(gradient.amplitude) / min(gradient.rise_time, gradient.fall_time) <= steepest * 1.001
        if block.rf is not None:
            assert np.abs(block.rf.signal).max() <= MAX_B1_MICROTESLA * 1e-6 * GAMMA_HZ_PER_T * 1.001
        if block.adc is not None:
            assert block.adc.num_samples % 4 == 0
    n_y, n_x = modality.matrix
    assert sequence.get_definition("FOV") == pytest.approx([0.096, 0.12, modality.slice_mm / 1000])
    assert list(sequence.get_definition("Matrix")) == [n_x, n_y, 1]
    assert sequence.get_definition("Name") == modality.name
    assert sequence.get_definition("TotalDuration") == pytest.approx(played.seconds)
    assert "0123456789ab" in played.text
    assert play(scan).text == played.text


def test_what_cannot_be_played_says_why():
    scan = TurboSpinEcho("t2w", **COMMON)
    good = scan_of(scan, scan.standard)
    panel = TestPanel.example()
    dwi = DiffusionWeighted("dwi", b_values=(5000,), averages=(1,), echo_time_s=0.05, **COMMON)
    gradient_echo = T1Weighted("t1w", **COMMON)
    for bad, words in (
        (scan_of(panel, panel.standard), "no pulse sequence"),
        (scan_of(scan, scan.standard, sequence="radial spoiled gradient echo"), "only Cartesian"),
        (Scan(**{**vars(good), "fov_mm": None}), "field of view"),
        (scan_of(scan, 0 * scan.standard), "no shot"),
        (scan_of(scan, 1000 * scan.standard), "24000 shots"),
        (scan_of(scan, scan.standard, echo_spacing_s=0.003), "3 ms between echoes"),
        (scan_of(scan, scan.standard, repetition_time_s=0.201), "TR"),
        (scan_of(dwi, [1]), "b = 5000"),
        (scan_of(dwi, [1], parallel_imaging=1.5), "parallel imaging by 1.5"),
        (scan_of(gradient_echo, gradient_echo.standard, echo_time_s=0.0004), "leave no room"),
        (scan_of(DynamicContrast("dce", frames=1, arrival_s=20, **COMMON), [1], frame_s=0.1), "do not fit in a frame"),
    ):
        with pytest.raises(NotPlayableError, match=words):
            play(bad)


def test_a_timing_fault_is_an_error_and_not_left_out(monkeypatch):
    scan = TurboSpinEcho("t2w", **COMMON)
    fault = type("Fault", (), {"error_type": "RASTER", "event": "rf", "field": "delay", "block": 3})
    monkeypatch.setattr(pp.Sequence, "check_timing", lambda self: (False, [fault]))
    with pytest.raises(ScanwiseError, match=r"RASTER of rf\.delay in block 3") as caught:
        play(scan_of(scan, scan.standard))
    assert not isinstance(caught.value, NotPlayableError)


def test_without_pypulseq_it_says_how_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypulseq", None)
    scan = TurboSpinEcho("t2w", **COMMON)
    with pytest.raises(NotPlayableError, match="not installed") as caught:
        play(scan_of(scan, scan.standard))
    assert "scanwise[pulseq]" in caught.value.hint


def test_a_table_of_other_lines_is_played_by_its_index(tmp_path):
    """A modality whose shots are listed in another order than the lines."""
    order = np.random.default_rng(0).permutation(24)
    shots = ShotTable.build([f"s{i}" for i in range(24)], what={"line": order})
    scan = T1Weighted("t1w", **COMMON)
    counts = np.zeros(24, dtype=np.int64)
    counts[[3, 7]] = 1
    seen = read_back(play(Scan("t1w", scan.console(scan.standard), shots.what, counts, FOV_MM)), tmp_path)
    assert seen.line.tolist() == order[[3, 7]].tolist()
