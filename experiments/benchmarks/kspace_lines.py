"""How few lines of k-space tell a diagnosis? Benchmark A: planted lines, learned patterns, and patient by patient."""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from _patterns import (
    TRAINER,
    Clock,
    CrossJudged,
    Mask,
    equispaced_mask,
    exchange,
    fit_peer,
    fit_subsets,
    greedy,
    learned_masks,
    mask_of,
    one_more,
    over_seeds,
    random_mask,
)
from _phantoms import SIDE, Phantoms, image_problem, line_problem, planted_lines
from _result import Result, in_words, parser
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from scanwise.evidence import Interval, auc_of_rows
from scanwise.model import Actions, Measurements, RidgeModel, RidgePolicy, RidgeReader, SubsetModel, ValueModel

BUDGETS = (3, 5, 8, 16)
LEARN, JUDGE = 2500, 500
"""2,000 phantoms learn and 500 tune in the facts; here 2,500 learn, and each half tunes what the other learned."""
MARGIN = 0.02
HEAD = SubsetModel(width=128, steps=2500, batch_size=128, dropout=0.1, jitter=0.2, focus=0.8)
PEER = SubsetModel(width=128, steps=2500, batch_size=128, dropout=0.1, jitter=0.2)
IMAGE = SubsetModel(width=128, steps=600, batch_size=128, dropout=0.0)
STEP_BY_STEP = SubsetModel(width=48, steps=2500, batch_size=128, dropout=0.3, jitter=0.3, focus=0.8)
VALUE = ValueModel(width=128, steps=4000, batch_size=256, weights=(1e-3, 5e-2), learning_rate=2e-3)
WEIGHTS = tuple(float(weight) for weight in np.geomspace(1e-3, 5e-2, 12))
"""Price weights at which the adaptive protocol is read [nats per line]."""
SHORT_LIST = 10
"""Lines among which the adaptive protocol chooses: the first ones of the search."""
SEARCHED, LEARNED = "searched, refitted in closed form", "learned with the network"
ADAPTIVE, REGRESSED = "line by line, value network", "line by line, a regression for every subset"
LEFT, AIM = 0.85, 0.98
"""Share of the lines of others that is left, and share of these that is aimed at on the phantoms that learn."""
PEERS = ("LOUPE", "DPS", "greedy growth")
NEIGHBOUR = "nearest neighbour (SUNO)"
RECONSTRUCTED = ("LOUPE for the image", "DPS for the image")
HINDSIGHT = {3: (2, SIDE), 5: (4, 12)}
"""Per number of lines, how many are 15 % fewer, and among how many lines all sets of so many are tried in hindsight."""
OTHER_NUMBERS = (1, 2, 4, 6, 7, 10, 13)
"""Further numbers of lines at which patterns are searched, to see how few will do."""
BY_CHANCE, KNOWINGLY = "by chance", "by what all other lines and the size of the body foretell"
STUDIED = 10_000
"""Further phantoms from which the latter is learned."""
Told = dict[str, dict[int, list[NDArray[np.float64]]]]
Walked = tuple[float, NDArray[np.float64]]
"""Lines on average, and what is told of the phantoms that judge."""


@dataclass
class Found:
    """What is found, one entry per seed in every list.

    Attributes
    ----------
    labels : diagnoses of the phantoms that judge.
    patterns : lines, per kind of pattern and number of lines.
    told, by_network : what they tell of the phantoms that judge, by a regression each and by one network.
    walked : the value network, per price weight.
    regressed : a regression for every subset, per number of lines of the others.
    hindsight : the most that fewer lines could tell, per number of lines of the others.
    left_out : what one line per diagnosis tells where a share of them is left out, per way to choose them.
    """

    labels: list[NDArray[np.float32]] = field(default_factory=list)
    patterns: dict[str, dict[int, list[Mask]]] = field(default_factory=dict)
    told: Told = field(default_factory=dict)
    by_network: Told = field(default_factory=dict)
    walked: list[list[Walked]] = field(default_factory=list)
    regressed: dict[int, list[Walked]] = field(default_factory=dict)
    hindsight: dict[int, list[NDArray[np.float64]]] = field(default_factory=dict)
    left_out: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)

    def add(self, other: Found) -> None:
        """Add what other seeds found."""
        self.labels += other.labels
        self.walked += other.walked
        for mine, more in (
            (self.patterns, other.patterns),
            (self.told, other.told),
            (self.by_network, other.by_network),
        ):
            for kind, per_number in more.items():
                _extend(mine.setdefault(kind, {}), per_number)
        _extend(self.regressed, other.regressed)
        _extend(self.hindsight, other.hindsight)
        _extend(self.left_out, other.left_out)


def _extend(mine: dict[Any, list[Any]], more: dict[Any, list[Any]]) -> None:
    for key, some in more.items():
        mine.setdefault(key, []).extend(some)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--seeds", type=int, default=5)
    cli.add_argument("--jobs", type=int, default=1, help="seeds at once, each on one core")
    cli.add_argument("--coils", type=int, default=1)
    cli.add_argument("--exclusive", action="store_true", help="one diagnosis at most per phantom")
    cli.add_argument("--strength", type=float, default=1.0, help="times the amplitude of what is planted")
    cli.add_argument("--studied", type=int, default=STUDIED, help="further phantoms that tell what can be foretold")
    cli.add_argument("--phantoms", type=int, default=LEARN, help="phantoms that learn")
    cli.add_argument(
        "--steps", type=int, default=HEAD.steps, help="training steps of every network but the value network"
    )
    cli.add_argument("--walk-steps", type=int, default=VALUE.steps, help="training steps of the value network")
    cli.add_argument("--swaps", type=int, default=40, help="swaps at most per pattern")
    cli.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS))
    options = cli.parse_args(arguments)
    drawn = Phantoms(options.coils, options.exclusive, options.strength)
    name = "kspace_lines" if drawn.n_coils == 1 else f"kspace_lines_{drawn.n_coils}_coils"
    if drawn.exclusive:
        name += "_exclusive"
    if drawn.strength != 1.0:
        name += f"_{100 * drawn.strength:.0f}_percent"
    result = Result(name, str(__doc__), arguments, script="kspace_lines")
    clock, found = Clock(), Found()
    seeds = range(options.seeds)
    for one, spent in Parallel(n_jobs=options.jobs)(delayed(_one_seed)(seed, options, drawn) for seed in seeds):
        found.add(one)
        clock.add(spent)
    _tell(result, options.budgets, found, drawn)
    mine = clock.seconds[SEARCHED] + clock.seconds[REGRESSED]
    others = {
        "LOUPE": clock.seconds["LOUPE"],
        "DPS": clock.seconds["DPS"],
        "greedy growth": clock.seconds["networks that judge patterns"] + clock.seconds["greedy growth"],
    }
    result.target(
        "all numbers of lines searched, and line by line: no more processor seconds than any of the others",
        f"{mine:.0f} ({', '.join(f'{kind} {spent:.0f}' for kind, spent in others.items())})",
        mine <= min(others.values()),
    )
    result.table(*clock.table("all seeds"))
    return result.publish(
        options.out,
        patients=f"{options.phantoms} phantoms learn, {JUDGE} judge, {options.coils} coil(s)"
        + (", one diagnosis at most" if drawn.exclusive else "")
        + (f", planted {drawn.strength:g} times as strongly" if drawn.strength != 1.0 else ""),
        seeds=list(range(options.seeds)),
    )


def _one_seed(seed: int, options: Any, drawn: Phantoms) -> tuple[Found, Clock]:
    """Return what one draw of phantoms gives, and where the processor seconds went."""
    peer = replace(PEER, steps=min(PEER.steps, options.steps))
    image = replace(IMAGE, steps=min(IMAGE.steps, options.steps))
    clock, found = Clock(), Found()
    problem = line_problem(options.phantoms + JUDGE, seed, drawn)
    learn, judge = np.arange(options.phantoms), np.arange(options.phantoms, options.phantoms + JUDGE)
    found.labels.append(problem.target[judge])
    rng = np.random.default_rng([seed, 0x6C69])
    masks = {
        "random": [random_mask(SIDE, n, rng) for n in options.budgets],
        "low-pass": [_centre(n) for n in options.budgets],
        "equispaced": [equispaced_mask(SIDE, n) for n in options.budgets],
        "variable density": [_variable_density(n, rng) for n in options.budgets],
    }
    clock.lap("")
    ridge = RidgeModel().fit(problem, learn)
    order = greedy(ridge.with_one_more, SIDE, max(options.budgets))
    numbers = sorted({*options.budgets, *(n for n in OTHER_NUMBERS if n < max(options.budgets))})
    searched = {n: exchange(ridge.with_one_more, mask_of(order[:n], SIDE), options.swaps) for n in numbers}
    masks[SEARCHED] = [searched[n] for n in options.budgets]
    clock.lap(SEARCHED)
    judges = CrossJudged(peer, problem, learn, seed)
    clock.lap("networks that judge patterns")
    grown = greedy(one_more(judges.losses), SIDE, max(options.budgets))
    masks["greedy growth"] = [mask_of(grown[:n], SIDE) for n in options.budgets]
    clock.lap("greedy growth")
    masks[LEARNED] = learned_masks(
        judges, [float(n) for n in options.budgets], starts=[], seed=seed, swaps=options.swaps
    )
    clock.lap(LEARNED)
    pictures = image_problem(options.phantoms, seed, drawn)
    for method in ("LOUPE", "DPS"):
        masks[method] = [fit_peer(method.lower(), n, peer, problem, learn, seed)[0] for n in options.budgets]
        clock.lap(method)
        masks[f"{method} for the image"] = [
            fit_peer(method.lower(), n, image, pictures, learn, seed)[0] for n in options.budgets
        ]
        clock.lap(f"{method} for the image")
    asked = np.stack([mask for of in masks.values() for mask in of])
    head = fit_subsets(replace(HEAD, steps=options.steps), problem, learn, seed + 1000, asked)
    networks = iter(head.tell(asked, judge))
    for kind, of in masks.items():
        for n, mask in zip(options.budgets, of, strict=True):
            found.by_network.setdefault(kind, {}).setdefault(n, []).append(next(networks).astype(np.float64))
            found.told.setdefault(kind, {}).setdefault(n, []).append(ridge.tell(mask[None], judge)[0])
            found.patterns.setdefault(kind, {}).setdefault(n, []).append(mask)
    clock.lap("head that reads all patterns")
    for n in options.budgets:
        own = _of_neighbours(judges, problem, learn, judge, n)
        found.told.setdefault(NEIGHBOUR, {}).setdefault(n, []).append(_read_each(ridge, own, judge))
    clock.lap(NEIGHBOUR)
    for n in set(numbers) - set(options.budgets):
        found.told[SEARCHED].setdefault(n, []).append(ridge.tell(searched[n][None], judge)[0])
    ranked = [*order, *(line for line in range(SIDE) if line not in order)]
    for n, (fewer, among) in HINDSIGHT.items():
        if n in options.budgets:
            sets = [mask_of(lines, SIDE) for lines in itertools.combinations(ranked[:among], fewer)]
            any_set = (ridge.tell(mask[None], judge)[0] for mask in sets)
            best = max(any_set, key=lambda one: _area(one, found.labels[-1]))
            found.hindsight.setdefault(n, []).append(best)
    clock.lap("best in hindsight")
    diagnoses = problem.n_outputs
    if diagnoses in options.budgets and not drawn.exclusive:
        each = masks["greedy growth"][options.budgets.index(diagnoses)]
        for how, one in _left_out(each, problem, learn, judge, seed, drawn, options.studied).items():
            found.left_out.setdefault(how, []).append(one)
        clock.lap("lines left out by what can be foretold")
    policy = RidgePolicy(ridge, order[:SHORT_LIST])
    for n in options.budgets:
        if LEFT * n < SHORT_LIST:
            walk = _regressed(policy, searched.values(), AIM * LEFT * n, judge)
            found.regressed.setdefault(n, []).append(walk)
    clock.lap(REGRESSED)
    few = Measurements(problem.values[:, order[:SHORT_LIST]], problem.target, problem.kind)
    found.walked.append(_walk(few, learn, judge, seed, options))
    clock.lap(ADAPTIVE)
    print(f"seed {seed}: done", flush=True)
    return found, clock


def _of_neighbours(
    judges: CrossJudged, problem: Measurements, learn: NDArray[np.int64], judge: NDArray[np.int64], take: int
) -> Mask:
    """Return lines of every judging phantom: the centre, then those of the learning phantom that is most alike there.

    A quarter of the lines, one at least, is taken around the centre (SUNO, Gautam 2025). Every learning phantom has
    lines of its own: one after the other, each the one that lowers its own log-loss most, by the network that has not
    seen it.

    Parameters
    ----------
    judges : networks that read any subset, each with learning phantoms it has not seen.
    problem : all phantoms, with labels.
    learn, judge : rows.
    take : lines per phantom.

    Returns
    -------
    masks : shape ``(judging phantoms, lines)``.

    References
    ----------
    Gautam S, Li A, Seiberlich N, Fessler JA, Ravishankar S. Scan-adaptive MRI undersampling using neighbor-based
    optimization (SUNO). arXiv:2501.09799.
    """
    centre = _centre(max(1, take // 4))
    own = np.zeros((len(problem.target), SIDE), dtype=bool)
    own[learn] = centre
    for reader, rows in judges.judged:
        for _ in range(take - int(centre.sum())):
            losses = np.full((len(rows), SIDE), np.inf)
            for line in range(SIDE):
                masks = own[rows]
                masks[:, line] = True
                told = np.clip(reader.tell_each(masks, rows), 1e-6, 1 - 1e-6)
                losses[:, line] = -np.log(np.where(problem.target[rows] > 0, told, 1 - told)).sum(1)
            losses[own[rows]] = np.inf
            own[rows, losses.argmin(1)] = True
    seen = problem.values[:, centre].reshape(len(own), -1)
    seen = StandardScaler().fit(seen[learn]).transform(seen)
    nearest = NearestNeighbors(n_neighbors=1).fit(seen[learn]).kneighbors(seen[judge], return_distance=False)
    found: Mask = own[learn[nearest[:, 0]]]
    return found


def _read_each(ridge: RidgeReader, masks: Mask, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what regressions tell where every row has a pattern of its own, shape ``(rows, labels)``."""
    patterns, which = np.unique(masks, axis=0, return_inverse=True)
    told = [ridge.tell(pattern[None], rows[which == at])[0] for at, pattern in enumerate(patterns)]
    order = np.argsort(which, kind="stable")
    found = np.empty((len(rows), told[0].shape[1]))
    found[order] = np.concatenate(told)
    return found


def _regressed(policy: RidgePolicy, firsts: Iterable[Mask], mean: float, judge: NDArray[np.int64]) -> Walked:
    """Return the policy of so many lines on average, begun with the pattern that errs least where one is left out."""
    truth = policy.reader.measurements.target[policy.reader.rows]
    found = []
    for first in firsts:
        if first.sum() <= mean:
            weight = policy.weight_for(first, mean)
            found.append((float(np.mean((policy.walk(first, weight)[1] - truth) ** 2)), first, weight))
    _, first, weight = min(found, key=lambda one: one[0])
    taken, told = policy.walk(first, weight, judge)
    return float(taken.sum(axis=1).mean()), told


def _walk(
    problem: Measurements, learn: NDArray[np.int64], judge: NDArray[np.int64], seed: int, options: Any
) -> list[Walked]:
    """Return lines on average, and what is told, per price weight; the reader learns what the policy takes."""
    model = replace(STEP_BY_STEP, steps=min(STEP_BY_STEP.steps, options.steps))
    n_lines = problem.n_shots
    value = replace(VALUE, steps=min(VALUE.steps, options.walk_steps))
    with tempfile.TemporaryDirectory() as folder:
        policy = value.fit(
            problem,
            CrossJudged(model, problem, learn, seed).judged,
            Actions.single(np.ones(n_lines)),
            seed=seed,
            trainer=TRAINER,
            directory=Path(folder),
        )
    walks = np.zeros((len(WEIGHTS), len(problem.target), n_lines), dtype=bool)
    for at, weight in enumerate(WEIGHTS):
        for rows in (learn, judge):
            walks[at, rows] = policy.walk(rows, weight, budget=float(n_lines))[0]
    reader = fit_subsets(model, problem, learn, seed + 1000, walks=walks)
    return [
        (float(taken[judge].sum(1).mean()), reader.tell_each(taken[judge], judge).astype(np.float64)) for taken in walks
    ]


def _tell(result: Result, budgets: Sequence[int], found: Found, drawn: Phantoms) -> None:
    told, labels = found.told, found.labels

    def area(some: Sequence[NDArray[np.float64]]) -> float:
        return float(np.mean([_area(one, label) for one, label in zip(some, labels, strict=True)]))

    columns = ["pattern", *(f"{n} lines" for n in budgets)]
    for title, of in (
        ("AUROC, mean of three diagnoses, each pattern read by a ridge regression of its own", told),
        ("The same, all read by one network", found.by_network),
    ):
        result.table(title, columns, [[kind, *(f"{area(of[kind][n]):.3f}" for n in budgets)] for kind in of])
    numbers = sorted(told[SEARCHED])
    result.table(
        f"{SEARCHED}: how few lines will do",
        ["lines", "AUROC"],
        [[n, f"{area(told[SEARCHED][n]):.3f}"] for n in numbers],
    )
    result.table(
        f"{ADAPTIVE}, among the first {SHORT_LIST} lines of the search: what every price weight gives",
        ["nats per line", "lines on average", "AUROC"],
        [
            [
                f"{weight:.2g}",
                f"{np.mean([walks[at][0] for walks in found.walked]):.1f}",
                f"{area([walks[at][1] for walks in found.walked]):.3f}",
            ]
            for at, weight in enumerate(WEIGHTS)
        ],
    )
    result.table(
        f"{REGRESSED}, among these lines",
        ["lines of others", "lines on average", "AUROC"],
        [
            [n, f"{np.mean([lines for lines, _ in some]):.2f}", f"{area([one for _, one in some]):.3f}"]
            for n, some in found.regressed.items()
        ],
    )
    rows = []
    for n, some in found.hindsight.items():
        fewer, among = HINDSIGHT[n]
        kind = max(PEERS, key=lambda one, n=n: area(told[one][n]))
        gap = _difference(some, told[kind][n], labels)
        rows.append([fewer, among, f"{area(some):.3f}", f"{kind}, {n} lines", in_words(gap, signed=True)])
    if rows:
        result.table(
            "Most that fewer lines could tell: the best of all sets, chosen on the phantoms that judge (so too good)",
            ["lines", "of", "AUROC", "less best static learned by others", "difference"],
            rows,
        )
    if drawn.exclusive:
        result.note(
            "Every phantom has one diagnosis at most, each and none as often: a line that tells one also tells that "
            "the lines of the others are not needed."
        )
    elif found.left_out:
        diagnoses = labels[0].shape[1]
        rows = []
        for how, some in found.left_out.items():
            gap = _difference(some, told["greedy growth"][diagnoses], labels)
            rows.append([how, f"{LEFT * diagnoses:.2f}", f"{area(some):.3f}", in_words(gap, signed=True)])
        result.table(
            f"Greedy growth, {diagnoses} lines, one per diagnosis: if {100 * (1 - LEFT):.0f} % of them are left out",
            ["chosen", "lines on average", "AUROC", "difference"],
            rows,
        )
        result.note(
            "Diagnoses are drawn independently, and each has lines of its own: what is measured of one does not tell "
            "which phantoms can do without the line of another. What can be foretold is how much body there is at a "
            "line; all of that is known above, from further phantoms, and a diagnosis without its line is told "
            "as is best on the phantoms that judge. It is the most that a policy among these lines can reach."
        )
    planted = planted_lines()
    large = [n for n in budgets if n >= len(planted)]
    if large:
        share = {
            kind: np.mean([mask[planted].mean() for n in large for mask in per[n]])
            for kind, per in found.patterns.items()
        }
        others = ", ".join(f"{kind} {100 * share[kind]:.0f} %" for kind in (LEARNED, *PEERS))
        result.target(
            f"80 % of the {len(planted)} planted lines recovered where there are enough lines",
            f"{100 * share[SEARCHED]:.0f} % ({others})",
            bool(share[SEARCHED] >= 0.8),
        )
    for n in budgets:
        best = max(RECONSTRUCTED, key=lambda kind, n=n: area(told[kind][n]))
        ahead = _difference(told[SEARCHED][n], told[best][n], labels)
        result.target(
            f"{n} lines: searched for the diagnosis ahead of {best}", in_words(ahead, signed=True), ahead.low > 0
        )
    for what, kinds, share_left in (
        ("variable density", ("variable density",), 0.7),
        ("best static learned by others", PEERS, LEFT),
    ):
        for n in budgets:
            kind = max(kinds, key=lambda one, n=n: area(told[one][n]))
            allowed = [fewer for fewer in numbers if fewer <= share_left * n]
            some = [(f"{fewer} lines", fewer, told[SEARCHED][fewer]) for fewer in allowed]
            if share_left == LEFT and n in found.regressed:
                lines = float(np.mean([one for one, _ in found.regressed[n]]))
                if lines <= share_left * n:
                    walks = [one for _, one in found.regressed[n]]
                    some.append((f"{lines:.2f} lines on average, line by line", lines, walks))
            gaps = [
                (f"{words} ({100 * (1 - lines / n):.0f} % fewer)", _difference(mine, told[kind][n], labels))
                for words, lines, mine in some
            ]
            enough = [one for one in gaps if one[1].low > -MARGIN]
            shown = enough[:1] or gaps[-2:]
            result.target(
                f"as good as {what}{'' if len(kinds) == 1 else f' ({kind})'} at {n} lines (margin {MARGIN}) with "
                f"{100 * (1 - share_left):.0f} % fewer",
                "; ".join(f"{words}: {in_words(gap, signed=True)}" for words, gap in shown)
                or "no number of lines is that much smaller",
                bool(enough),
            )
    result.note(
        "Lines are told as the logarithm of their energy in eight bands of columns. A ridge regression on these and "
        "their squares is fitted anew for every pattern; the search lowers its error of leaving one phantom out, by "
        "greedy growth and exchange. The one network (`SubsetModel`) learned all learning phantoms and all patterns."
    )
    result.note(
        f"{REGRESSED[0].upper()}{REGRESSED[1:]}: every phantom gets the pattern of the search for few lines; "
        "then, as long as it is worth the price, the line that is expected to take most off its square error, "
        "regressed on what is told of it so far (`RidgePolicy`). Price and first pattern are those with the smallest "
        f"error of leaving one phantom out, at {100 * AIM:.0f} % of the lines allowed on average."
    )
    result.note(
        f"{NEIGHBOUR}: a quarter of the lines around the centre, then those that lowered most the log-loss of the "
        "learning phantom that is most alike there; every pattern is read by a regression of its own. Greedy growth "
        "takes the line that tells most beyond those taken, by the log-loss of a network that reads any subset: greedy "
        "mutual information."
    )
    result.note(
        "For the image: lines and image are complex; the network fills in lines that were not taken, the inverse "
        "Fourier transform follows, and the mean square error of the image counts."
    )
    result.note("Intervals: of the bootstrap over phantoms and the scatter over seeds the wider one.")


def _area(told: NDArray[np.float64], label: NDArray[np.float32]) -> float:
    """Return the AUROC, mean over diagnoses."""
    return float(
        np.mean([auc_of_rows(label[:, at].astype(np.int64), told[None, :, at])[0] for at in range(label.shape[1])])
    )


def _left_out(
    mask: Mask,
    problem: Measurements,
    learn: NDArray[np.int64],
    judge: NDArray[np.int64],
    seed: int,
    drawn: Phantoms,
    studied: int,
) -> dict[str, NDArray[np.float64]]:
    """Return what one line per diagnosis tells of the judging phantoms if so many lines are left out as others allow.

    Either by chance, or those that are expected to lower the square error least. The expectation is learned from
    further phantoms (extra-trees), from more than any policy knows when it decides on a line: the energies of all other
    lines of the pattern, and the half axes of the body. A diagnosis without its line is told the same for all, whatever
    is best on the phantoms that judge. So the latter is the most that policies among these lines can reach where
    diagnoses are independent.

    Parameters
    ----------
    mask : as many lines as diagnoses.
    problem, learn, judge, seed, drawn : of the benchmark.
    studied : how many further phantoms.
    """
    further = line_problem(studied, seed + STUDIED, drawn)
    every = Measurements(
        np.concatenate([problem.values, further.values]), np.concatenate([problem.target, further.target]), problem.kind
    )
    reader = RidgeModel().fit(every, learn)
    rows = np.concatenate([judge, np.arange(len(problem.values), len(every.values))])
    half = np.concatenate([drawn.bodies(len(problem.values), seed)[1][judge], drawn.bodies(studied, seed + STUDIED)[1]])
    (told,) = reader.tell(mask[None], rows)
    truth, lines, here = every.target[rows], np.flatnonzero(mask), len(judge)
    expected, diagnosis = [], []
    for line in lines:
        others = mask & ~mask_of([line], SIDE)
        gain = (reader.tell(others[None], rows)[0] - truth) ** 2 - (told - truth) ** 2
        known = np.concatenate([every.values[rows][:, others].reshape(len(rows), -1), half], axis=1)
        trees = ExtraTreesRegressor(100, min_samples_leaf=40, random_state=seed)
        expected.append(trees.fit(known[here:], gain[here:].sum(1)).predict(known[:here]))
        diagnosis.append(int(gain.mean(0).argmax()))
    rng = np.random.default_rng([seed, 0x6C6F])
    worth = {KNOWINGLY: np.stack(expected, axis=1), BY_CHANCE: rng.random((here, len(lines)))}
    found = {}
    for how, each in worth.items():
        out = np.zeros(told[:here].shape, dtype=bool)
        out[:, diagnosis] = each <= np.quantile(each, 1 - LEFT)
        tried = (np.where(out, level, told[:here]) for level in np.linspace(0, 1, 101))
        found[how] = max(tried, key=lambda one: _area(one, problem.target[judge]))
    return found


def _difference(
    mine: Sequence[NDArray[np.float64]], other: Sequence[NDArray[np.float64]], labels: Sequence[NDArray[np.float32]]
) -> Interval:
    """Return the difference of mean AUROC; per phantom by its placement values (DeLong), so that it can be averaged."""
    return over_seeds([_placed(a, y) - _placed(b, y) for a, b, y in zip(mine, other, labels, strict=True)])


def _placed(told: NDArray[np.float64], label: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return values per phantom whose mean is the AUROC and whose scatter is that of DeLong, mean over diagnoses."""
    found = np.zeros(len(told))
    for at in range(label.shape[1]):
        sick = label[:, at] == 1
        wins = (told[sick, at][:, None] > told[~sick, at][None]) + 0.5 * (
            told[sick, at][:, None] == told[~sick, at][None]
        )
        area, n = wins.mean(), len(told)
        own = np.empty(n)
        own[sick] = area + (wins.mean(1) - area) * n / sick.sum()
        own[~sick] = area + (wins.mean(0) - area) * n / (~sick).sum()
        found += own / label.shape[1]
    return found


def _centre(n: int) -> Mask:
    return mask_of(np.argsort(np.abs(np.arange(SIDE) - SIDE // 2), kind="stable")[:n], SIDE)


def _variable_density(n: int, rng: np.random.Generator) -> Mask:
    """Draw lines with a density that falls with the square of the distance from the centre; the centre itself is in."""
    distance = np.abs(np.arange(SIDE) - SIDE // 2) / (SIDE / 2)
    keys = 2 * np.log1p(-np.minimum(distance, 0.99)) + rng.gumbel(size=SIDE)
    keys[SIDE // 2] = np.inf
    return mask_of(np.argsort(-keys, kind="stable")[:n], SIDE)


if __name__ == "__main__":
    main()
