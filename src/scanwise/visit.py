"""``scanwise next``: what to acquire next in one patient, once or step by step through a visit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scanwise.artifacts import json_text, read_json
from scanwise.design import COST_AXES, Budget, ImagingModality
from scanwise.errors import ScanwiseError, did_you_mean

if TYPE_CHECKING:
    from scanwise.policy import Advisor

HELP = """What to acquire next in one patient, from a finished run; the cohort is not needed:

  scanwise next from_run=reports/runs/heart/1a2b3c4d patient=patient.json

patient.json holds what is known: {"history": {"age": 54, "sex": 1, "cp": 3, "trestbps": 130}}; a scan is
{"t2w": {"file": "t2w.npy"}}. A CSV with a header and one row does for tests. Without patient= it says what a run wants
to know first.

  budget.money=200   nothing dearer in all (also minutes, msv, contrast_ml, visits)
  weight=0.0002      loss that one unit of price may cost, in place of what the recommendation chose
  json=true          the answer as JSON
  --interactive      walk a visit: after every answer, type in what was measured
"""
_KEYS = ("from_run", "patient", "weight", "json", *(f"budget.{axis}" for axis in COST_AXES))


def answer(given: Mapping[str, Any], *, interactive: bool = False, ask: Callable[[str], str] = input) -> str:
    """Return what the terminal shows.

    Parameters
    ----------
    given : values by name, as in `HELP`.
    interactive : whether to go on asking.
    ask : gives the next line that the user types.

    Raises
    ------
    ScanwiseError
        For an unknown name, a run without a policy, or a patient that cannot be read.
    """
    from scanwise.pipeline import load_run
    from scanwise.policy import in_words, read_patient

    for key in given:
        if key not in _KEYS:
            raise ScanwiseError(f"scanwise next knows no {key!r}", did_you_mean(key, _KEYS))
    if "from_run" not in given:
        raise ScanwiseError("scanwise next needs from_run=...", "a run folder, as printed at the end of a run")
    run = load_run(str(given["from_run"]))
    advisor = run.advisor(given.get("weight"))
    disease = str(read_json(run.directory / "cohort.json")["card"].get("positive") or "disease")
    budget = Budget.from_mapping({axis: given[f"budget.{axis}"] for axis in COST_AXES if f"budget.{axis}" in given})
    folder, content = Path(), {}
    if "patient" in given:
        path = Path(str(given["patient"]))
        folder, content = path.parent, read_patient(path, advisor.panels)
    elif not interactive:
        return wanted(advisor)
    if interactive:
        return _visit(advisor, content, folder, budget, disease, ask)
    advice = advisor.advise(advisor.patient(content, folder), budget)
    return json_text(advice.to_dict()) if given.get("json") else in_words(advice, advisor.workup, disease=disease)


def wanted(advisor: Advisor) -> str:
    """Return an empty patient, with what every value may be."""
    lines = ["What may be known of a patient; what is always done must be:", ""]
    always = advisor.workup.menu.always.modalities
    for panel, rows in advisor.panels.items():
        lines.append(f"  {panel}{' (always)' if panel in always else ''}")
        lines += [f"    {row['name']:<14}{_range(row)}" for row in rows]
    scans = [name for name, one in advisor.workup.menu.modalities.items() if isinstance(one, ImagingModality)]
    lines += [f'  {name:<16}{{"file": "{name}.npy", "counts": [...]}}' for name in scans]
    return "\n".join(lines) + "\n"


def _range(row: Mapping[str, Any]) -> str:
    if row["levels"]:
        return "one of " + ", ".join(f"{level:g}" for level in row["levels"])
    unit = f" {row['unit']}" if row["unit"] else ""
    return "a number" if row["low"] is None else f"{row['low']:g} to {row['high']:g}{unit}"


def _visit(
    advisor: Advisor,
    content: dict[str, Any],
    folder: Path,
    budget: Budget,
    disease: str,
    ask: Callable[[str], str],
) -> str:
    """Walk a visit: say what next, ask what was measured, until it is enough or the user says so."""
    from scanwise.policy import in_words

    for name in advisor.workup.menu.always.modalities:
        content.setdefault(name, {})
        _ask_values(advisor, name, content, ask)
    while True:
        advice = advisor.advise(advisor.patient(content, folder), budget)
        text = in_words(advice, advisor.workup, disease=disease)
        if not advice.steps:
            return text
        print(text)  # noqa: T201
        numbered = {str(index): one for index, one in enumerate(advice.steps, start=1)}
        listed = ", ".join(f"{index} = {one.title}" for index, one in numbered.items())
        typed = ask(f"What was done? {listed}; nothing = stop: ").strip()
        if not typed:
            return f"Stopped at a probability of {100 * advice.probability:.0f} %.\n"
        if typed not in numbered:
            print(f"{typed!r} is none of {', '.join(numbered)}")  # noqa: T201
            continue
        for name, counts in numbered[typed].protocol.items():
            if advice.done.counts(name) == counts:
                continue
            if name in advisor.panels:
                content.setdefault(name, {})
                _ask_values(advisor, name, content, ask)
            else:
                content[name] = {"file": ask(f"  {name}, path of the .npy: ").strip(), "counts": list(counts)}


def _ask_values(advisor: Advisor, panel: str, content: dict[str, Any], ask: Callable[[str], str]) -> None:
    """Ask for the values of a panel that are not known, each until it can be taken; nothing = not known."""
    from scanwise.policy import checked_number

    for row in advisor.panels[panel]:
        while row["name"] not in content[panel]:
            typed = ask(f"  {panel}.{row['name']} ({_range(row)}): ").strip()
            if not typed:
                break
            try:
                checked_number(panel, row, float(typed))
            except ValueError:
                print(f"{typed!r} is no number")  # noqa: T201
            except ScanwiseError as error:
                print(error)  # noqa: T201
            else:
                content[panel][row["name"]] = float(typed)
