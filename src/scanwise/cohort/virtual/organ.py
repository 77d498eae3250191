"""A virtual organ: patients made from published tissue numbers, as the scanners on the menu would find them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray

from scanwise.artifacts import hash_json, read_arrays, write_arrays
from scanwise.cohort.offer import on_menu
from scanwise.cohort.study import About, Cohort
from scanwise.cohort.virtual._patients import Batch, Lesion, Painter, Patient, doubts
from scanwise.cohort.virtual._spec import Organ, assumptions, read_organ, without_sources
from scanwise.cohort.virtual.cache import ArrayWriter, DamagedArray, read_array
from scanwise.design import Column, ImagingModality, Menu, Patients, Scene
from scanwise.errors import ScanwiseError, did_you_mean

BLOCK = 50
"""Patients that are rendered, and handed to a modality, together."""
_PATIENTS_PER_PROCESS = 500
"""Fewer patients are rendered sooner than another process starts."""

_CODE_VERSION = 1
"""Raised where the same specification makes other patients."""
_PRICES = {"money", "minutes", "seconds", "msv", "contrast_ml", "money_per_minute", "setups", "wait_setups"}
"""Settings of a modality that are prices: they change no image."""
_NOT_IMAGE = {"title", "shots", "schemes", "requires", *_PRICES}
_REPLAYED = 2
"""Patients that are made again whenever a cache is read, to see whether it is still what would be made."""
_REPLAY_TOLERANCE = 0.005
"""Of the largest value: half precision, and arithmetic in another order."""
_MASKS = "lesions"
_TABLE = "patients.npz"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class VirtualOrgan:
    """A virtual imaging cohort; `load` makes it, or reads it from the cache.

    Patients are drawn in three steps. A *world* draws the means of tissues, findings and covariates from what the
    literature leaves open (``between_worlds``); world 0 is the literature as published. A *site* has a scanner and a
    population. A *patient* is drawn from its world and site. Patients are dealt to the listed worlds in turn; each has
    a random stream of ``[seed, row]``, so a patient does not depend on how many there are.

    Parameters
    ----------
    name : short name of the cohort.
    organ : the specification, as the head of ``conf/cohort/prostate.yaml`` explains; every number with source and
        confidence.
    sites : ``{site: {share, field_t, noise, gain, odds, shift, source, confidence}}``.
    n : number of patients.
    seed : non-negative whole number.
    worlds : which worlds; with several, sites are called ``"world 1 / academic"``.
    label_shuffled : whether diagnoses, targets and lesion masks are permuted among the patients (a null cohort).
    cache : folder where images are kept, or `None` for memory.
    workers : processes that render; the patients do not depend on it. 0 = one per core where there are patients enough.
    about : texts of the data card; `virtual` is always true.

    Raises
    ------
    ScanwiseError
        For an unknown key, a number without source or confidence, what is not physical, or shares that do not sum to 1.
    """

    name: str
    organ: Mapping[str, Any]
    sites: Mapping[str, Any]
    n: int = 1000
    seed: int = 0
    worlds: Sequence[int] = (0,)
    label_shuffled: bool = False
    cache: str | None = None
    workers: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, value, least in (("n", self.n, 2), ("seed", self.seed, 0), ("workers", self.workers, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ScanwiseError(
                    f"`{what}` of a virtual organ must be a whole number >= {least}, but got {value!r}",
                    f"leave cohort.{what} out for the default",
                )
        worlds = self.worlds
        if (
            not isinstance(worlds, Sequence)
            or not worlds
            or any(isinstance(world, bool) or not isinstance(world, int) or world < 0 for world in worlds)
            or len(set(worlds)) < len(worlds)
        ):
            raise ScanwiseError(
                f"the worlds of a virtual organ must be different whole numbers >= 0, but got {worlds!r}",
                "for example worlds: [1, 2, 3]",
            )
        _ = self._painter, About.from_mapping(self.about)

    # ---- what a study asks for ----------------------------------------------------------------------------------

    def load(self, menu: Menu | None = None) -> Cohort:
        """Make the patients, or read them where they were made before.

        Parameters
        ----------
        menu : its imaging modalities turn the tissue into images; its other shots must be covariates of the organ.
            Without a menu there are the covariates alone.

        Raises
        ------
        ScanwiseError
            If the menu offers what the organ has not or cannot render, if a modality makes images of another matrix
            than its own, if all patients have one diagnosis, or if the cache cannot be written.
        """
        offered = {} if menu is None else dict(menu.modalities)
        imaging = {name: modality for name, modality in offered.items() if isinstance(modality, ImagingModality)}
        tests = {name: modality.shots.names for name, modality in offered.items() if name not in imaging}
        if menu is None:
            tests = {"covariates": tuple(self._organ.covariates)} if self._organ.covariates else {}
        elif tests:
            held = {name: tuple(self._organ.covariates) for name in tests}
            on_menu(held, Menu([offered[name] for name in tests], menu.setups.values()))
        self._check_images(imaging)
        table, masks, images = self._made(imaging)
        values = {name: table[f"covariate_{name}"] for name in self._organ.covariates}
        label, targets = table["label"], {name: table[f"target_{name}"] for name in self._organ.targets}
        order = np.arange(self.n)
        if self.label_shuffled:
            order = np.random.default_rng([self.seed, 0, 1]).permutation(self.n)
        by_name: dict[str, Any] = {name: np.stack([values[s] for s in shots], 1) for name, shots in tests.items()}
        data = {name: images[name][0] if name in imaging else by_name[name][:, :, None] for name in offered or tests}
        return Cohort(
            self.name,
            label=label[order],
            site=self._site_names(table),
            data=data,
            columns={name: self._columns(shots) for name, shots in tests.items()},
            shots={name: offered[name].shots.names if name in offered else tests[name] for name in data},
            titles={name: modality.title for name, modality in offered.items()},
            covariates=values,
            about=replace(About.from_mapping(self.about), virtual=True),
            done={name: np.ones(self.n, dtype=bool) for name in data},
            targets={name: target[order] for name, target in targets.items()},
            lesions=_Masks(masks[0], order),
            digests={name: digest for name, (_, digest) in images.items()} | {_MASKS: masks[1]},
            assumptions=assumptions({"organ": self.organ, "sites": self.sites}),
            truth=table,
            doubts={
                path: {"low": doubt.at(-1), "value": doubt.at(0), "high": doubt.at(1)}
                for path, doubt in doubts(self._organ).items()
            },
            redraw=lambda patients, moved: self._redrawn(patients, moved, label[order], imaging, tests),
        )

    def _redrawn(
        self,
        patients: Patients,
        moved: Mapping[str, float],
        label: NDArray[np.int64],
        imaging: Mapping[str, ImagingModality],
        tests: Mapping[str, Sequence[str]],
    ) -> Cohort:
        """Return some patients as they would be if means were other ones; see `Cohort.redrawn`."""
        organ, known = self._organ, doubts(self._organ)
        for path in moved:
            if path not in known:
                raise ScanwiseError(f"{path!r} is no number the literature leaves open", did_you_mean(path, known))
        rows = [int(row) for row in np.asarray(patients)]
        painter = Painter(organ, self._painter.sites, self.worlds, self.seed, moved)
        blocks = [_block(painter, imaging, rows[at : at + BLOCK]) for at in range(0, len(rows), BLOCK)]
        drawn = [patient for block, _, _ in blocks for patient in block]
        data: dict[str, Any] = {name: np.concatenate([images[name] for _, _, images in blocks]) for name in imaging}
        for name, shots in tests.items():
            data[name] = np.array([[[one.covariates[shot]] for shot in shots] for one in drawn])
        return Cohort(
            self.name,
            label=label[rows],
            site=[patient.site for patient in drawn],
            data=data,
            columns={name: self._columns(shots) for name, shots in tests.items()},
            covariates={name: [patient.covariates[name] for patient in drawn] for name in organ.covariates},
            about=replace(About.from_mapping(self.about), virtual=True),
        )

    def _columns(self, shots: Sequence[str]) -> list[Column]:
        return [Column(name=shot, shot=index, slot=0, unit=self._organ.units[shot]) for index, shot in enumerate(shots)]

    def truth(self) -> dict[str, NDArray[Any]]:
        """Return what was drawn, as arrays: per patient, and per lesion (``lesion_...``) with the row of its patient.

        Not permuted where the cohort is: it belongs to the images.
        """
        table, _, _ = self._made({})
        return table

    def scene(self, patients: Patients) -> Scene:
        """Return the tissue of patients as it was rendered, bit by bit."""
        rows = [int(row) for row in np.asarray(patients)]
        if not rows or min(rows) < 0 or max(rows) >= self.n:
            raise ScanwiseError(f"patients are numbered 0 to {self.n - 1}, but asked for were {rows[:5]!r}")
        return _scene(self._organ, self._painter.batch(rows))

    # ---- how it is made -----------------------------------------------------------------------------------------

    @property
    def _organ(self) -> Organ:
        return self._painter.organ

    @cached_property
    def _painter(self) -> Painter:
        organ, sites = read_organ(self.organ, self.sites)
        return Painter(organ, sites, self.worlds, self.seed)

    @cached_property
    def _probe(self) -> Batch:
        """The first patients, to look at before work begins and to compare a cache with."""
        return self._painter.batch(range(min(_REPLAYED, self.n)))

    @cached_property
    def _folder(self) -> Path | None:
        if self.cache is None:
            return None
        identity = {
            "code": _CODE_VERSION,
            "organ": without_sources(self.organ),
            "sites": without_sources(self.sites),
            "n": self.n,
            "seed": self.seed,
            "worlds": list(self.worlds),
        }
        return Path(self.cache) / f"{self.name}-{hash_json(identity)[:16]}"

    def _made(
        self, imaging: Mapping[str, ImagingModality]
    ) -> tuple[dict[str, NDArray[Any]], tuple[NDArray[Any], str], dict[str, tuple[NDArray[Any], str]]]:
        """Return the table, the masks and the images; make what is not in the cache."""
        names = {_MASKS: _MASKS, **{name: f"{name}-{_settings_hash(modality)}" for name, modality in imaging.items()}}
        paths = {key: None if self._folder is None else self._folder / f"{stem}.npy" for key, stem in names.items()}
        table = self._stored_table()
        found: dict[str, tuple[NDArray[Any], str]] = {}
        for key, path in paths.items():
            stored = None if path is None else _stored(path)
            if stored is not None and self._is_current(stored[0], imaging.get(key)):
                found[key] = stored
        missing = [key for key in paths if key not in found]
        if table is None or missing:
            table, made = self._make({key: paths[key] for key in missing}, imaging)
            found.update(made)
        return table, found[_MASKS], {name: found[name] for name in imaging}

    def _make(
        self, paths: Mapping[str, Path | None], imaging: Mapping[str, ImagingModality]
    ) -> tuple[dict[str, NDArray[Any]], dict[str, tuple[NDArray[Any], str]]]:
        wanted = {key: imaging[key] for key in paths if key in imaging}
        blocks = [range(first, min(first + BLOCK, self.n)) for first in range(0, self.n, BLOCK)]
        work = Parallel(self._processes, return_as="generator", pre_dispatch="2 * n_jobs")
        writers: dict[str, ArrayWriter] = {}
        table = _Table(self._organ)
        with ExitStack() as stack:
            for patients, masks, images in work(delayed(_block)(self._painter, wanted, rows) for rows in blocks):
                for key, values in {_MASKS: masks, **images}.items():
                    if key not in paths:
                        continue
                    if key not in writers:
                        shape = (self.n, *values.shape[1:])
                        writers[key] = stack.enter_context(ArrayWriter(paths[key], shape, values.dtype))
                    writers[key].append(values)
                table.add(patients)
            arrays = table.arrays()
            if self._folder is not None:
                write_arrays(self._folder / _TABLE, **arrays)
            return arrays, {key: writer.close() for key, writer in writers.items()}

    @property
    def _processes(self) -> int:
        """Number of processes that render; starting one is not worth it for a few patients."""
        return self.workers or max(1, min(cpu_count(), self.n // _PATIENTS_PER_PROCESS))

    def _check_images(self, imaging: Mapping[str, ImagingModality]) -> None:
        """Refuse what cannot be rendered before any work is done."""
        matrix = self._organ.geometry.matrix
        for name, modality in imaging.items():
            if any(coarse > fine for coarse, fine in zip(modality.matrix, matrix, strict=True)):
                raise ScanwiseError(
                    f"an organ must be rendered at least as finely as it is scanned, but {name!r} has the matrix "
                    f"{tuple(modality.matrix)} and the organ {matrix}",
                    "raise organ.geometry.matrix, or make the scan coarser",
                )
        if imaging:
            scene = _scene(self._organ, self._probe)
            for modality in imaging.values():
                _synthesised(modality, scene)

    def _is_current(self, stored: NDArray[Any], modality: ImagingModality | None) -> bool:
        """Whether a stored array is still what this code would make, as far as the first patients tell."""
        fresh: NDArray[Any]
        fresh = self._probe.masks if modality is None else _synthesised(modality, _scene(self._organ, self._probe))
        old = stored[: len(fresh)]
        if old.shape == fresh.shape and stored.shape[0] == self.n and old.dtype == fresh.dtype:
            scale = max(float(np.abs(fresh.astype(np.float64)).max()), 1.0)
            if np.allclose(old.astype(np.float64), fresh.astype(np.float64), rtol=0, atol=_REPLAY_TOLERANCE * scale):
                return True
        _log.warning("%s: cached patients were made by other code and are made again", self.name)
        return False

    def _stored_table(self) -> dict[str, NDArray[Any]] | None:
        if self._folder is None or not (self._folder / _TABLE).exists():
            return None
        try:
            table = read_arrays(self._folder / _TABLE)
        except ScanwiseError as error:
            _log.warning("%s: %s; it is made again", self.name, error.message)
            return None
        fresh = _Table(self._organ)
        fresh.add(self._probe.patients)
        for name, values in fresh.arrays().items():
            if name not in table or (not name.startswith("lesion_") and not _same(values, table[name][: len(values)])):
                _log.warning("%s: cached patients were made by other code and are made again", self.name)
                return None
        return table

    def _site_names(self, table: Mapping[str, NDArray[Any]]) -> NDArray[np.str_]:
        if len(self.worlds) == 1:
            return np.asarray(table["site"], dtype=np.str_)
        pairs = zip(table["world"].tolist(), table["site"].tolist(), strict=True)
        return np.array([f"world {world} / {site}" for world, site in pairs])


class _Masks:
    """Lesion masks by row number, stored as bytes."""

    def __init__(self, stored: NDArray[np.uint8], order: NDArray[np.int64]) -> None:
        self._stored = stored
        self._order = order

    def __call__(self, patients: Patients) -> NDArray[np.float32]:
        return self._stored[self._order[patients]].astype(np.float32) / np.float32(255)


class _Table:
    """What was drawn, collected block by block as arrays."""

    def __init__(self, organ: Organ) -> None:
        self._organ = organ
        self._n = 0
        self._blocks: list[dict[str, NDArray[Any]]] = []

    def add(self, patients: Sequence[Patient]) -> None:
        organ = self._organ
        tissue = np.stack([patient.tissue for patient in patients])
        lesions = [(row, lesion) for row, patient in enumerate(patients, self._n) for lesion in patient.lesions]
        values = np.array([lesion.values for _, lesion in lesions]).reshape(len(lesions), len(organ.properties))

        def column(of: Callable[[Patient], Any], kind: type = np.float64) -> NDArray[Any]:
            return np.array([of(patient) for patient in patients], dtype=kind)

        def found(of: Callable[[Lesion], Any], kind: type = np.float64) -> NDArray[Any]:
            return np.array([of(lesion) for _, lesion in lesions], dtype=kind)

        block = {
            "label": column(lambda patient: patient.diagnosis in organ.positive, np.int64),
            "world": column(lambda patient: patient.world, np.int64),
            "site": column(lambda patient: patient.site, np.str_),
            "diagnosis": column(lambda patient: patient.diagnosis, np.str_),
            "grade": column(lambda patient: organ.diagnoses[patient.diagnosis].grade, np.int64),
            "field_t": column(lambda patient: patient.field_t),
            "noise": column(lambda patient: patient.noise),
            "arterial_scale": column(lambda patient: patient.arterial_scale),
            "lesion_patient": np.array([row for row, _ in lesions], dtype=np.int64),
            "lesion_kind": found(lambda lesion: lesion.kind, np.str_),
            "lesion_zone": found(lambda lesion: lesion.zone, np.str_),
            "lesion_grade": found(lambda lesion: lesion.grade, np.int64),
            "lesion_diameter_mm": found(lambda lesion: lesion.diameter_mm),
            "lesion_y_mm": found(lambda lesion: lesion.y_mm),
            "lesion_x_mm": found(lambda lesion: lesion.x_mm),
            "lesion_area_mm2": found(lambda lesion: lesion.area_mm2),
        }
        for name, members in organ.targets.items():
            block[f"target_{name}"] = np.isin(block["diagnosis"], members).astype(np.int64)
        for name in organ.covariates:
            block[f"covariate_{name}"] = np.array([patient.covariates[name] for patient in patients])
        for index, name in enumerate(organ.properties):
            block[f"lesion_{name}"] = values[:, index]
            for row, kind in enumerate(organ.tissues):
                block[f"tissue_{kind}_{name}"] = tissue[:, row, index]
        self._blocks.append(block)
        self._n += len(patients)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {name: np.concatenate([block[name] for block in self._blocks]) for name in self._blocks[0]}


def _scene(organ: Organ, batch: Batch) -> Scene:
    def column(name: str) -> NDArray[np.float32]:
        return np.array([getattr(patient, name) for patient in batch.patients], dtype=np.float32)

    return Scene(
        maps=dict(zip(organ.properties, batch.maps, strict=True)),
        fov_mm=organ.geometry.fov_mm,
        field_t=column("field_t"),
        noise=column("noise"),
        gain=batch.gain,
        arterial_scale=column("arterial_scale"),
    )


def _block(
    painter: Painter, imaging: Mapping[str, ImagingModality], rows: Sequence[int]
) -> tuple[list[Patient], NDArray[np.uint8], dict[str, NDArray[np.float16]]]:
    """Draw some patients; return them, their masks and their images."""
    batch = painter.batch(rows)
    scene = _scene(painter.organ, batch)
    images = {name: _synthesised(modality, scene) for name, modality in imaging.items()}
    return batch.patients, batch.masks, images


def _synthesised(modality: ImagingModality, scene: Scene) -> NDArray[np.float16]:
    images = modality.synthesise(scene)
    if images.ndim != 4 or images.shape[0] != len(scene) or images.shape[2:] != tuple(modality.matrix):
        raise ScanwiseError(
            f"{modality.name!r} must make images of shape ({len(scene)}, images, {modality.matrix[0]}, "
            f"{modality.matrix[1]}), but made {images.shape}",
            "one matrix for all images of a modality",
        )
    if not np.isfinite(images).all():
        raise ScanwiseError(
            f"{modality.name!r} made images that are not finite", "half precision ends at 65504: lower its snr"
        )
    return images


def _stored(path: Path) -> tuple[NDArray[Any], str] | None:
    try:
        return read_array(path)
    except DamagedArray as damage:
        _log.warning("%s; it is made again", damage)
        return None


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    if a.shape != b.shape or (a.dtype.kind == "f") != (b.dtype.kind == "f"):
        return False
    return bool(np.allclose(a, b, rtol=1e-6, equal_nan=True) if a.dtype.kind == "f" else (a == b).all())


def _settings_hash(modality: ImagingModality) -> str:
    """Return a short hash of what shapes the images of a modality: its settings and shots, but for their prices."""
    settings = {
        key.lstrip("_"): plain
        for key, value in vars(modality).items()
        if key.lstrip("_") not in _NOT_IMAGE and (plain := _plain(value)) is not None
    }
    shots = {
        "names": list(modality.shots.names),
        "what": {
            key: _plain(np.asarray(values))
            for key, values in modality.shots.what.items()
            if key.lstrip("_") not in _PRICES
        },
    }
    kind = f"{type(modality).__module__}.{type(modality).__qualname__}"
    return hash_json({"kind": kind, "settings": settings, "shots": shots, "matrix": list(modality.matrix)})[:12]


def _plain(value: Any) -> Any:
    """Return a setting as plain data; `None` where it is empty or derived (a tensor, a cache)."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        return [str(value.dtype), list(value.shape), hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value] or None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()} or None
    if is_dataclass(value) and not isinstance(value, type):
        return {key: _plain(item) for key, item in vars(value).items()} if hasattr(value, "__dict__") else None
    return None
