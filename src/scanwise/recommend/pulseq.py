"""Pulseq sequences of the Cartesian scans of a protocol (extra ``pulseq``); the only file that imports pypulseq.

What is played is what was simulated: one slice, the lines of the protocol and no others. Echo trains are as few as the
lines allow, which is what the price of a line stands for. Lines are dealt to them as the simulation deals all lines
(`scanwise.physics.EchoTrain`); where that moves a line to another echo, the notes say how far. What a protocol leaves
open (pulses, crushers, bandwidth) is chosen here for a whole-body scanner of common strength, and told. Turbo spin
echoes meet the conditions of Carr, Purcell, Meiboom and Gill.

Every acquisition carries the labels LIN (line, centre at ``n // 2``), AVG, ECO (echo of the train), SET (b-value) and
REP (frame), so that raw data can be sorted without this program. A sample at ``samples // 2`` is the centre of k-space.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.errors import ScanwiseError

MAX_GRADIENT_MT_PER_M = 40.0
MAX_SLEW_T_PER_M_S = 130.0
"""Limits of one gradient axis that whole-body scanners of 1.5 and 3 T reach without stimulating nerves at once."""
MAX_B1_MICROTESLA = 20.0
INSTALL = "pip install 'scanwise[pulseq]'"

_RF_DEAD_S = 100e-6
_RF_RINGDOWN_S = 100e-6
_ADC_DEAD_S = 10e-6
_RASTER_S = 10e-6
_EVEN_RASTER_S = 2 * _RASTER_S
"""Blocks are twice the raster long, so that their middle is on it."""
_DWELL_STEP_S = 2e-6
"""Dwell times in such steps put the sample in the middle of a readout on the raster of the receiver."""
_GAMMA_HZ_PER_T = 42.576e6
_BANDWIDTH_TIME = 3.0
_PULSES_S = (3.0e-3, 2.4e-3, 2.0e-3, 1.6e-3, 1.2e-3, 1.0e-3, 0.8e-3, 0.6e-3)
"""Durations of selective pulses, longest first: the longest that leaves room is the gentlest."""
_INVERSION_S = 10.24e-3
_OVERSAMPLING = 2
_LONGEST_READOUT_S = 5e-3
_CRUSHER_CYCLES = 4.0
"""Dephasing across the slice by each crusher [cycles]."""
_SPOILING_DEG = 117.0
_NOT_YET_STEADY = 0.01
"""How far a train of excitations may be from its steady state when the first line is taken."""
_DIRECTIONS = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
"""Tetrahedral diffusion encoding: every axis at full strength; four averages make the trace."""
_MOST_SHOTS = 4096
_SAFETY = "absorbed power and nerve stimulation are for the scanner and its physicist to check"


class NotPlayableError(ScanwiseError):
    """There is no sequence for a scan; the message says why."""


@dataclass(frozen=True, eq=False)
class Scan:
    """One scan of a protocol.

    Parameters
    ----------
    name : of the modality.
    settings : of the console, see `scanwise.design.Modality.console`.
    what : what each shot is, from its `ShotTable`.
    counts : how often each shot is taken, shape ``(shots,)``.
    fov_mm : field of view ``(y, x)`` [mm]; `None` where nobody knows.
    definitions : further definitions for the file.
    """

    name: str
    settings: Mapping[str, Any]
    what: Mapping[str, NDArray[np.generic]]
    counts: NDArray[np.int64]
    fov_mm: tuple[float, float] | None
    definitions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Played:
    """A sequence, ready to be written."""

    text: str
    """Content of the ``.seq`` file."""
    seconds: float
    excitations: int
    """Excitations that are followed by an acquisition."""
    preparations: int
    """Excitations that only lead to the steady state."""
    acquisitions: int
    """How often the receiver is on."""
    notes: tuple[str, ...]
    """What was chosen here because the protocol leaves it open."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the text."""
        return {
            "seconds": self.seconds,
            "excitations": self.excitations,
            "preparations": self.preparations,
            "acquisitions": self.acquisitions,
            "notes": list(self.notes),
        }


def play(scan: Scan) -> Played:
    """Return the sequence of a scan.

    Raises
    ------
    NotPlayableError
        If the scan is not Cartesian, its settings are not known or do not fit a common scanner, or pypulseq is not
        installed.
    ScanwiseError
        If the checker of pypulseq finds fault with the timing.
    """
    kind = scan.settings.get("sequence")
    if kind is None:
        raise NotPlayableError("it has no pulse sequence")
    if kind not in _PLAYERS:
        raise NotPlayableError(f"{kind}: only Cartesian sequences are written")
    if scan.fov_mm is None:
        raise NotPlayableError("the cohort does not tell its field of view")
    if not scan.counts.any():
        raise NotPlayableError("no shot of it is taken")
    if scan.counts.sum() > _MOST_SHOTS:
        raise NotPlayableError(f"{scan.counts.sum()} shots are more than one file should hold ({_MOST_SHOTS})")
    player = _Player(scan)
    notes = _PLAYERS[kind](player)
    return player.finish(notes)


def pulseq_library() -> Any:
    """Return pypulseq, imported where it is needed first.

    Raises
    ------
    NotPlayableError
        If it is not installed.
    """
    try:
        import pypulseq
    except ImportError as error:
        raise NotPlayableError("pypulseq is not installed", INSTALL) from error
    return pypulseq


@dataclass(frozen=True)
class _Pulse:
    """A selective pulse in the middle of a block of its own."""

    rf: Any
    gradient: Any
    seconds: float

    @property
    def half_area(self) -> float:
        """Area of the slice gradient from the middle of the pulse to the end of the block [1/m]."""
        return float(self.gradient.area) / 2


@dataclass(frozen=True)
class _Readout:
    """A readout in a block of its own, the centre of k-space in the middle."""

    gradient: Any
    adc: Any
    seconds: float

    @property
    def half_area(self) -> float:
        """Area of the gradient up to the middle [1/m]."""
        return float(self.gradient.area) / 2


class _Player:
    """Builds one sequence: what all kinds of sequences share."""

    def __init__(self, scan: Scan) -> None:
        self.pp = pulseq_library()
        self.scan = scan
        self.settings = scan.settings
        self.system = self.pp.Opts(
            max_grad=MAX_GRADIENT_MT_PER_M,
            grad_unit="mT/m",
            max_slew=MAX_SLEW_T_PER_M_S,
            slew_unit="T/m/s",
            rf_dead_time=_RF_DEAD_S,
            rf_ringdown_time=_RF_RINGDOWN_S,
            adc_dead_time=_ADC_DEAD_S,
            grad_raster_time=_RASTER_S,
            block_duration_raster=_RASTER_S,
        )
        self.sequence = self.pp.Sequence(self.system)
        self.elapsed_s = 0.0
        self.preparations = self.excitations = self.acquisitions = 0
        turned = self.settings.get("phase_axis") == "x"
        self.read, self.phase = ("y", "x") if turned else ("x", "y")
        n_y, n_x = self.settings["matrix"]
        fov_y_m, fov_x_m = (side / 1000 for side in scan.fov_mm or ())
        self.fov_m = {"x": fov_x_m, "y": fov_y_m}
        self.lines, self.columns = (n_x, n_y) if turned else (n_y, n_x)
        self.slice_m = self.settings["slice_mm"] / 1000
        self.repetition_s = _rastered(self.settings["repetition_time_s"])

    # ---- parts ---------------------------------------------------------------------------------------------

    def pulse(self, flip_deg: float, seconds: float, use: str, phase_rad: float = 0.0) -> _Pulse | None:
        """Return a selective pulse; `None` where slice gradient or transmitter are too weak for so short a one."""
        amplitude = _BANDWIDTH_TIME / seconds / self.slice_m
        if amplitude > self.system.max_grad:
            return None
        rise = _up(amplitude / self.system.max_slew, _RASTER_S)
        lead = max(rise, _up(_RF_DEAD_S, _RASTER_S), _up(_RF_RINGDOWN_S, _RASTER_S))
        block = seconds + 2 * lead
        rf = self.pp.make_sinc_pulse(
            flip_angle=math.radians(flip_deg),
            duration=seconds,
            delay=lead,
            apodization=0.5,
            time_bw_product=_BANDWIDTH_TIME,
            phase_offset=phase_rad,
            system=self.system,
            use=use,
        )
        if np.abs(rf.signal).max() > MAX_B1_MICROTESLA * 1e-6 * _GAMMA_HZ_PER_T:
            return None
        gradient = self.pp.make_trapezoid(
            "z", amplitude=amplitude, rise_time=rise, flat_time=block - 2 * rise, system=self.system
        )
        return _Pulse(rf, gradient, block)

    def readouts(self, room_s: float) -> Iterator[_Readout]:
        """Return readouts that fit into some time, the longest (and so the least noisy) first."""
        samples = 4 * math.ceil(_OVERSAMPLING * self.columns / 4)
        longest = math.floor(min(room_s, _LONGEST_READOUT_S) / (samples + 1) / _DWELL_STEP_S + 1e-6)
        for step in range(longest, 0, -1):
            dwell = step * _DWELL_STEP_S
            amplitude = 1 / (_OVERSAMPLING * self.fov_m[self.read] * dwell)
            if amplitude > self.system.max_grad:
                return
            rise = _up(amplitude / self.system.max_slew, _RASTER_S)
            flat = _up((samples + 1) * dwell, _EVEN_RASTER_S)
            if 2 * rise + flat > room_s + 1e-9:
                continue
            gradient = self.pp.make_trapezoid(
                self.read, amplitude=amplitude, rise_time=rise, flat_time=flat, system=self.system
            )
            delay = rise + flat / 2 - (samples // 2 + 0.5) * dwell
            adc = self.pp.make_adc(samples, dwell=dwell, delay=delay, system=self.system)
            yield _Readout(gradient, adc, 2 * rise + flat)

    def lobe(self, axis: str, area: float, seconds: float | None = None) -> list[Any]:
        """Return a gradient of some area [1/m], none where it is zero; the shortest where no time is given."""
        if abs(area) < 1e-9:
            return []
        if seconds is None:
            return [self.pp.make_trapezoid(axis, area=area, system=self.system)]
        return [self.pp.make_trapezoid(axis, area=area, duration=seconds, system=self.system)]

    def shortest(self, *areas: float) -> float:
        """Return how long gradients of some areas [1/m], one per axis, take at least."""
        return max((float(self.pp.calc_duration(*self.lobe("z", area))) for area in areas if area), default=0.0)

    def line_area(self, line: int) -> float:
        """Return the area of the phase encoding of a line [1/m]."""
        return (line - self.lines // 2) / self.fov_m[self.phase]

    @property
    def widest_line_area(self) -> float:
        """The largest area of a phase encoding [1/m]."""
        return (self.lines // 2) / self.fov_m[self.phase]

    @property
    def crusher_area(self) -> float:
        """Area of a crusher [1/m]."""
        return _CRUSHER_CYCLES / self.slice_m

    # ---- the sequence --------------------------------------------------------------------------------------

    def block(self, *events: Any, seconds: float | None = None, labels: Mapping[str, int] | None = None) -> None:
        """Add a block, as long as its events or as some time."""
        wanted = list(events)
        if seconds is not None:
            if seconds < 1e-9 and not wanted:
                return
            wanted.append(self.pp.make_delay(seconds))
        wanted += [self.pp.make_label(label=name, type="SET", value=value) for name, value in (labels or {}).items()]
        self.sequence.add_block(*wanted)
        self.elapsed_s += self.sequence.block_durations[max(self.sequence.block_events)]

    def wait_until(self, time_s: float, what: str) -> None:
        """Wait until a time after the start of the sequence."""
        rest = _rastered(time_s - self.elapsed_s)
        if rest < -1e-9:
            raise NotPlayableError(f"{what} is {-rest * 1000:.3g} ms too short for what has to be played in it")
        self.block(seconds=rest)

    def excite(self, pulse: _Pulse, *, acquires: bool) -> None:
        """Add an excitation."""
        self.block(pulse.rf, pulse.gradient)
        self.excitations += acquires
        self.preparations += not acquires

    def acquire(self, readout: _Readout, labels: Mapping[str, int], *, phase_rad: float = 0.0) -> None:
        """Add a readout with the receiver on."""
        readout.adc.phase_offset = phase_rad
        self.block(readout.gradient, readout.adc, labels=labels)
        self.acquisitions += 1

    def finish(self, notes: Sequence[str]) -> Played:
        """Check the timing and return the sequence."""
        scan, settings = self.scan, self.settings
        n_y, n_x = settings["matrix"]
        fov = [self.fov_m["x"], self.fov_m["y"], self.slice_m]
        definitions = {
            "Name": scan.name,
            "FOV": fov,
            "Matrix": [n_x, n_y, 1],
            "SliceThickness": self.slice_m,
            "TE": settings["echo_time_s"],
            "TR": settings["repetition_time_s"],
            "PhaseEncodingAxis": self.phase,
            "ReadoutOversamplingFactor": _OVERSAMPLING,
            "TotalDuration": self.elapsed_s,
            **scan.definitions,
        }
        for name, value in definitions.items():
            self.sequence.set_definition(name, value)
        fine, report = self.sequence.check_timing()
        if not fine:
            first = report[0]
            raise ScanwiseError(
                f"the timing of the sequence of {scan.name!r} must pass the checker of pypulseq, but it found "
                f"{len(report)} faults, first {first.error_type} of {first.event}.{first.field} in block {first.block}",
                "this is a fault of scanwise: please report it with the settings of the modality",
            )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sequence.seq"
            self.sequence.write(str(path))
            text = path.read_text("utf-8")
        limits = f"{MAX_GRADIENT_MT_PER_M:g} mT/m and {MAX_SLEW_T_PER_M_S:g} T/m/s on each axis"
        return Played(
            text=text,
            seconds=round(self.elapsed_s, 6),
            excitations=self.excitations,
            preparations=self.preparations,
            acquisitions=self.acquisitions,
            notes=("one slice, as simulated; no fat suppression, no navigator", f"made for {limits}", _SAFETY, *notes),
        )


# ---- turbo spin echo, FLAIR, spin echo ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Train:
    """The parts of an echo train; all times in seconds."""

    excitation: _Pulse
    refocusing: _Pulse
    readout: _Readout
    before_s: float
    """Between the blocks of excitation and first refocusing."""
    beside_s: float
    """On either side of a readout."""


def _turbo_spin_echo(player: _Player) -> list[str]:
    settings = player.settings
    length = int(settings.get("echo_train_length", 1))
    train = _echo_train(player, float(settings.get("echo_spacing_s", settings["echo_time_s"])))
    inversion_s = settings.get("inversion_time_s")
    slots, moved = _slots(player, length)
    preparing: list[tuple[int, int] | None] = [None] * length
    for slot in [preparing, *slots]:
        began = player.elapsed_s
        if inversion_s is not None:
            _invert(player, inversion_s, train.excitation)
        _play_train(player, train, slot)
        player.wait_until(began + player.repetition_s, "TR")
    empty = sum(shot is None for slot in slots for shot in slot)
    notes = ["one train without acquisition comes first, so that all trains have recovered alike"]
    if length > 1:
        words = f"lines are up to {moved} echoes" if moved > 1 else "lines are up to one echo"
        where = f"{words} from where they were simulated" if moved else "every line at the echo it was simulated at"
        notes.append(f"trains: {len(slots)}, echoes without acquisition: {empty}; {where}")
    return notes


def _slots(player: _Player, length: int) -> tuple[list[list[tuple[int, int] | None]], int]:
    """Return which ``(line, average)`` each echo of every train takes, and how far lines had to move [echoes].

    The trains are as few as possible. Each echo takes a band of neighbouring lines, one for each train; the order of
    the bands is rotated so that the band with the centre of k-space comes at the effective echo time.
    """
    scan, settings = player.scan, player.settings
    line = np.asarray(scan.what["line"]).astype(np.int64)
    taken = [
        (int(line[shot]), average, int(shot))
        for shot in np.argsort(line, kind="stable")
        for average in range(int(scan.counts[shot]))
    ]
    trains = math.ceil(len(taken) / length)
    above = next((rank for rank, one in enumerate(taken) if one[0] >= player.lines // 2), len(taken) - 1)
    effective = round(settings["echo_time_s"] / settings["echo_spacing_s"]) if length > 1 else 1
    slots: list[list[tuple[int, int] | None]] = [[None] * length for _ in range(trains)]
    moved = 0
    for rank, (at, average, shot) in enumerate(taken):
        echo = (rank // trains - above // trains + effective - 1) % length
        slots[rank % trains][echo] = (at, average)
        moved = max(moved, abs(echo + 1 - int(scan.what["echo"][shot])) if length > 1 else 0)
    return slots, moved


def _echo_train(player: _Player, spacing_s: float) -> _Train:
    """Return the gentlest pulses and the longest readout that the echo spacing leaves room for."""
    spacing = _EVEN_RASTER_S * round(spacing_s / _EVEN_RASTER_S)
    for seconds in _PULSES_S:
        excitation = player.pulse(90.0, seconds, "excitation", math.pi / 2)
        refocusing = player.pulse(180.0, seconds, "refocusing")
        if excitation is None or refocusing is None:
            continue
        beside = _up(player.shortest(player.crusher_area, player.widest_line_area), _RASTER_S)
        before = _rastered((spacing - excitation.seconds - refocusing.seconds) / 2)
        for readout in player.readouts(spacing - refocusing.seconds - 2 * beside):
            crusher = player.crusher_area - excitation.half_area
            if before + 1e-9 < player.shortest(crusher, readout.half_area):
                continue
            beside = _rastered((spacing - refocusing.seconds - readout.seconds) / 2)
            return _Train(excitation, refocusing, readout, before, beside)
    raise NotPlayableError(
        f"{spacing_s * 1000:g} ms between echoes leave no room for pulses, crushers and {player.columns} samples"
    )


def _invert(player: _Player, inversion_s: float, excitation: _Pulse) -> None:
    """Add an adiabatic inversion and wait, so that the excitation that follows comes at the inversion time."""
    rf = player.pp.make_adiabatic_pulse(
        "hypsec", duration=_INVERSION_S, delay=_RF_DEAD_S, system=player.system, use="inversion"
    )
    began = player.elapsed_s
    player.block(rf, seconds=_up(_RF_DEAD_S + _INVERSION_S + _RF_RINGDOWN_S, _RASTER_S))
    player.block(*player.lobe("z", 2 * player.crusher_area))
    middle = began + _RF_DEAD_S + float(rf.center)
    player.wait_until(middle + inversion_s - excitation.seconds / 2, "TI")


def _play_train(player: _Player, train: _Train, slot: Sequence[tuple[int, int] | None]) -> None:
    """Add one train; the areas between excitation and refocusing are half of those between refocusings."""
    readout = train.readout
    player.excite(train.excitation, acquires=any(slot))
    rephase = player.lobe("z", player.crusher_area - train.excitation.half_area, train.before_s)
    player.block(*rephase, *player.lobe(player.read, readout.half_area, train.before_s), seconds=train.before_s)
    for echo, taken in enumerate(slot):
        area = 0.0 if taken is None else player.line_area(taken[0])
        crusher = player.lobe("z", player.crusher_area, train.beside_s)
        player.block(train.refocusing.rf, train.refocusing.gradient)
        player.block(*crusher, *player.lobe(player.phase, area, train.beside_s), seconds=train.beside_s)
        if taken is None:
            player.block(readout.gradient)
        else:
            player.acquire(readout, {"LIN": taken[0], "AVG": taken[1], "ECO": echo}, phase_rad=math.pi / 2)
        player.block(*crusher, *player.lobe(player.phase, -area, train.beside_s), seconds=train.beside_s)
    player.block(*player.lobe("z", 2 * player.crusher_area))


# ---- spoiled gradient echo, once or over time --------------------------------------------------------------


@dataclass(frozen=True)
class _GradientEcho:
    excitation: _Pulse
    readout: _Readout
    before_s: float
    after_s: float


def _spoiled_gradient_echo(player: _Player) -> list[str]:
    scan = player.scan
    line = np.asarray(scan.what["line"]).astype(np.int64)
    order = [
        (int(line[shot]), average)
        for average in range(int(scan.counts.max()))
        for shot in np.flatnonzero(scan.counts > average)
    ]
    echo = _gradient_echo(player)
    dummies = _dummies(player)
    spoiling = _Spoiling()
    _play_lines(player, echo, [None] * dummies, spoiling, {})
    _play_lines(player, echo, order, spoiling, {})
    return [_steady_note(dummies)]


def _dynamic_gradient_echo(player: _Player) -> list[str]:
    settings = player.settings
    echo = _gradient_echo(player)
    frames = _frames(player)
    dummies = _dummies(player)
    spoiling = _Spoiling()
    frame_s = float(settings["frame_s"])
    for frame, order in frames.items():
        middle, half_s = (frame + 0.5) * frame_s, len(order) / 2 * player.repetition_s
        room_s = middle - max(frame * frame_s, player.elapsed_s) - half_s
        if room_s < -1e-9:
            raise NotPlayableError(
                f"{len(order)} lines every {player.repetition_s:g} s do not fit in a frame of {frame_s:g} s"
            )
        preparing = min(dummies, math.floor(room_s / player.repetition_s + 1e-6))
        player.wait_until(middle - half_s - preparing * player.repetition_s, "a frame")
        _play_lines(player, echo, [None] * preparing, spoiling, {})
        _play_lines(player, echo, order, spoiling, {"REP": frame})
    player.wait_until((max(frames) + 1) * frame_s, "the last frame")
    notes = [_steady_note(dummies), "lines are played in the middle of each frame; the rest of it is free"]
    if "bolus_arrival_s" in settings:
        notes.append(f"inject so that the bolus arrives {settings['bolus_arrival_s']:g} s after the start")
    return notes


def _frames(player: _Player) -> dict[int, list[tuple[int, int] | None]]:
    """Return ``(line, average)`` in order for every frame that is taken, frames in order."""
    what, counts = player.scan.what, player.scan.counts
    frames: dict[int, list[tuple[int, int] | None]] = {}
    for shot in np.flatnonzero(counts):
        if "line" in what:  # a shot is one line of one frame
            frame, lines = int(what["frame"][shot]), [int(what["line"][shot])]
        else:  # a shot is a whole frame
            frame, lines = int(shot), list(range(player.lines))
        frames.setdefault(frame, []).extend((line, average) for average in range(int(counts[shot])) for line in lines)
    return dict(sorted(frames.items()))


class _Spoiling:
    """Phases of successive excitations that leave no transverse magnetisation (Zur 1991) [rad]."""

    def __init__(self) -> None:
        self._number = 0

    def next_rad(self) -> float:
        """Return the phase of the next excitation, ``117 n (n + 1) / 2`` degrees."""
        phase = _SPOILING_DEG * self._number * (self._number + 1) / 2
        self._number += 1
        return math.radians(phase % 360.0)


def _gradient_echo(player: _Player) -> _GradientEcho:
    """Return the gentlest pulse and the longest readout for which there is time."""
    settings = player.settings
    for seconds in _PULSES_S:
        excitation = player.pulse(float(settings["flip_angle_deg"]), seconds, "excitation")
        if excitation is None:
            continue
        room = 2 * (settings["echo_time_s"] - excitation.seconds / 2)
        for readout in player.readouts(room):
            before = _rastered(settings["echo_time_s"] - excitation.seconds / 2 - readout.seconds / 2)
            after = _rastered(player.repetition_s - excitation.seconds - before - readout.seconds)
            least = player.shortest(excitation.half_area, readout.half_area, player.widest_line_area)
            if before + 1e-9 >= least and after + 1e-9 >= player.shortest(player.crusher_area, player.widest_line_area):
                return _GradientEcho(excitation, readout, before, after)
    raise NotPlayableError(
        f"TE = {settings['echo_time_s'] * 1000:g} ms and TR = {settings['repetition_time_s'] * 1000:g} ms leave no "
        f"room for pulse, gradients and {player.columns} samples"
    )


def _play_lines(
    player: _Player,
    echo: _GradientEcho,
    order: Sequence[tuple[int, int] | None],
    spoiling: _Spoiling,
    labels: Mapping[str, int],
) -> None:
    """Add one excitation per line, without acquisition where there is None in its place."""
    readout = echo.readout
    for taken in order:
        phase = spoiling.next_rad()
        echo.excitation.rf.phase_offset = phase
        area = 0.0 if taken is None else player.line_area(taken[0])
        player.excite(echo.excitation, acquires=taken is not None)
        player.block(
            *player.lobe("z", -echo.excitation.half_area, echo.before_s),
            *player.lobe(player.read, -readout.half_area, echo.before_s),
            *player.lobe(player.phase, area, echo.before_s),
            seconds=echo.before_s,
        )
        if taken is None:
            player.block(readout.gradient)
        else:
            player.acquire(readout, {"LIN": taken[0], "AVG": taken[1], **labels}, phase_rad=phase)
        spoiler_s = _up(player.shortest(player.crusher_area, player.widest_line_area), _RASTER_S)
        player.block(
            *player.lobe("z", player.crusher_area, spoiler_s),
            *player.lobe(player.phase, -area, spoiler_s),
            seconds=echo.after_s,
        )


def _dummies(player: _Player) -> int:
    """Return how many excitations bring a spoiled gradient echo near its steady state, however long T1 is."""
    left = abs(math.cos(math.radians(player.settings["flip_angle_deg"])))
    return 1 if left < _NOT_YET_STEADY else math.ceil(math.log(_NOT_YET_STEADY) / math.log(left))


def _steady_note(dummies: int) -> str:
    return f"{dummies} excitations without acquisition lead to the steady state"


# ---- diffusion-weighted echo-planar imaging ----------------------------------------------------------------


@dataclass(frozen=True)
class _Planar:
    """A single-shot spin echo EPI; all times in seconds."""

    excitation: _Pulse
    refocusing: _Pulse
    readout: _Readout
    lines: tuple[int, ...]
    blip_s: float
    rephase_s: float
    crusher_s: float
    prephase_s: float
    lobe_s: float
    """One diffusion gradient, ramps included."""
    between_s: float
    """From the end of the first diffusion gradient to the crusher."""
    slack_s: float
    """From the end of the second diffusion gradient to the readout."""
    ramp_s: float

    @property
    def apart_s(self) -> float:
        """From the start of the first diffusion gradient to that of the second."""
        return self.lobe_s + self.between_s + 2 * self.crusher_s + self.refocusing.seconds

    def b_per_gradient_squared(self) -> float:
        """Return b over the square of the gradient [s/m^2 over (Hz/m)^2] (Stejskal and Tanner 1965, trapezoids)."""
        delta, ramp = self.lobe_s - self.ramp_s, self.ramp_s
        return (2 * math.pi) ** 2 * (delta**2 * (self.apart_s - delta / 3) + ramp**3 / 30 - delta * ramp**2 / 6)


def _diffusion_planar(player: _Player) -> list[str]:
    scan, settings = player.scan, player.settings
    b_values = np.asarray(scan.what["b_s_per_mm2"]).astype(np.float64)
    highest = float(b_values[scan.counts > 0].max())
    planar = _planar(player, highest)
    _play_planar(player, planar, 0.0, (0, 0, 0), None)
    for shot in np.flatnonzero(scan.counts):
        gradient = math.sqrt(b_values[shot] * 1e6 / planar.b_per_gradient_squared())
        for average in range(int(scan.counts[shot])):
            direction = _DIRECTIONS[average % len(_DIRECTIONS)]
            _play_planar(player, planar, gradient, direction, {"SET": int(shot), "AVG": average})
    rest = np.where(b_values > 0, scan.counts % len(_DIRECTIONS), 0)
    notes = [
        "one repetition without acquisition comes first",
        "diffusion gradients in tetrahedral directions, one average after another: four averages make the trace",
        f"echo spacing {1000 * (planar.readout.seconds + planar.blip_s):.3g} ms",
    ]
    if rest.any():
        names = ", ".join(f"b = {b_values[shot]:g}" for shot in np.flatnonzero(rest))
        notes.append(f"averages of {names} are no multiple of four: their directions do not make the whole trace")
    if settings.get("parallel_imaging", 1) > 1:
        notes.append(
            f"{len(planar.lines)} of {player.lines} lines in every repetition; parallel imaging fills the rest"
        )
    return notes


def _planar(player: _Player, highest_s_per_mm2: float) -> _Planar:
    """Return a spin echo EPI that reaches the highest b-value within the echo time."""
    settings = player.settings
    factor = settings.get("parallel_imaging", 1.0)
    if not float(factor).is_integer():
        raise NotPlayableError(f"parallel imaging by {factor:g} leaves out no regular lines")
    step = int(factor)
    centre = player.lines // 2
    lines = tuple(range(centre % step, player.lines, step))
    blip_area = step / player.fov_m[player.phase]
    blip_s = _up(player.shortest(blip_area), _RASTER_S)
    readout = min(player.readouts(_LONGEST_READOUT_S), key=lambda one: one.seconds, default=None)
    if readout is None:
        raise NotPlayableError(
            f"{player.columns} samples need a stronger readout gradient than {MAX_GRADIENT_MT_PER_M:g} mT/m"
        )
    to_centre = lines.index(centre) * (readout.seconds + blip_s) + readout.seconds / 2
    prephase_s = _up(player.shortest(readout.half_area, player.widest_line_area), _RASTER_S)
    crusher_s = _up(player.shortest(player.crusher_area), _RASTER_S)
    ramp_s = _up(player.system.max_grad / player.system.max_slew, _RASTER_S)
    half = _RASTER_S * round(settings["echo_time_s"] / 2 / _RASTER_S)
    for seconds in _PULSES_S:
        excitation = player.pulse(90.0, seconds, "excitation", math.pi / 2)
        refocusing = player.pulse(180.0, seconds, "refocusing")
        if excitation is None or refocusing is None:
            continue
        rephase_s = _up(player.shortest(excitation.half_area), _RASTER_S)
        first = half - excitation.seconds / 2 - rephase_s - crusher_s - refocusing.seconds / 2
        second = half - refocusing.seconds / 2 - crusher_s - prephase_s - to_centre
        lobe_s = math.floor(min(first, second) / _RASTER_S + 1e-6) * _RASTER_S
        if lobe_s < 2 * ramp_s:
            continue
        planar = _Planar(
            excitation, refocusing, readout, lines, blip_s, rephase_s, crusher_s, prephase_s, lobe_s,
            between_s=_rastered(first - lobe_s), slack_s=_rastered(second - lobe_s), ramp_s=ramp_s,
        )  # fmt: skip
        if highest_s_per_mm2 * 1e6 <= player.system.max_grad**2 * 3 * planar.b_per_gradient_squared():
            return planar
    raise NotPlayableError(
        f"TE = {settings['echo_time_s'] * 1000:g} ms does not hold diffusion gradients for b = {highest_s_per_mm2:g} "
        f"s/mm^2 and {len(lines)} lines of {player.columns} samples"
    )


def _play_planar(
    player: _Player, planar: _Planar, gradient: float, direction: Sequence[int], labels: Mapping[str, int] | None
) -> None:
    """Add one repetition; `gradient` is the length of the diffusion gradient in all axes together [Hz/m]."""
    began, pp = player.elapsed_s, player.pp
    lobes = [
        pp.make_trapezoid(
            axis,
            amplitude=sign * gradient / math.sqrt(3),
            rise_time=planar.ramp_s,
            flat_time=planar.lobe_s - 2 * planar.ramp_s,
            system=player.system,
        )
        for axis, sign in zip("xyz", direction, strict=True)
        if sign and gradient
    ]
    crusher = player.lobe("z", player.crusher_area, planar.crusher_s)
    player.excite(planar.excitation, acquires=labels is not None)
    player.block(*player.lobe("z", -planar.excitation.half_area, planar.rephase_s), seconds=planar.rephase_s)
    player.block(*lobes, seconds=planar.lobe_s)
    player.block(seconds=planar.between_s)
    player.block(*crusher, seconds=planar.crusher_s)
    player.block(planar.refocusing.rf, planar.refocusing.gradient)
    player.block(*crusher, seconds=planar.crusher_s)
    player.block(*lobes, seconds=planar.lobe_s)
    readout = planar.readout
    player.block(seconds=planar.slack_s)
    player.block(
        *player.lobe(player.read, -readout.half_area, planar.prephase_s),
        *player.lobe(player.phase, player.line_area(planar.lines[0]), planar.prephase_s),
        seconds=planar.prephase_s,
    )
    forth = readout.gradient
    back = pp.scale_grad(forth, -1.0)
    for number, line in enumerate(planar.lines):
        reverse = number % 2
        if number:
            blip = (line - planar.lines[number - 1]) / player.fov_m[player.phase]
            player.block(*player.lobe(player.phase, blip, planar.blip_s), seconds=planar.blip_s)
        played = _Readout(back if reverse else forth, readout.adc, readout.seconds)
        if labels is None:
            player.block(played.gradient)
        else:
            player.acquire(played, {"LIN": line, "REV": reverse, **labels}, phase_rad=math.pi / 2)
    player.block(*player.lobe("z", 2 * player.crusher_area))
    player.wait_until(began + player.repetition_s, "TR")


_PLAYERS: dict[str, Callable[[_Player], list[str]]] = {
    "turbo spin echo": _turbo_spin_echo,
    "inversion recovery turbo spin echo": _turbo_spin_echo,
    "spin echo": _turbo_spin_echo,
    "spoiled gradient echo": _spoiled_gradient_echo,
    "dynamic spoiled gradient echo": _dynamic_gradient_echo,
    "dynamic spoiled gradient echo, k-t sampling": _dynamic_gradient_echo,
    "diffusion-weighted single-shot spin echo EPI": _diffusion_planar,
}


def _rastered(seconds: float) -> float:
    return round(seconds / _RASTER_S) * _RASTER_S


def _up(seconds: float, step: float) -> float:
    return math.ceil(seconds / step - 1e-6) * step
