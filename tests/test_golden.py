"""Our networks compute what the paper's networks compute, on every backend."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ENVIRONMENT, ROOT

from deeprehab_nb.backend import keras
from deeprehab_nb.models.golden import GOLDEN, GOLDEN_HYPERPARAMETERS, GOLDEN_SKELETON, compare
from deeprehab_nb.models.layers import HandCraftedFilters
from deeprehab_nb.models.zoo import ARCHITECTURES, architecture
from deeprehab_nb.training.loop import Schedule, seed_everything, train

TASKS = ("classification", "regression")
CASES = [(name, task) for name in ARCHITECTURES for task in TASKS]
ON_JAX = """
import json
from deeprehab_nb.backend import keras
from deeprehab_nb.models.golden import GOLDEN_HYPERPARAMETERS, compare
assert keras.backend.backend() == "jax"
for name in GOLDEN_HYPERPARAMETERS:
    for task in ("classification", "regression"):
        comparison = compare(name, task)
        print(json.dumps([name, task, comparison.output, comparison.loss]))
"""


COMPARED = """
for task in ("classification", "regression"):
    comparison = compare("{}", task)
    assert comparison.output < 1e-5 and comparison.loss < 1e-3
"""


def test_every_network_has_golden_files():
    assert set(GOLDEN_HYPERPARAMETERS) == set(ARCHITECTURES) and len(CASES) == 18
    assert {path.name for path in GOLDEN.glob("*.npz")} == {f"{name}_{task}.npz" for name, task in CASES}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_network_is_the_reference(name):
    """Each network's chapter compares it, on TensorFlow, and is run by `make test`: here, that none of them leaves it out."""
    cells = [cell for path in (ROOT / "nbs" / "models").glob("*.ipynb") for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    (source,) = ("".join(cell["source"]) for cell in cells if COMPARED.format(name) in "".join(cell["source"]))
    assert "#|" not in source  # which could keep it from being run


@pytest.fixture(scope="module")
def on_jax():
    """All comparisons, made by a process that computes with JAX."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed (it comes with the extra 'dev'): the networks were compared on TensorFlow only")
    environment = ENVIRONMENT | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", ON_JAX], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = map(json.loads, done.stdout.splitlines())
    return {(name, task): (output, loss) for name, task, output, loss in rows}


@pytest.mark.parametrize("name, task", CASES)
def test_network_is_the_reference_on_jax(on_jax, name, task):
    output, loss = on_jax[name, task]
    assert output <= 1e-5
    if name != "ConvTran":  # TensorFlow trains its biases in another way; the network's chapter shows how
        assert loss <= 1e-3


def test_a_changed_weight_is_noticed(monkeypatch, tmp_path):
    """The comparison can fail."""
    with np.load(GOLDEN / "GRU_regression.npz") as golden:
        arrays = dict(golden)
    next(array for name, array in arrays.items() if name.startswith("w000|"))[0, 0] += 0.1
    np.savez(tmp_path / "GRU_regression.npz", **arrays)
    monkeypatch.setattr("deeprehab_nb.models.golden.GOLDEN", tmp_path)
    assert compare("GRU", "regression").output > 1e-5


def test_hand_crafted_filters_are_never_trained():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, GOLDEN_SKELETON.n_channels, 20)).astype("float32"), np.arange(8) % 2
    for name in ("LITEMV", "H-Inception"):
        seed_everything(0)
        network = architecture(name, GOLDEN_HYPERPARAMETERS[name]).build(20, GOLDEN_SKELETON.n_channels, 2)
        layer = next(layer for layer in network.layers if isinstance(layer, HandCraftedFilters))
        before, maps = [w.numpy() for w in network.trainable_weights], layer(x.swapaxes(1, 2)).numpy()
        train(network, x, y, Schedule(epochs=2), seed=0)
        assert all((w.numpy() != old).any() for w, old in zip(network.trainable_weights, before, strict=True))
        assert layer.weights == [] and np.array_equal(layer(x.swapaxes(1, 2)), maps)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_network_is_saved_and_loaded_whole(name, tmp_path):
    seed_everything(0)
    network = architecture(name, GOLDEN_HYPERPARAMETERS[name]).build(40, 12, 3, GOLDEN_SKELETON)
    x = np.random.default_rng(0).normal(size=(5, 40, 12)).astype("float32")
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras", compile=False)
    assert np.array_equal(again.predict_on_batch(x), network.predict_on_batch(x))
