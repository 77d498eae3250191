"""Clinical tests and other tabular measurements: a panel of shots, each yielding one or more values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scanwise.design import Measurement, Modality, ShotTable, make_scheme, register_modality
from scanwise.errors import ScanwiseError, did_you_mean

_PRICES = ("minutes", "money", "msv", "contrast_ml")


@register_modality("panel")
class TestPanel(Modality):
    """A test, or tests ordered together, e.g. one blood draw with several analytes.

    Parameters
    ----------
    name : identifier, lower case.
    shots : ``{shot: {minutes, money, msv, contrast_ml, setups}}``, prices of one shot, all optional.
    title : name for people.
    schemes : names of sampling schemes; ``"whole"`` = all or nothing, ``"subset"`` = each shot on its own.
    requires : modalities whose data were used to make this one's values (leakage audit).

    Raises
    ------
    ScanwiseError
        For an unknown key, a negative price, or a shot without a price table.
    """

    __test__ = False  # not a pytest class, whatever its name

    def __init__(
        self,
        name: str,
        shots: Mapping[str, Mapping[str, Any] | None],
        title: str = "",
        schemes: Sequence[str] = ("whole",),
        requires: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.title = title or name.replace("_", " ")
        rows: dict[str, dict[str, Any]] = {}
        for shot, row in shots.items():
            if not isinstance(row, Mapping | None):
                raise ScanwiseError(
                    f"shot {name}.{shot} needs a table of prices, but got {row!r}", f"write {shot}: {{money: ...}}"
                )
            rows[shot] = dict(row or {})
        for shot, row in rows.items():
            for key in row:
                if key not in (*_PRICES, "setups"):
                    raise ScanwiseError(
                        f"shot {name}.{shot} has an unknown key {key!r}", did_you_mean(key, (*_PRICES, "setups"))
                    )
            if isinstance(row.get("setups", ()), str) or row.get("setups", ()) is None:
                raise ScanwiseError(
                    f"the set-ups of shot {name}.{shot} must be a list, but got {row['setups']!r}",
                    f"write setups: [{row['setups'] or ''}]",
                )

        def column(key: str) -> list[float]:
            return [_number(f"{name}.{shot}", key, row.get(key, 0.0)) for shot, row in rows.items()]

        self.shots = ShotTable.build(
            tuple(rows),
            seconds=[60.0 * minutes for minutes in column("minutes")],
            money=column("money"),
            msv=column("msv"),
            contrast_ml=column("contrast_ml"),
            setups=[tuple(row.get("setups", ())) for row in rows.values()],
        )
        self.schemes = tuple(make_scheme(scheme) for scheme in schemes)
        self.requires = tuple(requires)

    @classmethod
    def example(cls) -> Self:
        """Return a panel of three tests, two of which share a fee."""
        return cls(
            "example",
            {
                "sodium": {"money": 1.0, "setups": ["draw"]},
                "potassium": {"money": 1.5, "setups": ["draw"]},
                "ecg": {"minutes": 5.0},
            },
            schemes=("whole", "subset"),
        )

    def example_data(self, patients: int, seed: int) -> NDArray[Any]:
        """Return two values per test, one test missing in the first patient, shape ``(patients, shots, 2)``."""
        data = np.random.default_rng(seed).normal(size=(patients, len(self.shots), 2))
        data[0, 0] = np.nan
        return data

    def measure(self, data: NDArray[Any], counts: NDArray[np.int64], rng: np.random.Generator) -> Measurement:
        """Read the values of the shots that are asked for and were done.

        Parameters
        ----------
        data : values, shape ``(patients, shots, values)``; NaN where a patient lacks one.
        counts : shape ``(patients, shots)`` or ``(shots,)``.
        rng : not used: a test that is in the table has happened already.
        """
        asked = np.broadcast_to(counts, data.shape[:2])
        done = ~np.isnan(data).all(axis=2)
        values = np.where((asked > 0)[:, :, None], data, np.nan)
        return Measurement(data=values, counts=np.where(done, asked, 0))


def _number(shot: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ScanwiseError(f"the price of shot {shot} must be a number, but {key}={value!r}", "mend the menu")
    return float(value)
