"""Which pixels or Fourier coefficients tell digits apart? Learned patterns against LOUPE and DPS at 4, 10, 25 %."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _patterns import (
    Clock,
    CrossJudged,
    Mask,
    Tells,
    around,
    fit_peer,
    fit_subsets,
    greedy_linear,
    learned_masks,
    losses_of,
    mask_of,
    over_seeds,
    random_mask,
    reads,
)
from _result import Kept, Result, in_words, packed, parser, unpacked
from numpy.typing import NDArray

from scanwise.errors import ScanwiseError
from scanwise.model import Measurements, SubsetModel
from scanwise.physics import fft2c

SHARES = (0.04, 0.10, 0.25)
LEARN, JUDGE, SIDE = 8000, 2000, 28
DOMAINS = ("pixels", "Fourier")
PEERS = ("LOUPE", "DPS")
OURS = "the best read of all, its own network"
SHARED = "learned from the best start"
GREEDY = "greedy forward (least squares)"
COPIES = 30
"""Neighbours of every pattern to start from that the judging networks learn."""
TRIED = 8
"""Measurements that a swap may take away, and as many that it may bring in."""
ASIDE = 4
"""One image in so many that learn is kept from our search, and chooses among what it and the others found."""
FLAT = 0.05
"""Standard deviation below which a measurement is not magnified when it is standardised."""
JUDGES = SubsetModel(width=192, steps=2500, batch_size=128, dropout=0.1, jitter=0.1)
NETWORK = SubsetModel(width=256, steps=2500, batch_size=128, dropout=0.2, jitter=0.2, focus=0.9)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--seeds", type=int, default=5)
    cli.add_argument("--steps", type=int, default=NETWORK.steps, help="training steps of every network that reads")
    cli.add_argument("--learned-steps", type=int, default=120, help="steps of gradient per pattern")
    cli.add_argument("--swaps", type=int, default=20, help="swaps at most per pattern")
    cli.add_argument("--images", type=int, default=LEARN, help="images that learn")
    cli.add_argument("--judges", type=int, default=JUDGE, help="images that judge")
    cli.add_argument("--domains", nargs="+", choices=DOMAINS, default=list(DOMAINS))
    cli.add_argument("--keep", type=Path, help="file of splits that are done; a run that was broken off goes on there")
    options = cli.parse_args(arguments)
    result = Result("mnist_patterns", str(__doc__), arguments)
    images, digit = mnist()
    made_with = {
        name: getattr(options, name) for name in ("steps", "learned_steps", "swaps", "images", "judges", "domains")
    }
    kept = Kept(options.keep, made_with, result)
    right: dict[tuple[str, str], dict[float, list[NDArray[np.float64]]]] = {}
    for key, per in kept.content.items():
        domain, name = key.split(": ", 1)
        right[domain, name] = {float(share): [unpacked(hit) for hit in per[share]] for share in per}
    clock = Clock()
    settings = replace(NETWORK, steps=options.steps)
    alone = replace(settings, focus=1.0)
    judging = replace(JUDGES, steps=min(JUDGES.steps, options.steps))
    numbers = {share: round(share * SIDE**2) for share in SHARES}
    for seed in range(len(next(iter(right.values()))[SHARES[0]]) if right else 0, options.seeds):
        order = np.random.default_rng([seed, 0x6D6E]).permutation(len(digit))
        learn, judge = np.sort(order[: options.images]), np.sort(order[LEARN : LEARN + options.judges])
        is_aside = np.arange(len(learn)) % ASIDE == 0
        taught, aside = learn[~is_aside], learn[is_aside]
        for domain in options.domains:
            problem = Measurements(measured(images, domain), digit, "classes")
            rng = np.random.default_rng([seed, 0x7261])
            low = np.argsort(_distance(), kind="stable")
            simple = {
                "random": [random_mask(SIDE**2, n, rng) for n in numbers.values()],
                "centre": [mask_of(low[:n], SIDE**2) for n in numbers.values()],
            }
            clock.lap("")
            first = grown(problem, learn, max(numbers.values()))
            simple[GREEDY] = [mask_of(first[:n], SIDE**2) for n in numbers.values()]
            clock.lap(f"{domain}: {GREEDY}")
            peers: dict[str, list[tuple[Mask, Tells]]] = {}
            for method in PEERS:
                peers[method] = [fit_peer(method.lower(), n, settings, problem, learn, seed) for n in numbers.values()]
                clock.lap(f"{domain}: {method}")
            starts = [*simple[GREEDY], *(mask for found in peers.values() for mask, _ in found)]
            judges = CrossJudged(judging, problem, taught, seed, around(starts, COPIES, rng))
            masks = learned_masks(
                judges,
                [float(n) for n in numbers.values()],
                starts=starts,
                seed=seed,
                steps=options.learned_steps,
                swaps=options.swaps,
                tried=TRIED,
            )
            clock.lap(f"{domain}: {SHARED}")
            simple[SHARED] = masks
            asked = np.stack([mask for some in simple.values() for mask in some])
            reader = fit_subsets(settings, problem, learn, seed + 1000, asked)
            clock.lap(f"{domain}: one network for all")
            mine: list[Mask] = []
            for index, share in enumerate(numbers):
                candidates = [masks[index], *(found[index][0] for found in peers.values()), *mine[-1:]]
                mine.append(best_read(alone, problem, taught, aside, seed + 3000, candidates))
                clock.lap(f"{domain}: which of them is read best")
                own = fit_subsets(alone, problem, learn, seed + 2000, mine[-1][None])
                clock.lap(f"{domain}: {OURS}")
                rows: dict[str, Tells] = {
                    OURS: reads(own, mine[-1]),
                    **{f"{method}, its own network": found[index][1] for method, found in peers.items()},
                    **{f"{name}, one network for all": reads(reader, some[index]) for name, some in simple.items()},
                }
                for name, tells in rows.items():
                    hit = (tells(judge).argmax(1) == digit[judge]).astype(np.float64)
                    right.setdefault((domain, name), {}).setdefault(share, []).append(hit)
        kept.content = {
            f"{domain}: {name}": {str(share): [packed(hit) for hit in per[share]] for share in per}
            for (domain, name), per in right.items()
        }
        kept.save()
        print(f"seed {seed}: done", flush=True)
    for domain in options.domains:
        found = {
            name: {share: over_seeds(hits) for share, hits in per.items()}
            for (where, name), per in right.items()
            if where == domain
        }
        result.table(
            f"Accuracy [%] from {domain}, mean of {options.seeds} splits (95 %)",
            ["pattern", *(f"{100 * share:.0f} % ({n})" for share, n in numbers.items())],
            [
                [name, *(in_words(per[share], digits=1, percent=True) for share in SHARES)]
                for name, per in found.items()
            ],
        )
        for share in SHARES:
            for method in PEERS:
                ours, other = right[domain, OURS][share], right[domain, f"{method}, its own network"][share]
                ahead = over_seeds([a - b for a, b in zip(ours, other, strict=True)])
                result.target(
                    f"{domain}, {100 * share:.0f} %: ahead of or equal to {method}",
                    in_words(ahead, signed=True, digits=1, percent=True),
                    ahead.high > 0,
                )
    if clock.seconds:
        result.table(*clock.table("the splits of this start"))
    result.note(
        "Equal means that the 95 % interval of the difference reaches above 0. LOUPE and DPS are our own "
        "(`PatternModel`), one training per budget, each read by the network it was learned with. The learned pattern "
        "starts from whichever of the greedy pattern, LOUPE's, DPS's and equal chances serves two networks best, each "
        "judging the half it did not learn from, and swaps measurements; this search sees three quarters of the "
        "learning images. Ours is the learned pattern, LOUPE's, DPS's, or ours of the budget below (more coefficients "
        "are not always better), whichever a network of its own, learned half as long from the same three quarters, "
        "tells the last quarter best by; it is then read by a network of its own, learned from all of them as long as "
        "theirs, as well. "
        "8,000 of the 10,000 test images of MNIST learn, 2,000 judge; the 60,000 training images are not at hand."
    )
    return result.publish(
        options.out, patients=f"{options.images} images learn, {options.judges} judge", seeds=list(range(options.seeds))
    )


def mnist() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the 10,000 test images, ``(images, y, x)`` from 0 to 1, and their digits.

    Raises
    ------
    ScanwiseError
        If they are not where ``SCANWISE_DATA`` says.
    """
    folder = Path(os.environ.get("SCANWISE_DATA", "../shared/data")) / "mnist_t10k"
    if not folder.is_dir():
        raise ScanwiseError(f"the images of MNIST must be in {folder}", "set SCANWISE_DATA to the folder above them")
    pixels = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    images = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, SIDE, SIDE).astype(np.float32) / 255
    return images, np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)


def measured(images: NDArray[np.float32], domain: str) -> NDArray[np.float32]:
    """Return what every pixel or Fourier coefficient yields, ``(images, 784, 1 or 2)``."""
    if domain == "pixels":
        return images.reshape(len(images), -1, 1)
    kspace = fft2c(torch.from_numpy(images))
    found: NDArray[np.float32] = torch.view_as_real(kspace).reshape(len(images), -1, 2).numpy()
    return found


def grown(problem: Measurements, learn: NDArray[np.int64], take: int) -> list[int]:
    """Return measurements in the order of forward selection by least squares on the ten digits."""
    values = problem.values[learn].astype(np.float64)
    values = (values - values.mean(0)) / np.maximum(values.std(0), FLAT)
    digits = np.asarray(problem.target[learn][:, None] == np.arange(problem.n_outputs), dtype=np.float64)
    return greedy_linear(values, digits, take)


def best_read(
    settings: SubsetModel,
    problem: Measurements,
    taught: NDArray[np.int64],
    aside: NDArray[np.int64],
    seed: int,
    masks: Sequence[Mask],
) -> Mask:
    """Return the pattern whose own network, learned half as long from some rows, tells others best."""
    half_as_long = replace(settings, steps=max(1, settings.steps // 2))
    losses = []
    for mask in masks:
        reader = fit_subsets(half_as_long, problem, taught, seed, mask[None])
        losses.append(losses_of(reader.on(aside), [mask])[0])
    return masks[int(np.argmin(losses))]


def _distance() -> NDArray[np.float64]:
    """Return how far each place is from the centre, shape ``(784,)``."""
    at = np.arange(SIDE) - SIDE // 2
    return np.hypot(*np.meshgrid(at, at, indexing="ij")).ravel()


if __name__ == "__main__":
    main()
