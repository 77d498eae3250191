"""The index: one offline page that lists the runs below a folder, compares any two of them, and lists benchmarks."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from markupsafe import Markup

from scanwise.artifacts import hash_json, write_text
from scanwise.errors import ScanwiseError
from scanwise.report import formats
from scanwise.report.cards.guards import rank
from scanwise.report.report import SCHEMA_VERSION
from scanwise.report.templating import embedded, environment, source

INDEX = "index.html"
RUNS = "runs"
"""A folder of runs with this name has its index beside it, any other one in it."""

_MARK = '<meta name="generator" content="scanwise index">'
_RUN_FOLDERS = ("*", "*/*", f"{RUNS}/*/*")
_PAGES = ("dashboard.html", "protocol-card.html", "protocol-card.md", "report.json")
"""What a run is linked to: the first of them that is there."""
_RUN_FILES = ("manifest.json", "config.yaml", *_PAGES)
_BENCHMARKS = "published/**/*.json"
_MOST_SETTINGS = 20_000
_LONGEST_SETTING = 400
_MOST_TRIES = 50
_LISTED_AXES = ("minutes", "money")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where PyYAML was built with it


@dataclass(frozen=True)
class Price:
    """Cost along one axis; `None` = not known, or nothing is proposed."""

    axis: str
    today: float | None
    proposed: float | None
    currency: str

    @property
    def parts(self) -> tuple[str, ...]:
        """Today's cost and the proposed one: ``("27 min", "→ 10.5 min")``; one part where they are the same."""
        today, proposed = (formats.cost(self.axis, value, self.currency) for value in (self.today, self.proposed))
        return (today,) if today == proposed else (today, f"→ {proposed}")

    @property
    def change(self) -> str:
        """The saving: ``"−61 %"``; empty where nothing changes or a cost is missing."""
        if not self.today or self.proposed is None or self.proposed == self.today:
            return ""
        share = round(100 * (self.proposed / self.today - 1))
        return f"{formats.MINUS if share < 0 else '+'}{abs(share)} %"


@dataclass(frozen=True)
class Fact:
    """One line of a comparison."""

    group: str
    label: str
    items: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class RunEntry:
    """One run: what stands in the list, and what it is compared by."""

    path: str
    """Its folder, below the folder of the index."""
    href: str
    """Where it is shown, relative to the index; empty where no page was written."""
    name: str
    title: str
    headline: str
    status: str
    virtual: bool
    prices: Mapping[str, Price]
    """The axes that stand in the list: time and money."""
    auc: float | None
    auc_words: str
    verdict: str
    patients: int | None
    failed: int
    """How many guards failed, those of the leakage audit included."""
    started: str
    started_s: float | None
    """When it was started [s since 1970]."""
    data_hash: str
    fingerprint: str
    currency: str
    facts: tuple[Fact, ...]
    settings: Mapping[str, str] | None
    """Flat configuration; None where it cannot be read."""


@dataclass(frozen=True)
class Trouble:
    """A folder or file that is not in the list, or not in full, and why."""

    path: str
    kind: str
    """``"unfinished"`` or ``"damaged"``."""
    reason: str


@dataclass(frozen=True)
class Benchmark:
    """What one benchmark asked, and how many of its targets were reached."""

    path: str
    href: str
    name: str
    question: str
    reached: int
    judged: int
    """Targets with a verdict; those for reference have none."""
    missed: tuple[str, ...]


@dataclass(frozen=True)
class Index:
    """What is found below a folder: runs newest first, what is wrong with others, benchmarks by name."""

    runs: tuple[RunEntry, ...]
    troubles: tuple[Trouble, ...]
    benchmarks: tuple[Benchmark, ...]

    def __repr__(self) -> str:
        parts = [formats.plural(len(self.runs), "run")]
        if self.troubles:
            parts.append(f"{len(self.troubles)} not finished or damaged")
        if self.benchmarks:
            parts.append(formats.plural(len(self.benchmarks), "benchmark"))
        return ", ".join(parts)


def index_root(out: Path) -> Path:
    """Return the folder that holds the index of the runs in `out`: beside ``runs``, otherwise `out` itself."""
    return out.parent if out.name == RUNS else out


def build_index(root: Path | str) -> Index:
    """Read what is below a folder; what cannot be read is listed with the reason and never stops the rest.

    Parameters
    ----------
    root : a folder with ``runs/NAME/ID`` and ``published/NAME``, or with ``NAME/ID`` in it.

    Raises
    ------
    ScanwiseError
        If there is no such folder.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise ScanwiseError(
            f"there is no folder {folder.as_posix()!r}", "root names the folder that holds runs/, e.g. root=reports"
        )
    folder = folder.absolute()  # what was read is kept by its path
    runs: list[RunEntry] = []
    troubles: list[Trouble] = []
    for where in _run_folders(folder):
        run, wrong = _read_run(where, _below(folder, where), _link(folder, where), _stamp(where, _RUN_FILES))
        runs += [run] if run is not None else []
        troubles += wrong
    benchmarks: list[Benchmark] = []
    for path in _benchmark_files(folder):
        benchmark, wrong = _read_benchmark(path, _below(folder, path), _stamp(path.parent, (path.name,)))
        if benchmark is not None:
            page = path.with_suffix(".md")
            benchmarks.append(_linked(benchmark, _link(folder, page if page.is_file() else path)))
        troubles += wrong
    runs.sort(key=lambda run: (run.started_s is None, -(run.started_s or 0.0), run.path))
    return Index(tuple(runs), tuple(sorted(troubles, key=lambda one: (one.path, one.reason))), tuple(benchmarks))


def render_index(index: Index) -> str:
    """Return the page. Every text is escaped; the same folders give the same bytes."""
    page = (
        environment()
        .get_template("index.html.j2")
        .render(
            index=index,
            lead=_lead(index),
            axes=_LISTED_AXES,
            titles=formats.AXIS_SHORT,
            verdict=lambda value: formats.cell(value, "verdict"),
            count=formats.count,
            plural=formats.plural,
            payload=Markup(embedded(_payload(index.runs))),  # noqa: S704 - `<`, `>` and `&` are escaped
            style=Markup(source("page.css") + source("index.css")),  # noqa: S704 - our own files
            script=Markup(source("index.js")),  # noqa: S704 - our own file
            mark=Markup(_MARK),  # noqa: S704 - our own constant
        )
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # half a character in a damaged report must not stop us


def write_index(root: Path | str) -> tuple[Path, Index]:
    """Write ``index.html`` into a folder; return its path and what it lists.

    Any number of processes may do so at the same time: the file is written whole, and whoever writes looks again
    whether anything changed meanwhile, so the page that stays lists everything.

    Raises
    ------
    ScanwiseError
        If there is no such folder, there is nothing to list in it, an ``index.html`` stands there that is somebody
        else's, or it cannot be written.
    """
    folder = Path(root)
    index = build_index(folder)
    if not index.runs and not index.troubles and not index.benchmarks:
        raise ScanwiseError(
            f"there is no run below {folder.as_posix()!r}", "root names the folder that holds runs/, e.g. root=reports"
        )
    path = folder / INDEX
    if path.exists() and not is_index(path):
        raise ScanwiseError(
            f"{path.as_posix()!r} is a page that scanwise did not write", "move it away, or choose another folder"
        )
    for _ in range(_MOST_TRIES):
        before = _state(folder)
        index = build_index(folder)
        write_text(path, render_index(index))
        if _state(folder) == before:
            break
    return path, index


def refresh_index(directory: Path, out: Path) -> str:
    """Bring the index up to date after a run; return why it was not, or nothing. Never raises.

    Parameters
    ----------
    directory : the run folder, ``OUT/NAME/ID``.
    out : where runs are written by the configuration. A run folder elsewhere, a copy for instance, leaves its
        surroundings alone, unless there is an index already.
    """
    try:
        found = directory.resolve().parent.parent
        root = index_root(found)
        if found == out.resolve() or is_index(root / INDEX):
            write_index(root)
    except Exception as error:  # a list of runs is no reason to fail one
        what = error.message if isinstance(error, ScanwiseError) else f"{type(error).__name__}: {error}"
        return f"{INDEX} was not brought up to date: {what}"
    return ""


def is_index(path: Path) -> bool:
    """Whether a file is an index that scanwise wrote."""
    try:
        with path.open("rb") as file:
            return _MARK.encode("ascii") in file.read(2048)
    except OSError:
        return False


# ---- what is below a folder ---------------------------------------------------------------------------------------


def _run_folders(root: Path) -> list[Path]:
    names = ("report.json", "manifest.json")
    found = {path.parent for pattern in _RUN_FOLDERS for name in names for path in root.glob(f"{pattern}/{name}")}
    return sorted(found)


def _benchmark_files(root: Path) -> list[Path]:
    return sorted(path for path in root.glob(_BENCHMARKS) if path.name not in _RUN_FILES and path.is_file())


def _state(root: Path) -> list[Any]:
    """Return what tells whether anything changed below a folder."""
    files: list[tuple[Path, tuple[str, ...]]] = [(folder, _RUN_FILES) for folder in _run_folders(root)]
    files += [(path.parent, (path.name,)) for path in _benchmark_files(root)]
    return [(folder, _stamp(folder, names)) for folder, names in files]


def _stamp(folder: Path, names: Iterable[str]) -> tuple[tuple[int, int] | None, ...]:
    """Return time and size of files, None for those that are not there."""
    stamps: list[tuple[int, int] | None] = []
    for name in names:
        try:
            about = (folder / name).stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((about.st_mtime_ns, about.st_size))
    return tuple(stamps)


def _below(root: Path, path: Path) -> str:
    """Return a path below the root as text; bytes that are no text are replaced."""
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "replace")


def _link(root: Path, path: Path) -> str:
    return quote(os.fsencode(path.relative_to(root).as_posix()))  # a colon is quoted, so no path is a scheme


def _json(folder: Path, name: str) -> Any:
    try:
        return json.loads((folder / name).read_text("utf-8"))
    except OSError as error:
        raise ScanwiseError(f"{name} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ScanwiseError(f"{name} is not readable JSON: {error}") from error


# ---- one run ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _read_run(folder: Path, path: str, link: str, stamp: Any) -> tuple[RunEntry | None, tuple[Trouble, ...]]:
    """Read one run folder; `stamp` makes sure that it is read again when it changed."""
    del stamp
    troubles: list[Trouble] = []
    manifest: Mapping[str, Any] = {}
    if (folder / "manifest.json").is_file():
        try:
            manifest = _mapping(_json(folder, "manifest.json"), "manifest.json")
        except Exception as error:  # the report may still be whole
            troubles.append(Trouble(path, "damaged", _reason(error)))
    if not (folder / "report.json").is_file():
        if not troubles and "stages" not in manifest:
            return None, ()  # a manifest of something else
        done = ", ".join(str(stage) for stage in _plain_mapping(manifest.get("stages"))) or "nothing"
        troubles.append(Trouble(path, "unfinished", f"no report yet; done so far: {done}"))
        return None, tuple(troubles)
    settings: Mapping[str, str] | None = None
    if (folder / "config.yaml").is_file():
        try:
            settings = _settings(folder / "config.yaml")
        except Exception as error:  # a run can be listed without its settings
            troubles.append(Trouble(path, "damaged", f"config.yaml cannot be read: {_reason(error)}"))
    page = next((name for name in _PAGES if (folder / name).is_file()), None)
    try:
        entry = _entry(_json(folder, "report.json"), manifest, settings, path, f"{link}/{page}" if page else "")
    except Exception as error:  # one broken folder must never take the page down
        troubles.append(Trouble(path, "damaged", _reason(error)))
        return None, tuple(troubles)
    return entry, tuple(troubles)


def _reason(error: Exception) -> str:
    text = error.message if isinstance(error, ScanwiseError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ScanwiseError(f"{what} is not what scanwise writes: a {type(value).__name__}, not a mapping")
    return value


def _plain_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _entry(
    content: Any, manifest: Mapping[str, Any], settings: Mapping[str, str] | None, path: str, href: str
) -> RunEntry:
    report = _mapping(content, "report.json")
    if report.get("schema_version") != SCHEMA_VERSION:
        raise ScanwiseError(
            f"report.json has schema version {report.get('schema_version')!r}; this scanwise reads {SCHEMA_VERSION}"
        )
    head = _mapping(report.get("head"), "head of report.json")
    for name in ("title", "headline"):
        if not isinstance(head.get(name), str):
            raise ScanwiseError(f"report.json has no {name}")
    cards = {
        str(card.get("id")): card
        for section in _list(report.get("sections"))
        for card in _list(_plain_mapping(section).get("cards"))
        if isinstance(card, Mapping)
    }
    currency = str(head.get("currency") or "")
    status = str(head.get("status") or "unknown")
    nothing = status == "nothing affordable"
    today, proposed = _judged(cards, nothing=nothing)
    shown = proposed or today
    verdict = str(shown.get("verdict") or "")
    auc = _plain_mapping(shown.get("auc"))
    prices = [
        Price(axis, formats.finite(today.get(axis)), formats.finite(proposed.get(axis)), currency)
        for axis in _axes(cards)
    ]
    patients = _patients(cards)
    checks = {card_id: _checks(cards.get(card_id)) for card_id in ("guards", "audit")}
    started_s, started = _time(manifest.get("started") or head.get("started"))
    data_hash = manifest.get("data_hash")
    return RunEntry(
        path=path,
        href=href,
        name=str((settings or {}).get("name") or head["title"]),
        title=head["title"],
        headline=head["headline"],
        status=status,
        virtual=bool(head.get("virtual")),
        prices={price.axis: price for price in prices if price.axis in _LISTED_AXES},
        auc=formats.finite(auc.get("value")),
        auc_words=formats.with_limits(auc),
        verdict=verdict,
        patients=patients,
        failed=sum(severity == "fail" for found in checks.values() for severity, _ in found),
        started=started,
        started_s=started_s,
        data_hash=data_hash if isinstance(data_hash, str) else "",
        fingerprint=str(head.get("fingerprint") or ""),
        currency=currency,
        facts=(
            Fact("Advice", "Headline", (head["headline"],)),
            Fact("Advice", "Status", (status,)),
            Fact("Advice", "Budget asked for", (str(head.get("budget") or formats.MISSING),)),
            *_orders(cards.get("order"), nothing=nothing),
            *(
                Fact(
                    "Cost, today → proposed",
                    formats.AXIS_TITLES.get(one.axis, one.axis),
                    (" ".join(one.parts),),
                    one.change,
                )
                for one in prices
            ),
            *_diagnosis(today, proposed, patients),
            *_guard_facts(checks),
            *_provenance(manifest, head, started),
        ),
        settings=settings,
    )


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _rows(card: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Return role and cells of every row of a card; nothing where it has no table."""
    rows = _list(_plain_mapping(_plain_mapping(card).get("table")).get("rows"))
    return [(str(row.get("role") or ""), _plain_mapping(row.get("cells"))) for row in rows if isinstance(row, Mapping)]


def _axes(cards: Mapping[str, Any]) -> list[str]:
    columns = _list(_plain_mapping(_plain_mapping(cards.get("front")).get("table")).get("columns"))
    forms = [str(_plain_mapping(column).get("format")) for column in columns]
    return [form.removeprefix("axis:") for form in forms if form.startswith("axis:")]


def _judged(cards: Mapping[str, Any], *, nothing: bool) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return cost and evidence of today's protocol and of the proposed one, which may be today's."""
    rows = _rows(cards.get("front"))
    today = next((cells for role, cells in rows if role == "reference"), {})
    return today, {} if nothing else next((cells for role, cells in rows if role == "proposal"), today)


def _patients(cards: Mapping[str, Any]) -> int | None:
    for role, cells in _rows(cards.get("tiles")):
        digits = "".join(sign for sign in str(cells.get("value")) if sign in "0123456789")
        if role == "patients" and digits:
            return int(digits)
    return None


def _checks(card: Any) -> list[tuple[str, str]]:
    """Return severity and words of the checks of a card that did not pass, worst first."""
    found = []
    for role, cells in _rows(card):
        if role not in ("pass", "info"):
            veto = " (veto)" if cells.get("vetoes") else ""
            found.append((role, f"{cells.get('title') or ''}{veto}"))
    return sorted(found, key=lambda one: rank(one[0]))


def _orders(card: Any, *, nothing: bool) -> Iterator[Fact]:
    for role, cells in _rows(card):
        if role == "total":
            continue
        today = str(cells.get("today") or formats.MISSING)
        words = "nothing proposed" if nothing else str(cells.get("proposed") or formats.MISSING)
        group = "Sessions and fees" if role.startswith("fee") else "What is acquired"
        yield Fact(
            group, str(cells.get("modality") or ""), (words,), "as today" if words == today else f"today: {today}"
        )


def _cost(price: Price) -> Fact:
    title = formats.AXIS_TITLES.get(price.axis, price.axis)
    return Fact("Cost, today → proposed", title, (" ".join(price.parts),), price.change)


def _diagnosis(today: Mapping[str, Any], proposed: Mapping[str, Any], patients: int | None) -> Iterator[Fact]:
    group = "Diagnosis"
    yield Fact(group, "AUC today", (formats.with_limits(_plain_mapping(today.get("auc"))),))
    yield Fact(group, "AUC proposed", (formats.with_limits(_plain_mapping(proposed.get("auc"))),))
    difference = _plain_mapping(proposed.get("difference"))
    yield Fact(group, "Difference", (formats.with_limits(difference, formats.signed),))
    yield Fact(group, "Verdict", (formats.cell(proposed.get("verdict"), "verdict"),))
    yield Fact(group, "Patients judged", (formats.count(patients),))


def _guard_facts(checks: Mapping[str, list[tuple[str, str]]]) -> Iterator[Fact]:
    for card_id, name in (("guards", "Guards"), ("audit", "Leakage audit")):
        for severity, label in (("fail", "failed"), ("warning", "warnings")):
            items = tuple(words for found, words in checks[card_id] if found == severity)
            yield Fact("Guards", f"{name}: {label}", items or ("none",))


def _provenance(manifest: Mapping[str, Any], head: Mapping[str, Any], started: str) -> Iterator[Fact]:
    about = {
        "Started": f"{started} UTC" if started else None,
        "Command": manifest.get("command"),
        "Model": _plain_mapping(manifest.get("model")).get("text"),
        "Seed": manifest.get("seed"),
        "scanwise": _plain_mapping(manifest.get("versions")).get("scanwise"),
        "Code": manifest.get("git"),
        "Recommendation": head.get("fingerprint"),
    }
    for label, value in about.items():
        yield Fact("Provenance", label, (formats.MISSING if value in (None, "") else str(value),))


def _time(value: Any) -> tuple[float | None, str]:
    """Return a time [s since 1970] and how it is written, in UTC."""
    try:
        found = datetime.datetime.fromisoformat(str(value))
        if found.tzinfo is None:
            found = found.replace(tzinfo=datetime.UTC)
        return found.timestamp(), found.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError):
        return None, ""


def _settings(path: Path) -> dict[str, str]:
    """Return a configuration as ``{"budget.money": "200"}``."""
    content = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - a safe loader
    flat: dict[str, str] = {}

    def add(value: Any, at: str) -> None:
        if isinstance(value, Mapping) and value:
            for key, item in value.items():
                add(item, f"{at}.{key}" if at else str(key))
        elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
            for number, item in enumerate(value):
                add(item, f"{at}[{number}]")
        else:
            flat[at] = _setting(value)
            if len(flat) > _MOST_SETTINGS:
                raise ScanwiseError(f"it holds more than {_MOST_SETTINGS} settings")

    add(_mapping(content, "it"), "")
    return flat


def _setting(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    if len(text) <= _LONGEST_SETTING:
        return text
    return f"{text[:_LONGEST_SETTING]}… ({hash_json(text)[:8]})"  # so that two long ones still differ


# ---- benchmarks ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _read_benchmark(file: Path, path: str, stamp: Any) -> tuple[Benchmark | None, tuple[Trouble, ...]]:
    """Read one result of a benchmark; other JSON is passed over."""
    del stamp
    try:
        content = _json(file.parent, file.name)
        if not isinstance(content, Mapping) or not {"benchmark", "targets"} <= set(content):
            return None, ()
        judged = [_mapping(target, "a target") for target in content["targets"]]
        judged = [target for target in judged if target.get("met") is not None]
        missed = tuple(f"{target.get('wanted')}: {target.get('figure')}" for target in judged if not target["met"])
        name, question = (
            str(content["benchmark"]),
            " ".join(str(content.get("question") or "").replace("``", "").split()),
        )
        return Benchmark(path, "", name, question, len(judged) - len(missed), len(judged), missed), ()
    except Exception as error:  # one broken file must never take the page down
        return None, (Trouble(path, "damaged", _reason(error)),)


def _linked(benchmark: Benchmark, href: str) -> Benchmark:
    return Benchmark(**{**vars(benchmark), "href": href})


# ---- the page -----------------------------------------------------------------------------------------------------


def _lead(index: Index) -> str:
    runs = index.runs
    virtual = sum(run.virtual for run in runs)
    parts = []
    if virtual:
        share = "All" if virtual == len(runs) else f"{virtual} of {len(runs)}"
        parts.append(f"{share} with virtual patients: they are simulated, nobody was examined.")
    failed = sum(run.failed > 0 for run in runs)
    if failed:
        parts.append(f"A guard failed in {formats.plural(failed, 'run')}.")
    if index.troubles:
        parts.append(f"{formats.plural(len(index.troubles), 'folder')} not finished or damaged, listed below.")
    return " ".join(parts)


def _payload(runs: Sequence[RunEntry]) -> dict[str, Any]:
    """Return what the page compares.

    Runs of one study differ in few settings, so they share those of the first of them: ``bases``, and what a run
    ``changed`` (None = the setting is not there).
    """
    bases: list[Mapping[str, str]] = []
    places: dict[str, int] = {}
    found = []
    for run in runs:
        settings = None
        if run.settings is not None:
            if run.name not in places:
                places[run.name] = len(bases)
                bases.append(run.settings)
            base = bases[places[run.name]]
            changed = {key: value for key, value in run.settings.items() if base.get(key) != value}
            changed_or_gone = {**changed, **dict.fromkeys(base.keys() - run.settings.keys())}
            settings = {"base": places[run.name], "changed": changed_or_gone}
        found.append(
            {
                "path": run.path,
                "href": run.href,
                "title": run.title,
                "virtual": run.virtual,
                "data": run.data_hash,
                "fingerprint": run.fingerprint,
                "currency": run.currency,
                "facts": [[fact.group, fact.label, list(fact.items), fact.note] for fact in run.facts],
                "settings": settings,
            }
        )
    return {"bases": bases, "runs": found}
