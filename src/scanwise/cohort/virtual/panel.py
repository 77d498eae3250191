"""A virtual panel of clinical tests: a few hidden factors, of which each test sees a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.cohort.offer import on_menu
from scanwise.cohort.study import About, Cohort
from scanwise.design import Column, Menu
from scanwise.errors import ScanwiseError, did_you_mean


@dataclass(frozen=True)
class VirtualShot:
    """How one value comes about: ``mean + sd * (loadings . factors + sqrt(1 - |loadings|^2) * noise)``.

    Within a class the value then has standard deviation `sd` whatever the loadings, and the classes differ by
    ``loadings . separation`` standard deviations.
    """

    loadings: tuple[float, ...]
    mean: float = 0.0
    sd: float = 1.0
    cuts: tuple[float, ...] = ()
    """Where given, the value is how many of these ascending cuts it exceeds: a code 0, 1, ..."""
    missing: float = 0.0
    """Share of patients in whom this shot alone was not done."""
    unit: str = ""

    @classmethod
    def from_mapping(cls, name: str, rule: Mapping[str, Any], *, n_factors: int) -> VirtualShot:
        """Build from plain data; an unknown key is an error with a suggestion."""
        known = [entry.name for entry in fields(cls)]
        for key in rule:
            if key not in known:
                raise ScanwiseError(f"shot {name} has an unknown key {key!r}", did_you_mean(key, known))
        told: dict[str, Any] = {"loadings": (), **rule}
        for key in {"loadings", "cuts"} & set(told):
            told[key] = tuple(float(value) for value in told[key])
        shot = cls(**told)
        if len(shot.loadings) != n_factors or sum(loading**2 for loading in shot.loadings) > 1 + 1e-9:
            raise ScanwiseError(
                f"the loadings of {name} must be {n_factors} numbers with sum of squares <= 1, "
                f"but got {list(shot.loadings)}"
            )
        if shot.sd <= 0 or list(shot.cuts) != sorted(shot.cuts):
            raise ScanwiseError(f"shot {name} must have sd > 0 and ascending cuts, but got {shot.sd=} {shot.cuts=}")
        _check_share(f"shot {name}", shot.missing)
        return shot


@dataclass(frozen=True, kw_only=True)
class VirtualPanel:
    r"""A virtual cohort with tests of known worth; `load` makes it.

    Patient :math:`i` has a diagnosis :math:`y \sim \text{Bernoulli}(\text{prevalence})` and factors
    :math:`f_k \sim N(\text{separation}_k\, y,\ 1)`. A test with loadings :math:`\lambda` separates the classes by
    :math:`d = \lambda \cdot \text{separation}` standard deviations: alone it has AUC :math:`\Phi(d / \sqrt 2)`
    (binormal model, Green & Swets 1966). Tests that share a factor are correlated: :math:`\lambda_a \cdot \lambda_b`
    within a class. Every patient has a random stream of ``[seed, i]``, so patient `i` does not depend on how many
    patients there are.

    Parameters
    ----------
    name : short name of the cohort.
    tests : ``{modality: {missing: share, shots: {shot: {loadings, mean, sd, cuts, missing, unit}}}}``.
    separation : distance of the classes per factor, in standard deviations; all 0 = no test knows anything.
    prevalence : probability of disease.
    n : number of patients.
    seed : non-negative whole number.
    sites : ``{site: share of the patients}``, sum 1; sites differ in nothing else.
    label_shuffled : whether the diagnoses are permuted among the patients (a null cohort with everything else kept).
    about : texts of the data card; `virtual` is always true.

    Raises
    ------
    ScanwiseError
        For an unknown key, a share outside [0, 1], or loadings that do not fit the factors.
    """

    name: str
    tests: Mapping[str, Mapping[str, Any]]
    separation: Sequence[float]
    prevalence: float = 0.4
    n: int = 400
    seed: int = 0
    sites: Mapping[str, float] = field(default_factory=lambda: {"virtual": 1.0})
    label_shuffled: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.prevalence < 1:
            raise ScanwiseError(f"the prevalence must be between 0 and 1, but got {self.prevalence!r}")
        for what, value, least in (("n", self.n, 2), ("seed", self.seed, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ScanwiseError(
                    f"`{what}` of a virtual cohort must be a whole number >= {least}, but got {value!r}",
                    f"leave cohort.{what} out for the default",
                )
        shares = list(self.sites.values())
        if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
            raise ScanwiseError(f"the shares of the sites must be above 0 and sum to 1, but got {dict(self.sites)!r}")
        if not self.tests:
            raise ScanwiseError("a virtual panel needs at least one test")
        _ = self._shots, About.from_mapping(self.about)

    @property
    def _shots(self) -> dict[str, dict[str, VirtualShot]]:
        shots: dict[str, dict[str, VirtualShot]] = {}
        for test, told in self.tests.items():
            for key in told:
                if key not in ("missing", "shots"):
                    raise ScanwiseError(
                        f"test {test!r} has an unknown key {key!r}", did_you_mean(key, ("missing", "shots"))
                    )
            _check_share(f"test {test!r}", told.get("missing", 0.0))
            if not told.get("shots"):
                raise ScanwiseError(f"test {test!r} must have at least one shot")
            shots[test] = {
                shot: VirtualShot.from_mapping(f"{test}.{shot}", rule, n_factors=len(self.separation))
                for shot, rule in told["shots"].items()
            }
        return shots

    def load(self, menu: Menu | None = None) -> Cohort:
        """Make the patients.

        Parameters
        ----------
        menu : keep what it offers, shots in its order; everything it offers must be there.

        Raises
        ------
        ScanwiseError
            If the menu offers what the panel has not, or if so few patients are made that all have one diagnosis.
        """
        shots = self._shots
        flat = [(test, name, shot) for test, rows in shots.items() for name, shot in rows.items()]
        loadings = np.array([shot.loadings for _, _, shot in flat])
        n_factors, n_tests = len(self.separation), len(shots)
        uniform = np.empty((self.n, 2 + n_tests + len(flat)))
        normal = np.empty((self.n, n_factors + len(flat)))
        for patient in range(self.n):  # one stream per patient; all arithmetic is outside this loop
            rng = np.random.default_rng([self.seed, patient])
            rng.random(out=uniform[patient])
            rng.standard_normal(out=normal[patient])

        label = (uniform[:, 0] < self.prevalence).astype(np.int64)
        edges = np.cumsum(list(self.sites.values()))[:-1]
        site = np.array(list(self.sites))[np.searchsorted(edges, uniform[:, 1], side="right")]
        factors = normal[:, :n_factors] + label[:, None] * np.asarray(self.separation, dtype=np.float64)
        own = np.sqrt(np.clip(1 - (loadings**2).sum(axis=1), 0, None))
        score = factors @ loadings.T + own * normal[:, n_factors:]  # (patients, shots of all tests)

        test_missing = np.array([float(self.tests[test].get("missing", 0.0)) for test, _, _ in flat])
        test_of_shot = np.array([list(shots).index(test) for test, _, _ in flat])
        shot_missing = np.array([shot.missing for _, _, shot in flat])
        missing = (uniform[:, 2 + test_of_shot] < test_missing) | (uniform[:, 2 + n_tests :] < shot_missing)
        values = {(test, name): _read(shot, score[:, i], missing[:, i]) for i, (test, name, shot) in enumerate(flat)}

        if self.label_shuffled:
            # a third word keeps this stream apart from those of the patients
            label = np.random.default_rng([self.seed, 0, 1]).permutation(label)
        offered = {test: tuple(rows) for test, rows in shots.items()}
        taken = offered if menu is None else on_menu(offered, menu)[0]
        return Cohort(
            self.name,
            label=label,
            site=site,
            data={
                test: np.stack([values[test, name] for name in names], axis=1)[:, :, None]
                for test, names in taken.items()
            },
            columns={
                test: [_column(name, index, shots[test][name]) for index, name in enumerate(names)]
                for test, names in taken.items()
            },
            shots=taken,
            titles={} if menu is None else {name: modality.title for name, modality in menu.modalities.items()},
            about=replace(About.from_mapping(self.about), virtual=True),
        )


def _read(shot: VirtualShot, score: NDArray[np.float64], missing: NDArray[np.bool_]) -> NDArray[np.float64]:
    value = shot.mean + shot.sd * score
    if shot.cuts:
        value = np.searchsorted(np.asarray(shot.cuts), value).astype(np.float64)
    return np.where(missing, np.nan, value)


def _column(name: str, index: int, shot: VirtualShot) -> Column:
    levels = tuple(float(code) for code in range(len(shot.cuts) + 1)) if shot.cuts else ()
    return Column(name=name, shot=index, slot=0, levels=levels, unit=shot.unit)


def _check_share(what: str, share: Any) -> None:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise ScanwiseError(f"the missing share of {what} must be in [0, 1), but got {share!r}")
