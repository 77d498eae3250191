"""One patient so far: what was measured, checked against what was learned from."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.design import Column, ImagingModality, Measurement, Menu, Patients, Protocol
from scanwise.errors import ScanwiseError, did_you_mean

_ORDERS = 10.0
"""A value so many times beyond what was learned from is in another unit, not an extrapolation."""
_IMAGE_KEYS = ("file", "counts")


class PatientSoFar:
    """What is known of one patient; implements `scanwise.design.PatientData` for a cohort of one, without a diagnosis.

    Parameters
    ----------
    menu : what is on offer.
    panels : per panel, what its values are and between which limits they were learned, as in ``about.json``.
    content : ``{panel: {value name: number}, scan: {"file": path of an .npy, "counts": counts}}``. The file holds what
        `scanwise.design.Modality.measure` returns for one patient; counts are usual practice where left out.
    folder : where relative paths start.

    Raises
    ------
    ScanwiseError
        For an unknown name, a value that is no number or in another unit, or a file that does not fit its scan.
    """

    def __init__(
        self,
        menu: Menu,
        panels: Mapping[str, Sequence[Mapping[str, Any]]],
        content: Mapping[str, Any],
        folder: Path = Path(),
    ) -> None:
        self.menu = menu
        self._columns = {
            name: tuple(
                Column(row["name"], row["shot"], row["slot"], tuple(row["levels"]), row["unit"]) for row in rows
            )
            for name, rows in panels.items()
        }
        self._values: dict[str, NDArray[np.float64]] = {}
        self._measured: dict[str, Measurement] = {}
        self.notes: list[str] = []
        """Values outside what was learned from, and tests that are not complete."""
        for name in content:
            menu.columns(name)  # refuses what is not on the menu
        for name, modality in menu.modalities.items():
            told = content.get(name)
            if isinstance(modality, ImagingModality):
                if told is not None:
                    self._measured[name] = _image(modality, told, folder)
                continue
            self._values[name] = self._panel(name, panels.get(name, ()), told or {})
        counts: dict[str, Sequence[int]] = {
            name: (np.sum(~np.isnan(values[0]), axis=1) > 0).astype(int).tolist()
            for name, values in self._values.items()
        }
        counts |= {name: one.counts[0].tolist() for name, one in self._measured.items()}
        self.protocol = Protocol(counts)
        """What was done."""
        if not self.protocol.covers(menu.always):
            raise ScanwiseError(
                f"what is always done must be known: {', '.join(self._missing(menu.always))}",
                "add these values to the patient",
            )

    def _panel(self, name: str, rows: Sequence[Mapping[str, Any]], told: Mapping[str, Any]) -> NDArray[np.float64]:
        if not isinstance(told, Mapping):
            raise ScanwiseError(f"{name!r} must be a table of values, but is {told!r}", f'write "{name}": {{...}}')
        known = {row["name"]: row for row in rows}
        values = np.full(
            (1, len(self.menu.modalities[name].shots), 1 + max((row["slot"] for row in rows), default=0)), np.nan
        )
        for key, value in told.items():
            if key not in known:
                raise ScanwiseError(f"{name!r} has no value {key!r}", did_you_mean(key, known))
            row = known[key]
            if value is None:
                continue
            number, note = checked_number(name, row, value)
            values[0, row["shot"], row["slot"]] = number
            self.notes += [note] if note else []
        return values

    def _missing(self, protocol: Protocol) -> list[str]:
        found = []
        for name, counts in protocol.items():
            mine = self.protocol.array(name, len(counts))
            shots = self.menu.modalities[name].shots.names
            found += [f"{name}.{shots[at]}" for at, wanted in enumerate(counts) if mine[at] < wanted]
        return found

    # ---- what a model asks ------------------------------------------------------------------------------------

    @property
    def label(self) -> NDArray[np.int64]:
        """Nothing: there is no diagnosis yet; shape ``(1,)``."""
        return np.zeros(1, dtype=np.int64)

    @property
    def targets(self) -> Mapping[str, NDArray[np.int64]]:
        """Nothing."""
        return {}

    def data(self, modality: str, patients: Patients) -> NDArray[Any]:
        """Return the values of a panel, shape ``(patients, shots, values)``."""
        return self._values[modality][patients]

    def measured(self, modality: str, counts: NDArray[np.int64]) -> Measurement:
        """Return what was measured with a scan; see `scanwise.design.MeasuredData`."""
        found = self._measured.get(modality)
        if found is None or not np.array_equal(found.counts[0], np.broadcast_to(counts, found.counts.shape)[0]):
            raise ScanwiseError(f"of {modality!r} another acquisition was measured than is asked for")
        return found

    def columns(self, modality: str) -> tuple[Column, ...]:
        """Return what the values of a panel are."""
        return self._columns.get(modality, ())

    def done(self, modality: str) -> NDArray[np.bool_]:
        """Return whether anything of a modality was measured, shape ``(1,)``."""
        return np.array([bool(self.protocol.counts(modality))])

    def lesions(self, patients: Patients) -> NDArray[np.float32] | None:
        """Return nothing."""
        del patients
        return None


def checked_number(panel: str, row: Mapping[str, Any], value: Any) -> tuple[float, str]:
    """Return a value of a test, and what the reader must know of it: where it lies outside what was learned from.

    Parameters
    ----------
    panel : of the test.
    row : what the value is, as in ``about.json``.
    value : what was measured.

    Raises
    ------
    ScanwiseError
        If it is no number, no level of a categorical value, or so far off that it must be in another unit.
    """
    what = f"{panel}.{row['name']}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ScanwiseError(f"{what} must be a number, but is {value!r}", "leave it out where it is not known")
    number, low, high = float(value), row["low"], row["high"]
    if row["levels"]:
        if number not in row["levels"]:
            levels = ", ".join(f"{level:g}" for level in row["levels"])
            raise ScanwiseError(f"{what} must be one of {levels}, but is {number:g}")
        return number, ""
    if low is None or low <= number <= high:
        return number, ""
    unit = f" {row['unit']}" if row["unit"] else ""
    if (high > 0 and number > _ORDERS * high) or (low > 0 and number < low / _ORDERS):
        raise ScanwiseError(
            f"{what} must be between about {low:g} and {high:g}{unit}, but is {number:g}", "is it in another unit?"
        )
    return number, f"{what} = {number:g}{unit} is outside {low:g} to {high:g}{unit}: the model extrapolates"


def read_patient(path: Path, panels: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the content of a patient file: JSON, or a CSV with a header and one row.

    Parameters
    ----------
    path : the file.
    panels : what the columns of a CSV may be called: ``value``, or ``panel.value`` where two panels share a name.

    Raises
    ------
    ScanwiseError
        If the file is not there or cannot be read, has no row or several, or a column is unknown.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ScanwiseError(f"the patient {path.as_posix()!r} cannot be read: {error}") from None
    if path.suffix.lower() == ".csv":
        return _of_csv(path, text, panels)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ScanwiseError(f"{path.as_posix()!r} is no JSON: {error}", "a table needs the ending .csv") from None
    if not isinstance(content, dict):
        raise ScanwiseError(f"{path.as_posix()!r} must hold an object: {{panel: {{value: number}}}}")
    return content


def _of_csv(path: Path, text: str, panels: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
    if len(rows) != 2 or len(rows[0]) != len(rows[1]):
        raise ScanwiseError(
            f"{path.as_posix()!r} must hold a header and one row with as many cells, but has {len(rows)} lines"
        )
    names = {f"{panel}.{row['name']}": (panel, row["name"]) for panel, of in panels.items() for row in of}
    alone = [row["name"] for of in panels.values() for row in of]
    names |= {key.partition(".")[2]: value for key, value in names.items() if alone.count(value[1]) == 1}
    content: dict[str, Any] = {}
    for column, cell in zip((one.strip() for one in rows[0]), (one.strip() for one in rows[1]), strict=True):
        if column not in names:
            raise ScanwiseError(f"no test is called {column!r}", did_you_mean(column, names))
        if not cell:
            continue
        panel, name = names[column]
        try:
            content.setdefault(panel, {})[name] = float(cell)
        except ValueError:
            raise ScanwiseError(f"{column} must be a number, but is {cell!r}", "leave the cell empty") from None
    return content


def _image(modality: ImagingModality, told: Any, folder: Path) -> Measurement:
    """Read what was measured with a scan."""
    if not isinstance(told, Mapping) or "file" not in told:
        raise ScanwiseError(
            f"the scan {modality.name!r} needs a file, but is {told!r}", f'"{modality.name}": {{"file": "scan.npy"}}'
        )
    for key in told:
        if key not in _IMAGE_KEYS:
            raise ScanwiseError(
                f"the scan {modality.name!r} has an unknown key {key!r}", did_you_mean(key, _IMAGE_KEYS)
            )
    counts = np.asarray(told.get("counts", modality.standard), dtype=np.int64)
    modality.check(Protocol({modality.name: counts}))
    path = folder / str(told["file"])
    try:
        data = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ScanwiseError(
            f"the scan {path.as_posix()!r} cannot be read: {error}", "save it with numpy.save"
        ) from None
    shape = modality.measure(modality.example_data(1, 0), counts, np.random.default_rng(0)).data.shape[1:]
    if data.shape != shape:
        raise ScanwiseError(
            f"{path.as_posix()!r} must have the shape {shape} that {modality.name!r} measures in one patient, but has "
            f"{data.shape}",
            "this menu was made for another matrix, or other coils",
        )
    return Measurement(data[None], counts[None])
