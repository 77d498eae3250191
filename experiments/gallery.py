"""The gallery of sampling schemes: every registered one at a few lengths, with its point-spread function and its price.

    python experiments/gallery.py --out reports/published/patterns/gallery

Writes README.md and one picture per scheme; the same bytes every time. Nothing here knows a scheme by name: what is
registered is shown, on the table of its kind.
"""

from __future__ import annotations

import argparse
import inspect
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanwise.artifacts import write_text
from scanwise.design import (
    ANY_SHOTS,
    B_VALUES,
    DYNAMIC_LINES,
    FRAMES,
    LINES,
    PHASE_ENCODES,
    SPOKES,
    VIEWS,
    Cost,
    Parameter,
    SamplingPattern,
    Scheme,
    ShotKind,
    sampling_pattern,
    schemes,
)

OUT = Path(__file__).resolve().parents[1] / "reports" / "published" / "patterns" / "gallery"
MONEY_PER_MINUTE = 6.5
_AUTHOR = re.compile(r"[A-Z][\w'-]+ [A-Z](?:-?[A-Z]){0,2}[,.]")
FLOOR_DB = -40.0
"""What is below that is white, or at the bottom of a curve."""


@dataclass(frozen=True)
class Example:
    """The table on which the schemes of one kind are shown.

    Parameters
    ----------
    size : number of shots along each axis.
    seconds : time of one shot [s].
    msv : dose of one shot [mSv].
    accelerations, fractions : the lengths that are shown, whichever a scheme has.
    """

    size: tuple[int, ...]
    seconds: float
    msv: float = 0.0
    accelerations: tuple[float, ...] = (2, 4, 8)
    fractions: tuple[float, ...] = (7 / 8, 6 / 8, 5 / 8)


EXAMPLES: dict[ShotKind, Example] = {
    LINES: Example((128,), seconds=1.5),
    PHASE_ENCODES: Example((64, 48), seconds=0.1),
    DYNAMIC_LINES: Example((16, 64), seconds=0.25),
    SPOKES: Example((200,), seconds=0.3),
    VIEWS: Example((315,), seconds=0.1, msv=0.02, accelerations=(3, 5, 9), fractions=(1 / 2, 1 / 3, 1 / 4)),
    FRAMES: Example((20,), seconds=12.0),
    B_VALUES: Example((4,), seconds=18.0),
    ANY_SHOTS: Example((6,), seconds=60.0),
}
TITLES = {
    LINES: "Lines of k-space",
    PHASE_ENCODES: "Phase encodes of a volume",
    DYNAMIC_LINES: "Lines of a dynamic series",
    SPOKES: "Spokes",
    VIEWS: "Views of a tomograph",
    FRAMES: "Frames",
    B_VALUES: "Averages of b-values",
    ANY_SHOTS: "Any shots",
}


# ---- what is shown


def lengths(scheme: Scheme, example: Example) -> list[SamplingPattern]:
    """Return the patterns that are shown: three lengths, other parameters as on the lattice."""
    shots = scheme.kind.plain_table(example.size)
    known = {parameter.name for parameter in scheme.parameters(shots)}
    if "acceleration" in known:
        centre = {"centre": 0.04} if scheme.kind is DYNAMIC_LINES else {}
        return [sampling_pattern(scheme.name, example.size, acceleration=R, **centre) for R in example.accelerations]
    if "fraction" in known:
        return [sampling_pattern(scheme.name, example.size, fraction=part) for part in example.fractions]
    lattice = list(scheme.settings(shots))
    chosen = sorted({0, len(lattice) // 3, 2 * len(lattice) // 3})
    return [sampling_pattern(scheme.name, example.size, **lattice[place]) for place in chosen]


def price(pattern: SamplingPattern, example: Example) -> str:
    """Return what the shots of a pattern cost, without set-ups."""
    shots = pattern.kind.plain_table(
        example.size, seconds=example.seconds, money=example.seconds / 60 * MONEY_PER_MINUTE, msv=example.msv
    )
    return Cost.from_array(pattern.counts @ shots.unit_costs).reading("CA$")


# ---- point-spread functions


def point_spread(pattern: SamplingPattern) -> NDArray[np.float64] | None:
    """Return the magnitude of the image of a point, 1 at its place in the middle; `None` where shots encode no place.

    Lines, phase encodes and dynamic lines: the Fourier transform of the mask, over one field of view (and all temporal
    frequencies). Spokes and views: the sum of ramp-filtered projections, over a field of view for which pi / 2 times as
    many spokes as it has pixels would do.
    """
    if pattern.kind in (LINES, PHASE_ENCODES, DYNAMIC_LINES):
        spread = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(pattern.mask.astype(np.float64)))))
    elif pattern.kind.columns == ("angle_rad",):
        spread = _of_angles(pattern.shots.what["angle_rad"][pattern.counts > 0].astype(np.float64))
    else:
        return None
    return spread / spread.max()


def _of_angles(angle: NDArray[np.float64], pixels: int = 64) -> NDArray[np.float64]:
    """Return the sum of ramp-filtered back projections of a point, shape ``(pixels, pixels)``."""
    place = np.arange(pixels) - pixels // 2
    frequency = np.arange(1, pixels // 2)
    total = np.zeros((pixels, pixels))
    for turn in angle.tolist():
        along = np.cos(turn) * place + np.sin(turn) * place[:, None]
        total += np.cos(2 * np.pi / pixels * np.multiply.outer(along, frequency)) @ frequency
    return np.abs(total)


def side_lobe(spread: NDArray[np.float64]) -> float:
    """Return the largest value outside the main lobe, which is all that can be reached from the peak downhill."""
    peak = tuple(int(at) for at in np.unravel_index(np.argmax(spread), spread.shape))
    steps = [step for step in np.ndindex(*(3,) * spread.ndim) if step != (1,) * spread.ndim]
    lobe, edge = {peak}, [peak]
    while edge:
        at = edge.pop()
        for step in steps:
            to = tuple((a + s - 1) % n for a, s, n in zip(at, step, spread.shape, strict=True))
            if to not in lobe and spread[to] < spread[at]:
                lobe.add(to)
                edge.append(to)
    outside = np.ones(spread.shape, dtype=bool)
    outside[tuple(zip(*lobe, strict=True))] = False
    return float(spread[outside].max(initial=0.0))


# ---- pictures

WIDTH, HEIGHT, MARGIN, HEAD = 210, 170, 16, 34
INK, PALE, LINE = "#1f4e79", "#e6ebf0", "#8a8f98"
SHADES = ("#d9e4ee", "#b3c9dd", "#86a8c6", "#5884ab", "#2f608c", "#123a5e")
"""From `FLOOR_DB` to 0 dB in equal steps."""


def picture(patterns: Sequence[SamplingPattern], spreads: Sequence[NDArray[np.float64] | None]) -> str:
    """Return an SVG: one column per length, the pattern above and its point-spread function below."""
    rows = 1 if spreads[0] is None else 2
    width = MARGIN + len(patterns) * (WIDTH + MARGIN)
    height = HEAD + rows * (HEIGHT + MARGIN) + (MARGIN + 4) * (rows - 1)
    body = []
    for column, (pattern, spread) in enumerate(zip(patterns, spreads, strict=True)):
        x = MARGIN + column * (WIDTH + MARGIN)
        body += [_text(x, 20, _head(pattern)), f'<g transform="translate({x} {HEAD})">', *_pattern(pattern), "</g>"]
        if spread is not None:
            y = HEAD + HEIGHT + MARGIN + MARGIN
            body += [
                _text(x, y - 5, f"side lobe {side_lobe(spread):.3f}"),
                f'<g transform="translate({x} {y + 2})">',
                *_spread(spread),
                "</g>",
            ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="{width}" height="{height}" fill="#fff"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _head(pattern: SamplingPattern) -> str:
    if pattern.kind.max_count > 1:
        return f"{pattern.count} acquisitions"
    return f"{pattern.count} of {len(pattern.counts)} (R = {pattern.acceleration:.3g})"


def _pattern(pattern: SamplingPattern) -> Iterable[str]:
    """Draw what is taken into a box of `WIDTH` x `HEIGHT`."""
    mask = pattern.mask
    if pattern.kind is LINES:
        yield from _cells(mask[:, None], [PALE, INK])
    elif pattern.kind is DYNAMIC_LINES:
        yield from _cells(mask.T, [PALE, INK])
    elif mask.ndim == 2:
        yield from _cells(mask, [PALE, INK])
    elif pattern.kind.columns == ("angle_rad",):
        yield from _rays(pattern)
    else:
        yield from _bars(mask, pattern.kind.max_count)


def _cells(level: NDArray[np.integer], colours: Sequence[str], width: int = WIDTH) -> Iterable[str]:
    """Draw a matrix of small numbers as coloured cells; the first colour is the ground."""
    rows, columns = level.shape
    yield (
        f'<svg x="{(WIDTH - width) // 2}" width="{width}" height="{HEIGHT}" viewBox="0 0 {columns} {rows}" '
        f'preserveAspectRatio="none" '
        f'shape-rendering="crispEdges"><rect width="{columns}" height="{rows}" fill="{colours[0]}"/>'
    )
    for value in range(1, len(colours)):
        path = []
        for row in range(rows):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], level[row] == value, [0]])))
            path += [f"M{start} {row}h{end - start}v1h{start - end}z" for start, end in edges.reshape(-1, 2).tolist()]
        if path:
            yield f'<path fill="{colours[value]}" d="{"".join(path)}"/>'
    yield "</svg>"


def _rays(pattern: SamplingPattern) -> Iterable[str]:
    """Draw spokes as diameters and views as the way from the tube to the centre."""
    x, y, radius = WIDTH / 2, HEIGHT / 2, HEIGHT / 2 - 2
    yield f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{PALE}"/>'
    path = []
    for angle in pattern.shots.what["angle_rad"][pattern.counts > 0].tolist():
        to_x, to_y = radius * math.cos(angle), radius * math.sin(angle)
        start = (x - to_x, y - to_y) if pattern.kind is SPOKES else (x + 0.55 * to_x, y + 0.55 * to_y)
        path.append(f"M{start[0]:.1f} {start[1]:.1f}L{x + to_x:.1f} {y + to_y:.1f}")
    yield f'<path stroke="{INK}" stroke-width=".7" d="{"".join(path)}"/>'


def _bars(counts: NDArray[np.integer], most: int) -> Iterable[str]:
    step = WIDTH / len(counts)
    for shot, count in enumerate(counts.tolist()):
        x, full = shot * step + 1, HEIGHT / 2
        yield f'<rect x="{x:.1f}" y="{full / 2:g}" width="{step - 2:.1f}" height="{full:g}" fill="{PALE}"/>'
        if count:
            high = full * count / most
            top = full * 1.5 - high
            yield f'<rect x="{x:.1f}" y="{top:.1f}" width="{step - 2:.1f}" height="{high:.1f}" fill="{INK}"/>'
        if most > 1:
            yield _text(x + step / 2 - 8, full * 1.5 + 16, str(count))


def _spread(spread: NDArray[np.float64]) -> Iterable[str]:
    """Draw a point-spread function in decibels: a curve over one axis, or shades over two."""
    decibel = np.maximum(20 * np.log10(np.maximum(spread, 1e-9)), FLOOR_DB)
    if spread.ndim == 2:
        level = np.minimum(((decibel / -FLOOR_DB + 1) * len(SHADES)).round(6).astype(int) + 1, len(SHADES))
        level[decibel <= FLOOR_DB] = 0
        dynamic = spread.shape == EXAMPLES[DYNAMIC_LINES].size
        width = HEIGHT if level.shape[0] == level.shape[1] else WIDTH
        yield from _cells(level.T if dynamic else level, ["#fff", *SHADES], width)
        yield (f'<rect x="{(WIDTH - width) // 2}" width="{width}" height="{HEIGHT}" fill="none" stroke="{LINE}"/>')
        return
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="{LINE}"/>'
    for level in (-10, -20, -30):
        y = HEIGHT * level / FLOOR_DB
        yield f'<path d="M0 {y:.1f}H{WIDTH}" stroke="{PALE}"/>{_text(WIDTH - 40, y - 2, f"{level} dB", LINE)}'
    x = (np.arange(len(decibel)) + 0.5) * WIDTH / len(decibel)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, HEIGHT * decibel / FLOOR_DB, strict=True))
    yield f'<polyline fill="none" stroke="{INK}" points="{points}"/>'


def _text(x: float, y: float, words: str, colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}">{words}</text>'


# ---- page


def page(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return README.md and the pictures, ``{file: text}``."""
    registered = schemes()
    text, files = [_HEAD], {}
    for kind, example in EXAMPLES.items():
        of_kind = [name for name in names if registered[name].kind is kind]
        if not of_kind:
            continue
        text.append(f"## {TITLES[kind]}\n\n{_table_words(kind, example)}\n")
        for name in of_kind:
            scheme = registered[name]()
            patterns = lengths(scheme, example)
            spreads = [point_spread(pattern) for pattern in patterns]
            files[f"{name}.svg"] = picture(patterns, spreads)
            text.append(_section(scheme, patterns, spreads, example))
    return "\n".join(text), files


_HEAD = f"""# Sampling schemes

Made by `python experiments/gallery.py`, which runs every registered scheme; do not edit. Pictures: above, what is taken
(k-space from top to bottom, frames from left to right); below, the image of a point from {FLOOR_DB:g} to 0 dB, over one
field of view (of dynamic series: places from top to bottom, temporal frequencies from left to right). The *side lobe*
is the largest value outside the main lobe, relative to the peak: aliasing where it is high and in one place, noise
where it is low and everywhere. It is that of one coil without regularisation: it compares patterns, and says little
about reconstructed images. The price is that of the shots, without set-ups, on the table that is stated for each kind;
scanner time is CA$ {MONEY_PER_MINUTE:.2f} a minute.

A mask for another matrix: `scanwise pattern scheme=poisson_disc_2d 'size=[320,256]' acceleration=4 out=mask.npy`.
"""


def _table_words(kind: ShotKind, example: Example) -> str:
    named = len(example.size) > 1
    size = " x ".join(f"{n} ({axis})" if named else f"{n}" for n, axis in zip(example.size, kind.axes, strict=True))
    needs = " and ".join(f'`what["{column}"]`' for column in kind.columns)
    dose = f", {example.msv:g} mSv" if example.msv else ""
    return (
        f"Shown on a table of {size} {kind.name}, {example.seconds:g} s{dose} each. "
        + (f"Tables need {needs}." if needs else "")
    ).strip()


def _section(
    scheme: Scheme,
    patterns: Sequence[SamplingPattern],
    spreads: Sequence[NDArray[np.float64] | None],
    example: Example,
) -> str:
    words, _, sources = (inspect.getdoc(type(scheme)) or "").partition("\n\nReferences\n----------\n")
    rows = [
        f"| {_setting(pattern)} | {_head(pattern)} | {price(pattern, example)} | "
        f"{'–' if spread is None else format(side_lobe(spread), '.3f')} |"
        for pattern, spread in zip(patterns, spreads, strict=True)
    ]
    parts = [
        f"### `{scheme.name}`",
        words,
        f"![{scheme.name}: {', '.join(map(_head, patterns))}]({scheme.name}.svg)",
        "\n".join(["| setting | taken | price | side lobe |", "| --- | --- | --- | --- |", *rows]),
        f"Parameters: {_parameters(scheme.parameters(patterns[0].shots))}.",
    ]
    if sources:
        parts.append("Source:\n\n" + "\n".join(f"- {entry}" for entry in _entries(sources)))
    return "\n\n".join(parts) + "\n"


def _entries(sources: str) -> list[str]:
    """Return one reference per item: each begins with a name and initials (``"Bridson R."``, ``"Tsao J, ..."``)."""
    begins = [bool(_AUTHOR.match(line)) for line in sources.splitlines()]
    entries: list[str] = []
    for line, first in zip(sources.splitlines(), begins, strict=True):
        entries = [*entries, line] if first else [*entries[:-1], f"{entries[-1]} {line}"]
    return entries


def _setting(pattern: SamplingPattern) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in pattern.setting.items()) or "–"


def _parameters(parameters: Sequence[Parameter]) -> str:
    words = []
    for parameter in parameters:
        kind = "whole number " if parameter.integer else ""
        unit = f" {parameter.unit}" if parameter.unit else ""
        words.append(f"`{parameter.name}` {kind}{parameter.low:g} to {parameter.high:g}{unit}")
    return ", ".join(words) or "none"


def main(arguments: Sequence[str] | None = None) -> dict[str, str]:
    """Write the gallery; return its files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="folder for README.md and the pictures")
    out = parser.parse_args(arguments).out
    text, files = page(sorted(schemes()))
    files = {"README.md": text, **files}
    for name, content in files.items():
        write_text(out / name, content)
    return files


if __name__ == "__main__":
    main()
