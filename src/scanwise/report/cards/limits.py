"""What this study cannot show, and whose data it rests on."""

from __future__ import annotations

from scanwise.report import formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.inputs import Inputs, assessment, versus

_FEW_DONE = 0.9
"""Share of patients below which a test counts as often missing."""


def limits(inputs: Inputs) -> Card:
    """Return the limits, computed from the study itself."""
    how = "Read before signing. In the bad case one of these is the very situation the protocol is meant for."
    study, found = inputs.study, assessment(inputs.shown)
    items = []
    if study.get("virtual"):
        items.append("The cohort is virtual: the patients are simulated, nobody was examined. Confirm on patients.")
    if study.get("retrospective"):
        items.append(str(study["retrospective"]))
    if found.get("n"):
        items.append(
            f"{formats.plural(found['n'], 'patient')}, {formats.count(found.get('n_positive'))} positive, were "
            "judged; effects on rare subgroups are not visible."
        )
    if inputs.changes and versus(inputs.shown).get("verdict") != "better":
        low = formats.finite((versus(inputs.shown).get("difference") or {}).get("low"))
        if low is not None:
            items.append(
                f"The data are compatible with an AUC that is {formats.signed(low)} against today's (lower limit)."
            )
    rare = [
        f"{inputs.titles[str(entry['modality'])]} ({formats.percent(entry.get('share_done'))})"
        for entry in study.get("missing") or ()
        if (formats.finite(entry.get("share_done")) or 0.0) < _FEW_DONE
    ]
    if rare:
        chance = "" if study.get("virtual") else " Who got a test was not decided by chance."
        items.append(f"Not done in every patient: {', '.join(rare)}.{chance}")
    unjudged = [str(site["site"]) for site in found.get("sites") or () if site.get("reason")]
    if unjudged:
        items.append(f"Too few patients to be judged alone: {', '.join(unjudged)}.")
    if not (inputs.data.get("search") or {}).get("complete", True):
        items.append("The search sampled the menu; a better protocol may have been missed.")
    items += [
        "AUC is about telling patients apart, not about what happens to them afterwards; benefit and harm "
        "of treatment were not studied.",
        "What a test is needed for beyond this diagnosis (planning a biopsy, staging, incidental findings) was not "
        "judged; what must stay for that can be made mandatory.",
        "Prices are those of the menu; another fee schedule can change the order.",
    ]
    return Card("limits", f"{formats.plural(len(items), 'limit')} of this study", how, lists=(("", tuple(items)),))


def data(inputs: Inputs) -> Card:
    """Return which tests were done in how many patients."""
    how = "A test that was not done is absent, never guessed. In the bad case the tests that matter were done in few."
    entries = inputs.study.get("missing") or ()
    if not entries:
        return not_applicable("data", "Patients and tests", how, "nothing about missing tests was stored")
    rows = tuple(
        Row({"title": inputs.titles[str(entry["modality"])], "share_done": entry.get("share_done")})
        for entry in entries
    )
    shares = [formats.finite(entry.get("share_done")) for entry in entries]
    known = [share for share in shares if share is not None]
    title = (
        f"Every test was done in at least {formats.percent(min(known))} of the patients"
        if known
        else "Patients and tests"
    )
    if known and min(known) == 1.0:
        title = "Every test was done in every patient"
    columns = (Column("title", "Test"), Column("share_done", "Done in", "percent"))
    if known and min(known) < _FEW_DONE:
        rarest = rows[shares.index(min(known))].cells["title"]
        title = f"Rarest test: {rarest}, done in {formats.percent(min(known))} of the patients"
    n, positive = inputs.study.get("n_patients"), inputs.study.get("n_positive")
    lines = [
        f"{formats.plural(n, 'patient')}, {formats.count(positive)} positive" if n else "",
        f"Positive means: {inputs.study.get('positive')}" if inputs.study.get("positive") else "",
        f"Source: {inputs.study.get('source')}" if inputs.study.get("source") else "",
        f"Licence: {inputs.study.get('licence')}" if inputs.study.get("licence") else "",
    ]
    lists = (("", tuple(line for line in lines if line)),)
    return Card("data", title, how, table=Table("Tests done", columns, rows), lists=lists)


def assumptions(inputs: Inputs) -> Card:
    """Return the numbers a virtual cohort rests on that nobody measured."""
    how = (
        "The patients are made from published numbers; these were assumed. In the bad case the advice turns when "
        "one of them is changed within reason."
    )
    entries = inputs.study.get("assumptions") or ()
    if not entries:
        return not_applicable("assumptions", "Assumed numbers", how, "the patients are not made up")
    rows = tuple(Row({name: str(entry.get(name, "")) for name in ("what", "value", "source")}) for entry in entries)
    columns = (Column("what", "Number"), Column("value", "Value"), Column("source", "Reason"))
    title = f"{formats.plural(len(rows), 'number')} of the virtual patients {'is' if len(rows) == 1 else 'are'} assumed"
    return Card("assumptions", title, how, table=Table("Assumed, not measured", columns, rows))
