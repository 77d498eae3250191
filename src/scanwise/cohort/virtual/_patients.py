"""From the specification of an organ to one patient: draw the world, the patient and the lesions, then render."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.cohort.virtual._anatomy import SHADING_MODES, Box, Canvas, Floats, Outline, Texture, paint, pooled
from scanwise.cohort.virtual._spec import OUTLINE_HARMONICS, Doubt, Finding, Organ, Quantity, Site, Tissue
from scanwise.design import TISSUE_MAPS

MAX_PER_CLASS = 8
"""No more findings of one class in one patient: cuts the far tail of a Poisson distribution."""
LEAST_SHARE = 0.2
"""No draw of a property is below this share of its mean: a normal distribution has a tail that tissue has not."""
MAX_T2_OVER_T1 = 0.95
_LEAST_TEXTURE = 0.3
"""Texture never takes a map below this share of its value."""
_CLEAR_MM = 1.5
"""A lesion is centred where its zone reaches this far to all sides, if it does anywhere."""
_TURN_SD = 0.3
"""How far lesions are turned off the tangent of their zone [rad]."""
_FIELD_OF: Mapping[str, int] = {
    "adc_mm2_per_s": 1,
    "kurtosis": 1,
    "ktrans_per_s": 2,
    "ve": 2,
    "vp": 2,
    "iodine_mg_per_ml": 2,
}
"""Which random field a property follows; 0, that of T2 and of X-ray attenuation, where not named."""
_N_FIELDS = 3
_WORLD_STREAM = 1_000_003
"""Keeps the streams of worlds apart from those of patients."""


def world_shift(world: int, path: str, between_worlds: float) -> float:
    """Return by how much a mean of this world is off the published one; world 0 is as published."""
    if world == 0 or between_worlds == 0:
        return 0.0
    rng = np.random.default_rng([_WORLD_STREAM, world, zlib.crc32(path.encode())])
    return float(between_worlds * rng.standard_normal())


def doubts(organ: Organ) -> dict[str, Doubt]:
    """Return the means of an organ that the literature leaves open, by where they stand in its specification."""
    found = {}
    painted = {f"tissues.{name}": tissue for name, tissue in organ.tissues.items()}
    painted |= {f"findings.{name}.tissue": finding.tissue for name, finding in organ.findings.items()}
    for path, tissue in painted.items():
        for name, quantity in tissue.properties.items():
            found[f"{path}.{name}"] = Doubt(quantity.mean, quantity.between_worlds, quantity.log)
    for name, finding in organ.findings.items():
        if any(finding.rate):
            mean = math.log(sum(finding.rate) / len(finding.rate))
            found[f"findings.{name}.per_patient"] = Doubt(mean, finding.rate_between_worlds, log=True)
    for name, quantity in organ.covariates.items():
        found[f"covariates.{name}"] = Doubt(quantity.mean, quantity.between_worlds, quantity.log)
    return {path: doubt for path, doubt in found.items() if doubt.sd > 0}


class _Draw:
    """The properties of some tissues in one world, ready to be drawn: arrays ``(tissues, properties)``."""

    def __init__(
        self,
        tissues: Mapping[str, Tissue],
        organ: Organ,
        shift_of: Callable[[str, float], float],
        spread: Mapping[str, float],
    ) -> None:
        names = organ.properties
        none = Quantity(mean=0.0)
        told = [[tissue.properties.get(name, none) for name in names] for tissue in tissues.values()]

        def table(of: Callable[[Quantity], float]) -> NDArray[np.float64]:
            return np.array([[of(quantity) for quantity in row] for row in told], dtype=np.float64)

        shift = np.array(
            [
                [shift_of(f"{path}.{name}", quantity.between_worlds) for name, quantity in zip(names, row, strict=True)]
                for path, row in zip(tissues, told, strict=True)
            ]
        )
        self.given = np.array([[name in tissue.properties for name in names] for tissue in tissues.values()])
        self.log = table(lambda quantity: quantity.log) > 0
        self.mean: dict[str, NDArray[np.float64]] = {}
        for diagnosis in organ.diagnoses:
            published = table(lambda quantity, diagnosis=diagnosis: quantity.centre(diagnosis))  # type: ignore[misc]
            least = np.where(self.log, -np.inf, LEAST_SHARE * published)
            self.mean[diagnosis] = np.maximum(published + shift, least)
        self.sd = table(lambda quantity: quantity.sd) * np.array([spread.get(name, 1.0) for name in names])
        self.low, self.high = table(lambda quantity: quantity.low), table(lambda quantity: quantity.high)
        self.correlation = np.array([tissue.t2_adc_correlation for tissue in tissues.values()])
        self.pair = None
        if {"t2_s", "adc_mm2_per_s"} <= set(names):
            self.pair = names.index("t2_s"), names.index("adc_mm2_per_s")

    def __call__(self, diagnosis: str, normal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the properties of standard normal numbers, both of shape ``(tissues, properties)``."""
        if self.pair is not None:
            t2, adc = self.pair
            r = self.correlation
            normal[:, adc] = r * normal[:, t2] + np.sqrt(1 - r * r) * normal[:, adc]
        mean = self.mean[diagnosis]
        value = mean + self.sd * normal
        value = np.where(self.log, np.exp(np.where(self.log, value, 0.0)), np.maximum(value, LEAST_SHARE * mean))
        limited: NDArray[np.float64] = np.clip(value, self.low, self.high)
        return limited


class _World:
    """One draw of what is not known for certain: the means of all tissues, findings and covariates."""

    def __init__(self, organ: Organ, world: int, moved: Mapping[str, float]) -> None:
        def shift_of(path: str, between_worlds: float) -> float:
            return world_shift(world, path, between_worlds) + moved.get(path, 0.0) * between_worlds

        named = {f"tissues.{name}": tissue for name, tissue in organ.tissues.items()}
        self.tissues = _Draw(named, organ, shift_of, {})
        self.findings = {
            name: _Draw({f"findings.{name}.tissue": finding.tissue}, organ, shift_of, organ.spread)
            for name, finding in organ.findings.items()
        }
        self.rates = {
            name: [
                rate * math.exp(shift_of(f"findings.{name}.per_patient", finding.rate_between_worlds))
                for rate in finding.rate
            ]
            for name, finding in organ.findings.items()
        }
        self.covariates = {
            name: shift_of(f"covariates.{name}", quantity.between_worlds) for name, quantity in organ.covariates.items()
        }


@dataclass
class Lesion:
    """One finding of one patient: a row of the lesion table."""

    kind: str
    zone: str
    grade: int
    diameter_mm: float
    values: NDArray[np.float64]
    """Drawn properties, shape ``(properties,)``, NaN where the finding sets none."""
    y_mm: float = math.nan
    x_mm: float = math.nan
    area_mm2: float = 0.0


@dataclass
class Patient:
    """One patient as drawn; the images are in the `Batch`."""

    world: int
    site: str
    diagnosis: str
    covariates: dict[str, float]
    tissue: NDArray[np.float64]
    """Drawn properties of each tissue, shape ``(tissues, properties)``."""
    field_t: float
    noise: float
    arterial_scale: float
    lesions: list[Lesion] = field(default_factory=list)


@dataclass
class Batch:
    """Patients that were rendered together.

    Parameters
    ----------
    patients : as drawn.
    maps : tissue, shape ``(properties, patients, y, x)``.
    gain : receive sensitivity, shape ``(patients, y, x)``.
    masks : share of each cell that is diseased, for the label and each target, 255 = all, shape
        ``(patients, 1 + targets, y, x)``.
    """

    patients: list[Patient]
    maps: Floats
    gain: Floats
    masks: NDArray[np.uint8]


class Painter:
    """Draws and renders the patients of one virtual cohort, each from its own random stream.

    Parameters
    ----------
    organ, sites : as specified.
    worlds : the worlds patients are dealt to in turn.
    seed : of the patients.
    moved : means that are other ones than in these worlds: by how many standard deviations of their `doubts`.
    """

    def __init__(
        self,
        organ: Organ,
        sites: Mapping[str, Site],
        worlds: Sequence[int],
        seed: int,
        moved: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.organ = organ
        self.sites = dict(sites)
        self.worlds = tuple(worlds)
        self.seed = seed
        geometry = organ.geometry
        self.canvas = Canvas(geometry.fov_mm, geometry.matrix)
        self._drawn_worlds = {world: _World(organ, world, moved) for world in self.worlds}
        self._texture = Texture(self.canvas, organ.patchiness.scale_mm)
        self._shading = Texture(self.canvas, max(geometry.fov_mm) / math.pi, modes=SHADING_MODES)
        names = organ.properties
        painted = {**organ.tissues, **{name: finding.tissue for name, finding in organ.findings.items()}}
        self._textured = [name for name in names if any(tissue.texture.get(name) for tissue in painted.values())]
        self._amplitudes = {
            name: np.array([tissue.texture.get(key, 0.0) for key in self._textured], dtype=np.float32)
            for name, tissue in painted.items()
        }
        self._shares = np.cumsum([site.share for site in self.sites.values()])
        self._by_class = [
            [name for name in organ.diagnoses if (name in organ.positive) == bool(label)] for label in (0, 1)
        ]
        self._zones = list(dict.fromkeys(zone for finding in organ.findings.values() for zone in finding.zone))
        self._tissue_row = {name: row for row, name in enumerate(organ.tissues)}
        self._limits = [TISSUE_MAPS[name] for name in names]

    # ---- drawing ------------------------------------------------------------------------------------------------

    def batch(self, rows: Sequence[int]) -> Batch:
        """Draw and render patients; each depends on the seed and the row, not on the others."""
        organ, n = self.organ, len(rows)
        batch = Batch(
            patients=[],
            maps=np.empty((len(organ.properties), n, *self.canvas.matrix), dtype=np.float32),
            gain=np.empty((n, *self.canvas.matrix), dtype=np.float32),
            masks=np.zeros((n, 1 + len(organ.targets), *organ.geometry.lesion_matrix), dtype=np.uint8),
        )
        # below the properties, one map per textured property: how strong its texture is
        stack = np.empty((len(organ.properties) + len(self._textured), *self.canvas.matrix), dtype=np.float32)
        for index, row in enumerate(rows):
            self._one(batch, index, row, stack)
        return batch

    def _one(self, batch: Batch, index: int, row: int, stack: Floats) -> None:
        organ = self.organ
        rng = np.random.default_rng([self.seed, row])
        number = self.worlds[row % len(self.worlds)]
        world = self._drawn_worlds[number]
        of_site, of_class, of_diagnosis = rng.random(3)
        name = list(self.sites)[min(int(np.searchsorted(self._shares, of_site, side="right")), len(self.sites) - 1)]
        site = self.sites[name]
        odds = organ.prevalence / (1 - organ.prevalence) * site.odds
        positive = bool(of_class < odds / (1 + odds))
        candidates = self._by_class[positive]
        shares = np.cumsum([organ.diagnoses[key].share for key in candidates])
        diagnosis = candidates[min(int(np.searchsorted(shares, of_diagnosis, side="right")), len(candidates) - 1)]
        covariates = self._covariates(diagnosis, positive, site, world, rng.standard_normal(len(organ.covariates)))
        normal = rng.standard_normal((len(organ.tissues), len(organ.properties)))
        tissue = world.tissues(diagnosis, normal)
        scanner = rng.standard_normal(3)
        shading = rng.standard_normal((1, *self._shading.shape), dtype=np.float32)
        fields = rng.standard_normal((_N_FIELDS, *self._texture.shape), dtype=np.float32)
        outlines = self._outlines(covariates, rng)
        gain = math.log(site.gain) + organ.scanner.gain_sd * scanner[0]
        patient = Patient(
            world=number,
            site=name,
            diagnosis=diagnosis,
            covariates=covariates,
            tissue=tissue,
            field_t=site.field_t,
            noise=site.noise * math.exp(organ.scanner.noise_sd * scanner[1]),
            arterial_scale=math.exp(organ.scanner.arterial_sd * scanner[2]),
        )
        batch.patients.append(patient)
        np.exp(
            np.float32(gain) + np.float32(organ.scanner.shading_sd) * self._shading(shading)[0], out=batch.gain[index]
        )
        self._render(patient, world, positive, outlines, stack, batch.masks[index], rng)
        self._finish(stack, fields, batch.maps[:, index])

    def _covariates(
        self, diagnosis: str, positive: bool, site: Site, world: _World, normal: NDArray[np.float64]
    ) -> dict[str, float]:
        correlated = self.organ.factor[positive] @ normal if len(normal) else normal
        drawn = {}
        for (name, quantity), z in zip(self.organ.covariates.items(), correlated, strict=True):
            value = quantity.centre(diagnosis) + world.covariates[name] + site.shift.get(name, 0.0) + quantity.sd * z
            value = math.exp(value) if quantity.log else value
            drawn[name] = float(min(max(value, quantity.low), quantity.high))
        return drawn

    def _outlines(self, covariates: Mapping[str, float], rng: np.random.Generator) -> dict[str, Outline]:
        regions = self.organ.regions
        normal = rng.standard_normal((len(regions), 4 + 2 * len(OUTLINE_HARMONICS)))
        drawn: dict[str, Outline] = {}
        waiting = list(zip(regions, normal, strict=True))
        while waiting:  # a region that is inside another one waits for it; the specification has no circles
            name, z = waiting.pop(0)
            region = regions[name]
            if region.inside is not None and region.inside not in drawn:
                waiting.append((name, z))
                continue
            grown = (covariates[region.follows] / region.reference) ** region.exponent if region.follows else 1.0
            half = [size / 2 * grown * math.exp(region.size_sd * z[2 + axis]) for axis, size in enumerate(region.size)]
            middle = list(region.centre)
            if region.inside is not None:
                outer = drawn[region.inside]
                half = [2 * size * of for size, of in zip(half, (outer.half_y, outer.half_x), strict=True)]
                middle = [outer.y + middle[0] * outer.half_y, outer.x + middle[1] * outer.half_x]
            drawn[name] = Outline(
                y=middle[0] + region.centre_sd * z[0],
                x=middle[1] + region.centre_sd * z[1],
                half_y=half[0],
                half_x=half[1],
                harmonics=_harmonics(region.outline_sd, z[4:]),
                edge_mm=region.edge_mm,
            )
        return drawn

    # ---- rendering ----------------------------------------------------------------------------------------------

    def _render(
        self,
        patient: Patient,
        world: _World,
        positive: bool,
        outlines: Mapping[str, Outline],
        stack: Floats,
        mask: NDArray[np.uint8],
        rng: np.random.Generator,
    ) -> None:
        organ = self.organ
        stretch = self._stretch(patient.field_t)
        stack[:] = self._values(organ.background, patient.tissue[self._tissue_row[organ.background]] * stretch)[
            :, None, None
        ]
        visible = {zone: np.zeros(self.canvas.matrix, dtype=np.float32) for zone in self._zones}
        boxes: dict[str, Box] = {}
        for name, region in organ.regions.items():
            box = boxes[name] = self.canvas.box(outlines[name])
            share = self.canvas.ellipse(outlines[name], box)
            paint(
                stack,
                box,
                share,
                self._values(region.tissue, patient.tissue[self._tissue_row[region.tissue]] * stretch),
            )
            for zone, shown in visible.items():
                here = shown[box]
                here += share - here if zone == name else -share * here
        fine = None
        for kind, finding in organ.findings.items():
            for _ in range(self._how_many(kind, finding, patient.diagnosis, positive, world, rng)):
                lesion, box, share = self._lesion(kind, finding, patient, world, outlines, boxes, visible, rng)
                patient.lesions.append(lesion)
                if share.size == 0:
                    continue
                draw = world.findings[kind]
                given = np.concatenate(
                    [draw.given[0].astype(np.float32), np.array(self._amplitudes[kind] > 0, dtype=np.float32)]
                )
                paint(stack, box, share, self._values(kind, np.nan_to_num(lesion.values) * stretch), given)
                if finding.number and patient.diagnosis in self._diseased:
                    fine = np.zeros((len(mask), *self.canvas.matrix), dtype=np.float32) if fine is None else fine
                    for channel in self._channels(patient.diagnosis):
                        here = fine[channel][box]
                        np.maximum(here, share, out=here)
        if fine is not None:
            mask[:] = np.rint(255 * pooled(fine, organ.geometry.lesion_matrix)).astype(np.uint8)

    def _finish(self, stack: Floats, fields: Floats, out: Floats) -> None:
        """Lay the texture over the maps and keep them physical."""
        names = self.organ.properties
        texture = self._texture(fields)
        r = np.float32(self.organ.patchiness.t2_adc_correlation)
        texture[1] = r * texture[0] + np.sqrt(1 - r * r) * texture[1]
        maps = stack[: len(names)]
        for amplitude, name in zip(stack[len(names) :], self._textured, strict=True):
            amplitude *= texture[_FIELD_OF.get(name, 0)]
            amplitude += 1
            maps[names.index(name)] *= np.maximum(amplitude, _LEAST_TEXTURE, out=amplitude)
        for values, kept, (low, high) in zip(maps, out, self._limits, strict=True):
            np.clip(values, np.float32(low), np.float32(high), out=kept)
        if {"t1_s", "t2_s"} <= set(names):
            t1, t2 = out[names.index("t1_s")], out[names.index("t2_s")]
            np.minimum(t2, np.float32(MAX_T2_OVER_T1) * t1, out=t2)

    def _lesion(
        self,
        kind: str,
        finding: Finding,
        patient: Patient,
        world: _World,
        outlines: Mapping[str, Outline],
        boxes: Mapping[str, Box],
        visible: Mapping[str, Floats],
        rng: np.random.Generator,
    ) -> tuple[Lesion, Box, Floats]:
        """Draw one finding and where it shows: its row of the table, its box, and its share of each point there."""
        of_zone, of_place, of_opacity = rng.random(3)
        z = rng.standard_normal(3 + 2 * len(OUTLINE_HARMONICS))
        draw = world.findings[kind]
        values = draw(patient.diagnosis, rng.standard_normal((1, len(self.organ.properties))))[0]
        shares = np.cumsum(list(finding.zone.values()))
        zone = list(finding.zone)[min(int(np.searchsorted(shares, of_zone, side="right")), len(shares) - 1)]
        lesion = Lesion(
            kind=kind,
            zone=zone,
            grade=self.organ.diagnoses[patient.diagnosis].grade if finding.number else 0,
            diameter_mm=_drawn(finding.diameter_mm, patient.diagnosis, z[0]) if finding.diameter_mm else math.nan,
            values=np.where(draw.given[0], values, np.nan),
        )
        outer, box = outlines[zone], boxes[zone]
        if finding.shape == "diffuse":
            share = visible[zone][box].copy()
        else:
            place = self._place(visible[zone], box, of_place)
            if place is None:  # nothing of the zone shows
                return lesion, box, np.empty(0, dtype=np.float32)
            lesion.y_mm, lesion.x_mm = place
            if finding.shape == "wedge":
                share = self.canvas.sector(outer, place, lesion.diameter_mm, box, finding.edge_mm)
            else:
                aspect = _drawn(finding.aspect, patient.diagnosis, z[1]) if finding.aspect else 1.0
                half = lesion.diameter_mm / 2
                # the long axis lies along the zone, across the line from its middle
                turn = math.atan2(place[0] - outer.y, place[1] - outer.x) + math.pi / 2 + _TURN_SD * z[2]
                outline = Outline(
                    y=place[0],
                    x=place[1],
                    half_y=half * aspect,
                    half_x=half,
                    turn=turn,
                    harmonics=_harmonics(finding.outline_sd, z[3:]),
                    edge_mm=finding.edge_mm,
                )
                box = self.canvas.box(outline)
                share = self.canvas.ellipse(outline, box)
            share *= visible[zone][box]
        lesion.area_mm2 = float(share.sum()) * self.canvas.step[0] * self.canvas.step[1]
        low, high = finding.opacity
        share *= np.float32(low + (high - low) * of_opacity)
        return lesion, box, share

    def _place(self, visible: Floats, box: Box, uniform: float) -> tuple[float, float] | None:
        """Return a point of a zone, evenly among those well within it, as ``(y, x)`` [mm]."""
        inside = visible[box] > 0.5
        by_y, by_x = (max(1, round(_CLEAR_MM / step)) for step in self.canvas.step)
        clear = inside.copy()
        clear[by_y:] &= inside[:-by_y]
        clear[:-by_y] &= inside[by_y:]
        clear[:, by_x:] &= inside[:, :-by_x]
        clear[:, :-by_x] &= inside[:, by_x:]
        points = np.flatnonzero(clear)
        if not points.size:
            points = np.flatnonzero(inside)
        if not points.size:
            return None
        row, column = divmod(int(points[int(uniform * points.size)]), inside.shape[1])
        return float(self.canvas.y[box[0]][row]), float(self.canvas.x[box[1]][column])

    def _how_many(
        self, kind: str, finding: Finding, diagnosis: str, positive: bool, world: _World, rng: np.random.Generator
    ) -> int:
        if not finding.number:
            return min(int(rng.poisson(world.rates[kind][positive])), MAX_PER_CLASS)
        if self.organ.diagnoses[diagnosis].lesion != kind:
            return 0
        return min(int(np.searchsorted(np.cumsum(finding.number), rng.random(), side="right")), len(finding.number) - 1)

    def _values(self, name: str, properties: NDArray[np.float64]) -> Floats:
        return np.concatenate([properties.astype(np.float32), self._amplitudes[name]])

    def _stretch(self, field_t: float) -> NDArray[np.float64]:
        """Return the factor of the field on each property: T1 grows with it."""
        geometry = self.organ.geometry
        grown = (field_t / geometry.reference_field_t) ** geometry.t1_field_exponent
        return np.array([grown if name == "t1_s" else 1.0 for name in self.organ.properties])

    @property
    def _diseased(self) -> set[str]:
        return {*self.organ.positive, *(name for members in self.organ.targets.values() for name in members)}

    def _channels(self, diagnosis: str) -> list[int]:
        groups: list[Any] = [self.organ.positive, *self.organ.targets.values()]
        return [channel for channel, members in enumerate(groups) if diagnosis in members]


def _harmonics(sd: float, z: NDArray[np.float64]) -> tuple[tuple[int, float, float], ...]:
    if not sd:
        return ()
    return tuple((order, float(sd * z[2 * i]), float(sd * z[2 * i + 1])) for i, order in enumerate(OUTLINE_HARMONICS))


def _drawn(quantity: Quantity, diagnosis: str, z: float) -> float:
    value = quantity.centre(diagnosis) + quantity.sd * z
    return float(min(max(math.exp(value) if quantity.log else value, quantity.low), quantity.high))
