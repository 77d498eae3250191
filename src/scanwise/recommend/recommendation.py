"""From score tables to a recommendation: chosen on searching patients, judged on others, guarded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import norm

from scanwise.design import Budget, Cost, Menu, Protocol, amount, capitalised, listed
from scanwise.errors import ScanwiseError
from scanwise.evidence import (
    Assessment,
    Comparison,
    Interval,
    ScoreTable,
    assess_all,
    auc_with_covariance,
    logit_interval,
    normal_interval,
    short,
)
from scanwise.evidence.assess import MINIMUM_PER_SITE
from scanwise.recommend.adaptive import Walks, adaptive
from scanwise.recommend.choose import Choice, Chooser, Rule, nested_table, one_round
from scanwise.recommend.explained import Explained, contributions, doubts, flips, groups, layout, pictures
from scanwise.recommend.findings import Finding, by_severity
from scanwise.recommend.grounds import grounds
from scanwise.recommend.guards import Case, guards

SCHEMA_VERSION = 1
_CONSIDERED_SHOWN = 2000
_PROCEDURE = "procedure"


@dataclass(frozen=True, eq=False)
class Record:
    """What the earlier stages left behind, all that a recommendation needs."""

    menu: Menu
    study: Mapping[str, Any]
    """Data card of the cohort."""
    done: Mapping[str, Mapping[str, float]]
    """Share of patients per site and modality in whom the modality was done."""
    tune: ScoreTable
    """Short list, scored on searching patients: one round per outer fold."""
    test: ScoreTable
    """Short list, scored on judging patients: one round per repeat, one stratum per fold."""
    places: Sequence[tuple[int, int]]
    """Round and stratum in `test` of every round of `tune`."""
    roles: Mapping[str, Sequence[str]]
    """Why a protocol is on the short list."""
    searches: Sequence[Mapping[str, Any]]
    """``{how, complete, history}`` per outer fold."""
    considered: Sequence[Mapping[str, Any]]
    """All protocols that were searched: ``{key, tune_auc}``."""
    audit: Sequence[Finding] = ()
    split: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    walks: Walks | None = None
    explained: Explained | None = None


class Recommendation:
    """What to acquire, with its evidence; a readable view of ``recommendation.json``.

    Parameters
    ----------
    content : the plain data, see the keys in the report schema.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content

    @property
    def protocol(self) -> Protocol | None:
        """The protocol to acquire, `None` where nothing is affordable."""
        key = self.content["decision"]["key"]
        return None if key is None else Protocol.from_key(key)

    @property
    def status(self) -> str:
        """``"change"``, ``"no change"``, ``"best affordable"`` or ``"nothing affordable"``."""
        return str(self.content["decision"]["status"])

    @property
    def candidates(self) -> dict[str, Mapping[str, Any]]:
        """The short list by key, with cost and assessment."""
        return {candidate["key"]: candidate for candidate in self.content["candidates"]}

    def to_dict(self) -> dict[str, Any]:
        """Return the plain data."""
        return dict(self.content)

    def __repr__(self) -> str:
        decision = self.content["decision"]
        lines = [f"Recommendation ({self.content['budget']['text']}): {decision['headline']}", f"  {decision['lead']}"]
        return "\n".join(lines)


def recommend(record: Record, budget: Budget, rule: Rule) -> Recommendation:
    """Choose, judge and guard.

    Parameters
    ----------
    record : what the earlier stages left behind.
    budget : upper limits.
    rule : how to choose and judge.
    """
    menu, reference = record.menu, record.menu.reference.key
    keys = record.test.protocols
    costs = {key: menu.price(Protocol.from_key(key)) for key in keys}
    assessments = dict(
        zip(
            keys,
            assess_all(
                record.test,
                keys,
                reference,
                margin=rule.margin,
                alpha=rule.alpha,
                level=rule.level,
                specificity=rule.specificity,
                thresholds=rule.thresholds,
                n_resamples=rule.n_resamples,
                seed=rule.seed,
            ),
            strict=True,
        )
    )
    # with one round the judging patients took no part in the choice
    in_sequence = record.tune.n_rounds == 1
    chooser = Chooser(record.tune, costs, reference, rule, _confirmed(assessments) if in_sequence else None)
    choice = chooser.pick(budget)
    nested = None if in_sequence else _nested(record, chooser, costs, choice, budget, rule)
    findings: list[Finding] = []
    if choice.key is not None:
        findings = guards(_case(record, assessments, choice.key, budget, rule, nested))
    decision = _decide(record, choice, assessments, costs, [*findings, *record.audit], budget, rule, nested)
    axes = [rule.primary, *(axis for axis in menu.priced_axes() if axis != rule.primary)]
    content = {
        "schema_version": SCHEMA_VERSION,
        "study": dict(record.study),
        "currency": menu.currency,
        "price_source": menu.source,
        "axes": [axis for axis in axes if axis in menu.priced_axes()],
        "split": {
            **record.split,
            "n_judging": int(record.test.judged.sum()),
            "n_searching": int(record.tune.judged.sum()),
        },
        "model": dict(record.model),
        "search": {
            "how": record.searches[0]["how"],
            "n_evaluated": max(len(record.considered), record.searches[0].get("n_scored") or 0),
            "complete": all(search["complete"] for search in record.searches),
            "history": list(record.searches[0]["history"]),
        },
        "rule": {
            "margin": rule.margin,
            "alpha": rule.alpha,
            "level": rule.level,
            "specificity": rule.specificity,
            "thresholds": list(rule.thresholds),
            "primary": rule.primary,
            "text": rule.reading(in_sequence=in_sequence),
        },
        "budget": {"limits": budget.limits, "text": budget.reading(menu.currency)},
        "decision": decision,
        "reference": reference,
        "always": menu.always.key,
        "modalities": [
            {"name": name, "title": modality.title, "always": name in menu.always.modalities}
            for name, modality in menu.modalities.items()
        ],
        "candidates": _candidates(record, chooser, assessments, costs, decision["key"], budget, rule),
        "considered": _considered(record, keys),
        "ladder": [{"limit": limit, "key": step.key, "status": step.status} for limit, step in chooser.ladder(budget)],
        "choice": grounds(chooser),
        "nested": nested,
        "flips": flips(record.test, decision["key"], reference, rule),
        "contributions": contributions(record.explained, menu, rule),
        "groups": groups(record.explained, record.test, decision["key"], reference, rule),
        "doubts": doubts(record.explained, decision["key"], reference, rule),
        "pictures": pictures(record.explained, decision["key"], reference),
        "layout": layout(menu),
        "adaptive": adaptive(record.walks, menu, record.tune, record.test, decision["key"], rule),
        "guards": [finding.to_dict() for finding in by_severity(findings)],
        "audit": [finding.to_dict() for finding in by_severity(record.audit)],
        "sensitivity": _sensitivity(record, chooser, choice, assessments, costs, budget, rule),
        "provenance": dict(record.provenance),
    }
    return Recommendation(content)


def _confirmed(assessments: Mapping[str, Assessment]) -> dict[str, bool]:
    """Return which protocols the judging patients show to be non-inferior."""
    return {
        key: one.versus_reference is not None and one.versus_reference.verdict in ("better", "non-inferior")
        for key, one in assessments.items()
    }


def _nested(
    record: Record, chooser: Chooser, costs: Mapping[str, Cost], choice: Choice, budget: Budget, rule: Rule
) -> dict[str, Any]:
    reference = record.menu.reference.key
    rounds = [one_round(record.tune, index) for index in range(record.tune.n_rounds)]
    picks = [Chooser(table, costs, reference, rule).pick(budget).key for table in rounds]
    picked = [key for key in picks if key is not None]
    if not picked:
        return {"auc": None, "difference": None, "optimism": None, "picks": [], "text": "Nothing is affordable."}
    table = nested_table(record.test, picks, record.places, reference, _PROCEDURE)
    estimates = auc_with_covariance(table, (_PROCEDURE, reference))
    difference, se = estimates.difference_to(reference)
    area = logit_interval(float(estimates.value[0]), float(estimates.se[0]), rule.level)
    shares = {key: picked.count(key) / len(picks) for key in dict.fromkeys(picked)}
    optimism = float(chooser.auc[chooser.keys.index(choice.key)] - area.value) if choice.key else None
    return {
        "auc": area.to_dict(),
        "difference": normal_interval(float(difference[0]), float(se[0]), rule.level).to_dict(),
        "optimism": optimism,
        "picks": [
            {"key": key, "reading": record.menu.reading(Protocol.from_key(key)), "share": share}
            for key, share in sorted(shares.items(), key=lambda item: (-item[1], item[0]))
        ],
        "text": (
            "In every outer fold the rule picked a protocol without the patients who judge it; this is what the whole "
            "procedure, choice included, reaches on patients it never saw."
        ),
    }


def _case(
    record: Record,
    assessments: Mapping[str, Assessment],
    key: str,
    budget: Budget,
    rule: Rule,
    nested: Mapping[str, Any] | None,
) -> Case:
    menu = record.menu
    minimal = menu.always.key if menu.always.modalities and menu.always.key in assessments else None
    shares = {} if nested is None else {pick["key"]: pick["share"] for pick in nested["picks"]}
    judged = np.unique(record.test.site[record.test.judged]).tolist()
    gains = {site: _gain(record.test, key, minimal, rule.level, site) for site in judged}
    learned = auc_with_covariance(record.tune, (key,))
    learned_gain = _gain(record.tune, key, minimal, rule.level, None)
    return Case(
        menu=menu,
        proposed=assessments[key],
        reference=assessments[menu.reference.key],
        minimal=None if minimal is None else assessments[minimal],
        gain_by_site={site: gain for site, gain in gains.items() if gain is not None},
        learned_gain=learned_gain or Interval.unknown(rule.level),
        learned_auc=logit_interval(float(learned.value[0]), float(learned.se[0]), rule.level),
        margin=rule.margin,
        learned_at=np.unique(record.tune.site[record.tune.judged]).tolist(),
        done=record.done,
        searches=record.searches,
        pick_share=None if nested is None else shares.get(key, 0.0),
        nested=None if nested is None or nested["difference"] is None else Interval.from_dict(nested["difference"]),
        affordable_reference=budget.allows(menu.price(menu.reference)),
        nested_auc=None if nested is None or nested["auc"] is None else Interval.from_dict(nested["auc"]),
    )


def _gain(table: ScoreTable, key: str, minimal: str | None, level: float, site: str | None) -> Interval | None:
    """AUC of a protocol minus AUC of the minimal one, or minus 0.5; `None` where the site cannot be judged."""
    chosen = table if site is None else table.subset((table.site == site) & table.judged)
    if min(chosen.n_positive, chosen.n - chosen.n_positive) < MINIMUM_PER_SITE:
        return None
    try:
        estimates = auc_with_covariance(chosen, (key,) if minimal in (None, key) else (minimal, key))
    except ScanwiseError:  # few patients of a site, spread over so many folds that none can be compared
        return None
    if minimal is None or minimal == key:
        return normal_interval(float(estimates.value[0]) - 0.5, float(estimates.se[0]), level)
    difference, se = estimates.difference_to(minimal)
    return normal_interval(float(difference[1]), float(se[1]), level)


def _decide(
    record: Record,
    choice: Choice,
    assessments: Mapping[str, Assessment],
    costs: Mapping[str, Cost],
    findings: Sequence[Finding],
    budget: Budget,
    rule: Rule,
    nested: Mapping[str, Any] | None,
) -> dict[str, Any]:
    menu, reference = record.menu, record.menu.reference.key
    currency = menu.currency
    today = f"{amount(rule.primary, costs[reference][rule.primary], currency)}"
    if choice.key is None:
        cheapest = min(costs, key=lambda key: costs[key][rule.primary])
        missed = {axis: excess for axis, excess in budget.violations(costs[cheapest]).items() if excess > 1e-9}
        by = ", ".join(f"{axis.replace('_', ' ')} by {excess:g}" for axis, excess in missed.items())
        return {
            "status": "nothing affordable",
            "key": None,
            "proposed": None,
            "headline": f"No protocol fits: {budget.reading(currency)}.",
            "lead": f"The cheapest one, {menu.reading(Protocol.from_key(cheapest))}, costs "
            f"{costs[cheapest].reading(currency)}{f' and misses {by}' if by else ''}.",
            "reasons": [],
        }
    proposed = Protocol.from_key(choice.key)
    price = amount(rule.primary, costs[choice.key][rule.primary], currency)
    assessment = assessments[choice.key]
    comparison = assessment.versus_reference
    evidence = f"AUC {assessment.auc.reading()}"
    if comparison is not None:
        evidence += (
            f" against {short(assessments[reference].auc.value)} today, difference {comparison.difference.reading()}, "
            f"margin {short(rule.margin, 2)}"
        )
    if nested is None:
        evidence += f"; judged on {assessment.n} patients the search never saw."
    else:  # with cross-fitting the final pick rests on all patients, so the whole procedure is judged beside it
        evidence += f"; judged on {assessment.n} patients by networks that never saw them."
        if comparison is not None and nested["difference"] is not None:
            procedure = Interval.from_dict(nested["difference"])
            evidence += f" With the choice left to other patients as well: {procedure.reading()}."
    vetoes = [finding for finding in findings if finding.vetoes]
    confirmed = comparison is None or comparison.verdict in ("better", "non-inferior")
    if choice.key == reference:
        status, key = "no change", reference
        headline = f"Keep today's protocol: nothing cheaper is shown to be as good ({today})."
    elif choice.status == "best affordable" or not (confirmed or budget.allows(costs[reference])):
        status, key = "best affordable", choice.key
        headline = (
            f"{capitalised(budget.reading(currency))}: {menu.reading(proposed)} is the best there is, for {price}."
        )
        evidence = f"Not shown to be as good as today's protocol ({today}). {evidence}"
    elif vetoes:
        status, key = "no change", reference
        over = "" if budget.allows(costs[reference]) else ", although it is over the budget"
        headline = f"Keep today's protocol ({today}{over}): the cheaper one did not pass."
        why = " ".join(finding.title for finding in vetoes)
        evidence = f"{why} It would have been {menu.reading(proposed)} for {price}. {evidence}"
    else:
        status, key = "change", choice.key
        quality = _quality(comparison, rule.margin)
        headline = f"{capitalised(_difference(menu, proposed))}: {quality} for {price} instead of {today}."
    return {
        "status": status,
        "key": key,
        "proposed": choice.key,
        "headline": headline,
        "lead": capitalised(evidence),
        "reasons": [finding.title for finding in vetoes],
    }


def _difference(menu: Menu, proposed: Protocol) -> str:
    """Say what changes against the reference: ``"leave out the blood panel and resting ECG"``."""
    reference = menu.reference
    dropped = [
        menu.modalities[name].title
        for name in menu.modalities
        if name in reference.modalities and name not in proposed.modalities
    ]
    added = [
        menu.modalities[name].title
        for name in menu.modalities
        if name in proposed.modalities and name not in reference.modalities
    ]
    changed = [
        menu.modalities[name].describe(proposed.counts(name))
        for name in menu.modalities
        if proposed.counts(name) and reference.counts(name) and proposed.counts(name) != reference.counts(name)
    ]
    parts = [f"leave out {listed(dropped)}"] if dropped else []
    parts += [f"add {listed(added)}"] if added else []
    parts += [f"acquire {listed(changed)}"] if changed else []
    return ", ".join(parts) or "acquire what is acquired today"


def _candidates(
    record: Record,
    chooser: Chooser,
    assessments: Mapping[str, Assessment],
    costs: Mapping[str, Cost],
    recommended: str | None,
    budget: Budget,
    rule: Rule,
) -> list[dict[str, Any]]:
    menu = record.menu
    alike: dict[str, bool] = {}
    if recommended is not None:
        difference, se = auc_with_covariance(record.test).difference_to(recommended)
        for row, key in enumerate(record.test.protocols):
            interval = normal_interval(float(difference[row]), float(se[row]), rule.level)
            alike[key] = interval.low <= 0 <= interval.high
    rows = []
    for key, assessment in assessments.items():
        protocol = Protocol.from_key(key)
        bought = [
            name for name in menu.modalities if name in protocol.modalities and name not in menu.always.modalities
        ]
        rows.append(
            {
                "key": key,
                "reading": menu.reading(protocol),
                "title_short": " + ".join(menu.modalities[name].describe(protocol.counts(name)) for name in bought)
                or "nothing more",
                "modalities": list(protocol.modalities),
                "counts": protocol.to_dict(),
                "console": {name: menu.modalities[name].console(protocol.counts(name)) for name in protocol.modalities},
                "cost": costs[key].to_dict(),
                "bill": [
                    {"label": item.label, "kind": item.kind, "cost": item.cost.to_dict()}
                    for item in menu.bill(protocol)
                ],
                "roles": list(record.roles.get(key, ())),
                "tune_auc": float(chooser.auc[chooser.keys.index(key)]),
                "on_front": "front" in record.roles.get(key, ()),
                "feasible": budget.allows(costs[key]),
                "indistinguishable_from_recommended": alike.get(key, False),
                "assessment": assessment.to_dict(),
            }
        )
    return sorted(rows, key=lambda row: (row["cost"][rule.primary], row["key"]))


def _considered(record: Record, short: Sequence[str]) -> list[dict[str, Any]]:
    best_first = sorted(record.considered, key=lambda row: (-row["tune_auc"], row["key"]))[:_CONSIDERED_SHOWN]
    protocols = [Protocol.from_key(row["key"]) for row in best_first]
    prices = record.menu.price_many(protocols)
    return [
        {
            "key": row["key"],
            "reading": record.menu.reading(protocol),
            "cost": Cost.from_array(price).to_dict(),
            "tune_auc": row["tune_auc"],
            "on_front": bool(row["on_front"]),
            "short_listed": row["key"] in short,
        }
        for row, protocol, price in zip(best_first, protocols, prices, strict=True)
    ]


def _sensitivity(
    record: Record,
    chooser: Chooser,
    choice: Choice,
    assessments: Mapping[str, Assessment],
    costs: Mapping[str, Cost],
    budget: Budget,
    rule: Rule,
) -> list[str]:
    """Say what would change the advice, by moving one assumption at a time and choosing again."""
    if choice.key is None:
        return []
    menu, axis = record.menu, rule.primary
    sentences = []
    comparison = assessments[choice.key].versus_reference
    if comparison is not None:
        # the least margin that is met, rounded to the side on which the sentence stays true
        least = 1000 * (norm.isf(rule.alpha) * comparison.difference.se - comparison.difference.value)
        if comparison.verdict == "non-inferior" and least >= 1:
            needed = short(math.floor(least) / 1000)
            sentences.append(f"A margin below {needed} instead of {short(rule.margin, 2)}: it would not be confirmed.")
        if comparison.verdict in ("undecided", "inferior"):
            needed = short(math.ceil(least) / 1000)
            sentences.append(f"A margin above {needed} instead of {short(rule.margin, 2)}: it would be confirmed.")
    steps = chooser.ladder(budget)
    mine = [index for index, (_, step) in enumerate(steps) if step.key == choice.key]
    if mine and mine[0] > 0:
        limit, below = steps[mine[0]][0], steps[mine[0] - 1][1]
        sentences.append(
            f"Less than {amount(axis, limit, menu.currency)} to spend: "
            f"{menu.reading(Protocol.from_key(below.key or ''))} would be picked."
        )
    if mine and mine[-1] + 1 < len(steps):
        limit, above = steps[mine[-1] + 1]
        sentences.append(
            f"{amount(axis, limit, menu.currency)} or more to spend: "
            f"{menu.reading(Protocol.from_key(above.key or ''))} would be picked."
        )
    proposed = Protocol.from_key(choice.key)
    rivals: dict[str, tuple[float, str]] = {}
    for key in chooser.non_inferior_by_price():
        if key == choice.key or not budget.allows(costs[key]):
            continue
        gap = costs[key][axis] - costs[choice.key][axis]
        for name in proposed.modalities:
            if name not in Protocol.from_key(key).modalities:
                rivals.setdefault(name, (gap, key))
    for name, (gap, key) in sorted(rivals.items(), key=lambda item: item[1])[:3]:
        sentences.append(
            f"{capitalised(menu.modalities[name].title)} dearer by more than {amount(axis, gap, menu.currency)}: "
            f"{menu.reading(Protocol.from_key(key))} would be picked."
        )
    return sentences


def _quality(comparison: Comparison | None, margin: float) -> str:
    """Return what may be said of the diagnosis of a confirmed protocol, against today's."""
    if comparison is not None and comparison.verdict == "better":
        return "a better diagnosis"
    if comparison is not None and comparison.difference.high < 0:  # shown to be lower, if by less than the margin
        return f"an AUC lower by less than the margin of {short(margin, 2)}"
    return "the same diagnosis"
