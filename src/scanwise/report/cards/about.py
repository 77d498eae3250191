"""Methods text, ready to paste, and where every number comes from."""

from __future__ import annotations

from scanwise.report import formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.inputs import Inputs
from scanwise.report.methods import plain_text, write


def methods(inputs: Inputs) -> Card:
    """Return the methods section of a paper, filled in; references only for what was done."""
    how = (
        "Ready to paste, numbers filled in; methods.md, methods.tex and references.bib in the run folder hold the same "
        "text. In the bad case a sentence here does not describe what you wanted to know."
    )
    section = write(inputs)
    paragraphs, numbered = plain_text(section)
    lists = (("References", numbered),) if numbered else ()
    title = f"Methods text with {formats.plural(len(numbered), 'reference')}"
    return Card("methods", title, how, paragraphs=paragraphs, lists=lists, data=section)


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
        "git": "Commit of scanwise",
        "platform": "Machine",
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
