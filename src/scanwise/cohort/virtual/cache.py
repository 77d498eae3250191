"""Arrays made once, block by block, and read from disk ever after: never half-written, never silently damaged."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from scanwise.artifacts import GOES_ON, hash_json, read_json, write_json
from scanwise.errors import ScanwiseError

_SCHEMA = 1


class ArrayWriter:
    """Writes one array in blocks of rows, in memory or into a ``.npy`` file; used as a context.

    The file has a temporary name until `close`; after it follows ``<name>.json`` with a SHA-256 of every block. Without
    that sidecar the array does not exist, whatever kills the process.

    Parameters
    ----------
    path : the ``.npy`` file, or `None` to keep the array in memory.
    shape, dtype : of the whole array.
    """

    def __init__(self, path: Path | None, shape: Sequence[int], dtype: Any) -> None:
        self.path = path
        self.shape = tuple(int(size) for size in shape)
        self.dtype = np.dtype(dtype)
        self._rows = 0
        self._digests: list[str] = []
        self._sizes: list[int] = []
        self._memory: NDArray[Any] | None = None
        self._file: BinaryIO | None = None
        self._temporary: Path | None = None
        if path is None:
            self._memory = np.empty(self.shape, dtype=self.dtype)
            return
        self._temporary = path.parent / f".{path.name}.{_owner()}.{uuid.uuid4().hex}"
        with self._guarded():
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(path.parent)
            self._file = self._temporary.open("xb")
            header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
            np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, block: NDArray[Any]) -> None:
        """Add the next rows.

        Raises
        ------
        ScanwiseError
            Where the disk is full or the file cannot be written.
        """
        if block.dtype != self.dtype or block.shape[1:] != self.shape[1:]:
            raise ScanwiseError(
                f"a block must have rows of shape {self.shape[1:]} and type {self.dtype}, but has {block.shape[1:]} "
                f"and {block.dtype}",
                "a modality must make data of one size for all patients",
            )
        content = np.ascontiguousarray(block)
        self._digests.append(hashlib.sha256(content.data).hexdigest())
        self._sizes.append(len(block))
        if self._memory is not None:
            self._memory[self._rows : self._rows + len(block)] = content
        elif self._file is not None:
            with self._guarded():
                self._file.write(content.data)
        self._rows += len(block)

    def close(self) -> tuple[NDArray[Any], str]:
        """Publish the array; return it, read-only, and its digest."""
        if self._rows != self.shape[0]:
            raise ScanwiseError(f"an array of {self.shape[0]} rows was closed after {self._rows}")
        digest = _digest(self.shape, self.dtype, self._digests)
        if self._memory is not None:
            self._memory.flags.writeable = False
            return self._memory, digest
        assert self._file is not None and self._temporary is not None and self.path is not None  # noqa: S101, PT018
        with self._guarded():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            _sidecar(self.path).unlink(missing_ok=True)
            os.replace(self._temporary, self.path)
        write_json(
            _sidecar(self.path),
            {
                "schema_version": _SCHEMA,
                "shape": self.shape,
                "dtype": self.dtype.str,
                "rows": self._sizes,
                "sha256": self._digests,
            },
        )
        return np.load(self.path, mmap_mode="r", allow_pickle=False), digest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._temporary.unlink()

    @contextlib.contextmanager
    def _guarded(self):  # type: ignore[no-untyped-def]
        try:
            yield
        except OSError as error:
            raise ScanwiseError(
                f"the virtual patients could not be written to {str(self.path)!r}: {error.strerror or error}",
                f"{GOES_ON}; the folder of virtual patients is set by SCANWISE_CACHE or cohort.cache=...",
            ) from error


def read_array(path: Path) -> tuple[NDArray[Any], str] | None:
    """Return an array as a read-only memory map and its digest, or `None` where there is none.

    Raises
    ------
    DamagedArray
        If its content is not what was written.
    """
    if not (_sidecar(path).exists() and path.exists()):
        return None
    try:
        told = read_json(_sidecar(path))
        shape, dtype = tuple(told["shape"]), np.dtype(told["dtype"])
        digests, sizes = list(told["sha256"]), list(told["rows"])
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        row = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        sound = array.shape == shape and array.dtype == dtype and sum(sizes) == shape[0] and len(sizes) == len(digests)
        with path.open("rb") as file:
            file.seek(path.stat().st_size - shape[0] * row)
            for size, digest in zip(sizes, digests, strict=False):
                sound = sound and hashlib.sha256(file.read(size * row)).hexdigest() == digest
    except (OSError, ValueError, KeyError, TypeError, ScanwiseError) as error:
        raise DamagedArray(f"{path.name} cannot be read: {error}") from error
    if not sound:
        raise DamagedArray(f"{path.name} is not what was written")
    return array, _digest(shape, dtype, digests)


class DamagedArray(Exception):  # noqa: N818
    """A cached array whose content is not what was written; it is made again."""


def _digest(shape: Sequence[int], dtype: np.dtype[Any], digests: Sequence[str]) -> str:
    return hash_json({"shape": list(shape), "dtype": dtype.str, "sha256": list(digests)})


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def _owner() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


def _sweep(folder: Path) -> None:
    """Delete what processes of this machine left behind that are no more."""
    for path in folder.glob(".*"):
        host, _, process = path.name.rpartition(".")[0].rpartition("-")
        if host.endswith(f".{socket.gethostname()}") and process.isdigit() and not _alive(int(process)):
            with contextlib.suppress(OSError):
                path.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
