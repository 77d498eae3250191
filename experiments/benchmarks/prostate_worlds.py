"""Does the advice survive doubt about the tissue numbers? One study per world, each with its own draw of the means."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from _result import Result, parser

from scanwise.composing import compose_config
from scanwise.design import Protocol
from scanwise.pipeline import open_run


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--worlds", type=int, nargs="+", default=[40, 41, 42])
    cli.add_argument("overrides", nargs="*", help="e.g. cohort.n=2000 out=...")
    parsed = cli.parse_args(arguments)
    result = Result("prostate_worlds", __doc__ or "", arguments)
    rows, kept = [], Counter[str]()
    for world in parsed.worlds:
        run = open_run(
            compose_config(["experiment=prostate_worlds", f"cohort.worlds=[{world}]", *parsed.overrides], None)
        ).run()
        content = run.last_recommendation().content
        candidates = {one["key"]: one for one in content["candidates"]}
        reference, chosen = candidates[content["reference"]], candidates[content["decision"]["key"]]
        comparison = chosen["assessment"].get("versus_reference")
        gap = comparison["difference"] if comparison else {"value": 0.0, "low": 0.0, "high": 0.0}
        kept.update(Protocol.from_key(chosen["key"]).modalities)
        rows.append(
            [
                world,
                chosen["reading"],
                f"{chosen['cost']['minutes']:.1f} of {reference['cost']['minutes']:.1f}",
                f"{chosen['assessment']['auc']['value']:.3f}",
                f"{reference['assessment']['auc']['value']:.3f}",
                f"{gap['value']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})",
                content["decision"]["status"],
            ]
        )
        print(rows[-1], flush=True)
    columns = ["world", "advice", "minutes", "AUC", "AUC today", "difference (95 %)", "status"]
    result.table("One study per world", columns, rows)
    n = len(parsed.worlds)
    stable = all(count in (0, n) for name in ("dwi", "t2w", "dce") for count in [kept[name]])
    result.target(
        "the same sequences in every world",
        ", ".join(f"{name} in {kept[name]} of {n}" for name in ("t2w", "t2w_planes", "dwi", "dce")),
        stable,
    )
    result.note("A world draws the means of all tissues and findings from what the literature leaves open.")
    return result.publish(parsed.out, patients=f"{run.config['cohort']['n']} per world", seeds=[run.config["seed"]])


if __name__ == "__main__":
    main()
