"""The stages from fit to report, and the only place that turns configuration into objects."""

from __future__ import annotations

import copy
import datetime
import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from scanwise.artifacts import (
    GOES_ON,
    hash_json,
    read_arrays,
    read_json,
    sha256_file,
    write_arrays,
    write_json,
    write_text,
)
from scanwise.composing import compose_config, setting_names
from scanwise.config import FREE_OF_RUN, KEPT_BY_RUN, STAGES
from scanwise.design import (
    Budget,
    Cost,
    Fold,
    Menu,
    Modality,
    Protocol,
    Scorer,
    Setup,
    parts_of_today,
)
from scanwise.errors import ScanwiseError, did_you_mean
from scanwise.evidence import ScoreTable, auc_of_rows
from scanwise.explaining import MOST_PARTS, as_many_of_both, groups_of, pictures_of, score_moved, score_subsets
from scanwise.recommend import Explained, Finding, Recommendation, Record, Rule, Walks, audit, recommend
from scanwise.tuning import Measure, objective_of

Progress = Callable[[str, int, int, str], None]
"""``progress(stage, done, total, text)``."""

_PACKAGE = "scanwise."
_MANIFEST_VERSION = 1
_FREE_OF_COHORT = ("root", "cache", "workers")
"""Settings of a cohort that change no patient: where its files are, and how many threads make them."""
_FREE_OF_SEARCH = ("storage",)
"""Settings of a search that change nothing it finds: where its trials are kept."""
_ASKED = {"explain": ("doubts",), "policy": ("policy", "primary"), "recommend": ("budget", "evidence", "primary")}
"""Settings that stages depend on beyond what makes the run."""
_ONCE_ASKED = ("explain", "policy")
"""Stages that are done anew where these settings are other ones, and not where they are the same."""
_LEAST_AGAIN = 4
"""Patients who are made again at least: an AUC needs two of either class."""
_LOCK_POLL_S = 0.2
_VERSIONED = ("scanwise", "torch", "lightning", "optuna", "hydra-core", "scikit-learn", "scipy", "numpy", "plotly")


class Run:
    """One run folder: what was configured, what is done, and the stages that do the rest.

    Any number of processes may run the same stages in one folder: one fits while the others wait, all of them share
    the trials of the search, one does the rest.

    Parameters
    ----------
    config : resolved configuration, plain data.
    directory : the run folder.
    command : what the user typed, for the manifest.
    progress : told how far the work is.

    Raises
    ------
    ScanwiseError
        If the folder holds a run with another configuration.
    """

    def __init__(
        self, config: dict[str, Any], directory: Path, *, command: str = "", progress: Progress | None = None
    ) -> None:
        self.config = config
        self.directory = directory
        self._progress = progress or (lambda *_: None)
        self._loaded: dict[str, Any] = {}
        self._left_to_others: set[str] = set()
        identity = run_identity(config)
        manifest_path = directory / "manifest.json"
        if manifest_path.exists():
            self.manifest = read_json(manifest_path)
            self._check_identity(identity)
        else:
            self.manifest = {
                "schema_version": _MANIFEST_VERSION,
                "command": command,
                "identity": identity,
                "config_hash": hash_json(identity),
                "data_hash": None,
                "seed": config["seed"],
                "versions": _versions(),
                "platform": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
                "git": _git_state(),
                "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "stages": {},
            }
        self._seen = dict(self.manifest["stages"])

    # ---- what is configured -----------------------------------------------------------------------------------

    @property
    def menu(self) -> Menu:
        """What is on offer."""
        return self._once("menu", lambda: build_menu(self.config["menu"]))

    @property
    def cohort(self) -> Any:
        """The patients; read from their files on first use and checked against the manifest."""
        return self._once("cohort", self._load_cohort)

    @property
    def rule(self) -> Rule:
        """How a protocol is chosen and judged."""
        return Rule(**self.config["evidence"], primary=self.config["primary"], seed=self.config["seed"])

    @property
    def measure(self) -> Measure:
        """What the search maximises."""
        return Measure(**self.config.get("objective", {}))

    @property
    def budget(self) -> Budget:
        """The configured limits."""
        return Budget.from_mapping(self.config["budget"])

    @property
    def folds(self) -> tuple[Fold, ...]:
        """How the patients are dealt out."""
        return self._once("folds", lambda: tuple(self._split.folds(self.cohort, self.config["seed"])))

    # ---- stages -----------------------------------------------------------------------------------------------

    def run(self, stage: str = "all") -> Run:
        """Run one stage, or all that are not done; what is done is not done again.

        Raises
        ------
        ScanwiseError
            For an unknown stage, or where an earlier stage is missing.
        """
        if stage not in ("all", *STAGES):
            raise ScanwiseError(
                f"stage must be one of all, {', '.join(STAGES)}, but got {stage!r}", did_you_mean(stage, STAGES)
            )
        wanted = STAGES if stage == "all" else (stage,)
        self._check_before_work(wanted)
        for name in wanted:
            # recommend and report take seconds and depend on the budget: they are always made anew
            if name not in ("recommend", "report") and self.done(name):
                self._progress(name, 1, 1, "done before")
                continue
            self._require_earlier(name)
            try:
                self._do(name)
            except OSError as error:
                raise ScanwiseError(
                    f"stage {name!r} could not read or write in {self.directory.as_posix()!r}: "
                    f"{error.strerror or error}",
                    GOES_ON,
                ) from error
        return self

    def check(self, stage: str = "all") -> Run:
        """Find what is wrong before anything is trained or written; `run` does this first of all."""
        self._check_before_work(STAGES if stage == "all" else (stage,))
        return self

    def notes_on_workers(self, n_workers: int, *, several_machines: bool) -> list[str]:
        """Return what somebody who starts several workers should know about this configuration.

        Parameters
        ----------
        n_workers : how many are started.
        several_machines : whether they may run on different ones.
        """
        notes: list[str] = []
        batch_size = self.config["search"].get("batch_size", 1)
        if n_workers == 1:
            return notes
        if not self._search_method.is_shared(self._space):
            return ["this search is the work of one process: further workers have nothing to do"]
        if batch_size % n_workers:
            notes.append(
                f"{n_workers} workers share batches of {batch_size}, so some of them wait: "
                f"search.batch_size={-(-batch_size // n_workers) * n_workers} would keep all of them busy"
            )
        if several_machines and self.config["search"].get("storage") is None:
            notes.append(
                "a journal file is for the workers of one machine: across machines use search.storage=postgresql://..."
            )
        return notes

    def done(self, stage: str) -> bool:
        """Whether a stage was completed."""
        entry = self.manifest["stages"].get(stage)
        return entry is not None and (stage not in _ONCE_ASKED or entry.get("asked") == self._asked(stage))

    def recommend(self, budget: Mapping[str, float | None] | Budget | None = None, **limits: float) -> Recommendation:
        """Answer for a budget from the files of this run, in seconds, without torch or optuna.

        Parameters
        ----------
        budget : limits per cost axis, e.g. ``{"money": 200}``; default is the configured budget.
        limits : the same as keywords: ``run.recommend(money=200)``.
        """
        self._require_earlier("recommend")
        if budget is None and not limits:
            budget = self.budget
        if not isinstance(budget, Budget):
            budget = Budget.from_mapping({**(budget or {}), **limits})
        return recommend(self._record(), budget, self.rule)

    def scorer(self, index: int = 0) -> Scorer:
        """Return the fitted model of one fold: ``run.scorer().score([protocol], patients)``."""
        scorers: dict[int, Scorer] = self._loaded.setdefault("scorers", {})
        if index not in scorers:
            fold = self.folds[index]
            where = self.directory / "fit" / fold.name
            scorers[index] = self._model.load(
                self.cohort, self.menu, fold, seed=self._fold_seed(index), directory=where
            )
        return scorers[index]

    def advisor(self, weight: float | None = None) -> Any:
        """Return who says what to acquire next in one patient, from the files of this run, without the cohort.

        Parameters
        ----------
        weight : loss that one unit of price may cost; `None` = the one of the last recommendation.

        Raises
        ------
        ScanwiseError
            If the run has no policy, or the weight is not above 0.
        """
        from scanwise.policy import Advisor, read_guidance

        self._require_earlier("report")
        about, guidance = read_guidance(self.directory / "policy", self.menu)
        if weight is None:
            told = self.last_recommendation().content["adaptive"]
            weight = float(told["weights"][told["chosen"]]["weight"])
        if not weight > 0:
            raise ScanwiseError(f"the price weight must be above 0, but is {weight!r}", "leave it out")
        readers = [self._model.reader(self.menu, self.directory / "fit" / name) for name in about["folds"]]
        return Advisor(about, guidance, readers, weight)

    def last_recommendation(self) -> Recommendation:
        """Return the recommendation that was last written into the run folder."""
        return Recommendation(read_json(self.directory / "recommendation.json"))

    def report(self) -> Any:
        """Return the report of the last recommendation: cards, tables and Plotly figures."""
        from scanwise.report import build_report

        return build_report(read_json(self.directory / "recommendation.json"))

    def figure(self, card: str) -> Any:
        """Return one figure of the report as a Plotly object, e.g. ``run.figure("front")``."""
        return self.report().figure(card)

    def export(self, out: str | os.PathLike[str], protocol: str = "proposal") -> Any:
        """Write a protocol into a folder for those who acquire it; see `scanwise.recommend.export`.

        Parameters
        ----------
        out : a new or empty folder, or one with this very export.
        protocol : ``"proposal"``, ``"reference"``, or the key of a protocol of the menu.

        Raises
        ------
        ScanwiseError
            If there is no recommendation yet or no such protocol, or the folder holds something else.
        """
        from scanwise.recommend.export import write_export

        self._require_earlier("report")
        tables = {card.id: card.table for card in self.report().cards if card.table is not None}
        organ = self.config["cohort"].get("organ") or {}  # what is not virtual does not tell
        return write_export(
            Path(out),
            self.last_recommendation().to_dict(),
            self.menu,
            protocol,
            tables=tables,
            fov_mm=organ.get("geometry", {}).get("fov_mm"),
        )

    @property
    def dashboard(self) -> Path:
        """Path of the dashboard."""
        return self.directory / "dashboard.html"

    def __repr__(self) -> str:
        done = ", ".join(stage for stage in STAGES if self.done(stage)) or "nothing"
        return f"Run({self.directory.as_posix()!r}; done: {done})"

    def _fit(self) -> None:
        cohort, folds, menu = self.cohort, self.folds, self.menu
        findings = audit(cohort, cohort.site, menu, folds)
        write_json(
            self.directory / "cohort.json",
            {
                "card": cohort.describe(),
                "done": _done_by_site(cohort, menu),
                "audit": [finding.to_dict() for finding in findings],
                "split": {"kind": self._split.kind, "text": self._split.describe(), "n_folds": len(folds)},
            },
        )
        self._save()  # a run that is killed from here on knows its data and settings when it goes on
        for index, fold in enumerate(folds):
            where = self.directory / "fit" / fold.name
            marker = where / "done.json"
            seed = self._fold_seed(index)
            text = f"fold {index + 1} of {len(folds)}"
            if marker.exists() and read_json(marker).get("seed") == seed:
                self._progress("fit", index + 1, len(folds), f"{text}: done before")
                continue

            def told(done: int, total: int, words: str, index: int = index, text: str = text) -> None:
                self._progress("fit", index * total + done, len(folds) * total, f"{text} {words}")

            scorer = self._model.fit(
                cohort, menu, fold, seed=seed, trainer=self.trainer, directory=where, progress=told
            )
            write_json(marker, {"seed": seed, "learn": len(fold.learn), "test": len(fold.test)})
            self._loaded.setdefault("scorers", {})[index] = scorer

    def _search(self) -> None:
        space, search, limits, folds = self._space, self._search_method, self._limits, self.folds
        for index, fold in enumerate(folds):
            path = self.directory / "search" / f"{fold.name}.json"
            if path.exists():
                continue
            objective = objective_of(
                self.scorer(index), fold.tune, self.cohort.label[fold.tune], _tune_stratum(fold), self.measure
            )

            def told(done: int, total: int, words: str, index: int = index) -> None:
                text = f"fold {index + 1} of {len(folds)}: {words}"
                self._progress("search", index * total + done, len(folds) * total, text)

            result = search.run(
                space,
                objective=objective,
                budget=limits,
                seed=self._fold_seed(index),
                directory=self._search_folder(fold),
                progress=told,
                enqueue=(self.menu.reference,),
                data=f"{self.manifest['data_hash']} {self.manifest['config_hash']} {self._fitted(fold)}",
            )
            write_json(path, result.to_dict())

    def _confirm(self) -> None:
        results = self._search_results()
        folds, cohort = self.folds, self.cohort
        roles, pooled = self._short_list(results)
        short = [Protocol.from_key(key) for key in roles]
        n_rounds = 1 + max(fold.repeat for fold in folds)
        shape = (len(short), len(cohort))
        tune = np.full((len(folds), *shape), np.nan)
        tune_stratum = np.full((len(folds), len(cohort)), -1)
        test = np.full((n_rounds, *shape), np.nan)
        test_stratum = np.full((n_rounds, len(cohort)), -1)
        for index, fold in enumerate(folds):
            scorer = self.scorer(index)
            tune[index][:, fold.tune] = scorer.score(short, fold.tune)
            tune_stratum[index, fold.tune] = _tune_stratum(fold)
            test[fold.repeat][:, fold.test] = scorer.score(short, fold.test)
            test_stratum[fold.repeat, fold.test] = fold.index
            self._progress("confirm", index + 1, len(folds), f"fold {index + 1} of {len(folds)}")
        for name, probability, stratum in (("tune", tune, tune_stratum), ("test", test, test_stratum)):
            table = ScoreTable(tuple(roles), probability, stratum, cohort.label, cohort.site)
            write_arrays(self.directory / "scores" / f"{name}.npz", **table.to_arrays())
        write_json(
            self.directory / "candidates.json",
            {
                "roles": roles,
                "places": [[fold.repeat, fold.index] for fold in folds],
                "considered": [
                    {"key": key, "tune_auc": value, "on_front": key in pooled["front"]}
                    for key, value in self._tune_auc(pooled["value"]).items()
                ],
                "searches": [
                    {
                        "how": result.how,
                        "complete": result.complete,
                        "history": list(result.history),
                        "n_scored": result.n_scored,
                    }
                    for result in results
                ],
            },
        )
        self._loaded.pop("record", None)

    def _explain(self) -> None:
        folder, table = self.directory / "explain", self._scores("test")
        about: dict[str, Any] = {"parts": list(parts_of_today(self.menu))}
        if len(about["parts"]) <= MOST_PARTS:

            def told(done: int, total: int, words: str) -> None:
                self._progress("explain", done, total + 1, words)

            subsets = score_subsets(self.menu, self.folds, self.scorer, table, told)
            write_arrays(folder / "subsets.npz", **subsets.to_arrays())
        groups, members = groups_of(self.cohort)
        write_arrays(folder / "groups.npz", members=members)
        about["groups"] = groups
        write_json(folder / "pictures.json", pictures_of(self.cohort, self.menu, table, self.config["seed"]))
        about["doubts"] = self._explain_doubts(folder)
        write_json(folder / "about.json", about)
        self._progress("explain", 1, 1, f"{len(groups)} groups of patients")

    def _explain_doubts(self, folder: Path) -> dict[str, Any]:
        """Score the short list where numbers that patients are made of are other ones; return which, or why not."""
        asked, fold, doubts = int(self.config["doubts"]), self.folds[0], self.cohort.doubts
        if not doubts:
            return {"reason": "the patients are not made of numbers that the literature leaves open"}
        if asked < _LEAST_AGAIN:
            return {"reason": f"it was left out (doubts={asked}); doubts=200 stage=explain adds it to a run"}
        try:
            reader = self._model.reader(self.menu, self.directory / "fit" / fold.name)
        except ScanwiseError as error:
            return {"reason": error.message}
        label = self.cohort.label
        patients = as_many_of_both(label, np.asarray(fold.test), asked, self.config["seed"])
        keys = self._scores("test").protocols
        probability = score_moved(
            self.cohort,
            [Protocol.from_key(key) for key in keys],
            patients,
            reader,
            lambda done, total, words: self._progress("explain", done, total + 1, words),
        )
        write_arrays(folder / "doubts.npz", probability=probability, label=label[patients])
        return {"protocols": list(keys), "moved": [{"where": where, **numbers} for where, numbers in doubts.items()]}

    def _policy(self) -> None:
        from scanwise.policy import learn_policy, leave_policy_out

        folder, policy = self.directory / "policy", self._policy_settings
        if policy is None:
            leave_policy_out(folder, "none was asked for (~policy)")
            return

        def told(done: int, total: int, words: str) -> None:
            self._progress("policy", done, total, words)

        try:
            learn_policy(
                policy,
                self.cohort,
                self.menu,
                self.folds,
                self.scorer,
                axis=self.rule.primary,
                seed=self.config["seed"],
                directory=folder,
                progress=told,
            )
        except ScanwiseError as error:  # the protocol for everybody stands without one
            leave_policy_out(folder, error.message)

    def _recommend(self) -> None:
        self._loaded.pop("record", None)  # a policy may have been learned meanwhile
        self._progress("recommend", 0, 1, "weighing the evidence")
        recommendation = self.recommend()
        write_json(self.directory / "recommendation.json", recommendation.to_dict())
        self._progress("recommend", 1, 1, recommendation.content["decision"]["headline"])

    def _report(self) -> None:
        from scanwise.report import refresh_index, write_report

        self._progress("report", 0, 1, "drawing")
        write_report(read_json(self.directory / "recommendation.json"), self.directory)
        problem = refresh_index(self.directory, Path(self.config["out"]))
        self._progress("report", 1, 1, f"{self.dashboard.as_posix()}{'; ' if problem else ''}{problem}")

    # ---- how they do it ---------------------------------------------------------------------------------------

    def _do(self, stage: str) -> None:
        """Do one stage, or leave it to another process that is at it."""
        began = time.monotonic()
        shared = stage == "search" and self._search_method.is_shared(self._space)
        if shared:
            self._search()
        with self._alone(stage):
            if self._done_meanwhile(stage):
                self._progress(stage, 1, 1, "done with others" if shared else "done by another process")
                return
            if not shared:
                getattr(self, f"_{stage}")()
            self._close(stage, time.monotonic() - began)

    @contextmanager
    def _alone(self, stage: str) -> Iterator[None]:
        """Wait until no other process works on this run; a lock that was left behind is none."""
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.directory / "run.lock", poll_interval=_LOCK_POLL_S)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            self._progress(stage, 0, 1, "another process is at it: waiting")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _done_meanwhile(self, stage: str) -> bool:
        """Take over what other processes have done since this one looked; whether they did this very stage."""
        path = self.directory / "manifest.json"
        if not path.exists():
            return False
        manifest = read_json(path)
        if None not in (self.manifest["data_hash"], manifest["data_hash"]):
            _check_data(manifest["data_hash"], self.manifest["data_hash"])
        manifest["data_hash"] = manifest["data_hash"] or self.manifest["data_hash"]
        self.manifest = manifest
        self._check_identity(run_identity(self.config))
        entry = manifest["stages"].get(stage)
        if entry is None:
            return False
        if stage == "recommend":  # done now, and for the same question
            done = entry != self._seen.get(stage) and entry.get("asked") == self._asked(stage)
        elif stage == "report":
            done = "recommend" in self._left_to_others
        elif stage in _ONCE_ASKED:
            done = self.done(stage)
        else:
            done = True
        self._seen[stage] = entry
        (self._left_to_others.add if done else self._left_to_others.discard)(stage)
        return done

    def _asked(self, stage: str) -> str:
        """Return a hash of the settings a stage depends on beyond what makes the run."""
        return hash_json({name: self.config.get(name) for name in _ASKED[stage]})

    def _fitted(self, fold: Fold) -> str:
        """Return a hash of the networks of a fold: scores of others must not be mixed with theirs."""
        files = sorted((self.directory / "fit" / fold.name).glob("*.ckpt"))
        return hash_json({path.name: sha256_file(path) for path in files})

    def _search_folder(self, fold: Fold) -> Path:
        return self.directory / "search" / fold.name

    def _short_list(self, results: Sequence[Any]) -> tuple[dict[str, list[str]], dict[str, Any]]:
        """Fix the short list from what the searches found: ``{key: roles}``, and the pooled values behind it.

        Judged are the reference, the least one can do, the pooled front, every modality alone, and what is on the front
        of single folds, most frequent first, up to the configured length.
        """
        from scanwise.search import nondominated

        menu = self.menu
        shared = set.intersection(*({p.key for p in result.protocols} for result in results))
        union = shared | {protocol.key for result in results for protocol in result.front_protocols}
        union |= {menu.reference.key, menu.always.key}
        alone = [menu.protocol(name).key for name in menu.modalities if name not in menu.always.modalities]
        union |= set(alone)
        values: dict[str, list[float]] = {key: [] for key in sorted(union)}
        for index, (result, fold) in enumerate(zip(results, self.folds, strict=True)):
            known = {
                protocol.key: float(value) for protocol, value in zip(result.protocols, result.values, strict=True)
            }
            unknown = [key for key in values if key not in known]
            if unknown:
                scores = self.scorer(index).score([Protocol.from_key(key) for key in unknown], fold.tune)
                label, stratum = self.cohort.label[fold.tune], _tune_stratum(fold)
                known |= dict(zip(unknown, self.measure.of_rows(label, scores, stratum).tolist(), strict=True))
            for key in values:
                values[key].append(known[key])
        value = {key: float(np.mean(of_key)) for key, of_key in values.items()}
        keys = list(value)
        prices = menu.price_many([Protocol.from_key(key) for key in keys])
        varying = prices[:, prices.std(axis=0) > 0]
        on_front = nondominated(
            np.column_stack([np.array(list(value.values())), varying]), [True] + [False] * varying.shape[1]
        )
        front = [key for key, inside in zip(keys, on_front, strict=True) if inside]
        price = {key: tuple(row) for key, row in zip(keys, prices, strict=True)}
        often: dict[str, int] = {}
        for result in results:
            for protocol in result.front_protocols:
                often[protocol.key] = often.get(protocol.key, 0) + 1
        roles: dict[str, list[str]] = {}

        def enlist(key: str, role: str) -> None:
            if key in roles:
                roles[key].append(role)
            elif len(roles) < self.config["short_list"]:
                roles[key] = [role]

        enlist(menu.reference.key, "reference")
        enlist(menu.always.key, "least")
        for key in sorted(front, key=lambda key: price[key]):
            enlist(key, "front")
        for key in alone:
            enlist(key, "alone")
        for key in sorted(often, key=lambda key: (-often[key], key)):
            enlist(key, "front of a fold")
        return roles, {"value": value, "front": set(front)}

    def _tune_auc(self, value: Mapping[str, float]) -> Mapping[str, float]:
        """Return the AUC on the searching patients of what has a value there, which need not be the AUC."""
        if self.measure.name == "auc":
            return value
        protocols = [Protocol.from_key(key) for key in value]
        found = np.zeros(len(protocols))
        for index, fold in enumerate(self.folds):
            scores = self.scorer(index).score(protocols, fold.tune)
            found += auc_of_rows(self.cohort.label[fold.tune], scores, _tune_stratum(fold)) / len(self.folds)
        return dict(zip(value, found.tolist(), strict=True))

    def _record(self) -> Record:
        return self._once("record", self._read_record)

    def _read_record(self) -> Record:
        from scanwise.policy import read_walks

        about = read_json(self.directory / "cohort.json")
        candidates = read_json(self.directory / "candidates.json")
        stages = self.manifest["stages"]
        walked = read_walks(self.directory / "policy")
        return Record(
            menu=self.menu,
            study=about["card"],
            done=about["done"],
            tune=self._scores("tune"),
            test=self._scores("test"),
            places=[(round_, stratum) for round_, stratum in candidates["places"]],
            roles=candidates["roles"],
            searches=candidates["searches"],
            considered=candidates["considered"],
            audit=[Finding.from_dict(finding) for finding in about["audit"]],
            split=about["split"],
            model=self.manifest.get("model", {}),
            provenance={
                "command": self.manifest["command"],
                "config_hash": self.manifest["config_hash"],
                "data_hash": self.manifest["data_hash"],
                "versions": self.manifest["versions"],
                "git": self.manifest["git"],
                "platform": self.manifest["platform"],
                "seed": self.manifest["seed"],
                "started": self.manifest["started"],
                "stages": [
                    {"stage": name, "seconds": stages[name]["seconds"]} for name in STAGES[:3] if name in stages
                ],
                "model_files": about["split"]["n_folds"],
            },
            walks=None if walked is None else Walks(*walked),
            explained=self._explained(),
        )

    def _scores(self, name: str) -> ScoreTable:
        return ScoreTable.from_arrays(read_arrays(self.directory / "scores" / f"{name}.npz"))

    def _explained(self) -> Explained | None:
        folder = self.directory / "explain"
        if "explain" not in self.manifest["stages"]:
            return None
        subsets = folder / "subsets.npz"
        return Explained(
            about=read_json(folder / "about.json"),
            subsets=ScoreTable.from_arrays(read_arrays(subsets)) if subsets.exists() else None,
            members=read_arrays(folder / "groups.npz")["members"],
            pictures=read_json(folder / "pictures.json"),
            moved=read_arrays(folder / "doubts.npz") if (folder / "doubts.npz").exists() else None,
        )

    @property
    def _space(self) -> Any:
        return self._once("space", self._make_space)

    def _make_space(self) -> Any:
        from scanwise.search import SearchSpace

        mandatory = _named(self.menu, self.config["mandatory"], "mandatory")
        return SearchSpace(self.menu, mandatory=mandatory, grid=self.config["grid"], fusible=self._model.fuses)

    @property
    def _search_method(self) -> Any:
        return self._once("search", lambda: _instantiate(self.config["search"], "search"))

    @property
    def _limits(self) -> Budget:
        return Budget.from_mapping(self.config["limits"])

    @property
    def _split(self) -> Any:
        return self._once("split", lambda: _instantiate(self.config["split"], "split"))

    @property
    def _model(self) -> Any:
        return self._once("model", lambda: _instantiate(self.config["model"], "model"))

    @property
    def _policy_settings(self) -> Any:
        config = self.config.get("policy")
        return self._once("policy", lambda: None if config is None else _instantiate(config, "policy"))

    @property
    def launcher(self) -> Any:
        """Where the workers run."""
        return self._once("launcher", lambda: _instantiate(self.config["launcher"], "launcher"))

    @property
    def trainer(self) -> Any:
        """Where training runs."""
        return self._once("trainer", lambda: _instantiate(self.config["trainer"], "trainer"))

    def _search_results(self) -> list[Any]:
        from scanwise.search import SearchResult

        return [
            SearchResult.from_dict(read_json(self.directory / "search" / f"{fold.name}.json")) for fold in self.folds
        ]

    def _load_cohort(self) -> Any:
        cohort = _instantiate(self.config["cohort"], "cohort").load(self.menu)
        fingerprint = cohort.fingerprint
        if self.manifest["data_hash"] is not None:
            _check_data(self.manifest["data_hash"], fingerprint)
        self.manifest["data_hash"] = fingerprint
        return cohort

    def _check_before_work(self, wanted: Sequence[str]) -> None:
        """Find what is wrong before anything is trained or written."""
        menu = self.menu
        _ = self.rule, self.budget
        _named(menu, self.config["mandatory"], "mandatory")
        _ = self.measure  # refuses what it does not know
        if self.config["short_list"] < 3:
            raise ScanwiseError(
                f"short_list must be at least 3, but got {self.config['short_list']}",
                "the reference, the least one can do, and one more",
            )
        if self.rule.primary not in menu.priced_axes():
            raise ScanwiseError(
                f"primary={self.rule.primary!r} costs nothing on this menu, so nothing can be saved",
                f"choose one of {', '.join(menu.priced_axes())}",
            )
        _ = self._policy_settings
        if any(stage in wanted and not self.done(stage) for stage in ("fit", "search", "confirm")):
            self._search_method.check(self._space, budget=self._limits)
            folders = [self._search_folder(fold) for fold in self.folds]  # reads the cohort and deals the patients out
            self._search_method.check(self._space, budget=self._limits, directories=folders)
            self._model.check(menu)  # this and the trainer load torch, so they come last
            _ = self.trainer

    def _require_earlier(self, stage: str) -> None:
        for earlier in STAGES[: STAGES.index(stage)]:
            if not self.done(earlier) and earlier not in ("explain", "policy"):  # the advice stands without them
                raise ScanwiseError(
                    f"stage {stage!r} needs stage {earlier!r}, which this run has not completed",
                    f"start it with stage={earlier}, or everything with stage=all",
                )

    def _close(self, stage: str, seconds: float) -> None:
        self.manifest["stages"][stage] = {
            "seconds": round(seconds, 3),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        self._seen[stage] = self.manifest["stages"][stage]
        if stage in _ASKED:
            self.manifest["stages"][stage]["asked"] = self._asked(stage)
        if stage == "recommend":
            self.manifest["stages"].pop("report", None)  # what was drawn before shows another recommendation
        if stage == "fit":
            self.manifest["model"] = {"kind": self._model.kind, "text": self._model.describe()}
        self._save()

    def _save(self) -> None:
        write_text(self.directory / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(self.config)))
        write_json(self.directory / "manifest.json", self.manifest)

    def _fold_seed(self, index: int) -> int:
        return int(np.random.SeedSequence([self.config["seed"], index]).generate_state(1)[0])

    def _check_identity(self, identity: Mapping[str, Any]) -> None:
        if self.manifest.get("schema_version") != _MANIFEST_VERSION:
            raise ScanwiseError(
                f"the run in {self.directory.as_posix()!r} was written by another version of scanwise",
                "start a new run in another folder with out=...",
            )
        differing = _differences(self.manifest["identity"], identity)
        if differing:
            raise _other_settings(differing)

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._loaded:
            self._loaded[name] = make()
        return self._loaded[name]


def open_run(
    config: DictConfig, *, typed: Sequence[str] = (), command: str = "", progress: Progress | None = None
) -> Run:
    """Return the run that a configuration stands for: a folder named after what identifies it.

    The same configuration always finds the same folder, so a killed run goes on, and another budget finds its answers
    there. With ``from_run`` the folder is given, and the configuration of the run itself is used, except for what may
    change within a run.

    Parameters
    ----------
    config : the composed configuration.
    typed : names of the settings that the user gave; with ``from_run`` they must agree with the run.
    command : what the user typed, for the manifest.
    progress : told how far the work is.

    Raises
    ------
    ScanwiseError
        If a setting has no value, there is no run where ``from_run`` points, or it was started with other settings.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ScanwiseError(f"these settings need a value: {', '.join(missing)}", f"e.g. {missing[0]}=...")
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, enum_to_str=True)  # type: ignore[assignment]
    if plain["from_run"] is not None:
        directory = Path(plain["from_run"])
        stored = _stored_config(directory)
        _check_typed(typed, plain, stored)
        return Run(_asked_again(stored, plain, typed), directory, command=command, progress=progress)
    directory = Path(plain["out"]) / plain["name"] / hash_json(run_identity(plain))[:8]
    return Run(plain, directory, command=command, progress=progress)


def load_run(path: str | os.PathLike[str]) -> Run:
    """Open a finished run folder: ``scanwise.load_run("reports/runs/heart/1a2b3c4d").recommend(money=200)``."""
    directory = Path(path)
    return Run(_stored_config(directory), directory)


def run(*overrides: str, config_dir: str | os.PathLike[str] | None = None, progress: Progress | None = None) -> Run:
    """Run stages from a notebook: ``scanwise.run("experiment=heart", "budget.money=200")``.

    Parameters
    ----------
    overrides : as on the command line.
    config_dir : folder with your own configuration.
    progress : told how far the work is.
    """
    config = compose_config(list(overrides), None if config_dir is None else Path(config_dir))
    opened = open_run(config, typed=setting_names(overrides), command=f"scanwise.run{overrides!r}", progress=progress)
    return opened.run(config.stage)


def run_identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes a run another run: everything but stage, folders, trainer, evidence rule and budget.

    The folders that hold the data are left out too: the data are told apart by their content. So is an objective that
    is the AUC, so that runs from before there was a choice stay what they are.
    """
    identity = {key: value for key, value in config.items() if key not in FREE_OF_RUN}
    cohort = identity.get("cohort")
    if isinstance(cohort, Mapping):
        identity["cohort"] = {key: value for key, value in cohort.items() if key not in _FREE_OF_COHORT}
    search = identity.get("search")
    if isinstance(search, Mapping):
        identity["search"] = {key: value for key, value in search.items() if key not in _FREE_OF_SEARCH}
    objective = identity.pop("objective", None) or {"name": "auc"}
    if objective["name"] != "auc":  # the threshold is no difference where none is used
        used = ("name", "threshold") if objective["name"] == "net_benefit" else ("name",)
        identity["objective"] = {key: objective[key] for key in used}
    return identity


def build_menu(config: Mapping[str, Any]) -> Menu:
    """Build the menu from its configuration.

    Raises
    ------
    ScanwiseError
        For a negative price, an unknown modality or set-up, or an unknown key.
    """
    modalities: list[Modality] = []
    for name, node in config["modalities"].items():
        modalities.append(_instantiate({**node, "name": name}, f"menu.modalities.{name}"))
    setups = [
        Setup(
            name,
            Cost(**{key: value for key, value in row.items() if key not in ("title", "scanning")}),
            row["title"],
            row["scanning"],
        )
        for name, row in config["setups"].items()
    ]
    bare = Menu(modalities, setups)
    return Menu(
        modalities,
        setups,
        always=_named(bare, config["always"], "menu.always"),
        reference=None if config["reference"] is None else _named(bare, config["reference"], "menu.reference"),
        currency=config["currency"],
        source=config["source"],
    )


def _named(menu: Menu, names: Sequence[str], where: str) -> Protocol:
    for name in names:
        if name not in menu.modalities:
            raise ScanwiseError(
                f"{where} names the modality {name!r}, which is not on the menu", did_you_mean(name, menu.modalities)
            )
    return Protocol({name: menu.modalities[name].standard for name in names})


def _instantiate(node: Any, where: str) -> Any:
    """Build a component; only classes of this package, so that a YAML from elsewhere runs no foreign code."""
    for target in _targets(node):
        if not str(target).startswith(_PACKAGE):
            raise ScanwiseError(
                f"_target_ of {where} must be a class of scanwise, but is {target!r}",
                "a configuration file cannot name other code",
            )
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ScanwiseError(f"{where} needs a _target_, but is {node!r}", f"choose one: {where}=...")
    try:
        return hydra.utils.instantiate(node, _convert_="all")
    except hydra.errors.InstantiationException as error:
        cause = error.__cause__
        while cause is not None and not isinstance(cause, ScanwiseError) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, ScanwiseError):
            raise (cause if cause.hint else ScanwiseError(cause.message, f"look at the settings of {where}")) from None
        reason = str(cause or error).splitlines()[0]
        raise ScanwiseError(f"{where} could not be built: {reason}", f"look at the settings of {where}") from error


def _targets(node: Any) -> list[Any]:
    if isinstance(node, Mapping):
        own = [node["_target_"]] if "_target_" in node else []
        return own + [target for value in node.values() for target in _targets(value)]
    if isinstance(node, list | tuple):
        return [target for value in node for target in _targets(value)]
    return []


def _tune_stratum(fold: Fold) -> NDArray[np.int64]:
    """Patients of the searching part are ranked only against those scored by the same networks."""
    inner = dict(zip(fold.learn.tolist(), fold.inner.tolist(), strict=True))
    return np.array([max(0, inner.get(patient, 0)) for patient in fold.tune.tolist()], dtype=np.int64)


def _done_by_site(cohort: Any, menu: Menu) -> dict[str, dict[str, float]]:
    return {
        site: {name: float(cohort.done(name)[cohort.site == site].mean()) for name in menu.modalities}
        for site in cohort.sites
    }


def _asked_again(stored: Mapping[str, Any], plain: Mapping[str, Any], typed: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of a run that is asked again: its own, except for what was typed and may change.

    Budgets and machines are those of the command; how evidence is weighed and what a policy learns stay those of the
    run where nothing else was typed.
    """
    config = {key: value for key, value in stored.items() if key not in FREE_OF_RUN}
    for key in FREE_OF_RUN:
        if key not in KEPT_BY_RUN or "experiment" in typed or key not in stored or key in typed:
            config[key] = plain[key]
            continue
        config[key] = copy.deepcopy(stored[key])
        for name in typed:
            path = name.split(".")
            if path[0] == key and isinstance(config[key], dict):
                node = config[key]
                for part in path[1:-1]:
                    node = node[part]
                node[path[-1]] = _selected(plain, name)
    return config


def _stored_config(directory: Path) -> dict[str, Any]:
    path = directory / "config.yaml"
    if not path.exists():
        raise ScanwiseError(
            f"there is no run in {directory.as_posix()!r}",
            "from_run names a run folder, e.g. reports/runs/heart/1a2b3c4d, as printed at the end of a run",
        )
    plain: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(path), resolve=True)  # type: ignore[assignment]
    return plain


def _check_data(was: str, is_now: str) -> None:
    if was != is_now:
        raise ScanwiseError(
            f"the data of this run have changed: it was started with {was[:12]}, but the files now give {is_now[:12]}",
            "restore the files, or start a new run in another folder with out=...",
        )


def _check_typed(typed: Sequence[str], asked: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Refuse settings that contradict the run they are given with."""
    differing: list[str] = []
    for name in typed:
        top = name.partition(".")[0].partition("@")[0]
        if top == "experiment":
            differing += _differences(run_identity(stored), run_identity(asked))
        elif top not in FREE_OF_RUN and top != "hydra":
            old, new = (_selected(side, name) for side in (stored, asked))
            differing += _differences(old, new, name)
    if differing:
        raise _other_settings(differing)


def _selected(config: Mapping[str, Any], name: str) -> Any:
    node: Any = config
    for part in name.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _other_settings(differing: Sequence[str]) -> ScanwiseError:
    more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
    return ScanwiseError(
        f"this run was started with other settings: {'; '.join(differing[:5])}{more}",
        f"only {', '.join(FREE_OF_RUN)} may change within a run; leave from_run out to start a new one",
    )


def _differences(old: Any, new: Any, at: str = "") -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [
            line
            for key in sorted({*old, *new})
            for line in _differences(old.get(key), new.get(key), f"{at}.{key}" if at else str(key))
        ]
    same = old == new or (isinstance(old, list | tuple) and isinstance(new, list | tuple) and list(old) == list(new))
    return [] if same else [f"{at} was {old!r}, is {new!r}"]


def _versions() -> dict[str, str]:
    versions = {}
    for name in _VERSIONED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions


def _git_state() -> str:
    """Return the commit this code was at, with "+" for uncommitted changes; "" outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        commit = subprocess.run(  # noqa: S603
            ["git", "-C", str(root), "describe", "--always", "--dirty=+"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit.stdout.strip()
