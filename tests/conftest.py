"""What the tests of the whole system share: data, the installed command, and what a refusal looks like."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import untrained

from deeprehab_nb.cli import main
from deeprehab_nb.data import load_fold, write_sample

ROOT = Path(__file__).resolve().parents[1]
COMMAND = Path(sys.executable).parent / "deeprehab"
_ASIDE = ("DEEPREHAB_DATA", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS")  # a developer's data; what colours a pipe
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in _ASIDE}


SLOWEST = "chaos book estimators benchmark checkpoint golden together models experiment cost slurm results site collect download".split()


def pytest_collection_modifyitems(items):
    """Let the files that take longest begin, so that at the end no worker is left with one of them."""
    order = {f"test_{name}.py": number for number, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def installed(*args, env=None, cwd=None, timeout=300):
    """Run the installed command in a process of its own; by default in an empty folder that is removed, with an empty archive."""
    with tempfile.TemporaryDirectory() as scratch:
        return subprocess.run(
            [COMMAND, *map(str, args)], cwd=cwd or scratch, env=ENVIRONMENT | {"DEEPREHAB_DATA": scratch} | (env or {}),
            capture_output=True, text=True, timeout=timeout, check=False,
        )


def deeprehab(*args, env=None, cwd=None):
    """Do the same in this process, which has loaded the libraries already; each command is run by `installed` once."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace"))
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        for name in _ASIDE:
            patch.delenv(name, raising=False)
        for name, value in ({"DEEPREHAB_DATA": scratch} | (env or {})).items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", [str(COMMAND), *map(str, args)])
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):  # as outside of tests
            warnings.simplefilter("ignore", category)
        warnings.showwarning = lambda *warning: sys.stderr.write(warnings.formatwarning(*warning[:4]))
        with contextlib.chdir(cwd or scratch), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
                status = 0
            except SystemExit as end:
                status = end.code or 0
    for stream in (out, err):
        stream.seek(0)
    return subprocess.CompletedProcess(args, status, out.read(), err.read())


def sentence(text, *named):
    """Check that a text is one sentence, and that it names what is wrong."""
    assert re.fullmatch(r"[^\n]+[.?]", text), text
    for name in named:
        assert name in text


def refused(done, *named):
    """Check that a command ended in one sentence, and nothing else."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("deeprehab: ") and done.stderr.endswith("\n"), done.stderr
    sentence(done.stderr.removeprefix("deeprehab: ").removesuffix("\n"), *named)


def wait_for(path, process, seconds=120):
    """Wait until a file is there, or a process has ended."""
    end = time.monotonic() + seconds
    while not path.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert path.exists() and process.poll() is None


def listed(done):
    """Return the datasets that `deeprehab datasets list` has printed: the first column of its table."""
    assert done.returncode == 0, done.stderr
    return re.findall(r"^  (\w+_\w+) ", done.stdout, re.MULTILINE)


def load(folder, fold=0):
    """Load a fold of the dataset that lies in a folder."""
    return load_fold(folder.name, fold, folder.parents[1])


def change(name, change_array):
    """Return a damage: a stored array of the first fold is replaced by what a function makes of it."""

    def damage(folder):
        path = folder / "fold0" / f"{name}_fold0.npy"
        np.save(path, change_array(np.load(path)))

    return damage


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """The synthetic archive."""
    return write_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="session")
def folds(sample):
    """The first fold of the two datasets of `untrained`."""
    return {name: load_fold(name, 0, sample) for name in (untrained.CLASSES, untrained.SCORES)}


@pytest.fixture(scope="session")
def tree(sample, tmp_path_factory, folds):
    """Five ensembles that nobody has trained."""
    return untrained.write_tree(sample, tmp_path_factory.mktemp("tree") / "runs", folds)


@pytest.fixture
def copy_of(sample, tmp_path):
    """Copy one of the sample's datasets into an archive of its own, where it may be damaged; returns its folder."""

    def copy(name="Synthetic_clf_bn_ArmRaise"):
        original = next(sample.glob(f"*/{name}"))
        return shutil.copytree(original, tmp_path / "archive" / original.parent.name / name)

    return copy


@pytest.fixture(scope="session")
def recordings():
    """The folder with packed recordings of real people, which is not part of the repository."""
    places = (os.environ.get("DEEPREHAB_TEST_DATA"), ROOT.parent / "shared" / "data")
    for place in filter(None, places):
        if (Path(place) / "unpack.py").is_file():
            return Path(place)
    pytest.skip("the real recordings are not on this machine")


@pytest.fixture(scope="session")
def real(recordings, tmp_path_factory):
    """An archive of real recordings."""
    root = tmp_path_factory.mktemp("real")
    subprocess.run([sys.executable, recordings / "unpack.py", root], check=True)
    return root
