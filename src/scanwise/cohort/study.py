"""One patient, all patients, and what may be told about them without naming anyone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scanwise.design import Column, Patients
from scanwise.errors import ScanwiseError, did_you_mean

CLASSES = (0, 1)
"""The two diagnoses: 0 = negative, 1 = positive."""
_ROWS_AT_ONCE = 256
"""Patients whose images are in memory together where all are looked through."""


@dataclass(frozen=True)
class About:
    """What people must know of a cohort to judge a result; every text may be empty."""

    title: str = ""
    question: str = ""
    """The clinical question, one sentence."""
    positive: str = ""
    """What a positive patient is, in words."""
    source: str = ""
    licence: str = ""
    citation: str = ""
    retrospective: str = ""
    """What looking back does to the result, one sentence (verification bias, undersampled magnitude images ...)."""
    virtual: bool = False
    """Whether the patients are made up."""
    notes: tuple[str, ...] = ()

    @classmethod
    def from_mapping(cls, texts: Mapping[str, Any]) -> About:
        """Build from plain data; an unknown key is an error with a suggestion."""
        known = [entry.name for entry in fields(cls)]
        for key in texts:
            if key not in known:
                raise ScanwiseError(f"`about` has an unknown key {key!r}", did_you_mean(key, known))
        return cls(**{**texts, "notes": tuple(texts.get("notes") or ())})


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """One patient: site, diagnosis, covariates, and data per modality; an absent modality is an absent key.

    Parameters
    ----------
    site : where the patient was examined.
    label : diagnosis, 0 or 1.
    covariates : ``{name: value}``, without those that are not known.
    data : ``{modality: array}``, e.g. shape ``(shots, values)`` for a test panel, NaN where a shot was not done.
    """

    site: str
    label: int
    covariates: Mapping[str, float] = field(default_factory=dict)
    data: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Study(site={self.site!r}, label={self.label}; {', '.join(self.data) or 'no test done'})"


class Cohort:
    """All patients of a study, one row each; implements `scanwise.design.PatientData`.

    Patient identifiers serve one purpose, to refuse a patient who appears twice; they leave the object in no way.

    Parameters
    ----------
    name : short name of the cohort.
    label : diagnosis, 0 or 1, shape ``(patients,)``.
    site : where each patient was examined, shape ``(patients,)``.
    data : ``{modality: array of shape (patients, ...)}``; a test panel has ``(patients, shots, values)``, float, NaN
        where not done.
    columns : what the values of each test panel are; empty or left out for images.
    shots : shot names per modality, in the order of the menu.
    titles : names of the modalities for people.
    covariates : ``{name: values of shape (patients,)}``, NaN where not known.
    words : what values of covariates are called, ``{covariate: {value: word}}``.
    patient : one identifier per row, or `None` where each row is known to be a patient of its own.
    about : texts for the data card.
    files : ``{path: SHA-256}`` of what was read.
    done : ``{modality: whether each patient has any data, shape (patients,)}``; looked for in the data where left out.
    targets : further diagnoses, 0 or 1, shape ``(patients,)`` each.
    lesions : masks of the label and of each target by row number, or `None`; see `scanwise.design.PatientData`.
    digests : ``{modality: digest}`` of data that are hashed already, such as memory maps, and ``"lesions"``.
    assumptions : numbers that made-up patients rest on and nobody measured, as plain data.
    truth : what was drawn to make up patients, as arrays.
    doubts : means that made-up patients rest on and the literature leaves open, ``{where: {low, value, high}}``; `low`
        and `high` are one standard deviation away.
    redraw : makes some of the patients again with such means moved; see `redrawn`.

    Memory maps and arrays that own their memory and are read-only are kept as they are, all others are copied.

    Raises
    ------
    ScanwiseError
        If lengths differ, a label is neither 0 nor 1 or all are alike, a patient appears twice, or a column points
        outside its data.
    """

    def __init__(
        self,
        name: str,
        *,
        label: ArrayLike,
        site: Sequence[str] | NDArray[np.str_],
        data: Mapping[str, NDArray[Any]],
        columns: Mapping[str, Sequence[Column]] | None = None,
        shots: Mapping[str, Sequence[str]] | None = None,
        titles: Mapping[str, str] | None = None,
        covariates: Mapping[str, ArrayLike] | None = None,
        words: Mapping[str, Mapping[float, str]] | None = None,
        patient: Sequence[str] | None = None,
        about: About | None = None,
        files: Mapping[str, str] | None = None,
        done: Mapping[str, NDArray[np.bool_]] | None = None,
        targets: Mapping[str, ArrayLike] | None = None,
        lesions: Callable[[Patients], NDArray[np.float32]] | None = None,
        digests: Mapping[str, str] | None = None,
        assumptions: Sequence[Mapping[str, Any]] = (),
        truth: Mapping[str, NDArray[Any]] | None = None,
        doubts: Mapping[str, Mapping[str, float]] | None = None,
        redraw: Callable[[Patients, Mapping[str, float]], Cohort] | None = None,
    ) -> None:
        self.name = name
        self.about = about or About()
        self._label = _checked_label(np.asarray(label))
        self._site = np.asarray(site, dtype=np.str_)
        self._data = {modality: values if _is_fixed(values) else np.array(values) for modality, values in data.items()}
        self._columns = {modality: tuple((columns or {}).get(modality, ())) for modality in self._data}
        self._shots = {modality: tuple((shots or {}).get(modality, ())) for modality in self._data}
        self._titles = {modality: (titles or {}).get(modality, modality.replace("_", " ")) for modality in self._data}
        self._covariates = {key: np.array(values, dtype=np.float64) for key, values in (covariates or {}).items()}
        self._words = {key: dict(named) for key, named in (words or {}).items()}
        self._files = dict(files or {})
        self._digests = dict(digests or {})
        self._lesions = lesions
        self._assumptions = tuple(assumptions)
        self._truth = dict(truth or {})
        self._doubts = {where: dict(numbers) for where, numbers in (doubts or {}).items()}
        self._redraw = redraw
        self._targets = {key: np.array(values) for key, values in (targets or {}).items()}
        for key, values in self._targets.items():
            if not np.isin(values, CLASSES).all():
                raise ScanwiseError(f"every target must be 0 or 1, but another value of {key!r} occurs")
        n = len(self._label)
        told = {f"done {key}": rows for key, rows in (done or {}).items()}
        for what, rows in {"site": self._site, **self._covariates, **self._targets, **self._data, **told}.items():
            if len(rows) != n:
                raise ScanwiseError(f"{what!r} must have one row per patient ({n}), but has {len(rows)}")
        self._done = {
            modality: np.array(done[modality]) if done and modality in done else _done_rows(values)
            for modality, values in self._data.items()
        }
        for modality, described in self._columns.items():
            shape = self._data[modality].shape
            for column in described:
                if len(shape) != 3 or not (0 <= column.shot < shape[1] and 0 <= column.slot < shape[2]):
                    raise ScanwiseError(f"column {column.name!r} of {modality!r} points outside data of shape {shape}")
        if patient is not None:
            _check_one_row_per_patient(patient, n)
        kept = (self._data, self._covariates, self._targets, self._done)
        for array in (self._label, self._site, *(array for group in kept for array in group.values())):
            array.flags.writeable = False

    @property
    def label(self) -> NDArray[np.int64]:
        """Diagnosis per patient, 0 or 1, shape ``(patients,)``, read-only."""
        return self._label

    @property
    def site(self) -> NDArray[np.str_]:
        """Where each patient was examined, shape ``(patients,)``, read-only."""
        return self._site

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites in order of appearance."""
        return tuple(dict.fromkeys(self._site.tolist()))

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities there are data of."""
        return tuple(self._data)

    @property
    def covariates(self) -> Mapping[str, NDArray[np.float64]]:
        """``{name: values of shape (patients,)}``, NaN where not known, read-only."""
        return dict(self._covariates)

    @property
    def words(self) -> Mapping[str, Mapping[float, str]]:
        """``{covariate: {value: word}}``: what values of covariates are called."""
        return {key: dict(named) for key, named in self._words.items()}

    def data(self, modality: str, patients: Patients) -> NDArray[Any]:
        """Return a copy of the data of one modality, shape ``(patients, ...)``, NaN where a patient lacks it."""
        return np.asarray(self._data[self._known(modality)][np.asarray(patients, dtype=np.int64)])

    def done(self, modality: str) -> NDArray[np.bool_]:
        """Return whether a patient has any data of a modality, shape ``(patients,)``, read-only."""
        return self._done[self._known(modality)]

    @property
    def targets(self) -> Mapping[str, NDArray[np.int64]]:
        """Further diagnoses, 0 or 1, shape ``(patients,)`` each, read-only; may be empty."""
        return dict(self._targets)

    def lesions(self, patients: Patients) -> NDArray[np.float32] | None:
        """Return where the disease is, shape ``(patients, 1 + targets, y, x)``, or `None` where nobody drew it."""
        return None if self._lesions is None else self._lesions(np.asarray(patients, dtype=np.int64))

    def columns(self, modality: str) -> tuple[Column, ...]:
        """Return what the values of a test panel are, empty for images."""
        return self._columns[self._known(modality)]

    def shots(self, modality: str) -> tuple[str, ...]:
        """Return the names of the shots along axis 1 of the data, empty where they were not told."""
        return self._shots[self._known(modality)]

    @property
    def truth(self) -> Mapping[str, NDArray[Any]]:
        """What was drawn to make up these patients; empty for real ones. For checks, never for a model."""
        return dict(self._truth)

    @property
    def doubts(self) -> Mapping[str, Mapping[str, float]]:
        """``{where: {low, value, high}}`` of the means that made-up patients rest on; empty where nobody is made up."""
        return {where: dict(numbers) for where, numbers in self._doubts.items()}

    def redrawn(self, patients: Patients, moved: Mapping[str, float]) -> Cohort:
        """Return some patients as they would be if means of `doubts` were other ones, and all else the same.

        Parameters
        ----------
        patients : row numbers; the rows of the new cohort are in this order.
        moved : ``{where: by how many standard deviations}``.

        Raises
        ------
        ScanwiseError
            If the patients are not made up or all of one class, or there is no doubt about a number.
        """
        if self._redraw is None:
            raise ScanwiseError(f"the patients of {self.name!r} cannot be drawn again", "only made-up patients can")
        return self._redraw(np.asarray(patients, dtype=np.int64), dict(moved))

    def __len__(self) -> int:
        return len(self._label)

    def __getitem__(self, row: int) -> Study:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of a cohort of {len(self)} patients")
        return Study(
            site=str(self._site[row]),
            label=int(self._label[row]),
            covariates={
                key: float(values[row]) for key, values in self._covariates.items() if not np.isnan(values[row])
            },
            data={key: np.asarray(values[row]) for key, values in self._data.items() if self._done[key][row]},
        )

    def __iter__(self) -> Iterator[Study]:
        return (self[row] for row in range(len(self)))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over diagnoses, sites, covariates and data, hexadecimal: equal exactly where the cohorts are."""
        digest = hashlib.sha256()

        def add(name: str, array: NDArray[Any]) -> None:
            plain = np.where(np.isnan(array), np.nan, array) if array.dtype.kind == "f" else array  # one kind of NaN
            plain = np.ascontiguousarray(plain.astype(plain.dtype.newbyteorder("<")))
            digest.update(f"{name} {plain.dtype.str} {plain.shape}\n".encode())
            digest.update(plain.tobytes())

        add("label", self._label)
        add("site", self._site)
        for group, arrays in (("covariate", self._covariates), ("data", self._data), ("target", self._targets)):
            for key in sorted(arrays):
                if group == "data" and key in self._digests:
                    digest.update(f"{group} {key} {self._digests[key]}\n".encode())
                else:
                    add(f"{group} {key}", arrays[key])
        if "lesions" in self._digests:
            digest.update(f"lesions {self._digests['lesions']}\n".encode())
        for modality in sorted(self._columns):
            digest.update(f"{modality} {self._shots[modality]!r} {self._columns[modality]!r}\n".encode())
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return the data card as plain data: counts, shares and texts, nothing about one patient."""
        return {
            "name": self.name,
            "title": self.about.title or self.name,
            "question": self.about.question,
            "positive": self.about.positive,
            "virtual": self.about.virtual,
            "retrospective": self.about.retrospective,
            "source": self.about.source,
            "licence": self.about.licence,
            "citation": self.about.citation,
            "notes": list(self.about.notes),
            "n_patients": len(self),
            "n_positive": int(self._label.sum()),
            "sites": [
                {
                    "site": site,
                    "n": int((self._site == site).sum()),
                    "n_positive": int(self._label[self._site == site].sum()),
                }
                for site in self.sites
            ],
            "missing": [self._share_done(modality) for modality in self._data],
            "covariates": sorted(self._covariates),
            "files": [{"path": path, "sha256": digest} for path, digest in self._files.items()],
            "assumptions": [dict(assumed) for assumed in self._assumptions],
            "fingerprint": self.fingerprint,
        }

    def _share_done(self, modality: str) -> dict[str, Any]:
        values, shots = self._data[modality], {}
        if self._columns[modality]:  # the shots of an image are not its axis 1
            shots = {
                name: float((~np.isnan(values[:, shot].reshape(len(self), -1)).all(axis=1)).mean())
                for shot, name in enumerate(self._shots[modality])
            }
        return {
            "modality": modality,
            "title": self._titles[modality],
            "share_done": float(self._done[modality].mean()),
            "shots": [{"shot": name, "share_done": share} for name, share in shots.items()],
        }

    def _known(self, modality: str) -> str:
        if modality not in self._data:
            raise ScanwiseError(f"the cohort has no data of {modality!r}", did_you_mean(modality, self._data))
        return modality

    def __repr__(self) -> str:
        many = "s" if len(self.sites) != 1 else ""
        return (
            f"Cohort({self.name!r}, {len(self)} patients, {int(self._label.sum())} positive, "
            f"{len(self.sites)} site{many}; {', '.join(self._data)})"
        )


def _checked_label(label: NDArray[Any]) -> NDArray[np.int64]:
    if label.ndim != 1 or label.size == 0:
        raise ScanwiseError(f"a cohort needs one label per patient, but got labels of shape {label.shape}")
    if not np.isin(label, CLASSES).all():
        raise ScanwiseError("every label must be 0 or 1, but another value occurs", "mend the label rule of the cohort")
    if len(np.unique(label)) < len(CLASSES):
        raise ScanwiseError(
            f"the label must have both classes, but all {label.size} patients have label {int(label[0])}",
            "look at the label rule and at the sites that were chosen",
        )
    return label.astype(np.int64)


def _is_fixed(values: NDArray[Any]) -> bool:
    """Whether nobody else can change an array, so that it need not be copied."""
    return isinstance(values, np.memmap) or (values.base is None and not values.flags.writeable)


def _done_rows(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows hold anything, reading a memory map piece by piece."""
    pieces = range(0, len(values), _ROWS_AT_ONCE)
    rows = [values[first : first + _ROWS_AT_ONCE] for first in pieces]
    return np.concatenate([~np.isnan(piece.reshape(len(piece), -1)).all(axis=1) for piece in rows])


def _check_one_row_per_patient(patient: Sequence[str], n: int) -> None:
    if len(patient) != n:
        raise ScanwiseError(f"there must be one patient identifier per row ({n}), but there are {len(patient)}")
    first: dict[str, int] = {}
    for row, identifier in enumerate(patient):
        if identifier in first:
            raise ScanwiseError(
                f"every patient must have one row, but rows {first[identifier]} and {row} are the same patient",
                "keep one row per patient; two of them could land in learning and in judging",
            )
        first[identifier] = row
