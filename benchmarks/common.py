"""What the benchmarks share: shapes of the archive, folds of that shape, processes that are timed, the machine."""

import csv
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil

HERE = Path(__file__).resolve().parent
COMMAND = Path(sys.executable).parent / "deeprehab"
MODELS = ("FCN", "H-Inception", "LITEMV", "ConvTran", "ConvLSTM", "GRU", "VanTran", "DisjointCNN", "STGCN")


@dataclass(frozen=True)
class Shape:
    """The size of a dataset: recordings (four in five are to train), joints, values of each, frames."""

    n_cases: int
    n_joints: int
    n_dims: int
    n_timepoints: int

    @property
    def n_channels(self) -> int:
        return self.n_joints * self.n_dims

    @property
    def n_train(self) -> int:
        return self.n_cases - self.n_cases // 5

    @property
    def tree(self) -> list[list[int]]:
        """Two chains of joints from joint 0."""
        middle = self.n_joints // 2
        return [list(range(middle)), [0, *range(middle, self.n_joints)]]

    def __str__(self) -> str:
        return f"{self.n_cases} x {self.n_channels} x {self.n_timepoints}"


SHAPES = {
    "small": Shape(44, 15, 3, 214),
    "irds": Shape(250, 25, 3, 60),
    "kimore": Shape(64, 18, 3, 725),
    "ucdhe": Shape(1500, 8, 2, 161),
    "largest": Shape(2432, 8, 2, 161),
    "tiny": Shape(20, 5, 3, 40),  # no dataset's: to see that everything works
}


def write_fold(root: Path, dataset: str, shape: Shape, n_folds: int = 1, seed: int = 0) -> Path:
    """Write random walks of a shape, in two classes of equal size, as the archive has its datasets."""
    rng, folder = np.random.default_rng(seed), root / "classification" / dataset
    y = rng.permutation(np.arange(shape.n_cases) % 2)
    x = rng.normal(0, 0.05, (shape.n_cases, shape.n_channels, shape.n_timepoints)).cumsum(2) + y[:, None, None] * 0.1
    for fold in range(n_folds):
        (folder / f"fold{fold}").mkdir(parents=True)
        order = rng.permutation(shape.n_cases)
        for split, chosen in (("train", order[: shape.n_train]), ("test", order[shape.n_train :])):
            for name, array in (("x", x), ("y", y)):
                np.save(folder / f"fold{fold}" / f"{name}_{split}_fold{fold}.npy", array[chosen])
    (folder / "info.json").write_text(json.dumps({
        "length_TS": shape.n_timepoints, "n_joints": shape.n_joints, "n_dim": shape.n_dims, "kinematic_tree": shape.tree, "synthetic": True,
    }))
    return folder


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a child, which imports what this process does and works alike."""
    path = os.pathsep.join(filter(None, [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "2"} | more


def timed(command: list[object], **more: str) -> float:
    """Run a command in a process of its own; return the seconds from its start to its end."""
    start = time.perf_counter()
    done = subprocess.run(list(map(str, command)), env=environment(**more), capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    return seconds


def _baseline(*words: object) -> list[object]:
    return [sys.executable, HERE / "naive.py", *words]


def _package(dataset: str, fold: int, model: str, root: Path, out: Path, epochs: int, runs: int) -> list[object]:
    options = ("--fold", fold, "--model", model, "--root", root, "--out", out, "--epochs", epochs, "--runs", runs)
    return [COMMAND, "run", dataset, *options]


def _no_report(*words: object) -> list[object]:
    return [sys.executable, HERE / "worker.py", "experiment", *words]


WAYS = {"baseline": _baseline, "package": _package, "no_report": _no_report}
"""Commands of an experiment, of (dataset, fold, model, root, out, epochs, runs): the baseline; the package's, with an executed report; `run_experiment` alone."""


def ask(*words: object, **more: str) -> dict[str, object]:
    """Let a worker in a process of its own answer a question; see worker.py."""
    command = [sys.executable, HERE / "worker.py", *words]
    done = subprocess.run(list(map(str, command)), env=environment(**more), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def histories(folder: Path) -> list[list[dict[str, float]]]:
    """Return the rows of each run's history."""
    rows = []
    for path in sorted(folder.rglob("run*/history.csv")):
        with path.open(newline="") as file:
            rows.append([{name: float(value) for name, value in row.items() if value != "NA"} for row in csv.DictReader(file)])
    return rows


def machine() -> dict[str, object]:
    """Describe this machine, what is installed on it, and how busy it is."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=False).stdout.strip()

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "cpu": cpu or platform.processor(), "cores": len(os.sched_getaffinity(0)),
        "memory_GiB": round(psutil.virtual_memory().total / 2**30, 1), "load_before": os.getloadavg()[0], "platform": platform.platform(),
        "python": platform.python_version(), "commit": git("rev-parse", "--short", "HEAD"), "changed_files": git("diff", "HEAD", "--name-only").splitlines(),
        **{name: _version(name) for name in ("deeprehab-nb", "keras", "tensorflow", "jax", "numpy")},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except ImportError:
        return None
