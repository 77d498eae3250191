"""Negative controls of the prostate study: a scan of noise is worth nothing, permuted diagnoses stay unknown."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from _result import Result, parser, weighted_auc

from scanwise.composing import compose_config
from scanwise.design import Protocol
from scanwise.evidence import Interval, ScoreTable, auc_with_covariance
from scanwise.pipeline import Run, open_run

WORTHLESS = 0.01
CHANCE = 0.03
BLANK = (
    "+menu.modalities.blank={_target_: scanwise.modalities.diffusion.DiffusionWeighted, title: scan of noise, "
    "matrix: [48, 48], snr: 13.7, reference_voxel_mm3: 12.0, seconds: 270.0, setups: [scanner], schemes: [averages], "
    "blank: true}"
)
SMALL = ("~menu.modalities.t2w", "~menu.modalities.t2w_planes", "~menu.modalities.dce")
"""DWI and clinical values are enough for a control, and quicker."""


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("overrides", nargs="*", help="e.g. cohort.n=6000 model.steps=500")
    parsed = cli.parse_args(arguments)
    result = Result("prostate_controls", __doc__ or "", arguments)
    with tempfile.TemporaryDirectory() as folder:
        noise = _fitted(["experiment=prostate", *SMALL, BLANK, *parsed.overrides], Path(folder) / "noise")
        shuffled = _fitted(
            ["experiment=prostate", *SMALL, "cohort.label_shuffled=true", *parsed.overrides], Path(folder) / "shuffled"
        )
        standard = {name: modality.standard for name, modality in noise.menu.modalities.items()}
        sets = {
            "clinical": ("clinical",),
            "clinical + noise": ("clinical", "blank"),
            "DWI": ("dwi",),
            "DWI + noise": ("dwi", "blank"),
            "DWI + clinical": ("clinical", "dwi"),
            "DWI + clinical + noise": ("clinical", "dwi", "blank"),
        }
        value, difference = _aucs(
            noise, {title: Protocol({name: standard[name] for name in names}) for title, names in sets.items()}
        )
        for without in ("clinical", "DWI", "DWI + clinical"):
            found = difference(f"{without} + noise", without)
            result.target(
                f"{without}: a scan of noise adds 0 +-{WORTHLESS}",
                f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})",
                abs(found.value) <= WORTHLESS,
            )
        result.table("With a scan of noise on the menu", ["read", "AUC"], [[k, f"{v:.3f}"] for k, v in value.items()])
        everything = Protocol({name: modality.standard for name, modality in shuffled.menu.modalities.items()})
        value, _ = _aucs(shuffled, {"everything": everything})
        result.target(
            f"permuted diagnoses: AUC .5 +-{CHANCE}",
            f"{value['everything']:.3f}",
            abs(value["everything"] - 0.5) <= CHANCE,
        )
        n = len(noise.folds[0].test)
        result.note("Networks are trained with the noise on the menu, or on the permuted diagnoses, from the start.")
        return result.publish(parsed.out, patients=f"{n} of {len(noise.cohort)}", seeds=[noise.config["seed"]])


def _fitted(overrides: Sequence[str], out: Path) -> Run:
    return open_run(compose_config([*overrides, f"out={out.as_posix()}"], None)).run("fit")


def _aucs(run: Run, sets: dict[str, Protocol]) -> tuple[dict[str, float], Callable[[str, str], Interval]]:
    test = run.folds[0].test
    probability = run.scorer().score(list(sets.values()), test)
    table = ScoreTable.of_one_round(tuple(sets), probability, run.cohort.label[test], run.cohort.site[test])
    found = auc_with_covariance(table, tuple(sets))

    def difference(one: str, other: str) -> Interval:
        return weighted_auc(found, {one: 1.0, other: -1.0})

    return dict(zip(sets, found.value.tolist(), strict=True)), difference


if __name__ == "__main__":
    main()
