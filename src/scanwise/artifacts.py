"""Files that stages exchange: written whole or not at all, hashed, never pickled (stdlib and numpy only)."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.errors import ScanwiseError

GOES_ON = "free space, or choose another folder with out=..., then start the same command again: it goes on"
"""The cure wherever something could not be written."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: a temporary file in the same folder, synced, then renamed.

    Raises
    ------
    ScanwiseError
        Where the file cannot be written (disk full, no permission); what stood there before is untouched.
    """
    # not tempfile: its files are for the owner only, and a run folder is read by colleagues
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise ScanwiseError(
            f"{path.name!r} could not be written to {str(path.parent)!r}: {error.strerror or error}",
            GOES_ON,
        ) from error
    finally:  # gone already where all went well; an interrupt must not leave it behind either
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: sorted keys, two spaces, NaN and infinities as null."""
    write_text(path, json_text(value) + "\n")


def json_text(value: Any) -> str:
    """Return deterministic JSON text: sorted keys, two spaces, NaN and infinities as null."""
    return json.dumps(_plain(value), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)


def read_json(path: Path) -> Any:
    """Read JSON; a missing or broken file is a `ScanwiseError` that names it."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ScanwiseError(
            f"there is no file {path.name!r} in {str(path.parent)!r}", "run the stage that writes it first"
        ) from error
    except (OSError, ValueError) as error:
        raise ScanwiseError(
            f"{str(path)!r} is not readable JSON: {error}", "delete it and run its stage again"
        ) from error


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write numpy arrays as one compressed ``.npz``, atomically; object arrays are refused."""
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise ScanwiseError(f"array {name!r} holds Python objects", "only numbers and text are stored, no pickle")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an ``.npz`` back, without pickle."""
    try:
        # opened here: numpy leaves a damaged archive open
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise ScanwiseError(
            f"there is no file {path.name!r} in {str(path.parent)!r}", "run the stage that writes it first"
        ) from error
    except Exception as error:  # a torn archive raises zipfile, zlib, OSError or ValueError
        raise ScanwiseError(f"{str(path)!r} is damaged: {error}", "delete it and run its stage again") from error


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_json(value: Any) -> str:
    """Return the SHA-256 of the deterministic JSON text of a value, hexadecimal."""
    return hashlib.sha256(json_text(value).encode("utf-8")).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return value.as_posix()
    return value
