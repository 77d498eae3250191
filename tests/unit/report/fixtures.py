"""A realistic recommendation, made without randomness: Cleveland's tests and prices, closed-form evidence.

Prices are Turney's (1995). The AUC of four protocols is what logistic regression gave on Cleveland (base .838, with
exercise ECG .881, with fluoroscopy .908, everything .913); all other numbers follow from a binormal model and are
invented, sites and their sizes too.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from scipy.stats import norm

AXES = ("minutes", "money", "msv", "contrast_ml", "visits")
SHOTS = {"history": 4, "blood": 2, "resting_ecg": 1, "thallium": 2, "exercise": 3, "fluoroscopy": 1}
TITLES = {
    "history": "history and blood pressure",
    "blood": "blood panel",
    "resting_ecg": "resting ECG",
    "thallium": "thallium stress test",
    "exercise": "exercise ECG",
    "fluoroscopy": "fluoroscopy",
}
OWN = {"history": 4.0, "blood": 8.27, "resting_ecg": 15.5, "thallium": 2.0, "exercise": 3.0, "fluoroscopy": 100.9}
FEES = {
    "blood": ("blood draw and handling", 2.10),
    "thallium": ("thallium stress session", 101.90),
    "exercise": ("exercise ECG session", 86.30),
}
SITES = (("cleveland", 150, 69), ("hungarian", 74, 31), ("va", 69, 36), ("switzerland", 10, 3))
N, N_POSITIVE = 303, 139
LEVEL, MARGIN, ALPHA, SPECIFICITY = 0.95, 0.03, 0.025, 0.9
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)


def key_of(modalities: tuple[str, ...]) -> str:
    """Return the canonical key of a protocol that takes every shot of some modalities once."""
    return " ".join(f"{name}=1" if SHOTS[name] == 1 else f"{name}=1x{SHOTS[name]}" for name in sorted(modalities))


REFERENCE = key_of(tuple(SHOTS))
BASE = key_of(("history",))
EXERCISE = key_of(("history", "exercise"))
PROPOSAL = key_of(("history", "exercise", "fluoroscopy"))


def separation(modalities: tuple[str, ...]) -> float:
    """Return the squared distance of the two classes in the binormal model."""
    total = 2 * norm.ppf(0.838) ** 2
    exercise, fluoroscopy = "exercise" in modalities, "fluoroscopy" in modalities
    with_exercise = 2 * norm.ppf(0.881) ** 2
    with_both = 2 * norm.ppf(0.908) ** 2
    everything = 2 * norm.ppf(0.913) ** 2
    total += (with_exercise - total) * exercise
    total += (with_both - with_exercise) * fluoroscopy
    rest = everything - with_both
    share = {"thallium": (3.6, 1.9, 0.94)[exercise + fluoroscopy], "resting_ecg": 0.10, "blood": -0.04}
    return float(total + rest * sum(share[name] for name in modalities if name in share))


def auc_of(modalities: tuple[str, ...]) -> float:
    return float(norm.cdf(math.sqrt(separation(modalities) / 2)))


def cost_of(modalities: tuple[str, ...]) -> dict[str, float]:
    money = sum(OWN[name] + (FEES[name][1] if name in FEES else 0.0) for name in modalities)
    return {
        "minutes": 0.0,
        "money": round(money, 2),
        "msv": 0.0,
        "contrast_ml": 0.0,
        "visits": 1.0 + (len(modalities) > 1),
    }


def interval(value: float, se: float) -> dict[str, float]:
    return {"value": value, "low": value - 1.96 * se, "high": value + 1.96 * se, "se": se, "level": LEVEL}


def auc_se(value: float, positive: int, negative: int) -> float:
    """Hanley and McNeil (1982)."""
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    variance = value * (1 - value) + (positive - 1) * (q1 - value**2) + (negative - 1) * (q2 - value**2)
    return math.sqrt(variance / (positive * negative))


def auc_interval(value: float, positive: int, negative: int) -> dict[str, float]:
    """Symmetric on the logit scale."""
    se = auc_se(value, positive, negative)
    middle, half = math.log(value / (1 - value)), 1.96 * se / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-(middle + sign * half))) for sign in (-1, 1))
    return {"value": value, "low": low, "high": high, "se": se, "level": LEVEL}


def bill_of(modalities: tuple[str, ...]) -> list[dict[str, Any]]:
    def line(label: str, kind: str, money: float, visits: float = 0.0) -> dict[str, Any]:
        return {"label": label, "kind": kind, "cost": dict.fromkeys(AXES, 0.0) | {"money": money, "visits": visits}}

    ordered = [name for name in SHOTS if name in modalities]
    lines = [line(TITLES[name], "shots", OWN[name]) for name in ordered]
    lines.append(line("first visit", "setup", 0.0, 1.0))
    if len(ordered) > 1:
        lines.append(line("visit for delayed results", "setup", 0.0, 1.0))
    return lines + [line(FEES[name][0], "setup", FEES[name][1]) for name in ordered if name in FEES]


def assess(modalities: tuple[str, ...], n_compared: int) -> dict[str, Any]:
    value, everything = auc_of(modalities), tuple(SHOTS)
    is_reference = key_of(modalities) == REFERENCE
    d = math.sqrt(separation(modalities))
    shared = separation(modalities) / separation(everything)

    def difference_at(positive: int, negative: int, shift: float = 0.0) -> dict[str, float]:
        se = auc_se(value, positive, negative) * math.sqrt(2 * (1 - min(0.93, 0.55 + 0.4 * shared)))
        return interval(value - auc_of(everything) + shift, se)

    difference = difference_at(N_POSITIVE, N - N_POSITIVE)
    p_better = float(norm.sf(difference["value"] / difference["se"]))
    p_noninferior = float(norm.sf((difference["value"] + MARGIN) / difference["se"]))
    upper = difference["high"]
    verdict = "inferior" if upper < -MARGIN else "non-inferior" if p_noninferior <= ALPHA else "undecided"
    grid = [index / 50 for index in range(51)]
    roc = [[x, float(norm.cdf(norm.ppf(x) + d)) if 0 < x < 1 else x] for x in grid]
    prevalence = N_POSITIVE / N

    def rates(threshold: float) -> tuple[float, float]:
        cut = math.log(threshold / (1 - threshold) * (1 - prevalence) / prevalence) / d + d / 2
        return float(norm.sf(cut - d)), float(norm.sf(cut))

    sensitivity = float(norm.cdf(norm.ppf(1 - SPECIFICITY) + d))
    sites: list[dict[str, Any]] = []
    for index, (site, n, positive) in enumerate(SITES):
        few = min(positive, n - positive) < 5
        shift = (0.002, -0.004, -0.03, 0.0)[index] * (not is_reference)
        own = min(max(value + shift, 0.5), 0.99)
        sites.append(
            {
                "site": site,
                "n": n,
                "n_positive": positive,
                "auc": None if few else auc_interval(own, positive, n - positive),
                "difference": None if few or is_reference else difference_at(positive, n - positive, shift),
                "reason": f"only {positive} patients with the disease; 5 of each class are needed" if few else "",
            }
        )
    slope = 0.97 - 0.02 * (len(modalities) - 3)
    return {
        "key": key_of(modalities),
        "n": N,
        "n_positive": N_POSITIVE,
        "auc": auc_interval(value, N_POSITIVE, N - N_POSITIVE),
        "auc_bootstrap": auc_interval(value, N_POSITIVE, N - N_POSITIVE),
        "versus_reference": None
        if is_reference
        else {
            "difference": difference,
            "margin": MARGIN,
            "alpha": ALPHA,
            "p_noninferior": p_noninferior,
            "p_better": p_better,
            "p_better_adjusted": min(1.0, n_compared * p_better),
            "verdict": verdict,
        },
        "simultaneous": None if is_reference else interval(difference["value"], difference["se"] * 1.35),
        "log_loss": interval(0.69 - 0.35 * (value - 0.5) / 0.4, 0.02),
        "brier": interval(0.25 - 0.12 * (value - 0.5) / 0.4, 0.008),
        "calibration": {
            "slope": interval(slope, 0.09),
            "intercept": interval(-0.03, 0.14),
            "ece": 0.031,
            "curve": [
                {
                    "predicted": p,
                    "observed": min(1.0, max(0.0, p + wiggle)),
                    "low": max(0.0, p + wiggle - 0.11),
                    "high": min(1.0, p + wiggle + 0.11),
                    "n": 61 - (index == 4),
                }
                for index, (p, wiggle) in enumerate(
                    zip((0.06, 0.22, 0.47, 0.74, 0.93), (0.02, -0.03, 0.01, 0.03, -0.02), strict=True)
                )
            ],
        },
        "sensitivity": {
            "specificity": SPECIFICITY,
            "value": interval(sensitivity, math.sqrt(sensitivity * (1 - sensitivity) / N_POSITIVE)),
        },
        "roc": roc,
        "net_benefit": [
            {
                "threshold": t,
                "model": prevalence * rates(t)[0] - (1 - prevalence) * rates(t)[1] * t / (1 - t),
                "treat_all": prevalence - (1 - prevalence) * t / (1 - t),
            }
            for t in THRESHOLDS
        ],
        "sites": sites,
    }


def adaptive_section() -> dict[str, Any]:
    """Three price weights and two fixed protocols, with round numbers."""
    names = ("history", "exercise", "fluoroscopy")

    def walked(weight: float, money: float, auc: float) -> dict[str, Any]:
        return {
            "weight": weight,
            "cost": {"money": {"mean": money, "median": money - 10, "p95": money + 100}},
            "auc": interval(auc, 0.02),
            "correct": 0.84,
            "fixed": 1,
            "ahead_of_fixed": interval(0.01, 0.004),
            "difference": interval(-0.002, 0.005),
        }

    return {
        "applicable": True,
        "policy": "ahead",
        "measure": "brier",
        "axis": "money",
        "n_learners": 240,
        "target": key_of(names),
        "chosen": 1,
        "weights": [walked(0.0001, 250.0, 0.915), walked(0.0002, 150.0, 0.908), walked(0.001, 20.0, 0.85)],
        "fixed": [
            {"key": key_of(one), "reading": " + ".join(one), "cost": cost_of(one), "auc": interval(0.9, 0.02)}
            for one in (names[:1], names)
        ],
        "stops": [
            {
                "key": key_of(names),
                "reading": " + ".join(names),
                "share": 0.6,
                "positive": 0.5,
                "low": 0.1,
                "high": 0.9,
                "cost": cost_of(names),
            },
            {"key": None, "reading": "3 other ways", "share": 0.4},
        ],
        "flow": [
            {"steps": 0, "stop": {"nothing more": 0.3}, "go_on": 0.7},
            {"steps": 1, "stop": {"exercise ECG": 0.08, "blood panel": 0.02}, "go_on": 0.6},
            {"steps": 2, "stop": {"exercise ECG + fluoroscopy": 0.6}, "go_on": 0.0},
        ],
        "given": {"modalities": {"history": 1.0, "exercise": 0.7, "fluoroscopy": 0.6}, "contrast": 0.25},
        "calibration": [
            {"steps": 0, "n": 20.0},
            {"steps": 2, "n": 200.0, "slope": interval(1.02, 0.1), "intercept": interval(0.0, 0.1), "ece": 0.03},
        ],
        "flips": [{"threshold": 0.2, "found": 2.0, "missed": 1.0, "alarmed": 5.0, "spared": 9.0}],
        "sites": [{"site": "cleveland", "n": 300, "difference": interval(-0.002, 0.005)}],
    }


def explained_sections() -> dict[str, Any]:
    """Parts, groups, changed diagnoses and images with round numbers; the tests of this study are no images."""
    names = tuple(SHOTS)[1:]
    worth = {"blood": 0.001, "resting_ecg": 0.002, "thallium": 0.012, "exercise": 0.028, "fluoroscopy": 0.032}
    pairs = [("exercise", "fluoroscopy", -0.008), ("thallium", "exercise", -0.02), ("blood", "resting_ecg", 0.009)]
    return {
        "contributions": {
            "applicable": True,
            "parts": [
                {
                    "modality": name,
                    "shapley": interval(worth[name], 0.003),
                    "alone": interval(1.5 * worth[name], 0.005),
                    "last": interval(0.5 * worth[name], 0.004),
                }
                for name in names
            ],
            "pairs": [{"modalities": [one, other], "interaction": interval(v, 0.004)} for one, other, v in pairs],
            "always": auc_interval(auc_of(("history",)), N_POSITIVE, N - N_POSITIVE),
            "all": auc_interval(auc_of(tuple(SHOTS)), N_POSITIVE, N - N_POSITIVE),
        },
        "groups": {
            "applicable": True,
            "groups": [
                {
                    "group": "age",
                    "level": level,
                    "lesion": False,
                    "n": n,
                    "n_positive": n // 3,
                    "auc": None if reason else auc_interval(0.9, n // 3, n - n // 3),
                    "difference": None if reason else interval(difference, 0.006),
                    "reason": reason,
                }
                for level, n, difference, reason in (
                    ("age below 56", 151, -0.001, ""),
                    ("age 56 or more", 148, -0.021, ""),
                    ("age not known", 4, 0.0, "fewer than 5 patients of a class"),
                )
            ],
        },
        "flips": [
            {"specificity": SPECIFICITY, **_changes(6.0, 4.0, 9.0, 9.0)},
            *({"threshold": at, **_changes(3.0, 2.5, 12.0, 8.0)} for at in THRESHOLDS),
        ],
        "doubts": {
            "applicable": False,
            "reason": "the patients are not made of numbers that the literature leaves open",
        },
        "pictures": {"applicable": False, "reason": "the measurements of this study are no images"},
        "layout": {
            name: {"kind": "shots", "shots": [f"{name} {i}" for i in range(n)], "position": None, "standard": [1] * n}
            for name, n in SHOTS.items()
        },
    }


def _changes(missed: float, found: float, alarmed: float, spared: float) -> dict[str, float]:
    positive, negative = float(N_POSITIVE), float(N - N_POSITIVE)
    return {
        "missed": missed,
        "found": found,
        "alarmed": alarmed,
        "spared": spared,
        "kept_positive": 100.0,
        "kept_negative": 120.0,
        "positive": positive,
        "negative": negative,
    }


def recommendation() -> dict[str, Any]:
    """Return a fresh, complete recommendation.json with 15 of 32 protocols on the short list."""
    optional = [name for name in SHOTS if name != "history"]
    subsets = [
        ("history", *chosen) for size in range(len(optional) + 1) for chosen in itertools.combinations(optional, size)
    ]
    rows = sorted(subsets, key=lambda names: (cost_of(names)["money"], key_of(names)))
    best, front = 0.0, set()
    for names in rows:
        if auc_of(names) > best:
            best = auc_of(names)
            front.add(key_of(names))
    short = [
        names
        for names in rows
        if key_of(names) in front
        or len(names) <= 2
        or key_of(names) == REFERENCE
        or names in (("history", "thallium", "exercise"), ("history", "blood", "exercise", "fluoroscopy"))
    ]
    for names in rows:
        if len(short) >= 15:
            break
        if names not in short and len(names) in (3, 4) and "fluoroscopy" in names:
            short.append(names)
    short.sort(key=lambda names: (cost_of(names)["money"], key_of(names)))

    def reading(names: tuple[str, ...]) -> str:
        return " + ".join(TITLES[name] for name in SHOTS if name in names)

    def roles(names: tuple[str, ...]) -> list[str]:
        key = key_of(names)
        found = {"reference": key == REFERENCE, "front": key in front, "single": len(names) <= 2}
        return [role for role, holds in found.items() if holds]

    candidates = [
        {
            "key": key_of(names),
            "reading": reading(names),
            "title_short": " + ".join(TITLES[name].split(" and ")[0] for name in SHOTS if name in names),
            "modalities": [name for name in SHOTS if name in names],
            "cost": cost_of(names),
            "bill": bill_of(names),
            "roles": roles(names),
            "tune_auc": auc_of(names) + 0.004,
            "on_front": key_of(names) in front,
            "feasible": True,
            "indistinguishable_from_recommended": "exercise" in names
            and "fluoroscopy" in names
            and key_of(names) != PROPOSAL,
            "assessment": assess(names, len(short) - 1),
        }
        for names in short
    ]
    chosen = next(candidate for candidate in candidates if candidate["key"] == PROPOSAL)
    return {
        "schema_version": 1,
        "study": {
            "name": "heart",
            "title": "Coronary artery disease before angiography",
            "question": "Which tests are needed to tell who has a coronary artery narrowed by more than half?",
            "positive": "a coronary artery narrowed by more than 50 % in angiography",
            "virtual": False,
            "retrospective": "Retrospective: all patients had been referred for angiography, so disease is more "
            "frequent here than among those who are first seen with chest pain.",
            "source": "UCI Heart Disease, processed files",
            "licence": "CC BY 4.0 as listed by UCI",
            "citation": "Janosi, Steinbrunn, Pfisterer, Detrano 1988, UCI Machine Learning Repository, Heart Disease",
            "n_patients": N,
            "n_positive": N_POSITIVE,
            "sites": [{"site": site, "n": n, "n_positive": positive} for site, n, positive in SITES],
            "missing": [
                {"modality": name, "title": TITLES[name], "share_done": share}
                for name, share in zip(SHOTS, (1.0, 0.93, 0.99, 0.78, 1.0, 0.71), strict=True)
            ],
        },
        "currency": "CA$",
        "price_source": "Turney 1995, Ontario Health Insurance Program fee schedule",
        "always": BASE,
        "modalities": [{"name": name, "title": TITLES[name], "always": name == "history"} for name in SHOTS],
        "axes": ["money", "visits"],
        "split": {
            "kind": "crossfit",
            "text": "Patients were split into 5 folds, 5 times over; every patient was judged once per repeat by "
            "networks that had not seen them, and the search looked only at inner folds.",
            "n_judging": N,
            "n_searching": N,
        },
        "model": {
            "kind": "amortised",
            "text": "One network that accepts any subset of the tests, an ensemble of three members, trained with "
            "random subsets in every step and calibrated by temperature on held-in patients.",
        },
        "search": {
            "how": "exact lattice of 32 protocols",
            "n_evaluated": 32,
            "complete": True,
            "history": [{"evaluated": n, "hypervolume": 0.913 * (1 - math.exp(-n / 6))} for n in (4, 8, 16, 24, 32)],
        },
        "rule": {
            "margin": MARGIN,
            "alpha": ALPHA,
            "level": LEVEL,
            "specificity": SPECIFICITY,
            "thresholds": list(THRESHOLDS),
            "primary": "money",
            "text": "The cheapest protocol whose AUC is shown to be at most .03 below today's, one-sided alpha .025.",
        },
        "budget": {"limits": {}, "text": "no limit"},
        "decision": {
            "status": "change",
            "key": PROPOSAL,
            "proposed": PROPOSAL,
            "headline": "Leave out blood panel, resting ECG and thallium: the same diagnosis for CA$ 194.20 "
            "instead of CA$ 323.97.",
            "lead": "Non-inferior to today's tests at the agreed margin of .03: AUC .908 against .913 in 303 patients "
            "the search never saw.",
            "reasons": [
                "It is the cheapest protocol that is non-inferior to today's at a margin of .03.",
                "5 other protocols cannot be told apart from it; all of them cost more.",
            ],
        },
        "reference": REFERENCE,
        "candidates": candidates,
        "considered": [
            {
                "key": key_of(names),
                "reading": reading(names),
                "cost": cost_of(names),
                "tune_auc": auc_of(names) + 0.004,
                "on_front": key_of(names) in front,
                "short_listed": names in short,
            }
            for names in rows
        ],
        "ladder": [
            {"limit": 4.0, "key": BASE, "status": "best affordable"},
            {"limit": 93.3, "key": EXERCISE, "status": "best affordable"},
            {"limit": 194.2, "key": PROPOSAL, "status": "change"},
        ],
        "adaptive": adaptive_section(),
        **explained_sections(),
        "nested": {
            "auc": auc_interval(0.902, N_POSITIVE, N - N_POSITIVE),
            "difference": interval(-0.011, 0.008),
            "optimism": 0.006,
            "picks": [
                {"key": PROPOSAL, "reading": chosen["reading"], "share": 0.72},
                {"key": REFERENCE, "reading": reading(tuple(SHOTS)), "share": 0.28},
            ],
            "text": "The whole procedure, search and choice included, was repeated in 25 outer folds.",
        },
        "guards": [
            {
                "id": "patients",
                "severity": "pass",
                "title": "Enough patients",
                "detail": "303 patients, 139 with disease.",
                "vetoes": False,
            },
            {
                "id": "search",
                "severity": "pass",
                "title": "The search is complete",
                "detail": "All 32 protocols were scored.",
                "vetoes": False,
            },
            {
                "id": "sites",
                "severity": "warning",
                "title": "Sites disagree",
                "detail": "In va the interval crosses the margin.",
                "vetoes": False,
            },
            {
                "id": "edge",
                "severity": "info",
                "title": "Not at the edge of the menu",
                "detail": "3 of 6 tests are kept.",
                "vetoes": False,
            },
        ],
        "audit": [
            {
                "id": "site_label",
                "severity": "warning",
                "title": "The site says something about the label",
                "detail": "Prevalence runs from 30 % to 52 % between sites.",
                "vetoes": False,
            },
            {
                "id": "requires",
                "severity": "pass",
                "title": "No test needed another one",
                "detail": "No modality declares `requires`.",
                "vetoes": False,
            },
            {
                "id": "overlap",
                "severity": "pass",
                "title": "No patient on both sides of a split",
                "detail": "Checked in 25 folds.",
                "vetoes": False,
            },
        ],
        "sensitivity": [
            "A margin below .017 instead of .03: then today's protocol stays.",
            "A budget below CA$ 194.20: then exercise ECG without fluoroscopy, undecided against today.",
            "A price of fluoroscopy above CA$ 230.67: then it saves nothing.",
        ],
        "provenance": {
            "command": "scanwise experiment=heart cohort.sites=[cleveland]",
            "config_hash": "3f1c9a70b2e4",
            "data_hash": "a74b7efa387b",
            "versions": {"scanwise": "0.1.0", "torch": "2.13.0", "optuna": "5.0.0"},
            "seed": 7,
            "started": "2026-08-01T09:30:00Z",
            "stages": [
                {"stage": "fit", "seconds": 61.2},
                {"stage": "search", "seconds": 2.4},
                {"stage": "confirm", "seconds": 9.9},
            ],
            "model_files": 25,
        },
    }
