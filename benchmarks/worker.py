"""
A process of its own for what the other scripts measure of the package; its last line of output is JSON.

    python benchmarks/worker.py rate
    python benchmarks/worker.py flops MODEL SHAPE
    python benchmarks/worker.py step naive|package MODEL SHAPE    (measures once for each line on its input)
    python benchmarks/worker.py experiment DATASET FOLD MODEL ROOT OUT EPOCHS RUNS
    python benchmarks/worker.py many DATASET MODEL,MODEL,.. ROOT OUT HOW_MANY
"""

import json
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from common import SHAPES

STEPS, SECONDS, LEAST, MOST = 4, 4.0, 1, 40  # steps of an epoch; how long one measurement lasts, and in epochs


def rate() -> dict[str, float]:
    """Measure how many floating-point operations a second this machine makes in a product of matrices, at best."""
    import keras

    a = keras.ops.convert_to_tensor(np.random.default_rng(0).random((2048, 2048), dtype=np.float32))
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        keras.ops.convert_to_numpy(keras.ops.matmul(a, a)[0, 0])
        seconds.append(time.perf_counter() - start)
    return {"gflops": 2 * 2048**3 / min(seconds) / 1e9}


def network_of(model: str, shape: str):
    """Build the package's network for a shape and two classes."""
    from deeprehab_nb.data.skeleton import Skeleton
    from deeprehab_nb.models.zoo import architecture

    s = SHAPES[shape]
    return architecture(model).build(s.n_timepoints, s.n_channels, 2, Skeleton(s.n_joints, s.n_dims, s.tree))


def flops(model: str, shape: str) -> dict[str, int]:
    """Count the operations of one prediction."""
    from deeprehab_nb.models.cost import count_flops

    return {"flops": count_flops(network_of(model, shape))}


class _Enough(Exception):
    """So many epochs will do."""


class Clock:
    """Gathers the seconds of epochs until there are enough of them; the first, which compiles, is not one of them."""

    def __init__(self):
        self.seconds = []
        self.first = 0.0

    def enough(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        self.first = self.first or time.perf_counter()
        return len(self.seconds) > LEAST and time.perf_counter() - self.first > SECONDS

    @property
    def step(self) -> float:
        return median(self.seconds[1:]) / STEPS


def package_steps(model: str, shape: str, x: np.ndarray, y: np.ndarray):
    """Yield the seconds of a step in the package's loop, again and again."""
    from deeprehab_nb.training.loop import Schedule, seed_everything, train

    def note(clock: Clock, epoch) -> None:
        if clock.enough(epoch.seconds):
            raise _Enough

    while True:
        clock = Clock()
        seed_everything(0)
        with suppress(_Enough):
            train(network_of(model, shape), x, y, Schedule(MOST + 1), seed=0, report=partial(note, clock))
        yield clock.step


def naive_steps(model: str, shape: str, x: np.ndarray, y: np.ndarray):
    """Yield the seconds of a step of Keras' `fit` on the plain network, again and again."""
    import keras
    import plain

    class Timed(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.clock = Clock()

        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            if self.clock.enough(time.perf_counter() - self.began):
                self.model.stop_training = True

    s = SHAPES[shape]
    network = plain.build(model, s.n_timepoints, s.n_channels, 2, (s.n_joints, s.n_dims, s.tree))
    network.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy")
    x, y = np.swapaxes(x, 1, 2).astype("float64"), keras.utils.to_categorical(y)
    while True:
        timed = Timed()
        network.fit(x, y, batch_size=64, epochs=MOST + 1, verbose=0, callbacks=[timed])
        yield timed.clock.step


def step(way: str, model: str, shape: str) -> None:
    """Print the milliseconds of a training step of 64 recordings, once for each line that is read."""
    s = SHAPES[shape]
    rng, n = np.random.default_rng(0), STEPS * 64
    x = rng.random((n, s.n_channels, s.n_timepoints), dtype=np.float32)
    steps = (naive_steps if way == "naive" else package_steps)(model, shape, x, np.arange(n) % 2)
    for _ in sys.stdin:
        print(json.dumps({"ms": 1000 * next(steps)}), flush=True)


def experiment(dataset: str, fold: str, model: str, root: str, out: str, epochs: str, runs: str) -> dict[str, str]:
    """Make an experiment without its report."""
    from deeprehab_nb.experiment.run import run_experiment
    from deeprehab_nb.experiment.store import Experiment

    result = run_experiment(Experiment(dataset, int(fold), model, root=Path(root), out=Path(out), epochs=int(epochs), runs=int(runs)))
    return {"folder": str(result.folder)}


def many(dataset: str, models: str, root: str, out: str, how_many: str) -> dict[str, list[float]]:
    """Make experiments of one run and one epoch, one after another; return the memory after each, in GB."""
    import psutil

    names, found = models.split(","), []
    for number in range(int(how_many)):
        experiment(dataset, "0", names[number % len(names)], root, f"{out}/{number}", "1", "1")
        found.append(psutil.Process().memory_info().rss / 1e9)
    return {"gb": found}


if __name__ == "__main__":
    answer = {f.__name__: f for f in (rate, flops, step, experiment, many)}[sys.argv[1]](*sys.argv[2:])
    if answer is not None:
        print(json.dumps(answer))
