"""Each of the nine networks goes the whole way, from the command to the report, on recordings of real people."""

import json
from concurrent.futures import ThreadPoolExecutor

import nbformat
import numpy as np
import pytest
from aeon.networks import FCNNetwork, InceptionNetwork
from conftest import deeprehab, installed, refused

from deeprehab_nb.backend import keras
from deeprehab_nb.errors import UserError
from deeprehab_nb.models.golden import GOLDEN_HYPERPARAMETERS, GOLDEN_SKELETON
from deeprehab_nb.models.zoo import ARCHITECTURES, architecture
from deeprehab_nb.training.loop import Schedule, predict, train

CLASSES, SCORES = "UIPRMDKinect_clf_bn_DS", "KIMORE31_reg_Sq"
CASES = [*((model, CLASSES) for model in ARCHITECTURES), ("GRU", SCORES)]
LEAST = {"ConvLSTM": 17, "DisjointCNN": 5}


@pytest.fixture(scope="module")
def finished(real, tmp_path_factory):
    """One run of one epoch of each network on a classification fold, and of one on a regression fold."""
    out = tmp_path_factory.mktemp("nine")

    def run(model, dataset):
        return installed("run", dataset, "--model", model, "--epochs=1", "--runs=1", "--root", real, "--out", out, timeout=900)

    with ThreadPoolExecutor(2) as pool:
        return out, dict(zip(CASES, pool.map(lambda case: run(*case), CASES), strict=True))


@pytest.mark.parametrize("model, dataset", CASES)
def test_network_is_trained_and_reported_on_real_recordings(finished, model, dataset):
    out, done = finished[0], finished[1][model, dataset]
    assert done.returncode == 0 and done.stdout.startswith("Ensemble of 1 run: "), done.stderr
    (folder,) = out.glob(f"*/{dataset}/fold0/{model}")
    said = json.loads((folder / "ensemble.json").read_text())
    assert said["synthetic"] is False and all(np.isfinite(value) for value in said["metrics"].values())
    cells = nbformat.read(folder / "experiment.ipynb", as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("application/vnd.plotly.v1+json" in output.get("data", {}) for output in outputs) == 4
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis:UserWarning")  # attention to a single frame
@pytest.mark.parametrize("model", ARCHITECTURES)
def test_the_shortest_recording_will_do_and_no_shorter_one(model):
    found, least = architecture(model, GOLDEN_HYPERPARAMETERS[model]), LEAST.get(model, 1)
    x = np.random.default_rng(0).normal(size=(4, 12, least)).astype("float32")
    network = found.build(least, 12, 2, GOLDEN_SKELETON)
    train(network, x, np.arange(4) % 2, Schedule(epochs=1), seed=0)
    assert np.isfinite(predict(network, x)).all()
    with pytest.raises(UserError, match=f"{model} needs recordings of at least {least} frames?; these have {least - 1}"):
        found.build(least - 1, 12, 2, GOLDEN_SKELETON)


@pytest.mark.parametrize("model, least", LEAST.items())
def test_the_command_refuses_recordings_that_are_too_short(copy_of, model, least, tmp_path):
    folder = copy_of()
    for path in folder.rglob("x_*.npy"):
        np.save(path, np.load(path)[:, :, : least - 1])
    info = json.loads((folder / "info.json").read_text())
    (folder / "info.json").write_text(json.dumps(info | {"length_TS": least - 1}))
    done = deeprehab("run", folder.name, "--model", model, "--root", folder.parents[1], "--out", tmp_path / "runs")
    refused(done, model, f"at least {least} frames", f"these have {least - 1}")
    assert not list((tmp_path / "runs").rglob("ensemble.json"))


def test_the_graph_network_says_that_it_has_no_tree(copy_of, tmp_path):
    folder = copy_of()
    info = json.loads((folder / "info.json").read_text())
    (folder / "info.json").write_text(json.dumps(info | {"kinematic_tree": []}))
    done = deeprehab("run", folder.name, "--model=STGCN", "--root", folder.parents[1], "--out", tmp_path / "runs")
    refused(done, "STGCN", "kinematic tree")


@pytest.mark.parametrize("model, wrong, named", [
    ("ConvTran", {"num_heads": 3}, ("num_heads", "3", "emb_size")), ("H-Inception", {"depth": 2, "strides": [1, 2]}, ("strides", "use_residual")),
    ("STGCN", {"n_temporal_filters": 2}, ("n_temporal_filters", "at least 4")), ("STGCN", {"n_lstm_units": [8, 8]}, ("n_lstm_units", "one value, or 4")),
    ("GRU", {"dropout": 0.1}, ("dropout", "hidden_units_gru")), ("VanTran", {"dropout": 1}, ("dropout", "below 1")),
    ("ConvLSTM", {"hidden_units_lstm": "many"}, ("hidden_units_lstm", "many")), ("H-Inception", {"use_bias": 1}, ("use_bias", "true or false")),
])
def test_impossible_hyperparameters_are_refused(model, wrong, named):
    with pytest.raises(UserError) as error:
        architecture(model, wrong)
    assert all(part in str(error.value) for part in named)


PER_BLOCK = {"n_filters": [4, 5, 6, 7], "dilation_rate": [1, 2, 1, 3], "activation": ["tanh", "elu", "gelu", "relu"], "use_bias": [True, False, True, False]}
PER_MODULE = {
    "depth": 4, "n_filters": [4, 5, 6, 7], "n_conv_per_layer": [2, 3, 1, 4], "kernel_size": [10, 7, 3, 6], "use_max_pooling": [True, False, True, True],
    "max_pool_size": [3, 3, 5, 2], "activation": ["relu", "tanh", "elu", "relu"], "use_bias": [True, False, True, True],
}  # fmt: skip


@pytest.mark.parametrize("name, ours, theirs", [
    ("FCN", {"n_layers": 4, "kernel_sizes": [3, 4, 5, 2], "strides": [2, 1, 1, 1], "padding": ["valid", "same", "causal", "same"]} | PER_BLOCK,
     {"kernel_sizes": "kernel_size"}),
    ("H-Inception", PER_MODULE | {"bottleneck": 8, "dilation_rate": [1, 2, 3, 1]}, {"bottleneck": "bottleneck_size"}),
    ("H-Inception", PER_MODULE | {"strides": [1, 2, 1, 1], "use_residual": False, "use_bottleneck": False}, {}),
])  # fmt: skip
def test_other_hyperparameters_mean_what_they_mean_in_the_released_networks(name, ours, theirs):
    """The released FCN and H-Inception are aeon's."""
    given = {theirs.get(key, key): value for key, value in ours.items()}
    network = FCNNetwork(**given) if name == "FCN" else InceptionNetwork(use_custom_filters=True, **given)
    recording, features = network.build_network((50, 6))
    reference, rng = keras.Model(recording, keras.layers.Dense(3, activation="softmax")(features)), np.random.default_rng(0)
    weights = [w.numpy() if "hybrid" in w.path else rng.uniform(0.1, 0.5, w.shape) for w in reference.weights]
    reference.set_weights(weights)
    built = architecture(name, ours).build(50, 6, 3)
    built.set_weights([w for w, old in zip(weights, reference.weights, strict=True) if "hybrid" not in old.path])
    x = rng.normal(size=(5, 50, 6)).astype("float32")
    assert np.allclose(built.predict_on_batch(x), reference.predict_on_batch(x), rtol=0, atol=1e-5)
