"""Folders of experiments as if they had been run: nothing was trained, and the figures are made up."""

from dataclasses import replace

import numpy as np

from deeprehab_nb.experiment.store import Experiment, Run, save_ensemble, save_run
from deeprehab_nb.training.ensemble import ensemble, judge

CLASSES, SCORES = "Synthetic_clf_bn_ArmRaise", "Synthetic_reg_SideBend"
VERSIONS = {"python": "3.12.1", "deeprehab_nb": "0", "keras": "3.15.0", "numpy": "2.3.5", "platform": "Linux", "device": "CPU, 2 cores"}


def made_up(experiment, fold, number, seconds=1.0, date="2026-11-24T10:00:00+00:00"):
    """Return a run that nobody has trained."""
    rng = np.random.default_rng([number, experiment.epochs, len(experiment.model)])
    n = len(fold.y_test)
    outputs = rng.dirichlet([1] * fold.n_classes, size=n) if fold.n_classes else rng.uniform(-0.2, 1.2, size=(n, 1))
    losses = [1 / (number + epoch) for epoch in range(1, experiment.epochs + 1)]
    history = {
        "epoch": list(range(1, experiment.epochs + 1)), "loss": losses, "learning_rate": [0.001] * experiment.epochs,
        "seconds": [seconds] * experiment.epochs,
    }
    return Run(number, judge(fold, outputs.astype("float32")), history, {
        "experiment": experiment.identity(fold.digest), "seed": 7 + number, "best_epoch": experiment.epochs,
        "training_loss": losses[-1], "trainable_parameters": 100 + fold.n_classes, "training_time_s": seconds * experiment.epochs,
        "inference_time_s": seconds / 10, "date": date, "versions": VERSIONS,
    })


def write(experiment, fold, numbers=None, in_benchmark=True, report=True, **other):
    """Write an experiment's folder as if it had been run; returns the experiment."""
    if in_benchmark:
        experiment = replace(experiment, cell=experiment.digest(fold.digest))
    runs = [made_up(experiment, fold, number, **other) for number in range(experiment.runs)]
    for run in runs if numbers is None else [runs[number] for number in numbers]:
        save_run(experiment.folder, run, fold, save_network=lambda path: path.write_text("no network"))
    if numbers is None:
        save_ensemble(experiment, fold, runs, ensemble(fold, [run.prediction for run in runs]))
        if report:
            (experiment.folder / "experiment.ipynb").write_text("{}")
    return experiment


def experiments(sample, out):
    both = [
        Experiment(name, model=model, root=sample, out=out, epochs=2, runs=3)
        for name in (CLASSES, SCORES) for model in ("FCN", "H-Inception")
    ]
    return [*both, replace(both[0], epochs=3)]


def write_tree(sample, out, folds):
    """Write two networks, one with a dash in its name, on both tasks, and one of them in a second setting: five ensembles."""
    for experiment in experiments(sample, out):
        write(experiment, folds[experiment.dataset])
    return out
