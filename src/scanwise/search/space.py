"""What may be searched: which modalities, in which scheme, with which parameters."""

from __future__ import annotations

import itertools
import math
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from scanwise.artifacts import hash_json
from scanwise.design import Menu, Modality, Parameter, Product, Protocol, Scheme, Subset, Whole, settings_of
from scanwise.errors import ScanwiseError, did_you_mean

Pattern = tuple[int, ...]
"""Counts of one modality, shape ``(shots,)``; hashable."""

_LARGEST_TABLE = 100_000  # patterns of one modality that are tabulated to find the setting behind given counts


class Trial(typing.Protocol):
    """The part of `optuna.trial.BaseTrial` that a search space uses."""

    def suggest_categorical(self, name: str, choices: Sequence[typing.Any]) -> typing.Any:
        """Choose one of several."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Choose a whole number; both bounds belong to the range."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Choose a number; both bounds belong to the range."""


class SearchSpace:
    """All protocols that a search may propose: per optional modality on or off, a scheme, and its parameters.

    A modality that is always acquired, or mandatory here, is fixed; so is one that is not allowed (left out). What is
    mandatory stays, allowed or not. The parameters of an optimiser are conditional on their names: ``"ct.on"`` (0 or
    1), ``"ct.scheme"`` (where there is a choice), ``"ct.equispaced.every"``. On the grid there is one number instead,
    ``"ct.setting"``, the rank of a setting of the lattice by its price.

    Parameters
    ----------
    menu : the modalities and their prices.
    mandatory : what every protocol must contain, in addition to ``menu.always``.
    allowed : names of the modalities that may be used, `None` = all of the menu.
    grid : only settings of the lattice may be proposed; a model that keeps what it has measured then measures each of
        them once, however many protocols are scored.

    fusible : whether the objective scores whole products of settings (`ProductObjective`), so that a lattice may be
        larger.

    Raises
    ------
    ScanwiseError
        For an unknown modality, or two schemes of one name.
    """

    def __init__(
        self,
        menu: Menu,
        mandatory: Protocol | None = None,
        allowed: Collection[str] | None = None,
        *,
        grid: bool = False,
        fusible: bool = False,
    ) -> None:
        self.menu = menu
        self.grid = grid
        self.fusible = fusible
        self.mandatory = menu.always | (mandatory or Protocol())
        menu.check(self.mandatory)
        for name in allowed if allowed is not None else ():
            if name not in menu.modalities:
                raise ScanwiseError(f"the menu has no modality {name!r} to allow", did_you_mean(name, menu.modalities))
        self.optional: dict[str, Modality] = {
            name: modality
            for name, modality in menu.modalities.items()
            if not self.mandatory.counts(name) and (allowed is None or name in allowed)
        }
        """The modalities that may be there or not, in menu order."""
        for modality in self.optional.values():
            _check_schemes(modality)
        self._tables: dict[str, dict[Pattern, dict[str, typing.Any]]] = {}
        self._ranks: dict[str, list[Pattern]] = {}

    @property
    def is_flat(self) -> bool:
        """Whether no parameter depends on another: every optional modality is merely on or off."""
        return self.n_parameters == len(self.optional)

    @property
    def n_parameters(self) -> int:
        """Number of parameters that a trial can have, conditional ones included."""
        n = len(self.optional)
        if self.grid:
            return 2 * n
        for modality in self.optional.values():
            n += (len(modality.schemes) > 1) + sum(
                len(scheme.parameters(modality.shots)) for scheme in modality.schemes
            )
        return n

    def size(self) -> int:
        """Return how many distinct protocols the lattice has.

        Patterns are counted per modality and multiplied; single shots (`Subset`) are counted without listing them.
        """
        return math.prod(1 + _n_patterns(modality) for modality in self.optional.values())

    def fits(self, limit: int) -> bool:
        """Whether the lattice has at most `limit` protocols; stops counting as soon as it has not."""
        total = 1
        for modality in self.optional.values():
            total *= 1 + _n_patterns(modality, stop=limit)
            if total > limit:
                return False
        return total <= limit

    def product(self) -> Product:
        """Return the lattice without listing it: the settings of every modality, "not at all" first."""
        return Product(self.mandatory, {name: ((), *settings_of(modality)) for name, modality in self.optional.items()})

    def lattice(self) -> Iterator[Protocol]:
        """Iterate over the distinct protocols of the lattice, the last modality of the menu changing fastest."""
        for patterns in itertools.product(*self.product().choices.values()):
            yield self._protocol(dict(zip(self.optional, patterns, strict=True)))

    def alone(self, name: str) -> Protocol:
        """Return one optional modality with what is mandatory: every shot once, or the first pattern of its schemes."""
        modality = self.optional[name]
        whole = self._protocol({name: (1,) * len(modality.shots)})
        if self.params(whole) is not None:
            return whole
        return self._protocol({name: next(settings_of(modality), ())})

    def suggest(self, trial: Trial) -> Protocol:
        """Turn the suggestions of an optimiser into a protocol (the only place that knows `suggest_*`)."""
        counts: dict[str, Pattern] = {}
        for name, modality in self.optional.items():
            if not trial.suggest_categorical(f"{name}.on", (0, 1)):
                continue
            if self.grid:
                ranked = self._ranked(modality)
                counts[name] = ranked[trial.suggest_int(f"{name}.setting", 0, len(ranked) - 1)]
                continue
            scheme = modality.schemes[0]
            if len(modality.schemes) > 1:
                by_name = {one.name: one for one in modality.schemes}
                scheme = by_name[trial.suggest_categorical(f"{name}.scheme", tuple(by_name))]
            setting = {
                parameter.name: _suggest(trial, f"{name}.{scheme.name}.{parameter.name}", parameter)
                for parameter in scheme.parameters(modality.shots)
            }
            counts[name] = tuple(scheme.counts(modality.shots, setting).tolist())
        return self._protocol(counts)

    def beside(self, params: Mapping[str, typing.Any], rng: np.random.Generator) -> dict[str, typing.Any]:
        """Return parameters of a protocol one step away: those of one modality, chosen by chance, are drawn anew."""
        drawn = _Drawn(rng)
        self.suggest(drawn)
        start = f"{list(self.optional)[int(rng.integers(len(self.optional)))]}."
        kept = {name: value for name, value in params.items() if not name.startswith(start)}
        return kept | {name: value for name, value in drawn.params.items() if name.startswith(start)}

    def params(self, protocol: Protocol) -> dict[str, typing.Any] | None:
        """Return the parameters that make `suggest` yield this protocol, or `None` where there are none.

        On the grid, counts that are none of the settings have none either. Needed because Optuna enqueues misspelt
        names and values out of range without a word. Counts are looked up among the settings of the lattice, so a
        pattern between the grid points of a scheme has no parameters.
        """
        fixed = [name for name in {*protocol.modalities, *self.mandatory.modalities} if name not in self.optional]
        if any(protocol.counts(name) != self.mandatory.counts(name) for name in fixed):
            return None
        found: dict[str, typing.Any] = {}
        for name, modality in self.optional.items():
            counts = protocol.counts(name)
            found[f"{name}.on"] = int(bool(counts))
            if counts and self.grid:
                ranked = self._ranked(modality)
                if counts not in ranked:
                    return None
                found[f"{name}.setting"] = ranked.index(counts)
            elif counts:
                setting = self._setting(modality, counts)
                if setting is None:
                    return None
                found.update(setting)
        return found

    def fingerprint(self) -> str:
        """Return a hash of what gives a trial its meaning: names, shots, prices, schemes, parameters, fixed parts."""
        menu = self.menu
        return hash_json(
            {
                "mandatory": self.mandatory.key,
                "grid": self.grid,
                "optional": list(self.optional),
                "setups": {name: setup.cost.to_dict() for name, setup in menu.setups.items()},
                "modalities": [
                    {
                        "name": name,
                        "shots": modality.shots.names,
                        "max_count": modality.shots.max_count,
                        "unit_costs": modality.shots.unit_costs,
                        "setups": modality.shots.setups,
                        "schemes": [
                            {
                                "name": scheme.name,
                                "parameters": [
                                    [one.name, one.low, one.high, one.choices, one.integer, one.log]
                                    for one in scheme.parameters(modality.shots)
                                ],
                            }
                            for scheme in modality.schemes
                        ],
                    }
                    for name, modality in menu.modalities.items()
                ],
            }
        )

    def __repr__(self) -> str:
        fixed = f", always {self.menu.reading(self.mandatory)}" if self.mandatory.modalities else ""
        return f"SearchSpace({', '.join(self.optional) or 'nothing optional'}{fixed})"

    def _protocol(self, counts: Mapping[str, Pattern]) -> Protocol:
        return Protocol({**dict(self.mandatory.items()), **counts})

    def _ranked(self, modality: Modality) -> list[Pattern]:
        """Settings of the lattice by price in minutes, money and number of shots."""
        if modality.name not in self._ranks:
            patterns = list(settings_of(modality))
            prices = self.menu.price_many([Protocol({modality.name: pattern}) for pattern in patterns])
            order = sorted(range(len(patterns)), key=lambda row: (*prices[row].tolist(), sum(patterns[row]), row))
            self._ranks[modality.name] = [patterns[row] for row in order]
        return self._ranks[modality.name]

    def _setting(self, modality: Modality, counts: Pattern) -> dict[str, typing.Any] | None:
        """Parameters, with their full names, that yield given counts of one modality."""
        if len(counts) != len(modality.shots):
            return None
        for scheme in modality.schemes:
            if isinstance(scheme, Subset) and max(counts) == 1:
                return _named(modality, scheme, dict(zip(modality.shots.names, counts, strict=True)))
        if modality.name not in self._tables:
            table: dict[Pattern, dict[str, typing.Any]] = {}
            for pattern, scheme, setting in itertools.islice(_settings(modality, skip=Subset), _LARGEST_TABLE):
                table.setdefault(pattern, _named(modality, scheme, setting))
            self._tables[modality.name] = table
        return self._tables[modality.name].get(counts)


class _Drawn:
    """A trial whose parameters are drawn evenly, and kept."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.params: dict[str, typing.Any] = {}
        self._rng = rng

    def suggest_categorical(self, name: str, choices: Sequence[typing.Any]) -> typing.Any:
        self.params[name] = choices[int(self._rng.integers(len(choices)))]
        return self.params[name]

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        if log:
            low_, high_ = math.log(low - 0.5), math.log(high + 0.5)
            self.params[name] = min(max(round(math.exp(self._rng.uniform(low_, high_))), low), high)
        else:
            self.params[name] = int(self._rng.integers(low, high + 1))
        return int(self.params[name])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        ends = (math.log(low), math.log(high)) if log else (low, high)
        value = float(self._rng.uniform(*ends))
        self.params[name] = min(max(math.exp(value) if log else value, low), high)
        return float(self.params[name])


def _check_schemes(modality: Modality) -> None:
    names = [scheme.name for scheme in modality.schemes]
    if not names or len(set(names)) != len(names):
        raise ScanwiseError(f"{modality.name!r} needs one or more schemes with different names, but has {names}")


def _suggest(trial: Trial, name: str, parameter: Parameter) -> typing.Any:
    if parameter.choices:
        return trial.suggest_categorical(name, parameter.choices)
    if parameter.integer:
        return trial.suggest_int(name, int(parameter.low), int(parameter.high), log=parameter.log)
    return trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log)


def _named(modality: Modality, scheme: Scheme, setting: Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    choice = {f"{modality.name}.scheme": scheme.name} if len(modality.schemes) > 1 else {}
    return {**choice, **{f"{modality.name}.{scheme.name}.{key}": value for key, value in setting.items()}}


def _settings(
    modality: Modality, skip: type[Scheme] | None = None
) -> Iterator[tuple[Pattern, Scheme, Mapping[str, typing.Any]]]:
    for scheme in modality.schemes:
        if skip is None or not isinstance(scheme, skip):
            for setting in scheme.settings(modality.shots):
                yield tuple(np.asarray(scheme.counts(modality.shots, setting)).tolist()), scheme, setting


def _n_patterns(modality: Modality, stop: int | None = None) -> int:
    if any(isinstance(scheme, Subset) for scheme in modality.schemes) and all(
        isinstance(scheme, Subset | Whole) for scheme in modality.schemes
    ):
        return 2 ** len(modality.shots) - 1  # every shot at once is one of the subsets
    return sum(1 for _ in itertools.islice(settings_of(modality), stop))
