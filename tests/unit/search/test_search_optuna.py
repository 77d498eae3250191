from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from search_scenario import Objective, flat_value_of, make_flat_menu, make_menu, value_of

from scanwise.artifacts import write_json
from scanwise.design import Budget, Protocol
from scanwise.errors import ScanwiseError
from scanwise.search import LatticeSearch, OptunaSearch, SearchResult, SearchSpace
from scanwise.search._additive import AdditiveStart

LIMIT = Budget(money=200.0)
SCENARIO = Path(__file__).with_name("search_scenario.py")


def run(directory: Path | None, n_trials: int, objective: Objective | None = None, **changes: Any) -> SearchResult:
    options: dict[str, Any] = {"sampler": "tpe", "batch_size": 3, "menu": make_menu(), "budget": LIMIT, "seed": 7}
    options |= changes
    search = OptunaSearch(
        sampler=options["sampler"],
        n_trials=n_trials,
        batch_size=options["batch_size"],
        objectives=options.get("objectives"),
    )
    return search.run(
        SearchSpace(options["menu"], allowed=options.get("allowed")),
        objective=objective or Objective(),
        budget=options["budget"],
        seed=options["seed"],
        directory=directory,
        progress=options.get("progress"),
        enqueue=options.get("enqueue", ()),
        data=options.get("data", "cohort-1"),
    )


def open_study(directory: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(directory / "journal.log")))
    return optuna.load_study(study_name="scanwise", storage=storage)


def trials_of(directory: Path) -> list[FrozenTrial]:
    return open_study(directory).get_trials(deepcopy=False)


def content(trials: list[FrozenTrial]) -> list[Any]:
    """All of a trial but its clock."""
    return [(one.number, one.state, one.params, one.values, one.constraints, one.user_attrs) for one in trials]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_forty_trials_are_the_same_whether_or_not_they_were_interrupted(
    tmp_path: Path, sampler: str, batch_size: int
) -> None:
    through = run(tmp_path / "through", 40, sampler=sampler, batch_size=batch_size)
    run(tmp_path / "twice", 13, sampler=sampler, batch_size=batch_size)
    twice = run(tmp_path / "twice", 40, sampler=sampler, batch_size=batch_size)
    assert content(trials_of(tmp_path / "twice")) == content(trials_of(tmp_path / "through"))
    assert twice.to_dict() == through.to_dict()
    params = [trial.params for trial in trials_of(tmp_path / "through")]
    assert params[20:] != params[:20]  # the seed of a resumed search does not start anew


def test_nsga2_goes_on_in_the_generation_it_was_in(tmp_path: Path) -> None:
    through = run(tmp_path / "through", 110, sampler="nsga2", batch_size=8)
    for n_trials in (27, 69, 110):
        twice = run(tmp_path / "twice", n_trials, sampler="nsga2", batch_size=8)
    generations = {trial.system_attrs.get("NSGAIISampler:generation") for trial in trials_of(tmp_path / "through")}
    assert max(generation for generation in generations if generation is not None) >= 2
    assert content(trials_of(tmp_path / "twice")) == content(trials_of(tmp_path / "through"))
    assert twice.to_dict() == through.to_dict()


def test_another_seed_is_another_search() -> None:
    assert run(None, 40, seed=8).to_dict()["protocols"] != run(None, 40, seed=7).to_dict()["protocols"]


def test_the_number_of_trials_is_a_total(tmp_path: Path) -> None:
    run(tmp_path, 12)
    objective = Objective()
    again = run(tmp_path, 12, objective)
    assert objective.batches == []
    assert len(trials_of(tmp_path)) == 12
    assert again.how.startswith("Optuna (TPE), 12 trials: ")
    fewer = run(tmp_path, 5, objective)
    assert fewer.to_dict() == again.to_dict()


def test_no_protocol_is_scored_twice_and_none_over_a_limit(tmp_path: Path) -> None:
    objective = Objective()
    found = run(tmp_path, 120, objective, budget=Budget(money=120.0, visits=0.0))
    menu = make_menu()
    assert len(objective.asked) == len(set(objective.asked)) == len(found.protocols)
    assert all(
        menu.price(protocol).money <= 120.0 and menu.price(protocol).visits == 0.0 for protocol in found.protocols
    )
    marks = [trial.user_attrs["outcome"] for trial in trials_of(tmp_path)]
    assert marks.count("scored") == len(found.protocols)
    assert marks.count("repeated") > 0
    assert marks.count("over a limit") > 0
    assert f"{marks.count('over a limit')} over the limits not scored" in found.how


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_after_a_repetition_something_new_beside_it_is_asked(
    tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AdditiveStart, "propose", lambda *_: None)  # its proposals come before those beside
    run(tmp_path, 90, sampler=sampler)
    trials, menu = trials_of(tmp_path), make_menu()
    asked: set[str] = set()
    n_beside = 0
    for before, trial in zip([None, *trials], trials, strict=False):
        key = trial.user_attrs["protocol"]
        if before is not None and before.user_attrs["outcome"] == "repeated" and "fixed_params" in trial.system_attrs:
            n_beside += 1
            assert key not in asked
            assert trial.user_attrs["outcome"] == "scored"
            one, other = (Protocol.from_key(each.user_attrs["protocol"]) for each in (before, trial))
            assert sum(one.counts(name) != other.counts(name) for name in menu.modalities) == 1
        asked.add(key)
    assert n_beside > 5


def test_every_trial_carries_every_limit_and_only_scored_ones_can_be_best(tmp_path: Path) -> None:
    budget = Budget(money=120.0, visits=0.0)
    run(tmp_path, 60, budget=budget)
    menu = make_menu()
    study = open_study(tmp_path)
    for trial in study.trials:
        cost = menu.price(Protocol.from_key(trial.user_attrs["protocol"]))
        assert trial.constraints["money"] == pytest.approx((cost.money - 120.0) / 120.0)
        assert trial.constraints["visits"] == cost.visits
        assert (trial.user_attrs["outcome"] == "over a limit") == (not budget.allows(cost))
        assert trial.state == TrialState.COMPLETE
    assert study.metric_names == ["diagnosis", "money"]
    assert {trial.user_attrs["outcome"] for trial in study.best_trials} <= {"scored", "repeated"}


def test_current_practice_each_modality_alone_and_the_callers_come_first() -> None:
    objective = Objective()
    wanted = Protocol({"history": [1], "ecg": [1], "blood": [0, 1, 0]})
    run(None, 12, objective, budget=Budget(), enqueue=[wanted])
    assert objective.asked[:6] == [
        make_menu().reference.key,
        "history=1",
        "blood=1x3 history=1",
        "ecg=1 history=1",
        "history=1 mri=1x6",
        wanted.key,
    ]


def test_what_is_over_a_limit_is_not_enqueued() -> None:
    objective = Objective()
    run(None, 6, objective, budget=Budget(money=50.0))
    assert objective.asked[:3] == ["history=1", "blood=1x3 history=1", "ecg=1 history=1"]


def test_an_enqueued_protocol_out_of_reach_is_refused() -> None:
    with pytest.raises(ScanwiseError, match="must be in the search space, but 'ecg=1'"):
        run(None, 6, enqueue=[Protocol({"ecg": [1]})])


def test_the_objective_is_handed_batches() -> None:
    objective = Objective()
    run(None, 30, objective, batch_size=10, budget=Budget())
    assert len(objective.batches) == 3
    assert len(objective.batches[0]) > 5


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_the_known_optimum_is_found(sampler: str) -> None:
    space = SearchSpace(make_flat_menu(13, always=True))
    budget = Budget(money=30.0)
    exact = LatticeSearch().run(space, objective=Objective(flat_value_of), budget=budget)
    found = OptunaSearch(sampler=sampler, n_trials=400, batch_size=10).run(
        space, objective=Objective(flat_value_of), budget=budget, seed=3
    )
    assert found.values.max() == pytest.approx(exact.values.max(), abs=0.005)
    assert found.history[-1]["hypervolume"] > 0.97 * exact.history[-1]["hypervolume"]
    assert found.history[-1]["hypervolume"] <= exact.history[-1]["hypervolume"]
    assert len(found.protocols) < 0.5 * len(exact.protocols)


def test_the_gaussian_process_searches_flat_spaces(tmp_path: Path) -> None:
    found = run(tmp_path, 12, Objective(flat_value_of), sampler="gp", menu=make_flat_menu(4), budget=Budget(money=8.0))
    assert found.how.startswith("Optuna (Gaussian process), 12 trials")
    assert found.costs[:, 1].max() <= 8.0


def test_the_gaussian_process_refuses_conditional_spaces() -> None:
    with pytest.raises(ScanwiseError, match=r"merely on or off.*\n.*use search.sampler=tpe"):
        run(None, 12, sampler="gp")


def test_three_objectives_and_history() -> None:
    found = run(None, 20, objectives=["diagnosis", "money", "minutes"], batch_size=8)
    volumes = [entry["hypervolume"] for entry in found.history]
    assert [entry["evaluated"] for entry in found.history][-1] == len(found.protocols)
    assert len(volumes) == 3
    assert volumes == sorted(volumes)


def test_progress_counts_trials_and_shows_the_front(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    run(tmp_path, 4)
    run(tmp_path, 11, progress=lambda done, total, text: told.append((done, total, text)))
    assert [(done, total) for done, total, _ in told] == [(6, 11), (9, 11), (11, 11)]
    assert "on the front, hypervolume 0." in told[-1][2]


def test_a_space_of_one_protocol_is_searched_without_parameters() -> None:
    found = run(None, 3, allowed=[])
    assert [protocol.key for protocol in found.protocols] == ["history=1"]


def test_nothing_within_the_limits_is_said_before_anything_is_scored(tmp_path: Path) -> None:
    objective = Objective()
    with pytest.raises(
        ScanwiseError, match=r"limits\.money=2 contradicts 'history', which is always acquired and takes 4"
    ):
        run(tmp_path, 9, objective, budget=Budget(money=2.0))
    assert objective.batches == []
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- resuming


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"menu": make_menu(mri_price=21.0)}, "space was"),
        ({"allowed": ["ecg"]}, "space was"),
        ({"objectives": ["diagnosis", "minutes"]}, r"objectives was \['diagnosis', 'money'\]"),
        ({"objectives": ["money", "diagnosis"]}, "directions was"),
        ({"budget": Budget(money=199.0)}, "budget was"),
        ({"data": "cohort-2"}, "data was 'cohort-1' and is 'cohort-2'"),
        ({"seed": 8}, "seed was 7 and is 8"),
        ({"sampler": "random"}, "sampler was 'tpe' and is 'random'"),
        ({"batch_size": 5}, "batch_size was 3 and is 5"),
    ],
)
def test_a_journal_of_another_search_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    run(tmp_path, 4)
    before = (tmp_path / "journal.log").read_bytes()
    with pytest.raises(ScanwiseError, match=message):
        run(tmp_path, 9, **changes)
    assert (tmp_path / "journal.log").read_bytes() == before


def test_more_to_enqueue_on_resuming_is_asked_next(tmp_path: Path) -> None:
    run(tmp_path, 10)
    known = {trial.user_attrs["protocol"] for trial in trials_of(tmp_path)}
    wanted = Protocol({"history": [1], "ecg": [1], "blood": [0, 0, 1]})
    assert wanted.key not in known
    objective = Objective()
    run(tmp_path, 14, objective, enqueue=[wanted])
    assert objective.asked[0] == wanted.key


@pytest.mark.parametrize("cut", [1, 5, 150])
def test_a_torn_last_line_is_cut_off_and_kept(tmp_path: Path, cut: int) -> None:
    through = run(tmp_path / "through", 15)
    run(tmp_path / "torn", 11)
    path = tmp_path / "torn" / "journal.log"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    last = whole.splitlines()[-1]
    assert cut <= len(last)
    found = run(tmp_path / "torn", 15)
    assert path.with_name("journal.log.corrupt").read_bytes() == (last + b"\n")[:-cut] + b"\n"
    assert content(trials_of(tmp_path / "torn")) == content(trials_of(tmp_path / "through"))
    assert found.to_dict() == through.to_dict()


def test_a_journal_torn_anywhere_is_resumed_to_the_same_end(tmp_path: Path) -> None:
    through = run(tmp_path / "through", 9)
    whole = (tmp_path / "through" / "journal.log").read_bytes()
    for share in (0.02, 0.1, 0.3, 0.5, 0.77):
        folder = tmp_path / f"torn{share}"
        folder.mkdir()
        (folder / "journal.log").write_bytes(whole[: int(share * len(whole))])
        assert run(folder, 9).to_dict() == through.to_dict()
        assert content(trials_of(folder)) == content(trials_of(tmp_path / "through"))


def test_a_line_glued_to_a_torn_one_is_cut_off_too(tmp_path: Path) -> None:
    run(tmp_path / "glued", 5)
    path = tmp_path / "glued" / "journal.log"
    path.write_bytes(path.read_bytes()[:-20])
    open_study(tmp_path / "glued").set_user_attr("anything", 1)
    assert path.read_bytes().endswith(b"\n")
    assert run(tmp_path / "glued", 9).to_dict() == run(tmp_path / "through", 9).to_dict()
    assert b'"anything"' in path.with_name("journal.log.corrupt").read_bytes()


def test_damage_in_the_middle_is_a_plain_message(tmp_path: Path) -> None:
    run(tmp_path, 5)
    path = tmp_path / "journal.log"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], lines[4][:30], *lines[5:]]))
    with pytest.raises(ScanwiseError, match="is damaged inside"):
        run(tmp_path, 9)


def test_locks_left_behind_do_not_hang(tmp_path: Path) -> None:
    through = run(tmp_path / "through", 9)
    run(tmp_path / "locked", 5)
    (tmp_path / "locked" / "journal.log.lock").touch()  # of Optuna, or of an earlier version
    assert {path.name for path in (tmp_path / "locked" / "locks").iterdir()} == {"mutex", "slot-0", "slot-1", "slot-2"}
    assert run(tmp_path / "locked", 9).to_dict() == through.to_dict()


def test_half_a_line_is_mended_by_whoever_writes_next(tmp_path: Path) -> None:
    through = run(tmp_path / "through", 9)

    def value(protocol: Protocol) -> float:
        if protocol.key == "history=1":
            with (tmp_path / "live" / "journal.log").open("ab") as file:
                file.write(b'{"op_code":4,"trunc')  # another worker was killed just now
        return value_of(protocol)

    assert run(tmp_path / "live", 9, Objective(value)).to_dict() == through.to_dict()
    assert (tmp_path / "live" / "journal.log.corrupt").read_bytes() == b'{"op_code":4,"trunc\n'
    assert content(trials_of(tmp_path / "live")) == content(trials_of(tmp_path / "through"))


def test_a_killed_search_loses_and_doubles_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    path = folder / "journal.log"
    for lines in (10, 20):
        with subprocess.Popen(
            [sys.executable, str(SCENARIO), str(folder), "n_trials=30", "batch_size=3", "pause_s=0.01"]
        ) as process:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and (not path.exists() or path.read_bytes().count(b"\n") < lines):
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        for line in path.read_bytes().splitlines(keepends=True)[:-1]:
            json.loads(line)
    assert run(folder, 30, data="").to_dict() == run(tmp_path / "through", 30, data="").to_dict()
    trials = trials_of(folder)
    assert [trial.number for trial in trials] == list(range(30))
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    assert content(trials) == content(trials_of(tmp_path / "through"))


def test_trials_left_running_by_another_tool_are_asked_again(tmp_path: Path) -> None:
    run(tmp_path, 6)
    study = open_study(tmp_path)
    wanted = {"blood.on": 0, "ecg.on": 1, "mri.on": 1, "mri.scheme": "first", "mri.first.n": 2, "mri.first.averages": 2}
    study.enqueue_trial(wanted)
    trial = study.ask()  # running, and with its parameters
    SearchSpace(make_menu()).suggest(trial)
    study.enqueue_trial({"blood.on": 0, "ecg.on": 0})  # waiting, and without all of its parameters
    objective = Objective()
    run(tmp_path, 10, objective, budget=LIMIT)
    trials = trials_of(tmp_path)
    assert [one.state for one in trials[6:8]] == [TrialState.FAIL, TrialState.FAIL]
    assert trials[8].params == wanted
    assert [one.number for one in trials] == list(range(10))
    assert objective.asked[0] == "ecg=1 history=1 mri=2x2,0x4"


def test_a_journal_something_else_wrote_into_is_refused(tmp_path: Path) -> None:
    run(tmp_path, 4)
    trial = optuna.trial.create_trial(values=[1.0, 0.0])
    open_study(tmp_path).add_trial(trial)
    with pytest.raises(ScanwiseError, match=r"trial 4 in .* does not"):
        run(tmp_path, 9)


def test_a_journal_that_cannot_be_written_is_a_plain_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ScanwiseError, match="cannot be written"):
        run(tmp_path / "file", 4)


def test_a_full_disk_is_a_plain_message_and_the_search_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = JournalFileBackend.append_logs
    calls: list[int] = []

    def full_after_a_while(self: JournalFileBackend, logs: Any) -> None:
        calls.append(len(logs))
        if len(calls) > 8:
            with open(self._file_path, "ab") as file:
                file.write(b'{"op_code":4,"trunc')
            raise OSError(28, "No space left on device")
        append(self, logs)

    monkeypatch.setattr(JournalFileBackend, "append_logs", full_after_a_while)
    with pytest.raises(ScanwiseError, match="No space left on device"):
        run(tmp_path / "full", 15)
    monkeypatch.undo()
    assert run(tmp_path / "full", 15).to_dict() == run(tmp_path / "through", 15).to_dict()


# ---------------------------------------------------------------- failures


def test_a_protocol_that_fails_is_recorded_with_its_reason(tmp_path: Path) -> None:
    def value(protocol: Protocol) -> float:
        if protocol.key == "ecg=1 history=1":
            raise RuntimeError("no patient had an ECG alone")
        return float("inf") if protocol.key == "history=1" else value_of(protocol)

    found = run(tmp_path, 20, Objective(value))
    failed = [trial for trial in trials_of(tmp_path) if trial.state == TrialState.FAIL]
    assert [trial.user_attrs["protocol"] for trial in failed[:2]] == ["history=1", "ecg=1 history=1"]
    assert failed[0].user_attrs["error"] == "the value is inf, not a finite number"
    assert failed[1].user_attrs["error"] == "RuntimeError: no patient had an ECG alone"
    assert "no patient had an ECG alone" in failed[1].user_attrs["traceback"]
    assert f"{len(failed)} failed" in found.how
    assert np.isfinite(found.values).all()


def test_three_failures_in_a_row_stop_the_search_which_can_be_resumed(tmp_path: Path) -> None:
    healthy = True

    def value(protocol: Protocol) -> float:
        if not healthy:
            raise OSError("the model file is gone")
        return value_of(protocol)

    run(tmp_path, 12, Objective(value), batch_size=6)
    healthy = False
    with pytest.raises(
        ScanwiseError, match=r"3 protocols in a row could not be scored.*OSError: the model file is gone"
    ):
        run(tmp_path, 60, Objective(value), batch_size=6)
    marks = [trial.user_attrs["outcome"] for trial in trials_of(tmp_path)]
    assert marks.count("failed") == 3
    assert len(marks) < 24
    healthy = True
    run(tmp_path, 30, Objective(value), batch_size=6)
    trials = trials_of(tmp_path)
    assert len(trials) == 30
    assert sum(trial.state == TrialState.FAIL for trial in trials) == 3


def test_no_score_at_all_is_an_error_with_the_reason() -> None:
    with pytest.raises(ScanwiseError, match=r"not one protocol could be scored.*the value is nan"):
        run(None, 6, Objective(lambda protocol: float("nan")))


def test_an_interrupt_is_not_swallowed_and_nothing_is_recorded_that_was_not_scored(tmp_path: Path) -> None:
    run(tmp_path, 6)

    def value(protocol: Protocol) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 12, Objective(value))
    assert [trial.number for trial in trials_of(tmp_path) if trial.state.is_finished()] == list(range(6))
    assert run(tmp_path, 12).to_dict() == run(None, 12).to_dict()


def test_optuna_is_quiet_only_while_the_search_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(tmp_path, 6)
    assert caught == []
    assert capfd.readouterr().err == ""
    assert optuna.logging.get_verbosity() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "tpee"}, "did you mean 'tpe'"),
        ({"sampler": "cmaes"}, "must be one of"),
        ({"n_trials": 0}, "n_trials must be a whole number >= 1"),
        ({"batch_size": 1.5}, "batch_size must be a whole number >= 1"),
        ({"objectives": ["money"]}, "the objectives must be"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ScanwiseError, match=message):
        OptunaSearch(**options)


@pytest.mark.parametrize("seed", [-1, 1.5, True])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(ScanwiseError, match="a seed must be a whole number >= 0"):
        run(None, 3, seed=seed)


# ---------------------------------------------------------------- warm start


def write_run(folder: Path, *fronts: list[Protocol]) -> None:
    """What a run leaves of its searches, one file per fold."""
    menu = make_menu()
    for index, front in enumerate(fronts):
        result = SearchResult(
            protocols=(Protocol({"history": [1]}), *front),
            costs=menu.price_many([Protocol({"history": [1]}), *(menu.reference for _ in front)]),
            values=np.linspace(0.5, 0.9, 1 + len(front)),
            front=np.arange(1, 1 + len(front)),
            objectives=("diagnosis", "money"),
            how="made up",
        )
        write_json(folder / "search" / f"r0f{index}.json", result.to_dict())


def test_a_warm_start_looks_at_the_front_of_another_run_first(tmp_path: Path) -> None:
    here = [Protocol({"history": [1], "ecg": [1], "blood": [0, 1, 0]}), Protocol({"history": [1], "blood": [0, 0, 1]})]
    elsewhere = [Protocol({"history": [1], "pet": [1]}), Protocol({"ecg": [1]})]  # not on this menu; lacks the history
    dear = Protocol({"history": [1], "mri": [2] * 6})
    write_run(tmp_path / "other", [here[0], *elsewhere], [here[0], here[1], dear])
    objective = Objective()
    search = OptunaSearch(n_trials=9, batch_size=3, warm_start=str(tmp_path / "other"))
    found = search.run(SearchSpace(make_menu()), objective=objective, budget=LIMIT, seed=7)
    assert objective.asked[4:6] == [one.key for one in here]  # after current practice and each modality alone
    assert found.how.endswith(
        "; warm start with 2 of the 5 protocols on the front of another run, 3 skipped: not in this space, or over a "
        "limit"
    )


def test_a_warm_start_needs_a_run_that_has_searched(tmp_path: Path) -> None:
    with pytest.raises(ScanwiseError, match=r"warm_start must be the folder of a run that has searched, but '.*none'"):
        OptunaSearch(warm_start=str(tmp_path / "none")).check(SearchSpace(make_menu()), budget=LIMIT)
