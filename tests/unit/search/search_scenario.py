"""A small menu with schemes of every kind, and a diagnosis value in closed form; also run by the kill test."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from scanwise.design import (
    Cost,
    Measurement,
    Menu,
    Modality,
    Parameter,
    Protocol,
    Scheme,
    Setting,
    Setup,
    ShotTable,
    Subset,
    Whole,
)

WORTH = {
    "history": [0.50],
    "blood": [0.02, 0.07, 0.01],
    "ecg": [0.05],
    "mri": [0.06, 0.03, 0.02, 0.02, 0.01, 0.01],
}
"""What each shot adds to the diagnosis value: shots add up, so the best protocol is known."""


class FirstN(Scheme):
    """The first shots, all equally often."""

    name: ClassVar[str] = "first"

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        return (
            Parameter("n", low=1, high=len(shots), integer=True),
            Parameter("averages", low=1, high=2, integer=True),
        )

    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        for n in range(1, len(shots) + 1):
            yield {"n": n, "averages": 1}

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return np.where(np.arange(len(shots)) < int(setting["n"]), int(setting["averages"]), 0)


class Thinned(Scheme):
    """A fraction of the shots, from either end."""

    name: ClassVar[str] = "thinned"

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        return (Parameter("share", low=0.1, high=1.0, log=True), Parameter("end", choices=("front", "back")))

    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        for share in (0.5, 1.0):
            for end in ("front", "back"):
                yield {"share": share, "end": end}

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        taken = np.arange(len(shots)) < round(float(setting["share"]) * len(shots))
        return (taken if setting["end"] == "front" else taken[::-1]).astype(np.int64)


class Plain(Modality):
    """A modality that is only priced here, never measured."""

    def __init__(self, name: str, shots: ShotTable, schemes: Sequence[Scheme]) -> None:
        self.name = name
        self.title = name
        self.shots = shots
        self.schemes = tuple(schemes)

    @classmethod
    def example(cls) -> Plain:
        return cls("plain", ShotTable.build(["only"]), [Whole()])

    def example_data(self, patients: int, seed: int) -> NDArray[Any]:
        return np.zeros((patients, len(self.shots), 1))

    def measure(self, data: NDArray[Any], counts: NDArray[np.int64], rng: np.random.Generator) -> Measurement:
        raise AssertionError("the search must not measure")


def make_menu(*, mri_price: float = 20.0) -> Menu:
    """History (always), three blood values with a shared venepuncture, an ECG, six MRI shots."""

    def shots(n: int, **prices: Any) -> ShotTable:
        return ShotTable.build([f"s{index}" for index in range(n)], **prices)

    return Menu(
        [
            Plain("history", shots(1, money=4.0, seconds=60.0), [Whole()]),
            Plain("blood", shots(3, money=[3.0, 10.0, 5.0], setups=["needle"]), [Subset()]),
            Plain("ecg", shots(1, money=30.0, seconds=600.0), [Whole()]),
            Plain(
                "mri", shots(6, money=mri_price, seconds=300.0, max_count=2, setups=["table"]), [FirstN(), Thinned()]
            ),
        ],
        [Setup("needle", Cost(money=7.0, minutes=5.0)), Setup("table", Cost(money=50.0, minutes=10.0, visits=1.0))],
        always=Protocol({"history": [1]}),
        currency="$",
    )


def make_flat_menu(n: int, *, always: bool = False) -> Menu:
    """Return `n` single tests that are merely on or off; test `i` costs ``1 + i`` money."""
    tests = [
        Plain(f"test{index}", ShotTable.build(["only"], money=1.0 + index, seconds=30.0), [Whole()])
        for index in range(n)
    ]
    return Menu(tests, always=Protocol({"test0": [1]}) if always else None)


def value_of(protocol: Protocol) -> float:
    """Diagnosis value: the sum of the worths of the shots, an average adding a quarter of it again."""
    return sum(
        worth * (count > 0) * (1.0 + 0.25 * max(0, count - 1))
        for name, counts in protocol.items()
        for worth, count in zip(WORTH[name], counts, strict=True)
    )


def flat_value_of(protocol: Protocol) -> float:
    """Diagnosis value on the flat menu: dear tests are worth more, with diminishing returns."""
    return 1.0 - float(np.prod([1.0 / (2.0 + int(name.removeprefix("test"))) ** 0.5 for name in protocol.modalities]))


class Objective:
    """Scores protocols and remembers what it was asked."""

    def __init__(self, value: Any = value_of, *, pause_s: float = 0.0) -> None:
        self.value = value
        self.pause_s = pause_s
        self.batches: list[list[str]] = []

    def __call__(self, protocols: Sequence[Protocol]) -> NDArray[np.float64]:
        self.batches.append([protocol.key for protocol in protocols])
        time.sleep(self.pause_s * len(protocols))
        return np.array([self.value(protocol) for protocol in protocols])

    @property
    def asked(self) -> list[str]:
        """Keys of all protocols in the order they were scored."""
        return [key for batch in self.batches for key in batch]


def main() -> None:
    """Search slowly in a folder until killed; the settings are words ``name=value``.

    What is scored is noted in the folder, a line each: the process and the protocol. No worker begins before `crew`
    workers were there.
    """
    from scanwise.design import Budget
    from scanwise.search import OptunaSearch, SearchSpace

    settings = dict(word.split("=", 1) for word in sys.argv[2:])
    folder, objective = Path(sys.argv[1]), Objective(pause_s=float(settings["pause_s"]))

    def noted(protocols: Sequence[Protocol]) -> NDArray[np.float64]:
        values = objective(protocols)
        with (folder / "scored.txt").open("a", encoding="utf-8") as file:
            file.writelines(f"{os.getpid()}\t{protocol.key}\n" for protocol in protocols)
        return values

    search = OptunaSearch(
        n_trials=int(settings["n_trials"]),
        batch_size=int(settings["batch_size"]),
        storage=settings.get("storage"),
    )
    (folder / f"ready-{os.getpid()}").touch()
    while len(list(folder.glob("ready-*"))) < int(settings.get("crew", "1")):
        time.sleep(0.005)
    search.run(SearchSpace(make_menu()), objective=noted, budget=Budget(money=200.0), seed=7, directory=folder)


if __name__ == "__main__":
    main()
