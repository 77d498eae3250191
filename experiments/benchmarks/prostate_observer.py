"""Does the ranking of protocols depend on the observer? The same study read by networks of other sizes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from _result import Result, parser
from prostate_specialists import spread
from scipy.stats import kendalltau

from scanwise.composing import compose_config
from scanwise.evidence import auc
from scanwise.pipeline import open_run

STABLE = 0.8


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--widths", type=int, nargs="+", default=[8, 16, 24])
    cli.add_argument("overrides", nargs="*", help="e.g. cohort.n=2000 out=...")
    parsed = cli.parse_args(arguments)
    result = Result("prostate_observer", __doc__ or "", arguments)
    found: dict[int, list[float]] = {}
    for width in parsed.widths:
        config = compose_config(["experiment=prostate_observer", f"model.width={width}", *parsed.overrides], None)
        run = open_run(config).run("fit")
        test = run.folds[0].test
        protocols = spread(run.menu)
        scores = run.scorer().score(list(protocols.values()), test)
        found[width] = [auc(run.cohort.label[test], row) for row in scores]
        print(width, [round(value, 3) for value in found[width]], flush=True)
    rows = [[name, *[f"{found[width][index]:.3f}" for width in parsed.widths]] for index, name in enumerate(protocols)]
    result.table("AUC on unseen patients", ["protocol", *[f"width {width}" for width in parsed.widths]], rows)
    largest = max(parsed.widths)
    for width in parsed.widths:
        if width != largest:
            tau = float(kendalltau(found[width], found[largest]).statistic)
            result.target(f"width {width} ranks as width {largest}: tau >= {STABLE}", f"{tau:.3f}", tau >= STABLE)
    result.note("Width is the number of channels of the image encoders; everything else is the same.")
    return result.publish(
        parsed.out, patients=f"{len(test)} of {run.config['cohort']['n']}", seeds=[run.config["seed"]]
    )


if __name__ == "__main__":
    main()
