"""The only module that imports Optuna: one study, asked and told in batches, recorded in a journal.

Two studies take part. The sampler works on one in memory; every finished trial is appended, whole, to one in a journal
file. A killed process thus leaves no half-made trial behind, only (at worst) a torn last line, and a resumed search
rebuilds in memory exactly what the sampler had seen: batches start at multiples of `batch_size`, the sampler of trial
``n`` is seeded with ``(seed, n)`` alone, and a batch that was cut short is shown to the sampler as still running. So 40
trials are the same bit for bit whether they were interrupted or not.

What is over a limit is never scored, but told as a *complete* trial with its true costs, the worst diagnosis value
seen so far, and its constraints. Pruning it instead would hide the constraint from NSGA-II and the Gaussian process,
which read complete trials only; TPE ranks it by its constraints either way.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from scanwise.design import Cost, Protocol
from scanwise.errors import ScanwiseError
from scanwise.search._scoring import SAMPLERS, Ledger, Limits, Outcome, Progress, Scoring, Yardstick
from scanwise.search.result import DIAGNOSIS, SearchResult, directions
from scanwise.search.space import SearchSpace

JOURNAL = "journal.log"
_STUDY = "scanwise"
_IDENTITY = "scanwise:identity"
_LOCK_GRACE_S = 5  # a lock is held for one append; an older one was left behind by a killed process
_SCORED, _REPEATED, _OVER, _FAILED = "scored", "repeated", "over a limit", "failed"


def run_study(
    space: SearchSpace,
    *,
    sampler: str,
    n_trials: int,
    batch_size: int,
    scoring: Scoring,
    limits: Limits,
    yardstick: Yardstick,
    seed: int,
    directory: Path | None,
    progress: Progress | None,
    first: Sequence[Protocol],
    data: str,
) -> SearchResult:
    """Ask, score and tell until there are `n_trials` trials in all, and return what was found."""
    identity = {
        "space": space.fingerprint(),
        "objectives": list(yardstick.objectives),
        "directions": _directions(yardstick.objectives),
        "budget": limits.budget.limits,
        "data": data,
        "sampler": sampler,
        "batch_size": batch_size,
        "seed": seed,
    }
    with _quiet():
        journal = Journal(None if directory is None else directory / JOURNAL, identity)
        study = Study(space, sampler=sampler, seed=seed, yardstick=yardstick, limits=limits, scoring=scoring)
        study.restore(journal, first, batch_size)
        n_known = len(journal.trials)
        for start in range(n_known // batch_size * batch_size, n_trials if n_known < n_trials else 0, batch_size):
            stop = min(start + batch_size, n_trials)
            for trial in study.batch(stop):
                journal.append(trial, study.system_attrs)
            scoring.raise_broken()
            text = study.close_batch()
            if progress is not None:
                progress(stop, n_trials, text)
        return study.result(SAMPLERS[sampler])


class Study:
    """The study in memory that the sampler works on."""

    def __init__(
        self,
        space: SearchSpace,
        *,
        sampler: str,
        seed: int,
        yardstick: Yardstick,
        limits: Limits,
        scoring: Scoring,
    ) -> None:
        self._space = space
        self._sampler = sampler
        self._seed = seed
        self._yardstick = yardstick
        self._limits = limits
        self._scoring = scoring
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(storage=self._storage, directions=_directions(yardstick.objectives))
        self._study_id = self._storage.get_study_id_from_name(self._study.study_name)
        self._ledger = Ledger(space.menu, yardstick)
        self._worst = 0.0
        self._n_closed = 0
        self._pending: dict[str, Mapping[str, Any]] = {}  # parameters to ask for first, by protocol key
        self._unfinished: list[FrozenTrial] = []  # recorded trials of a batch that was cut short

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials by number."""
        return self._study.get_trials(deepcopy=False)

    @property
    def system_attrs(self) -> Mapping[str, Any]:
        """What a sampler keeps beside the trials (the parents of a generation)."""
        return self._storage.get_study_system_attrs(self._study_id)

    def restore(self, journal: Journal, first: Sequence[Protocol], batch_size: int) -> None:
        """Show the recorded trials to the sampler, those of an unfinished batch as still running."""
        recorded = journal.trials
        for key, value in journal.sampler_attrs.items():
            self._storage.set_study_system_attr(self._study_id, key, value)
        full = len(recorded) // batch_size * batch_size
        for number, trial in enumerate(recorded):
            if number < full:
                self._study.add_trial(trial)
            else:
                self._study.add_trial(_running(trial))
                self._unfinished.append(trial)
            self._enter(trial)
            if (number + 1) % batch_size == 0:
                self.close_batch()
        wanted = {**journal.requeue(self._space), **{one.key: self._space.params(one) or {} for one in first}}
        seen = {trial.user_attrs.get("protocol") for trial in recorded}
        self._pending = {key: params for key, params in wanted.items() if key not in seen}

    def batch(self, stop: int) -> list[FrozenTrial]:
        """Ask for trials up to number `stop`, score what is new, tell all; return the new ones in order."""
        asked = [self._ask() for _ in range(len(self.trials), stop)]
        new = {one.key: one for _, one, over in asked if not over and one.key not in self._ledger.scores}
        outcomes = dict(zip(new, self._scoring(list(new.values())), strict=False))

        for recorded in self._unfinished:
            self._study.tell(recorded.number, recorded.values, state=recorded.state)
        self._unfinished = []
        finished = []
        for trial, protocol, over in asked:
            if not over and protocol.key not in self._ledger.scores and protocol.key not in outcomes:
                break  # the objective is broken: what was not scored is not recorded, and asked for again
            self._tell(trial, protocol, over, outcomes.get(protocol.key))
            frozen = self.trials[trial.number]
            self._enter(frozen)
            finished.append(frozen)
        return finished

    def close_batch(self) -> str:
        """Take stock at the end of a batch; return the state of the front in a few words."""
        self._worst = min(self._ledger.scores.values(), default=0.0)
        self._n_closed = len(self.trials)
        return self._ledger.close_batch()

    def result(self, sampler: str) -> SearchResult:
        """Return what was found."""
        trials = self.trials
        if len(trials) != self._n_closed:
            self.close_batch()
        marks = [trial.user_attrs.get("outcome", _FAILED) for trial in trials]
        words = [f"Optuna ({sampler}), {len(trials)} trials: {len(self._ledger.scores)} different protocols scored"]
        for mark, text in ((_REPEATED, "repeated"), (_OVER, "over the limits not scored"), (_FAILED, "failed")):
            if mark in marks:
                words.append(f"{marks.count(mark)} {text}")
        failures = [
            (trial.user_attrs.get("protocol", "?"), trial.user_attrs["error"])
            for trial in trials
            if "error" in trial.user_attrs
        ]
        return self._ledger.result(", ".join(words), complete=False, failures=failures)

    def _ask(self) -> tuple[optuna.Trial, Protocol, bool]:
        number = len(self.trials)
        self._study.sampler = _make_sampler(self._sampler, seed_for(self._seed, number), self._space.n_parameters)
        if self._pending:
            self._study.enqueue_trial(dict(self._pending.pop(next(iter(self._pending)))))
        trial = self._study.ask()
        protocol = self._space.suggest(trial)
        excess = self._limits.excess(self._space.menu.price(protocol))
        for axis, share in excess.items():  # before any work: a trial without constraints counts as feasible
            trial.set_constraint(axis, share)
        trial.set_user_attr("protocol", protocol.key)
        return trial, protocol, any(share > 0 for share in excess.values())

    def _tell(self, trial: optuna.Trial, protocol: Protocol, over: bool, outcome: Outcome | None) -> None:
        known = self._ledger.scores.get(protocol.key)
        if over:
            mark, value = _OVER, self._worst
        elif known is not None:
            mark, value = _REPEATED, known
        elif outcome is not None and not outcome.failed:
            mark, value = _SCORED, outcome.value
        else:
            trial.set_user_attr("outcome", _FAILED)
            if outcome is not None:
                trial.set_user_attr("error", outcome.error)
                trial.set_user_attr("traceback", outcome.traceback)
            self._study.tell(trial, state=TrialState.FAIL)
            return
        trial.set_user_attr("outcome", mark)
        cost = self._space.menu.price(protocol)
        self._study.tell(trial, [_objective(name, value, cost) for name in self._yardstick.objectives])

    def _enter(self, trial: FrozenTrial) -> None:
        if trial.user_attrs.get("outcome") == _SCORED:
            value = trial.values[self._yardstick.objectives.index(DIAGNOSIS)]
            self._ledger.add(Protocol.from_key(trial.user_attrs["protocol"]), value)


class Journal:
    """Finished trials in an Optuna journal file: appended one line each, repaired after a torn write.

    Parameters
    ----------
    path : the file, `None` = nothing is kept.
    identity : what the search is about; a journal with another one is refused.

    Raises
    ------
    ScanwiseError
        If the journal belongs to another search, is damaged inside, or cannot be written.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, Any]) -> None:
        self._path = path.resolve() if path is not None else None  # a relative path would dangle in the lock
        self._study: optuna.Study | None = None
        self._known_attrs: dict[str, Any] = {}
        self._left_behind: list[FrozenTrial] = []
        if self._path is None:
            return
        with self._readable(), self._writable():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = JournalFileOpenLock(str(self._path), grace_period=_LOCK_GRACE_S)
            repair(self._path, lock)
            self._storage = JournalStorage(JournalFileBackend(str(self._path), lock_obj=lock))
            if _STUDY in [study.study_name for study in self._storage.get_all_studies()]:
                self._study = optuna.load_study(study_name=_STUDY, storage=self._storage)
            else:  # `load_if_exists` would write into a journal that may turn out to be another search's
                self._study = optuna.create_study(
                    storage=self._storage, study_name=_STUDY, directions=identity["directions"]
                )
            self._study_id = self._storage.get_study_id_from_name(_STUDY)
            self._check(identity)
            self._release_unfinished()
            self._known_attrs = dict(self._storage.get_study_system_attrs(self._study_id))

    @property
    def trials(self) -> list[FrozenTrial]:
        """The recorded trials by number."""
        return [] if self._study is None else self._study.get_trials(deepcopy=False)

    @property
    def sampler_attrs(self) -> dict[str, Any]:
        """What the sampler keeps beside the trials."""
        return {key: value for key, value in self._known_attrs.items() if not key.startswith("study:")}

    def append(self, trial: FrozenTrial, sampler_attrs: Mapping[str, Any]) -> None:
        """Record one finished trial, and what the sampler noted meanwhile."""
        if self._study is None or self._path is None:
            return
        with self._readable(), self._writable():
            for key, value in sampler_attrs.items():
                if key not in self._known_attrs:
                    self._storage.set_study_system_attr(self._study_id, key, value)
                    self._known_attrs[key] = value
            self._study.add_trial(trial)
            if len(self.trials) != trial.number + 1:
                raise ScanwiseError(
                    f"trial {trial.number} was recorded as number {len(self.trials) - 1} in {str(self._path)!r}",
                    "another process searches in the same folder: stop one of them",
                )

    def requeue(self, space: SearchSpace) -> dict[str, Mapping[str, Any]]:
        """Return the parameters of trials that someone started in this journal and did not finish, by protocol key."""
        wanted: dict[str, Mapping[str, Any]] = {}
        for trial in self._left_behind:
            params = trial.params or trial.system_attrs.get("fixed_params", {})
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")  # a value out of range is only a warning to Optuna
                    wanted[space.suggest(FixedTrial(dict(params))).key] = params
            except (ValueError, UserWarning, ScanwiseError):
                continue  # not all parameters were there, or not of this space: nothing that could be asked again
        return wanted

    def _check(self, identity: Mapping[str, Any]) -> None:
        assert self._study is not None  # noqa: S101 - for the type checker
        stored = self._study.user_attrs.get(_IDENTITY)
        if stored is None and not self.trials:
            self._study.set_user_attr(_IDENTITY, dict(identity))
            self._study.set_metric_names(list(identity["objectives"]))
            return
        different = [key for key in identity if stored is None or stored.get(key) != identity[key]]
        if [direction.name.lower() for direction in self._study.directions] != identity["directions"]:
            different = sorted({*different, "directions"})
        if different:
            words = "; ".join(f"{key} was {(stored or {}).get(key)!r} and is {identity[key]!r}" for key in different)
            raise ScanwiseError(
                f"a search can only be resumed as it was begun, but in {str(self._path)!r} {words}",
                "search in a new folder, or set back what was changed",
            )
        for trial in self.trials:  # a trial without constraints would count as feasible
            if trial.state == TrialState.COMPLETE and (
                "protocol" not in trial.user_attrs or not set(identity["budget"]) <= set(trial.constraints)
            ):
                raise ScanwiseError(
                    f"every trial must carry its protocol and its limits, but trial {trial.number} in "
                    f"{str(self._path)!r} does not",
                    "something else wrote into the journal: search in a new folder",
                )

    def _release_unfinished(self) -> None:
        """Fail trials that another tool left running or waiting here, to be asked again under a new number."""
        self._left_behind = [trial for trial in self.trials if not trial.state.is_finished()]
        for trial in self._left_behind:
            self._storage.set_trial_user_attr(trial._trial_id, "outcome", _FAILED)
            self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ScanwiseError(
                f"the journal {str(self._path)!r} cannot be written: {error.strerror or error}",
                "free space or choose another folder, then start the same command again: it goes on where it was",
            ) from error

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (
            ValueError,
            KeyError,
            TypeError,
            AssertionError,
        ) as error:  # what Optuna raises on lines that are no records
            raise ScanwiseError(
                f"the journal {str(self._path)!r} is damaged inside: {error!r}", "delete it and search again"
            ) from error


def repair(path: Path, lock: JournalFileOpenLock) -> bool:
    """Cut a torn end off a journal and keep it in a ``.corrupt`` file; return whether there was one.

    A process killed while it appends leaves a line without an end; the next append would be glued to it and make the
    whole file unreadable. A line that was not ended was not acknowledged either, so nothing is lost. A last line that
    is ended but no JSON (something was glued on, or the machine lost power) goes the same way.
    """
    if not path.exists():
        return False
    lock.acquire()
    try:
        content = path.read_bytes()
        end = content.rfind(b"\n") + 1
        while end and not _is_json(content[content.rfind(b"\n", 0, end - 1) + 1 : end]):
            end = content.rfind(b"\n", 0, end - 1) + 1
        tail = content[end:]
        if not tail:
            return False
        with path.with_name(f"{path.name}.corrupt").open("ab") as file:
            file.write(tail if tail.endswith(b"\n") else tail + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.truncate(path, end)
        return True
    finally:
        lock.release()


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


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


def _running(trial: FrozenTrial) -> FrozenTrial:
    distributions: dict[str, BaseDistribution] = trial.distributions
    return optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=trial.params,
        distributions=distributions,
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
