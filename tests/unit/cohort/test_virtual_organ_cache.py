"""The cache of virtual organs: reused, never half-written, never damaged in silence, small in memory."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from organ_scenario import FakeScan, breast, organ

from scanwise.cohort.virtual import cache as cache_module
from scanwise.cohort.virtual.cache import ArrayWriter, DamagedArray, read_array
from scanwise.design import Menu, Scene
from scanwise.errors import ScanwiseError
from scanwise.pipeline import run_identity

ROWS = np.arange(70)
PROBED = 2
"""Patients that are always made again, to compare."""


class Counted(FakeScan):
    """Counts the patients it was asked for, of all instances together."""

    calls = 0


def menu(*scans: FakeScan) -> Menu:
    return Menu(scans or [Counted()])


@pytest.fixture
def folder(tmp_path):
    Counted.calls = 0
    return tmp_path / "cache"


def calls_of(made, of: Menu) -> int:
    before = Counted.calls
    made.load(of)
    return Counted.calls - before


def arrays_in(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.npy"))


def test_the_second_load_reads_what_the_first_one_made(folder):
    first = organ(cache=str(folder)).load(menu())
    assert calls_of(organ(cache=str(folder)), menu()) == 2 * PROBED

    again = organ(cache=str(folder)).load(menu())

    assert isinstance(again._data["scan"], np.memmap)
    assert type(again.data("scan", ROWS)) is np.ndarray
    np.testing.assert_array_equal(again.data("scan", ROWS), first.data("scan", ROWS))
    np.testing.assert_array_equal(again.lesions(ROWS), first.lesions(ROWS))
    np.testing.assert_array_equal(again.label, first.label)
    assert again.fingerprint == first.fingerprint


def test_in_memory_and_on_disk_are_the_same_cohort(folder):
    assert organ(cache=str(folder)).load(menu()).fingerprint == organ().load(menu()).fingerprint


def test_prices_and_sources_make_nothing_anew_but_settings_do(folder):
    organ(cache=str(folder)).load(menu())

    assert calls_of(organ(cache=str(folder)), menu(Counted(money=99.0))) == 2 * PROBED
    cited = breast(prevalence={"value": 0.4, "source": "another paper", "confidence": "low"})
    assert calls_of(organ(cited, cache=str(folder)), menu()) == 2 * PROBED
    assert len(arrays_in(folder)) == 2  # images and masks
    assert calls_of(organ(cache=str(folder)), menu(Counted(echo_s=0.08))) == 70 + PROBED
    assert len(arrays_in(folder)) == 3
    assert calls_of(organ(cache=str(folder)), menu()) == 2 * PROBED


def test_a_new_modality_makes_only_its_own_images(folder):
    organ(cache=str(folder)).load(menu())
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}

    cohort = organ(cache=str(folder)).load(menu(Counted(), Counted("second", step=4)))

    assert cohort.data("second", ROWS).shape == (70, 1, 8, 12)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    "changes", [{"seed": 4}, {"n": 71}, {"worlds": [1]}, {"organ": breast(**{"prevalence.value": 0.5})}]
)
def test_other_patients_live_in_another_folder(folder, changes):
    organ(cache=str(folder)).load(menu())
    organ(cache=str(folder), **changes).load(menu())

    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("pattern", ["scan-*.npy", "lesions.npy", "patients.npz", "scan-*.json"])
@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_damage_is_found_and_only_that_is_made_again(folder, caplog, pattern, how):
    organ(cache=str(folder)).load(menu())
    good = organ().load(menu())  # in memory: a mapped file must not be cut while it is read
    (path,) = folder.rglob(pattern)
    others = {other: other.stat().st_mtime_ns for other in folder.rglob("*.npy") if other.stem != path.stem}
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()

    with caplog.at_level(logging.WARNING):
        again = organ(cache=str(folder)).load(menu())

    assert again.fingerprint == good.fingerprint
    np.testing.assert_array_equal(again.data("scan", ROWS), good.data("scan", ROWS))
    assert {other: other.stat().st_mtime_ns for other in others} == others
    assert ("made again" in caplog.text) == (how != "gone")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        organ(cache=str(folder)).load(menu())
    assert caplog.text == ""


def test_images_of_other_code_are_made_again(folder, caplog, monkeypatch):
    organ(cache=str(folder)).load(menu())
    plain = Counted.synthesise
    monkeypatch.setattr(Counted, "synthesise", lambda self, scene: plain(self, scene) * np.float16(1.5))

    with caplog.at_level(logging.WARNING):
        cohort = organ(cache=str(folder)).load(menu())

    assert "made by other code" in caplog.text
    np.testing.assert_array_equal(cohort.data("scan", ROWS), organ().load(menu()).data("scan", ROWS))


def test_an_interrupt_leaves_nothing_that_would_be_read(folder, monkeypatch):
    plain, seen = Counted.synthesise, []

    def stop_in_the_second_block(self, scene: Scene):
        seen.append(len(scene))
        if len(seen) == 3:  # the probe, the first block, the second
            raise KeyboardInterrupt
        return plain(self, scene)

    monkeypatch.setattr(Counted, "synthesise", stop_in_the_second_block)
    with pytest.raises(KeyboardInterrupt):
        organ(cache=str(folder), workers=1).load(menu())
    assert arrays_in(folder) == []
    assert not list(folder.rglob(".*.npy.*"))

    monkeypatch.undo()
    assert organ(cache=str(folder)).load(menu()).fingerprint == organ().load(menu()).fingerprint


KILLED = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from organ_scenario import FakeScan, organ
from scanwise.design import Menu

class Killer(FakeScan):
    seen = 0
    def synthesise(self, scene):
        Killer.seen += 1
        if Killer.seen == 3:
            while not list(Path(sys.argv[1]).rglob(".*")):  # the block before is being written by the other thread
                time.sleep(0.01)
            os.kill(os.getpid(), 9)
        return super().synthesise(scene)

organ(cache=sys.argv[1], workers=1).load(Menu([Killer()]))
"""


def test_after_a_kill_it_starts_anew_and_sweeps_up(folder):
    here = os.path.dirname(__file__)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), here], check=False, capture_output=True)
    assert killed.returncode == -9
    left = list(folder.rglob(".*"))
    assert left
    assert arrays_in(folder) == []

    cohort = organ(cache=str(folder)).load(menu())

    assert cohort.fingerprint == organ().load(menu()).fingerprint
    assert not [path for path in left if path.exists()]


def test_a_writer_at_work_is_not_swept_away(tmp_path):
    with ArrayWriter(tmp_path / "a.npy", (2, 3), np.int16) as one:
        one.append(np.zeros((1, 3), np.int16))
        with ArrayWriter(tmp_path / "b.npy", (1, 3), np.int16) as other:
            other.append(np.ones((1, 3), np.int16))
            other.close()
        one.append(np.ones((1, 3), np.int16))
        array, digest = one.close()

    assert array.tolist() == [[0] * 3, [1] * 3]
    assert read_array(tmp_path / "a.npy")[1] == digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.npy", "b.json", "b.npy"]


def test_a_full_disk_is_a_plain_message_and_leaves_nothing(folder, monkeypatch):
    class Full:
        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, content):
            if memoryview(content).nbytes > 1000:
                raise OSError(28, "No space left on device")
            return self._file.write(content)

    writer = cache_module.ArrayWriter.append

    def append(self, block):
        if not isinstance(self._file, Full):
            self._file = Full(self._file)
        return writer(self, block)

    monkeypatch.setattr(cache_module.ArrayWriter, "append", append)
    with pytest.raises(ScanwiseError, match=r"could not be written.*No space left on device\n.*SCANWISE_CACHE"):
        organ(cache=str(folder)).load(menu())
    assert not list(folder.rglob("*.npy*"))


def test_a_folder_that_cannot_be_made_is_a_plain_message(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ScanwiseError, match="could not be written"):
        organ(cache=str(tmp_path / "file")).load(menu())


def test_a_changing_matrix_is_refused(tmp_path):
    with ArrayWriter(tmp_path / "a.npy", (4, 3), np.int16) as writer:
        writer.append(np.zeros((2, 3), np.int16))
        with pytest.raises(ScanwiseError, match=r"rows of shape \(3,\) and type int16, but has \(4,\)"):
            writer.append(np.zeros((2, 4), np.int16))


def test_too_few_rows_are_no_array(tmp_path):
    with ArrayWriter(tmp_path / "a.npy", (4, 3), np.int16) as writer:
        writer.append(np.zeros((2, 3), np.int16))
        with pytest.raises(ScanwiseError, match="4 rows was closed after 2"):
            writer.close()
    assert read_array(tmp_path / "a.npy") is None


def test_a_swapped_file_is_damage(tmp_path):
    for name, value in (("a", 1), ("b", 2)):
        with ArrayWriter(tmp_path / f"{name}.npy", (2, 3), np.int16) as writer:
            writer.append(np.full((2, 3), value, np.int16))
            writer.close()
    shutil.copy(tmp_path / "b.npy", tmp_path / "a.npy")

    with pytest.raises(DamagedArray, match=r"a\.npy is not what was written"):
        read_array(tmp_path / "a.npy")


def test_memory_does_not_grow_with_the_cohort(folder):
    def peak(n: int) -> int:
        made, of = organ(n=n, cache=str(folder), workers=1), menu(Counted(step=1))
        tracemalloc.start()
        cohort = made.load(of)
        _ = cohort.describe(), cohort.fingerprint
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(60)  # imports and the like
    images = 32 * 48 * 2 * 500  # bytes of 500 patients more
    assert peak(600) - peak(100) < images / 2


def test_a_cohort_of_memory_maps_copies_nothing(folder):
    cohort = organ(cache=str(folder)).load(menu())

    assert isinstance(cohort._data["scan"], np.memmap)
    assert not cohort._data["scan"].flags.writeable
    assert cohort.describe()["missing"][0]["share_done"] == 1.0


def test_where_images_are_kept_makes_no_other_run():
    told = {"name": "a", "cohort": {"n": 5, "cache": "here", "workers": 1}}
    moved = {"name": "a", "cohort": {"n": 5, "cache": "there", "workers": 2}}

    assert run_identity(told) == run_identity(moved)
    assert run_identity(told) != run_identity({"name": "a", "cohort": {"n": 6}})
