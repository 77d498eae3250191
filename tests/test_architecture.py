"""Dependencies point one way: every import in the source, lazy ones included, must be in this table."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "scanwise"
ROOMS = ("design", "physics", "modalities", "cohort", "model", "search", "policy", "evidence", "recommend", "report")
HELPERS = {"errors", "artifacts"}  # import nothing of scanwise but each other; anyone may use them

ALLOWED: dict[str, set[str]] = {
    "design": set(),
    "physics": set(),
    "modalities": {"design", "physics"},
    "cohort": {"design"},
    "model": {"design"},
    "search": {"design"},
    "policy": {"design"},
    "evidence": set(),
    "recommend": {"design", "evidence"},
    "report": {"design", "evidence", "recommend"},
    "errors": set(),
    "artifacts": set(),
    "config": set(),
    "console": {"pipeline"},
    "composing": {"config"},
    "launch": set(),
    "visit": {"design", "pipeline", "policy"},
    "cli": {"composing", "console", "design", "launch", "pipeline", "report", "visit"},
    "tuning": {"design", "evidence"},
    "explaining": {"design", "evidence"},
    "pipeline": {*ROOMS, "composing", "config", "explaining", "tuning"},
    "__init__": {"pipeline"},
}
NUMERIC_ONLY = {
    "design": {"numpy"},
    "modalities": {"numpy", "torch"},
    "physics": {"numpy", "torch", "torchkbnufft"},
    "cohort": {"numpy", "joblib"},
    "policy": {"numpy", "scipy"},
    "evidence": {"numpy", "scipy", "sklearn"},
    "recommend": {"numpy", "scipy", "pypulseq"},
    "artifacts": {"numpy"},
    "errors": set(),
}
ONLY_IN = {
    "optuna": {"search"},
    "plotly": {"report"},
    "jinja2": {"report"},
    "lightning": {"model"},
    "torchkbnufft": {"physics"},
    "pypulseq": {"recommend"},
    "torch": {"model", "physics", "modalities"},
}


def imports_of(path: Path) -> list[tuple[str, int]]:
    """Every imported module of a file, wherever the import stands, with its line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: imports are absolute here"
            module = node.module or ""
            found.append((module, node.lineno))
            if module == "scanwise":
                found += [(f"scanwise.{alias.name}", node.lineno) for alias in node.names]
    return found


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def violations(paths: list[Path]) -> list[str]:
    wrong = []
    for path in paths:
        room = room_of(path)
        for module, line in imports_of(path):
            where = f"{path.relative_to(SOURCE)}:{line} imports {module}"
            top = module.partition(".")[0]
            if top == "scanwise":
                target = module.split(".")[1] if "." in module else "__init__"
                known = target in ALLOWED
                if target != "__init__" and known and target != room and target not in ALLOWED[room] | HELPERS:
                    wrong.append(where)
            elif (top in ONLY_IN and room not in ONLY_IN[top]) or (
                room in NUMERIC_ONLY and top not in NUMERIC_ONLY[room] and top not in sys.stdlib_module_names
            ):
                wrong.append(where)
            if module == "hydra.utils" and room != "pipeline":
                wrong.append(f"{where}: only pipeline.py instantiates")
    return wrong


def test_every_import_is_in_the_table():
    assert violations(sorted(SOURCE.rglob("*.py"))) == []


def test_every_room_has_an_entry():
    rooms = {room_of(path) for path in SOURCE.rglob("*.py")}

    assert rooms <= set(ALLOWED), f"add {rooms - set(ALLOWED)} to the table"


def test_instantiate_is_called_in_pipeline_only():
    callers = {room_of(path) for path in SOURCE.rglob("*.py") if "instantiate(" in path.read_text("utf-8")}

    assert callers == {"pipeline"}


def test_sequences_are_written_in_one_file():
    users = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if any(module.partition(".")[0] == "pypulseq" for module, _ in imports_of(path))
    }

    assert users == {"recommend/pulseq.py"}


def test_the_check_sees_a_lazy_forbidden_import(tmp_path, monkeypatch):
    bad = tmp_path / "evidence" / "bad.py"
    bad.parent.mkdir()
    bad.write_text("def later():\n    from scanwise.model import DiagnosisNetwork\n    import torch\n", "utf-8")
    monkeypatch.setattr(f"{__name__}.SOURCE", tmp_path)

    assert violations([bad]) == [
        "evidence/bad.py:2 imports scanwise.model",
        "evidence/bad.py:3 imports torch",
    ]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("scanwise", {"torch", "optuna", "lightning", "sklearn", "plotly"}),
        ("scanwise.cli", {"torch", "optuna", "lightning", "sklearn", "plotly", "scipy"}),
        ("scanwise.modalities.radial", {"torchkbnufft", "optuna", "lightning", "sklearn", "plotly"}),
        ("scanwise.recommend", {"torch", "optuna", "lightning", "plotly"}),
        ("scanwise.recommend.export", {"torch", "optuna", "lightning", "plotly", "pypulseq", "matplotlib"}),
        ("scanwise.report", {"torch", "optuna", "lightning"}),
        ("scanwise.pipeline", {"torch", "optuna", "lightning", "plotly"}),
    ],
)
def test_importing_stays_light(module, absent):
    code = f"import sys, {module}; print(' '.join(sorted({absent!r} & set(sys.modules))))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert loaded == []
