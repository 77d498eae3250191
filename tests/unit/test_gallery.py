"""The gallery shows every registered scheme, and says the same each time."""

from __future__ import annotations

import importlib
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from scanwise.design import sampling_pattern, schemes

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
PUBLISHED = EXPERIMENTS.parent / "reports" / "published" / "patterns" / "gallery"


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    return importlib.import_module("gallery")


def test_every_scheme_has_its_section_and_its_picture(gallery, tmp_path):
    files = gallery.main(["--out", str(tmp_path)])
    text = (tmp_path / "README.md").read_text("utf-8")

    assert {path.name for path in tmp_path.iterdir()} == {"README.md", *(f"{name}.svg" for name in schemes())}
    assert sum(len(content) for content in files.values()) < 1_000_000
    for name, cls in schemes().items():
        section = text.partition(f"### `{name}`\n")[2].partition("\n### ")[0]
        assert f"({name}.svg)" in section
        assert "| setting | taken | price | side lobe |" in section
        assert "Parameters: " in section
        for parameter in cls().parameters(cls.kind.plain_table(gallery.EXAMPLES[cls.kind].size)):
            assert f"`{parameter.name}`" in section
        picture = ElementTree.fromstring((tmp_path / f"{name}.svg").read_text("utf-8"))  # noqa: S314
        assert picture.tag == "{http://www.w3.org/2000/svg}svg"


def test_the_published_gallery_is_up_to_date(gallery):
    """Texts agree; side lobes and pictures to rounding, which another processor may do otherwise."""
    text, pictures = gallery.page(sorted(schemes()))
    there = (PUBLISHED / "README.md").read_text("utf-8")

    assert {path.name for path in PUBLISHED.iterdir()} == {"README.md", *pictures}
    words, published = ([line.rpartition("| 0.")[0] or line for line in page.splitlines()] for page in (text, there))
    assert words == published


def test_the_same_bytes_each_time(gallery):
    names = ["poisson_disc_2d", "kt_random", "golden_angle", "equispaced"]

    assert gallery.page(names) == gallery.page(names)


def test_side_lobes_of_known_patterns(gallery):
    """A block of lines has that of a sinc; every fourth line has copies as high as the peak; all lines have none."""
    low = gallery.point_spread(sampling_pattern("low_resolution", 256, acceleration=8))
    comb = gallery.point_spread(sampling_pattern("equispaced", 64, acceleration=4, centre=0))
    full = gallery.point_spread(sampling_pattern("equispaced", 64, acceleration=1))

    assert gallery.side_lobe(low) == pytest.approx(0.217, abs=0.004)
    assert gallery.side_lobe(comb) == pytest.approx(1.0)
    assert gallery.side_lobe(full) == pytest.approx(0.0, abs=1e-9)
    assert np.argmax(full) == 32


def test_many_spokes_make_a_point(gallery):
    spread = gallery.point_spread(sampling_pattern("golden_angle", 233))

    assert spread[32, 32] == 1
    assert gallery.side_lobe(spread) < 0.05
    assert np.delete(spread, 32, axis=0).max() < 0.5


def test_price_is_that_of_the_shots(gallery):
    pattern = sampling_pattern("equispaced", 128, acceleration=4)

    assert gallery.price(pattern, gallery.EXAMPLES[pattern.kind]) == "CA$ 5.20, 0.8 min"  # 32 x 1.5 s at 6.50 a minute


def test_references_are_told_apart(gallery):
    text = "Tsao J, Boesiger P. k-t BLAST and k-t SENSE.\nMagn Reson Med 2003;50:1031.\nBridson R. Fast discs.\n2007."

    assert gallery._entries(text) == [
        "Tsao J, Boesiger P. k-t BLAST and k-t SENSE. Magn Reson Med 2003;50:1031.",
        "Bridson R. Fast discs. 2007.",
    ]
