"""What a report shows of judging patients beyond the short list: parts of today's protocol, groups, and images.

None of it takes part in a choice.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.design import (
    Fold,
    ImagingModality,
    Menu,
    PatientData,
    Patients,
    Protocol,
    Scorer,
    parts_of_today,
    subsets_of_today,
)
from scanwise.evidence import ScoreTable

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MOST_PARTS = 8
"""Parts of a protocol of which all subsets are scored: 2^8 protocols."""
_FEW_LEVELS = 4
"""A covariate with so many values or fewer makes a group of each, one with more is cut at its median."""
_FEW_WORLDS = 12
"""With so many worlds or fewer, each is a group."""
_DOUBT_STREAM = 0x6462
"""Keeps the draw of patients that are made again apart from other draws."""
_WINDOW = (0.5, 99.5)
"""Percentiles of today's image between which grey levels are spread."""
_NO_SURE = 1e-4
"""Probabilities are kept this far from 0 and 1 where their log odds are compared."""
_ZONES = {"gland": "peripheral zone", "transition": "transition zone"}
"""What shows of a region of a virtual gland, where its name does not say so."""
_ABBREVIATED = {"psa": "PSA", "bmi": "BMI", "ef": "EF"}
"""Covariates that are written in capitals."""
_NUMBERS = {
    "lesion_diameter_mm": ("lesion diameter", "mm", 1.0),
    "lesion_adc_mm2_per_s": ("lesion ADC", "10\u207b\u00b3 mm\u00b2/s", 1e3),
    "lesion_t2_s": ("lesion T2", "ms", 1e3),
}
"""Properties of the leading lesion that groups are cut at: ``{name: (title, unit, factor)}``."""


def score_subsets(
    menu: Menu,
    folds: Sequence[Fold],
    scorer: Callable[[int], Scorer],
    like: ScoreTable,
    progress: Callable[[int, int, str], None],
) -> ScoreTable:
    """Return what the networks say of judging patients from every subset of today's protocol that holds anything.

    Parameters
    ----------
    menu : prices and today's protocol.
    folds : how patients were dealt out.
    scorer : returns the fitted model of a fold.
    like : table of the short list; patients, rounds and strata are its.
    progress : told how many folds are done.
    """
    subsets = [protocol for protocol in subsets_of_today(menu, parts_of_today(menu)) if protocol.modalities]
    probability = np.full((like.n_rounds, len(subsets), len(like.label)), np.nan)
    for index, fold in enumerate(folds):
        probability[fold.repeat][:, fold.test] = scorer(index).score(subsets, fold.test)
        progress(index + 1, len(folds), f"parts of today's protocol, fold {index + 1} of {len(folds)}")
    return ScoreTable(tuple(one.key for one in subsets), probability, like.stratum, like.label, like.site)


def groups_of(cohort: Any) -> tuple[list[dict[str, Any]], Bools]:
    """Return the groups of patients that are looked at on their own.

    Covariates cut at their median, or each of their few values; of virtual patients also the world they were drawn
    from, the scanner, and the zone, the size and the tissue of the leading lesion. A group that is about lesions holds
    the positive patients with such a lesion and all negative ones.

    Returns
    -------
    about : ``{"group": what patients differ in, "level": in words, "lesion": whether it is about lesions}`` each.
    members : shape ``(groups, patients)``.
    """
    about: list[dict[str, Any]] = []
    members: list[Bools] = []

    def keep(group: str, level: str, inside: Bools, *, lesion: bool) -> None:
        about.append({"group": group, "level": level, "lesion": lesion})
        members.append(inside)

    for name, values in cohort.covariates.items():
        group = _ABBREVIATED.get(name, name.replace("_", " "))
        named = cohort.words.get(name, {})
        _cut(group, values, "", lambda *found: keep(*found, lesion=False), named)
    truth: Mapping[str, NDArray[Any]] = cohort.truth
    worlds = np.unique(truth["world"]) if "world" in truth else np.zeros(0)
    if 1 < len(worlds) <= _FEW_WORLDS:
        for world in worlds.tolist():
            keep("world", f"world {world}", truth["world"] == world, lesion=False)
    if "field_t" in truth:
        for field in np.unique(truth["field_t"]).tolist():
            keep("field strength", f"{field:g} T", truth["field_t"] == field, lesion=False)
    leading = _leading_lesions(cohort)
    if leading is not None:
        negative = cohort.label == 0

        def of_lesions(group: str, level: str, inside: Bools) -> None:
            keep(group, level, inside | negative, lesion=True)

        for zone in np.unique(truth["lesion_zone"][leading[leading >= 0]]).tolist():
            words = _ZONES.get(zone, zone.replace("_", " "))
            of_lesions("zone of the lesion", f"lesion in the {words}", _of(leading, truth["lesion_zone"]) == zone)
        for name, (title, unit, factor) in _NUMBERS.items():
            if name in truth:
                values = np.where(leading >= 0, truth[name][leading], np.nan) * factor
                _cut(title, values, unit, of_lesions)
    n = len(cohort.label)
    return about, np.stack(members) if members else np.zeros((0, n), dtype=bool)


def score_moved(
    cohort: Any,
    protocols: Sequence[Protocol],
    patients: Patients,
    reader: Callable[[PatientData], Scorer],
    progress: Callable[[int, int, str], None],
) -> Floats:
    """Return what networks say of made-up patients where one number they are made of is another one.

    Parameters
    ----------
    cohort : its `doubts` are moved, each down and up by one standard deviation, the others staying as they are.
    protocols, patients : what is scored, of whom.
    reader : returns the fitted model for other patients.
    progress : told how many numbers were moved.

    Returns
    -------
    Probabilities, shape ``(1 + 2 x doubts, protocols, patients)``: nothing moved, then down and up for every doubt.
    """
    rows, names = np.arange(len(patients)), list(cohort.doubts)
    scored = [reader(cohort.redrawn(patients, {})).score(protocols, rows)]
    for at, name in enumerate(names):
        progress(at, len(names), f"if a number is otherwise: {name}")
        scored += [reader(cohort.redrawn(patients, {name: by})).score(protocols, rows) for by in (-1.0, 1.0)]
    return np.stack(scored)


def as_many_of_both(label: NDArray[np.int64], patients: Patients, n: int, seed: int) -> NDArray[np.int64]:
    """Return `n` of some patients, as many positive as negative ones where there are enough, in their order."""
    rng = np.random.default_rng([seed, _DOUBT_STREAM])
    classes = [rng.permutation(patients[label[patients] == value]) for value in (0, 1)]
    return np.sort(np.concatenate([members[: n // 2] for members in classes]))


def pictures_of(cohort: Any, menu: Menu, like: ScoreTable, seed: int) -> list[dict[str, Any]]:
    """Return what a reader would see of a few patients at today's protocol and at every other one of the short list.

    The patients are those a protocol loses and gains most: the positive one whose probability falls furthest, the
    negative one whose probability rises furthest, the positive one whose rises furthest, and a typical one: the median
    of the positive patients today. Same patient, same noise, same window: that of today's image.

    Parameters
    ----------
    cohort : the patients.
    menu : its imaging modalities.
    like : the short list on judging patients.
    seed : of the measurement noise.

    Returns
    -------
    Per protocol and patient ``{"key", "case", "positive", "today", "proposed": probabilities, "box": where the leading
    lesion lies as shares [x, y, width, height] or None, "images": [{"modality", "channel", "today", "proposed": PNG
    in base64 or None where it is not acquired}]}``. Nothing names the patient.
    """
    imaging = {name: one for name, one in menu.modalities.items() if isinstance(one, ImagingModality)}
    if not imaging:
        return []
    mean = np.nanmean(np.where(like.stratum[:, None] >= 0, like.probability, np.nan)[:, :, like.judged], axis=0)
    judged = np.flatnonzero(like.judged)
    label, sure = like.label[judged], np.clip(mean, _NO_SURE, 1 - _NO_SURE)
    log_odds = np.log(sure / (1 - sure))
    today = like.row(menu.reference.key)
    found = []
    for row, key in enumerate(like.protocols):
        if row == today:
            continue
        change = log_odds[row] - log_odds[today]
        for case, at in _cases(change, log_odds[today], label).items():
            patient = int(judged[at])
            found.append(
                {
                    "key": key,
                    "case": case,
                    "positive": bool(label[at]),
                    "today": float(mean[today, at]),
                    "proposed": float(mean[row, at]),
                    "box": _box(cohort, patient) if label[at] else None,
                    "images": _images(cohort, imaging, menu.reference, Protocol.from_key(key), patient, seed),
                }
            )
    return found


def _cut(
    group: str,
    values: Floats,
    unit: str,
    keep: Callable[[str, str, Bools], None],
    words: Mapping[float, str] = MappingProxyType({}),
) -> None:
    """Hand over the groups that values make; some values have words of their own."""
    known = values[~np.isnan(values)]
    levels = np.unique(known)
    if len(levels) < 2:
        return
    unit = f" {unit}" if unit else ""
    if len(levels) <= _FEW_LEVELS:
        for level in levels.tolist():
            keep(group, words.get(level, f"{group} {level:g}{unit}"), values == level)
        return
    middle = float(f"{np.median(known):.2g}")
    keep(group, f"{group} below {middle:g}{unit}", values < middle)
    keep(group, f"{group} {middle:g}{unit} or more", values >= middle)


def _leading_lesions(cohort: Any) -> NDArray[np.int64] | None:
    """Return the row of the lesion that makes a patient positive, the highest grade first, then the largest; or -1."""
    truth = cohort.truth
    if not {"lesion_patient", "lesion_grade", "lesion_diameter_mm", "lesion_zone"} <= set(truth):
        return None
    order = np.lexsort((truth["lesion_diameter_mm"], truth["lesion_grade"]))
    leading = np.full(len(cohort.label), -1)
    leading[truth["lesion_patient"][order]] = order  # the last one written is the leading one
    leading[cohort.label == 0] = -1
    return leading


def _of(rows: NDArray[np.int64], values: NDArray[Any]) -> NDArray[Any]:
    """Return the value of each patient's lesion; an empty text where there is none."""
    return np.where(rows >= 0, values[rows], "")


def _cases(change: Floats, today: Floats, label: NDArray[np.int64]) -> dict[str, int]:
    """Return which patients are shown, by what happens to them; nobody twice."""
    positive, negative = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    ranked = positive[np.argsort(change[positive], kind="stable")]
    alarmed = int(negative[np.argmax(change[negative])])
    middle = int(positive[np.argsort(today[positive], kind="stable")][len(positive) // 2])
    shown: dict[int, str] = {}
    for case, at in (("lost", int(ranked[0])), ("alarmed", alarmed), ("gained", int(ranked[-1])), ("typical", middle)):
        shown.setdefault(at, case)
    return {case: at for at, case in shown.items()}


def _box(cohort: Any, patient: int) -> list[float] | None:
    """Return where the disease was drawn, as shares of the image."""
    drawn = cohort.lesions([patient])
    if drawn is None or not (drawn[0, 0] > 0).any():
        return None
    mask = drawn[0, 0] > 0
    sides = []
    for axis in (1, 0):
        inside = np.flatnonzero(mask.any(axis=1 - axis))
        sides.append((inside[0] / mask.shape[axis], (inside[-1] + 1 - inside[0]) / mask.shape[axis]))
    (x, width), (y, height) = sides
    return [float(value) for value in (x, y, width, height)]


def _images(
    cohort: Any,
    imaging: Mapping[str, ImagingModality],
    today: Protocol,
    proposed: Protocol,
    patient: int,
    seed: int,
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, modality in imaging.items():
        seen = {
            which: _seen(cohort, modality, protocol.counts(name), patient, seed)
            for which, protocol in (("today", today), ("proposed", proposed))
        }
        if all(images is None for images in seen.values()):
            continue
        for channel in modality.shown_channels:
            ours = {which: None if images is None else images[channel] for which, images in seen.items()}
            ours = {which: image if image is not None and np.ptp(image) > 0 else None for which, image in ours.items()}
            yardstick = next((image for image in ours.values() if image is not None), None)
            if yardstick is None:
                continue
            low, high = np.percentile(yardstick, _WINDOW)
            rows.append(
                {
                    "modality": name,
                    "channel": modality.channels[channel],
                    **{which: None if image is None else _png(image, low, high) for which, image in ours.items()},
                }
            )
    return rows


def _seen(
    cohort: Any, modality: ImagingModality, counts: Sequence[int], patient: int, seed: int
) -> NDArray[np.float32] | None:
    """Return the images of one patient, shape ``(channels, y, x)``; `None` where nothing is acquired."""
    if not any(counts) or not cohort.done(modality.name)[patient]:
        return None
    rng = np.random.default_rng([seed, patient])
    measurement = modality.measure(cohort.data(modality.name, [patient]), np.asarray([counts], dtype=np.int64), rng)
    return modality.reconstruct(measurement)[0]


def _png(image: NDArray[np.floating[Any]], low: float, high: float) -> str:
    """Return an image as a grey PNG in base64, 8 bit, `low` black and `high` white."""
    grey = np.clip((image - low) / max(high - low, 1e-12) * 255 + 0.5, 0, 255).astype(np.uint8)
    lines = np.pad(grey, ((0, 0), (1, 0))).tobytes()  # a filter byte of 0 before each line

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 8, 0, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
    return base64.b64encode(file).decode("ascii")
