"""What a network costs is what the paper says it costs."""

import csv

import pytest
from conftest import deeprehab, installed, refused

from deeprehab_nb.backend import keras
from deeprehab_nb.errors import UserError
from deeprehab_nb.models.cost import cost, cost_table, count_flops
from deeprehab_nb.models.zoo import architecture


def test_all_published_counts_are_found(tmp_path):
    done = installed("cost", "--all", "--csv", tmp_path / "costs.csv", timeout=900)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(
        "parameters: 540 of 540 equal the published ones.\nFLOPs: 540 of 540 equal the published ones.\n"
    )
    assert "H-Inception is counted with use_bias false" in done.stdout
    with (tmp_path / "costs.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert len({(row["model"], row["dataset"]) for row in rows}) == 540
    for row in rows:
        assert row["parameters"] == row["published parameters"] and row["FLOPs"] == row["published FLOPs"]


def test_a_difference_is_told():
    table = cost_table(["H-Inception"], ["UIPRMD_clf_bn_DS"], {"use_bias": True})
    assert not table["as published"].any() and (table["parameters"] > table["published parameters"]).all()


def test_a_dataset_of_ones_own_has_no_published_cost(sample):
    done = deeprehab("cost", "Synthetic_reg_SideBend", "--root", sample, "--model=H-Inception", "--model=STGCN")
    assert done.returncode == 0 and done.stdout.count("Synthetic_reg_SideBend") == 2, done.stderr
    assert "published ones" not in done.stdout
    network = architecture("H-Inception").build(60, 66)  # with biases, as it is trained
    assert cost(network).parameters > cost(architecture("H-Inception", {"use_bias": False}).build(60, 66)).parameters


def test_latency_is_measured():
    table = cost_table(["GRU"], ["EHE_reg_BWR"], latency=True)
    one, many = table[["ms for 1", "ms for 64"]].iloc[0]
    assert 0 < one < 64 * many


@pytest.mark.parametrize("arguments, named", [
    ((), ("--all",)), (("UIPRMD_clf_bn_DS", "--all"), ("--all",)),
    (("UIPRMD_clf_bn_D",), ("UIPRMD_clf_bn_D", "Did you mean UIPRMD_clf_bn_DS")),
    (("UIPRMD_clf_bn_DS", "--model=LITE"), ("LITE", "LITEMV")),
    (("UIPRMD_clf_bn_DS", "--model=FCN", "--set", "filters=3"), ("filters", "n_filters")),
    (("UIPRMD_clf_bn_DS", "--set", "n_filters"), ("--set n_filters",)),
    (("UIPRMD_clf_bn_DS", "--set", "n_filters=" + 50_000 * "["), ("--set n_filters=[[",)),
    (("UIPRMD_clf_bn_DS", "--csv", "."), ("folder",)), (("UIPRMD_clf_bn_DS", "--csv", 300 * "n"), ("name",)),
    (("UIPRMD_clf_bn_DS", "--model=FCN", "--set", "n_filters=[1e9, 2, -3]"), ("n_filters", "up to 10,000")),
])
def test_what_cannot_be_counted_is_refused(sample, arguments, named):
    refused(deeprehab("cost", *arguments, "--root", sample), *named)


def test_a_layer_without_a_rule_is_named():
    x = keras.Input((8, 3))
    with pytest.raises(UserError, match="noise.*GaussianNoise.*counts"):
        count_flops(keras.Model(x, keras.layers.GaussianNoise(0.1, name="noise")(x)))
    shared = keras.layers.Dense(3, name="shared")
    with pytest.raises(UserError, match="shared is used more than once"):
        count_flops(keras.Model(x, shared(shared(x))))
