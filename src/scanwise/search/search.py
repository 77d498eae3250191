"""The searches one can choose from; every one answers with a `SearchResult`."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scanwise.artifacts import read_json
from scanwise.design import Budget, Protocol
from scanwise.errors import ScanwiseError, did_you_mean
from scanwise.search._fused import fuse_lattice
from scanwise.search._scoring import (
    SAMPLERS,
    Ledger,
    Limits,
    Objective,
    ProductObjective,
    Progress,
    Scoring,
    Yardstick,
    resolve_objectives,
    starting_points,
)
from scanwise.search.result import SearchResult, check_objectives
from scanwise.search.space import SearchSpace

MAX_LATTICE = 4096
"""The largest lattice that is scored protocol by protocol."""
MAX_PRODUCT = 250_000
"""The largest lattice that is fused from what single settings add, where the whole lattice is asked for."""
MAX_PRODUCT_UNASKED = 100_000
"""The same where nobody asked: less than a minute for 500 patients with images, on two cores."""


class Search(typing.Protocol):
    """What every search offers."""

    def check(self, space: SearchSpace, *, budget: Budget, directories: Sequence[Path] = ()) -> None:
        """Find what is wrong before any work.

        Parameters
        ----------
        space, budget : as in `run`.
        directories : all those that `run` is going to be called with.

        Raises
        ------
        ScanwiseError
            For limits that what is mandatory breaks, a search that does not suit the space, or a storage or an earlier
            run that cannot be read.
        """

    def is_shared(self, space: SearchSpace) -> bool:
        """Whether several processes that search with one directory share the work; otherwise each does all of it."""

    def run(
        self,
        space: SearchSpace,
        *,
        objective: Objective,
        budget: Budget,
        seed: int,
        directory: Path | str | None,
        progress: Progress | None = None,
        enqueue: Sequence[Protocol] = (),
        data: str = "",
    ) -> SearchResult:
        """Look for protocols that trade diagnosis against cost.

        Parameters
        ----------
        space : what may be searched.
        objective : scores several protocols at once on the patients the search may look at; higher is better.
        budget : hard limits, checked before anything is scored; what is over a limit is never scored.
        seed : of the sampler; the same seed gives the same result.
        directory : folder for the journal of a search that can be resumed, `None` = keep nothing.
        progress : called after every batch as ``progress(done, total, text)``.
        enqueue : protocols to look at first, besides current practice and each modality alone.
        data : fingerprint of the patients and the model behind `objective`; a resumed search must have the same.
        """


@dataclass(frozen=True, kw_only=True)
class LatticeSearch:
    """Score every protocol of the lattice: nothing is missed, nothing depends on a seed.

    A lattice of up to `max_protocols` is scored protocol by protocol. A larger one is fused from what every single
    setting adds, where the model can do that (`ProductObjective`): some protocols are then scored one by one as
    well, and how far the fused values are off is part of the result. It must be well below the noise of the patients'
    sampling, or else the fusion is refined. What is on or near the front is scored one by one and listed; the values of
    all are written to ``lattice.npz``.

    Parameters
    ----------
    max_protocols : the largest lattice that is scored protocol by protocol.
    max_product : the largest lattice that is fused.
    keep : how many protocols of a fused lattice are listed.
    batch_size : how many protocols the objective is handed at once.
    objectives : what the front trades off, `None` = diagnosis and the first priced axis (money before others).
    """

    max_protocols: int = MAX_LATTICE
    max_product: int = MAX_PRODUCT
    keep: int = 1000
    batch_size: int = 256
    objectives: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check_positive("max_protocols", self.max_protocols)
        _check_positive("max_product", self.max_product)
        _check_positive("keep", self.keep)
        _check_positive("batch_size", self.batch_size)
        object.__setattr__(self, "objectives", _objectives(self.objectives))

    def check(self, space: SearchSpace, *, budget: Budget, directories: Sequence[Path] = ()) -> None:
        """Find what is wrong before any work; see `Search.check`."""
        resolve_objectives(_objectives(self.objectives), space.menu)
        Limits(space, budget).check()
        limits = {"max_protocols": self.max_protocols}
        if space.fusible:
            limits["max_product"] = self.max_product
        name = max(limits, key=lambda one: limits[one])
        if not space.fits(limits[name]):
            raise ScanwiseError(
                f"an exact search is limited to {limits[name]} protocols, but {space!r} has more",
                f"use search=tpe, allow fewer modalities, or raise search.{name}",
            )

    def is_shared(self, space: SearchSpace) -> bool:
        """Whether several processes share the work: they do not, it is one process's work."""
        return False

    def run(
        self,
        space: SearchSpace,
        *,
        objective: Objective,
        budget: Budget,
        seed: int = 0,
        directory: Path | str | None = None,
        progress: Progress | None = None,
        enqueue: Sequence[Protocol] = (),
        data: str = "",
    ) -> SearchResult:
        """Score the lattice; see `Search.run`. What can be enqueued is part of the lattice: it is checked, no more.

        Raises
        ------
        ScanwiseError
            If the lattice is too large, no protocol is within the limits, or the scoring fails.
        """
        self.check(space, budget=budget)
        objectives = resolve_objectives(_objectives(self.objectives), space.menu)
        limits = Limits(space, budget)
        first = starting_points(space, enqueue)
        scoring = Scoring(objective)
        yardstick = Yardstick.build(objectives, space.menu, budget)
        if not space.fits(self.max_protocols):
            if not isinstance(objective, ProductObjective):
                raise ScanwiseError(
                    f"a lattice of more than {self.max_protocols} protocols needs an objective that scores products",
                    "leave SearchSpace(fusible=True) out",
                )
            return fuse_lattice(
                space.product(),
                menu=space.menu,
                objective=objective,
                scoring=scoring,
                limits=limits,
                yardstick=yardstick,
                first=first,
                keep=self.keep,
                batch_size=self.batch_size,
                directory=None if directory is None else Path(directory),
                progress=progress,
            )
        lattice = list(space.lattice())
        within = limits.within(space.menu.price_many(lattice))
        wanted = [protocol for protocol, inside in zip(lattice, within, strict=True) if inside]

        ledger = Ledger(space.menu, yardstick)
        for start in range(0, len(wanted), self.batch_size):
            batch = wanted[start : start + self.batch_size]
            for protocol, outcome in zip(batch, scoring(batch), strict=False):
                if not outcome.failed:
                    ledger.add(protocol, outcome.value)
            scoring.raise_broken()
            text = ledger.close_batch()
            if progress is not None:
                progress(start + len(batch), len(wanted), text)

        words = [f"exact lattice of {len(lattice)} protocol{'' if len(lattice) == 1 else 's'}"]
        if len(wanted) < len(lattice):
            words.append(f"{len(lattice) - len(wanted)} over the limits not scored")
        if scoring.failures:
            words.append(f"{len(scoring.failures)} could not be scored")
        return ledger.result(", ".join(words), complete=not scoring.failures, failures=scoring.failures)


@dataclass(frozen=True, kw_only=True)
class OptunaSearch:
    """Let Optuna propose protocols, learning from those already scored; resumes where it was killed.

    Any number of processes that run the same search with the same directory (or, through PostgreSQL, on several
    machines) share its trials. What is found does not depend on how many they are.

    Current practice, the least protocol and each modality alone are scored first. Then comes what promises most if the
    parts of a protocol add up, corrected by what has been scored, until that gains nothing more; then the sampler takes
    over. ``"random"`` takes over at once.

    Parameters
    ----------
    sampler : ``"tpe"`` (multivariate, grouped: the default for conditional spaces), ``"nsga2"`` (many cheap scores),
        ``"random"``, or ``"gp"`` (few expensive scores, only where modalities are merely on or off).
    n_trials : proposals in total, those of an interrupted run included.
    batch_size : proposals made at once, before any of them is scored; best a multiple of the number of workers.
    objectives : what is traded off, `None` = diagnosis and the first priced axis (money before others).
    storage : ``postgresql://user@host/database`` for workers on several machines, `None` = a journal file in the
        directory, for those of one machine.
    warm_start : folder of another run, whose front is looked at early on as far as it is in this space.
    additive_start : whether the sampler waits for what promises most if the parts of a protocol add up;
        ``"random"`` never does.
    """

    sampler: str = "tpe"
    n_trials: int = 512
    batch_size: int = 8
    objectives: Sequence[str] | None = None
    storage: str | None = None
    warm_start: str | None = None
    additive_start: bool = True

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ScanwiseError(
                f"search.sampler must be one of {tuple(SAMPLERS)}, but got {self.sampler!r}",
                did_you_mean(str(self.sampler), SAMPLERS),
            )
        _check_positive("n_trials", self.n_trials)
        _check_positive("batch_size", self.batch_size)
        object.__setattr__(self, "objectives", _objectives(self.objectives))

    def check(self, space: SearchSpace, *, budget: Budget, directories: Sequence[Path] = ()) -> None:
        """Find what is wrong before any work; see `Search.check`."""
        if self.sampler == "gp" and not space.is_flat:
            raise ScanwiseError(
                "search.sampler='gp' needs a space in which modalities are merely on or off, but "
                f"{space!r} has schemes or parameters that only exist while a modality is on",
                "use search.sampler=tpe",
            )
        resolve_objectives(_objectives(self.objectives), space.menu)
        Limits(space, budget).check()
        if self.warm_start is not None:
            front_of_run(Path(self.warm_start))
        if self.storage is not None:
            from scanwise.search._store import check_storage  # Optuna is loaded only where it is used

            check_storage(self.storage, directories, space.fingerprint())

    def is_shared(self, space: SearchSpace) -> bool:
        """Whether several processes share the work: they do."""
        return True

    def run(
        self,
        space: SearchSpace,
        *,
        objective: Objective,
        budget: Budget,
        seed: int = 0,
        directory: Path | str | None = None,
        progress: Progress | None = None,
        enqueue: Sequence[Protocol] = (),
        data: str = "",
    ) -> SearchResult:
        """Search; see `Search.run`. A journal in `directory` is continued up to `n_trials` in total.

        Raises
        ------
        ScanwiseError
            If no protocol is within the limits, the journal belongs to another search or is damaged, the sampler does
            not suit the space, or the scoring fails.
        """
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ScanwiseError(f"a seed must be a whole number >= 0, but got {seed!r}")
        self.check(space, budget=budget)
        objectives = resolve_objectives(_objectives(self.objectives), space.menu)
        limits = Limits(space, budget)
        first = starting_points(space, enqueue)
        note = ""
        if self.warm_start is not None:
            front = front_of_run(Path(self.warm_start))
            known = [one for one in front if space.params(one) is not None and budget.allows(space.menu.price(one))]
            first = list(dict.fromkeys([*first, *known]))
            note = f"; warm start with {len(known)} of the {len(front)} protocols on the front of another run"
            if len(known) < len(front):
                note += f", {len(front) - len(known)} skipped: not in this space, or over a limit"

        from scanwise.search._optuna import run_study  # Optuna is loaded only where it is used

        found = run_study(
            space,
            sampler=self.sampler,
            additive_start=self.additive_start,
            n_trials=self.n_trials,
            batch_size=self.batch_size,
            scoring=Scoring(objective),
            limits=limits,
            yardstick=Yardstick.build(objectives, space.menu, budget),
            seed=seed,
            directory=None if directory is None else Path(directory),
            storage=self.storage,
            progress=progress,
            first=[protocol for protocol in first if budget.allows(space.menu.price(protocol))],
            data=data,
        )
        return replace(found, how=f"{found.how}{note}")


@dataclass(frozen=True, kw_only=True)
class AutoSearch:
    """The exact lattice where it is small enough, Optuna otherwise; the result says which in `how`.

    Parameters
    ----------
    max_lattice : the largest lattice that is scored protocol by protocol.
    max_product : the largest lattice that is fused from what single settings add, where the model can do that.
    sampler, n_trials, batch_size, objectives, storage, warm_start : of `OptunaSearch`.
    """

    max_lattice: int = MAX_LATTICE
    max_product: int = MAX_PRODUCT_UNASKED
    sampler: str = "tpe"
    n_trials: int = 512
    batch_size: int = 8
    objectives: Sequence[str] | None = None
    storage: str | None = None
    warm_start: str | None = None

    def __post_init__(self) -> None:
        _check_positive("max_lattice", self.max_lattice)
        _check_positive("max_product", self.max_product)
        object.__setattr__(self, "objectives", self._optuna().objectives)

    def check(self, space: SearchSpace, *, budget: Budget, directories: Sequence[Path] = ()) -> None:
        """Find what is wrong before any work; see `Search.check`."""
        self._chosen(space).check(space, budget=budget, directories=directories)

    def is_shared(self, space: SearchSpace) -> bool:
        """Whether several processes share the work; see `Search.is_shared`."""
        return self._chosen(space).is_shared(space)

    def run(
        self,
        space: SearchSpace,
        *,
        objective: Objective,
        budget: Budget,
        seed: int = 0,
        directory: Path | str | None = None,
        progress: Progress | None = None,
        enqueue: Sequence[Protocol] = (),
        data: str = "",
    ) -> SearchResult:
        """Search in the way that fits the size of the space; see `Search.run`."""
        return self._chosen(space).run(
            space,
            objective=objective,
            budget=budget,
            seed=seed,
            directory=directory,
            progress=progress,
            enqueue=enqueue,
            data=data,
        )

    def _chosen(self, space: SearchSpace) -> Search:
        if space.fits(max(self.max_lattice, self.max_product if space.fusible else 0)):
            return LatticeSearch(
                max_protocols=self.max_lattice, max_product=self.max_product, objectives=self.objectives
            )
        return self._optuna()

    def _optuna(self) -> OptunaSearch:
        return OptunaSearch(
            sampler=self.sampler,
            n_trials=self.n_trials,
            batch_size=self.batch_size,
            objectives=self.objectives,
            storage=self.storage,
            warm_start=self.warm_start,
        )


def front_of_run(directory: Path) -> list[Protocol]:
    """Return the different protocols on the fronts that a run has found, fold by fold.

    Raises
    ------
    ScanwiseError
        If there is no finished search in that folder.
    """
    results = sorted((directory / "search").glob("*.json"))
    if not results:
        raise ScanwiseError(
            f"search.warm_start must be the folder of a run that has searched, but {directory.as_posix()!r} is none",
            "e.g. reports/runs/heart/1a2b3c4d, as printed at the end of a run",
        )
    fronts = [SearchResult.from_dict(read_json(path)).front_protocols for path in results]
    return list(dict.fromkeys(protocol for front in fronts for protocol in front))


def _objectives(names: Iterable[str] | None) -> tuple[str, ...] | None:
    """Check objectives and make them a tuple (a configuration hands over lists)."""
    if names is None:
        return None
    if isinstance(names, str):
        raise ScanwiseError(f"search.objectives must be a list, but got {names!r}", "write [diagnosis, money]")
    chosen = tuple(names)
    check_objectives(chosen)
    return chosen


def _check_positive(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ScanwiseError(f"search.{name} must be a whole number >= 1, but got {value!r}")
