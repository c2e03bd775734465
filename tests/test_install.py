"""The installation: the wheel, the source distribution, and an editable one. Needs no network."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from seqrev import config_files
from seqrev.workflows import sweep_plan
from tests.helpers import PATIENCE

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, folder: Path) -> str:
    """The output of a command that must succeed; nothing but its installation tells it where the package is."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # which would add files to the clone
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def build(target: str, project: Path, out: Path) -> Path:
    """Build with the declared backend, in the running environment."""
    run(sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", out, folder=project)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the source distribution holds, in a folder that is named as the package is, as a clone often is."""
    folder = tmp_path_factory.mktemp("installation")
    with tarfile.open(build("sdist", ROOT, folder / "sdist")) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.glob("seqrev-*")
    return unpacked.rename(folder / "seqrev")


def test_the_source_distribution_holds_what_the_tests_need(clone: Path) -> None:
    for name in ("Makefile", "constraints.txt", "configs/small.yaml", "tests/conftest.py", "tests/browser.py"):
        assert (clone / name).is_file(), name
    assert not (clone / ".venv").exists()
    assert [path.name for path in (clone / "runs").iterdir()] == [".gitkeep"]


def test_it_holds_whatever_the_repository_does(clone: Path) -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no clone")
    tracked = [name for name in run("git", "ls-files", "-z", folder=ROOT).split("\0") if name and (ROOT / name).is_file()]
    assert [name for name in tracked if not (clone / name).is_file()] == []


def test_its_tests_find_what_they_import(clone: Path) -> None:
    """A few that import what others share; of the rest, every file is there."""
    names = ("tests/test_optimized.py", "tests/test_oracle.py", "tests/system/test_resources.py", "tests/docs")
    command = (sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *names)
    collected = run(*command, folder=clone)
    for name in names:
        assert name in collected


def test_the_wheel_holds_the_whole_package_and_nothing_else(clone: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build("wheel", clone, tmp_path)) as wheel:
        inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {"seqrev/py.typed", "seqrev/plotting/page/page.js", "seqrev/configs/small.yaml"} <= inside
    package = {path.relative_to(clone).as_posix() for path in (clone / "seqrev").rglob("*") if path.is_file()}
    assert inside == package | {f"seqrev/configs/{path.name}" for path in (clone / "configs").iterdir()}


def make_environment(folder: Path) -> tuple[Path, Path]:
    """A new environment's Python, and where its packages are; dependencies come from the running one.

    The path files in that one, its own installation of seqrev, are not read.
    """
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip())
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python, packages


def test_an_installed_package_has_its_configurations_and_its_hints_work(clone: Path, tmp_path: Path) -> None:
    python, _ = make_environment(tmp_path / "venv")
    wheel = build("wheel", clone, tmp_path / "wheel")
    run(python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel, folder=tmp_path)
    program = (python, "-m", "seqrev")
    assert "--config small" in run(*program, "--help", folder=tmp_path)
    run(*program, "generate", "--config", "small", folder=tmp_path)
    assert (
        json.loads((tmp_path / "runs" / "001" / "data" / "manifest.json").read_text())["splits"]["train"]["rows"] == 10_000
    )
    for name in ("ablation", "rules"):
        assert "the recipe" in run(*program, "sweep", name, "--dry-run", folder=tmp_path)
    for hint in (config_files.HINT, sweep_plan.HINT):
        run(python, "-m", *shlex.split(hint), folder=tmp_path)


def test_no_hint_names_a_file_of_the_clone(clone: Path) -> None:
    for path in (clone / "seqrev").rglob("*.py"):
        assert not re.search(
            r"--config configs/|sweep configs/|docs/configuration.md, or", path.read_text(encoding="utf-8")
        ), path


def test_a_script_beside_the_clone_imports_the_package_from_an_editable_installation(clone: Path, tmp_path: Path) -> None:
    """The folder of the script is searched first, and the clone in it must not pass for a package without code."""
    python, packages = make_environment(tmp_path / "venv")
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--editable")
    run(python, "-m", "pip", "install", *options, clone, folder=tmp_path)
    script = clone.parent / "script.py"
    script.write_text("import seqrev\nprint(seqrev.__file__, seqrev.load_config('fast').model.d_model)\n")
    assert run(python, script, folder=clone.parent) == f"{clone / 'seqrev' / '__init__.py'} 64\n"
    assert not (packages / "seqrev").exists()
