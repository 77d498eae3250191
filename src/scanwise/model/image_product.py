"""Combinations of imaging settings, read at the places that matter.

Reading the map of one protocol for one patient means two small matrix products at every place. The log-sum-exp over
places, though, is a smooth maximum: nearly all of it comes from few places, and for a patient these are much the same
whichever images are read, because a lesion stays where it is. So a sample of protocols is read in full, and every
patient keeps the fewest places from which the log odds of the sample can be told, by a straight line of the patient's
own that allows for what the other places hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanwise.design import Product
from scanwise.model.image_network import ImageNetwork, PlaceHead
from scanwise.model.product import Part, in_threads

_PILOT = 192
"""Protocols that are read at all places, to find those that matter."""
_SEED = 0x706C
_AT_ONCE = 16
"""Patients whose maps are read at once: more do not fit into the cache of a core."""
_STEP = 4
"""Numbers of places are multiples of this, or all; patients of one number are read together."""
_ROWS = 1024
"""Places of all patients that are read together, about."""


@dataclass(frozen=True, eq=False)
class Ingredients:
    """What every setting of every modality adds for some patients, as one network sees it.

    Parameters
    ----------
    network : reads the sums.
    everywhere : what is there whatever is chosen, alike at all places, shape ``(patients, evidence)``.
    fixed : images that are always there, shape ``(patients, places, evidence)`` each.
    tables : per modality and setting: of images ``(patients, places, evidence)``, of tests ``(patients, evidence)``,
        `None` where the setting is "not at all".
    """

    network: ImageNetwork
    everywhere: Tensor
    fixed: Sequence[Tensor]
    tables: Sequence[Sequence[Tensor | None]]

    def __len__(self) -> int:
        return len(self.everywhere)

    def maps(self, settings: NDArray[np.int64], patients: NDArray[np.int64]) -> Tensor:
        """Return label maps of several protocols, shape ``(protocols, patients, places)``.

        Parameters
        ----------
        settings : setting of each modality, shape ``(protocols, modalities)``.
        patients : rows.
        """
        base = self._base(patients)
        tables = [[None if one is None else self._broad(one[patients]) for one in table] for table in self.tables]
        maps = torch.empty((len(settings), *base.shape[:2]), device=base.device)
        for row, chosen in enumerate(settings.tolist()):
            evidence = base.clone()
            for table, setting in zip(tables, chosen, strict=True):
                added = table[setting]
                if added is not None:
                    evidence += added
            maps[row] = self.network.head.label_map(evidence)
        return maps

    def part(
        self, patients: NDArray[np.int64], kept: KeptPlaces, columns: NDArray[np.int64], weight: NDArray[np.float64]
    ) -> Part:
        """Return some patients, read at some places each.

        Parameters
        ----------
        patients : rows.
        kept : where they are read, rows as in `patients`.
        columns, weight : of the result, see `Part`.
        """
        places = kept.order
        index = places[:, :, None].expand(-1, -1, self.everywhere.shape[1])

        def at_places(evidence: Tensor) -> Tensor:
            return evidence.gather(1, index.to(evidence.device)).flatten(0, 1)

        base = self._base(patients)
        streams = []
        for table in self.tables:
            here = [self._none(base) if one is None else self._broad(one[patients]) for one in table]
            local = [at_places(one.expand(-1, base.shape[1], -1)) for one in here]
            streams.append((torch.stack(local), torch.stack([one.float().mean(1) for one in here])))
        return Part(
            patients=columns,
            weight=weight,
            base=(at_places(base), base.mean(1)),
            tables=tuple(streams),
            read=_Reader(self.network.head, (kept.slope, kept.offset)),
        )

    def _base(self, patients: NDArray[np.int64]) -> Tensor:
        base = self.everywhere[patients][:, None].expand(-1, self.network.n_places, -1).float()
        for image in self.fixed:
            base = base + image[patients]
        return base

    @staticmethod
    def _broad(evidence: Tensor) -> Tensor:
        return evidence if evidence.ndim == 3 else evidence[:, None]

    @staticmethod
    def _none(base: Tensor) -> Tensor:
        return torch.zeros((len(base), 1, base.shape[2]), device=base.device)


@dataclass(frozen=True, eq=False)
class KeptPlaces:
    """Where patients are read, and the line that tells the log-sum-exp over all places from that over these.

    Parameters
    ----------
    order : those that are kept first, shape ``(patients, places)``.
    needed : how many are kept, shape ``(patients,)``.
    slope, offset : shape ``(patients,)``.
    """

    order: Tensor
    needed: Tensor
    slope: Tensor
    offset: Tensor

    def of(self, patients: NDArray[np.int64]) -> KeptPlaces:
        """Return some patients, of whom as many places are kept, and these places alone."""
        some = KeptPlaces(*(getattr(self, one.name)[patients] for one in fields(self)))
        return replace(some, order=some.order[:, : int(some.needed[0])])

    @classmethod
    def cat(cls, blocks: Sequence[KeptPlaces]) -> KeptPlaces:
        """Put blocks of patients together."""
        return cls(*(torch.cat([getattr(one, field.name) for one in blocks]) for field in fields(cls)))


class _Reader:
    """Reads some patients at the places that are kept, in memory of its own."""

    def __init__(self, head: PlaceHead, line: tuple[Tensor, Tensor]) -> None:
        self._head = head
        self._line = line
        self._hidden = line[0].new_empty((0, head.places.out_features))

    def __call__(self, evidence: Tensor, mean: Tensor) -> Tensor:
        n_rows = evidence.shape[0] * evidence.shape[1]
        if len(self._hidden) < n_rows:
            self._hidden = self._hidden.new_empty((n_rows, self._hidden.shape[1]))
        return self._head.label_logits(evidence, mean, line=self._line, hidden=self._hidden)


def pilot_rows(product: Product, several: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Draw protocols whose maps are read in full: every modality with a chance that differs from protocol to protocol.

    Parameters
    ----------
    product : what is combined.
    several : rows that may be drawn.
    """
    if several.sum() <= _PILOT:
        return np.flatnonzero(several)
    rng = np.random.default_rng(_SEED)
    chosen: dict[int, None] = {}
    while len(chosen) < _PILOT:
        chance = rng.uniform(0.2, 1.0)
        settings = [int(rng.integers(1, size)) if size > 1 and rng.random() < chance else 0 for size in product.shape]
        row = int(np.ravel_multi_index(settings, product.shape))
        if several[row]:
            chosen[row] = None
    return np.array(list(chosen), dtype=np.int64)


def image_parts(
    ingredients: Ingredients,
    settings: NDArray[np.int64],
    *,
    tolerance: float,
    columns: NDArray[np.int64],
    weight: NDArray[np.float64],
) -> list[Part]:
    """Return all patients, each read at the fewest places that will do; see `places_that_matter`.

    Parameters
    ----------
    ingredients : what every setting adds.
    settings : pilot protocols, shape ``(protocols, modalities)``.
    tolerance : how far the log odds of the pilot protocols may be off, root mean square.
    columns, weight : per patient, see `Part`.
    """
    blocks = [
        np.arange(start, min(start + _AT_ONCE, len(ingredients))) for start in range(0, len(ingredients), _AT_ONCE)
    ]
    scale = float(torch.exp(ingredients.network.head.sharpness[0]))

    @torch.inference_mode()
    def look(block: NDArray[np.int64]) -> KeptPlaces:
        return places_that_matter(ingredients.maps(settings, block), tolerance / scale)

    places = KeptPlaces.cat(in_threads(look, blocks))
    n_kept = places.needed.cpu().numpy()
    groups = []
    for n in np.unique(n_kept):
        alike = np.flatnonzero(n_kept == n)
        groups += np.array_split(alike, -(-len(alike) * int(n) // _ROWS))

    @torch.inference_mode()
    def part(patients: NDArray[np.int64]) -> Part:
        return ingredients.part(patients, places.of(patients), columns[patients], weight[patients])

    return in_threads(part, groups)


def places_that_matter(maps: Tensor, tolerance: float) -> KeptPlaces:
    """Order the places of every patient by what they hold of the log-sum-exp, and keep the fewest that will do.

    What the places that are left out would add is told from the log-sum-exp of those that are kept, by least squares
    over the protocols: it is much where no kept place stands out.

    Parameters
    ----------
    maps : shape ``(protocols, patients, places)``.
    tolerance : how far the log-sum-exp may be off, root mean square over protocols.
    """
    n_protocols, n_patients, n_places = maps.shape
    share = torch.softmax(maps, dim=2)
    order = share.square().mean(0).argsort(dim=1, descending=True)
    counts = torch.tensor([*range(_STEP, n_places, _STEP), n_places], device=maps.device)
    left = share.gather(2, order.expand(n_protocols, -1, -1)).cumsum(2)[:, :, counts - 1].clamp(min=1e-30).log()
    kept = left + torch.logsumexp(maps, dim=2)[:, :, None]
    middle, level = kept.mean(0), left.mean(0)
    slope = ((kept - middle) * left).sum(0) / (kept - middle).square().sum(0).clamp(min=1e-9)
    wrong = (left - level - slope * (kept - middle)).square().sum(0)
    off = (wrong / (n_protocols - 2)).sqrt() if n_protocols > 2 else torch.full_like(wrong, torch.inf)
    off[:, -1] = 0.0
    chosen = (off.flip(1).cummax(1).values.flip(1) > tolerance).sum(1)

    slope, offset = 1.0 - slope, slope * middle - level
    slope[:, -1], offset[:, -1] = 1.0, 0.0
    rows = torch.arange(n_patients, device=maps.device)
    return KeptPlaces(order, counts[chosen], slope[rows, chosen], offset[rows, chosen])
