"""The baseline that the package's speed is measured against computes what the package computes."""

import sys

import numpy as np
import pytest
from conftest import ROOT

from deeprehab_nb.backend import keras
from deeprehab_nb.data.skeleton import Skeleton
from deeprehab_nb.models.zoo import ARCHITECTURES, architecture
from deeprehab_nb.training.loop import seed_everything

sys.path.insert(0, str(ROOT / "benchmarks"))
from plain import PLAIN, build, copy_weights

TREE = [[0, 1, 2], [0, 3, 4]]


def test_each_network_has_its_plain_form():
    assert set(PLAIN) == set(ARCHITECTURES)


@pytest.mark.parametrize("model", ARCHITECTURES)
def test_plain_network_is_the_packages(model, tmp_path):
    seed_everything(0)
    ours, plain = architecture(model).build(20, 15, 3, Skeleton(5, 3, TREE)), build(model, 20, 15, 3, (5, 3, TREE))
    rng = np.random.default_rng(0)
    noisy = ((v, w + rng.normal(0, 0.02, w.shape)) for v, w in zip(ours.weights, ours.get_weights(), strict=True))
    ours.set_weights([np.abs(w) if "variance" in v.path else w for v, w in noisy])  # none at its start
    copy_weights(ours, plain)
    x = rng.normal(size=(6, 20, 15)).astype("float32")
    both = []
    for network in (ours, plain):
        head = network.get_layer("head")
        both.append(map(np.asarray, keras.Model(network.input, [head.input, head.output])(x, training=False)))
    for expected, found in zip(*both, strict=True):  # features, then probabilities, which alone could all be 0 and 1
        assert np.ptp(expected, axis=0).max() > 1e-3 and np.abs(found - expected).max() < 1e-5 * max(1, np.abs(expected).max())
    plain.save(tmp_path / "best.keras")  # as the baseline does after an epoch
    read = keras.models.load_model(tmp_path / "best.keras")
    assert np.array_equal(read.predict_on_batch(x), plain.predict_on_batch(x))
