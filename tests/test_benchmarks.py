"""The baseline that the package's speed is measured against computes what the package computes."""

import sys

import numpy as np
import pytest
from conftest import ROOT

from deeprehab_nb.data.skeleton import Skeleton
from deeprehab_nb.models.zoo import ARCHITECTURES, architecture
from deeprehab_nb.training.loop import seed_everything

sys.path.insert(0, str(ROOT / "benchmarks"))
from plain import PLAIN, build, copy_weights

TREE = [[0, 1, 2], [0, 3, 4]]


def test_each_network_has_its_plain_form():
    assert set(PLAIN) == set(ARCHITECTURES)


@pytest.mark.parametrize("model", ARCHITECTURES)
def test_plain_network_is_the_packages(model):
    seed_everything(0)
    ours, plain = architecture(model).build(20, 15, 3, Skeleton(5, 3, TREE)), build(model, 20, 15, 3, (5, 3, TREE))
    rng = np.random.default_rng(0)
    ours.set_weights([  # no two alike, nor any at its start, so that none can take another's place
        w + rng.uniform(0, 0.1, w.shape) for w in ours.get_weights()
    ])
    copy_weights(ours, plain)
    x = rng.normal(size=(6, 20, 15)).astype("float32")
    expected = ours.predict_on_batch(x)
    assert np.ptp(expected) > 1e-3 and np.abs(plain.predict_on_batch(x) - expected).max() < 1e-5
