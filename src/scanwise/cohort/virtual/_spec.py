"""The specification of a virtual organ: read from plain data, each number with its source, refused where wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.design import TISSUE_MAPS
from scanwise.errors import ScanwiseError, did_you_mean

CONFIDENCE = ("high", "medium", "low", "assumed")
"""How sure a number is; the last two make it an assumption that reports list."""
ASSUMED = ("low", "assumed")
SHAPES = ("ellipse", "wedge", "diffuse")
"""Forms of a finding: a blob, a sector seen from the middle of its zone, or the whole zone."""
PROPERTIES = tuple(TISSUE_MAPS)
XRAY_PROPERTIES = ("attenuation_per_cm", "iodine_mg_per_ml")
"""Maps that need no magnet: where an organ has no others, its sites need no field."""
OUTLINE_HARMONICS = (2, 3, 4)
"""Fourier orders that perturb the radius of an ellipse."""

_EVIDENCE = ("source", "confidence")
_SHARE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Quantity:
    """A number that varies: between worlds, and between what is drawn in one world.

    Parameters
    ----------
    mean, sd : of what is drawn in one world; of the natural logarithm where `log`.
    between_worlds : standard deviation of the mean between worlds: how little is known.
    log : whether the logarithm is normally distributed.
    low, high : limits of the number itself.
    by : mean per diagnosis, in place of `mean`.
    """

    mean: float
    sd: float = 0.0
    between_worlds: float = 0.0
    log: bool = False
    low: float = -math.inf
    high: float = math.inf
    by: Mapping[str, float] = field(default_factory=dict)

    def centre(self, diagnosis: str) -> float:
        """Return the mean for a diagnosis."""
        return self.by.get(diagnosis, self.mean)


@dataclass(frozen=True)
class Doubt:
    """A published mean, and how far the literature disagrees about it.

    Parameters
    ----------
    mean, sd : of the natural logarithm where `log`.
    """

    mean: float
    sd: float
    log: bool = False

    def at(self, moved: float) -> float:
        """Return the number itself, moved by so many standard deviations."""
        value = self.mean + moved * self.sd
        return math.exp(value) if self.log else value


@dataclass(frozen=True)
class Tissue:
    """What a piece of tissue is to the scanner: `TISSUE_MAPS` it sets, and how patchy they are.

    Parameters
    ----------
    properties : one quantity per map; what a finding leaves out stays as it was.
    t2_adc_correlation : of T2 with ADC among draws.
    texture : standard deviation within the tissue as a share of the local value, per map.
    """

    properties: Mapping[str, Quantity]
    t2_adc_correlation: float = 0.0
    texture: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Region:
    """A smooth random shape of one tissue; later regions cover earlier ones.

    Parameters
    ----------
    tissue : what it is made of.
    centre, size : middle and full axes ``(y, x)`` [mm]; in half axes and axes of the region that `inside` names.
    inside : the region that this one moves and grows with.
    centre_sd, size_sd, outline_sd : between patients: middle [mm], ln size, Fourier coefficients of the radius.
    edge_mm : width over which it fades out.
    follows, reference, exponent : size is multiplied by ``(covariate / reference) ** exponent``.
    """

    tissue: str
    centre: tuple[float, float]
    size: tuple[float, float]
    inside: str | None = None
    centre_sd: float = 0.0
    size_sd: float = 0.0
    outline_sd: float = 0.0
    edge_mm: float = 1.0
    follows: str | None = None
    reference: float = 1.0
    exponent: float = 0.0


@dataclass(frozen=True)
class Finding:
    """A class of lesion, mimic, nodule or inflammation.

    Parameters
    ----------
    tissue : what it sets.
    shape : one of `SHAPES`.
    zone : share of each region.
    diameter_mm, aspect : longest diameter, and the shorter as a share of it.
    outline_sd, edge_mm : as of a region.
    opacity : ``(low, high)`` of the share by which it replaces the tissue, drawn evenly.
    number : shares of patients with 0, 1, 2 ... of them, where it belongs to diagnoses.
    rate : mean number in ``(negative, positive)`` patients where it belongs to none, Poisson.
    rate_between_worlds : standard deviation of the logarithm of the rate between worlds.
    """

    tissue: Tissue
    shape: str
    zone: Mapping[str, float]
    diameter_mm: Quantity | None
    aspect: Quantity | None
    outline_sd: float
    edge_mm: float
    opacity: tuple[float, float]
    number: tuple[float, ...] = ()
    rate: tuple[float, float] = (0.0, 0.0)
    rate_between_worlds: float = 0.0


@dataclass(frozen=True)
class Diagnosis:
    """What a patient has, exactly one.

    Parameters
    ----------
    share : among the positive patients, or among the negative ones.
    grade : a number for people, such as an ISUP grade group; 0 = none.
    lesion : the finding it brings, or `None`.
    """

    share: float
    grade: int = 0
    lesion: str | None = None


@dataclass(frozen=True)
class Site:
    """Where patients are examined.

    Parameters
    ----------
    share : of the patients.
    field_t : main field [T]; left out where an organ renders nothing that is magnetic.
    noise : standard deviation relative to the reference of each modality.
    gain : receive sensitivity.
    odds : factor on the odds of a positive diagnosis.
    shift : added to the mean of covariates (of their logarithm where that is drawn).
    """

    share: float
    field_t: float = 3.0
    noise: float = 1.0
    gain: float = 1.0
    odds: float = 1.0
    shift: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Geometry:
    """The slice and the matrices: field of view [mm], rendered matrix, matrix of the lesion masks, all ``(y, x)``."""

    fov_mm: tuple[float, float]
    matrix: tuple[int, int]
    lesion_matrix: tuple[int, int]
    reference_field_t: float
    t1_field_exponent: float
    """T1 is multiplied by ``(field / reference_field_t) ** t1_field_exponent``."""


@dataclass(frozen=True)
class Patchiness:
    """Texture of all tissues: correlation length [mm], and correlation of the T2 with the ADC texture."""

    scale_mm: float
    t2_adc_correlation: float = 0.0


@dataclass(frozen=True)
class Scanner:
    """What differs between two examinations on one scanner: standard deviations of natural logarithms."""

    gain_sd: float = 0.0
    """Of the receive sensitivity as a whole."""
    shading_sd: float = 0.0
    """Of its smooth variation over the field of view."""
    noise_sd: float = 0.0
    arterial_sd: float = 0.0
    """Of the contrast agent that arrives."""


@dataclass(frozen=True)
class Organ:
    """A virtual organ, checked."""

    geometry: Geometry
    patchiness: Patchiness
    scanner: Scanner
    prevalence: float
    diagnoses: Mapping[str, Diagnosis]
    positive: tuple[str, ...]
    targets: Mapping[str, tuple[str, ...]]
    covariates: Mapping[str, Quantity]
    units: Mapping[str, str]
    factor: tuple[NDArray[np.float64], NDArray[np.float64]]
    """Cholesky factors of the correlation of the covariates, for negative and for positive patients."""
    tissues: Mapping[str, Tissue]
    background: str
    regions: Mapping[str, Region]
    findings: Mapping[str, Finding]
    spread: Mapping[str, float]
    """Factors on the standard deviation of a property among findings."""
    properties: tuple[str, ...]
    """The maps that are rendered."""


def read_organ(spec: Mapping[str, Any], sites: Mapping[str, Any]) -> tuple[Organ, dict[str, Site]]:
    """Read and check the specification of an organ and its sites.

    Raises
    ------
    ScanwiseError
        For an unknown or missing key, a number without source or confidence, what is not physical, shares that do not
        sum to 1, or a name that is not defined.
    """
    for _ in sourced({"organ": spec, "sites": sites}):
        pass
    known = {
        "geometry": True,
        "texture": True,
        "scanner": True,
        "prevalence": True,
        "diagnoses": True,
        "positive": True,
        "targets": False,
        "covariates": False,
        "covariate_correlation": False,
        "tissues": True,
        "background": True,
        "regions": True,
        "findings": True,
        "spread": False,
    }
    told = _keys("organ", spec, required=[k for k, must in known.items() if must], optional=list(known))
    diagnoses = _diagnoses(told["diagnoses"])
    positive = _names("organ.positive", told["positive"], diagnoses)
    targets = {
        name: _names(f"organ.targets.{name}", members, diagnoses)
        for name, members in _mapping("organ.targets", told.get("targets", {})).items()
    }
    _check_classes(diagnoses, positive)
    covariates = {
        name: _quantity(f"organ.covariates.{name}", row, extra=("unit",), diagnoses=diagnoses)
        for name, row in _mapping("organ.covariates", told.get("covariates", {})).items()
    }
    tissues = {
        name: _tissue(f"organ.tissues.{name}", row, {})
        for name, row in _mapping("organ.tissues", told["tissues"]).items()
    }
    properties = tuple(name for name in PROPERTIES if any(name in t.properties for t in tissues.values()))
    for name, tissue in tissues.items():
        for needed in properties:
            if needed not in tissue.properties:
                raise ScanwiseError(
                    f"every tissue must have the same properties, but organ.tissues.{name} has no {needed}",
                    "give it, with source and confidence, or take it from all tissues",
                )
    regions = {
        name: _region(f"organ.regions.{name}", row) for name, row in _mapping("organ.regions", told["regions"]).items()
    }
    _check_regions(regions, tissues, covariates)
    findings = {
        name: _finding(f"organ.findings.{name}", row, diagnoses)
        for name, row in _mapping("organ.findings", told["findings"]).items()
    }
    _check_findings(findings, diagnoses, regions, properties)
    if told["background"] not in tissues:
        raise ScanwiseError(
            f"organ.background must be a tissue, but is {told['background']!r}",
            did_you_mean(str(told["background"]), tissues),
        )
    organ = Organ(
        geometry=_geometry(told["geometry"]),
        patchiness=_plain(Patchiness, "organ.texture", told["texture"], above=("scale_mm",)),
        scanner=_plain(Scanner, "organ.scanner", told["scanner"]),
        prevalence=_share("organ.prevalence", told["prevalence"]),
        diagnoses=diagnoses,
        positive=positive,
        targets=targets,
        covariates=covariates,
        units={name: str(row.get("unit", "")) for name, row in told.get("covariates", {}).items()},
        factor=_correlation(told.get("covariate_correlation", {}), tuple(covariates)),
        tissues=tissues,
        background=told["background"],
        regions=regions,
        findings=findings,
        spread=_spread(told.get("spread", {})),
        properties=properties,
    )
    if abs(organ.patchiness.t2_adc_correlation) > 1:
        raise ScanwiseError(f"a correlation must be in [-1, 1], but organ.texture has {organ.patchiness!r}")
    return organ, _sites(sites, covariates, properties)


def sourced(spec: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Iterate over ``(path, node)`` of every mapping that holds numbers, a level of plain mappings within it included.

    Raises
    ------
    ScanwiseError
        Where a number stands in a mapping without `source` and `confidence`.
    """
    has = [key for key in _EVIDENCE if isinstance(spec.get(key), str) and str(spec[key]).strip()]
    numbers = [str(key) for key, value in spec.items() if _has_number(value)]
    if len(has) < len(_EVIDENCE):
        missing = next(key for key in _EVIDENCE if key not in has)
        if numbers:
            raise ScanwiseError(
                f"every number needs a source and a confidence, but {_join(at, numbers[0])} has no {missing}",
                f"write {missing}: ... beside it; confidence is one of {', '.join(CONFIDENCE)}",
            )
        if has:
            raise ScanwiseError(f"{at} has {has[0]}, but no {missing}", f"write {missing}: ... beside it")
    elif spec["confidence"] not in CONFIDENCE:
        raise ScanwiseError(
            f"confidence must be one of {', '.join(CONFIDENCE)}, but {at}.confidence is {spec['confidence']!r}",
            did_you_mean(spec["confidence"], CONFIDENCE),
        )
    else:
        yield at, spec
    for key, value in spec.items():
        if isinstance(value, Mapping):
            covered = len(has) == len(_EVIDENCE) and not any(isinstance(item, Mapping) for item in value.values())
            if not (covered and not set(_EVIDENCE) & set(value)):
                yield from sourced(value, _join(at, str(key)))


def assumptions(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the numbers that are only assumed: ``{what, value, source, confidence}`` each, as plain data."""
    return [
        {
            "what": at,
            "value": {str(key): value for key, value in node.items() if _has_number(value) or _numbers_within(value)},
            "source": node["source"],
            "confidence": node["confidence"],
        }
        for at, node in sourced(spec)
        if node["confidence"] in ASSUMED
    ]


def without_sources(spec: Any) -> Any:
    """Return the specification without what does not change a patient: sources and confidences."""
    if isinstance(spec, Mapping):
        return {key: without_sources(value) for key, value in spec.items() if key not in _EVIDENCE}
    return [without_sources(value) for value in spec] if isinstance(spec, list | tuple) else spec


# ---- readers of single nodes --------------------------------------------------------------------------------------


def _quantity(
    at: str,
    row: Any,
    *,
    extra: Sequence[str] = (),
    diagnoses: Mapping[str, Any] | None = None,
    physical: tuple[float, float] = (-math.inf, math.inf),
) -> Quantity:
    optional = ("sd", "between_worlds", "log", "low", "high", "by", *_EVIDENCE, *extra)
    told = _keys(at, row, required=("mean",), optional=optional)
    by = {name: _number(f"{at}.by.{name}", value) for name, value in _mapping(f"{at}.by", told.get("by", {})).items()}
    for name in by:
        if name not in (diagnoses or {}):
            raise ScanwiseError(f"{at}.by names {name!r}, which is no diagnosis", did_you_mean(name, diagnoses or {}))
    if not isinstance(told.get("log", False), bool):
        raise ScanwiseError(f"{at}.log must be true or false, but is {told['log']!r}")
    numbers = {
        key: _number(f"{at}.{key}", told[key]) for key in ("mean", "sd", "between_worlds", "low", "high") if key in told
    }
    quantity = Quantity(**numbers, log=bool(told.get("log", False)), by=by)
    for key in ("sd", "between_worlds"):
        if getattr(quantity, key) < 0:
            raise ScanwiseError(f"a standard deviation must be >= 0, but {at}.{key} is {getattr(quantity, key):g}")
    low, high = max(quantity.low, physical[0]), min(quantity.high, physical[1])
    for name, mean in {"mean": quantity.mean, **{f"by.{name}": value for name, value in by.items()}}.items():
        value = math.exp(min(mean, 700.0)) if quantity.log else mean
        if not low <= value <= high:
            raise ScanwiseError(
                f"{at}.{name} must be in [{low:g}, {high:g}], but is {value:g}",
                "look at the unit: seconds, mm^2/s and 1/s; with log: true the mean is that of the logarithm",
            )
    return Quantity(**{**numbers, "low": low, "high": high}, log=quantity.log, by=by)


def _tissue(at: str, row: Any, diagnoses: Mapping[str, Any]) -> Tissue:
    told = _keys(at, row, required=(), optional=(*PROPERTIES, "t2_adc_correlation", "texture"))
    properties = {
        name: _quantity(f"{at}.{name}", told[name], diagnoses=diagnoses, physical=TISSUE_MAPS[name])
        for name in PROPERTIES
        if name in told
    }
    correlation = _value(f"{at}.t2_adc_correlation", told["t2_adc_correlation"]) if "t2_adc_correlation" in told else 0
    if abs(correlation) > 1:
        raise ScanwiseError(f"a correlation must be in [-1, 1], but {at}.t2_adc_correlation is {correlation:g}")
    texture = {
        name: _number(f"{at}.texture.{name}", value, low=0.0)
        for name, value in _keys(
            f"{at}.texture", told.get("texture", {}), required=(), optional=(*PROPERTIES, *_EVIDENCE)
        ).items()
        if name not in _EVIDENCE
    }
    if {"t1_s", "t2_s"} <= set(properties):
        t1, t2 = (_typical(properties[name]) for name in ("t1_s", "t2_s"))
        if t2 > t1:
            raise ScanwiseError(
                f"T2 must not be above T1, but {at} has a mean T2 of {t2:g} s and a mean T1 of {t1:g} s",
                "both are in seconds",
            )
    return Tissue(properties=properties, t2_adc_correlation=float(correlation), texture=texture)


def _region(at: str, row: Any) -> Region:
    optional = (
        "inside",
        "centre_sd",
        "size_sd",
        "outline_sd",
        "edge_mm",
        "follows",
        "reference",
        "exponent",
        *_EVIDENCE,
    )
    told = _keys(at, row, required=("tissue", "centre", "size"), optional=optional)
    region = Region(
        tissue=str(told["tissue"]),
        centre=_pair(f"{at}.centre", told["centre"]),
        size=_pair(f"{at}.size", told["size"]),
        inside=told.get("inside"),
        follows=told.get("follows"),
        **{
            key: _number(f"{at}.{key}", told[key], low=None if key == "exponent" else 0.0)
            for key in ("centre_sd", "size_sd", "outline_sd", "edge_mm", "reference", "exponent")
            if key in told
        },
    )
    for key, value in (("size", min(region.size)), ("edge_mm", region.edge_mm), ("reference", region.reference)):
        if not value > 0:
            raise ScanwiseError(f"{at}.{key} must be above 0, but is {told[key]!r}")
    return region


def _finding(at: str, row: Any, diagnoses: Mapping[str, Any]) -> Finding:
    optional = ("shape", "diameter_mm", "aspect", "outline", "opacity", "number", "per_patient")
    told = _keys(at, row, required=("tissue", "zone"), optional=optional)
    shape = told.get("shape", "ellipse")
    if shape not in SHAPES:
        raise ScanwiseError(f"{at}.shape must be one of {', '.join(SHAPES)}, but is {shape!r}")
    if (shape != "diffuse") != ("diameter_mm" in told):
        raise ScanwiseError(
            f"{at} is of shape {shape!r} and {'must not have' if shape == 'diffuse' else 'needs'} diameter_mm"
        )
    zone = {
        name: _number(f"{at}.zone.{name}", value, low=0.0)
        for name, value in _mapping(f"{at}.zone", told["zone"]).items()
        if name not in _EVIDENCE
    }
    _check_sum(f"the shares of {at}.zone", zone.values())
    if ("number" in told) == ("per_patient" in told):
        raise ScanwiseError(
            f"{at} needs either `number` (it belongs to diagnoses) or `per_patient` (it may be found in anyone)"
        )
    outline = _keys(f"{at}.outline", told.get("outline", {}), required=(), optional=("sd", "edge_mm", *_EVIDENCE))
    opacity = _keys(f"{at}.opacity", told.get("opacity", {}), required=(), optional=("low", "high", *_EVIDENCE))
    low, high = (_number(f"{at}.opacity.{key}", opacity.get(key, 1.0), low=0.0) for key in ("low", "high"))
    if not 0 <= low <= high <= 1:
        raise ScanwiseError(f"{at}.opacity must have 0 <= low <= high <= 1, but got {low=:g} {high=:g}")
    number: tuple[float, ...] = ()
    rate, rate_sd = (0.0, 0.0), 0.0
    if "number" in told:
        shares = _keys(f"{at}.number", told["number"], required=("shares",), optional=_EVIDENCE)["shares"]
        if not isinstance(shares, Sequence) or isinstance(shares, str) or len(shares) < 2:
            raise ScanwiseError(f"{at}.number.shares must list the shares of 0, 1, 2 ..., but is {shares!r}")
        number = tuple(_number(f"{at}.number.shares", value, low=0.0) for value in shares)
        _check_sum(f"{at}.number.shares", number)
    else:
        rates = _keys(
            f"{at}.per_patient",
            told["per_patient"],
            required=("negative", "positive"),
            optional=("between_worlds", *_EVIDENCE),
        )
        rate = (
            _number(f"{at}.per_patient.negative", rates["negative"], low=0.0),
            _number(f"{at}.per_patient.positive", rates["positive"], low=0.0),
        )
        rate_sd = _number(f"{at}.per_patient.between_worlds", rates.get("between_worlds", 0.0), low=0.0)
    edge_mm = _number(f"{at}.outline.edge_mm", outline.get("edge_mm", 1.0), low=0.0)
    if edge_mm == 0:
        raise ScanwiseError(f"{at}.outline.edge_mm must be above 0, but is 0")
    return Finding(
        tissue=_tissue(f"{at}.tissue", told["tissue"], diagnoses),
        shape=shape,
        zone=zone,
        diameter_mm=_quantity(f"{at}.diameter_mm", told["diameter_mm"], diagnoses=diagnoses, physical=(0.0, math.inf))
        if "diameter_mm" in told
        else None,
        aspect=_quantity(f"{at}.aspect", told["aspect"], diagnoses=diagnoses, physical=(0.05, 1.0))
        if "aspect" in told
        else None,
        outline_sd=_number(f"{at}.outline.sd", outline.get("sd", 0.0), low=0.0),
        edge_mm=edge_mm,
        opacity=(low, high),
        number=number,
        rate=rate,
        rate_between_worlds=rate_sd,
    )


def _diagnoses(rows: Any) -> dict[str, Diagnosis]:
    diagnoses = {}
    for name, row in _mapping("organ.diagnoses", rows).items():
        at = f"organ.diagnoses.{name}"
        told = _keys(at, row, required=("share",), optional=("grade", "lesion", *_EVIDENCE))
        grade = told.get("grade", 0)
        if isinstance(grade, bool) or not isinstance(grade, int) or grade < 0:
            raise ScanwiseError(f"{at}.grade must be a whole number >= 0, but is {grade!r}")
        share = _number(f"{at}.share", told["share"], low=0.0)
        diagnoses[name] = Diagnosis(share=share, grade=grade, lesion=told.get("lesion"))
    return diagnoses


def _sites(rows: Mapping[str, Any], covariates: Mapping[str, Quantity], properties: Sequence[str]) -> dict[str, Site]:
    sites = {}
    magnetic = not set(properties) <= set(XRAY_PROPERTIES)
    for name, row in _mapping("sites", rows).items():
        at = f"sites.{name}"
        optional = ("field_t", "noise", "gain", "odds", "shift", *_EVIDENCE)
        told = _keys(at, row, required=("share", "field_t") if magnetic else ("share",), optional=optional)
        shift = {key: _number(f"{at}.shift.{key}", value) for key, value in _mapping(at, told.get("shift", {})).items()}
        for key in shift:
            if key not in covariates:
                raise ScanwiseError(f"{at}.shift names {key!r}, which is no covariate", did_you_mean(key, covariates))
        numbers = {
            key: _number(f"{at}.{key}", told[key])
            for key in ("share", "field_t", "noise", "gain", "odds")
            if key in told
        }
        for key, value in numbers.items():
            if not value > 0:
                raise ScanwiseError(f"{at}.{key} must be above 0, but is {value:g}")
        sites[name] = Site(**numbers, shift=shift)
    if not sites:
        raise ScanwiseError("a virtual organ needs at least one site")
    _check_sum("the shares of the sites", (site.share for site in sites.values()))
    return sites


def _geometry(row: Any) -> Geometry:
    at = "organ.geometry"
    told = _keys(
        at,
        row,
        required=("fov_mm", "matrix", "lesion_matrix"),
        optional=("reference_field_t", "t1_field_exponent", *_EVIDENCE),
    )
    sizes: dict[str, tuple[int, int]] = {}
    for key in ("matrix", "lesion_matrix"):
        y, x = _pair(f"{at}.{key}", told[key])
        if not (y.is_integer() and x.is_integer() and min(y, x) >= 1):
            raise ScanwiseError(f"{at}.{key} must be two whole numbers above 0, but is {told[key]!r}")
        sizes[key] = (int(y), int(x))
    fov_mm = _pair(f"{at}.fov_mm", told["fov_mm"])
    if min(fov_mm) <= 0:
        raise ScanwiseError(f"{at}.fov_mm must be above 0, but is {told['fov_mm']!r}")
    if any(fine % coarse for fine, coarse in zip(sizes["matrix"], sizes["lesion_matrix"], strict=True)):
        raise ScanwiseError(
            f"{at}.matrix must be a multiple of lesion_matrix, but they are {sizes['matrix']} and "
            f"{sizes['lesion_matrix']}"
        )
    field_t = _number(f"{at}.reference_field_t", told.get("reference_field_t", 3.0), low=0.0)
    if field_t == 0:
        raise ScanwiseError(f"{at}.reference_field_t must be above 0, but is 0")
    return Geometry(
        fov_mm=fov_mm,
        matrix=sizes["matrix"],
        lesion_matrix=sizes["lesion_matrix"],
        reference_field_t=field_t,
        t1_field_exponent=_number(f"{at}.t1_field_exponent", told.get("t1_field_exponent", 0.0)),
    )


def _correlation(row: Any, names: tuple[str, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    at = "organ.covariate_correlation"
    told = _keys(at, row, required=(), optional=("negative", "positive"))
    factors: list[NDArray[np.float64]] = []
    for group in ("negative", "positive"):
        matrix = np.eye(len(names))
        for pair, value in _mapping(f"{at}.{group}", told.get(group, {})).items():
            if pair in _EVIDENCE:
                continue
            ends = pair.split("-")
            if len(ends) != 2 or not set(ends) <= set(names) or ends[0] == ends[1]:
                raise ScanwiseError(
                    f"{at}.{group} must name two covariates as `one-other`, but got {pair!r}",
                    f"covariates: {', '.join(names)}",
                )
            a, b = (names.index(end) for end in ends)
            matrix[a, b] = matrix[b, a] = _number(f"{at}.{group}.{pair}", value)
        if len(names) and np.linalg.eigvalsh(matrix).min() <= 0:
            raise ScanwiseError(f"{at}.{group} is no correlation matrix: no patients can be correlated like that")
        factors.append(np.linalg.cholesky(matrix).astype(np.float64))
    return factors[0], factors[1]


def _spread(row: Any) -> dict[str, float]:
    told = _keys("organ.spread", row, required=(), optional=(*PROPERTIES, *_EVIDENCE))
    return {
        name: _number(f"organ.spread.{name}", value, low=0.0) for name, value in told.items() if name not in _EVIDENCE
    }


def _plain(kind: type[Any], at: str, row: Any, above: Sequence[str] = ()) -> Any:
    names = tuple(kind.__dataclass_fields__)
    told = _keys(at, row, required=above, optional=(*names, *_EVIDENCE))
    numbers = {key: _number(f"{at}.{key}", told[key]) for key in names if key in told}
    for key, value in numbers.items():
        if (value < 0 and key != "t2_adc_correlation") or (key in above and value == 0):
            raise ScanwiseError(f"{at}.{key} must be {'above' if key in above else 'at least'} 0, but is {value:g}")
    return kind(**numbers)


def _share(at: str, row: Any) -> float:
    value = _value(at, row)
    if not 0 < value < 1:
        raise ScanwiseError(f"{at} must be between 0 and 1, but is {value:g}")
    return value


def _value(at: str, row: Any) -> float:
    return _number(f"{at}.value", _keys(at, row, required=("value",), optional=_EVIDENCE)["value"])


# ---- checks across nodes ------------------------------------------------------------------------------------------


def _check_classes(diagnoses: Mapping[str, Diagnosis], positive: Sequence[str]) -> None:
    negative = [name for name in diagnoses if name not in positive]
    for kind, names in (("positive", positive), ("negative", negative)):
        if not names:
            raise ScanwiseError(
                f"an organ must have both classes, but no diagnosis is {kind}", "look at organ.positive"
            )
    for kind, names in (("positive", positive), ("negative", negative)):
        _check_sum(f"the shares of the {kind} diagnoses", (diagnoses[name].share for name in names))


def _check_regions(
    regions: Mapping[str, Region], tissues: Mapping[str, Tissue], covariates: Mapping[str, Quantity]
) -> None:
    for name, region in regions.items():
        at = f"organ.regions.{name}"
        for key, value, known in (
            ("tissue", region.tissue, tissues),
            ("inside", region.inside, regions),
            ("follows", region.follows, covariates),
        ):
            if value is not None and value not in known:
                raise ScanwiseError(f"{at}.{key} names {value!r}, which is not defined", did_you_mean(value, known))
        seen, outer = {name}, region.inside
        while outer is not None:
            if outer in seen:
                raise ScanwiseError(f"{at} is inside itself", "let one of the regions stand on its own")
            seen.add(outer)
            outer = regions[outer].inside


def _check_findings(
    findings: Mapping[str, Finding],
    diagnoses: Mapping[str, Diagnosis],
    regions: Mapping[str, Region],
    properties: Sequence[str],
) -> None:
    for name, finding in findings.items():
        at = f"organ.findings.{name}"
        for zone in finding.zone:
            if zone not in regions:
                raise ScanwiseError(f"{at}.zone names {zone!r}, which is no region", did_you_mean(zone, regions))
        for key in finding.tissue.properties:
            if key not in properties:
                raise ScanwiseError(f"{at} sets {key}, which no tissue of the organ has", "give it to every tissue")
    for name, diagnosis in diagnoses.items():
        if diagnosis.lesion is not None and (diagnosis.lesion not in findings or not findings[diagnosis.lesion].number):
            owned = [key for key, finding in findings.items() if finding.number]
            raise ScanwiseError(
                f"organ.diagnoses.{name}.lesion must be a finding with `number`, but is {diagnosis.lesion!r}",
                did_you_mean(diagnosis.lesion, owned),
            )
    for name, finding in findings.items():
        if finding.number and name not in {diagnosis.lesion for diagnosis in diagnoses.values()}:
            raise ScanwiseError(f"organ.findings.{name} has `number`, but no diagnosis brings it", "use per_patient")


def _check_sum(what: str, shares: Any) -> None:
    values = list(shares)
    if not values or abs(sum(values) - 1) > _SHARE_TOLERANCE:
        raise ScanwiseError(f"{what} must sum to 1, but sum to {sum(values):g}")


# ---- small readers ------------------------------------------------------------------------------------------------


def _mapping(at: str, row: Any) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise ScanwiseError(f"{at} must be a mapping, but is {row!r}")
    return row


def _keys(at: str, row: Any, *, required: Sequence[str], optional: Sequence[str]) -> Mapping[str, Any]:
    known = sorted({*required, *optional})
    for key in _mapping(at, row):
        if key not in known:
            raise ScanwiseError(f"{at} has an unknown key {key!r}", did_you_mean(str(key), known))
    for key in required:
        if key not in row:
            raise ScanwiseError(f"{at} needs {key}", f"write {key}: ... there")
    return row


def _names(at: str, names: Any, known: Mapping[str, Any]) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise ScanwiseError(f"{at} must be a list of diagnoses, but is {names!r}")
    for name in names:
        if name not in known:
            raise ScanwiseError(f"{at} names {name!r}, which is no diagnosis", did_you_mean(str(name), known))
    return tuple(names)


def _number(at: str, value: Any, *, low: float | None = None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ScanwiseError(f"{at} must be a finite number, but is {value!r}")
    if low is not None and value < low:
        raise ScanwiseError(f"{at} must be at least {low:g}, but is {value:g}")
    return float(value)


def _pair(at: str, value: Any) -> tuple[float, float]:
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise ScanwiseError(f"{at} must be two numbers, y and x, but is {value!r}")
    return _number(at, value[0]), _number(at, value[1])


def _typical(quantity: Quantity) -> float:
    return math.exp(quantity.mean) if quantity.log else quantity.mean


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_number(value: Any) -> bool:
    return _is_number(value) or (
        isinstance(value, Sequence) and not isinstance(value, str) and any(map(_is_number, value))
    )


def _numbers_within(value: Any) -> bool:
    return isinstance(value, Mapping) and not set(_EVIDENCE) & set(value) and any(map(_has_number, value.values()))
