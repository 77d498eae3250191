"""The methods section of a paper: every sentence computed from the recommendation, with its sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from scanwise.report import formats, references
from scanwise.report.inputs import Inputs, assessment, auc_of, versus
from scanwise.report.references import Reference, free_text

Piece = str | Reference
Sentences = list[Piece]

_NOTHING = ("", "none", "n/a", "-", "unknown")
"""Citations that are none."""
_FEW_SITES = 8
"""Sites up to which each is named."""
_HASH = 12
"""Signs of a hash that are shown."""
_LOSSES = {"brier": "Brier score", "log_loss": "log-loss"}


def write(inputs: Inputs) -> dict[str, Any]:
    """Compute the section.

    Returns
    -------
    Plain data: ``{"paragraphs": [{"heading", "pieces": [text or {"cite": [key, ...]}, ...]}, ...],
    "references": [{"key", "text", "bibtex"}, ...], "rule": the rule of choice}``; references in the order of their
    first citation.
    """
    parts = (
        ("Aim", _aim),
        ("Patients", _patients),
        ("Tests and missing data", _tests),
        ("Protocols and prices", _protocols),
        ("Data partitions", _partitions),
        ("Model", _model),
        ("Evaluation", _evaluation),
        ("Rule of choice and multiplicity", _rule),
        ("Decisions patient by patient", _adaptive),
        ("Safeguards", _safeguards),
        ("Software and reporting", _software),
        ("Result", _result),
    )
    paragraphs: list[dict[str, Any]] = []
    cited: dict[str, Reference] = {}
    for heading, compute in parts:
        pieces: list[Any] = []
        for piece in compute(inputs):
            if isinstance(piece, str):
                pieces.append(piece)
                continue
            cited.setdefault(piece.key, piece)
            if pieces and isinstance(pieces[-1], dict):
                pieces[-1]["cite"].append(piece.key)
            else:
                pieces.append({"cite": [piece.key]})
        if pieces:
            paragraphs.append({"heading": heading, "pieces": pieces})
    return {
        "paragraphs": paragraphs,
        "references": [{"key": key, "text": one.text, "bibtex": one.bibtex} for key, one in cited.items()],
        "rule": _sentence((inputs.data.get("rule") or {}).get("text")),
    }


def plain_text(section: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return paragraphs with numbers for citations, and the numbered list of references."""
    number = {entry["key"]: index for index, entry in enumerate(section["references"], start=1)}
    paragraphs = tuple(
        "".join(
            piece if isinstance(piece, str) else f"[{', '.join(str(number[key]) for key in piece['cite'])}]"
            for piece in paragraph["pieces"]
        )
        for paragraph in section["paragraphs"]
    )
    return paragraphs, tuple(f"[{number[entry['key']]}] {entry['text']}" for entry in section["references"])


def _aim(inputs: Inputs) -> Sentences:
    question = str(inputs.study.get("question") or "").strip()
    pieces: Sentences = [f"The clinical question was: {_sentence(question)} "] if question else []
    pieces.append(
        "We asked which acquisition protocol on offer, and how long each part of it, keeps the diagnosis of today's "
        f"protocol at the lowest {_axis(inputs.primary)}"
    )
    if inputs.margin is not None:
        pieces[-1] = f"{pieces[-1]}; the hypothesis was non-inferiority of the area under the ROC curve (AUC)"
    return [*pieces[:-1], f"{pieces[-1]}."]


def _patients(inputs: Inputs) -> Sentences:
    study = inputs.study
    n, positive, virtual = study.get("n_patients"), study.get("n_positive"), bool(study.get("virtual"))
    source = f" ({_words(study['source'])})" if study.get("source") else ""
    pieces: Sentences = [f"We studied {formats.count(n)} {'virtual patients' if virtual else 'patients'}{source}"]
    citation = _citation("study", study.get("citation"))
    pieces += [" ", citation] if citation else []
    share = f" ({formats.percent(positive / n)})" if n and positive is not None else ""
    text = f", of whom {formats.count(positive)}{share} had "
    text += f"{_words(study.get('positive') or 'the disease')}; this was the reference standard."
    if virtual:
        text += " The patients are simulated: nobody was examined."
        assumed = study.get("assumptions") or ()
        if assumed:
            text += (
                f" Of the numbers they are made from, {formats.count(len(assumed))} were assumed rather than measured "
                "and are listed in the report."
            )
    sites = study.get("sites") or ()
    if len(sites) > 1:
        text += f" They came from {len(sites)} sites ({_listed(sites)})."
    for told in (study.get("retrospective"), *(study.get("notes") or ())):
        text += f" {_stopped(told)}" if told else ""
    text += " No sample size was calculated beforehand; the patients of the cohort were taken as they are."
    pieces.append(text)
    return pieces + _precision(inputs)


def _listed(sites: Sequence[Mapping[str, Any]]) -> str:
    """Return the sites with their patients; of many, only from where to where they run."""
    if len(sites) <= _FEW_SITES:
        return "; ".join(
            f"{_words(site['site'])}: {formats.count(site.get('n'))}, {formats.count(site.get('n_positive'))} positive"
            for site in sites
        )
    sizes = [int(site["n"]) for site in sites]
    shares = [site["n_positive"] / site["n"] for site in sites if site["n"]]
    return (
        f"{formats.count(min(sizes))} to {formats.count(max(sizes))} patients each, {formats.percent(min(shares))} to "
        f"{formats.percent(max(shares))} positive"
    )


def _precision(inputs: Inputs) -> Sentences:
    """Say what the number of patients was good for: the power against no difference at the standard error reached."""
    found = inputs.by_key.get(str(inputs.decision.get("proposed"))) or inputs.shown
    difference = versus(found).get("difference") or {}
    se, alpha = formats.finite(difference.get("se")), formats.finite((inputs.data.get("rule") or {}).get("alpha"))
    if not se or se <= 0 or inputs.margin is None or alpha is None or not 0 < alpha < 1:
        return []
    power = NormalDist().cdf(inputs.margin / se - NormalDist().inv_cdf(1 - alpha))
    chance = "more than 99 %" if power > 0.99 else formats.percent(power)
    return [
        f" With the standard error that was reached ({formats.auc(se)} for the difference in AUC), a protocol exactly "
        f"as good as the reference would be shown to be non-inferior with a probability of {chance}."
    ]


def _tests(inputs: Inputs) -> Sentences:
    offered = [entry for entry in inputs.data.get("modalities") or () if isinstance(entry, Mapping)]
    names = [_words(inputs.titles[str(entry["name"])]) for entry in offered] or [*map(_words, inputs.titles.values())]
    text = f"{formats.plural(len(names), 'test')} {'was' if len(names) == 1 else 'were'} on offer: {', '.join(names)}."
    always = [_words(inputs.titles[str(entry["name"])]) for entry in offered if entry.get("always")]
    if always:
        text += f" Mandatory in every protocol: {', '.join(always)}."
    text += " All of them were candidate predictors; none was selected beforehand."
    entries = inputs.study.get("missing") or ()
    rare = [
        f"{_words(inputs.titles[str(entry['modality'])])} {100 * entry['share_done']:.1f} %"
        for entry in entries
        if (formats.finite(entry.get("share_done")) or 1.0) < 1
    ]
    if entries and not rare:
        text += " Every test was done in every patient."
    elif rare:
        text += f" Not every patient had every test; done in: {', '.join(rare)}."
    kind = str((inputs.data.get("model") or {}).get("kind") or "")
    if "network" in kind or "amortised" in kind:
        text += " A test or a value that was absent was left absent, not imputed: the network has learned to read any "
        text += "subset of them."
    elif "logistic" in kind:
        text += " A value that was absent counted as the mean of the patients that were learned from, and was marked "
        text += "by an indicator."
    return [text]


def _protocols(inputs: Inputs) -> Sentences:
    axes = ", ".join(_axis(axis) for axis in inputs.axes)
    pieces: Sentences = [
        f"A protocol says how often every shot of every test is acquired. It was priced ({axes}); a session fee shared "
        f"by several tests was paid once. Today's protocol, the reference, was: {_words(inputs.reference['reading'])} "
        f"({_price(inputs, inputs.reference)})."
    ]
    prices = _citation("prices", inputs.data.get("price_source"), "Prices: ")
    if prices:
        pieces += [" Prices were taken from ", prices, "."]
    searching = inputs.data.get("search") or {}
    if searching:
        how = _words(searching.get("how") or "how is not known")
        evaluated = formats.plural(int(searching.get("n_evaluated") or 0), "protocol")
        pieces.append(f" {evaluated} {'was' if evaluated.startswith('1 ') else 'were'} scored ({how})")
        cited = {"Optuna": references.AKIBA, "TPE": references.BERGSTRA, "NSGA-II": references.DEB}
        sources = [source for word, source in cited.items() if word in how]
        pieces += [" ", *sources] if sources else []
        pieces.append(
            ": every protocol on offer was looked at."
            if searching.get("complete")
            else ". The search sampled what is on offer and may have missed a better protocol."
        )
    short = formats.plural(len(inputs.candidates), "protocol")
    pieces.append(f" The short list that was judged held {short}, the reference included.")
    return pieces


def _partitions(inputs: Inputs) -> Sentences:
    split = inputs.data.get("split") or {}
    text = _sentence(split.get("text"))
    if not text:
        return []
    text += " Parts are disjoint by patient."
    searching, judging = split.get("n_searching"), split.get("n_judging")
    if searching and judging:
        if split.get("kind") == "crossfit":
            text += (
                f" In turn, {formats.plural(int(searching), 'patient')} searched and {formats.count(judging)} judged"
            )
        else:
            text += (
                f" The search looked at {formats.plural(int(searching), 'patient')}; {formats.count(judging)} judged"
            )
        found = assessment(inputs.shown)
        if found.get("n_positive") is not None:
            text += f", {formats.count(found['n_positive'])} of them positive"
        text += "."
    if split.get("kind") == "site":
        text += " Judging at sites that were not learned from is a test on external data."
    else:
        text += " Judging patients come from the same sites as those that were learned from: an internal evaluation."
    return [text]


def _model(inputs: Inputs) -> Sentences:
    model = inputs.data.get("model") or {}
    text = _sentence(model.get("text"))
    if not text:
        return []
    pieces: Sentences = [
        f"{text} Its output is the probability of the disease. Classes were neither weighted nor resampled."
    ]
    if "temperature" in text:
        pieces += [" Probabilities were recalibrated by temperature scaling ", references.GUO, "."]
    return pieces


def _evaluation(inputs: Inputs) -> Sentences:
    found, rule = assessment(inputs.shown), inputs.data.get("rule") or {}
    if not auc_of(inputs.shown):
        return []
    kind = (inputs.data.get("split") or {}).get("kind")
    within = ", within the folds and corrected for cross-fitting" if kind == "crossfit" else ""
    pieces: Sentences = [
        f"The AUC was estimated with the variance of DeLong{within} ",
        references.DELONG,
        f"; intervals are {inputs.level} intervals, patients being the unit of resampling.",
    ]
    if found.get("sensitivity"):
        at = formats.percent(found["sensitivity"].get("specificity"))
        pieces.append(f" Sensitivity was read at a specificity of {at}, with a bootstrap interval over patients.")
    if found.get("brier") or found.get("log_loss"):
        pieces.append(" Overall accuracy of the probabilities was measured by Brier score and log-loss.")
    if (found.get("calibration") or {}).get("curve"):
        pieces += [
            " Calibration was described by slope, intercept and groups of predicted risk ",
            references.VAN_CALSTER,
        ]
        pieces += [" with Wilson intervals ", references.WILSON, "."]
    if found.get("net_benefit"):
        thresholds = ", ".join(formats.percent(point["threshold"]) for point in found["net_benefit"])
        pieces += [
            f" Net benefit was computed at thresholds agreed beforehand ({thresholds}) ",
            references.VICKERS,
            ".",
        ]
    judged = [site for site in found.get("sites") or () if site.get("auc")]
    if len(judged) > 1:
        pieces.append(f" The {len(judged)} sites with enough patients of both classes were also judged alone")
        if any("Cochran" in str(guard.get("detail")) for guard in _checks(inputs, "guards")):
            pieces += ["; whether they agree was tested with Cochran's Q ", references.COCHRAN]
        pieces.append(".")
    groups = inputs.data.get("groups")
    if isinstance(groups, Mapping) and groups.get("groups"):
        pieces.append(
            f" The AUC was also estimated in {formats.plural(len(groups['groups']), 'group')} of patients; these were "
            "not adjusted for their number."
        )
    worth = inputs.data.get("contributions")
    if isinstance(worth, Mapping) and worth.get("parts"):
        pieces.append(" What each part of today's protocol adds to the AUC was expressed as its Shapley value.")
    if rule.get("n_resamples"):
        pieces.append(f" Bootstrap intervals rest on {formats.count(rule['n_resamples'])} draws.")
    return pieces


def _rule(inputs: Inputs) -> Sentences:
    rule = inputs.data.get("rule") or {}
    text = str(rule.get("text") or "").strip()
    compared = [candidate for candidate in inputs.candidates if versus(candidate)]
    pieces: Sentences = []
    if text:
        pieces.append(f"Rule of choice, declared before anything was judged: {_sentence(text)}")
        if "one standard error" in text:
            pieces += [" The one-standard-error rule is that of Breiman et al. ", references.BREIMAN, "."]
        asked = str((inputs.data.get("budget") or {}).get("text") or "")
        pieces.append(f" Budget: {_words(asked)}." if asked else "")
    if compared and inputs.margin is not None:
        pieces += [
            f"{' ' if pieces else ''}A protocol was called non-inferior where its AUC was shown to be less than "
            f"{formats.margin(inputs.margin)} below the reference (one-sided alpha {formats.auc(rule.get('alpha'))}) ",
            references.AHN,
            ".",
        ]
        if "fixed-sequence" in text:
            pieces += [
                " The fixed sequence keeps the error rate over all protocols that are tested ",
                references.MAURER,
                references.WESTFALL,
                ".",
            ]
        elif len(compared) > 1:
            pieces.append(
                f" The {len(compared)} comparisons with the reference were not adjusted for non-inferiority; each asks "
                "a question of its own."
            )
        if len(compared) > 1:
            pieces += [
                f" Claims of being better were adjusted for {len(compared)} comparisons by Holm's method ",
                references.HOLM,
                ".",
            ]
    nested = inputs.data.get("nested") or {}
    if nested.get("auc"):
        pieces += [
            " Because the final choice rests on all patients, the whole procedure, choice included, was also judged on "
            "patients left out (nested estimate) ",
            references.VARMA,
            f": AUC {formats.with_limits(nested['auc'])}, difference to the reference "
            f"{formats.with_limits(nested.get('difference'), formats.signed)}",
        ]
        picks = nested.get("picks") or ()
        if picks:
            chosen = next((pick for pick in picks if pick.get("key") == inputs.shown["key"]), None)
            share = formats.percent(chosen["share"]) if chosen else "none"
            pieces.append(f"; {share} of the folds picked the protocol shown here")
        pieces.append(".")
    return [piece for piece in pieces if piece]


def _adaptive(inputs: Inputs) -> Sentences:
    found = inputs.data.get("adaptive")
    if not isinstance(found, Mapping) or not found.get("applicable"):
        return []
    axis, chosen = str(found["axis"]), found["weights"][found["chosen"]]
    measure = _LOSSES.get(str(found.get("measure")), _words(found.get("measure") or "not known"))
    mean, high = chosen["cost"][axis]["mean"], chosen["cost"][axis]["p95"]
    return [
        "Besides protocols that are the same for everybody, a policy decided step by step what to acquire next in one "
        f"patient (kind: {_words(found.get('policy') or 'not known')}; loss: {measure}; "
        f"{formats.count(found.get('n_learners'))} patients to learn from). "
        f"Of {formats.plural(len(found['weights']), 'price weight')}, the largest was taken "
        "at which searching patients were diagnosed as well as by the fixed protocol. On judging patients it reached "
        f"an AUC of {formats.with_limits(chosen['auc'])} at a mean of {inputs.price(mean, axis)} (95 of 100 patients "
        f"below {inputs.price(high, axis)}); difference to the fixed protocol "
        f"{formats.with_limits(chosen['difference'], formats.signed)}."
    ]


def _safeguards(inputs: Inputs) -> Sentences:
    guards, audit = _checks(inputs, "guards"), _checks(inputs, "audit")
    if not guards and not audit:
        return []
    counts = [
        formats.plural(len(guards), "guard") + " that may forbid a change" if guards else "",
        formats.plural(len(audit), "check") + " for leakage of the diagnosis into the data" if audit else "",
    ]
    pieces: Sentences = [f"The result passed through {' and '.join(part for part in counts if part)}"]
    if any(guard.get("id") == "patients" for guard in guards):
        pieces += [", among them one on the number of patients of each class ", references.COLLINS]
    raised = [check for check in (*guards, *audit) if check.get("severity") not in ("pass", "info")]
    if raised:
        listed = " ".join(_sentence(check.get("title") or check.get("id")) for check in raised)
        pieces.append(f". Raised: {listed}")
    else:
        pieces.append(". None of them was raised.")
    return pieces


def _software(inputs: Inputs) -> Sentences:
    found = inputs.data.get("provenance") or {}
    pieces: Sentences = []
    versions = {str(name): str(version) for name, version in (found.get("versions") or {}).items()}
    if versions:
        ours = versions.pop("scanwise", "")
        commit = f" (commit {_words(found['git'])})" if found.get("git") else ""
        others = ", ".join(f"{_words(name)} {_words(version)}" for name, version in sorted(versions.items()))
        platform = f" on {_words(found['platform'])}" if found.get("platform") else ""
        pieces.append(f"Software: scanwise {_words(ours)}{commit}{f' with {others}' if others else ''}{platform}.")
    facts = []
    if found.get("seed") is not None:
        facts.append(f"random seed {_words(found['seed'])}")
    for name, words in (("config_hash", "settings"), ("data_hash", "data")):
        if found.get(name):
            facts.append(f"SHA-256 of the {words} {_words(found[name])[:_HASH]}")
    if facts:
        text = ", ".join(facts)
        pieces.append(f"{' ' if pieces else ''}{text[0].upper()}{text[1:]}; the same settings give the same result.")
    pieces += [
        f"{' ' if pieces else ''}Reporting follows CLAIM ",
        references.CLAIM,
        " and TRIPOD+AI ",
        references.TRIPOD,
        "; both checklists are filled in, with what was not done.",
    ]
    return pieces


def _result(inputs: Inputs) -> Sentences:
    result = f"{_words(inputs.shown['reading'])} reached an AUC of {formats.with_limits(auc_of(inputs.shown))}"
    if inputs.changes:
        difference = formats.with_limits(versus(inputs.shown).get("difference"), formats.signed)
        result += (
            f" at {_price(inputs, inputs.shown)}, against {formats.with_limits(auc_of(inputs.reference))} at "
            f"{_price(inputs, inputs.reference)} today; difference {difference}, {inputs.verdict(inputs.shown)}"
        )
    lead = "" if inputs.chosen else "No protocol fitted the budget. "
    return [f"{lead}{result[0].upper()}{result[1:]}."]


def _checks(inputs: Inputs, name: str) -> list[Mapping[str, Any]]:
    found = inputs.data.get(name) or ()
    return [check for check in found if isinstance(check, Mapping)] if isinstance(found, Sequence) else []


def _citation(key: str, text: Any, prefix: str = "") -> Reference | None:
    words = _words(text or "")
    return None if words.lower() in _NOTHING else free_text(key, f"{prefix}{words}")


def _price(inputs: Inputs, candidate: Mapping[str, Any]) -> str:
    return inputs.price(inputs.cost_of(candidate, inputs.primary))


def _axis(axis: str) -> str:
    return formats.AXIS_TITLES.get(axis, axis).lower()


def _words(text: Any) -> str:
    return " ".join(str(text).split())


def _sentence(text: Any) -> str:
    """Return text that begins with a capital and ends with a full stop; empty for nothing."""
    words = _stopped(text)
    return words[:1].upper() + words[1:]


def _stopped(text: Any) -> str:
    words = _words(text or "")
    return words if not words or words.endswith((".", "!", "?")) else f"{words}."
