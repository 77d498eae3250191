"""All states of one examination and the steps between them, priced as on the menu."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scanwise.design import COST_AXES, ImagingModality, Menu, Modality, Protocol, relative_lengths, settings_of
from scanwise.errors import ScanwiseError

MOST_STATES = 20_000
"""States that are looked at one by one at most."""


@dataclass(frozen=True)
class Track:
    """One thing that can be taken further and further: a test, or the nested lengths of a scan.

    Parameters
    ----------
    modality : whose shots.
    rungs : counts of the modality after each rung, each covering the one before; shape ``(shots,)`` each.
    """

    modality: str
    rungs: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Step:
    """One decision: take a track up to a rung.

    Parameters
    ----------
    track : number of the track.
    rung : rung that is reached, from 1.
    """

    track: int
    rung: int


class Workup:
    """Everything that can have been done with a patient, and what can be done next.

    A *state* is how many rungs of every track were climbed, numbered row by row (the last track runs fastest); state 0
    is what is always done. A *step* takes one track further, several rungs at once if need be. Prices are those of the
    menu, so what shares a set-up is cheaper together.

    Parameters
    ----------
    menu : what is on offer. A panel that can be ordered in parts has one track per shot, any other modality one.
    rungs : lengths of a scan at most; they are nested, the longest is usual practice.
    without : modalities that are never done.
    merit : what settings of scans are worth by themselves, by key of ``always | setting``; of settings that are about
        as long the best becomes a rung. Left out: the one closest to an even share of the usual length.

    Raises
    ------
    ScanwiseError
        If nothing can be decided, or there are more than `MOST_STATES` states.
    """

    def __init__(
        self,
        menu: Menu,
        *,
        rungs: int = 4,
        without: Sequence[str] = (),
        merit: Mapping[str, float] | None = None,
    ) -> None:
        if rungs < 1:
            raise ScanwiseError(f"policy.rungs must be at least 1, but got {rungs}")
        for name in without:
            menu.columns(name)  # refuses what is not on the menu
        self._set(
            menu,
            tuple(
                track
                for name, modality in menu.modalities.items()
                if name not in without
                for track in _tracks(modality, menu, rungs, merit or {})
            ),
        )
        if not self.tracks:
            raise ScanwiseError("there is nothing to decide: all that is on the menu is always done")
        if self.n_states > MOST_STATES:
            raise ScanwiseError(
                f"an examination on this menu has {self.n_states:,} states, more than the {MOST_STATES:,} that are "
                "looked at",
                "use fewer policy.rungs, or name modalities that are never done in policy.without",
            )

    def _set(self, menu: Menu, tracks: tuple[Track, ...]) -> None:
        self.menu = menu
        self.tracks = tracks
        self.shape = tuple(len(track.rungs) + 1 for track in tracks)
        self.n_states = int(np.prod(self.shape))
        self.steps = tuple(
            Step(index, rung) for index, track in enumerate(tracks) for rung in range(1, len(track.rungs) + 1)
        )

    @cached_property
    def levels(self) -> NDArray[np.int64]:
        """Rungs climbed in every state, shape ``(states, tracks)``."""
        return np.stack(np.unravel_index(np.arange(self.n_states), self.shape), axis=1).astype(np.int64)

    @cached_property
    def after(self) -> NDArray[np.int64]:
        """State after each step from each state, -1 where it brings nothing, shape ``(states, steps)``."""
        strides = np.array([int(np.prod(self.shape[index + 1 :])) for index in range(len(self.shape))])
        found = np.full((self.n_states, len(self.steps)), -1, dtype=np.int64)
        for column, step in enumerate(self.steps):
            climbed = step.rung - self.levels[:, step.track]
            up = climbed > 0
            found[up, column] = np.flatnonzero(up) + climbed[up] * strides[step.track]
        return found

    @cached_property
    def protocols(self) -> tuple[Protocol, ...]:
        """What was done in every state."""
        found = []
        for levels in self.levels.tolist():
            done = self.menu.always
            for track, level in zip(self.tracks, levels, strict=True):
                if level:
                    done = done | Protocol({track.modality: track.rungs[level - 1]})
            found.append(done)
        return tuple(found)

    @cached_property
    def costs(self) -> NDArray[np.float64]:
        """What every state costs in all, shape ``(states, axes)`` in the order of `COST_AXES`."""
        return self.menu.price_many(self.protocols)

    def price(self, axis: str) -> NDArray[np.float64]:
        """Return what every state costs on one axis, shape ``(states,)``."""
        price: NDArray[np.float64] = self.costs[:, COST_AXES.index(axis)]
        return price

    def of(self, protocol: Protocol) -> int:
        """Return the furthest state that a protocol covers."""
        levels = []
        for track in self.tracks:
            counts = protocol.array(track.modality, len(track.rungs[0]))
            levels.append(sum(bool((counts >= rung).all()) for rung in track.rungs))
        return int(np.ravel_multi_index(tuple(levels), self.shape))

    def parts(self, state: int) -> NDArray[np.int64]:
        """Return the states in which one track alone went as far as here, shape ``(tracks,)``; 0 = not begun."""
        levels = self.levels[state]
        alone = np.diag(levels)
        return np.ravel_multi_index(tuple(alone.T), self.shape).astype(np.int64)

    def covered(self, state: int) -> NDArray[np.bool_]:
        """Return which states are known once one is reached: those in which no track went further, ``(states,)``."""
        known: NDArray[np.bool_] = (self.levels <= self.levels[state]).all(axis=1)
        return known

    def beyond(self, state: int) -> NDArray[np.bool_]:
        """Return which states can still be reached, the state itself included, shape ``(states,)``."""
        open_: NDArray[np.bool_] = (self.levels >= self.levels[state]).all(axis=1)
        return open_

    def gains(self, state: int, merit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each step brings when afterwards the best state beyond it is reached, shape ``(..., steps)``.

        Minus infinity where a step brings nothing new, or nothing beyond it can be had.

        Parameters
        ----------
        state : what was done.
        merit : expected loss and weighed price of every state, shape ``(..., states)``; infinite where it cannot be
            had.
        """
        found = np.full((*merit.shape[:-1], len(self.steps)), -np.inf)
        for step, after in enumerate(self.after[state].tolist()):
            if after >= 0:
                found[..., step] = merit[..., state] - merit[..., self.beyond(after)].min(axis=-1)
        return found

    def title(self, step: Step) -> str:
        """Return what a step is, for people: ``"exercise ECG"``, ``"DWI, half the averages"``."""
        track = self.tracks[step.track]
        modality = self.menu.modalities[track.modality]
        return modality.describe(track.rungs[step.rung - 1])

    def to_dict(self) -> dict[str, object]:
        """Return the tracks as plain data."""
        return {
            "tracks": [{"modality": one.modality, "rungs": [list(rung) for rung in one.rungs]} for one in self.tracks]
        }

    @classmethod
    def from_dict(cls, menu: Menu, content: Mapping[str, object]) -> Workup:
        """Read `to_dict` back for the same menu."""
        made = cls.__new__(cls)
        tracks: list[Mapping[str, object]] = content["tracks"]  # type: ignore[assignment]
        made._set(
            menu,
            tuple(
                Track(str(one["modality"]), tuple(tuple(int(count) for count in rung) for rung in one["rungs"]))  # type: ignore[attr-defined]
                for one in tracks
            ),
        )
        return made

    def __repr__(self) -> str:
        return f"Workup({len(self.tracks)} tracks, {self.n_states} states)"


def alone(menu: Menu, without: Sequence[str] = ()) -> list[Protocol]:
    """Return every setting of every scan that may become a rung, together with what is always done."""
    return [
        menu.always | Protocol({name: setting})
        for name, modality in menu.modalities.items()
        if name not in without and isinstance(modality, ImagingModality)
        for setting in settings_of(modality)
    ]


def _tracks(modality: Modality, menu: Menu, rungs: int, merit: Mapping[str, float]) -> list[Track]:
    """Return the tracks of one modality, beyond what is always done of it."""
    name, always = modality.name, menu.always.array(modality.name, len(modality.shots))
    settings = [np.maximum(np.array(one), always) for one in settings_of(modality)]
    settings = [one for one in settings if (one > always).any()]
    if not settings:
        return []
    if not isinstance(modality, ImagingModality) and len(settings) > 1:  # ordered in parts: each shot on its own
        tracks = []
        for shot in np.flatnonzero(np.max(settings, axis=0) > always):
            counts = always.copy()
            counts[shot] = max(one[shot] for one in settings)
            tracks.append(Track(name, (tuple(counts.tolist()),)))
        return tracks
    worth = [merit.get((menu.always | Protocol({name: one})).key) for one in settings]
    return [Track(name, _nested(modality, settings, worth, rungs))]


def _nested(
    modality: Modality, settings: Sequence[NDArray[np.int64]], worth: Sequence[float | None], rungs: int
) -> tuple[tuple[int, ...], ...]:
    """Return lengths that contain each other, from short to usual: the best, or the closest to even shares."""
    usual = modality.standard
    share_of = relative_lengths(modality, [tuple(one.tolist()) for one in settings])
    length = [share_of[tuple(one.tolist())] for one in settings]
    found = [usual]
    for share in (np.arange(rungs - 1, 0, -1) / rungs).tolist():
        inside = [
            at
            for at, one in enumerate(settings)
            if (one <= found[-1]).all() and length[at] < 1 and (one < found[-1]).any()
        ]
        near = [at for at in inside if abs(length[at] - share) <= 0.5 / rungs and worth[at] is not None]
        if near:
            best = max(near, key=lambda at: (worth[at] or 0.0, tuple(settings[at])))
        elif inside:
            best = min(inside, key=lambda at: (abs(length[at] - share), tuple(settings[at])))
        else:
            break
        found.append(settings[best])
    return tuple(tuple(int(count) for count in one) for one in reversed(found))
