"""Is one network for all imaging protocols as good as networks trained for one protocol alone? What does each cost?"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from _result import Result, parser, weighted_auc
from scipy.stats import kendalltau

from scanwise.artifacts import read_json, write_json
from scanwise.composing import compose_config
from scanwise.design import Menu, Protocol, Scorer
from scanwise.evidence import ScoreTable, auc_with_covariance
from scanwise.model import ImageModel
from scanwise.pipeline import Run, open_run

TAU, MEAN_LOSS, WORST_LOSS, CHEAPER = 0.85, 0.005, 0.015, 200.0
PRICED_PATIENTS = 1000
STEPS = 4400
"""Training steps of a specialist: it learns one protocol, the one network of the study all of them in 8,800."""


def spread(menu: Menu) -> dict[str, Protocol]:
    """Return protocols from short to long over the front: lengths and patterns of every modality among them."""

    def lines(name: str, scheme: str, **setting: float) -> list[int]:
        modality = menu.modalities[name]
        chosen = next(one for one in modality.schemes if one.name == scheme)
        return chosen.counts(modality.shots, setting).tolist()  # type: ignore[no-any-return]

    clinical = {"clinical": [1, 1, 1]}
    dwi, dce = menu.modalities["dwi"].standard.tolist(), menu.modalities["dce"].standard.tolist()
    t2w = menu.modalities["t2w"].standard.tolist()
    quarter = lines("t2w", "variable_density", acceleration=4.0, power=2.0, centre=0.08, seed=0)
    first = lines("dce", "first_n", n=6, spacing=1)
    return {
        "T2W, a quarter of the lines": Protocol({**clinical, "t2w": quarter}),
        "T2W": Protocol({**clinical, "t2w": t2w}),
        "DWI, two b-values, few averages": Protocol({**clinical, "dwi": [1, 0, 2, 0]}),
        "DWI, half": Protocol({**clinical, "dwi": [1, 2, 4, 6]}),
        "DWI": Protocol({**clinical, "dwi": dwi}),
        "DCE, first frames": Protocol({**clinical, "dce": first}),
        "DCE": Protocol({**clinical, "dce": dce}),
        "DWI half + T2W quarter": Protocol({**clinical, "dwi": [1, 2, 4, 6], "t2w": quarter}),
        "DWI + T2W": Protocol({**clinical, "dwi": dwi, "t2w": t2w}),
        "DWI + DCE": Protocol({**clinical, "dwi": dwi, "dce": dce}),
        "DWI + T2W + DCE": Protocol({**clinical, "dwi": dwi, "t2w": t2w, "dce": dce}),
        "everything": menu.everything(),
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--specialists", type=Path, help="folder that keeps them: what is there is not trained again")
    cli.add_argument("--train", type=int, nargs="+", help="train these rows alone and stop, so that several can help")
    cli.add_argument("--steps", type=int, default=STEPS, help="training steps of a specialist (default %(default)s)")
    cli.add_argument("overrides", nargs="*", help="e.g. cohort.n=6000 out=...")
    parsed = cli.parse_args(arguments)
    result = Result("prostate_specialists", __doc__ or "", arguments)
    config = compose_config(["experiment=prostate", *parsed.overrides], None)
    run = open_run(config)
    if not parsed.train:
        run.run("fit")
    cohort, menu, test = run.cohort, run.menu, run.folds[0].test
    protocols = spread(menu)
    told = {key: value for key, value in run.config["model"].items() if key != "_target_"}
    model = ImageModel(**{**told, "steps": parsed.steps})
    specialist, training_s = np.empty((len(protocols), len(test))), []
    with ExitStack() as stack:
        kept = parsed.specialists or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for row, (name, protocol) in enumerate(protocols.items()):
            if parsed.train and row not in parsed.train:
                continue
            scorer, seconds = _specialist(run, replace(model, only=protocol.key), kept / str(row))
            training_s.append(seconds)
            specialist[row] = scorer.score([protocol], test)[0]
            print(f"{name}: trained in {seconds:.0f} cpu-s", flush=True)
    if parsed.train:
        return result.content
    amortised = run.scorer().score(list(protocols.values()), test)
    keys = [*(f"one network: {name}" for name in protocols), *(f"specialist: {name}" for name in protocols)]
    probability = np.concatenate([amortised, specialist])
    table = ScoreTable.of_one_round(keys, probability, cohort.label[test], cohort.site[test])
    found = auc_with_covariance(table, tuple(keys))
    n = len(protocols)
    one, alone = found.value[:n], found.value[n:]
    rows = []
    for row, name in enumerate(protocols):
        gap = weighted_auc(found, {keys[row]: 1.0, keys[n + row]: -1.0})
        rows.append(
            [
                name,
                f"{menu.price(protocols[name]).minutes:.1f}",
                f"{one[row]:.4f}",
                f"{alone[row]:.4f}",
                f"{gap.value:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})",
                f"{training_s[row]:.0f}",
            ]
        )
    columns = ["protocol", "minutes", "one network", "specialist", "difference (95 %)", "specialist trained, cpu-s"]
    result.table("AUC on unseen patients, clinical values read in all", columns, rows)
    mean = weighted_auc(found, {key: (1.0 if row < n else -1.0) / n for row, key in enumerate(keys)})
    worst = int(np.argmin(one - alone))
    tau = float(kendalltau(one, alone).statistic)
    result.target(f"Kendall tau >= {TAU} over {n} protocols", f"{tau:.3f}", tau >= TAU)
    result.target(
        f"mean AUC loss <= {MEAN_LOSS}",
        f"{-mean.value:+.4f} ({-mean.high:+.4f} to {-mean.low:+.4f})",
        -mean.value <= MEAN_LOSS,
    )
    result.target(
        f"worst AUC loss <= {WORST_LOSS}",
        f"{float(alone[worst] - one[worst]):+.4f} ({list(protocols)[worst]})",
        float(alone[worst] - one[worst]) <= WORST_LOSS,
    )
    cold, warm = _seconds(run, menu.everything(), test[:PRICED_PATIENTS])
    trained = float(np.mean(training_s))
    result.target(
        f"scoring one protocol on {PRICED_PATIENTS} patients at least {CHEAPER:g} times cheaper than its specialist",
        f"{trained / warm:.0f} times where its settings were measured before ({warm:.2f} against {trained:.0f} cpu-s), "
        f"{trained / cold:.0f} times where not",
        trained / warm >= CHEAPER,
    )
    result.note(
        f"A specialist has the architecture, patients and batches of the one network, and reads one protocol; it is "
        f"trained for {parsed.steps:,} steps, the one network for {told['steps']:,}. "
        "A search measures and encodes every (modality, setting) once and adds them up for each protocol."
    )
    return result.publish(parsed.out, patients=f"{len(test)} of {len(cohort)}", seeds=[run.config["seed"]])


def _specialist(run: Run, model: ImageModel, folder: Path) -> tuple[Scorer, float]:
    """Return a specialist and the cpu-seconds it took to train; one that was trained before is loaded."""
    seed, note = run.config["seed"] + 1, folder / "training.json"
    settings = {**asdict(model), "grid": list(model.grid)}
    if note.exists() and (known := read_json(note))["model"] == settings:
        return model.load(run.cohort, run.menu, run.folds[0], seed=seed, directory=folder), known["cpu_s"]
    began = time.process_time()
    scorer = model.fit(run.cohort, run.menu, run.folds[0], seed=seed, trainer=run.trainer, directory=folder)
    spent = time.process_time() - began
    write_json(note, {"model": settings, "cpu_s": spent})
    return scorer, spent


def _seconds(run: Any, protocol: Protocol, patients: Any) -> tuple[float, float]:
    """Return cpu-seconds of scoring a protocol for the first time, and again."""
    scorer = run.scorer()
    spent = []
    for _ in range(2):
        began = time.process_time()
        scorer.score([protocol], patients)
        spent.append(time.process_time() - began)
    return spent[0], spent[1]


if __name__ == "__main__":
    main()
