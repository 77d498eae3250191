"""How many virtual imaging studies are made per second, from tissue to the data of every scan on the prostate menu?"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from _result import Result, parser

from scanwise.composing import compose_config
from scanwise.pipeline import open_run

STUDIES_PER_S = 300.0


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--n", type=int, default=12_000)
    cli.add_argument("--repeats", type=int, default=3)
    parsed = cli.parse_args(arguments)
    result = Result("generation_speed", __doc__ or "", arguments)
    rates = []
    for repeat in range(parsed.repeats):
        typed = [f"cohort.n={parsed.n}", f"cohort.seed={repeat}", "cohort.cache=null"]
        run = open_run(compose_config(["experiment=prostate", *typed], None))
        _ = run.menu
        began = time.monotonic()
        _ = run.cohort
        rates.append(parsed.n / (time.monotonic() - began))
    best = max(rates)
    scans = ", ".join(
        f"{modality.title} {modality.matrix[0]} x {modality.matrix[1]}"
        for modality in run.menu.modalities.values()
        if hasattr(modality, "matrix")
    )
    result.table("Studies per second", ["repeat", "studies/s"], [[i, f"{rate:.0f}"] for i, rate in enumerate(rates)])
    result.target(
        f"at least {STUDIES_PER_S:g} studies per second", f"{best:.0f} (best of {len(rates)})", best >= STUDIES_PER_S
    )
    result.note(f"One study is the tissue at 128 x 128, drawn lesions, and complete data of: {scans}.")
    return result.publish(parsed.out, patients=parsed.n, seeds=list(range(parsed.repeats)))


if __name__ == "__main__":
    main()
