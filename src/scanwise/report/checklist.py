"""CLAIM (2024 update) and TRIPOD+AI (2024), filled in from what the recommendation holds and what its cards show.

Wordings are ours and short; the lists themselves are the authority. An item is "reported" only where a card shows it,
so that a report without that card says so by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scanwise.report import formats, references
from scanwise.report.card import Card, Column, Row, Table
from scanwise.report.inputs import Inputs, assessment, auc_of, versus

REPORTED, PARTLY, NOT_DONE, NOT_APPLICABLE = "reported", "partly", "not done", "not applicable"
AUTHORS = "to be filled in by the authors"
"""Of an item that no program can know."""
STATUSES = (REPORTED, PARTLY, NOT_DONE, NOT_APPLICABLE, AUTHORS)
SOURCES = {"CLAIM": references.CLAIM, "TRIPOD+AI": references.TRIPOD}


@dataclass(frozen=True)
class Answer:
    """What there is to say about one item.

    Attributes
    ----------
    status : one of `STATUSES`.
    remark : what is reported, or why it is not.
    cards : identifiers of the cards that show it, the first one the most.
    """

    status: str
    remark: str
    cards: tuple[str, ...] = ()


Ask = Callable[["Known"], Answer]


@dataclass(frozen=True)
class Item:
    """One item of a list."""

    number: str
    section: str
    wording: str
    answer: Answer | Ask


class Known:
    """What answers are computed from: the recommendation, and the cards that have content.

    Parameters
    ----------
    inputs : the recommendation.
    cards : ``{card id: function that computes it}`` of the report.
    """

    def __init__(self, inputs: Inputs, cards: Mapping[str, Callable[[Inputs], Card]]) -> None:
        self.inputs = inputs
        self._cards = cards
        self._shown: dict[str, bool] = {}
        self.study = inputs.study
        self.virtual = bool(inputs.study.get("virtual"))
        self.split = self._part("split")
        self.model = self._part("model")
        self.rule = self._part("rule")
        self.provenance = self._part("provenance")
        self.external = self.split.get("kind") == "site"
        self.sites = len(inputs.study.get("sites") or ())

    def _part(self, name: str) -> Mapping[str, Any]:
        found = self.inputs.data.get(name)
        return found if isinstance(found, Mapping) else {}

    def shows(self, card: str) -> bool:
        """Return whether a card of the report has content."""
        if card not in self._shown:
            compute = self._cards.get(card)
            try:
                self._shown[card] = compute is not None and compute(self.inputs).status in ("ok", "attention")
            except Exception:  # the card itself says what broke
                self._shown[card] = False
        return self._shown[card]


def checklist(inputs: Inputs, cards: Mapping[str, Callable[[Inputs], Card]], names: Mapping[str, str]) -> Card:
    """Return both lists, filled in.

    Parameters
    ----------
    inputs : the recommendation.
    cards : ``{card id: function that computes it}``, this card not among them.
    names : ``{card id: where it stands}``, in words.
    """
    how = (
        "Where a reviewer finds each item, and what was not done; checklist.md in the run folder holds the same table. "
        "Wordings are short and ours: hand in the official forms. In the bad case an item that your journal asks for "
        "was not done."
    )
    known = Known(inputs, cards)
    rows, titles, data = [], [], []
    for name, items in LISTS.items():
        counts = dict.fromkeys(STATUSES, 0)
        for item in items:
            answer = _checked(item.answer if isinstance(item.answer, Answer) else item.answer(known), known)
            counts[answer.status] += 1
            where = "; ".join(names.get(card, card) for card in answer.cards)
            cells = {"list": f"{name} {item.number}", "section": item.section, "item": item.wording}
            rows.append(
                Row({**cells, "status": answer.status, "where": where, "remark": answer.remark}, _role(answer.status))
            )
            data.append({"list": name, "number": item.number, "status": answer.status, "cards": list(answer.cards)})
        words = ("reported", "in part", "not done", "not applicable", "for the authors")
        parts = [f"{counts[status]} {word}" for status, word in zip(STATUSES, words, strict=True) if counts[status]]
        titles.append(f"{name}, {len(items)} items: {', '.join(parts)}")
    columns = (
        Column("list", "Item"),
        Column("section", "Section"),
        Column("item", "What is asked"),
        Column("status", "Status"),
        Column("where", "Where"),
        Column("remark", "Remark"),
    )
    table = Table("CLAIM (2024 update) and TRIPOD+AI (2024)", columns, tuple(rows))
    return Card("checklist", "; ".join(titles), how, table=table, data={"items": data})


def _checked(answer: Answer, known: Known) -> Answer:
    """Return an answer that names only cards with content; without any of them nothing is reported."""
    if answer.status not in (REPORTED, PARTLY):
        return Answer(answer.status, answer.remark)
    shown = tuple(card for card in answer.cards if known.shows(card))
    if not shown:
        return Answer(NOT_DONE, "The report has no content on it.")
    # what the first card would have shown is the heart of the matter
    status = answer.status if shown[0] == answer.cards[0] else PARTLY
    return Answer(status, answer.remark, shown)


def _role(status: str) -> str:
    return {REPORTED: "reported", PARTLY: "partly", NOT_DONE: "open", AUTHORS: "open"}.get(status, "")


def _authors(remark: str) -> Answer:
    return Answer(AUTHORS, remark)


def _authors_unless_virtual(remark: str, virtual: str) -> Ask:
    """Return the answer of an item about real people."""
    return lambda known: Answer(NOT_APPLICABLE, virtual) if known.virtual else Answer(AUTHORS, remark)


_ABSTRACT = Answer(
    PARTLY, "Headline, numbers and methods are given; the abstract is to be written.", ("tiles", "methods")
)


def _background(known: Known) -> Answer:
    if not known.study.get("question"):
        return Answer(AUTHORS, "The report does not know the clinical background.")
    return Answer(
        PARTLY, "The clinical question is stated; background and earlier work are the authors'.", ("methods",)
    )


def _objectives(known: Known) -> Answer:
    margin = known.inputs.margin
    if margin is None:
        return Answer(PARTLY, "The aim is stated; no hypothesis is stored.", ("methods",))
    return Answer(
        REPORTED,
        f"Aim, and the hypothesis of non-inferiority at a margin of {formats.margin(margin)} in AUC.",
        ("methods",),
    )


def _timing(known: Known) -> Answer:
    if known.virtual:
        return Answer(REPORTED, "Neither: the patients are simulated.", ("limits", "methods"))
    if known.study.get("retrospective"):
        return Answer(
            REPORTED, "Retrospective, with what that means; nothing was done prospectively.", ("limits", "methods")
        )
    return Answer(AUTHORS, "The study card does not say whether data were collected beforehand.")


def _sources(known: Known) -> Answer:
    if not known.study.get("source"):
        return Answer(AUTHORS, "The study card names no source.")
    if not known.study.get("retrospective"):
        return Answer(PARTLY, "The source is named; how representative it is, is not.", ("data", "methods"))
    return Answer(REPORTED, "Source, licence and what the patients stand for.", ("data", "methods"))


def _dates(known: Known) -> Answer:
    if known.virtual:
        return Answer(NOT_APPLICABLE, "Simulated patients have no dates.")
    return Answer(AUTHORS, "Dates are not part of the data.")


def _setting(known: Known) -> Answer:
    if not known.sites:
        return Answer(AUTHORS, "The study card names no sites.")
    return Answer(
        PARTLY, f"{formats.plural(known.sites, 'site')} with numbers; the level of care is the authors'.", ("methods",)
    )


def _eligibility(known: Known) -> Answer:
    if known.virtual:
        return Answer(PARTLY, "Patients were drawn by a procedure, which is named; nobody was excluded.", ("methods",))
    return Answer(AUTHORS, "All patients of the files were taken; why they are in the files is not known.")


_QUALITY = Answer(
    PARTLY, "The leakage audit looks at values, absences and duplicates, not per group of people.", ("audit",)
)


def _preprocessing(known: Known) -> Answer:
    return Answer(
        PARTLY if known.model.get("text") else AUTHORS,
        "What the model does with values and images; what was done before the files were written is the authors'.",
        ("methods",),
    )


def _subsets(known: Known) -> Answer:
    if known.virtual:
        return Answer(NOT_APPLICABLE, "The cohort was made for this study.")
    return Answer(
        PARTLY, "Number of patients and sites; why these files were taken is the authors'.", ("methods", "data")
    )


def _missing(known: Known) -> Answer:
    if not known.study.get("missing"):
        return Answer(NOT_DONE, "Nothing about missing tests was stored.")
    return Answer(
        REPORTED, "Share of patients in whom every test was done, and what the model does without.", ("data", "methods")
    )


_ACQUISITION = Answer(
    PARTLY,
    "Shots and settings of both protocols as far as the run knows them; scanners and vendors are the authors'.",
    ("console", "order", "patterns"),
)


def _outcome(known: Known) -> Answer:
    if not known.study.get("positive"):
        return Answer(AUTHORS, "The study card does not define the diagnosis.")
    return Answer(REPORTED, "What counts as positive.", ("data", "methods"))


def _outcome_in_full(known: Known) -> Answer:
    if not known.study.get("positive"):
        return Answer(AUTHORS, "The study card does not define the diagnosis.")
    return Answer(
        PARTLY, "What counts as positive; when and by whom it was assessed is the authors'.", ("data", "methods")
    )


_REFERENCE = "How the diagnosis was made, by whom and why in this way, is the authors'."
_MADE = "The diagnosis of a simulated patient is known: it is what the patient was made from."


def _partitions(known: Known) -> Answer:
    if not known.split.get("text"):
        return Answer(NOT_DONE, "How patients were split was not stored.")
    return Answer(REPORTED, "How patients were dealt to learning, searching and judging.", ("methods",))


def _disjoint(known: Known) -> Answer:
    if not known.split.get("text"):
        return Answer(NOT_DONE, "How patients were split was not stored.")
    return Answer(REPORTED, "By patient; the leakage audit looks for patients on both sides.", ("methods", "audit"))


_SAMPLE_SIZE = Answer(
    PARTLY,
    "No size was calculated beforehand; numbers, precision reached and power are given.",
    ("methods", "guards"),
)


def _model_text(known: Known) -> Answer:
    if not known.model.get("text"):
        return Answer(NOT_DONE, "The model was not described.")
    return Answer(PARTLY, "Inputs, structure and output in words; every layer is in the source code.", ("methods",))


def _software(known: Known) -> Answer:
    if not known.provenance.get("versions"):
        return Answer(NOT_DONE, "No versions were stored.")
    return Answer(REPORTED, "Packages with versions.", ("provenance", "methods"))


def _initial(known: Known) -> Answer:
    if known.provenance.get("seed") is None:
        return Answer(NOT_DONE, "No seed was stored.")
    return Answer(PARTLY, "Random start from the seed given; the distribution is in the source code.", ("provenance",))


def _training(known: Known) -> Answer:
    if not known.model.get("text"):
        return Answer(NOT_DONE, "The training was not described.")
    return Answer(PARTLY, "Steps and batches in words; all settings are in config.yaml of the run.", ("methods",))


def _final(known: Known) -> Answer:
    if not known.rule.get("text"):
        return Answer(NOT_DONE, "No rule of choice was stored.")
    return Answer(
        REPORTED, "The rule of choice, declared beforehand, and what was considered.", ("methods", "considered")
    )


def _ensemble(known: Known) -> Answer:
    text = str(known.model.get("text") or "")
    if not text:
        return Answer(NOT_DONE, "The model was not described.")
    if "ensemble" in text or "averaged" in text:
        return Answer(REPORTED, "How networks are combined.", ("methods",))
    return Answer(NOT_APPLICABLE, "No ensemble was used.")


def _measures(known: Known) -> Answer:
    if not auc_of(known.inputs.shown):
        return Answer(NOT_DONE, "No protocol was judged.")
    return Answer(
        REPORTED,
        "Discrimination, calibration, accuracy and net benefit as far as they were computed.",
        ("roc", "methods", "calibration", "decision_curve", "operating"),
    )


def _uncertainty(known: Known) -> Answer:
    found = auc_of(known.inputs.shown)
    if formats.finite(found.get("low")) is None or formats.finite(found.get("high")) is None:
        return Answer(NOT_DONE, "The AUC has no interval.")
    if not versus(known.inputs.shown) and known.inputs.changes:
        return Answer(PARTLY, "Intervals, but no comparison with the reference.", ("roc", "methods"))
    return Answer(REPORTED, "Intervals, tests against the reference, multiplicity.", ("roc", "methods", "ladder"))


def _robustness(known: Known) -> Answer:
    if known.inputs.data.get("sensitivity"):
        return Answer(REPORTED, "What would change the advice, moving one assumption at a time.", ("reasons", "sites"))
    if known.shows("sites"):
        return Answer(PARTLY, "Only how sites differ.", ("sites",))
    return Answer(NOT_DONE, "No assumption was moved.")


def _explained(known: Known) -> Answer:
    if not known.shows("contributions"):
        return Answer(NOT_DONE, "Neither contributions of tests nor maps of evidence were computed.")
    return Answer(
        PARTLY,
        "What each test adds, and what readers would see; that the network looks where it should was not validated.",
        ("contributions", "pictures"),
    )


def _internal(known: Known) -> Answer:
    if known.external:
        return Answer(PARTLY, "AUC on the searching patients of the sites that were learned from.", ("considered",))
    if not auc_of(known.inputs.shown):
        return Answer(NOT_DONE, "No protocol was judged.")
    return Answer(REPORTED, "Judged on patients of the same sites that no network had seen.", ("roc", "nested"))


def _external(known: Known) -> Answer:
    if not known.external:
        return Answer(NOT_DONE, "The patients who judge come from the sites that were learned from.")
    return Answer(REPORTED, "Judged at sites that were not learned from.", ("sites", "roc"))


_INCLUDED = Answer(
    PARTLY,
    "Patients that are in the data, with the diagnosis and without; not who was left out before.",
    ("data", "tiles"),
)


def _characteristics(known: Known) -> Answer:
    if known.shows("groups"):
        return Answer(PARTLY, "Number and diagnosis by group and site among those who judge.", ("groups", "sites"))
    if known.shows("sites"):
        return Answer(PARTLY, "Number and diagnosis by site only; ages and sexes are not tabulated.", ("sites",))
    return Answer(NOT_DONE, "Ages, sexes and other characteristics are not tabulated.")


def _performance(known: Known) -> Answer:
    if not auc_of(known.inputs.shown):
        return Answer(NOT_DONE, "No protocol was judged.")
    return Answer(
        REPORTED, "AUC, calibration, accuracy and net benefit with intervals.", ("roc", "tiles", "calibration")
    )


def _diagnostic(known: Known) -> Answer:
    if not assessment(known.inputs.shown).get("sensitivity"):
        return Answer(NOT_DONE, "Sensitivity was not computed.")
    return Answer(REPORTED, "Sensitivity at a specificity agreed beforehand, with its interval.", ("operating",))


def _failures(known: Known) -> Answer:
    for card in ("flips", "changed"):
        if known.shows(card):
            return Answer(PARTLY, "Whose diagnosis changes against today; why was not looked into.", (card, "pictures"))
    return Answer(NOT_DONE, "Wrong diagnoses were not looked into.")


_PRACTICE = Answer(
    PARTLY,
    "What to order, why, and what would change the advice; the discussion is the authors'.",
    ("order", "reasons"),
)


def _protocol(known: Known) -> Answer:
    if not known.provenance.get("config_hash"):
        return Answer(AUTHORS, "No settings were stored; the study protocol is the authors'.")
    return Answer(
        PARTLY, "config.yaml of the run holds every setting; a study protocol is the authors'.", ("provenance",)
    )


def _availability(known: Known) -> Answer:
    if not known.study.get("licence"):
        return Answer(PARTLY, "scanwise is open source; how to get the data is the authors'.", ("provenance",))
    return Answer(
        PARTLY, "Licence of the data; scanwise is open source; networks stay in the run folder.", ("data", "provenance")
    )


def _data_sharing(known: Known) -> Answer:
    if known.virtual and known.provenance.get("seed") is not None:
        return Answer(REPORTED, "Command, settings and seed make the same patients again.", ("provenance", "data"))
    if known.study.get("licence"):
        return Answer(REPORTED, "Source and licence of the data.", ("data",))
    return Answer(AUTHORS, "The study card does not say how to get the data.")


def _code_sharing(known: Known) -> Answer:
    if not known.provenance.get("versions") or not known.provenance.get("command"):
        return Answer(PARTLY, "scanwise is open source; command or version were not stored.", ("methods",))
    return Answer(REPORTED, "scanwise is open source; command and versions are given.", ("provenance",))


_OFFERED = Answer(REPORTED, "All tests on offer; none was selected beforehand.", ("methods", "considered"))
_DEFINITIONS = Answer(
    PARTLY,
    "Tests and their shots by name; how they were measured in each patient is the authors'.",
    ("console", "data"),
)


def _handled(known: Known) -> Answer:
    return Answer(
        PARTLY if known.model.get("text") else NOT_DONE,
        "In words; standardisation is in the source code."
        if known.model.get("text")
        else "The model was not described.",
        ("methods",),
    )


def _building(known: Known) -> Answer:
    if not known.model.get("text") or not known.split.get("text"):
        return Answer(NOT_DONE, "Model or split were not described.")
    return Answer(
        REPORTED, "Type of model, training, search, choice, and how all of it was validated.", ("methods", "nested")
    )


def _clusters(known: Known) -> Answer:
    if not known.shows("sites"):
        return Answer(NOT_DONE, "There are fewer than two sites that can be judged.")
    return Answer(REPORTED, "Sites alone, and whether they agree.", ("sites", "guards"))


_UPDATING = Answer(NOT_APPLICABLE, "No model was updated after it had been judged.")


def _predicted(known: Known) -> Answer:
    if not known.provenance.get("model_files"):
        return Answer(NOT_DONE, "No networks are kept with this run.")
    return Answer(PARTLY, "By the networks in the run folder; they open with scanwise only.", ("provenance",))


def _fairness(known: Known) -> Answer:
    if known.shows("groups"):
        return Answer(
            PARTLY, "Groups of patients are compared; nothing was done to make the model fairer.", ("groups",)
        )
    return Answer(NOT_DONE, "Nothing compares groups of people, and nothing was done to make the model fairer.")


def _output(known: Known) -> Answer:
    if not assessment(known.inputs.shown).get("net_benefit"):
        return Answer(PARTLY, "Probabilities; no thresholds were agreed.", ("methods", "operating"))
    return Answer(
        REPORTED, "Probabilities; thresholds of acting were agreed beforehand.", ("decision_curve", "methods")
    )


def _differences(known: Known) -> Answer:
    if not known.split.get("text"):
        return Answer(NOT_DONE, "How patients were split was not stored.")
    if known.external:
        return Answer(
            PARTLY, "Sites, their share of positives, and whether the gain carries over.", ("sites", "guards")
        )
    return Answer(REPORTED, "No difference by design: dealt at random from one cohort.", ("methods",))


_FLOW = Answer(PARTLY, "Numbers with and without the disease; there is no flow diagram.", ("data", "tiles", "methods"))


def _compared(known: Known) -> Answer:
    if known.external:
        return Answer(NOT_DONE, "Distributions at the judging sites are not compared with those learned from.")
    return Answer(NOT_APPLICABLE, "Learning and judging patients are dealt at random from one cohort.")


def _per_analysis(known: Known) -> Answer:
    if not known.split.get("n_judging"):
        return Answer(PARTLY, "Only the patients of the cohort.", ("data",))
    return Answer(PARTLY, "Patients that searched and judged, positives among those who judged.", ("methods", "tiles"))


def _specified(known: Known) -> Answer:
    if not known.provenance.get("model_files"):
        return Answer(NOT_DONE, "No networks are kept with this run.")
    return Answer(
        PARTLY, "Networks are in the run folder; a model for single patients is not released.", ("provenance",)
    )


def _subgroups(known: Known) -> Answer:
    if not auc_of(known.inputs.shown):
        return Answer(NOT_DONE, "No protocol was judged.")
    if known.shows("groups"):
        return Answer(
            REPORTED, "With intervals and figures, groups of patients included.", ("roc", "groups", "calibration")
        )
    return Answer(
        PARTLY, "With intervals and figures; no sociodemographic group was looked at.", ("roc", "calibration")
    )


_INTERPRETATION = Answer(
    PARTLY, "The finding and its reasons; earlier studies and fairness are the authors'.", ("tiles", "reasons")
)


def _unavailable(known: Known) -> Answer:
    if not known.study.get("missing"):
        return Answer(NOT_DONE, "What happens without a value is not shown.")
    return Answer(PARTLY, "Any test may be absent; how to notice a poor one was not studied.", ("methods", "data"))


_NEXT = Answer(PARTLY, "Limits, and what would change the advice; the plan is the authors'.", ("limits", "reasons"))


def _registration(known: Known) -> Answer:
    if known.virtual:
        return Answer(NOT_APPLICABLE, "Nobody was examined, there is nothing to register.")
    return Answer(AUTHORS, "scanwise registers nothing.")


_LIMITS = Answer(
    REPORTED, "Computed from the study: size, sites, search, what AUC does not tell.", ("limits", "guards")
)
_FUNDING = _authors("Funding and the role of funders.")

_CLAIM: tuple[Item, ...] = (
    Item("1", "Title", "Named as a study of AI, with the kind of method", _authors("The title is yours.")),
    Item("2", "Abstract", "Summary of design, methods, results, conclusions", _ABSTRACT),
    Item("3", "Introduction", "Background, intended use and role of the AI", _background),
    Item("4", "Introduction", "Aims, objectives, hypotheses", _objectives),
    Item("5", "Study design", "Prospective or retrospective", _timing),
    Item("6", "Study design", "Goal of the study", _objectives),
    Item("7", "Data", "Sources of data", _sources),
    Item("8", "Data", "Inclusion and exclusion criteria", _eligibility),
    Item("9", "Data", "Pre-processing", _preprocessing),
    Item("10", "Data", "Selection of subsets of the data", _subsets),
    Item(
        "11",
        "Data",
        "De-identification",
        _authors_unless_virtual(
            "The report names no patient; how files were made anonymous is yours.", "Nobody was examined."
        ),
    ),
    Item("12", "Data", "Handling of missing data", _missing),
    Item("13", "Data", "How images were acquired", _ACQUISITION),
    Item("14", "Reference standard", "Definition of the reference standard", _outcome),
    Item("15", "Reference standard", "Why this reference standard", _authors_unless_virtual(_REFERENCE, _MADE)),
    Item("16", "Reference standard", "Who or what annotated", _authors_unless_virtual(_REFERENCE, _MADE)),
    Item("17", "Reference standard", "Annotation of the test set", _authors_unless_virtual(_REFERENCE, _MADE)),
    Item(
        "18",
        "Reference standard",
        "Agreement between and within readers",
        _authors_unless_virtual("Not measured by scanwise.", _MADE),
    ),
    Item("19", "Data partitions", "How data were dealt to partitions", _partitions),
    Item("20", "Data partitions", "Level at which partitions are disjoint", _disjoint),
    Item("21", "Testing data", "Intended sample size", _SAMPLE_SIZE),
    Item("22", "Model", "Description of the model", _model_text),
    Item("23", "Model", "Software and versions", _software),
    Item("24", "Model", "Initialisation of parameters", _initial),
    Item("25", "Training", "Details of training", _training),
    Item("26", "Training", "How the final model was selected", _final),
    Item("27", "Training", "Ensembles", _ensemble),
    Item("28", "Evaluation", "Measures of performance", _measures),
    Item("29", "Evaluation", "Significance and uncertainty", _uncertainty),
    Item("30", "Evaluation", "Robustness or sensitivity analysis", _robustness),
    Item("31", "Evaluation", "Explainability, and how it was validated", _explained),
    Item("32", "Evaluation", "Evaluation on internal data", _internal),
    Item("33", "Evaluation", "Testing on external data", _external),
    Item("34", "Evaluation", "Registration of the trial", _registration),
    Item("35", "Results: data", "Patients included and excluded", _INCLUDED),
    Item("36", "Results: data", "Characteristics of patients per partition", _characteristics),
    Item("37", "Results: performance", "Performance with uncertainty", _performance),
    Item("38", "Results: performance", "Diagnostic performance with precision", _diagnostic),
    Item("39", "Results: performance", "Analysis of failures", _failures),
    Item("40", "Discussion", "Limitations", _LIMITS),
    Item("41", "Discussion", "Implications for practice", _PRACTICE),
    Item("42", "Other information", "Full study protocol or technical details", _protocol),
    Item("43", "Other information", "Availability of software, model and data", _availability),
    Item("44", "Other information", "Funding and role of funders", _FUNDING),
)
_TRIPOD: tuple[Item, ...] = (
    Item(
        "1", "Title", "Development or evaluation, population and outcome in the title", _authors("The title is yours.")
    ),
    Item("2", "Abstract", "Abstract after TRIPOD+AI for Abstracts", _ABSTRACT),
    Item("3a", "Background", "Context, rationale and existing models", _background),
    Item("3b", "Background", "Target population, purpose in the care pathway, users", _background),
    Item("3c", "Background", "Known health inequalities", _authors("Not known to the program.")),
    Item("4", "Objectives", "Objectives; development, validation or both", _objectives),
    Item("5a", "Data", "Sources of data, why these, how representative", _sources),
    Item("5b", "Data", "Dates of accrual and follow-up", _dates),
    Item("6a", "Participants", "Setting; number and place of centres", _setting),
    Item("6b", "Participants", "Eligibility criteria", _eligibility),
    Item(
        "6c",
        "Participants",
        "Treatments received",
        _authors_unless_virtual("Treatments are not part of the data.", "Simulated patients are not treated."),
    ),
    Item("7", "Data preparation", "Pre-processing and quality checks", _QUALITY),
    Item("8a", "Outcome", "Definition of the outcome, when and how assessed", _outcome_in_full),
    Item("8b", "Outcome", "Qualification of outcome assessors", _authors_unless_virtual(_REFERENCE, _MADE)),
    Item("8c", "Outcome", "Blinding of outcome assessment", _authors_unless_virtual(_REFERENCE, _MADE)),
    Item("9a", "Predictors", "Choice of initial predictors", _OFFERED),
    Item("9b", "Predictors", "Definition of all predictors", _DEFINITIONS),
    Item(
        "9c",
        "Predictors",
        "Qualification of predictor assessors",
        _authors_unless_virtual("Who read or measured is not part of the data.", "Nobody reads simulated tests."),
    ),
    Item("10", "Sample size", "How the study size was arrived at", _SAMPLE_SIZE),
    Item("11", "Missing data", "Handling of missing data", _missing),
    Item("12a", "Analysis", "How data were used and partitioned", _partitions),
    Item("12b", "Analysis", "Handling of predictors", _handled),
    Item("12c", "Analysis", "Type of model, building, tuning, internal validation", _building),
    Item("12d", "Analysis", "Heterogeneity across clusters", _clusters),
    Item("12e", "Analysis", "Measures and plots of performance", _measures),
    Item("12f", "Analysis", "Model updating after evaluation", _UPDATING),
    Item("12g", "Analysis", "How predictions were calculated", _predicted),
    Item(
        "13",
        "Class imbalance",
        "Methods for class imbalance",
        Answer(NOT_APPLICABLE, "Classes were neither weighted nor resampled."),
    ),
    Item("14", "Fairness", "Approaches to fairness", _fairness),
    Item("15", "Model output", "Output and thresholds", _output),
    Item("16", "Training versus evaluation", "Differences between the data sets", _differences),
    Item(
        "17",
        "Ethical approval",
        "Ethics committee and consent",
        _authors_unless_virtual("Committee and consent.", "Nobody was examined."),
    ),
    Item("18a", "Open science", "Funding and role of funders", _FUNDING),
    Item("18b", "Open science", "Conflicts of interest", _authors("Conflicts of interest of all authors.")),
    Item("18c", "Open science", "Where the protocol can be accessed", _protocol),
    Item("18d", "Open science", "Registration", _registration),
    Item("18e", "Open science", "Availability of data", _data_sharing),
    Item("18f", "Open science", "Availability of code", _code_sharing),
    Item(
        "19",
        "Patient and public involvement",
        "Involvement of patients and public",
        _authors("Or say that there was none."),
    ),
    Item("20a", "Results: participants", "Flow of participants", _FLOW),
    Item("20b", "Results: participants", "Characteristics of participants", _characteristics),
    Item("20c", "Results: participants", "Comparison with the development data", _compared),
    Item("21", "Results: development", "Participants and events in each analysis", _per_analysis),
    Item("22", "Results: specification", "The full model, and how to use it", _specified),
    Item("23a", "Results: performance", "Performance with intervals, in key subgroups too", _subgroups),
    Item("23b", "Results: performance", "Heterogeneity of performance across clusters", _clusters),
    Item("24", "Results: updating", "Results of model updating", _UPDATING),
    Item("25", "Discussion", "Interpretation, fairness included", _INTERPRETATION),
    Item("26", "Discussion", "Limitations", _LIMITS),
    Item("27a", "Usability", "Poor or missing input in use", _unavailable),
    Item(
        "27b",
        "Usability",
        "What users do, and what they must know",
        _authors("Who uses the model, and with which training."),
    ),
    Item("27c", "Usability", "Next steps, applicability", _NEXT),
)
LISTS: Mapping[str, tuple[Item, ...]] = {"CLAIM": _CLAIM, "TRIPOD+AI": _TRIPOD}
