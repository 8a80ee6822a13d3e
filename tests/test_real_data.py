"""Recordings of real people go the same way as the synthetic ones. Skipped where there are none."""

import csv
import json

import numpy as np
import pytest
from conftest import deeprehab, installed, listed

from deeprehab_nb.data import load_fold, local_datasets, record
from deeprehab_nb.data.npy import read_array
from deeprehab_nb.experiment.run import run_experiment
from deeprehab_nb.experiment.store import Experiment

PUBLISHED = "IRDS_clf_bn_EFL"


def test_published_files_are_read(recordings):
    fold, known = recordings / "rehabpile_files" / PUBLISHED / "fold0", record(PUBLISHED)
    x = read_array(fold / "x_test_fold0.npy")
    y = {half: read_array(fold / f"y_{half}_fold0.npy") for half in ("train", "test")}
    assert x.shape[1:] == (known.n_channels, known.n_frames) and np.isfinite(x).all()
    assert len(x) == len(y["test"]) and len(y["train"]) + len(y["test"]) == known.n_samples
    assert all(labels.dtype == object and set(labels.tolist()) == {1, 2} for labels in y.values())


def test_published_labels_are_classes(recordings, tmp_path):
    """The recordings that the labels of the training half belong to are not here: those of the test half, repeated."""
    published = recordings / "rehabpile_files" / PUBLISHED / "fold0"
    folder = tmp_path / "classification" / PUBLISHED
    (folder / "fold0").mkdir(parents=True)
    for path in published.iterdir():
        (folder / "fold0" / path.name).write_bytes(path.read_bytes())
    x = read_array(published / "x_test_fold0.npy")
    n_train = len(read_array(published / "y_train_fold0.npy"))
    np.save(folder / "fold0" / "x_train_fold0.npy", np.resize(x, (n_train, *x.shape[1:])))
    (folder / "info.json").write_text(json.dumps({"length_TS": x.shape[2], "n_joints": x.shape[1] // 3, "dim": 3}))
    fold = load_fold(PUBLISHED, 0, tmp_path)
    assert fold.class_names == ("1", "2") and not fold.synthetic
    assert (fold.y_test + 1).tolist() == read_array(published / "y_test_fold0.npy").tolist()
    assert fold.x_test.min() == 0 and fold.x_test.max() == 1


def test_every_real_dataset_loads(real):
    found = local_datasets(real)
    assert list(found.values()) == ["classification"] * 3 + ["regression"] * 2
    for dataset, task in found.items():
        fold = load_fold(dataset, 0, real)
        assert (fold.task, fold.synthetic, fold.n_classes) == (task, False, 2 if task == "classification" else 0)
        assert fold.x_train.min() == 0 and fold.x_train.max() == 1 and fold.skeleton.kinematic_tree
        if task == "regression":
            assert fold.max_score == 100 and 0 <= fold.y_train.min() < fold.y_train.max() <= 1
    assert listed(deeprehab("datasets", "list", "--root", real))[60:] == list(found)


def test_a_network_learns_from_real_recordings(real, tmp_path):
    done = installed(
        "run", "UIPRMDKinect_clf_bn_DS", "--model=LITEMV", "--epochs=10", "--runs=1", "--root", real, "--out", tmp_path
    )
    assert done.returncode == 0 and done.stdout.startswith("Ensemble of 1 run: accuracy "), done.stderr
    assert "synthetic" not in done.stdout
    folder = tmp_path / "classification" / "UIPRMDKinect_clf_bn_DS" / "fold0" / "LITEMV"
    assert sorted(path.name for path in folder.iterdir()) == ["ensemble.json", "experiment.ipynb", "provenance.json", "run0"]
    assert json.loads((folder / "ensemble.json").read_text())["synthetic"] is False
    with (folder / "run0" / "history.csv").open() as table:
        losses = [float(row["loss"]) for row in csv.DictReader(table)]
    assert len(losses) == 10 and min(losses) < losses[0] / 3


def test_real_scores_are_judged_in_their_unit(real, tmp_path):
    experiment = Experiment(
        "KIMORE31_reg_Sq", model="FCN", root=real, out=tmp_path, epochs=2, runs=1, hyperparameters={"n_filters": [8, 8, 8]}
    )
    result = run_experiment(experiment, lambda state: None)
    with np.load(result.folder / "run0" / "predictions.npz", allow_pickle=False) as saved:
        truth, predicted = saved["y_true"], saved["y_pred"]
    assert np.ptp(truth) > 10 and 0 <= truth.min() and truth.max() <= 100
    assert result.ensemble.metrics["rmse"] == pytest.approx(np.sqrt(np.mean((predicted - truth) ** 2)))
    assert result.ensemble.metrics["rmse"] > 1
