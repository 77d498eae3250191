"""Do the recommendations on real patients say what is known about these tests? Heart, heart_sites, glioma, SPECT."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _result import Result, parser

import scanwise
from scanwise.design import Protocol

SAVING = 1 / 3
STAGES = ("search", "confirm", "recommend")
Content = Mapping[str, Any]
Ask = Callable[..., Content]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--seeds", type=int, default=5, help="heart is dealt out and trained anew so often")
    cli.add_argument("--repeats", type=int, default=3, help="of the cross-fitting")
    cli.add_argument("--folds", type=int, default=5, help="of the cross-fitting")
    cli.add_argument("--runs", type=Path, help="folder of the runs; a temporary one where not given")
    cli.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of every run")
    options = cli.parse_args(arguments)
    result = Result("heart_recommendation", str(__doc__), arguments)
    dealt = [f"split.repeats={options.repeats}", f"split.folds={options.folds}"]
    with _folder(options.runs) as folder:

        def ask(*overrides: str) -> Content:
            print(" ".join(overrides), file=sys.stderr, flush=True)
            cross = [] if "experiment=heart_sites" in overrides else dealt
            run = scanwise.run(*overrides, *cross, *options.set, f"out={folder}", "stage=fit")
            for stage in STAGES:
                run.run(stage)
            return run.last_recommendation().content

        patients = {
            "heart": _heart(result, ask, range(options.seeds)),
            "heart_sites": _heart_sites(result, ask),
            "glioma": _glioma(result, ask),
            "spectf": _spectf(result, ask),
        }
    result.note("Intervals are 95 %. All figures are of judging patients; choices were made on other patients.")
    shown = ", ".join(f"{name} {number}" for name, number in patients.items())
    return result.publish(options.out, patients=shown, seeds=list(range(options.seeds)))


def _heart(result: Result, ask: Ask, seeds: Sequence[int]) -> int:
    rows, kept = [], {"saving": 0, "contains": 0, "neither": 0}
    for seed in seeds:
        content = ask("experiment=heart", f"seed={seed}")
        decision, candidates = content["decision"], _by_key(content)
        chosen, today = candidates[decision["key"]], candidates[content["reference"]]
        saving = 1 - chosen["cost"]["money"] / today["cost"]["money"]
        bought = set(chosen["modalities"])
        kept["saving"] += saving >= SAVING
        kept["contains"] += {"exercise", "fluoroscopy"} <= bought
        kept["neither"] += not {"blood", "resting_ecg"} & bought
        versus = chosen["assessment"]["versus_reference"]
        share = next((pick["share"] for pick in content["nested"]["picks"] if pick["key"] == chosen["key"]), 0.0)
        rows.append(
            [
                seed,
                decision["status"],
                chosen["title_short"],
                f"{chosen['cost']['money']:.2f}",
                f"{saving:.0%}",
                _interval(chosen["assessment"]["auc"]),
                "-" if versus is None else f"{_interval(versus['difference'])}, {versus['verdict']}",
                _interval(content["nested"]["difference"]),
                f"{share:.0%}",
                candidates.get(decision["proposed"], chosen)["title_short"],
            ]
        )
    n = len(seeds)
    for wanted, key in (
        ("Cleveland, margin .03: saves at least a third of the price of the panel", "saving"),
        ("Cleveland: contains exercise ECG and fluoroscopy", "contains"),
        ("Cleveland: buys neither cholesterol nor resting ECG", "neither"),
    ):
        result.target(wanted, f"{kept[key]} of {n} seeds", kept[key] == n)
    result.table(
        "Cleveland, one seed per row",
        (
            *(
                "seed",
                "advice",
                "tests beside the history",
                content["currency"],
                "saving",
                "AUC",
                "difference to today",
            ),
            *("difference, choice included", "folds that pick it", "proposed before guards"),
        ),
        rows,
    )
    return int(content["study"]["n_patients"])


def _heart_sites(result: Result, ask: Ask) -> int:
    content = ask("experiment=heart_sites")
    guard = next((one for one in content["guards"] if one["id"] == "transfer:va"), None)
    says = guard is not None and guard["severity"] == "fail" and "does not carry to va" in guard["title"]
    result.target(
        "learned in Cleveland: says that the gain does not carry to VA", guard["title"] if guard else "nothing", says
    )
    today = _by_key(content)[content["reference"]]["assessment"]
    proposed = _by_key(content)[content["decision"]["proposed"]]["assessment"]
    sites = {site["site"]: site for site in today["sites"]}
    result.target("VA, all tests: AUC (.690 in earlier work)", _interval(sites["va"]["auc"]), None)
    result.table(
        "Judged elsewhere",
        ("site", "patients", "AUC of all tests", "AUC of the proposed protocol", "the guard says"),
        [
            [
                site["site"],
                site["n"],
                _interval(sites[site["site"]]["auc"]),
                _interval(site["auc"]),
                next(one["title"] for one in content["guards"] if one["id"] == f"transfer:{site['site']}"),
            ]
            for site in proposed["sites"]
        ],
    )
    result.note(f"heart_sites: {content['decision']['headline']}")
    return int(content["study"]["n_patients"])


def _glioma(result: Result, ask: Ask) -> int:
    content = ask("experiment=glioma")
    front = [one for one in content["candidates"] if one["on_front"]]
    short = [one for one in front if len(one["modalities"]) <= 2 and "t1gd" in one["modalities"]]
    result.target(
        "glioma, oedema: one or two sequences with T1Gd are on the front",
        "; ".join(one["title_short"] for one in short) or "none",
        bool(short),
    )
    result.table(
        "Glioma, oedema features: short list",
        ("sequences", content["currency"], "on the front", "AUC"),
        [
            [one["title_short"], f"{one['cost']['money']:.0f}", one["on_front"], _interval(one["assessment"]["auc"])]
            for one in content["candidates"]
        ],
    )
    result.note(f"glioma: {content['decision']['headline']}")
    trap = ask("experiment=glioma", "cohort.features=all")
    warnings = [one for one in trap["audit"] if one["severity"] in ("warning", "fail") and one["id"] == "telling-value"]
    result.target(
        "glioma, features=all: the audit warns of values that alone nearly tell the diagnosis",
        "; ".join(one["title"] for one in warnings) or "no warning",
        bool(warnings),
    )
    clean = [one for one in content["audit"] if one["severity"] in ("warning", "fail") and one["id"] == "telling-value"]
    result.target("glioma, oedema: it does not warn of such values", f"{len(clean)} warnings", not clean)
    result.table(
        "Glioma, features=all: what the audit says",
        ("severity", "finding", "detail"),
        [[one["severity"], one["title"], one["detail"]] for one in trap["audit"] if one["severity"] != "pass"],
    )
    result.note(f"glioma, features=all: {trap['decision']['headline']}")
    return int(content["study"]["n_patients"])


def _spectf(result: Result, ask: Ask) -> int:
    rows = []
    stress, both = Protocol({"stress": [1]}).key, Protocol({"rest": [1], "stress": [1]}).key
    for model in ("amortised", "refit"):
        content = ask("experiment=spectf", f"model={model}")
        candidates = _by_key(content)
        alone = candidates[stress]
        rows.append(
            [
                model,
                alone["on_front"],
                _interval(alone["assessment"]["auc"]),
                _interval(candidates[both]["assessment"]["auc"]),
                _interval(alone["assessment"]["versus_reference"]["difference"]),
                alone["assessment"]["versus_reference"]["verdict"],
                content["decision"]["headline"],
            ]
        )
        figure = (
            f"{'on the front' if alone['on_front'] else 'not on the front'}; AUC {rows[-1][2]} against {rows[-1][3]}"
        )
        wanted = f"SPECT, {model}: stress alone is on the front"
        result.target(wanted, figure, alone["on_front"] if model == "amortised" else None)
    result.table(
        "SPECT: stress alone against both (.865 and .856 in earlier work)",
        ("model", "on the front", "AUC stress", "AUC both", "difference", "verdict", "advice"),
        rows,
    )
    return int(content["study"]["n_patients"])


def _by_key(content: Content) -> dict[str, Mapping[str, Any]]:
    return {candidate["key"]: candidate for candidate in content["candidates"]}


def _interval(interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return "unknown"
    return f"{interval['value']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
