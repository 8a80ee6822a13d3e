"""Our networks compute what the paper's networks compute."""

import numpy as np
import pytest

from deeprehab_nb.models.golden import GOLDEN, GOLDEN_SKELETON, compare
from deeprehab_nb.models.layers import HandCraftedFilters, hand_crafted_filters
from deeprehab_nb.models.zoo import ARCHITECTURES, architecture
from deeprehab_nb.training.loop import Schedule, seed_everything, train

HYPERPARAMETERS = {"FCN": {"n_filters": (8, 12, 8)}, "LITEMV": {"n_filters": 4, "kernel_size": 16}}


def test_every_network_has_a_golden_file():
    assert set(HYPERPARAMETERS) == set(ARCHITECTURES)
    assert {path.name for path in GOLDEN.glob("*.npz")} == {
        f"{name}_{task}.npz" for name in ARCHITECTURES for task in ("classification", "regression")
    }


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_network_is_the_reference(name, task):
    comparison = compare(architecture(name, HYPERPARAMETERS[name]), GOLDEN / f"{name}_{task}.npz")
    assert comparison.output <= 1e-5 and comparison.loss <= 1e-3, comparison


def test_hand_crafted_filters_are_never_trained():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, GOLDEN_SKELETON.n_channels, 20)).astype("float32"), np.arange(8) % 2
    seed_everything(0)
    network = architecture("LITEMV", HYPERPARAMETERS["LITEMV"]).build(20, GOLDEN_SKELETON.n_channels, 2)
    layer = next(layer for layer in network.layers if isinstance(layer, HandCraftedFilters))
    before = [w.numpy() for w in network.trainable_weights]
    train(network, x, y, Schedule(epochs=2), seed=0)
    assert all((w.numpy() != old).any() for w, old in zip(network.trainable_weights, before, strict=True))
    assert len(layer.weights) == 17
    for weight, values in zip(layer.weights, hand_crafted_filters().values(), strict=True):
        assert np.array_equal(weight.numpy(), np.broadcast_to(values[:, None, None], weight.shape))
