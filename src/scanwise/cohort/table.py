"""A cohort from delimited text files, told entirely by a YAML: columns to tests, labels, sites, missing markers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.artifacts import sha256_file
from scanwise.cohort.offer import on_menu
from scanwise.cohort.sheet import Sheet, complain, read_sheet
from scanwise.cohort.study import CLASSES, About, Cohort
from scanwise.design import Column, Menu
from scanwise.errors import ScanwiseError, did_you_mean

Layout = Mapping[str, Mapping[str, Sequence[str] | str]]
"""``{modality: {shot: column, or list of columns and globs}}``."""

_FILE_KEYS = ("path", "site", "label")
_POSITIVE_KEYS = ("above", "equals")


@dataclass(frozen=True)
class ColumnRule:
    """What the cells of one column may hold; anything else is an error, never silently taken."""

    levels: tuple[float, ...] = ()
    """Codes of a categorical value; empty for a number."""
    absent: tuple[float, ...] = ()
    """Codes that mean "not measured"."""
    low: float = -np.inf
    high: float = np.inf
    """Smallest and largest value that is possible at all."""
    unit: str = ""
    words: tuple[str, ...] = ()
    """What levels are called where reports group patients by them, in their order."""

    @classmethod
    def from_mapping(cls, column: str, rule: Mapping[str, Any] | None) -> ColumnRule:
        """Build from plain data; an unknown key is an error with a suggestion."""
        known = [entry.name for entry in fields(cls)]
        for key in rule or {}:
            if key not in known:
                raise ScanwiseError(
                    f"the rule of column {column!r} has an unknown key {key!r}", did_you_mean(key, known)
                )
        told = {key: value for key, value in (rule or {}).items() if value is not None}
        for key in ("levels", "absent"):
            if key in told:
                told[key] = tuple(_plain_number(f"{key} of column {column!r}", code) for code in told[key])
        for key in ("low", "high"):
            if key in told:
                told[key] = _plain_number(f"{key} of column {column!r}", told[key])
        if "words" in told:
            told["words"] = tuple(str(word) for word in told["words"])
            if len(told["words"]) != len(told.get("levels", ())):
                raise ScanwiseError(
                    f"column {column!r} needs one word per level, but has {len(told['words'])} words for "
                    f"{len(told.get('levels', ()))} levels",
                    "write words: [...] in the order of levels: [...]",
                )
        return cls(**told)

    def broken_by(self, value: float) -> str:
        """Return what is wrong with a value, or nothing."""
        if self.levels and value not in self.levels:
            return f"{value:g} is not one of the levels {', '.join(f'{level:g}' for level in self.levels)}"
        if not self.low <= value <= self.high:
            return f"{value:g} is outside [{self.low:g}, {self.high:g}]"
        return ""


@dataclass(frozen=True, kw_only=True)
class TableCohort:
    """How to read a cohort from tables; `load` does it.

    Parameters
    ----------
    name : short name of the cohort.
    root : the data folder.
    files : ``{path, site, label}`` each; `path` is relative to `root`; `site` and `label` hold for all its rows.
    modalities : ``{modality: {shot: column, or list of columns and globs}}``.
    feature_sets, features : several such layouts by name, and which one is used; instead of `modalities`.
    label : ``{column, positive: {above: x}}`` or ``{column, positive: {equals: [...]}}``; all others are negative,
        or with ``negative: {equals: [...]}`` those listed, and the rest are errors; `None` = by file.
    header : whether the first line holds the column names.
    names : the column names where there is no header line.
    delimiter : one character, or ``"auto"`` for comma, semicolon or tab.
    missing : cells that mean "not measured", compared exactly.
    text_as_missing : broken cells (``"#DIV/0!"``) that are read as not measured; they are counted in the data card.
    site : column of the site; `None` = by file.
    patient : column of the patient identifier; `None` = every row is a patient.
    sites : the sites to use; `None` = all.
    columns : ``{column: {levels, words, absent, low, high, unit}}``, what cells may hold.
    exclude : globs of columns that no glob of the layout may take.
    covariates : columns that describe the patient and are no test (they may be tests as well).
    about : texts of the data card, see `About`.

    Raises
    ------
    ScanwiseError
        For an unknown key, a layout or label that is told twice or not at all.
    """

    name: str
    root: str
    files: Sequence[Mapping[str, Any]]
    modalities: Layout | None = None
    feature_sets: Mapping[str, Layout] | None = None
    features: str | None = None
    label: Mapping[str, Any] | None = None
    header: bool = True
    names: Sequence[str] = ()
    delimiter: str = "auto"
    missing: Sequence[str] = ("",)
    text_as_missing: Sequence[str] = ()
    site: str | None = None
    patient: str | None = None
    sites: Sequence[str] | None = None
    columns: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    exclude: Sequence[str] = ()
    covariates: Sequence[str] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.files:
            raise ScanwiseError(f"cohort {self.name!r} must name at least one file")
        for entry in self.files:
            for key in entry:
                if key not in _FILE_KEYS:
                    raise ScanwiseError(
                        f"a file of cohort {self.name!r} has an unknown key {key!r}", did_you_mean(key, _FILE_KEYS)
                    )
            if not entry.get("path"):
                raise ScanwiseError(f"every file of cohort {self.name!r} needs a path, but one has none")
            if ("label" in entry) == (self.label is not None) or entry.get("label", 0) not in CLASSES:
                raise ScanwiseError(
                    f"a label must be told once, by file (0 or 1) or by column, but {entry['path']!r} has "
                    f"label={entry.get('label')!r} and the cohort label={self.label!r}"
                )
            if "site" in entry and self.site is not None:
                raise ScanwiseError(
                    f"{entry['path']!r} has site={entry['site']!r} although column {self.site!r} tells the site"
                )
        if self.header == bool(self.names):
            raise ScanwiseError(
                "column names must be told once, by `header: true` or by `names`, but got "
                f"header={self.header} and {len(self.names)} names"
            )
        for marker in (*self.missing, *self.text_as_missing):
            if not isinstance(marker, str):
                raise ScanwiseError(f"a missing marker must be text, but got {marker!r}", "put it in quotes")
        _ = self.layout, self._rules, About.from_mapping(self.about)
        if self.label is not None:
            _LabelRule.from_mapping(self.label)

    @property
    def layout(self) -> Layout:
        """The layout that is used: `modalities`, or the chosen one of the feature sets."""
        if (self.modalities is None) == (self.feature_sets is None):
            raise ScanwiseError(f"cohort {self.name!r} must have either `modalities` or `feature_sets`")
        if self.modalities is not None:
            return self.modalities
        sets = self.feature_sets or {}
        if self.features is None or self.features not in sets:
            raise ScanwiseError(
                f"`features` must name a feature set, but got {self.features!r}", did_you_mean(str(self.features), sets)
            )
        return sets[self.features]

    @property
    def _rules(self) -> dict[str, ColumnRule]:
        return {column: ColumnRule.from_mapping(column, rule) for column, rule in self.columns.items()}

    def load(self, menu: Menu | None = None) -> Cohort:
        """Read the files.

        Parameters
        ----------
        menu : keep what it offers, shots in its order; everything it offers must be there.

        Raises
        ------
        ScanwiseError
            If a folder, file, column, site, modality or shot is missing; if cells are not what was declared (all are
            collected, by file, line and column); if a patient appears twice; if a site is empty.
        """
        files = self._chosen_files()
        sheets = [
            read_sheet(Path(self.root), entry["path"], names=self.names, delimiter=self.delimiter) for entry in files
        ]
        for sheet in sheets:
            if not sheet.rows:
                raise ScanwiseError(
                    f"{sheet.path!r} has no rows: its site is empty", "complete the file or leave the site out"
                )
            self._check_names(sheet)
        taken = _resolve(self.layout, sheets[0].names, self.exclude)
        left_out: list[str] = []
        if menu is not None:
            chosen, left_out = on_menu({name: tuple(shots) for name, shots in taken.items()}, menu)
            taken = {name: {shot: taken[name][shot] for shot in shots} for name, shots in chosen.items()}
        self._check_taken(taken, sheets)

        book = _Book(self, files, sheets)
        cells = book.numbers(
            [*self.covariates, *(name for shots in taken.values() for row in shots.values() for name in row)]
        )
        label = book.labels()
        complain(
            "every cell must hold what the cohort declares",
            book.problems,
            "mend the cells, or declare them under `missing`, `text_as_missing` or `columns` of the cohort",
        )
        patient = book.patients()

        data, columns = {}, {}
        for modality, shots in taken.items():
            data[modality], columns[modality] = _panel(shots, cells, self._rules)
            for shot, name in enumerate(shots):
                if menu is not None and np.isnan(data[modality][:, shot]).all():
                    raise ScanwiseError(
                        f"the menu offers {modality}.{name}, but no patient of cohort {self.name!r} has it",
                        "take it off the menu, or add a site where it was done",
                    )
        about = About.from_mapping(self.about)
        off_menu = [f"Not on the menu and therefore left out: {', '.join(left_out)}."] if left_out else []
        return Cohort(
            self.name,
            label=label,
            site=book.sites,
            data=data,
            columns=columns,
            shots={modality: tuple(shots) for modality, shots in taken.items()},
            titles={} if menu is None else {name: modality.title for name, modality in menu.modalities.items()},
            covariates={name: cells[name] for name in self.covariates},
            words={
                name: dict(zip(rule.levels, rule.words, strict=True))
                for name, rule in self._rules.items()
                if name in self.covariates and rule.words
            },
            patient=patient,
            about=replace(about, notes=(*about.notes, *book.notes(), *off_menu)),
            files={sheet.path: sha256_file(Path(self.root) / sheet.path) for sheet in sheets},
        )

    def _chosen_files(self) -> list[Mapping[str, Any]]:
        if self.sites is None or self.site is not None:
            return list(self.files)
        offered = {str(entry.get("site", self.name)) for entry in self.files}
        _check_sites(self.sites, offered, self.name)
        return [entry for entry in self.files if str(entry.get("site", self.name)) in self.sites]

    def _check_names(self, sheet: Sheet) -> None:
        told = [self.site, self.patient, (self.label or {}).get("column"), *self.covariates, *self.columns]
        _check_present([name for name in told if name is not None], sheet)

    def _check_taken(self, taken: Mapping[str, Mapping[str, Sequence[str]]], sheets: Sequence[Sheet]) -> None:
        owner: dict[str, str] = {}
        secret = {self.site: "the site", self.patient: "the patient", (self.label or {}).get("column"): "the label"}
        for modality, shots in taken.items():
            for shot, names in shots.items():
                for name in names:
                    if name in secret:
                        raise ScanwiseError(
                            f"column {name!r} is {secret[name]} and must not be a test, but {modality}.{shot} takes it",
                            "name the columns more narrowly, or put it under `exclude`",
                        )
                    if name in owner:
                        raise ScanwiseError(
                            f"every column must belong to one shot, but {name!r} belongs to {owner[name]} and to "
                            f"{modality}.{shot}",
                            "name the columns more narrowly, or put it under `exclude`",
                        )
                    owner[name] = f"{modality}.{shot}"
        for sheet in sheets[1:]:
            _check_present(owner, sheet)


class _Book:
    """The chosen rows of all files, read column by column; collects what is wrong instead of stopping at the first."""

    def __init__(self, config: TableCohort, files: Sequence[Mapping[str, Any]], sheets: Sequence[Sheet]) -> None:
        self.problems: list[str] = []
        self._config = config
        self._markers = {**dict.fromkeys(config.missing, False), **dict.fromkeys(config.text_as_missing, True)}
        self._rules = config._rules
        self._broken: Counter[str] = Counter()
        self._absent: Counter[str] = Counter()
        self._rows: list[tuple[Sheet, int, tuple[str, ...]]] = []
        self._file_label: list[int] = []
        sites: list[str] = []
        for entry, sheet in zip(files, sheets, strict=True):
            for line, cells in sheet.rows:
                site = (
                    str(entry.get("site", config.name))
                    if config.site is None
                    else cells[sheet.names.index(config.site)]
                )
                if site in self._markers and config.site is not None:
                    self._note(sheet, line, config.site, "the site is missing")
                sites.append(site)
                self._rows.append((sheet, line, cells))
                self._file_label.append(entry.get("label", -1))
        if config.sites is not None and config.site is not None:
            _check_sites(config.sites, set(sites), config.name)
            kept = [row for row, site in enumerate(sites) if site in config.sites]
            self._rows = [self._rows[row] for row in kept]
            self._file_label = [self._file_label[row] for row in kept]
            sites = [sites[row] for row in kept]
        self.sites = sites

    def numbers(self, names: Iterable[str]) -> dict[str, NDArray[np.float64]]:
        """Return the values of each column, shape ``(patients,)``, NaN where not measured."""
        values = {name: np.full(len(self._rows), np.nan) for name in names}
        for row, (sheet, line, cells) in enumerate(self._rows):
            where = {name: index for index, name in enumerate(sheet.names)}
            for name, column in values.items():
                column[row] = self._number(sheet, line, name, cells[where[name]])
        return values

    def labels(self) -> list[int]:
        """Return the diagnosis of every row."""
        if self._config.label is None:
            return self._file_label
        name, rule = self._config.label["column"], _LabelRule.from_mapping(self._config.label)
        labels = []
        for sheet, line, cells in self._rows:
            cell = cells[sheet.names.index(name)]
            value = cell if rule.is_text or cell in self._markers else self._number(sheet, line, name, cell)
            if cell in self._markers or _to_number(cell) in self._rules.get(name, ColumnRule()).absent:
                self._note(sheet, line, name, "the label is missing")
            elif value == value and rule.classify(value) is None:  # a NaN has been noted already
                self._note(sheet, line, name, f"{cell!r} is neither positive nor negative")
            labels.append(rule.classify(value) or 0)
        return labels

    def patients(self) -> list[str] | None:
        """Return the identifiers, for the check that nobody appears twice; `None` without such a column."""
        name = self._config.patient
        if name is None:
            return None
        first: dict[str, str] = {}
        identifiers, problems = [], []
        for sheet, line, cells in self._rows:
            identifier = cells[sheet.names.index(name)]
            here = f"{sheet.path} line {line}"
            if identifier in self._markers or not identifier:
                problems.append(f"{here}, column {name!r}: the patient identifier is missing")
            elif identifier in first:
                problems.append(f"{here}: the same patient as in {first[identifier]}")
            first.setdefault(identifier, here)
            identifiers.append(identifier)
        complain(
            "every patient must have one row", problems, "keep one row each: two could land in learning and in judging"
        )
        return identifiers

    def notes(self) -> list[str]:
        """Return what was coerced, and rows that look like one patient twice, as sentences for the data card."""
        notes = [f"Cells of {name!r} with a code for 'not measured': {count}." for name, count in self._absent.items()]
        if self._broken:
            cells = ", ".join(f"{count} x {marker!r}" for marker, count in sorted(self._broken.items()))
            notes.append(f"Broken cells were read as not measured: {cells}.")
        if self._config.patient is None:
            first: dict[tuple[str, ...], str] = {}
            for sheet, line, row in self._rows:
                here = f"{sheet.path} line {line}"
                if row in first:
                    notes.append(f"{here} equals {first[row]} in every cell: perhaps one patient twice; both are kept.")
                first.setdefault(row, here)
        return notes

    def _number(self, sheet: Sheet, line: int, name: str, cell: str) -> float:
        if cell in self._markers:
            self._broken.update([cell] if self._markers[cell] else [])
            return np.nan
        value, rule = _to_number(cell), self._rules.get(name, ColumnRule())
        if value in rule.absent:
            self._absent.update([name])
            return np.nan
        wrong = rule.broken_by(value) if np.isfinite(value) else f"{cell!r} is not a finite number"
        if wrong:
            self._note(sheet, line, name, wrong)
            return np.nan
        return value

    def _note(self, sheet: Sheet, line: int, name: str, wrong: str) -> None:
        self.problems.append(f"{sheet.path} line {line}, column {name!r}: {wrong}")


@dataclass(frozen=True)
class _LabelRule:
    """Which values of the label column are positive, and which are negative (empty = all others)."""

    above: float | None = None
    equals: tuple[Any, ...] = ()
    negative: tuple[Any, ...] = ()

    @classmethod
    def from_mapping(cls, label: Mapping[str, Any]) -> _LabelRule:
        positive, negative = label.get("positive"), label.get("negative", {"equals": []})
        if (
            not {"column", "positive"} <= set(label) <= {"column", "positive", "negative"}
            or not isinstance(positive, Mapping)
            or not isinstance(negative, Mapping)
            or len(positive) != 1
            or list(negative) != ["equals"]
        ):
            raise ScanwiseError(
                f"a label rule must name a column and what is positive, but got {dict(label)!r}",
                "write {column: name, positive: {above: 0}} or {column: name, positive: {equals: [1]}}; "
                "negative: {equals: [...]} makes every other value an error",
            )
        key, value = next(iter(positive.items()))
        if key not in _POSITIVE_KEYS:
            raise ScanwiseError(f"`positive` has an unknown rule {key!r}", did_you_mean(key, _POSITIVE_KEYS))
        for what, listed in (("positive", value if key == "equals" else ()), ("negative", negative["equals"])):
            if isinstance(listed, str) or not isinstance(listed, Sequence):
                raise ScanwiseError(f"{what}.equals of the label must be a list of values, but got {listed!r}")
        if key == "above":
            above = _plain_number("positive.above of the label", value)
            return cls(above=above, negative=tuple(negative["equals"]))
        return cls(equals=tuple(value), negative=tuple(negative["equals"]))

    @property
    def is_text(self) -> bool:
        return any(isinstance(value, str) for value in self.equals)

    def classify(self, value: float | str) -> int | None:
        if value in self.equals or (self.above is not None and not isinstance(value, str) and value > self.above):
            return 1
        return 0 if not self.negative or value in self.negative else None


def _to_number(cell: str) -> float:
    try:
        return float(cell) if "_" not in cell else np.nan  # Python alone reads "1_0" as 10
    except ValueError:
        return np.nan


def _plain_number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ScanwiseError(f"{what} must be a number, but got {value!r}", "mend the cohort configuration")
    return float(value)


def _resolve(layout: Layout, names: Sequence[str], exclude: Sequence[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Replace globs by the columns they take, in the order of the file."""
    taken: dict[str, dict[str, tuple[str, ...]]] = {}
    for modality, shots in layout.items():
        taken[modality] = {}
        for shot, patterns in shots.items():
            found: dict[str, None] = {}
            for pattern in [patterns] if isinstance(patterns, str) else patterns:
                if pattern in names:
                    matches = [pattern]
                else:
                    matches = [
                        name
                        for name in names
                        if fnmatchcase(name, pattern) and not any(fnmatchcase(name, glob) for glob in exclude)
                    ]
                if not matches:
                    raise ScanwiseError(
                        f"{modality}.{shot} must be columns of the table, but {pattern!r} is none",
                        did_you_mean(pattern, names),
                    )
                found.update(dict.fromkeys(matches))
            if not found:
                raise ScanwiseError(f"{modality}.{shot} must have at least one column, but the list is empty")
            taken[modality][shot] = tuple(name for name in names if name in found)
    return taken


def _panel(
    shots: Mapping[str, Sequence[str]], cells: Mapping[str, NDArray[np.float64]], rules: Mapping[str, ColumnRule]
) -> tuple[NDArray[np.float64], tuple[Column, ...]]:
    """Put columns side by side, shape ``(patients, shots, values)``, padded with NaN to the widest shot."""
    n = len(next(iter(cells.values())))
    values = np.full((n, len(shots), max(len(names) for names in shots.values())), np.nan)
    columns = []
    for shot, names in enumerate(shots.values()):
        for slot, name in enumerate(names):
            rule = rules.get(name, ColumnRule())
            values[:, shot, slot] = cells[name]
            columns.append(Column(name=name, shot=shot, slot=slot, levels=rule.levels, unit=rule.unit))
    return values, tuple(columns)


def _check_present(names: Iterable[str], sheet: Sheet) -> None:
    for name in names:
        if name not in sheet.names:
            raise ScanwiseError(f"column {name!r} is not in {sheet.path!r}", did_you_mean(name, sheet.names))


def _check_sites(wanted: Sequence[str], offered: set[str], cohort: str) -> None:
    if not wanted:
        raise ScanwiseError("at least one site must be chosen, but `sites` is empty", "null means all sites")
    for site in wanted:
        if site not in offered:
            raise ScanwiseError(
                f"site {site!r} is empty: cohort {cohort!r} has no row of it", did_you_mean(site, offered)
            )
