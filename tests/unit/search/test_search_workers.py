"""Several processes, one search: the same result for any number of them, whoever of them is killed and whenever."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from search_scenario import Objective, make_menu, value_of

from scanwise.design import Budget, Protocol
from scanwise.errors import ScanwiseError
from scanwise.search import OptunaSearch, SearchResult, SearchSpace
from scanwise.search._locks import FileLocks

SCENARIO = Path(__file__).with_name("search_scenario.py")
LIMIT = Budget(money=200.0)


def alone(n_trials: int, batch_size: int, directory: Path | None = None, storage: str | None = None) -> SearchResult:
    search = OptunaSearch(n_trials=n_trials, batch_size=batch_size, storage=storage)
    return search.run(SearchSpace(make_menu()), objective=Objective(), budget=LIMIT, seed=7, directory=directory)


class Crew:
    """Worker processes, none of which outlives the test."""

    def __init__(self) -> None:
        self._workers: list[subprocess.Popen[bytes]] = []

    def start(self, folder: Path, **settings: Any) -> subprocess.Popen[bytes]:
        folder.mkdir(parents=True, exist_ok=True)
        words = [f"{name}={value}" for name, value in {"pause_s": 0.05, **settings}.items()]
        worker = subprocess.Popen([sys.executable, str(SCENARIO), str(folder), *words], stderr=subprocess.PIPE)
        self._workers.append(worker)
        return worker

    def wait(self) -> None:
        for worker in self._workers:
            _, said = worker.communicate(timeout=120)
            assert worker.returncode == 0, said.decode()

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        worker.kill()
        worker.communicate()
        self._workers.remove(worker)
        assert worker.returncode == -signal.SIGKILL, "it was at work"

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.communicate()


@pytest.fixture
def crew() -> Iterator[Crew]:
    made = Crew()
    yield made
    made.close()


def trials_of(folder: Path) -> list[FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    return optuna.load_study(study_name="scanwise", storage=storage).get_trials(deepcopy=False)


def content(trials: list[FrozenTrial]) -> list[Any]:
    """All of a trial but its clock."""
    return [(one.number, one.state, one.params, one.values, one.constraints, one.user_attrs) for one in trials]


def scored(folder: Path) -> list[tuple[str, str]]:
    """Who scored what, in the order it was done."""
    lines = (folder / "scored.txt").read_text("utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines]  # type: ignore[misc]


def until_scored(folder: Path, n: int) -> None:
    """Wait until so many protocols were scored."""
    deadline = time.monotonic() + 60
    while not (folder / "scored.txt").exists() or len(scored(folder)) < n:
        assert time.monotonic() < deadline, "the workers do nothing"
        time.sleep(0.001)


@pytest.mark.parametrize("n_workers", [2, 4])
def test_several_workers_find_bit_for_bit_what_one_finds(tmp_path: Path, crew: Crew, n_workers: int) -> None:
    through = alone(36, 4, tmp_path / "one")
    for _ in range(n_workers):
        crew.start(tmp_path / "several", n_trials=36, batch_size=4, crew=n_workers)
    crew.wait()
    assert content(trials_of(tmp_path / "several")) == content(trials_of(tmp_path / "one"))
    assert alone(36, 4, tmp_path / "several").to_dict() == through.to_dict()
    who = Counter(worker for worker, _ in scored(tmp_path / "several"))
    assert len(who) > 1, "the work was shared"
    keys = [key for _, key in scored(tmp_path / "several")]
    assert len(keys) == len(set(keys)) == len(through.protocols), "and nothing was done twice"


def test_a_hundred_trials_survive_a_kill_of_every_worker(tmp_path: Path, crew: Crew) -> None:
    rng = np.random.default_rng(int(os.environ.get("SCANWISE_KILL_SEED", "0")))
    through = alone(100, 8, tmp_path / "one")
    folder = tmp_path / "killed"
    workers = [crew.start(folder, n_trials=100, batch_size=8, pause_s=0.03) for _ in range(4)]
    for worker, share in zip(workers, np.sort(rng.uniform(0.02, 0.8, size=4)), strict=True):
        until_scored(folder, round(share * len(through.protocols)))
        time.sleep(rng.uniform(0.0, 0.05))
        crew.kill(worker)
        crew.start(folder, n_trials=100, batch_size=8, pause_s=0.03)
    crew.wait()
    trials = trials_of(folder)
    assert [trial.number for trial in trials] == list(range(100))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert content(trials) == content(trials_of(tmp_path / "one"))
    assert alone(100, 8, folder).to_dict() == through.to_dict()
    marks = Counter(trial.user_attrs["protocol"] for trial in trials if trial.user_attrs["outcome"] == "scored")
    assert max(marks.values()) == 1, "no result is there twice"
    assert len(scored(folder)) - len(through.protocols) <= 4, "again was done only what the killed had in hand"


def test_a_worker_that_comes_late_joins_in(tmp_path: Path, crew: Crew) -> None:
    crew.start(tmp_path, n_trials=40, batch_size=4, pause_s=0.2)
    until_scored(tmp_path, 1)
    crew.start(tmp_path, n_trials=40, batch_size=4, pause_s=0.2)
    crew.wait()
    assert len({worker for worker, _ in scored(tmp_path)}) == 2
    assert [trial.number for trial in trials_of(tmp_path)] == list(range(40))


def test_who_waits_for_others_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scanwise.search._optuna._SAY_AFTER_S", 0.0)
    other = FileLocks(tmp_path / "locks")  # what another worker would hold
    assert other.hold(1)
    assert other.hold(2)
    said: list[str] = []

    def progress(done: int, total: int, text: str) -> None:
        said.append(text)
        if "waiting" in text:
            other.close()

    search = OptunaSearch(n_trials=6, batch_size=3)
    search.run(
        SearchSpace(make_menu()), objective=Objective(), budget=LIMIT, seed=7, directory=tmp_path, progress=progress
    )
    assert said[0] == "waiting for 2 of 3 trials that other workers score"
    assert ["waiting" in text for text in said] == [True, False, False]


def test_who_gets_nothing_of_a_batch_is_told_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scanwise.search._optuna._SAY_AFTER_S", 0.0)
    other = FileLocks(tmp_path / "locks")
    assert other.hold(0)
    said: list[str] = []

    def progress(done: int, total: int, text: str) -> None:
        said.append(text)
        other.close()

    search = OptunaSearch(n_trials=1, batch_size=1)
    search.run(
        SearchSpace(make_menu()), objective=Objective(), budget=LIMIT, seed=7, directory=tmp_path, progress=progress
    )
    assert said[0] == (
        "waiting for 1 of 1 trials that other workers score; "
        "search.batch_size should be a multiple of the number of workers"
    )


def test_a_result_that_comes_too_late_changes_nothing(tmp_path: Path) -> None:
    """A worker whose locks were lost (a server restarted) is overtaken, and does no harm."""
    overtaken: list[SearchResult] = []

    def value(protocol: Protocol) -> float:
        if not overtaken:
            shutil.rmtree(tmp_path / "locks")
            overtaken.append(alone(6, 3, tmp_path))
        return value_of(protocol) + 1.0

    found = OptunaSearch(n_trials=6, batch_size=3).run(
        SearchSpace(make_menu()), objective=Objective(value), budget=LIMIT, seed=7, directory=tmp_path
    )
    assert found.to_dict() == overtaken[0].to_dict()
    assert found.values.max() < 1.0


# ---------------------------------------------------------------- PostgreSQL


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL server of its own, for the length of these tests; its address."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'scanwise[cluster]'")
    initdb = [shutil.which("initdb"), *map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    tools = [Path(found).resolve().parent for found in initdb if found]
    if not tools:
        pytest.skip("PostgreSQL is not installed")
    # not tmp_path: PostgreSQL refuses to be run by root, and nobody else may look into folders of pytest
    with tempfile.TemporaryDirectory(prefix="scanwise-postgresql-") as home:
        user: dict[str, Any] = {}
        if os.geteuid() == 0:
            os.chown(home, 65534, 65534)
            user = {"user": 65534, "group": 65534, "extra_groups": []}

        def call(tool: str, *words: str) -> Any:
            command = [str(tools[0] / tool), "-D", f"{home}/data", *words]
            return subprocess.run(command, capture_output=True, text=True, cwd=home, check=False, **user)

        options = f"-c listen_addresses='' -c unix_socket_directories={home} -c fsync=off -c autovacuum=off"
        made = call("initdb", "-U", "scanwise", "--auth=trust", "--no-sync")
        begun = call("pg_ctl", "start", "-w", "-l", f"{home}/log", "-o", options) if not made.returncode else made
        if begun.returncode:
            pytest.skip(f"no PostgreSQL server could be started: {begun.stdout}{begun.stderr}")
        yield f"postgresql://scanwise@/postgres?host={home}"
        call("pg_ctl", "stop", "-m", "immediate")


def test_a_database_gives_what_a_journal_gives(tmp_path: Path, crew: Crew, server: str) -> None:
    through = alone(24, 4, tmp_path / "journal")
    folder = tmp_path / "database"
    for _ in range(3):
        crew.start(folder, n_trials=24, batch_size=4, storage=server, crew=3)
    crew.wait()
    assert alone(24, 4, folder, server).to_dict() == through.to_dict()
    assert not (folder / "journal.log").exists()
    keys = [key for _, key in scored(folder)]
    assert len(keys) == len(set(keys)) == len(through.protocols)
    assert len({worker for worker, _ in scored(folder)}) > 1


def test_a_database_survives_killed_workers_too(tmp_path: Path, crew: Crew, server: str) -> None:
    folder = tmp_path / "killed"
    workers = [crew.start(folder, n_trials=24, batch_size=4, storage=server) for _ in range(2)]
    for n_scored, worker in zip((3, 8), workers, strict=True):
        until_scored(folder, n_scored)
        crew.kill(worker)
        crew.start(folder, n_trials=24, batch_size=4, storage=server)
    crew.wait()
    assert alone(24, 4, folder, server).to_dict() == alone(24, 4).to_dict()


def test_a_lost_connection_is_a_plain_message_and_the_search_goes_on_later(tmp_path: Path, server: str) -> None:
    import psycopg

    asked: list[str] = []

    def value(protocol: Protocol) -> float:
        asked.append(protocol.key)
        if len(asked) == 6:
            with psycopg.connect(server) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                )
        return value_of(protocol)

    search = OptunaSearch(n_trials=12, batch_size=4, storage=server)
    with pytest.raises(ScanwiseError, match=r"search\.storage does not answer: .*terminating connection"):
        search.run(
            SearchSpace(make_menu()), objective=Objective(value), budget=LIMIT, seed=7, directory=tmp_path / "cut"
        )
    assert alone(12, 4, tmp_path / "cut", server).to_dict() == alone(12, 4).to_dict()


def test_a_search_of_another_space_is_refused_before_any_work(tmp_path: Path, server: str) -> None:
    alone(4, 2, tmp_path, server)
    search = OptunaSearch(n_trials=8, batch_size=2, storage=server)
    search.check(SearchSpace(make_menu()), budget=LIMIT, directories=[tmp_path])
    other = SearchSpace(make_menu(mri_price=21.0))
    with pytest.raises(ScanwiseError, match=r"a search can only be resumed as it was begun, but in .* space was"):
        search.check(other, budget=LIMIT, directories=[tmp_path / "another", tmp_path])
    search.check(other, budget=LIMIT, directories=[tmp_path / "another"])


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        ("postgresql://nobody@127.0.0.1:1/nothing", r"does not answer: postgresql.*nothing.*\n.*start the server"),
        ("sqlite:///study.db", "must be null or postgresql://.*sqlite:///study.db.*\n.*SQLite loses trials"),
        ("mysql://me@here/there", "must be null or postgresql://"),
        ("somewhere", "must be null or postgresql://.*'somewhere'"),
        ("postgresql://me:secret@here/there", "must not hold a password.*\n.*PGPASSWORD"),
        ("postgresql://me@here/there?password=secret", "must not hold a password.*\n.*PGPASSWORD"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_before_any_work(storage: str, words: str) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'scanwise[cluster]'")
    with pytest.raises(ScanwiseError, match=words) as caught:
        OptunaSearch(storage=storage).check(SearchSpace(make_menu()), budget=LIMIT)
    assert "secret" not in str(caught.value)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ScanwiseError, match=r"needs psycopg.*\n.*scanwise\[cluster\]"):
        OptunaSearch(storage="postgresql://me@here/there").check(SearchSpace(make_menu()), budget=LIMIT)
