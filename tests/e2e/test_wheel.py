"""What is shipped: a wheel that carries the configuration and works from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("scanwise-*.whl")
    return built


def test_the_wheel_carries_configuration_templates_and_types(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())

    configured = {f"scanwise/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert configured <= names
    assert {"scanwise/py.typed", "scanwise/report/templates/page.css"} <= names
    assert not [name for name in names if name.startswith(("tests", "conf/", "experiments"))]


def test_the_installed_command_works_from_an_empty_folder(wheel, tmp_path):
    """Install beside the dependencies of this environment, not beside its source."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    site = next((home / "lib").glob("python*")) / "site-packages"
    here = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "dependencies.pth").write_text(f"{here}\n", "utf-8")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-deps",
            "--no-index",
            "--quiet",
            "--target",
            str(site),
            str(wheel),
        ],
        check=True,
    )
    empty = tmp_path / "empty"
    (empty / "mine" / "experiment").mkdir(parents=True)
    (empty / "mine" / "experiment" / "small.yaml").write_text(
        "# @package _global_\nname: small\ncohort: {n: 120}\nmodel: {steps: 3}\n", "utf-8"
    )
    environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    python = str(home / "bin" / "python")
    where = subprocess.run(
        [python, "-c", "import scanwise, scanwise.composing; print(scanwise.__file__, scanwise.composing.CONF)"],
        cwd=empty,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert where.count(str(site)) == 2, "the installed package must be used, with its own conf"

    done = subprocess.run(
        [python, "-m", "scanwise.cli", "--config-dir", "mine", "experiment=small"],
        cwd=empty,
        env=environment,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert len(list(empty.glob("reports/runs/small/*/dashboard.html"))) == 1


def test_the_environment_is_the_pinned_cpu_one():
    installed = {str(found.metadata["Name"]).lower(): found.version for found in distributions()}

    assert installed["torch"].split("+")[0] == "2.13.0"
    assert "torchvision" not in installed
    assert installed["lightning"] not in ("2.6.2", "2.6.3"), "these two releases were malicious"
