"""Where the trials of a search are kept, and how several workers share them.

One process or hundreds, the same three steps: whoever comes first to a new batch proposes it, alone, and stores its
trials as waiting; every worker takes trials that nobody holds, scores them, and records the result; when all trials of
the batch are finished everybody goes on. A trial is held through a lock that ends with its holder, so a worker killed
at any point leaves a trial that the next one takes: nothing is lost, and no trial has two results, because a finished
one cannot be written again.

On one machine the trials are in a journal file of the run folder, across machines in PostgreSQL.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from scanwise.errors import ScanwiseError
from scanwise.search._locks import AdvisoryLocks, FileLocks, Locks, NoLocks

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

JOURNAL = "journal.log"
_LOCKS = "locks"
_STUDY = "scanwise"
_IDENTITY = "scanwise:identity"
_CONNECT_S = 5


class Store:
    """The trials of one search in an Optuna storage, and the locks that share them out.

    Parameters
    ----------
    storage : of Optuna.
    locks : among all who use this storage for this search.
    name : of the study.
    where : for messages.
    identity : what the search is about; trials of another one are refused.
    batch_size : trials that are open at a time.

    Raises
    ------
    ScanwiseError
        If the storage holds another search under this name, is damaged, or cannot be written.
    """

    def __init__(
        self,
        storage: BaseStorage,
        locks: Locks,
        *,
        name: str,
        where: str,
        identity: Mapping[str, Any],
        batch_size: int,
    ) -> None:
        self._storage = storage
        self._locks = locks
        self._where = where
        self._batch_size = batch_size
        try:
            with self._explained(), locks.alone():
                self._study_id = self._open(name, identity)
                self._known_attrs = self._read_sampler_attrs()
        except BaseException:
            self.close()
            raise

    @property
    def shared(self) -> bool:
        """Whether other workers may be there."""
        return not isinstance(self._locks, NoLocks)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials by number, as they are now."""
        with self._explained():
            return self._storage.get_all_trials(self._study_id, deepcopy=False)

    @property
    def sampler_attrs(self) -> dict[str, Any]:
        """What samplers keep beside the trials (the parents of a generation), as it is now."""
        with self._explained():
            self._known_attrs = self._read_sampler_attrs()
        return self._known_attrs

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other worker is in here."""
        with self._explained():
            alone = self._locks.alone()
            alone.__enter__()
        try:
            yield
        finally:
            with self._explained():
                alone.__exit__(None, None, None)

    def create(self, trials: Sequence[FrozenTrial], sampler_attrs: Mapping[str, Any]) -> None:
        """Store new trials, and what the sampler noted meanwhile; only while alone."""
        with self._explained():
            for key, value in sampler_attrs.items():
                if key not in self._known_attrs:
                    self._storage.set_study_system_attr(self._study_id, key, value)
                    self._known_attrs[key] = value
            for trial in trials:
                self._storage.create_new_trial(self._study_id, template_trial=trial)

    def claim(self, trials: Sequence[FrozenTrial], most: int) -> list[FrozenTrial]:
        """Take trials that nobody holds, at most so many; `release` gives them back."""
        taken: list[FrozenTrial] = []
        with self._explained():
            for trial in trials:
                if len(taken) == most:
                    break
                slot = trial.number % self._batch_size
                if not self._locks.hold(slot):
                    continue
                now = self._storage.get_trial(trial._trial_id)
                if now.state.is_finished():  # just now, by who held it
                    self._locks.free(slot)
                    continue
                if now.state == TrialState.WAITING:
                    self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
                taken.append(trial)
        return taken

    def release(self, trials: Sequence[FrozenTrial]) -> None:
        """Give claimed trials back, finished or not."""
        with self._explained():
            for trial in trials:
                self._locks.free(trial.number % self._batch_size)

    def finish(
        self,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        """Record how a trial ended; where it has ended already, that stays."""
        with self._explained(), suppress(UpdateFinishedTrialError):
            for key, value in (attrs or {}).items():
                self._storage.set_trial_user_attr(trial._trial_id, key, value)
            self._storage.set_trial_state_values(trial._trial_id, state, values)

    def close(self) -> None:
        """Give everything back."""
        self._locks.close()
        self._storage.remove_session()
        engine: Engine | None = getattr(getattr(self._storage, "_backend", None), "engine", None)
        if engine is not None:
            engine.dispose()

    def _open(self, name: str, identity: Mapping[str, Any]) -> int:
        storage = self._storage
        if name not in [study.study_name for study in storage.get_all_studies()]:
            # `load_if_exists` would write into what may turn out to be another search's
            asked = [StudyDirection[direction.upper()] for direction in identity["directions"]]
            storage.create_new_study(asked, name)
        study_id = storage.get_study_id_from_name(name)
        trials = storage.get_all_trials(study_id, deepcopy=False)
        stored = storage.get_study_user_attrs(study_id).get(_IDENTITY)
        if stored is None and not trials:
            storage.set_study_user_attr(study_id, _IDENTITY, dict(identity))
            study = optuna.load_study(study_name=name, storage=storage)
            study.set_metric_names(list(identity["objectives"]))
            return study_id
        found = [direction.name.lower() for direction in storage.get_study_directions(study_id)]
        different = [key for key in identity if stored is None or stored.get(key) != identity[key]]
        if found != identity["directions"]:
            different = sorted({*different, "directions"})
        if different:
            raise _other_search(self._where, stored or {}, identity, different)
        for trial in trials:  # a trial without constraints would count as feasible
            if trial.state == TrialState.COMPLETE and (
                "protocol" not in trial.user_attrs or not set(identity["budget"]) <= set(trial.constraints)
            ):
                raise ScanwiseError(
                    f"every trial must carry its protocol and its limits, but trial {trial.number} in {self._where} "
                    "does not",
                    "something else wrote there: search in a new folder",
                )
        return study_id

    def _read_sampler_attrs(self) -> dict[str, Any]:
        attrs = self._storage.get_study_system_attrs(self._study_id)
        return {key: value for key, value in attrs.items() if not key.startswith("study:")}

    @contextmanager
    def _explained(self) -> Iterator[None]:
        with explained(self._where):
            yield


def open_store(directory: Path | None, url: str | None, identity: Mapping[str, Any], batch_size: int) -> Store:
    """Return the store of a search: in memory without a folder, else in its journal, or where the URL points."""
    if directory is None:
        return Store(
            InMemoryStorage(), NoLocks(), name=_STUDY, where="memory", identity=identity, batch_size=batch_size
        )
    if url is None:
        path = directory.resolve() / JOURNAL  # a relative path would dangle when somebody changes the folder
        where = f"the journal {str(path)!r}"
        with explained(where):
            locks = FileLocks(path.parent / _LOCKS)
            with locks.alone():
                repair(path)
            backend = _Journal(str(path), lock_obj=_JournalLock(locks))
            storage: BaseStorage = JournalStorage(backend)
        return Store(storage, locks, name=_STUDY, where=where, identity=identity, batch_size=batch_size)
    parsed, name = _parsed(url), _study_name(directory)
    where = f"{name!r} of {parsed.render_as_string()}"
    with explained(where):
        session = _engine(parsed).connect()
        try:
            with AdvisoryLocks(session, "tables").alone():  # two who create them get in each other's way
                storage = get_storage(_database(parsed))
            advisory = AdvisoryLocks(session, name)
        except BaseException:
            session.close()
            raise
    return Store(storage, advisory, name=name, where=where, identity=identity, batch_size=batch_size)


def check_storage(url: str, directories: Sequence[Path], space: str) -> None:
    """Raise a `ScanwiseError` unless PostgreSQL answers there and holds no search of another space; nothing is written.

    Parameters
    ----------
    url : address of the database.
    directories : of the searches that are to be kept there.
    space : fingerprint of what is to be searched.
    """
    parsed = _parsed(url)
    names = {_study_name(directory) for directory in directories}
    with explained(parsed.render_as_string()):
        with _engine(parsed).connect() as connection:
            if not inspect(connection).has_table("studies"):
                return
        storage = _database(parsed)
        try:
            for study in storage.get_all_studies():
                stored = study.user_attrs.get(_IDENTITY)
                if study.study_name in names and stored is not None and stored["space"] != space:
                    where = f"{study.study_name!r} of {parsed.render_as_string()}"
                    raise _other_search(where, stored, {"space": space}, ["space"])
        finally:
            storage.remove_session()
            storage.engine.dispose()


def repair(path: Path) -> bool:
    """Cut a torn end off a journal and keep it in a ``.corrupt`` file; return whether there was one.

    A process killed while it appends leaves a line without an end; the next append would be glued to it and make the
    whole file unreadable. A line that was not ended was not acknowledged either, so nothing is lost. A last line that
    is ended but no JSON (something was glued on, or the machine lost power) goes the same way. Only while alone.
    """
    if not path.exists():
        return False
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


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what storages raise into what a user can do."""
    try:
        yield
    except OSError as error:
        raise ScanwiseError(
            f"{where} cannot be written: {error.strerror or error}",
            "free space or choose another folder, then start the same command again: it goes on where it was",
        ) from error
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = str(getattr(error, "orig", None) or error.__cause__ or error).strip().splitlines()
        raise ScanwiseError(
            f"search.storage does not answer: {where}: {reason[0] if reason else type(error).__name__}",
            "start the server, or mend the address (a password belongs into PGPASSWORD or ~/.pgpass); "
            "search.storage=null keeps the trials in the run folder",
        ) from error
    except (
        ValueError,
        KeyError,
        TypeError,
        AssertionError,
    ) as error:  # what Optuna raises on lines that are no records
        raise ScanwiseError(f"{where} is damaged inside: {error!r}", "delete it and search again") from error


class _JournalLock(JournalFileOpenLock):
    """Optuna's own locks outlive a killed process by their grace period; this one ends with it."""

    def __init__(self, locks: FileLocks) -> None:
        super().__init__(str(locks.mutex.lock_file))
        self._mutex = locks.mutex

    def acquire(self) -> bool:
        self._mutex.acquire()
        return True

    def release(self) -> None:
        self._mutex.release()


class _Journal(JournalFileBackend):
    """Optuna's journal file, mended whenever a worker that was killed while writing left half a line."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._lock.acquire()
        try:
            with open(self._file_path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                if size:
                    file.seek(size - 1)
                whole = not size or file.read(1) == b"\n"
            if not whole:
                repair(Path(self._file_path))
            super().append_logs(logs)
        finally:
            self._lock.release()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        self._lock.acquire()  # or a line that is being mended would be read half old, half new
        try:
            yield from list(super().read_logs(log_number_from))
        finally:
            self._lock.release()


def _engine(url: URL) -> Engine:
    """Return the way to single connections, each closed for good when it is given back."""
    options = {"connect_timeout": _CONNECT_S}
    return create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool, connect_args=options)


def _database(url: URL) -> RDBStorage:
    return RDBStorage(
        url.render_as_string(hide_password=False),
        engine_kwargs={
            "pool_pre_ping": True,
            "pool_size": 1,
            "connect_args": {"connect_timeout": _CONNECT_S},
        },
    )


def _study_name(directory: Path) -> str:
    """Return the name of the run, its hash, and the part: what a database that others use too tells apart."""
    return "/".join(directory.resolve().parts[-4:])


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ScanwiseError(
            f"search.storage must be null or postgresql://user@host/database, but got {url!r}",
            "null keeps the trials in the run folder",
        ) from error
    if parsed.drivername not in ("postgresql", "postgresql+psycopg", "postgres"):
        raise ScanwiseError(
            f"search.storage must be null or postgresql://user@host/database, but got {parsed.render_as_string()!r}",
            "null keeps the trials in a journal file, for one machine; SQLite loses trials when several workers write",
        )
    if parsed.password is not None or "password" in parsed.query:
        raise ScanwiseError(
            f"search.storage must not hold a password, because a run keeps its configuration: "
            f"{parsed.set(query={}).render_as_string()!r}",
            "put the password into PGPASSWORD or ~/.pgpass, and leave it out here",
        )
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise ScanwiseError(
            "search.storage=postgresql://... needs psycopg, which is not installed",
            'pip install "scanwise[cluster]"',
        ) from error
    return parsed.set(drivername="postgresql+psycopg")


def _other_search(
    where: str, stored: Mapping[str, Any], asked: Mapping[str, Any], different: Sequence[str]
) -> ScanwiseError:
    words = "; ".join(f"{key} was {stored.get(key)!r} and is {asked[key]!r}" for key in different)
    return ScanwiseError(
        f"a search can only be resumed as it was begun, but in {where} {words}",
        "search in a new folder, or set back what was changed",
    )


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
