"""A protocol for those who acquire it: what to set at the console, sampling masks, sequences, and tables.

`write_export` fills a folder:

========================  ==============================================================================================
``protocol.json``         everything about the protocol, in the schema of `SCHEMA`
``<modality>_mask.npy``   how often each shot is taken, in its natural layout: lines ``(n,)``, phase encodes
                          ``(ny, nz)``, lines of a series ``(frames, lines)``, spokes, b-values or frames ``(n,)``;
                          the centre of k-space is at ``n // 2``; unsigned integers
``<modality>_mask.csv``   one row for each shot that is taken: index, name, what it is (line, angle, b-value ...), count
``<modality>.seq``        Pulseq sequence, where the scan is Cartesian (`scanwise.recommend.pulseq`)
``tables/<card>.csv``     the tables of the report, unrounded; an interval is three columns: ``auc``, ``auc_low``,
                          ``auc_high``
========================  ==============================================================================================

The same run and protocol give the same bytes. Text that a spreadsheet would take for a formula is preceded by ``'``.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.artifacts import GOES_ON, hash_json, json_text, read_json, write_bytes
from scanwise.design import DYNAMIC_LINES, PHASE_ENCODES, VIEWS, Cost, Menu, Modality, Protocol, ShotTable
from scanwise.errors import ScanwiseError
from scanwise.recommend.pulseq import NotPlayableError, Scan, play

SCHEMA_VERSION = 1
"""Of ``protocol.json``."""
PROTOCOL_FILE = "protocol.json"
VIRTUAL = "Virtual cohort: the patients are simulated, nobody was examined. Not for use on patients."

SCHEMA: Mapping[str, str] = {
    "schema_version": "whole number: 1",
    "key": "text: canonical key of the protocol, which `scanwise.design.Protocol.from_key` reads",
    "reading": "text: the protocol in one line",
    "is_proposal": "true or false: what the recommendation says to acquire",
    "is_reference": "true or false: what is acquired today",
    "study.name": "text",
    "study.title": "text",
    "study.question": "text",
    "virtual": "true or false: whether the patients of the study were simulated",
    "warning": "text: what must be known before this is used; empty where there is nothing",
    "recommendation.fingerprint": "text: 12 hexadecimal digits, the version on the protocol card",
    "recommendation.status": "text: change, no change, best affordable or nothing affordable",
    "recommendation.headline": "text",
    "currency": "text: what money is counted in",
    "price_source": "text: where prices come from",
    "cost.<axis>": "number: price of the whole protocol, set-ups included: minutes, money, msv, contrast_ml, visits",
    "setups[].name": "text: a set-up that is paid once, e.g. positioning or a contrast injection",
    "setups[].title": "text",
    "setups[].scanning": "true or false: whether its minutes are scanning",
    "setups[].cost.<axis>": "number",
    "setups[].modalities[]": "text: modalities of the protocol that need it",
    "modalities[].name": "text, as in the menu",
    "modalities[].title": "text",
    "modalities[].reading": "text: what is acquired of it, in a few words",
    "modalities[].cost.<axis>": "number: price of its shots, without set-ups",
    "modalities[].console.<setting>": "number, text or list: what is set at the console; units in the names",
    "modalities[].console_in_words[]": "text: the same for people",
    "modalities[].shots.names[]": "text: name of every shot, also of those that are not taken",
    "modalities[].shots.counts[]": "whole number: how often each shot is taken",
    "modalities[].shots.what.<column>[]": "number, text or list: what each shot is (line, b-value, angle ...)",
    "modalities[].mask.axes[]": "text: axes of the mask",
    "modalities[].mask.size[]": "whole number: its shape",
    "modalities[].mask.shots_taken": "whole number",
    "modalities[].mask.acquisitions": "whole number: averages included",
    "modalities[].mask.files[]": "text: file names",
    "modalities[].sequence.file": "text: file name, or null where there is none",
    "modalities[].sequence.reason": "text: why there is none; empty where there is one",
    "modalities[].sequence.priced_minutes": "number: minutes of its shots and of set-ups that are scanning",
    "modalities[].sequence.minutes": "number: how long the sequence plays, or null",
    "modalities[].sequence.excitations": "whole number: excitations that are followed by an acquisition, or null",
    "modalities[].sequence.preparations": "whole number: excitations that only lead to the steady state, or null",
    "modalities[].sequence.acquisitions": "whole number: readouts, or null",
    "modalities[].sequence.notes[]": "text: what the protocol leaves open and was chosen for the sequence",
    "tables[]": "text: file names of the tables of the report",
}
"""Every key of ``protocol.json``: ``[]`` is a list, ``<...>`` a name that differs from case to case."""

_FORMULA = ("=", "+", "-", "@", "\t", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet may take for the beginning of a formula."""
_UNITS = (
    ("_s_per_mm2", "s/mm²"),
    ("_mmol_per_kg", "mmol/kg"),
    ("_mm", "mm"),
    ("_deg", "°"),
    ("_s", "s"),
    ("_msv", "mSv"),
    ("_ml", "mL"),
)
_FILE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_LONGER_THAN_PRICED = 0.1
"""Share by which sequence and price may differ before it is said."""


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes
    ----------
    directory : the folder.
    content : of ``protocol.json``.
    files : names of all files, relative to the folder.
    """

    directory: Path
    content: Mapping[str, Any]
    files: tuple[str, ...]

    @property
    def left_out(self) -> dict[str, str]:
        """Modalities that have console settings but no sequence, with the reason."""
        return {
            modality["title"]: modality["sequence"]["reason"]
            for modality in self.content["modalities"]
            if modality["console"] and modality["sequence"]["file"] is None
        }

    def __repr__(self) -> str:
        tables = sum(name.startswith("tables/") for name in self.files)
        names = [name for name in self.files if not name.startswith("tables/")]
        lines = [f"Protocol: {self.content['reading']}"]
        lines += [self.content["warning"]] if self.content["warning"] else []
        lines.append(f"In {self.directory.as_posix()}: {', '.join(names)}" + (f", {tables} tables" if tables else ""))
        lines += [f"No sequence of {title}: {reason}" for title, reason in self.left_out.items()]
        return "\n".join(lines)


def write_export(
    directory: Path,
    recommendation: Mapping[str, Any],
    menu: Menu,
    which: str = "proposal",
    *,
    tables: Mapping[str, Any] | None = None,
    fov_mm: Sequence[float] | None = None,
) -> Export:
    """Write a protocol into a folder, whole or not at all.

    Parameters
    ----------
    directory : a new or empty folder, or one that holds this very export.
    recommendation : content of ``recommendation.json``.
    menu : what the protocol was chosen from.
    which : ``"proposal"``, ``"reference"``, or the key of a protocol of the menu.
    tables : tables of the report by card, each with `columns` (`id`, `format`) and `rows` (`role`, `cells`).
    fov_mm : field of view of the images ``(y, x)`` [mm], where it is known.

    Raises
    ------
    ScanwiseError
        If there is no such protocol, the folder holds something else or cannot be written, or a sequence fails its
        check.
    """
    protocol = _protocol(recommendation, menu, which)
    content = _about(recommendation, menu, protocol)
    _refuse_other(directory, content)
    files: dict[str, bytes] = {}
    field = None if fov_mm is None else (float(fov_mm[0]), float(fov_mm[1]))
    for name, modality in menu.modalities.items():
        if protocol.counts(name):
            entry, own = _modality(menu, modality, modality.check(protocol), field, content)
            content["modalities"].append(entry)
            files |= own
    for card, table in (tables or {}).items():
        if not _FILE_NAME.fullmatch(card):
            raise ScanwiseError(f"a table must be named in letters, digits, _ and -, but got {card!r}")
        files[f"tables/{card}.csv"] = table_csv(table)
        content["tables"].append(f"tables/{card}.csv")
    files[PROTOCOL_FILE] = f"{json_text(content)}\n".encode()
    _write(directory, files, stale=[f"{name}.seq" for name in menu.modalities])
    return Export(directory, content, tuple(sorted(files)))


def mask_of(shots: ShotTable, counts: NDArray[np.int64]) -> tuple[tuple[str, ...], NDArray[Any]]:
    """Return the axes of the natural layout of a table, and how often each shot is taken in it.

    Returns
    -------
    axes : ``("line",)``, ``("ky", "kz")``, ``("frame", "line")``, ``("angle",)``, ``("b_value",)``, ``("frame",)`` or
        ``("shot",)``.
    mask : unsigned integers, shape as many as the axes; a place where there is no shot has 0.
    """
    what = shots.what
    flat = counts.astype(np.min_scalar_type(int(counts.max(initial=0))))
    for kind in (PHASE_ENCODES, DYNAMIC_LINES):
        if kind.suits(shots):
            places = tuple(np.asarray(what[column]).astype(np.int64) for column in kind.columns)
            mask = np.zeros([int(place.max()) + 1 for place in places], dtype=flat.dtype)
            mask[places] = flat
            return kind.columns, mask
    if VIEWS.suits(shots):
        return ("angle",), flat
    for column, axis in (("line", "line"), ("b_s_per_mm2", "b_value"), ("time_s", "frame")):
        if column in what:
            return (axis,), flat
    return ("shot",), flat


def shots_csv(shots: ShotTable, counts: NDArray[np.int64]) -> bytes:
    """Return a table of the shots that are taken, as CSV."""
    columns = [_flat(name, np.asarray(values)) for name, values in shots.what.items()]
    header = ["index", "name", *(name for names, _ in columns for name in names), "count"]
    rows = [
        [int(shot), shots.names[shot], *(value for _, values in columns for value in values[shot]), int(counts[shot])]
        for shot in np.flatnonzero(counts)
    ]
    return _csv(header, rows)


def table_csv(table: Any) -> bytes:
    """Return a table of the report as CSV, numbers unrounded."""
    header, spread = ["role"], []
    for column in table.columns:
        is_interval = str(column.format).endswith("_interval")
        spread.append(("value", "low", "high") if is_interval else ())
        header += [column.id, f"{column.id}_low", f"{column.id}_high"] if is_interval else [column.id]
    rows = []
    for row in table.rows:
        cells: list[Any] = [row.role]
        for column, parts in zip(table.columns, spread, strict=True):
            value = row.cells.get(column.id)
            cells += [(value or {}).get(part) for part in parts] if parts else [value]
        rows.append(cells)
    return _csv(header, rows)


def in_words(settings: Mapping[str, Any]) -> list[str]:
    """Return settings of a console for people: ``["repetition time: 4 s", "echo time: 100 ms"]``."""
    lines = []
    for name, value in settings.items():
        label, unit = next(((name.removesuffix(end), unit) for end, unit in _UNITS if name.endswith(end)), (name, ""))
        values = value if isinstance(value, list | tuple) else [value]
        numbers = [one for one in values if isinstance(one, int | float)]
        if unit == "s" and numbers and max(numbers) < 1:
            unit, values = "ms", [1000 * one for one in values]
        glue = " x " if name in ("matrix", "field_of_view_mm") else ", "
        words = glue.join(f"{one:.6g}" if isinstance(one, int | float) else str(one) for one in values)
        space = "" if unit in ("", "°") else " "
        lines.append(f"{label.replace('_', ' ')}: {words or 'none'}{space}{unit}")
    return lines


# ---- what is written ----------------------------------------------------------------------------------------


def _protocol(recommendation: Mapping[str, Any], menu: Menu, which: str) -> Protocol:
    if which == "reference":
        protocol = menu.reference
    elif which == "proposal":
        key = recommendation["decision"]["key"]
        if key is None:
            raise ScanwiseError(
                f"there is no proposal to export: {recommendation['decision']['headline']}",
                "export protocol=reference, or ask again with another budget",
            )
        protocol = Protocol.from_key(key)
    else:
        try:
            protocol = Protocol.from_key(which)
        except ScanwiseError as error:
            raise ScanwiseError(
                f"protocol must be proposal, reference or the key of a protocol, but is {which!r}",
                "keys are in recommendation.json, e.g. protocol='exercise=1x3 fluoroscopy=1'",
            ) from error
    menu.check(protocol)
    if not protocol.modalities:
        raise ScanwiseError("there is nothing to export: the protocol acquires nothing", "choose another protocol")
    return protocol


def _about(recommendation: Mapping[str, Any], menu: Menu, protocol: Protocol) -> dict[str, Any]:
    study, decision = recommendation["study"], recommendation["decision"]
    virtual = bool(study.get("virtual"))
    needs = {name: _setups(menu.modalities[name].shots, np.array(counts)) for name, counts in protocol.items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "key": protocol.key,
        "reading": menu.reading(protocol),
        "is_proposal": protocol.key == decision["key"],
        "is_reference": protocol.key == menu.reference.key,
        "study": {key: str(study.get(key) or "") for key in ("name", "title", "question")},
        "virtual": virtual,
        "warning": VIRTUAL if virtual else "",
        "recommendation": {
            "fingerprint": hash_json(recommendation)[:12],
            "status": str(decision["status"]),
            "headline": str(decision["headline"]),
        },
        "currency": menu.currency,
        "price_source": menu.source,
        "cost": menu.price(protocol).to_dict(),
        "setups": [
            {
                "name": name,
                "title": setup.label,
                "scanning": setup.scanning,
                "cost": setup.cost.to_dict(),
                "modalities": [one for one in menu.modalities if name in needs.get(one, ())],
            }
            for name, setup in menu.setups.items()
            if any(name in needed for needed in needs.values())
        ],
        "modalities": [],
        "tables": [],
    }


def _modality(
    menu: Menu,
    modality: Modality,
    counts: NDArray[np.int64],
    fov_mm: tuple[float, float] | None,
    about: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what ``protocol.json`` says of a modality, and its files."""
    name, shots = modality.name, modality.shots
    console = modality.console(counts.tolist())
    if console and fov_mm is not None:
        console["field_of_view_mm"] = list(fov_mm)
    axes, mask = mask_of(shots, counts)
    cost = Cost.from_array(counts @ shots.unit_costs)
    waits = [menu.setups[setup] for setup in sorted(_setups(shots, counts)) if menu.setups[setup].scanning]
    priced = cost.minutes + sum(setup.cost.minutes for setup in waits)
    buffer = io.BytesIO()
    np.save(buffer, mask, allow_pickle=False)
    files = {f"{name}_mask.npy": buffer.getvalue(), f"{name}_mask.csv": shots_csv(shots, counts)}
    masks = list(files)
    sequence: dict[str, Any] = {"file": None, "reason": "", "priced_minutes": priced, "minutes": None, "notes": []}
    sequence |= dict.fromkeys(("excitations", "preparations", "acquisitions"))
    definitions = {"Fingerprint": about["recommendation"]["fingerprint"], "SimulatedPatients": int(about["virtual"])}
    try:
        played = play(Scan(name, console, shots.what, counts, fov_mm, definitions))
    except NotPlayableError as error:
        sequence["reason"] = f"{error.message} ({error.hint})" if error.hint else error.message
    else:
        told = played.to_dict()
        minutes = told.pop("seconds") / 60.0
        sequence |= {**told, "file": f"{name}.seq", "minutes": minutes}
        if abs(minutes - priced) > _LONGER_THAN_PRICED * priced:
            sequence["notes"].append(
                f"plays {minutes:.2g} min, while {priced:.2g} min are priced: the price is that of the whole scan as "
                "the menu has it, the sequence is the one slice that was simulated"
            )
        files[f"{name}.seq"] = played.text.encode()
    return {
        "name": name,
        "title": modality.title,
        "reading": modality.describe(counts.tolist()),
        "cost": cost.to_dict(),
        "console": console,
        "console_in_words": in_words(console),
        "shots": {
            "names": list(shots.names),
            "counts": counts.tolist(),
            "what": {column: np.asarray(values).tolist() for column, values in shots.what.items()},
        },
        "mask": {
            "axes": list(axes),
            "size": list(mask.shape),
            "shots_taken": int((counts > 0).sum()),
            "acquisitions": int(counts.sum()),
            "files": masks,
        },
        "sequence": sequence,
    }, files


def _setups(shots: ShotTable, counts: NDArray[np.int64]) -> set[str]:
    """Return names of the set-ups that the shots taken need."""
    return {name for shot in np.flatnonzero(counts) for name in shots.setups[shot]}


# ---- CSV ----------------------------------------------------------------------------------------------------


def _flat(name: str, values: NDArray[Any]) -> tuple[list[str], list[list[Any]]]:
    """Return a column of a shot table as columns of scalars: their names, and their values row by row."""
    rows = values.reshape(len(values), -1)
    names = [name] if values.ndim == 1 else [f"{name}_{index}" for index in range(rows.shape[1])]
    return names, rows.tolist()


def _csv(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_cell(one) for one in header])
    writer.writerows([_cell(one) for one in row] for row in rows)
    return buffer.getvalue().encode()


def _cell(value: Any) -> str:
    """Return one cell: numbers in full, nothing where there is none, text that no spreadsheet takes for a formula."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    text = text.replace("\r", " ")  # csv of Python 3.11 does not quote it, and half of all readers end a row there
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


# ---- the folder ---------------------------------------------------------------------------------------------


def _refuse_other(directory: Path, content: Mapping[str, Any]) -> None:
    """Raise a `ScanwiseError` where a folder holds anything but this export."""
    if directory.exists() and not directory.is_dir():
        raise ScanwiseError(f"out must be a folder, but {directory.as_posix()!r} is a file", "give it another name")
    if not directory.is_dir() or not any(directory.iterdir()):
        return
    hint = "choose a new folder with out=..."
    if not (directory / PROTOCOL_FILE).exists():
        raise ScanwiseError(f"the folder {directory.as_posix()!r} holds files that are no export", hint)
    there = read_json(directory / PROTOCOL_FILE)
    mine = (content["key"], content["recommendation"]["fingerprint"])
    told = there.get("recommendation") if isinstance(there, Mapping) else None
    if not isinstance(told, Mapping) or (there.get("key"), told.get("fingerprint")) != mine:
        raise ScanwiseError(f"the folder {directory.as_posix()!r} holds the export of another protocol", hint)


def _write(directory: Path, files: Mapping[str, bytes], *, stale: Iterable[str]) -> None:
    """Write files into a folder that appears at once; into one that is there already each file whole.

    Parameters
    ----------
    stale : files of an earlier export that go unless they are written now.
    """
    if directory.is_dir():
        was_empty = not any(directory.iterdir())
        try:
            for name in stale:
                if name not in files:
                    (directory / name).unlink(missing_ok=True)
            for name, content in files.items():  # what says that all is there comes last
                write_bytes(directory / name, content)
        except BaseException:
            if was_empty:
                for name in files:
                    (directory / name).unlink(missing_ok=True)
            raise
        return
    temporary = directory.parent / f".{directory.name}.{uuid.uuid4().hex}"
    try:
        for name, content in files.items():
            write_bytes(temporary / name, content)
        os.replace(temporary, directory)
    except OSError as error:
        raise ScanwiseError(
            f"the export could not be written to {directory.as_posix()!r}: {error.strerror or error}", GOES_ON
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
