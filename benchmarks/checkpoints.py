"""
What a checkpoint costs: its size and the time to write it, for each network at the paper's size; and what it costs to be
able to write one when none is due, as a ratio of training times, by turns.

    python benchmarks/checkpoints.py
"""

import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from deeprehab_nb.data.skeleton import Skeleton
from deeprehab_nb.models.zoo import ARCHITECTURES, architecture
from deeprehab_nb.training.checkpoint import Checkpoint
from deeprehab_nb.training.loop import Schedule, seed_everything, train

N_JOINTS, N_DIMS, N_TIMEPOINTS = 25, 3, 60  # as IRDS_clf_bn_EFL
TURNS, STEPS = 5, 60


class Timed(Checkpoint):
    """Tells how long it takes to write, with all that belongs to it."""

    def __post_init__(self):
        super().__post_init__()
        self.times, self._began = [], 0.0

    def due(self, epochs):
        due = super().due(epochs)
        self._began = time.perf_counter()
        return due

    def write(self, *args):
        super().write(*args)
        self.times.append(time.perf_counter() - self._began)


def main() -> None:
    skeleton = Skeleton(N_JOINTS, N_DIMS, (tuple(range(N_JOINTS)),))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, N_JOINTS * N_DIMS, N_TIMEPOINTS)).astype("float32")
    y = np.arange(64) % 2
    print("| network | MB | ms to write |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for model in ARCHITECTURES:
            seed_everything(0)
            network = architecture(model).build(N_TIMEPOINTS, N_JOINTS * N_DIMS, 2, skeleton)
            checkpoint = Timed(Path(folder) / model, {}, every_epochs=1, every_seconds=0)
            train(network, x, y, Schedule(epochs=4), seed=0, checkpoint=checkpoint)
            print(f"| {model} | {checkpoint.path.stat().st_size / 1e6:.1f} | {1000 * median(checkpoint.times):.0f} |", flush=True)

        small = architecture("FCN", {"n_filters": (4, 4, 4)})  # the shortest steps: where it would be felt most
        seconds = {False: [], True: []}
        for _ in range(TURNS):
            for able, times in seconds.items():
                seed_everything(0)
                network = small.build(N_TIMEPOINTS, N_JOINTS * N_DIMS, 2, skeleton)
                checkpoint = Checkpoint(Path(folder) / "small", {}, every_seconds=3600) if able else None
                history = train(network, x, y, Schedule(epochs=STEPS, batch_size=8), seed=0, checkpoint=checkpoint)
                times.append(median(epoch.seconds for epoch in history.epochs))
        ratios = [able / unable for able, unable in zip(seconds[True], seconds[False], strict=True)]
        print(f"\nan epoch of {len(x) // 8} steps with a checkpoint that is not due, against none: {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
