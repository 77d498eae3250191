"""Methods text, ready to paste, and where every number comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scanwise.report import formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.inputs import Inputs, assessment, auc_of, versus

_REFERENCES = {
    "delong": "DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated receiver "
    "operating characteristic curves: a nonparametric approach. Biometrics 1988;44:837-845.",
    "holm": "Holm S. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics "
    "1979;6:65-70.",
    "calibration": "Van Calster B, McLernon DJ, van Smeden M, et al. Calibration: the Achilles heel of predictive "
    "analytics. BMC Medicine 2019;17:230.",
    "net benefit": "Vickers AJ, Elkin EB. Decision curve analysis: a novel method for evaluating prediction models. "
    "Medical Decision Making 2006;26:565-574.",
    "wilson": "Wilson EB. Probable inference, the law of succession, and statistical inference. Journal of the "
    "American Statistical Association 1927;22:209-212.",
}


def methods(inputs: Inputs) -> Card:
    """Return the methods section of a paper, filled in; references only for what was done."""
    how = (
        "Ready to paste, numbers filled in. In the bad case a sentence here does not describe what you wanted to know."
    )
    study, rule = inputs.study, inputs.data.get("rule") or {}
    cited: list[str] = []

    def cite(name: str) -> str:
        text = _REFERENCES.get(name, name)
        if text not in cited:
            cited.append(text)
        return f"[{cited.index(text) + 1}]"

    n, positive = study.get("n_patients"), study.get("n_positive")
    source = f" ({study['source']})" if study.get("source") else ""
    source += f" {cite(str(study['citation']))}" if study.get("citation") else ""
    kind = "virtual patients" if study.get("virtual") else "patients"
    share = f" ({formats.percent(positive / n)})" if n and positive is not None else ""
    patients = f"We studied {formats.count(n)} {kind}{source}, of whom {formats.count(positive)}{share} had "
    patients += f"{study.get('positive') or 'the disease'}."
    sites = study.get("sites") or ()
    if len(sites) > 1:
        patients += f" They came from {len(sites)} sites: " + ", ".join(f"{s['site']} ({s['n']})" for s in sites) + "."
    if study.get("retrospective"):
        patients += f" {study['retrospective']}"
    paragraphs = [patients]
    axes = ", ".join(formats.AXIS_TITLES.get(axis, axis).lower() for axis in inputs.axes)
    searching = inputs.data.get("search") or {}
    what = (
        f"Every protocol was priced ({axes}); a session fee shared by several tests was paid once. Today's protocol, "
        f"the reference, was: {inputs.reference['reading']} ({_price(inputs, inputs.reference)})."
    )
    if inputs.data.get("price_source"):
        what += f" Prices were taken from {cite('Prices: ' + str(inputs.data['price_source']))}."
    if searching:
        evaluated = formats.plural(int(searching.get("n_evaluated") or 0), "protocol")
        what += f" {evaluated} were scored ({searching.get('how')})."
    paragraphs.append(what)
    for part in ("model", "split"):
        text = (inputs.data.get(part) or {}).get("text")
        if text:
            paragraphs.append(_sentence(str(text)))
    found = assessment(inputs.shown)
    if auc_of(inputs.shown):
        text = (
            f"The area under the ROC curve (AUC) was estimated with the variance of DeLong {cite('delong')}, "
            "patients being the unit of resampling."
        )
        compared = [candidate for candidate in inputs.candidates if versus(candidate)]
        if compared and inputs.margin is not None:
            text += (
                " A protocol was called non-inferior where its AUC was shown to be less than "
                f"{formats.margin(inputs.margin)} below the reference (one-sided alpha "
                f"{formats.auc(rule.get('alpha'))})."
            )
            if len(compared) > 1:
                text += f" Claims of being better were adjusted for {len(compared)} comparisons by Holm's method "
                text += f"{cite('holm')}."
        if (found.get("calibration") or {}).get("curve"):
            text += (
                f" Calibration was described by slope, intercept and groups of predicted risk {cite('calibration')} "
            )
            text += f"with Wilson intervals {cite('wilson')}."
        if found.get("net_benefit"):
            thresholds = ", ".join(formats.percent(point["threshold"]) for point in found["net_benefit"])
            text += f" Net benefit was computed at thresholds agreed beforehand ({thresholds}) {cite('net benefit')}."
        paragraphs.append(text)
    if rule.get("text"):
        asked = (inputs.data.get("budget") or {}).get("text")
        paragraphs.append(f"Rule of choice: {rule['text']}" + (f" Budget: {asked}." if asked else ""))
    result = f"{inputs.shown['reading']} reached an AUC of {formats.with_limits(auc_of(inputs.shown))}"
    if inputs.changes:
        difference = formats.with_limits(versus(inputs.shown).get("difference"), formats.signed)
        result += (
            f" at {_price(inputs, inputs.shown)}, against {formats.with_limits(auc_of(inputs.reference))} at "
            f"{_price(inputs, inputs.reference)} today; difference {difference}, {inputs.verdict(inputs.shown)}"
        )
    lead = "" if inputs.chosen else "No protocol fitted the budget. "
    paragraphs.append(f"{lead}{result[0].upper()}{result[1:]}.")
    references = tuple(f"[{index}] {text}" for index, text in enumerate(cited, start=1))
    lists = (("References", references),) if references else ()
    title = f"Methods text with {formats.plural(len(cited), 'reference')}"
    return Card("methods", title, how, paragraphs=tuple(paragraphs), lists=lists)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _price(inputs: Inputs, candidate: Mapping[str, Any]) -> str:
    return inputs.price(inputs.cost_of(candidate, inputs.primary))


def provenance(inputs: Inputs) -> Card:
    """Return command, versions, seeds, hashes and timings."""
    how = "Enough to run it again. In the bad case a hash differs from the one in the manifest of the run."
    found = inputs.data.get("provenance") or {}
    if not found:
        return not_applicable("provenance", "Provenance", how, "no provenance was stored")
    labels = {
        "command": "Command",
        "config_hash": "Configuration (hash)",
        "data_hash": "Data (hash)",
        "seed": "Seed",
        "started": "Started",
        "model_files": "Networks",
    }
    rows = [
        Row({"what": label, "value": str(found[name])}) for name, label in labels.items() if found.get(name) is not None
    ]
    rows += [
        Row({"what": f"Version of {name}", "value": str(version)})
        for name, version in sorted((found.get("versions") or {}).items())
    ]
    seconds = [formats.finite(stage.get("seconds")) or 0.0 for stage in found.get("stages") or ()]
    rows += [
        Row({"what": f"Time of {stage.get('stage')}", "value": f"{time:.1f} s"})
        for stage, time in zip(found.get("stages") or (), seconds, strict=True)
    ]
    columns = (Column("what", "What"), Column("value", "Value"))
    title = f"Computed in {sum(seconds):.0f} s" if seconds else "Where the numbers come from"
    if found.get("seed") is not None:
        title += f" with seed {found['seed']}"
    return Card("provenance", title, how, table=Table("Provenance", columns, tuple(rows)))
