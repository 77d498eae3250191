"""``scanwise pattern``: one mask for a matrix of one's own; whatever is typed wrong gets an answer."""

from __future__ import annotations

import shlex

import numpy as np
import pytest

from scanwise.design import schemes


def test_a_mask_in_one_command(scanwise_command, tmp_path):
    out = tmp_path / "mask.npy"
    answer = scanwise_command(
        "pattern", "scheme=poisson_disc_2d", "size=[80,63]", "acceleration=4", "seed=1", f"out={out}"
    )

    assert answer.code == 0, answer.err
    assert np.load(out).shape == (80, 63)
    assert np.load(out).sum() == 1260
    assert "1260 of 5040 phase encodes of a volume (80 x 63), R = 4" in answer.out
    assert f"Written to {out} and {out}.json" in answer.out


def test_the_command_it_prints_makes_the_same_mask(scanwise_command, tmp_path):
    out = tmp_path / "m.csv"
    answer = scanwise_command("pattern", "scheme=variable_density", "size=[64]", "count=19", f"out={out}")
    first = out.read_bytes()
    out.unlink()
    words = shlex.split(answer.out.partition("Again: scanwise ")[2])

    assert scanwise_command(*words).code == 0
    assert out.read_bytes() == first
    assert first.count(b"\n") == 19 + 10


def test_without_a_file_nothing_is_written(scanwise_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = scanwise_command("pattern", "scheme=golden_angle", "size=200", "count=34")

    assert answer.code == 0
    assert "34 of 200 spokes" in answer.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [(), ("--help",), ("scheme=equispaced", "-h")])
def test_help_lists_every_scheme(scanwise_command, arguments):
    answer = scanwise_command("pattern", *arguments)

    assert answer.code == 0
    for name, cls in schemes().items():
        assert f"  {name} " in answer.out
        assert f"size=[{','.join(cls.kind.axes)}]" in answer.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("size=64", ("needs scheme=", "--help")),
        ("scheme=equispaced", ("needs size=", "--help")),
        ("scheme=poison size=64", ("no sampling scheme 'poison'", "did you mean 'poisson_disc'")),
        ("scheme=equispaced size=64 count=65", ("count=65", "there are 64")),
        ("scheme=equispaced size=64 acceleration=0.5", ("asks for 128 lines", "only 64")),
        ("scheme=equispaced size=64 acceleration=8 centre=0.3", ("no room for the centre", "to 3.36")),
        ("scheme=equispaced size=64 acceleration=fast", ("acceleration must be a number in [1, 8], but got 'fast'",)),
        ("scheme=equispaced size=64 acceleration=null", ("acceleration must be a number",)),
        ("scheme=equispaced size=64 aceleration=2", ("did you mean 'acceleration'",)),
        ("scheme=equispaced size=large", ("size must be whole numbers", "size=[line]")),
        ("scheme=equispaced size=[64,64]", ("one for each of [line]",)),
        ("scheme=equispaced size=64 size=32", ("'size' is there twice",)),
        ("scheme=equispaced size=64 acceleration=2,4", ("must be one key=value",)),
        ("scheme=equispaced size=64 +seed=2", ("must be one key=value",)),
        ("scheme=equispaced size=64 seed", ("cannot be read as a setting",)),
        ("scheme=equispaced size=64 out=mask.mat", ("ends in .npy or .csv",)),
    ],
)
def test_bad_input_gets_an_answer(scanwise_command, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    answer = scanwise_command("pattern", *arguments.split())

    assert answer.code == 2
    assert answer.err.startswith("scanwise: ")
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(scanwise_command, tmp_path):
    (tmp_path / "file").write_text("in the way")
    answer = scanwise_command("pattern", "scheme=equispaced", "size=64", f"out={tmp_path / 'file' / 'mask.npy'}")

    assert answer.code == 2
    assert "'mask.npy' could not be written" in answer.err
