"""Simple searches that a clever one has to beat: uniform shortening, each modality alone, greedy growth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scanwise.design import Modality, Protocol, relative_lengths, settings_of
from scanwise.errors import ScanwiseError
from scanwise.search._book import Book, SinglePass

_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class UniformSearch(SinglePass):
    """Shorten all modalities by the same share, each in the first of its schemes: what a department does by hand.

    Parameters
    ----------
    shares : lengths as shares of the usual price of each modality's shots.
    """

    shares: Sequence[float] = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shares(self.shares)

    def _look(self, book: Book, rng: np.random.Generator) -> str:
        usual = {name: _first_scheme(modality) for name, modality in book.space.optional.items()}
        for done, share in enumerate(self.shares, start=1):
            counts = {
                name: min(settings, key=lambda setting: (abs(settings[setting] - share), setting))
                for name, settings in usual.items()
            }
            book.score([book.space.mandatory | Protocol(counts)])
            book.told(done, len(self.shares), f"all modalities at {share:.3g}")
        return f"all modalities shortened alike, {len(self.shares)} lengths"


@dataclass(frozen=True, kw_only=True)
class SeparateSearch(SinglePass):
    """Find the best setting of every modality alone, at each share of its usual price, and put them together.

    A modality that no setting makes so short is left out, and, as another protocol, in at its shortest.

    Parameters
    ----------
    shares : lengths as shares of the usual price of each modality's shots.
    """

    shares: Sequence[float] = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shares(self.shares)

    def _look(self, book: Book, rng: np.random.Generator) -> str:
        space = book.space
        lengths = {name: relative_lengths(modality, settings_of(modality)) for name, modality in space.optional.items()}
        for done, (name, settings) in enumerate(lengths.items(), start=1):
            book.score([space.mandatory | Protocol({name: setting}) for setting in settings])
            book.told(done, len(lengths), f"{name} alone")
        together = []
        for share in self.shares:
            within: dict[str, tuple[int, ...]] = {}
            shortest: dict[str, tuple[int, ...]] = {}
            for name, settings in lengths.items():
                valued = {
                    setting: value
                    for setting in settings
                    if (value := book.value(space.mandatory | Protocol({name: setting}))) is not None
                }
                if not valued:
                    continue
                least = min(settings[setting] for setting in valued)
                found = within if least <= share + _ROUNDING else shortest
                fits = [one for one in valued if settings[one] <= max(share, least) + _ROUNDING]
                found[name] = max(fits, key=lambda setting: (valued[setting], setting))
            together += [space.mandatory | Protocol(within), space.mandatory | Protocol(within | shortest)]
        book.score(together)
        return f"the best of each modality alone, {len(self.shares)} lengths"


@dataclass(frozen=True, kw_only=True)
class GreedySearch(SinglePass):
    """Grow the protocol step by step, each time by what adds most: forward selection.

    Parameters
    ----------
    by : ``"shot"``: one more of a single shot; ``"setting"``: the next settings of the lattice of one modality.
    per_price : whether what counts is the gain per price, or the gain alone.
    look_ahead : settings of each modality that are looked at in a step, cheapest first; `None` = all.
    max_steps : steps at most, `None` = until nothing is left or allowed.
    """

    by: str = "shot"
    per_price: bool = True
    look_ahead: int | None = 4
    max_steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by not in ("shot", "setting"):
            raise ScanwiseError(f"search.by must be 'shot' or 'setting', but got {self.by!r}")
        for name in ("look_ahead", "max_steps"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ScanwiseError(f"search.{name} must be a whole number >= 1 or null, but got {value!r}")

    def _look(self, book: Book, rng: np.random.Generator) -> str:
        here, done = book.space.mandatory, 0
        lengths = {name: relative_lengths(one, settings_of(one)) for name, one in book.space.optional.items()}
        while self.max_steps is None or done < self.max_steps:
            steps = self._by_shot(book, here) if self.by == "shot" else self._by_setting(here, lengths)
            steps = [one for one in steps if book.budget.allows(book.menu.price(one))]
            book.score(steps)
            valued = [(one, value) for one in steps if (value := book.value(one)) is not None]
            if not valued:
                break
            base, paid = book.value(here) or 0.0, book.price(here)

            def merit(pair: tuple[Protocol, float], base: float = base, paid: float = paid) -> tuple[float, str]:
                gain = pair[1] - base
                extra = max(book.price(pair[0]) - paid, _ROUNDING)
                # what adds nothing is not made better by being cheap
                return (gain / extra if self.per_price and gain > 0 else gain, pair[0].key)

            here = max(valued, key=merit)[0]
            done += 1
            book.told(done, self.max_steps or done, f"{book.axis} {book.price(here):.4g}")
        return f"greedy growth by {self.by}{' for its price' if self.per_price else ''}, {done} steps"

    def _by_shot(self, book: Book, here: Protocol) -> list[Protocol]:
        found = []
        for name, modality in book.space.optional.items():
            counts = np.array(here.counts(name) or (0,) * len(modality.shots))
            for shot in np.flatnonzero(counts < modality.shots.max_count):
                more = counts.copy()
                more[shot] += 1
                found.append(_with(here, {name: more.tolist()}))
        return found

    def _by_setting(self, here: Protocol, lengths: Mapping[str, Mapping[tuple[int, ...], float]]) -> list[Protocol]:
        found = []
        for name, settings in lengths.items():
            now = settings.get(here.counts(name), 0.0)
            longer = sorted((length, one) for one, length in settings.items() if length > now + _ROUNDING)
            found += [_with(here, {name: one}) for _, one in longer[: self.look_ahead]]
        return found


def _with(protocol: Protocol, counts: Mapping[str, Sequence[int]]) -> Protocol:
    return Protocol({**dict(protocol.items()), **counts})


def _first_scheme(modality: Modality) -> dict[tuple[int, ...], float]:
    """Return the settings of the first scheme and how long they are."""
    scheme = modality.schemes[0]
    found = (tuple(scheme.counts(modality.shots, one).tolist()) for one in scheme.settings(modality.shots))
    return relative_lengths(modality, [counts for counts in found if any(counts)])


def _check_shares(shares: Sequence[float]) -> None:
    if not len(shares) or not all(0 < share <= 1 for share in shares):
        raise ScanwiseError(f"search.shares must be numbers above 0 and at most 1, but got {list(shares)}")
