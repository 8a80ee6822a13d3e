"""A collected table holds what was found and nothing else: all checked, nothing mixed, nothing made up."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import hostile
import numpy as np
import pandas as pd
import pytest
from conftest import COMMAND, deeprehab, installed, refused, sentence
from untrained import CLASSES, SCORES, VERSIONS, experiments, made_up, write

from deeprehab_nb.errors import UserError
from deeprehab_nb.experiment.cell import NOTE, Note
from deeprehab_nb.experiment.store import Experiment, run_folder, save_ensemble, save_run, write_json
from deeprehab_nb.results.collected import collect, load_collected
from deeprehab_nb.results.published import published
from deeprehab_nb.training.ensemble import ensemble, judge

TABLES = ["costs", "incomplete", "metrics", "provenance", "runs", "settings", "sizes", "timings"]


@pytest.fixture
def experiment(sample, tmp_path):
    return Experiment(CLASSES, model="FCN", root=sample, out=tmp_path / "runs", epochs=2, runs=3)


@pytest.fixture
def written(experiment, folds):
    """One complete experiment of a benchmark."""
    return write(experiment, folds[CLASSES])


def saved(collected, folder):
    """Return the content of all tables as they are saved."""
    collected.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.csv" for name in TABLES]
    return {name: (folder / f"{name}.csv").read_bytes() for name in TABLES}


def only(collected, state, *named):
    """Check that nothing is counted and one experiment is listed, in one sentence; returns the sentence."""
    assert collected.metrics.empty and collected.runs.empty and collected.costs.empty and collected.provenance.empty
    assert collected.incomplete.state.tolist() == [state]
    reason = collected.incomplete.reason[0]
    sentence(reason, *named)
    return reason


# what is counted -----------------------------------------------------------------------------------------------------


def test_the_table_has_the_published_form_and_the_values_of_the_ensembles(tree):
    metrics = collect(tree).metrics
    assert list(metrics.columns[:6]) == ["task", "dataset", "fold", "model", "metric", "value"]
    found = {(r.task, r.dataset, r.fold, r.model, r.metric, r.experiment): r.value for r in metrics.itertuples()}
    assert len(found) == len(metrics) == 3 * 2 + 2 * 3 and set(metrics.n_runs) == {3} and metrics.synthetic.all()
    assert set(metrics.metric) == {"accuracy", "balanced_accuracy", "mae", "mape", "rmse"}
    files = [json.loads(path.read_text()) for path in tree.rglob("ensemble.json")]
    assert sorted(found.values()) == sorted(value for file in files for value in file["metrics"].values())
    order = metrics[["task", "dataset", "fold", "model", "metric"]].values.tolist()
    assert order == sorted(order)


def test_an_ensemble_that_is_judged_by_hand(experiment, folds):
    """Two runs err, each in one recording, and their average in none."""
    fold, experiment = folds[CLASSES], replace(experiment, runs=2)
    runs = []
    for number in range(2):
        right = np.full(len(fold.y_test), 0.9)
        right[number] = 0.4
        outputs = np.where(fold.y_test[:, None] == [0, 1], right[:, None], 1 - right[:, None]).astype("float32")
        runs.append(replace(made_up(experiment, fold, number), prediction=judge(fold, outputs)))
        save_run(experiment.folder, runs[-1], fold, save_network=lambda path: path.write_text("no network"))
    save_ensemble(experiment, fold, runs, ensemble(fold, [run.prediction for run in runs]))
    found = collect(experiment.out)
    assert found.metrics.value.tolist() == [1.0, 1.0]
    n = len(fold.y_test)
    assert found.metrics[["low", "high"]].values.ravel().tolist() == pytest.approx([0.025 ** (1 / n), 1, 1, 1])  # no class has an error: a point
    assert found.sizes.query("metric == 'accuracy'")[["size", "value"]].values.ravel().tolist() == pytest.approx([1, (n - 1) / n, 2, 1])
    assert found.runs.query("metric == 'accuracy'").value.tolist() == pytest.approx([(n - 1) / n] * 2)


def test_every_run_is_there_with_what_made_it(tree):
    found = collect(tree)
    assert len(found.timings) == 5 * 3 and len(found.runs) == 3 * 3 * 2 + 2 * 3 * 3
    run = found.runs.query("model == 'FCN' and dataset == @SCORES and run == 2 and metric == 'rmse'").iloc[0]
    path = next(tree.glob(f"*/{SCORES}/fold0/FCN-*/run2/metrics.json"))
    assert run.value == json.loads(path.read_text())["rmse"]
    assert (run.seed, run.best_epoch, run.training_loss) == (9, 2, 0.25)
    assert set(found.timings.training_time_s) == {2.0, 3.0} and set(found.timings.device) == {"CPU, 2 cores"}


def test_an_ensemble_of_each_size_is_a_mean_over_the_runs_in_a_circle(tree):
    found = collect(tree)
    place = next(tree.glob(f"*/{SCORES}/fold0/FCN-*"))
    truth, outputs = None, []
    for number in range(3):
        with np.load(place / f"run{number}" / "predictions.npz") as arrays:
            truth, scale = arrays["y_true"], arrays["y_pred"].max() / arrays["outputs"].max()
            outputs.append(arrays["outputs"][:, 0] * scale)
    pairs = [np.abs((outputs[a] + outputs[b]) / 2 - truth).mean() for a, b in ((0, 1), (1, 2), (2, 0))]
    sizes = found.sizes.query("dataset == @SCORES and model == 'FCN' and metric == 'mae'")
    runs = found.runs.query("dataset == @SCORES and model == 'FCN' and metric == 'mae'").value
    whole = found.metrics.query("dataset == @SCORES and model == 'FCN' and metric == 'mae'")
    assert sizes["size"].tolist() == [1, 2, 3] and len(found.sizes) == 3 * len(found.metrics)
    assert sizes.value.tolist() == pytest.approx([runs.mean(), np.mean(pairs), whole.value.item()])
    assert sizes.value.iloc[2] == whole.value.item() and whole.low.item() < whole.value.item() < whole.high.item()


@pytest.mark.parametrize("highest, dataset, known", [(1, SCORES, 100), (0, SCORES, 0), (1, "UIPRMD_reg_DS", 100), (0, "UIPRMD_reg_DS", 1)])
def test_the_highest_score_shows_in_the_predictions_or_is_the_archives(experiment, folds, highest, dataset, known):
    """Where all outputs are zero it does not show, and nobody knows it of recordings of one's own."""
    fold = replace(folds[SCORES], dataset=dataset)
    runs = []
    for number in range(3):
        run = made_up(replace(experiment, dataset=SCORES), fold, number)
        content = run.provenance | {"experiment": run.provenance["experiment"] | {"dataset": dataset}}
        runs.append(replace(run, provenance=content, prediction=judge(fold, highest * run.prediction.outputs)))
    folder = experiment.out / "regression" / dataset / "fold0" / "FCN"
    for run in runs:
        save_run(folder, run, fold, save_network=lambda path: path.write_text("no network"))
    write_json(folder / "ensemble.json", {
        "dataset": dataset, "synthetic": True, "fold": 0, "model": "FCN", "task": "regression", "runs": [0, 1, 2],
        "metrics": ensemble(fold, [run.prediction for run in runs]).metrics,
    })
    write_json(folder / "provenance.json", {
        "experiment": runs[0].provenance["experiment"], "synthetic": True, "n_train": len(fold.x_train), "n_test": len(fold.x_test),
        "n_channels": fold.n_channels, "n_timepoints": fold.n_timepoints,
    })
    assert collect(experiment.out).provenance.score_max.tolist() == [known]


def test_costs_are_means_over_folds_and_runs_of_one_kind_of_machine(experiment, folds, monkeypatch):
    fold = folds[CLASSES]
    write(replace(experiment, runs=2), fold, seconds=1.0)
    other = replace(fold, fold=1)
    monkeypatch.setitem(VERSIONS, "device", "a faster one")
    write(replace(experiment, runs=2, fold=1), other, seconds=0.5)
    costs = collect(experiment.out).costs
    assert costs[["device", "n_folds", "n_runs", "training_time_s", "trainable_params"]].values.tolist() == [
        ["CPU, 2 cores", 1, 2, 2.0, 102], ["a faster one", 1, 2, 1.0, 102],
    ]
    monkeypatch.setitem(VERSIONS, "device", "CPU, 2 cores")
    write(replace(experiment, runs=2, fold=1), other, seconds=0.5)
    costs = collect(experiment.out).costs
    assert costs[["n_folds", "n_runs", "training_time_s"]].values.tolist() == [[2, 4, 1.5]]


def test_two_settings_are_kept_apart_and_the_output_says_so(tree):
    found = collect(tree)
    metrics = found.metrics.query("dataset == @CLASSES and model == 'FCN' and metric == 'accuracy'")
    assert len(metrics) == metrics.experiment.nunique() == 2 and metrics.variant.nunique() == 1
    settings = found.settings.query("model == 'FCN'").set_index("experiment").epochs
    assert sorted(settings[name] for name in metrics.experiment) == [2, 3]
    assert found.settings.groupby("experiment").n_ensembles.sum().sort_values().tolist() == [1, 4]  # shared by networks and datasets
    assert [remark for remark in found.remarks() if remark.startswith("1 of 4 combinations")]
    for remark in found.remarks():
        sentence(remark)


def test_results_in_the_published_form_are_of_one_setting(tree):
    found = collect(tree)
    with pytest.raises(UserError, match="FCN has 2 results on fold 0 of") as refusal:
        found.results()
    experiments = found.settings.set_index("epochs").experiment.to_dict()
    sentence(str(refusal.value), f"{experiments[2]} (epochs 2)", f"{experiments[3]} (epochs 3)")
    results = found.results(experiments[2])
    assert len(results.metrics) == 2 * 2 + 2 * 3 and results.tasks == ["classification", "regression"]
    for name, table in asdict(published()).items():
        assert name == "source" or list(getattr(results, name).columns) == list(table.columns)
    assert results.datasets.fillna(0).values.tolist() == [[CLASSES, "classification", CLASSES, 0], [SCORES, "regression", SCORES, 100]]
    assert results.costs.flops.isna().all() and set(results.costs.training_time_s) == {2.0}
    sentence(results.source, "4 ensembles of 3 runs, 2 epochs", "seed 0", "2026-11-24", "deeprehab_nb 0", "keras 3.15.0", "on synthetic data")
    assert found.results(experiments[3]).metrics.value.tolist() == found.metrics.query("experiment == @experiments[3]").value.tolist()
    with pytest.raises(UserError, match="There is no experiment 'x'"):
        found.results("x")


def test_what_no_choice_of_an_experiment_tells_apart_is_said(experiment, folds, written):
    write(replace(experiment, hyperparameters={"n_filters": [1, 2, 3]}), folds[CLASSES])
    with pytest.raises(UserError, match="in the experiment") as refusal:
        collect(experiment.out).results()
    sentence(str(refusal.value), 'hyperparameters {"n_filters": [1, 2, 3]}', "hyperparameters {}", "collect them from separate folders")


def test_results_of_nothing_are_refused(experiment, folds):
    write(experiment, folds[CLASSES], numbers=[0])
    with pytest.raises(UserError, match="No experiment is complete"):
        collect(experiment.out).results()


def test_times_of_different_machines_are_not_set_side_by_side(experiment, folds, monkeypatch):
    write(experiment, folds[CLASSES])
    monkeypatch.setitem(VERSIONS, "device", "a faster one")
    write(replace(experiment, model="H-Inception", runs=2), folds[CLASSES], date="2026-11-26T10:00:00+00:00")
    results = collect(experiment.out).results()
    assert results.costs.training_time_s.notna().tolist() == [True, False] and results.costs.trainable_params.tolist() == [102, 102]
    sentence(results.source, "different numbers of runs (1 of 2, 1 of 3)", "from 2026-11-24 to 2026-11-26")


@pytest.mark.parametrize("change, column", [
    ({"seed": 1}, "experiment"), ({"batch_size": 8}, "experiment"), ({"hyperparameters": {"n_filters": [1, 2, 3]}}, "variant"),
])
def test_whatever_is_changed_makes_another_setting(experiment, folds, written, change, column):
    write(replace(experiment, **change), folds[CLASSES])
    metrics = collect(experiment.out).metrics
    assert len(metrics) == 4
    assert {name for name in ("experiment", "variant", "data") if metrics[name].nunique() == 2} == {column}


def test_other_data_and_other_code_make_another_setting(experiment, folds, written, monkeypatch):
    write(experiment, replace(folds[CLASSES], digest="0" * 64))
    monkeypatch.setattr("deeprehab_nb.experiment.store.code_version", lambda model: {"digest": "0" * 12, "keras": "4"})
    write(experiment, folds[CLASSES])
    metrics = collect(experiment.out).metrics.query("metric == 'accuracy'")
    assert len(metrics) == 3 and [metrics[name].nunique() for name in ("data", "experiment", "variant")] == [2, 2, 2]


def test_one_experiment_in_two_folders_counts_once(experiment, folds, written):
    plain = write(replace(experiment, runs=2), folds[CLASSES], in_benchmark=False)
    found = collect(experiment.out)
    assert set(found.metrics.n_runs) == {3} and len(found.metrics) == 2
    assert found.incomplete.state.tolist() == ["repeated"]
    assert found.incomplete.folder[0] == plain.folder.relative_to(plain.out).as_posix()


def test_the_executed_notebook_is_no_condition_but_missed(experiment, folds):
    write(experiment, folds[CLASSES], report=False)
    found = collect(experiment.out)
    assert len(found.metrics) == 2 and not found.provenance.report.any()
    assert any("no executed notebook" in remark for remark in found.remarks())


# what is not counted -------------------------------------------------------------------------------------------------


def test_an_interrupted_experiment(experiment, folds):
    written = write(experiment, folds[CLASSES], numbers=[0, 2])
    only(collect(experiment.out), "unfinished", "interrupted")
    assert collect(experiment.out).incomplete.runs.tolist() == ["0 2"]
    (written.folder / ".run1.checkpoint").write_bytes(b"")
    only(collect(experiment.out), "unfinished", "checkpoint")
    write_json(written.folder / ".progress.json", {"run": 2, "runs": 3, "epoch": 1, "epochs": 2, "loss": 0.5})
    only(collect(experiment.out), "unfinished", "run 2 of 3 was in epoch 1 of 2")


def test_an_experiment_that_has_not_begun(experiment, folds):
    (experiment.out / "classification" / CLASSES / "fold0" / "FCN").mkdir(parents=True)
    only(collect(experiment.out), "unfinished", "has not begun")


def test_a_failed_experiment(experiment, folds):
    written = write(experiment, folds[CLASSES], numbers=[0])
    write_json(written.folder / NOTE, asdict(Note("failed", "The memory\nis not \ud800 enough.", "failed.ipynb")))
    found = collect(experiment.out)
    only(found, "failed", "It failed: The memory is not")
    found.save(experiment.out / "collected")  # half a character cannot be written


def test_more_runs_than_the_ensemble_is_of(experiment, folds, written):
    more = replace(written, runs=4)
    save_run(written.folder, made_up(more, folds[CLASSES], 3), folds[CLASSES], save_network=lambda path: path.write_text(""))
    only(collect(experiment.out), "unfinished", "of 3 runs", "4 are there")


def test_a_run_that_is_lost(written):
    shutil.rmtree(run_folder(written.folder, 1))
    only(collect(written.out), "unfinished", "of 3 runs", "run1 is not there")


def edit(name, **entries):
    """Return a damage: entries of a JSON file are replaced; those of a name with dots, below others."""

    def damage(folder):
        content = json.loads((folder / name).read_text())
        for entry, value in entries.items():
            *above, last = entry.split("__")
            place = content
            for key in above:
                place = place[key]
            place[last] = value
        write_json(folder / name, content)

    return damage


def repredict(**changed):
    """Return a damage: arrays of a run's predictions are replaced by what functions make of them."""

    def damage(folder):
        path = folder / "run1" / "predictions.npz"
        with np.load(path) as arrays:
            arrays = dict(arrays)
        np.savez(path, **arrays | {name: change(arrays[name]) for name, change in changed.items()})

    return damage


def copied(folder):
    shutil.rmtree(folder / "run1")
    shutil.copytree(folder / "run0", folder / "run1")


def shortened(folder):
    path = folder / "run2" / "history.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def moved(folder):
    """Put the folder where another fold's should be."""
    place = folder.parents[1] / "fold3"
    place.mkdir()
    folder.rename(place / folder.name)


DAMAGES = {
    "a better figure": (edit("ensemble.json", metrics__accuracy=0.99), "ensemble.json does not fit", "0.99"),
    "an unknown metric": (edit("ensemble.json", metrics__f1=1.0), "its metrics are"),
    "a figure that is text": (edit("ensemble.json", metrics__accuracy="0.5"), "accuracy must be a number"),
    "runs that are no numbers": (edit("ensemble.json", runs=["a", None]), "are not the numbers of runs"),
    "runs counted twice": (edit("ensemble.json", runs=[0, 1, 1]), "are not the numbers of runs"),
    "no runs": (edit("ensemble.json", runs=[]), "are not the numbers of runs"),
    "another dataset's ensemble": (edit("ensemble.json", dataset="KIMORE_reg_LA"), "another experiment"),
    "synthetic data called real": (edit("ensemble.json", synthetic=False), "do not agree", "synthetic"),
    "another number of epochs": (edit("provenance.json", experiment__epochs=1500), "another experiment", "digest"),
    "fewer recordings": (edit("provenance.json", n_test=1), "run0 was not judged on the recordings"),
    "a run's better figure": (edit("run1/metrics.json", accuracy=1), "run1", "metrics.json", "does not fit"),
    "a run of other epochs": (edit("run1/provenance.json", experiment__epochs=3), "run1", "another experiment"),
    "a run without a seed": (edit("run1/provenance.json", seed=None), "seed must be a whole number"),
    "a seed beyond bounds": (edit("run1/provenance.json", seed=10**400), "seed must be a whole number"),
    "another loss": (edit("run1/provenance.json", training_loss=0.001), "history.csv"),
    "a best epoch that was not": (edit("run1/provenance.json", best_epoch=10**9), "history.csv"),
    "a copied run": (copied, "same seed"),
    "a shortened history": (shortened, "history.csv", "2 epochs"),
    "other predictions": (repredict(y_pred=lambda y: 1 - y), "y_pred is not what the outputs predict"),
    "other outputs": (repredict(outputs=lambda x: np.roll(x, 1, axis=0)), "predictions.npz"),
    "outputs that are no numbers": (repredict(outputs=lambda x: x * np.nan), "do not fit together"),
    "a class without a name": (repredict(y_true=lambda y: y + 2**40), "do not fit together"),
    "scores instead of classes": (repredict(y_true=lambda y: y.astype(float)), "do not fit together"),
    "no recordings": (repredict(**dict.fromkeys(("y_true", "y_pred", "outputs"), lambda a: a[:0])), "do not fit together"),
    "other names of classes": (repredict(class_names=lambda names: names[::-1]), "run1 was not judged on the recordings"),
    "fewer test recordings": (
        lambda folder: (
            repredict(**dict.fromkeys(("y_true", "y_pred", "outputs"), lambda a: a[:8]))(folder), rejudged(folder),
        ), "run1 was not judged on the recordings",
    ),
    "a folder in the place of another": (moved, "another experiment", "dataset, fold and network"),
}


def rejudged(folder):
    """Give the changed run the metrics that it now has."""
    with np.load(folder / "run1" / "predictions.npz") as arrays:
        truth, predicted = arrays["y_true"], arrays["y_pred"]
    recalls = [np.mean(predicted[truth == c] == c) for c in np.unique(truth)]
    write_json(folder / "run1" / "metrics.json", {
        "accuracy": float(np.mean(truth == predicted)), "balanced_accuracy": float(np.mean(recalls)),
    })


@pytest.mark.parametrize("damage, named", [pytest.param(damage, named, id=name) for name, (damage, *named) in DAMAGES.items()])
def test_what_does_not_fit_is_not_counted(written, damage, named):
    damage(written.folder)
    reason = only(collect(written.out), "damaged", *named)
    assert str(written.out) not in reason


def test_scores_with_another_factor(experiment, folds):
    written = write(replace(experiment, dataset=SCORES), folds[SCORES])
    assert len(collect(experiment.out).metrics) == 3
    repredict(y_pred=lambda y: y * np.linspace(1, 1.1, len(y)))(written.folder)
    only(collect(experiment.out), "damaged", "y_pred is not what the outputs predict")


def test_a_run_on_another_scale(experiment, folds):
    """All in it fits, but it is not the other runs' unit."""
    fold = folds[SCORES]
    written = write(replace(experiment, dataset=SCORES), fold)
    run = made_up(written, fold, 1)
    other = replace(fold, max_score=fold.max_score / 2, y_test=fold.y_test * 2)
    save_run(written.folder, replace(run, prediction=judge(other, run.prediction.outputs)), other, lambda path: path.write_text(""))
    only(collect(experiment.out), "damaged", "run1 was not judged on the recordings")


def test_a_run_of_other_code_than_its_ensemble(experiment, folds):
    written = write(experiment, folds[CLASSES], in_benchmark=False)
    content = json.loads((written.folder / "provenance.json").read_text())
    del content["experiment"]["code"]
    write_json(written.folder / "provenance.json", content)
    only(collect(experiment.out), "damaged", "run0 is of another experiment", "code")


def test_a_run_of_another_setting_is_not_mixed_in(experiment, folds):
    """In a folder that is not named by a digest, as `deeprehab run` makes them."""
    written = write(experiment, folds[CLASSES], in_benchmark=False)
    other = made_up(replace(experiment, batch_size=8), folds[CLASSES], 1)
    save_run(written.folder, other, folds[CLASSES], save_network=lambda path: path.write_text(""))
    only(collect(experiment.out), "damaged", "run1 is of another experiment", "batch_size")


FILES = ["ensemble.json", "provenance.json", *(f"run1/{name}" for name in ("history.csv", "metrics.json", "predictions.npz", "provenance.json"))]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [
    lambda path, content: path.write_bytes(content[: len(content) // 2]),
    lambda path, content: path.write_bytes(b""),
    lambda path, content: path.write_bytes(b"\xff\0" * 9),
    lambda path, content: path.write_bytes(b"[" * 100_000),
    lambda path, content: path.write_bytes(content + b" " * 2**20 * 65),
    lambda path, content: path.unlink(),
    lambda path, content: (path.unlink(), path.mkdir()),
    lambda path, content: (path.unlink(), os.mkfifo(path)),
    lambda path, content: (path.unlink(), path.symlink_to(path)),
], ids=["cut", "empty", "binary", "deep", "long", "removed", "a folder", "a pipe", "a link to itself"])
def test_a_damaged_file_is_named(written, name, damage):
    path = written.folder / name
    damage(path, path.read_bytes())
    found = collect(written.out)
    assert found.metrics.empty and len(found.incomplete) == 1
    sentence(found.incomplete.reason[0])
    gone = name == "ensemble.json" and not path.exists()  # then nobody can tell that there was one
    assert gone or (found.incomplete.state[0] == "damaged" and name in found.incomplete.reason[0])


def test_hostile_files_are_listed_and_nothing_in_them_is_run(experiment, folds, monkeypatch, tmp_path):
    """Each in an experiment of its own, in which all else is right."""
    right = write(experiment, folds[CLASSES], in_benchmark=False).folder
    files = [(name, content) for name, kind in (("predictions.npz", hostile.NPZ), ("metrics.json", hostile.INFO)) for content in kind.values()]
    for fold, (name, content) in enumerate(files, start=1):
        folder = right.parents[1] / f"fold{fold}" / "FCN"
        shutil.copytree(right / "run0", folder / "run0")
        edit("run0/provenance.json", experiment__fold=fold)(folder)
        (folder / "run0" / name).write_bytes(content() if callable(content) else content)
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir())
    found = collect(experiment.out)
    assert set(found.metrics.fold) == {0} and len(found.incomplete) == len(files) > 200
    for row in found.incomplete.itertuples():
        assert row.state == "damaged" and files[row.fold - 1][0] in row.reason
        sentence(row.reason)
    assert sorted(os.listdir()) == before


# the files -----------------------------------------------------------------------------------------------------------


def test_equal_results_make_equal_files(tree, sample, folds, tmp_path):
    """In another order, at another time, on a slower machine, with other things lying about."""
    out = tmp_path / "again"
    for experiment in reversed(experiments(sample, out)):
        written = write(experiment, folds[experiment.dataset], seconds=2.5, date="2027-01-01T00:00:00+00:00")
        (written.folder / ".progress.json").write_text("cut sho")
    for name in (".benchmark", "classification/.hidden/fold0/FCN", "classification/x/fold00/FCN", "classification/x/fold1/.FCN.part", "collected"):
        (out / name).mkdir(parents=True)
    first, second = saved(collect(tree), tmp_path / "first"), saved(collect(out), tmp_path / "second")
    assert {name for name in TABLES if first[name] == second[name]} == {"incomplete", "metrics", "runs", "settings", "sizes"}
    assert saved(collect(shutil.copytree(tree, tmp_path / "copy")), tmp_path / "third") == first


def test_what_is_saved_is_what_is_read(tree, tmp_path):
    found = collect(tree)
    before = saved(found, tmp_path / "tables")
    again = load_collected(tmp_path / "tables")
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(found, name))
    assert saved(again, tmp_path / "again") == before and again.remarks() == found.remarks()


@pytest.mark.parametrize("change", [
    lambda text: text.replace("value", "worth", 1), lambda text: text.replace(",0,", ",zero,", 1), lambda text: text[:-20],
    lambda text: text.replace("True", "True,more"), lambda text: "", lambda text: "\0" * 99,
])
def test_tables_that_were_changed_are_refused(tree, tmp_path, change):
    collect(tree).save(tmp_path)
    path = tmp_path / "metrics.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match="metrics.csv") as refusal:
        load_collected(tmp_path)
    sentence(str(refusal.value))


def test_a_table_that_is_missing(tmp_path):
    with pytest.raises(UserError, match="metrics.csv is missing; `deeprehab results collect` writes it"):
        load_collected(tmp_path)


# the command ---------------------------------------------------------------------------------------------------------


def test_the_command_writes_the_tables_and_says_what_is_missing(tree, tmp_path):
    out = shutil.copytree(tree, tmp_path / "runs")
    for folder in sorted(out.glob("regression/*/*/*")):
        (folder / "ensemble.json").unlink()
    done = installed("results", "collect", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in (out / "collected").iterdir()) == [f"{name}.csv" for name in TABLES]
    said = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert said[0] == "5 experiments" and "classification 3 0" in said and "regression 0 2" in said
    assert sum(line.startswith(f"unfinished: regression/{SCORES}/fold0/") for line in said) == 2
    assert f"3 complete, 2 not complete and not counted. Tables: {out / 'collected'}" in said
    assert "Note: 3 of 3 ensembles are on synthetic data; their figures say nothing about patients." in said
    before = {path.name: path.read_bytes() for path in (out / "collected").iterdir()}
    done = deeprehab("results", "collect", out, "--to", tmp_path / "elsewhere" / "deep")
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "elsewhere" / "deep").iterdir()} == before


def test_many_are_not_all_printed(experiment, tmp_path):
    for fold in range(30):
        (experiment.out / "classification" / CLASSES / f"fold{fold}" / "FCN").mkdir(parents=True)
    done = deeprehab("results", "collect", experiment.out)
    assert done.returncode == 0 and done.stdout.count("unfinished: ") == 10
    assert "... and 20 more, listed in incomplete.csv" in done.stdout
    assert len(load_collected(experiment.out / "collected").incomplete) == 30


def test_nothing_to_collect_is_refused(tmp_path):
    refused(deeprehab("results", "collect", tmp_path / "missing"), "missing", "There is no folder")
    refused(deeprehab("results", "collect", tmp_path), str(tmp_path), "There are no experiments")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused(tree, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(deeprehab("results", "collect", tree, "--to", tmp_path / "file"), "file", "cannot be written")
    assert (tmp_path / "file").read_text() == "mine"


def test_collecting_and_comparing_load_no_network(written):
    code = f"""
import sys
from deeprehab_nb.results.collected import collect
from deeprehab_nb.results.compared import compare
from deeprehab_nb.results.published import published
found = compare(collect({str(written.out)!r}), published())
assert found.cells.published.isna().all() and set(found.verdicts.verdict) == {{"nothing to compare"}}
assert set(found.cells.why_not) == {{
    "the dataset is not in the paper; synthetic data; not the paper's protocol: 2 epochs instead of 1500, 3 runs instead of 5"
}}
assert not {{"keras", "tensorflow", "jax", "torch"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(COMMAND).parent)


def test_what_is_known_is_not_computed_again(tree, sample, tmp_path):
    """Tables stand for experiments that are gone: a benchmark leaves those cells out, and collecting keeps them."""
    runs, tables, file = tmp_path / "runs", tmp_path / "tables", tmp_path / "b.yaml"
    shutil.copytree(tree, runs)
    assert deeprehab("results", "collect", runs, "--to", tables).returncode == 0
    all_of_them = (tables / "metrics.csv").read_text()
    shutil.rmtree(runs / "regression")
    assert deeprehab("results", "collect", runs, "--to", tables, "--keep").returncode == 0
    assert (tables / "metrics.csv").read_text() == all_of_them
    asked = f"root: {sample}\nout: {runs}\nfolds: [0]\ndatasets: [{CLASSES}, {SCORES}]\nmodels: [FCN, GRU]\nepochs: 2\nruns: 3\n"
    file.write_text(f"{asked}known: {tables}\n")
    planned = deeprehab("benchmark", "plan", file, "--no-trial")
    assert "0 of 2 cells complete" in planned.stdout and "2 more cells are known already" in planned.stdout, planned.stderr
    file.write_text(f"{asked}known: {tables}\n".replace("FCN, GRU", "FCN"))
    refused(deeprehab("benchmark", "plan", file), "All 2 cells", "tables already")
    file.write_text(f"{asked}known: {tmp_path / 'nowhere'}\n")
    refused(deeprehab("benchmark", "plan", file), "known in the file", "settings.csv is missing")
