"""What is published is what is in the repository, and works away from it."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT

import deeprehab_nb

IMPORT_ALL = """
import importlib, pkgutil, sys
import deeprehab_nb
for module in pkgutil.walk_packages(deeprehab_nb.__path__, "deeprehab_nb."):
    assert importlib.import_module(module.name).__file__.startswith(sys.argv[1]), module
from deeprehab_nb.data import records
from deeprehab_nb.experiment.grid import read_benchmark
from deeprehab_nb.experiment.notebook import TEMPLATE
print(len(records()), TEMPLATE.is_file(), len(read_benchmark("paper").experiments))
"""


def tracked():
    """The names of the files that are, or are about to be, in the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("this is no git checkout: its files are not known")
    return [name for name in found.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel as a release makes it: from the source distribution, out of a clean copy."""
    copy, dist = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name, follow_symlinks=False)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(copy)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list(dist.glob("*.tar.gz"))) == 1
    return next(dist.glob("*.whl"))


def test_wheel_holds_the_whole_package(wheel):
    assert wheel.name == f"deeprehab_nb-{deeprehab_nb.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    package = {name for name in tracked() if Path(name).parts[0] == "deeprehab_nb" and (ROOT / name).is_file()}
    package |= {f"deeprehab_nb/book/source/{name}" for name in tracked() if Path(name).parts[0] in ("nbs", "book") and name != "book/demo.py"}
    package |= {f"deeprehab_nb/models/reference/{Path(name).name}" for name in tracked() if name.startswith("tests/golden/")}
    assert {"deeprehab_nb/data/archive.csv", "deeprehab_nb/experiment/train.ipynb", "deeprehab_nb/cli.py", "deeprehab_nb/workflow/Snakefile"} < package
    about = {name for name in content if ".dist-info/" in name}
    assert set(content) - about == package
    for name in package:
        assert content[name] == (ROOT / name).read_bytes(), name
    assert (ROOT / "LICENSE").read_bytes() in [content[name] for name in about]


def test_installed_wheel_works_away_from_the_repository(wheel, tmp_path):
    place = tmp_path / "site"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(place), str(wheel)]
    if subprocess.run([sys.executable, *install], env=ENVIRONMENT, check=False, stderr=subprocess.DEVNULL).returncode:
        zipfile.ZipFile(wheel).extractall(place)  # an environment made by uv has no pip; a pure wheel is its own content
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, str(place)], cwd=tmp_path, env=ENVIRONMENT | {"PYTHONPATH": str(place)},
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "60 True 3069\n"


def test_notebooks_are_committed_without_outputs():
    for path in (ROOT / "nbs").rglob("*.ipynb"):
        if ".ipynb_checkpoints" not in path.parts:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            assert not any(cell.get("outputs") for cell in cells), path


def test_the_template_can_be_given_parameters():
    cells = json.loads((ROOT / "nbs" / "experiments" / "train.ipynb").read_text(encoding="utf-8"))["cells"]
    assert [cell["metadata"]["tags"] for cell in cells if cell["metadata"]] == [["parameters"]]
