"""
The runs of an experiment as one program: trained together, each with weights, order and learning rate of its own. Needs JAX.

    KERAS_BACKEND=jax python benchmarks/batched.py DATASET FOLD MODEL ROOT OUT EPOCHS RUNS
    KERAS_BACKEND=jax python benchmarks/batched.py check MODEL SHAPE EPOCHS RUNS    (against the package's own loop)
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from common import SHAPES
from jax import lax
from worker import network_of

from deeprehab_nb.backend import keras
from deeprehab_nb.data import load_fold
from deeprehab_nb.models.zoo import architecture
from deeprehab_nb.training.adam import Adam
from deeprehab_nb.training.ensemble import ensemble, judge
from deeprehab_nb.training.loop import Schedule, channels_last, predict, run_seed, seed_everything, train


def _plain_rnn(network: keras.Model) -> keras.Model:
    """Let recurrent layers not use cuDNN, whose programs cannot be batched."""
    for layer in network._flatten_layers():
        if hasattr(layer, "use_cudnn"):
            layer.use_cudnn = False
    return network


def train_together(build: Callable[[], keras.Model], x: np.ndarray, y: np.ndarray, schedule: Schedule, seeds: list[int]) -> dict[str, object]:
    """
    Train a network from several seeds at once, as `deeprehab_nb.training.loop.train` does from each.

    Returns
    -------
    dict
        ``network``, ``losses`` (runs, epochs), ``best``: the weights of the best epochs, a list of variables of ``network``
        and of stacked values; ``compile_s`` and ``train_s``.
    """
    starts = []
    for seed in seeds:
        keras.utils.clear_session()
        seed_everything(seed)
        network = _plain_rnn(build())
        starts.append([[keras.ops.convert_to_numpy(v) for v in group] for group in (network.trainable_variables, network.non_trainable_variables)])
    trained, kept = ([jnp.stack(values) for values in zip(*group, strict=True)] for group in zip(*starts, strict=True))
    optimizer = Adam(schedule.learning_rate)
    optimizer.build(network.trainable_variables)
    moments = [jnp.stack([v.value] * len(seeds)) for v in optimizer.variables]
    (rate_at,) = (i for i, v in enumerate(optimizer.variables) if v.name == "learning_rate")
    rngs = [np.random.default_rng(seed) for seed in seeds]
    orders = jnp.stack([jnp.stack([rng.permutation(len(x)) for _ in range(schedule.epochs)]) for rng in rngs])
    recordings, labels = jnp.asarray(channels_last(x)), jnp.asarray(y)
    size, n_full = schedule.batch_size, len(x) // schedule.batch_size

    def loss_of(trained, kept, batch):
        outputs, kept = network.stateless_call(trained, kept, recordings[batch], training=True)
        return keras.losses.sparse_categorical_crossentropy(labels[batch], outputs).mean(), kept

    def step(state, batch):
        trained, kept, moments = state
        (loss, kept), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained, kept, batch)
        trained, moments = optimizer.stateless_apply(moments, gradients, trained)
        return (trained, kept, moments), loss * len(batch)

    def epoch(carried, order):
        state, best, lowest, waited = carried
        state, losses = lax.scan(step, state, order[: n_full * size].reshape(n_full, size))
        total = losses.sum()
        if len(x) % size:
            state, loss = step(state, order[n_full * size :])
            total += loss
        loss, (trained, kept, moments) = total / len(x), state
        better = loss < lowest
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), (trained, kept), best)
        waited = jnp.where(better, 0, waited + 1)
        rate = moments[rate_at]
        moments[rate_at] = jnp.where(waited >= schedule.patience, jnp.maximum(rate / 2, schedule.min_learning_rate), rate)
        waited = jnp.where(waited >= schedule.patience, 0, waited)
        return ((trained, kept, moments), best, jnp.where(better, loss, lowest), waited), loss

    def one_run(trained, kept, moments, orders):
        (_, best, _, _), losses = lax.scan(epoch, ((trained, kept, moments), (trained, kept), jnp.inf, 0), orders)
        return best, losses

    start = time.perf_counter()
    program = jax.jit(jax.vmap(one_run)).lower(trained, kept, moments, orders).compile()
    compiled = time.perf_counter()
    best, losses = jax.block_until_ready(program(trained, kept, moments, orders))
    ended = time.perf_counter()
    variables = [*network.trainable_variables, *network.non_trainable_variables]
    return {
        "network": network, "losses": np.asarray(losses), "best": list(zip(variables, [*best[0], *best[1]], strict=True)),
        "compile_s": compiled - start, "train_s": ended - compiled,
    }


def experiment(dataset: str, fold: str, model: str, root: str, out: str, epochs: str, runs: str) -> None:
    """Make an experiment, and write of it what the package writes of a run; say how fast the steps were."""
    data, place = load_fold(dataset, int(fold), Path(root)), Path(out)
    seeds, schedule, predictions = [run_seed(0, run) for run in range(int(runs))], Schedule(int(epochs)), []

    def build() -> keras.Model:
        return architecture(model).build(data.n_timepoints, data.n_channels, data.n_classes, data.skeleton)

    done = train_together(build, data.x_train, data.y_train, schedule, seeds)
    for run in range(len(seeds)):
        for variable, values in done["best"]:
            variable.assign(values[run])
        predictions.append(judge(data, predict(done["network"], data.x_test)))
        folder = place / f"run{run}"
        folder.mkdir(parents=True)
        done["network"].save(folder / "model.keras")
        np.savez(folder / "predictions.npz", outputs=predictions[-1].outputs, y_true=predictions[-1].truth)
        np.savetxt(folder / "losses.csv", done["losses"][run])
    steps = len(seeds) * schedule.epochs * -(-len(data.x_train) // schedule.batch_size)
    said = {"metrics": ensemble(data, predictions).metrics, "compile_s": done["compile_s"], "steps_per_s": steps / done["train_s"]}
    (place / "ensemble.json").write_text(json.dumps(said))


def check(model: str, shape: str, epochs: str, runs: str) -> None:
    """
    Print by how much the losses differ at most from those of the package's own loop, run after run.

    In float64: in float32 a few steps of STGCN let differences of rounding grow to 10^-3, which would hide a mistake.
    """
    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    s, schedule, seeds = SHAPES[shape], Schedule(int(epochs), batch_size=8), list(range(int(runs)))
    rng = np.random.default_rng(0)
    x, y = rng.random((s.n_train, s.n_channels, s.n_timepoints), dtype=np.float32), np.arange(s.n_train) % 2
    found, expected = train_together(lambda: network_of(model, shape), x, y, schedule, seeds)["losses"], []
    for seed in seeds:
        keras.utils.clear_session()
        seed_everything(seed)
        expected.append([epoch.loss for epoch in train(_plain_rnn(network_of(model, shape)), x, y, schedule, seed).epochs])
    print(json.dumps({"difference": float(np.abs(found - expected).max()), "by_epoch": np.abs(found - expected).max(0).tolist()}))


if __name__ == "__main__":
    check(*sys.argv[2:]) if sys.argv[1] == "check" else experiment(*sys.argv[1:])
