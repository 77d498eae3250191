"""The amortised model: one Lightning network per fold that scores any protocol without training again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from scanwise.design import Fold, Menu, PatientData, Patients, Product, Protocol
from scanwise.errors import ScanwiseError
from scanwise.model.calibration import fit_calibration
from scanwise.model.checkpoint import load_checkpoint, save_checkpoint
from scanwise.model.encoders import check_panels, menu_features
from scanwise.model.network import DiagnosisNetwork, Encoded
from scanwise.model.parts import Parts
from scanwise.model.product import Part, product_logits
from scanwise.model.sandwich import sandwich, small_lattice
from scanwise.model.trainer import Progress, TrainerSettings, quiet_training

_FILE = "network.ckpt"
_CHUNK = 4_000_000
"""Evidence values held at once while scoring; 16 MB in single precision."""
_PRODUCT_PATIENTS = 256
"""Patients of one part of a product."""


@dataclass(frozen=True)
class AmortisedModel:
    """Settings of the amortised network; `fit` trains one ensemble per fold of the patients.

    Parameters
    ----------
    n_evidence, n_hidden : sizes of the evidence vector and of the hidden layer of the head.
    prior_precision : strength of the Gaussian prior on all weights (10 is `C = 0.1` of a logistic regression).
    learning_rate, steps : one-cycle Adam.
    members : networks per inner fold; an ensemble has inner folds x members networks.
    protocols_per_step : how many protocols every step decodes; the whole lattice where it is not larger.
    batch_size : patients per step.

    Raises
    ------
    ScanwiseError
        If a size is not positive.
    """

    n_evidence: int = 8
    n_hidden: int = 8
    prior_precision: float = 10.0
    learning_rate: float = 0.02
    steps: int = 150
    members: int = 1
    protocols_per_step: int = 32
    batch_size: int = 512

    kind = "amortised network"
    fuses = True
    """Whether what it fits is a `scanwise.design.ProductScorer`."""

    def __post_init__(self) -> None:
        for name in ("n_evidence", "n_hidden", "prior_precision", "learning_rate", "steps", "members", "batch_size"):
            if not getattr(self, name) > 0:
                raise ScanwiseError(
                    f"model.{name} must be above 0, but got {getattr(self, name)!r}", "leave it out for the default"
                )
        if self.protocols_per_step < 4:
            raise ScanwiseError(
                f"model.protocols_per_step must be at least 4, but got {self.protocols_per_step}",
                "the full protocol, the smallest, current practice and one more",
            )

    def check(self, menu: Menu) -> None:
        """Raise a `ScanwiseError` where this menu cannot be read, before anything is trained."""
        check_panels(menu)

    def describe(self) -> str:
        """Return one sentence for the methods text."""
        return (
            "one network per fold that accepts any protocol (evidence of the modalities is summed; "
            f"{self.n_evidence} values each, {self.n_hidden} hidden units), trained for {self.steps} steps on "
            f"{self.protocols_per_step} protocols each, as an ensemble that leaves each inner fold out "
            f"{'once' if self.members == 1 else f'{self.members} times'}, with temperature and shift per protocol "
            "fitted on the patients left out"
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
    ) -> NetworkScorer:
        """Train on ``fold.learn``, calibrate on the patients each network left out, and write ``network.ckpt``.

        Parameters
        ----------
        data, menu : patients and what is on offer.
        fold : who may be learned from.
        seed : initial weights, batches and protocols.
        trainer : where training runs.
        directory : where the checkpoint goes; it appears only once training is complete.
        progress : told how far training is.
        """
        parts = Parts.of(fold, data.label, members_per_part=self.members, seed=seed)
        tables = {name: menu_features(data, menu, name) for name in menu.modalities}
        network = DiagnosisNetwork(
            panels={
                name: {"n_shots": len(menu.modalities[name].shots), "shot": [int(s) for s in shot]}
                for name, (_, shot) in tables.items()
            },
            n_members=len(parts.leaves_out),
            n_evidence=self.n_evidence,
            n_hidden=self.n_hidden,
            prior_precision=self.prior_precision,
            learning_rate=self.learning_rate,
            steps=self.steps,
            seed=seed,
        )
        learn = torch.as_tensor(parts.learn)
        features = {name: table[learn] for name, (table, _) in tables.items()}
        learns = torch.as_tensor(parts.learns, dtype=torch.float32)
        network.standardise(features, learns)
        batches = _Batches(
            features=features,
            label=torch.as_tensor(data.label[parts.learn]),
            learns=learns,
            menu=menu,
            settings=self,
            seed=seed,
        )
        directory.mkdir(parents=True, exist_ok=True)
        run = trainer.build(steps=self.steps, directory=directory, progress=progress)
        with quiet_training():
            run.fit(network, DataLoader(batches, batch_size=None))
        network = network.cpu().eval()
        scorer = NetworkScorer(network, data, menu, parts)
        network.calibration.copy_(scorer.fit_calibration(batches.calibration_protocols()))
        save_checkpoint(run, directory / _FILE, fold)
        return scorer

    def load(self, data: PatientData, menu: Menu, fold: Fold, *, seed: int, directory: Path) -> NetworkScorer:
        """Load what `fit` wrote.

        Raises
        ------
        ScanwiseError
            If there is no checkpoint, or it is damaged.
        """
        network = load_checkpoint(DiagnosisNetwork, directory / _FILE, fold.name)
        parts = Parts.of(fold, data.label, members_per_part=self.members, seed=seed)
        return NetworkScorer(network, data, menu, parts)

    def reader(self, menu: Menu, directory: Path) -> Callable[[PatientData], NetworkScorer]:
        """Load what `fit` wrote, to read patients nobody learned from: all members answer.

        Raises
        ------
        ScanwiseError
            If there is no checkpoint, or it is damaged.
        """
        network = load_checkpoint(DiagnosisNetwork, directory / _FILE, directory.name)
        parts = Parts.nobody(network.head.readout.shape[0])
        return lambda data: NetworkScorer(network, data, menu, parts)


class NetworkScorer:
    """Scores any protocol by adding evidence: every patient is encoded once per call, whatever the number of protocols.

    Parameters
    ----------
    network : the trained ensemble.
    data, menu : patients and what is on offer.
    parts : who was learned from by whom.
    """

    def __init__(self, network: DiagnosisNetwork, data: PatientData, menu: Menu, parts: Parts) -> None:
        self.network = network
        self._data = data
        self._menu = menu
        self._parts = parts

    def score(self, protocols: Sequence[Protocol], patients: Patients) -> NDArray[np.float64]:
        """Return calibrated probabilities, shape ``(protocols, patients)``; see `scanwise.design.Scorer`."""
        logits = torch.as_tensor(self._logits(protocols, patients))
        counts = torch.as_tensor(self._menu.matrix(protocols))
        probability: NDArray[np.float64] = expit(self.network.calibrated(logits, counts).numpy())
        return probability

    def score_product(
        self, product: Product, patients: Patients, *, wanted: NDArray[np.bool_] | None = None, refine: int = 0
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yield rows of a product and their probabilities, exactly; see `scanwise.design.ProductScorer`."""
        del refine
        patients = np.asarray(patients, dtype=np.int64)
        parts = self._product_parts(product, patients)
        for rows, logits in product_logits(product.shape, parts, len(patients), wanted):
            counts = torch.as_tensor(product.counts(self._menu, rows))
            with torch.inference_mode():
                yield rows, expit(self.network.calibrated(torch.as_tensor(logits), counts).numpy())

    @torch.inference_mode()
    def _product_parts(self, product: Product, patients: Patients) -> list[Part]:
        network, weights = self.network, self._parts.weights(patients)
        columns = {name: self._menu.columns(name) for name in product.choices}
        counts = {
            name: torch.as_tensor(self._menu.matrix([Protocol({name: pattern}) for pattern in patterns]))
            for name, patterns in product.choices.items()
        }
        fixed = torch.as_tensor(self._menu.matrix([product.fixed]))
        parts = []
        for start in range(0, len(patients), _PRODUCT_PATIENTS):
            chunk = np.arange(start, min(start + _PRODUCT_PATIENTS, len(patients)))
            whole = network.encode(
                {name: menu_features(self._data, self._menu, name, patients[chunk])[0] for name in network.encoders}
            )
            for member, weight in enumerate(weights):
                asked = np.flatnonzero(weight[chunk] > 0)
                if not asked.size:
                    continue
                some, encoded = chunk[asked], Encoded(whole.evidence[asked], whole.done[asked])
                always = network.adds(encoded, slice(None), fixed, member)
                parts.append(
                    Part(
                        patients=some,
                        weight=weight[some],
                        base=tuple(a + b[0] for a, b in zip(network.nothing(member), always, strict=True)),
                        tables=tuple(
                            network.adds(encoded, columns[name], counts[name][:, columns[name]], member)
                            for name in product.choices
                        ),
                        read=partial(network.head.of_member, member),
                    )
                )
        return parts

    def fit_calibration(self, protocols: Sequence[Protocol]) -> Tensor:
        """Return log temperature and shift fitted on the patients each network left out; see `fit_calibration`."""
        about = self.network.protocol_features(torch.as_tensor(self._menu.matrix(protocols))).double().numpy()
        logits = self._logits(protocols, self._parts.learn)
        found = fit_calibration(logits, self._data.label[self._parts.learn], about)
        return torch.as_tensor(found, dtype=torch.float32)

    @torch.inference_mode()
    def _logits(self, protocols: Sequence[Protocol], patients: Patients) -> NDArray[np.float64]:
        weights = torch.as_tensor(self._parts.weights(patients), dtype=torch.float32)
        counts = torch.as_tensor(self._menu.matrix(protocols))
        features = {name: menu_features(self._data, self._menu, name, patients)[0] for name in self._menu.modalities}
        encoded = self.network.encode(features)
        step = max(1, _CHUNK // max(1, len(patients) * encoded.evidence.shape[-1]))
        logits = np.empty((len(protocols), len(patients)))
        for start in range(0, len(protocols), step):
            rows = slice(start, start + step)
            decoded = self.network.decode(encoded, counts[rows])
            logits[rows] = torch.einsum("mpn,mn->pn", decoded, weights).double().numpy()
        return logits


class _Batches(IterableDataset[Mapping[str, Any]]):
    """One batch per training step: patients, and the protocols they are decoded for."""

    def __init__(
        self,
        *,
        features: Mapping[str, Tensor],
        label: Tensor,
        learns: Tensor,
        menu: Menu,
        settings: AmortisedModel,
        seed: int,
    ) -> None:
        self._features = features
        self._label = label
        self._learns = learns
        self._menu = menu
        self._settings = settings
        self._seed = seed
        self._lattice = small_lattice(menu, settings.protocols_per_step)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        rng = np.random.default_rng([self._seed, 0x6261, rank])
        n = len(self._label)
        for _ in range(self._settings.steps):
            size = self._settings.batch_size
            rows = torch.as_tensor(np.arange(n) if n <= size else rng.choice(n, size=size, replace=False))
            yield {
                "features": {name: table[rows] for name, table in self._features.items()},
                "counts": torch.as_tensor(self._menu.matrix(self._protocols(rng))),
                "label": self._label[rows],
                "learns": self._learns[:, rows],
                "n_learn": float(n),
            }

    def __len__(self) -> int:
        return self._settings.steps

    def calibration_protocols(self) -> list[Protocol]:
        """Return the protocols the calibration is fitted on."""
        return self._protocols(np.random.default_rng([self._seed, 0x6361]))

    def _protocols(self, rng: np.random.Generator) -> list[Protocol]:
        return self._lattice or sandwich(self._menu, self._settings.protocols_per_step, rng)
