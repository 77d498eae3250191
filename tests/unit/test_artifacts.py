from __future__ import annotations

import errno
import json
import math
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from scanwise.artifacts import (
    hash_json,
    json_text,
    read_arrays,
    read_json,
    sha256_file,
    write_arrays,
    write_bytes,
    write_json,
    write_text,
)
from scanwise.errors import ScanwiseError

WRITERS = {
    "text": lambda path: write_text(path, "new"),
    "json": lambda path: write_json(path, {"new": 1}),
    "arrays": lambda path: write_arrays(path, new=np.zeros(3)),
}


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# ---- whole or not at all


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_leaves_everything_as_it_was(tmp_path, monkeypatch, writer, call):
    path = tmp_path / "result.json"
    path.write_text("old")
    monkeypatch.setattr(os, call, full_disk)
    with pytest.raises(
        ScanwiseError, match=r"'result\.json' could not be written to .*: No space left on device"
    ) as caught:
        WRITERS[writer](path)
    assert "free space" in caught.value.hint
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"


def test_an_interrupt_leaves_everything_as_it_was(tmp_path, monkeypatch):
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "result.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_synced_before_the_name_changes(tmp_path, monkeypatch):
    calls = []
    really_fsync, really_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), really_fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), really_replace(a, b)))
    write_text(tmp_path / "result.txt", "new")
    assert calls == ["fsync", "replace"]


def test_a_folder_in_the_way_is_a_plain_message(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ScanwiseError, match=r"'result\.txt' could not be written"):
        write_text(tmp_path / "file" / "result.txt", "new")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ScanwiseError, match="'folder' could not be written"):
        write_text(tmp_path / "folder", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_folders_are_made_and_old_content_is_replaced(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    write_bytes(path, b"long old content")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_colleagues_may_read_what_any_new_file_lets_them_read(tmp_path):
    (tmp_path / "plain").touch()
    write_text(tmp_path / "written", "new")
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "written")}
    assert modes["written"] == modes["plain"]


# ---- JSON


def test_json_goes_there_and_back(tmp_path):
    path = tmp_path / "a.json"
    value = {"b": [1, 2.5, None, True], "a": {"text": "naïve – 5 µm"}}
    write_json(path, value)
    assert read_json(path) == value
    assert path.read_text("utf-8").endswith("}\n")
    assert "µm" in path.read_text("utf-8")


def test_what_is_not_a_number_is_null(tmp_path):
    write_json(tmp_path / "a.json", {"a": math.nan, "b": [math.inf, -math.inf], "c": np.array([1.0, np.nan])})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": [None, None], "c": [1.0, None]}


def test_numpy_paths_and_tuples_become_plain():
    value = {
        "scalar": np.float64(0.1),
        "count": np.int64(3),
        "truth": np.bool_(True),
        "zero_d": np.array(2.0),
        "matrix": np.array([[1, 2], [3, 4], [5, 6]]),
        "tuple": (1, np.float32(0.5)),
        "path": Path("a") / "b",
        3: "number as key",
    }
    assert json.loads(json_text(value)) == {
        "scalar": 0.1,
        "count": 3,
        "truth": True,
        "zero_d": 2.0,
        "matrix": [[1, 2], [3, 4], [5, 6]],
        "tuple": [1, 0.5],
        "path": "a/b",
        "3": "number as key",
    }


def test_json_text_is_deterministic():
    a, b = {"x": 1, "y": {"p": 2, "q": 3}}, {"y": {"q": 3, "p": 2}, "x": 1}
    assert json_text(a) == json_text(b) == '{\n  "x": 1,\n  "y": {\n    "p": 2,\n    "q": 3\n  }\n}'
    assert hash_json(a) == hash_json(b)
    assert hash_json(a) != hash_json({**a, "x": 1.5})


def test_something_that_is_no_data_is_refused(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "a.json", {"a": object()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b'{"a": \xff\xfe}', b"\x00" * 20])
def test_damaged_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ScanwiseError, match=r"a\.json' is not readable JSON") as caught:
        read_json(tmp_path / "a.json")
    assert "run its stage again" in caught.value.hint


@pytest.mark.parametrize("read", [read_json, read_arrays])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(ScanwiseError, match=r"no file 'gone\.x'") as caught:
        read(tmp_path / "gone.x")
    assert "run the stage that writes it first" in caught.value.hint


# ---- arrays


def test_arrays_go_there_and_back(tmp_path):
    arrays = {
        "scores": np.arange(24.0).reshape(2, 3, 4),
        "missing": np.array([1.0, np.nan]),
        "site": np.array(["north", "söuth"]),
        "label": np.array([0, 1, 1], dtype=np.int64),
        "empty": np.zeros((0, 5)),
    }
    write_arrays(tmp_path / "a.npz", **arrays)
    back = read_arrays(tmp_path / "a.npz")
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize(
    "array",
    [np.array([{"a": 1}, None], dtype=object), np.zeros(2, dtype=[("number", float), ("anything", object)])],
    ids=["objects", "objects inside a structure"],
)
def test_python_objects_are_not_stored(tmp_path, array):
    with pytest.raises(ScanwiseError, match="array 'bad' holds Python objects"):
        write_arrays(tmp_path / "a.npz", good=np.zeros(2), bad=array)
    assert list(tmp_path.iterdir()) == []


def test_python_objects_are_not_read(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.savez(file, bad=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ScanwiseError, match="damaged"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_a_torn_archive_is_named(tmp_path, keep):
    path = tmp_path / "a.npz"
    write_arrays(path, scores=np.random.default_rng(0).normal(size=(20, 30)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ScanwiseError, match=r"a\.npz' is damaged") as caught:
        read_arrays(path)
    assert "run its stage again" in caught.value.hint


def test_flipped_bits_are_found(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, scores=np.random.default_rng(0).normal(size=(20, 30)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ScanwiseError, match="damaged"):
        read_arrays(path)


def test_another_array_file_is_not_taken_for_an_archive(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ScanwiseError, match="damaged"):
        read_arrays(tmp_path / "a.npz")


def test_the_hash_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
