"""Locks that end with their holder: of files on one machine, of PostgreSQL across machines.

Nothing here needs a clock, a heartbeat or a process number: the operating system (or the server, when the connection
drops) takes a lock back from whoever dies, however it dies.
"""

from __future__ import annotations

import hashlib
import typing
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

if typing.TYPE_CHECKING:
    from sqlalchemy import Connection

_POLL_S = 0.01


class Locks(typing.Protocol):
    """One lock for changes of what is shared, and numbered ones for pieces of work."""

    def alone(self) -> AbstractContextManager[None]:
        """Wait until nobody else is in here; may be entered again by who is inside."""

    def hold(self, slot: int) -> bool:
        """Take a piece of work without waiting; whether nobody else has it."""

    def free(self, slot: int) -> None:
        """Give a piece of work back."""

    def close(self) -> None:
        """Give everything back."""


class NoLocks:
    """For a search that nobody else can see."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Do not wait."""
        yield

    def hold(self, slot: int) -> bool:
        """Take it: nobody else is there."""
        return True

    def free(self, slot: int) -> None:
        """Nothing was taken."""

    def close(self) -> None:
        """Nothing was taken."""


class FileLocks:
    """Locks of files; the files stay, empty, as many as there are pieces of work at a time.

    Parameters
    ----------
    directory : of the lock files.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.mutex = FileLock(directory / "mutex", poll_interval=_POLL_S)
        self._slots: dict[int, FileLock] = {}

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until nobody else is in here."""
        with self.mutex:
            yield

    def hold(self, slot: int) -> bool:
        """Take a piece of work without waiting."""
        lock = self._slots.setdefault(slot, FileLock(self._directory / f"slot-{slot}"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        return True

    def free(self, slot: int) -> None:
        """Give a piece of work back."""
        self._slots[slot].release()

    def close(self) -> None:
        """Give everything back."""
        for lock in (*self._slots.values(), self.mutex):
            lock.release(force=True)


class AdvisoryLocks:
    """Advisory locks of a PostgreSQL session: the server drops them with the connection.

    Parameters
    ----------
    connection : stays open as long as the locks are needed, and commits by itself.
    name : of what is locked; searches of other names do not see these locks.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        for setting, value in (("idle", 30), ("interval", 10), ("count", 3)):  # a machine that vanished: one minute
            connection.exec_driver_sql(f"SET tcp_keepalives_{setting} = {value}")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until nobody else is in here."""
        self._ask("pg_advisory_lock", "mutex")
        try:
            yield
        finally:
            self._ask("pg_advisory_unlock", "mutex")

    def hold(self, slot: int) -> bool:
        """Take a piece of work without waiting."""
        return bool(self._ask("pg_try_advisory_lock", str(slot)))

    def free(self, slot: int) -> None:
        """Give a piece of work back."""
        self._ask("pg_advisory_unlock", str(slot))

    def close(self) -> None:
        """Give everything back."""
        self._connection.close()

    def _ask(self, function: str, what: str) -> object:
        digest = hashlib.sha256(f"scanwise:{self._name}:{what}".encode()).digest()[:8]
        key = int.from_bytes(digest, "big", signed=True)
        return self._connection.exec_driver_sql(f"SELECT {function}({key})").scalar()
