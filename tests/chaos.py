"""
A benchmark under a driver that breaks things, and the same one left in peace: their results must be equal, byte for byte.

    python tests/chaos.py FOLDER --cells 24 --seed 0

Kills the command, the engine, cells and kernels with SIGKILL and SIGTERM, fills the disk (as root: a small one of its own),
damages checkpoints; starts again until all is complete; compares the collected tables. The recordings are synthetic.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from deeprehab_nb.data import write_sample

COMMAND = Path(sys.executable).parent / "deeprehab"
NETWORKS = {
    "FCN": "{n_filters: [4, 4, 4]}", "GRU": "{hidden_units_gru: 8}", "LITEMV": "{n_filters: 2, kernel_size: 8}",
    "VanTran": "{emb_size: 8, dimm_ff: 16, n_layers: 1, num_heads: 2}", "ConvTran": "{dimm_ff: 16}", "DisjointCNN": "{n_filters: 4}",
}
EQUAL = ("metrics.csv", "runs.csv", "sizes.csv")
"""The collected tables that hold nothing which depends on when or how fast something was computed."""


def grid(n_cells: int) -> tuple[list[str], int]:
    """Return networks and number of folds that make so many cells on two datasets."""
    n_folds = 1 if n_cells < 8 else 2
    return list(NETWORKS)[: max(1, n_cells // (2 * n_folds))], n_folds


def write_benchmark(path: Path, root: Path, out: Path, n_cells: int, epochs: int) -> None:
    models, n_folds = grid(n_cells)
    path.write_text(
        f"root: {root}\nout: {out}\ndatasets: [Synthetic_clf_bn_ArmRaise, Synthetic_reg_SideBend]\nfolds: {list(range(n_folds))}\n"
        f"models: [{', '.join(f'{name}: {NETWORKS[name]}' for name in models)}]\nepochs: {epochs}\nruns: 2\nbatch_size: 8\n"
        "checkpoint: {seconds: 1}\n"
    )


class Breaker:
    """Everything that can be done to a benchmark that runs."""

    def __init__(self, out: Path, command: subprocess.Popen, rng: random.Random):
        self.out, self.command, self.rng = out, command, rng

    def _processes(self, kind: str) -> list[psutil.Process]:
        with suppress(psutil.Error):
            below = psutil.Process(self.command.pid).children(recursive=True)
            lines = [(p, " ".join(p.cmdline())) for p in below]
            marks = {"engine": "-m snakemake", "cell": "experiment.cell", "kernel": "ipykernel_launcher"}
            return [p for p, line in lines if marks[kind] in line]
        return []

    def _signal(self, kind: str, number: int) -> bool:
        found = [psutil.Process(self.command.pid)] if kind == "command" else self._processes(kind)
        if found:
            self.rng.choice(found).send_signal(number)
        return bool(found)

    def fill_disk(self) -> bool:
        """Leave no room for some seconds, on a file system that is the benchmark's own."""
        if not os.path.ismount(self.out):
            return False
        filler = self.out / "filler"
        with suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(2**16))
        time.sleep(8)
        filler.unlink()
        return True

    def damage_checkpoint(self) -> bool:
        """Kill everything and flip a byte of what was saved."""
        self._signal("command", signal.SIGKILL)
        self.command.wait()
        time.sleep(3)
        found = sorted(self.out.glob("*/*/fold*/*/.run*.checkpoint"))
        if found:
            path = self.rng.choice(found)
            content = bytearray(path.read_bytes())
            content[self.rng.randrange(len(content))] ^= 1
            path.write_bytes(content)
        return bool(found)

    def actions(self) -> dict:
        kills = {
            f"{name} to the {kind}": lambda kind=kind, number=number: self._signal(kind, number)
            for kind in ("command", "engine", "cell", "kernel")
            for name, number in (("SIGKILL", signal.SIGKILL), ("SIGTERM", signal.SIGTERM))
        }
        return kills | {"full disk": self.fill_disk, "damaged checkpoint": self.damage_checkpoint}


def run(path: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [COMMAND, "benchmark", "run", path, "--cores", "2"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=path.parent
    )


def disturb(path: Path, out: Path, rng: random.Random, n_events: int, pause: tuple[float, float]) -> tuple[Counter, int]:
    """Start a benchmark again and again, and break things; return what was done, and how often it was started."""
    done, starts, left = Counter(), 0, []
    while True:
        starts += 1
        assert starts < 10 * n_events + 50, "it does not come to an end"
        command = run(path)
        breaker = Breaker(out, command, rng)
        while command.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                command.wait(timeout=rng.uniform(*pause))
            if command.poll() is not None or sum(done.values()) >= n_events:
                continue
            left = left or rng.sample(list(breaker.actions()), len(breaker.actions()))  # each of them once in every round
            name = left.pop()
            try:
                done[name] += breaker.actions()[name]()
            except psutil.Error:  # it ended in this moment
                continue
        said = command.communicate()[0]
        assert "Traceback" not in said, said
        if command.returncode == 0:
            return done, starts


def collected(out: Path) -> dict[str, bytes]:
    return {name: (out / "collected" / name).read_bytes() for name in EQUAL}


def main(folder: Path, n_cells: int, seed: int, epochs: int, n_events: int, pause: tuple[float, float], megabytes: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    root = write_sample(folder / "sample")
    times, tables = {}, {}
    for name in ("quiet", "disturbed"):
        out, path = folder / name, folder / f"{name}.yaml"
        out.mkdir()
        write_benchmark(path, root, out, n_cells, epochs)
        mounted = name == "disturbed" and os.geteuid() == 0 and sys.platform == "linux" and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", out], check=False, capture_output=True
        ).returncode == 0
        start = time.monotonic()
        try:
            if name == "quiet":
                command = run(path)
                said = command.communicate()[0]
                assert command.returncode == 0, said
            else:
                done, starts = disturb(path, out, random.Random(seed), n_events, pause)
            times[name], tables[name] = time.monotonic() - start, collected(out)
            size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
        finally:
            if mounted:
                subprocess.run(["umount", "-l", out], check=False)
    models, n_folds = grid(n_cells)
    print(f"{2 * n_folds * len(models)} cells of 2 runs and {epochs} epochs; {size / 1e6:.0f} MB of results")
    print(f"in peace: {times['quiet']:.0f} s; disturbed: {times['disturbed']:.0f} s, {starts} starts, {sum(done.values())} events:")
    for name, n in sorted(done.items()):
        print(f"  {n:3d} x {name}")
    print(f"a disk of its own: {'yes, ' + str(megabytes) + ' MB' if mounted else 'no'}")
    for name in EQUAL:
        assert tables["quiet"][name] == tables["disturbed"][name], f"{name} differs"
    print(f"{', '.join(EQUAL)}: equal, byte for byte ({', '.join(str(len(t)) for t in tables['quiet'].values())} bytes)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--events", type=int, default=30)
    parser.add_argument("--pause", type=float, nargs=2, default=(8, 25), metavar=("FROM", "TO"), help="seconds between two events")
    parser.add_argument("--megabytes", type=int, default=60, help="of the small disk")
    said = parser.parse_args()
    main(said.folder, said.cells, said.seed, said.epochs, said.events, tuple(said.pause), said.megabytes)
