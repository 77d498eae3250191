"""All modalities on offer in a study, with set-ups, prices and current practice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanwise.design.cost import COST_AXES, Cost
from scanwise.design.modality import Modality
from scanwise.design.protocol import Protocol
from scanwise.design.shots import Setup
from scanwise.errors import ScanwiseError, did_you_mean


@dataclass(frozen=True)
class BillItem:
    """One line of a bill: the shots of one modality, or one set-up."""

    label: str
    kind: str
    """``"shots"``, also for a set-up that is scanning, or ``"setup"``."""
    cost: Cost


def parts_of_today(menu: Menu) -> tuple[str, ...]:
    """Return what today's protocol consists of beyond what is always done, in the order of the menu."""
    return tuple(n for n in menu.modalities if n in menu.reference.modalities and n not in menu.always.modalities)


def subsets_of_today(menu: Menu, parts: Sequence[str]) -> list[Protocol]:
    """Return every subset of parts of today's protocol, as it is acquired today; part 0 is the lowest bit."""
    always = {name: menu.always.counts(name) for name in menu.always.modalities}
    return [
        Protocol({**always, **{name: menu.reference.counts(name) for at, name in enumerate(parts) if subset >> at & 1}})
        for subset in range(2 ** len(parts))
    ]


class Menu:
    """The modalities of a study, what they cost together, and what is done today.

    Parameters
    ----------
    modalities : the modalities on offer; order is kept in every table.
    setups : the set-ups their shots refer to.
    reference : current practice, the protocol everything is compared with; `None` = everything as usual.
    always : what is acquired in any case (history, age ...); part of every protocol.
    currency : symbol written before money.
    source : where the prices come from.

    Raises
    ------
    ScanwiseError
        For duplicate names, a set-up no one defined, a scheme for shots of another kind, or a reference that does not
        fit the shot tables.
    """

    def __init__(
        self,
        modalities: Iterable[Modality],
        setups: Iterable[Setup] = (),
        *,
        reference: Protocol | None = None,
        always: Protocol | None = None,
        currency: str = "",
        source: str = "",
    ) -> None:
        self.modalities: dict[str, Modality] = {}
        for modality in modalities:
            if modality.name in self.modalities:
                raise ScanwiseError(f"two modalities of the menu are called {modality.name!r}", "names must be unique")
            for scheme in modality.schemes:
                scheme.check(modality.shots)
            self.modalities[modality.name] = modality
        if not self.modalities:
            raise ScanwiseError("a menu needs at least one modality")
        self.setups: dict[str, Setup] = {}
        for setup in setups:
            if setup.name in self.setups:
                raise ScanwiseError(f"two set-ups of the menu are called {setup.name!r}", "names must be unique")
            self.setups[setup.name] = setup
        self.currency = currency
        self.source = source

        shot_setups = [needed for modality in self.modalities.values() for needed in modality.shots.setups]
        for needed in shot_setups:
            for name in needed:
                if name not in self.setups:
                    raise ScanwiseError(
                        f"a shot needs the set-up {name!r}, which the menu does not define",
                        did_you_mean(name, self.setups),
                    )
        offsets = np.cumsum([0, *(len(modality.shots) for modality in self.modalities.values())])
        self._columns = {
            name: slice(int(a), int(b)) for name, a, b in zip(self.modalities, offsets[:-1], offsets[1:], strict=True)
        }
        self._unit_costs = np.concatenate([modality.shots.unit_costs for modality in self.modalities.values()])
        self._needs = np.array([[name in needed for name in self.setups] for needed in shot_setups], dtype=bool)
        self._needs = self._needs.reshape(len(shot_setups), len(self.setups))
        self._setup_costs = np.array([setup.cost.to_array() for setup in self.setups.values()]).reshape(
            -1, len(COST_AXES)
        )

        self.always = always or Protocol()
        self.check(self.always)
        self.reference = (reference or self.everything()) | self.always
        self.check(self.reference)
        for modality in self.modalities.values():
            for name in modality.requires:
                self._modality(name)

    @property
    def shot_costs(self) -> NDArray[np.float64]:
        """Cost of taking each shot once, without set-ups, shape ``(shots, axes)``, modalities side by side."""
        return self._unit_costs

    @property
    def shot_setups(self) -> NDArray[np.bool_]:
        """Which set-ups each shot needs, shape ``(shots, setups)``."""
        return self._needs

    @property
    def setup_costs(self) -> NDArray[np.float64]:
        """Cost of each set-up, shape ``(setups, axes)``."""
        return self._setup_costs

    @property
    def n_shots(self) -> int:
        """Number of shots of all modalities together."""
        return len(self._unit_costs)

    def everything(self) -> Protocol:
        """Return the protocol that takes every modality as it is usually taken."""
        return Protocol({name: modality.standard for name, modality in self.modalities.items()})

    def protocol(self, *names: str) -> Protocol:
        """Return the named modalities as they are usually taken, together with what is always done."""
        counts = {name: self._modality(name).standard for name in names}
        return Protocol(counts) | self.always

    def check(self, protocol: Protocol) -> None:
        """Raise a `ScanwiseError` where a protocol names an unknown modality or does not fit a shot table."""
        for name in protocol.modalities:
            self._modality(name).check(protocol)

    def matrix(self, protocols: Sequence[Protocol]) -> NDArray[np.int64]:
        """Return the counts of several protocols, shape ``(protocols, shots)``, modalities side by side."""
        counts = np.zeros((len(protocols), self.n_shots), dtype=np.int64)
        for row, protocol in zip(counts, protocols, strict=True):
            self.check(protocol)
            for name, values in protocol.items():
                row[self._columns[name]] = values
        return counts

    def columns(self, modality: str) -> slice:
        """Return which columns of `matrix` belong to a modality."""
        self._modality(modality)
        return self._columns[modality]

    def price_many(self, protocols: Sequence[Protocol]) -> NDArray[np.float64]:
        """Return the cost of several protocols, shape ``(protocols, axes)`` in the order of ``COST_AXES``.

        A set-up is paid once where any shot needs it:
        ``counts @ unit_costs + any(counts > 0 and needs) @ setup_costs``.
        """
        costs, needs = self.unit_prices(protocols)
        return costs + self.setup_prices(needs)

    def unit_prices(self, protocols: Sequence[Protocol]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return what the shots of several protocols cost, ``(protocols, axes)``, and which set-ups they need."""
        counts = self.matrix(protocols)
        needs = ((counts > 0).astype(np.int64) @ self._needs.astype(np.int64)) > 0
        return counts @ self._unit_costs, needs

    def setup_prices(self, needs: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return what set-ups cost, shape ``(protocols, axes)``, from which are needed, ``(protocols, set-ups)``."""
        costs: NDArray[np.float64] = needs @ self._setup_costs
        return costs

    def price(self, protocol: Protocol) -> Cost:
        """Return the cost of a protocol, every shared set-up paid once."""
        return Cost.from_array(self.price_many([protocol])[0])

    def price_unshared(self, protocol: Protocol) -> Cost:
        """Return what it would cost if every shot paid its set-ups alone (no group discount)."""
        counts = self.matrix([protocol])[0]
        alone = self._unit_costs + self._needs @ self._setup_costs
        return Cost.from_array(counts @ alone)

    def bill(self, protocol: Protocol) -> tuple[BillItem, ...]:
        """Return the cost line by line: shots per modality, then each set-up that is used; sums to `price`."""
        self.check(protocol)
        counts = self.matrix([protocol])[0]
        items = []
        for name in self.modalities:
            if protocol.counts(name):
                columns = self._columns[name]
                cost = Cost.from_array(counts[columns] @ self._unit_costs[columns])
                items.append(BillItem(self.modalities[name].describe(protocol.counts(name)), "shots", cost))
        for index, setup in enumerate(self.setups.values()):
            if self._needs[counts > 0, index].any():
                items.append(BillItem(setup.label, "shots" if setup.scanning else "setup", setup.cost))
        return tuple(items)

    def reading(self, protocol: Protocol) -> str:
        """Return one line for people, in menu order: ``"history + exercise ECG + fluoroscopy"``."""
        self.check(protocol)
        words = [
            modality.describe(protocol.counts(name))
            for name, modality in self.modalities.items()
            if protocol.counts(name)
        ]
        return " + ".join(words) or "no test at all"

    def priced_axes(self) -> tuple[str, ...]:
        """Return the cost axes that differ between protocols of this menu."""
        varies = (self._unit_costs != 0).any(axis=0)
        if len(self._setup_costs):
            varies |= (self._setup_costs != 0).any(axis=0)
        return tuple(axis for axis, moves in zip(COST_AXES, varies, strict=True) if moves)

    def _modality(self, name: str) -> Modality:
        if name not in self.modalities:
            raise ScanwiseError(f"the menu has no modality {name!r}", did_you_mean(name, self.modalities))
        return self.modalities[name]

    def to_dict(self) -> dict[str, object]:
        """Return the menu as plain data, for manifests and reports."""
        return {
            "currency": self.currency,
            "source": self.source,
            "reference": self.reference.key,
            "always": self.always.key,
            "setups": {
                name: {"label": setup.label, "cost": setup.cost.to_dict()} for name, setup in self.setups.items()
            },
            "modalities": {
                name: {
                    "title": modality.title,
                    "shots": list(modality.shots.names),
                    "requires": list(modality.requires),
                    "schemes": [scheme.name for scheme in modality.schemes],
                }
                for name, modality in self.modalities.items()
            },
        }

    def __repr__(self) -> str:
        return f"Menu({', '.join(self.modalities)}; reference {self.currency}{self.price(self.reference).money:g})"
