"""The amortised model of imaging studies: one network per fold that scores any protocol of images and tests."""

from __future__ import annotations

import math
import queue
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from scanwise.design import (
    Fold,
    ImagingModality,
    MeasuredData,
    Menu,
    PatientData,
    Patients,
    Product,
    Protocol,
    random_counts,
    settings_of,
)
from scanwise.errors import ScanwiseError
from scanwise.model.calibration import fit_calibration
from scanwise.model.checkpoint import load_checkpoint, save_checkpoint
from scanwise.model.encoders import menu_features
from scanwise.model.image_network import ImageNetwork, strides_to
from scanwise.model.interpolation import interpolated_logits
from scanwise.model.parts import Parts
from scanwise.model.product import in_threads
from scanwise.model.reading import logits_of_sums
from scanwise.model.sandwich import sandwich
from scanwise.model.trainer import Progress, TrainerSettings, quiet_training

_CHUNK = 64
"""Patients measured and encoded at once while scoring."""
_KEPT_BYTES = 3_000_000_000
"""Evidence kept between calls of `score`."""
_PARTS = 10
"""Parts the learning patients are dealt into where the split has none; each member leaves one out."""
_STANDARDISE = 256
"""Learning patients from whom the scale of the images is taken."""
_TOLERANCE = 0.02
"""What interpolation along one modality may change in a log odds, root mean square; every refinement halves it."""
_AHEAD = 3
"""Batches that are measured while the network learns from the one before."""


@dataclass(frozen=True)
class ImageModel:
    """Settings of the imaging network; `fit` trains one network, or an ensemble, per fold of the patients.

    Parameters
    ----------
    grid : ``(y, x)`` places on which evidence adds up.
    width, n_blocks : channels and residual blocks of the image encoders.
    n_evidence, n_hidden : channels of the evidence, hidden units of the head.
    map_weight : weight of drawn lesions in the loss; 0 = diagnoses only.
    learning_rate, weight_decay, steps, batch_size : one-cycle AdamW.
    subsets_per_step : sets of modalities that every step decodes.
    patterns_per_step : lengths and patterns per modality and step.
    usual : share of the patterns that are those of usual practice, the others are drawn from the schemes.
    members : networks, each leaving out another part of the learning patients for calibration; where the split has
        inner folds, there is one network per inner fold.
    only : key of one protocol: the yardstick, a network trained for this protocol alone.

    Raises
    ------
    ScanwiseError
        If a size is not positive.
    """

    grid: Sequence[int] = (16, 16)
    width: int = 24
    n_blocks: int = 2
    n_evidence: int = 24
    n_hidden: int = 24
    map_weight: float = 10.0
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    steps: int = 1800
    batch_size: int = 64
    subsets_per_step: int = 8
    patterns_per_step: int = 2
    usual: float = 0.4
    members: int = 1
    only: str | None = None

    kind = "imaging network"

    @property
    def fuses(self) -> bool:
        """Whether what it fits scores whole products of settings: a network for one protocol does not."""
        return self.only is None

    def __post_init__(self) -> None:
        sizes = ("width", "n_blocks", "n_evidence", "n_hidden", "learning_rate", "steps", "batch_size", "members")
        for name in (*sizes, "patterns_per_step"):
            if not getattr(self, name) > 0:
                raise ScanwiseError(
                    f"model.{name} must be above 0, but got {getattr(self, name)!r}", "leave it out for the default"
                )
        if self.subsets_per_step < 3:
            raise ScanwiseError(
                f"model.subsets_per_step must be at least 3, but got {self.subsets_per_step}",
                "everything, one modality alone, and one more",
            )
        if not 0 <= self.usual <= 1 or self.map_weight < 0 or self.weight_decay < 0:
            raise ScanwiseError(
                f"model.usual must be in [0, 1], model.map_weight and model.weight_decay not below 0, but got "
                f"{self.usual!r}, {self.map_weight!r} and {self.weight_decay!r}"
            )
        object.__setattr__(self, "grid", tuple(int(cells) for cells in self.grid))

    def check(self, menu: Menu) -> None:
        """Raise a `ScanwiseError` where this menu cannot be read, before anything is trained."""
        names = list(menu.modalities) if self._only is None else list(self._only.modalities)
        if self._only is not None:
            menu.check(self._only)
        scans = [one for name in names if isinstance(one := menu.modalities[name], ImagingModality)]
        if not scans:
            raise ScanwiseError("the imaging network needs at least one imaging modality", "use model=amortised")
        for scan in scans:
            strides_to(scan.matrix, (self.grid[0], self.grid[1]))

    def describe(self) -> str:
        """Return one sentence for the methods text."""
        return (
            f"one network per fold that accepts any protocol (every modality is reconstructed, encoded into "
            f"{self.n_evidence} channels of evidence on {self.grid[0]} x {self.grid[1]} places, summed, and read place "
            f"by place), trained for {self.steps} steps of {self.batch_size} patients, each decoding "
            f"{self.subsets_per_step} sets of modalities in random lengths and patterns with fresh noise"
            f"{f', {self.members} networks averaged' if self.members > 1 else ''}; temperature and shift per protocol "
            "fitted on patients left out"
        )

    def fit(
        self,
        data: PatientData,
        menu: Menu,
        fold: Fold,
        *,
        seed: int,
        trainer: TrainerSettings,
        directory: Path,
        progress: Progress | None = None,
    ) -> ImageScorer:
        """Train on ``fold.learn``, calibrate on the patients each network left out, and write ``network-<k>.ckpt``.

        Parameters
        ----------
        data, menu : patients and what is on offer.
        fold : who may be learned from.
        seed : initial weights, batches, protocols and noise.
        trainer : where training runs.
        directory : where the checkpoints go; each appears only once its training is complete.
        progress : told how far training is.
        """
        self.check(menu)
        parts = self._parts(fold, data, seed)
        directory.mkdir(parents=True, exist_ok=True)
        reader = Reader(data, menu, self._only)
        networks = []
        runs = []
        n = len(parts.leaves_out)
        for member, leaves_out in enumerate(parts.leaves_out):
            learn = parts.learn[parts.part != leaves_out]
            network = self._network(reader, _seed_of(seed, member))
            batches = _Batches(reader, learn, self, _seed_of(seed, member))
            network.panels_standardise({name: reader.features(name, learn) for name in reader.panels})
            for name in reader.images:
                counts = reader.usual(name)
                some = np.sort(np.random.default_rng(seed).permutation(learn)[:_STANDARDISE])
                images, _, _ = reader.images_of(name, counts, some, np.random.default_rng(seed))
                network.images_standardise(name, torch.as_tensor(images))

            def told(done: int, total: int, words: str, member: int = member) -> None:
                if progress:
                    progress(member * total + done, n * total, words)

            run = trainer.build(steps=self.steps, directory=directory, progress=told)
            with quiet_training():
                run.fit(network, DataLoader(batches, batch_size=None))
            networks.append(network.to(run.strategy.root_device).eval())
            runs.append(run)
        scorer = ImageScorer(networks, reader, parts, seed)
        protocols = sandwich(menu, 4 * self.subsets_per_step, np.random.default_rng([seed, 0x6361]))
        if self._only is not None:
            protocols = [self._only]
        calibration = torch.as_tensor(scorer.fit_calibration(protocols), dtype=torch.float32)
        for member, (network, run) in enumerate(zip(networks, runs, strict=True)):
            network.calibration.copy_(calibration)
            save_checkpoint(run, directory / f"network-{member}.ckpt", fold)
        return scorer

    def load(self, data: PatientData, menu: Menu, fold: Fold, *, seed: int, directory: Path) -> ImageScorer:
        """Load what `fit` wrote.

        Raises
        ------
        ScanwiseError
            If there is no checkpoint, or it is damaged.
        """
        parts = self._parts(fold, data, seed)
        networks = [
            load_checkpoint(ImageNetwork, directory / f"network-{member}.ckpt", fold.name)
            for member in range(len(parts.leaves_out))
        ]
        return ImageScorer(networks, Reader(data, menu, self._only), parts, seed)

    def reader(self, menu: Menu, directory: Path) -> Callable[[PatientData], ImageScorer]:
        """Load what `fit` wrote, to read patients nobody learned from: all networks answer.

        Raises
        ------
        ScanwiseError
            If there is no checkpoint, or it is damaged.
        """
        paths = sorted(directory.glob("network-*.ckpt")) or [directory / "network-0.ckpt"]
        networks = [load_checkpoint(ImageNetwork, path, directory.name) for path in paths]
        parts = Parts.nobody(len(networks))
        return lambda data: ImageScorer(networks, Reader(data, menu, self._only), parts, 0)

    @property
    def _only(self) -> Protocol | None:
        return None if self.only is None else Protocol.from_key(self.only)

    def _parts(self, fold: Fold, data: PatientData, seed: int) -> Parts:
        return Parts.of(
            fold, data.label, members_per_part=1, seed=seed, n_parts=max(_PARTS, self.members), own=self.members
        )

    def _network(self, reader: Reader, seed: int) -> ImageNetwork:
        menu = reader.menu
        return ImageNetwork(
            panels={
                name: {"n_shots": len(menu.modalities[name].shots), "shot": [int(s) for s in reader.shot_of(name)]}
                for name in reader.panels
            },
            images={
                name: {
                    "channels": len(modality.channels),
                    "matrix": list(modality.matrix),
                    "n_shots": len(modality.shots),
                }
                for name, modality in reader.images.items()
            },
            n_targets=1 + len(reader.data.targets),
            grid=(self.grid[0], self.grid[1]),
            width=self.width,
            n_blocks=self.n_blocks,
            n_evidence=self.n_evidence,
            n_hidden=self.n_hidden,
            map_weight=self.map_weight,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            steps=self.steps,
            seed=seed,
        )


class Reader:
    """Acquires what a protocol asks for and hands over what the network reads.

    Parameters
    ----------
    data, menu : patients and what is on offer.
    only : the one protocol that is read, `None` = any.
    """

    def __init__(self, data: PatientData, menu: Menu, only: Protocol | None = None) -> None:
        self.data = data
        self._measured = data if isinstance(data, MeasuredData) else None
        self.menu = menu
        self.only = only
        names = [name for name in menu.modalities if only is None or only.counts(name)]
        self.images = {
            name: modality
            for name, modality in menu.modalities.items()
            if name in names and isinstance(modality, ImagingModality)
        }
        self.panels = tuple(name for name in names if name not in self.images)
        self.columns = (*self.images, *self.panels)
        """The order of modalities inside the network: images, then panels."""

    def usual(self, name: str) -> NDArray[np.int64]:
        """Return the usual counts of a modality, those of the one protocol where there is only one."""
        modality = self.menu.modalities[name]
        return modality.standard if self.only is None else modality.check(self.only)

    def images_of(
        self, name: str, counts: NDArray[np.int64], patients: Patients, noise: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """Acquire one modality and reconstruct it.

        Parameters
        ----------
        name : the modality.
        counts : shape ``(shots,)`` or ``(patients, shots)``.
        patients : rows.
        noise : a generator for all, or one per patient.

        Returns
        -------
        images : shape ``(patients, channels, y, x)``.
        sampling : shape ``(patients, shots)``.
        done : whether anything was measured, shape ``(patients,)``.
        """
        modality = self.images[name]
        if self._measured is not None:
            measured = self._measured.measured(name, counts)
        else:
            measured = modality.measure(self.data.data(name, patients), counts, noise)
        done: NDArray[np.bool_] = np.any(measured.counts > 0, axis=1)
        images = modality.reconstruct(measured)
        if not done.all():
            images = np.where(done[:, None, None, None], images, np.float32(0.0))
        return images, np.asarray(modality.sampling(measured.counts), dtype=np.float32), done

    def relaxed(self, name: str, counts: Tensor, patients: Patients, noise: Any) -> tuple[Tensor, Tensor]:
        """Return images and sampling as `images_of` does, with gradients in the counts, shape ``(shots,)``.

        The told root of a count has the slope of its chord where the count is zero.
        """
        modality: Any = self.images[name]
        if not hasattr(modality, "relaxed"):
            raise ScanwiseError(
                f"{name!r} says nothing of the slope of its images in the counts, so that it cannot be learned",
                "leave it out of the menu, or use another search",
            )
        images = modality.relaxed(self.data.data(name, patients), counts, noise)
        share = counts / torch.as_tensor(np.maximum(modality.standard, 1), dtype=counts.dtype)
        told = torch.where(counts > 0, torch.where(counts > 0, share, 1.0).sqrt(), share)
        return images, told.expand(len(patients), -1)

    def features(self, name: str, patients: Patients) -> Tensor:
        """Return the values of a panel, shape ``(patients, features)``, NaN where unknown."""
        return menu_features(self.data, self.menu, name, patients)[0]

    def shot_of(self, name: str) -> NDArray[np.int64]:
        """Return the shot of every feature of a panel."""
        return menu_features(self.data, self.menu, name, np.arange(1))[1]

    def about(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return 1 and how much of its usual length each modality has, shape ``(protocols, 1 + modalities)``.

        Parameters
        ----------
        counts : shape ``(protocols, shots)``, the shots of all modalities of the menu side by side.
        """
        told = [np.ones(len(counts))]
        for name in self.columns:
            taken, usual = counts[:, self.menu.columns(name)].sum(1), self.menu.modalities[name].standard.sum()
            told.append(np.sqrt(np.minimum(taken / max(usual, 1), 2.0)))
        return np.stack(told, axis=1)


class ImageScorer:
    """Scores any protocol by adding evidence: every (modality, setting) is measured and encoded once, then kept.

    Parameters
    ----------
    networks : the trained ensemble.
    reader : acquires and reconstructs.
    parts : who was learned from by whom.
    seed : of the noise; every patient has a stream per modality, so that two protocols see the same noise.
    """

    def __init__(self, networks: Sequence[ImageNetwork], reader: Reader, parts: Parts, seed: int) -> None:
        self.networks = list(networks)
        self._reader = reader
        self._parts = parts
        self._seed = seed
        self._kept: OrderedDict[tuple[Any, ...], Tensor] = OrderedDict()

    def score(self, protocols: Sequence[Protocol], patients: Patients) -> NDArray[np.float64]:
        """Return calibrated probabilities, shape ``(protocols, patients)``; see `scanwise.design.Scorer`."""
        if not len(protocols):
            return np.zeros((0, len(patients)))
        return self._calibrated(self.logits(protocols, patients), self._reader.menu.matrix(protocols))

    def _temperature(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return log temperature and shift of protocols, shape ``(2, protocols)``, from counts of all shots."""
        found: NDArray[np.float64] = self.networks[0].calibration.double().cpu().numpy() @ self._reader.about(counts).T
        return found

    def _calibrated(self, logits: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
        log_temperature, shift = self._temperature(counts)
        probability: NDArray[np.float64] = expit(logits * np.exp(-log_temperature)[:, None] + shift[:, None])
        return probability

    def score_product(
        self, product: Product, patients: Patients, *, wanted: NDArray[np.bool_] | None = None, refine: int = 0
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yield rows of a product and their probabilities; see `scanwise.design.ProductScorer`.

        Interpolated from few of them where there are many; see `interpolated_logits`.
        """
        reader = self._reader
        if reader.only is not None:
            raise ScanwiseError("a network for one protocol cannot score combinations", "leave model.only out")
        patients = np.asarray(patients, dtype=np.int64)
        found = interpolated_logits(
            product,
            lambda rows: self.logits(product.protocols(rows), patients),
            tolerance=_TOLERANCE * 0.5**refine,
            wanted=np.ones(len(product), dtype=bool) if wanted is None else wanted,
        )
        for rows, logits in found:
            yield rows, self._calibrated(logits, product.counts(reader.menu, rows))

    def slopes(
        self, protocol: Protocol, patients: Patients, rng: np.random.Generator
    ) -> tuple[float, dict[str, NDArray[np.float64]]]:
        """Return the log-likelihood per patient of a protocol, and its slope in the count of every shot.

        The slope of a shot that is not taken is that of taking it; see `SimulatedScan.relaxed`. The calibration is
        taken as given.

        Parameters
        ----------
        protocol : what is acquired; only its modalities have slopes.
        patients : who is measured, with fresh noise.
        rng : source of the noise.

        Raises
        ------
        ScanwiseError
            If a modality of the protocol has no gradients, or a patient lacks one.
        """
        reader = self._reader
        reader.menu.check(protocol)
        names = [name for name in reader.columns if protocol.counts(name)]
        counts = {name: torch.tensor(protocol.counts(name), dtype=torch.float32, requires_grad=True) for name in names}
        log_temperature, shift = self._temperature(reader.menu.matrix([protocol]))[:, 0]
        weights = self._parts.weights(patients)
        logits = torch.zeros(len(patients))
        for member, network in enumerate(self.networks):
            rows = np.flatnonzero(weights[member] > 0)
            if not rows.size:
                continue
            asked = patients[rows]
            evidence = network.absent().expand(len(asked), network.n_places, -1)
            for name in names:
                if name in reader.images:
                    images, sampling = reader.relaxed(name, counts[name], asked, rng)
                    evidence = evidence + network.encode_image(
                        name, images.to(network.device), sampling.to(network.device)
                    )
                else:
                    features = reader.features(name, asked).to(network.device)
                    added = network.encode_panel(name, features, counts[name].to(network.device)[None])
                    evidence = evidence + added[:, None]
            found = network.head(evidence)[0][:, 0].cpu()
            share = torch.as_tensor(weights[member, rows], dtype=found.dtype)
            logits = logits.index_add(0, torch.as_tensor(rows), share * found)
        label = torch.as_tensor(reader.data.label[patients], dtype=logits.dtype)
        calibrated = logits * float(np.exp(-log_temperature)) + float(shift)
        value = -torch.nn.functional.binary_cross_entropy_with_logits(calibrated, label)
        slopes = torch.autograd.grad(value, list(counts.values()))
        return float(value.detach()), {name: slope.double().numpy() for name, slope in zip(names, slopes, strict=True)}

    def fit_calibration(self, protocols: Sequence[Protocol]) -> NDArray[np.float64]:
        """Return log temperature and shift, fitted on the patients each network left out."""
        patients = self._parts.left_out
        logits = self.logits(protocols, patients)
        about = self._reader.about(self._reader.menu.matrix(protocols))
        return fit_calibration(logits, self._reader.data.label[patients], about)

    @torch.no_grad()  # not inference mode: what the scans keep of this is used with gradients by `slopes`
    def logits(self, protocols: Sequence[Protocol], patients: Patients) -> NDArray[np.float64]:
        """Return logits of the label before calibration, averaged over members, shape ``(protocols, patients)``."""
        patients = np.asarray(patients, dtype=np.int64)
        weights = self._parts.weights(patients)
        logits = np.zeros((len(protocols), len(patients)))
        for member, network in enumerate(self.networks):
            asked = np.flatnonzero(weights[member] > 0)
            if asked.size:
                found = self._logits_of(member, network, protocols, patients[asked])
                logits[:, asked] += weights[member, asked] * found
        return logits

    def _logits_of(
        self, member: int, network: ImageNetwork, protocols: Sequence[Protocol], patients: Patients
    ) -> NDArray[np.float64]:
        reader = self._reader
        for protocol in protocols:
            reader.menu.check(protocol)
            if reader.only not in (None, protocol):
                raise ScanwiseError(
                    f"this network reads {reader.only.key!r} alone, but was asked for {protocol.key!r}",
                    "leave model.only out for a network that reads any protocol",
                )
        asked = [[(name, one.counts(name)) for name in reader.images if one.counts(name)] for one in protocols]
        distinct = list(dict.fromkeys(scan for scans in asked for scan in scans))
        per_patient = 2 * network.n_places * network.head.places.in_features * max(1, len(distinct))  # bytes
        n_parts = max(1, math.ceil(len(patients) * per_patient / _KEPT_BYTES))
        logits = []
        for some in np.array_split(patients, n_parts):
            images = dict(zip(distinct, self._evidence(member, network, distinct, some), strict=True))
            alike = self._alike_everywhere(network, protocols, some)
            added = [(one, *(images[scan] for scan in scans)) for one, scans in zip(alike, asked, strict=True)]
            logits.append(logits_of_sums(network, added, len(some)))
        return np.concatenate(logits, axis=1)

    def _alike_everywhere(
        self, network: ImageNetwork, protocols: Sequence[Protocol], patients: Patients
    ) -> list[Tensor]:
        """Return the evidence that has no place, of every protocol: ``(patients, evidence)``, one for equal panels."""
        features = {name: self._reader.features(name, patients).to(network.device) for name in self._reader.panels}
        absent = network.absent().expand(len(patients), -1)

        @cache
        def of_panel(name: str, counts: tuple[int, ...]) -> Tensor:
            return network.encode_panel(name, features[name], torch.as_tensor(counts, device=network.device)[None])

        @cache
        def of_panels(*panels: tuple[str, tuple[int, ...]]) -> Tensor:
            return absent + sum(of_panel(*one) for one in panels)

        return [of_panels(*((name, one.counts(name)) for name in features if one.counts(name))) for one in protocols]

    def _evidence(
        self, member: int, network: ImageNetwork, asked: Sequence[tuple[str, tuple[int, ...]]], patients: Patients
    ) -> list[Tensor]:
        """Return the evidence of several (modality, counts), ``(patients, places, evidence)`` each, and keep it."""
        whose = (member, len(patients), zlib.crc32(patients.tobytes()))
        new = [one for one in asked if (*whose, *one) not in self._kept]
        found = {one: self._kept[*whose, *one] for one in asked if one not in new}

        @torch.no_grad()  # see `logits`
        def encode(one: tuple[str, tuple[int, ...]]) -> Tensor:
            return self._encode(network, *one, patients)

        found |= zip(new, in_threads(encode, new) if len(new) > 1 else map(encode, new), strict=True)
        for one in asked:
            self._kept[*whose, *one] = found[one]
            self._kept.move_to_end((*whose, *one))
        while sum(one.nbytes for one in self._kept.values()) > _KEPT_BYTES and len(self._kept) > 1:
            self._kept.popitem(last=False)
        return [found[one] for one in asked]

    def _encode(self, network: ImageNetwork, name: str, counts: tuple[int, ...], patients: Patients) -> Tensor:
        pieces = []
        stream = [self._seed, zlib.crc32(name.encode())]
        for start in range(0, len(patients), _CHUNK):
            chunk = patients[start : start + _CHUNK]
            noise = [np.random.default_rng([*stream, int(patient)]) for patient in chunk]
            images, sampling, done = self._reader.images_of(name, np.array(counts, dtype=np.int64), chunk, noise)
            evidence = network.encode_image(
                name, torch.as_tensor(images).to(network.device), torch.as_tensor(sampling).to(network.device)
            )
            pieces.append((evidence * torch.as_tensor(done, device=evidence.device)[:, None, None]).half())
        return torch.cat(pieces)


class _Batches(IterableDataset[Mapping[str, Any]]):
    """One batch per training step; the next ones are measured in a thread while the network learns."""

    def __init__(self, reader: Reader, learn: Patients, settings: ImageModel, seed: int) -> None:
        self._reader = reader
        self._learn = learn
        self._settings = settings
        self._seed = seed
        self._known = {name: list(settings_of(modality)) for name, modality in reader.images.items()}

    def __len__(self) -> int:
        return self._settings.steps

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        rng = np.random.default_rng([self._seed, 0x6261, rank])
        ahead: queue.Queue[Mapping[str, Any] | BaseException] = queue.Queue(_AHEAD)
        stop = threading.Event()

        def measure() -> None:
            try:
                for batch in self._measured(rng):
                    while not stop.is_set():
                        try:
                            ahead.put(batch, timeout=0.2)
                            break
                        except queue.Full:
                            continue
                    if stop.is_set():
                        return
            except BaseException as error:  # handed over to the thread that trains
                ahead.put(error)

        thread = threading.Thread(target=measure, daemon=True)
        thread.start()
        try:
            for _ in range(self._settings.steps):
                batch = ahead.get()
                if isinstance(batch, BaseException):
                    raise batch
                yield batch
        finally:
            stop.set()
            thread.join()

    def _measured(self, rng: np.random.Generator) -> Iterator[Mapping[str, Any]]:
        settings, learn = self._settings, self._learn
        size = min(settings.batch_size, len(learn))
        order = rng.permutation(learn)
        for _ in range(settings.steps):
            if len(order) < size:
                order = np.concatenate([order, rng.permutation(learn)])
            rows, order = order[:size], order[size:]
            yield self._batch(rows, rng)

    def _batch(self, rows: Patients, rng: np.random.Generator) -> Mapping[str, Any]:
        reader = self._reader
        flip = rng.random(len(rows)) < 0.5
        cells = rng.integers(-1, 2, size=2)
        images, sampling = {}, {}
        groups = np.array_split(np.arange(len(rows)), self._settings.patterns_per_step)
        for name, modality in reader.images.items():
            counts = np.empty((len(rows), len(modality.shots)), dtype=np.int64)
            for group in groups:
                counts[group] = self._pattern(name, rng)
            found, told, done = reader.images_of(name, counts, rows, rng)
            told[~done] = 0.0
            images[name] = torch.as_tensor(self._moved(found, flip, cells))
            sampling[name] = torch.as_tensor(told)
        targets = [reader.data.label[rows], *(target[rows] for target in reader.data.targets.values())]
        lesions = reader.data.lesions(rows)
        return {
            "images": images,
            "sampling": sampling,
            "panels": {name: reader.features(name, rows) for name in reader.panels},
            "panel_counts": {name: torch.as_tensor(reader.usual(name))[None] for name in reader.panels},
            "taken": torch.as_tensor(self._subsets(rng)),
            "target": torch.as_tensor(np.stack(targets, axis=1)),
            "lesions": None if lesions is None else torch.as_tensor(self._moved(self._on_grid(lesions), flip, cells)),
        }

    def _pattern(self, name: str, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw a length and pattern: usual practice, one of the lattice, or any that the schemes allow."""
        chance = rng.random()
        if chance < self._settings.usual or self._reader.only is not None:
            return self._reader.usual(name)
        if chance < 0.5 + 0.5 * self._settings.usual:
            known = self._known[name]
            return np.array(known[rng.integers(len(known))], dtype=np.int64)
        counts = random_counts(self._reader.menu.modalities[name], rng)
        return counts if counts.any() else self._reader.usual(name)

    def _moved(self, images: NDArray[np.float32], flip: NDArray[np.bool_], cells: NDArray[Any]) -> NDArray[np.float32]:
        """Mirror some patients and shift the table by whole cells: the same for every modality and for the lesions."""
        mirrored = np.where(flip[:, None, None, None], images[..., ::-1], images)
        steps = [
            int(cell) * (size // grid)
            for cell, size, grid in zip(cells, images.shape[2:], self._settings.grid, strict=True)
        ]
        return np.ascontiguousarray(np.roll(mirrored, steps, axis=(2, 3)))

    def _on_grid(self, lesions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Blend drawn lesions into the cells of the grid; half a cell counts as full."""
        patients, classes, y, x = lesions.shape
        grid_y, grid_x = self._settings.grid
        cells = lesions.reshape(patients, classes, grid_y, y // grid_y, grid_x, x // grid_x).mean((3, 5))
        return np.minimum(2.0 * cells, 1.0).astype(np.float32)

    def _subsets(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw which modalities each decoding has: everything, each image alone, tests only, and random sets."""
        images, panels = len(self._reader.images), len(self._reader.panels)
        rows = [np.ones(images + panels)]
        if self._reader.only is not None:
            return np.ones((1, images + panels), dtype=np.float32)
        for index in range(images):
            row = np.zeros(images + panels)
            row[index] = 1.0
            row[images:] = rng.random(panels) < 0.5
            rows.append(row)
        while len(rows) < self._settings.subsets_per_step:
            row = (rng.random(images + panels) < rng.uniform(0.2, 0.9)).astype(float)
            row[images:] = rng.random(panels) < 0.8
            rows.append(row)
        return np.stack(rows[: self._settings.subsets_per_step]).astype(np.float32)


def _seed_of(seed: int, member: int) -> int:
    return int(np.random.SeedSequence([seed, member]).generate_state(1)[0])
