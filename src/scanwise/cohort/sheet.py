"""Reading a delimited text file into named cells; knows nothing of patients."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scanwise.errors import ScanwiseError

DELIMITERS = (",", ";", "\t")
"""What is tried where the delimiter is not told."""

MAX_PROBLEMS = 10
"""How many problems an error message lists before it only counts."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """The cells of one file.

    Parameters
    ----------
    path : name of the file, relative to the data folder.
    names : column names.
    rows : ``(line in the file, cells)`` per row, cells stripped of surrounding blanks.
    """

    path: str
    names: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


def read_sheet(root: Path, path: str, *, names: Sequence[str] = (), delimiter: str = "auto") -> Sheet:
    """Read a comma, semicolon or tab separated UTF-8 file (a byte-order mark is tolerated; blank lines are skipped).

    Parameters
    ----------
    root : the data folder.
    path : the file, relative to it.
    names : column names where the file has no header line.
    delimiter : one character, or ``"auto"`` to take the one that is most frequent in the first line.

    Raises
    ------
    ScanwiseError
        If the folder or the file is missing, the file is not UTF-8 text, a column name repeats, or rows differ in
        length.
    """
    if not root.is_dir():
        raise ScanwiseError(
            f"the data folder {str(root)!r} does not exist",
            "set the environment variable SCANWISE_DATA, or cohort.root=..., to the folder that holds the data",
        )
    try:
        text = (root / path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScanwiseError(
            f"{path!r} must be UTF-8 text, but byte {error.start} is not", "save it as UTF-8"
        ) from error
    except OSError as error:
        raise ScanwiseError(
            f"there is no readable file {path!r} in the data folder {str(root)!r} ({error.strerror})",
            "put it there, or set SCANWISE_DATA or cohort.root=... to the folder that holds it",
        ) from error
    if delimiter == "auto":
        first_line = next((line for line in text.splitlines() if line.strip()), "")
        delimiter = max(DELIMITERS, key=first_line.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    rows = []
    for cells in reader:
        stripped = tuple(cell.strip() for cell in cells)
        if any(stripped):
            rows.append((reader.line_num, stripped))
    header = tuple(names) or (rows.pop(0)[1] if rows else ())
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise ScanwiseError(f"the column names of {path!r} must differ, but repeated are: {', '.join(repeated)}")
    complain(
        f"every row of {path!r} must have {len(header)} cells",
        [f"line {line} has {len(cells)}" for line, cells in rows if len(cells) != len(header)],
        "look at the delimiter and at `header` / `names` of the cohort",
    )
    return Sheet(path=path, names=header, rows=tuple(rows))


def complain(invariant: str, problems: Sequence[str], hint: str) -> None:
    """Raise a `ScanwiseError` that lists the first ``MAX_PROBLEMS`` problems, where there are any."""
    if not problems:
        return
    shown = [f"\n  {problem}" for problem in problems[:MAX_PROBLEMS]]
    if len(problems) > MAX_PROBLEMS:
        shown.append(f"\n  ... and {len(problems) - MAX_PROBLEMS} more")
    raise ScanwiseError(
        f"{invariant}, but {len(problems)} do{'es' if len(problems) == 1 else ''} not:{''.join(shown)}", hint
    )
