"""The sampler at work: a study in memory that is asked and told in batches, whoever does the scoring.

Only finished batches, and the trials of the present one as still running, are ever shown to the sampler: batches start
at multiples of `batch_size`, the sampler of trial ``n`` is seeded with ``(seed, n)`` alone, and a batch is told in the
order of its numbers. So 40 trials are the same bit for bit whether they were interrupted or not, and whether one worker
scored them or several. The same holds for what `AdditiveStart` proposes before the sampler is asked.

What is over a limit is never scored, but told as a *complete* trial with its true costs, the worst diagnosis value
seen so far, and its constraints. Pruning it instead would hide the constraint from NSGA-II and the Gaussian process,
which read complete trials only; TPE ranks it by its constraints either way.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import InMemoryStorage
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from scanwise.design import Cost, Protocol
from scanwise.errors import ScanwiseError
from scanwise.search._additive import AdditiveStart
from scanwise.search._scoring import SAMPLERS, Ledger, Limits, Progress, Scoring, Yardstick
from scanwise.search._store import Store, open_store
from scanwise.search.result import DIAGNOSIS, SearchResult, directions
from scanwise.search.space import SearchSpace

_SCORED, _REPEATED, _OVER, _FAILED = "scored", "repeated", "over a limit", "failed"
_POLL_S = (0.01, 0.5)  # how often a worker looks whether the others are done: at first, and at most
_SAY_AFTER_S = 5.0
_BESIDE = 0x6265
"""Keeps these draws apart from those of a sampler."""
_STEPS_TRIED = 50
"""Neighbours that are looked at for one that is new."""


def run_study(
    space: SearchSpace,
    *,
    sampler: str,
    additive_start: bool,
    n_trials: int,
    batch_size: int,
    scoring: Scoring,
    limits: Limits,
    yardstick: Yardstick,
    seed: int,
    directory: Path | None,
    storage: str | None,
    progress: Progress | None,
    first: Sequence[Protocol],
    data: str,
) -> SearchResult:
    """Ask, score and tell, alone or with others, until there are `n_trials` trials in all; return what was found."""
    identity = {
        "space": space.fingerprint(),
        "objectives": list(yardstick.objectives),
        "directions": _directions(yardstick.objectives),
        "budget": limits.budget.limits,
        "data": data,
        "sampler": sampler,
        "additive_start": additive_start,
        "batch_size": batch_size,
        "seed": seed,
    }
    with _quiet(), closing(open_store(directory, storage, identity, batch_size)) as store:
        study = Study(
            space,
            sampler=sampler,
            additive_start=additive_start,
            seed=seed,
            yardstick=yardstick,
            limits=limits,
            first=first,
        )
        known = store.trials
        total = max(n_trials, len(known))
        for start in range(0, total, batch_size):
            stop = min(start + batch_size, total)
            batch = known[start:stop]
            if len(batch) == stop - start and all(trial.state.is_finished() for trial in batch):
                for trial in batch:
                    study.show(trial)
                study.close_batch(batch)
                continue
            with store.alone():
                _propose(study, store, start, stop)
            _score(study, store, slice(start, stop), scoring, progress, total)
            text = study.close_batch(store.trials[start:stop])
            if progress is not None:
                progress(stop, total, text)
        return study.result(SAMPLERS[sampler])


def _propose(study: Study, store: Store, start: int, stop: int) -> None:
    """Show the trials of a batch that are there to the sampler, and ask it for the others; only while alone."""
    there = store.trials[start:stop]
    for trial in there:
        if "protocol" not in trial.user_attrs and not trial.state.is_finished():
            # another tool left it here, running or waiting: its parameters are asked again under a new number
            store.finish(trial, TrialState.FAIL, attrs={"outcome": _FAILED})
        study.show(trial)
    study.system_attrs = store.sampler_attrs
    asked = [study.ask() for _ in range(start + len(there), stop)]
    store.create(asked, study.system_attrs)


def _score(study: Study, store: Store, part: slice, scoring: Scoring, progress: Progress | None, total: int) -> None:
    """Score what nobody else does until every trial of the batch is finished."""
    poll, idle_since, scored = _POLL_S[0], time.monotonic(), 0
    while True:
        batch = store.trials[part]
        left = [trial for trial in batch if study.needs_score(trial)]
        if not left:
            break
        claimed = store.claim(left, 1 if store.shared else len(left))
        if claimed:
            try:
                for trial, ending in zip(claimed, study.endings(claimed, scoring), strict=False):
                    store.finish(trial, *ending)
            finally:
                store.release(claimed)
            scoring.raise_broken()
            poll, idle_since, scored = _POLL_S[0], time.monotonic(), scored + len(claimed)
            continue
        if progress is not None and time.monotonic() - idle_since > _SAY_AFTER_S:
            text = f"waiting for {len(left)} of {len(batch)} trials that other workers score"
            if not scored:
                text += "; search.batch_size should be a multiple of the number of workers"
            progress(part.start, total, text)
            idle_since = time.monotonic()
        time.sleep(poll)
        poll = min(2 * poll, _POLL_S[1])
    with store.alone():
        batch = store.trials[part]
        for trial in batch:
            if not trial.state.is_finished():
                store.finish(trial, *study.ending_without_score(trial, batch))


Ending = tuple[TrialState, list[float] | None, dict[str, Any]]
"""How a trial ends: state, values of the objectives, further attributes."""


class Study:
    """The study in memory that the sampler works on, a batch at a time: `show` or `ask` its trials, then `close_batch`.

    Parameters
    ----------
    space, sampler, seed, yardstick, limits : of the search.
    additive_start : whether those of `AdditiveStart` come next, as long as it has any; not where the sampler is
        ``"random"``: that one stays a plain draw to compare with.
    first : protocols to ask for before the sampler is asked.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        sampler: str,
        additive_start: bool,
        seed: int,
        yardstick: Yardstick,
        limits: Limits,
        first: Sequence[Protocol],
    ) -> None:
        self._space = space
        self._sampler = sampler
        self._seed = seed
        self._yardstick = yardstick
        self._limits = limits
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(storage=self._storage, directions=_directions(yardstick.objectives))
        self._study_id = self._storage.get_study_id_from_name(self._study.study_name)
        self._ledger = Ledger(space.menu, yardstick)
        self._additive = (
            AdditiveStart(space, limits=limits, yardstick=yardstick, first=first)
            if additive_start and sampler != "random"
            else None
        )
        self._worst = 0.0
        self._wanted: dict[str, Mapping[str, Any]] = {one.key: space.params(one) or {} for one in first}
        self._asked: set[str] = set()  # protocol keys of all trials
        self._in_batch: set[str] = set()  # of those in this batch that are to be scored
        self._finished: list[FrozenTrial] = []

    @property
    def system_attrs(self) -> Mapping[str, Any]:
        """What a sampler keeps beside the trials (the parents of a generation)."""
        return self._storage.get_study_system_attrs(self._study_id)

    @system_attrs.setter
    def system_attrs(self, attrs: Mapping[str, Any]) -> None:
        for key, value in attrs.items():
            self._storage.set_study_system_attr(self._study_id, key, value)

    def show(self, trial: FrozenTrial) -> None:
        """Show a trial of this batch to the sampler as still running."""
        self._study.add_trial(_in_state(trial, TrialState.RUNNING))
        key = trial.user_attrs.get("protocol")
        if key is None:
            self._wanted = {**self._asked_elsewhere(trial), **self._wanted}
            return
        self._asked.add(key)
        if trial.user_attrs["outcome"] in (_SCORED, _FAILED):
            self._in_batch.add(key)

    def ask(self) -> FrozenTrial:
        """Return the next proposal, waiting, with its protocol, its limits, and what is to be done about it."""
        number = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = _make_sampler(self._sampler, seed_for(self._seed, number), self._space.n_parameters)
        wanted = next((params for key, params in self._wanted.items() if key not in self._asked), None)
        if wanted is None and self._additive is not None:
            promising = self._additive.propose(self._asked, self._in_batch)
            wanted = None if promising is None else self._space.params(promising)
        if wanted is None:
            wanted = self._beside_the_last(number)
        if wanted is not None:
            self._study.enqueue_trial(dict(wanted))
        trial = self._study.ask()
        protocol = self._space.suggest(trial)
        key = protocol.key
        excess = self._limits.excess(self._space.menu.price(protocol))
        for axis, share in excess.items():  # before any work: a trial without constraints counts as feasible
            trial.set_constraint(axis, share)
        outcome = _SCORED
        if any(share > 0 for share in excess.values()):
            outcome = _OVER
        elif key in self._ledger.scores or key in self._in_batch:
            outcome = _REPEATED
        else:
            self._in_batch.add(key)
        self._asked.add(key)
        trial.set_user_attr("protocol", key)
        trial.set_user_attr("outcome", outcome)
        return _in_state(self._study.get_trials(deepcopy=False)[number], TrialState.WAITING)

    def _beside_the_last(self, number: int) -> Mapping[str, Any] | None:
        """Return a protocol nobody asked for one step from the last one, where that one was a repetition.

        A sampler that is sure of a protocol proposes it over and over; what is near it is a better use of a trial.
        """
        last = self._study.get_trials(deepcopy=False)[-1] if number else None
        if self._sampler == "random" or last is None or last.user_attrs.get("outcome") != _REPEATED or not last.params:
            return None
        rng = np.random.default_rng([seed_for(self._seed, number), _BESIDE])
        for _ in range(_STEPS_TRIED):
            params = self._space.beside(last.params, rng)
            protocol = self._space.suggest(FixedTrial(params))
            excess = self._limits.excess(self._space.menu.price(protocol))
            if protocol.key not in self._asked and not any(share > 0 for share in excess.values()):
                return params
        return None

    def needs_score(self, trial: FrozenTrial) -> bool:
        """Whether somebody has to score this trial."""
        return not trial.state.is_finished() and trial.user_attrs["outcome"] == _SCORED

    def endings(self, trials: Sequence[FrozenTrial], scoring: Scoring) -> Iterator[Ending]:
        """Score trials; fewer come back where the objective turns out to be broken."""
        protocols = [Protocol.from_key(trial.user_attrs["protocol"]) for trial in trials]
        for protocol, outcome in zip(protocols, scoring(protocols), strict=False):
            if outcome.failed:
                attrs = {"outcome": _FAILED, "error": outcome.error, "traceback": outcome.traceback}
                yield TrialState.FAIL, None, attrs
            else:
                yield TrialState.COMPLETE, self._values(protocol, outcome.value), {}

    def ending_without_score(self, trial: FrozenTrial, batch: Sequence[FrozenTrial]) -> Ending:
        """Return the ending of a trial that is over a limit, or repeats another one that is finished."""
        key = trial.user_attrs["protocol"]
        protocol = Protocol.from_key(key)
        if trial.user_attrs["outcome"] == _OVER:
            return TrialState.COMPLETE, self._values(protocol, self._worst), {}
        if key in self._ledger.scores:
            return TrialState.COMPLETE, self._values(protocol, self._ledger.scores[key]), {}
        same = next(one for one in batch if one.user_attrs.get("protocol") == key and one.state.is_finished())
        if same.state == TrialState.COMPLETE:
            return TrialState.COMPLETE, list(same.values), {}
        attrs: dict[str, Any] = {name: same.user_attrs[name] for name in ("outcome", "error", "traceback")}
        return TrialState.FAIL, None, attrs

    def close_batch(self, batch: Sequence[FrozenTrial]) -> str:
        """Tell the sampler how the trials of this batch ended; return the state of the front in a few words."""
        for trial in batch:
            self._study.tell(trial.number, trial.values, state=trial.state)
            if trial.user_attrs.get("outcome") == _SCORED:
                value = trial.values[self._yardstick.objectives.index(DIAGNOSIS)]
                self._ledger.add(Protocol.from_key(trial.user_attrs["protocol"]), value)
        self._finished += batch
        self._in_batch.clear()
        self._worst = min(self._ledger.scores.values(), default=0.0)
        if self._additive is not None:
            self._additive.learn(self._ledger.scores)
        return self._ledger.close_batch()

    def result(self, sampler: str) -> SearchResult:
        """Return what was found."""
        marks = [trial.user_attrs.get("outcome", _FAILED) for trial in self._finished]
        words = [f"Optuna ({sampler}), {len(marks)} trials: {len(self._ledger.scores)} different protocols scored"]
        for mark, text in ((_REPEATED, "repeated"), (_OVER, "over the limits not scored"), (_FAILED, "failed")):
            if mark in marks:
                words.append(f"{marks.count(mark)} {text}")
        failures = [
            (trial.user_attrs.get("protocol", "?"), trial.user_attrs["error"])
            for trial in self._finished
            if "error" in trial.user_attrs
        ]
        return self._ledger.result(", ".join(words), complete=False, failures=failures)

    def _values(self, protocol: Protocol, value: float) -> list[float]:
        cost = self._space.menu.price(protocol)
        return [_objective(name, value, cost) for name in self._yardstick.objectives]

    def _asked_elsewhere(self, trial: FrozenTrial) -> dict[str, Mapping[str, Any]]:
        """Return the parameters of a trial that another tool started here and did not finish, by protocol key."""
        params = trial.params or trial.system_attrs.get("fixed_params", {})
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a value out of range is only a warning to Optuna
                return {self._space.suggest(FixedTrial(dict(params))).key: params}
        except (ValueError, UserWarning, ScanwiseError):
            return {}  # not all parameters were there, or not of this space: nothing that could be asked again


def seed_for(base: int, number: int) -> int:
    """Return the seed of one trial: independent of when, and in which run, it is asked for."""
    return int.from_bytes(hashlib.sha256(f"{base}:{number}".encode()).digest()[:4], "big")


def _make_sampler(name: str, seed: int, n_parameters: int) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "nsga2":  # the population must not depend on n_trials, or a longer search would not continue a shorter
        return optuna.samplers.NSGAIISampler(population_size=min(50, max(20, 2 * n_parameters)), seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed, deterministic_objective=True)
    return optuna.samplers.TPESampler(
        multivariate=True, group=True, constant_liar=True, n_startup_trials=max(10, 2 * n_parameters), seed=seed
    )


def _in_state(trial: FrozenTrial, state: TrialState) -> FrozenTrial:
    return optuna.trial.create_trial(
        state=state,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=trial.user_attrs,
        system_attrs=trial.system_attrs,
    )


def _directions(objectives: Sequence[str]) -> list[Literal["minimize", "maximize"]]:
    return ["maximize" if up else "minimize" for up in directions(objectives)]


def _objective(name: str, value: float, cost: Cost) -> float:
    return value if name == DIAGNOSIS else cost[name]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's log and its warnings about experimental features, here and nowhere else."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
