"""Runs that are trained as one program are the runs that are trained alone. With JAX, on a CPU, where nothing but a test asks for it."""

import importlib.util
import json
import subprocess
import sys

import pytest
from conftest import ENVIRONMENT

pytestmark = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed (it comes with the extra 'dev')")
FIRST = """
import json
import sys
from pathlib import Path

import jax
import numpy as np

from deeprehab_nb.backend import keras
from deeprehab_nb.data.skeleton import Skeleton
from deeprehab_nb.models import layers
from deeprehab_nb.models.zoo import architecture
from deeprehab_nb.training.loop import Schedule, predict, seed_everything, train
from deeprehab_nb.training.together import train_together

SEEDS = {0: 11, 2: 12, 5: 13}
x = np.random.default_rng(0).random((20, 15, 40), dtype=np.float32)
y = np.arange(20) % 2


def build(seed, name="FCN", hyperparameters=None):
    keras.utils.clear_session(free_memory=False)
    seed_everything(seed)
    return architecture(name, hyperparameters or {}).build(40, 15, 2, Skeleton(5, 3, [[0, 1], [0, 2, 3, 4]]))


def largest(differences):
    return float(max(np.abs(d).max() for d in differences))
"""
COMPARED = """
if sys.argv[2] == "float64":
    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
name, schedule = sys.argv[1], Schedule(4, batch_size=8, patience=1)
usual, layers.jax_on_gpu = layers.jax_on_gpu, lambda: True  # the layers compute what they would compute on a GPU
network, together = train_together(lambda seed: build(seed, name), x, y, schedule, SEEDS)
layers.jax_on_gpu = usual
losses, outputs, cudnn = [], [], [layer.use_cudnn for layer in network._flatten_layers() if hasattr(layer, "use_cudnn")]
for number, seed in SEEDS.items():
    alone = build(seed, name)
    for layer in alone._flatten_layers():
        if hasattr(layer, "use_cudnn"):
            layer.use_cudnn = False
    expected = train(alone, x, y, schedule, seed)
    found, best = together[number]
    assert found.best_epoch == expected.best_epoch
    assert [epoch.learning_rate for epoch in found.epochs] == [epoch.learning_rate for epoch in expected.epochs]
    losses += [a.loss - b.loss for a, b in zip(found.epochs, expected.epochs, strict=True)]
    network.set_weights(best)
    outputs.append(predict(network, x) - predict(alone, x))
print(json.dumps({"losses": largest(losses), "outputs": largest(outputs), "cudnn": cudnn}))
"""
RESUMED = """
from deeprehab_nb.errors import Interrupted
from deeprehab_nb.training.checkpoint import Checkpoint

schedule, folder = Schedule(5, batch_size=8), Path(sys.argv[1])
_, expected = train_together(build, x, y, schedule, SEEDS)
_, short = train_together(build, x[:5], y[:5], schedule, SEEDS)  # fewer recordings than a batch has
assert len(short[5][0].epochs) == 5


def checkpoint():
    return Checkpoint(folder / "kept", {"a": 1}, "the training of 3 runs", every_epochs=1, every_seconds=0)


for stop_at in (1, 3):
    kept = checkpoint()

    def report(number, epoch):
        if epoch.epoch == stop_at:
            kept.stop.signal = 15

    try:
        train_together(build, x, y, schedule, SEEDS, report=report, checkpoint=kept)
        raise AssertionError
    except Interrupted as error:
        print(json.dumps(str(error)))
kept = checkpoint()
network, found = train_together(build, x, y, schedule, {5: SEEDS[5]}, checkpoint=kept)  # the others are in the checkpoint
assert list(found) == list(SEEDS) and kept.resumed == 2
for number in SEEDS:
    assert [epoch.loss for epoch in found[number][0].epochs] == [epoch.loss for epoch in expected[number][0].epochs]
    assert all((a == b).all() for a, b in zip(found[number][1], expected[number][1], strict=True))
network.set_weights(found[0][1])
"""
MADE = """
from deeprehab_nb.errors import UserError
from deeprehab_nb.data import write_sample
from deeprehab_nb.experiment.run import run_experiment
from deeprehab_nb.experiment.store import Experiment, load_run
from deeprehab_nb.experiment.workers import RunMaker, checkpoint_path
from deeprehab_nb.training import together
from deeprehab_nb.training.checkpoint import Stop

folder = Path(sys.argv[1])
for dataset in ("Synthetic_clf_bn_ArmRaise", "Synthetic_reg_SideBend"):
    experiment = Experiment(
        dataset, model="FCN", root=write_sample(folder / "sample"), out=folder / "runs", epochs=3, runs=3, hyperparameters={"n_filters": [4, 4, 4]}
    )
    fold, told = experiment.load(), []
    maker = RunMaker(experiment, fold, architecture("FCN", experiment.hyperparameters))
    maker.make_together([0, 1], lambda number, epoch: told.append((number, epoch.epoch)), Stop())
    assert told == [(number, epoch) for epoch in (1, 2, 3) for number in (0, 1)]
    assert not checkpoint_path(experiment.folder).exists()
    assert [load_run(experiment.folder, number, experiment, fold).provenance["trained_together"] for number in (0, 1)] == [2, 2]
    result = run_experiment(experiment)  # on a CPU, the third is trained alone
    assert [run.provenance["trained_together"] for run in result.runs] == [2, 2, 1]
    outputs = result.network(1).predict(fold.x_test.swapaxes(1, 2), verbose=0)
    if fold.task == "classification":
        assert np.abs(outputs - result.runs[1].prediction.outputs).max() < 1e-6
try:
    train_together(build, x, y, Schedule(2, batch_size=8, learning_rate=float("inf")), SEEDS)
    raise AssertionError
except UserError as error:
    print(json.dumps(str(error)))
try:
    with together._enough_memory(5):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
except UserError as error:
    print(json.dumps(str(error)))
"""


def on_jax(program, *words):
    done = subprocess.run(
        [sys.executable, "-c", FIRST + program, *map(str, words)], env=ENVIRONMENT | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line[0] in '{"']


@pytest.mark.parametrize("precision, name", [("float64", "FCN"), ("float64", "GRU"), ("float64", "ConvTran"), ("float32", "LITEMV")])
def test_runs_are_those_that_are_trained_alone(precision, name):
    """
    In float64 rounding hides nothing. ConvTran has random numbers of its own (dropout); GRU's loop, and LITEMV's separable convolutions
    and hand-crafted filters, are computed in other ways on a GPU.
    """
    (found,) = on_jax(COMPARED, name, precision)
    assert found["losses"] < (1e-6 if precision == "float64" else 1e-3)
    assert found["outputs"] < (1e-3 if precision == "float64" else 1e-2)  # biases before a normalisation have rounding noise for a gradient, which Adam enlarges
    assert set(found["cudnn"]) <= {"auto"}  # what is saved is the network as it was


def test_interrupted_runs_go_on_and_get_the_same_digits(tmp_path):
    assert on_jax(RESUMED, tmp_path) == [
        "Interrupted in the training of 3 runs after 1 epoch; the same command goes on from there.",
        "Interrupted in the training of 3 runs after 3 epochs; the same command goes on from there.",
    ]


def test_runs_of_an_experiment_are_saved_like_others(tmp_path):
    diverged, memory = on_jax(MADE, tmp_path)
    assert diverged == "The training of FCN diverged in epoch 1: its loss is nan."
    assert "too little memory to train 5 runs" in memory and "side_by_side 1" in memory
