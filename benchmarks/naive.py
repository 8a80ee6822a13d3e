"""
The baseline: an experiment the way the released implementation makes it, in a program of its own, without the package.

Keras' `fit`, the whole model to disk at every better epoch, read from there and asked for four predictions, run after run.

    python benchmarks/naive.py DATASET FOLD MODEL ROOT OUT EPOCHS RUNS
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import plain
from sklearn.metrics import accuracy_score, balanced_accuracy_score


def read(folder: Path, fold: int):
    """Return recordings (cases, time, channels) and one-hot labels of both splits, and the skeleton."""
    info = json.loads((folder / "info.json").read_text())
    n_joints, n_dims = info["n_joints"], info["n_dim"]
    x, y = ({s: np.load(folder / f"fold{fold}/{v}_{s}_fold{fold}.npy") for s in ("train", "test")} for v in "xy")
    of_dim = x["train"].reshape(len(x["train"]), n_joints, n_dims, -1)
    low, high = (np.tile(f(of_dim, axis=(0, 1, 3)), n_joints)[:, None] for f in (np.min, np.max))
    n_classes = len(np.unique(y["train"]))
    for split in ("train", "test"):
        x[split] = np.swapaxes((x[split] - low) / (high - low), 1, 2)
        y[split] = keras.utils.to_categorical(y[split], n_classes)
    return x, y, (n_joints, n_dims, info["kinematic_tree"])


class Checkpoint(keras.callbacks.ModelCheckpoint):
    """Also notes for the history how long an epoch took, and how long its checkpoint."""

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        ended = time.perf_counter()
        super().on_epoch_end(epoch, logs)
        logs["seconds"], logs["write_seconds"] = ended - self.began, time.perf_counter() - ended


def experiment(folder: Path, fold: int, model: str, out: Path, epochs: int, runs: int) -> None:
    """Train, reload and judge each run, and then their average; all is written below ``out``."""
    x, y, skeleton = read(folder, fold)
    truth, outputs = y["test"].argmax(1), []

    def judge(truth, probabilities):
        return {"accuracy": accuracy_score(truth, probabilities.argmax(1)), "balanced_accuracy": balanced_accuracy_score(truth, probabilities.argmax(1))}

    for run in range(runs):
        place = out / f"run{run}"
        place.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(run)
        network = plain.build(model, *x["train"].shape[1:], y["train"].shape[1], skeleton)
        network.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy")
        network.fit(x["train"], y["train"], batch_size=64, epochs=epochs, verbose=0, callbacks=[
            Checkpoint(place / "best.keras", monitor="loss", save_best_only=True),
            keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=50, min_lr=1e-4),
            keras.callbacks.CSVLogger(place / "history.csv"),
        ])
        best = keras.models.load_model(place / "best.keras")
        of_train = judge(y["train"].argmax(1), best.predict(x["train"], batch_size=64, verbose=0))
        of_test = judge(truth, best.predict(x["test"], batch_size=64, verbose=0))
        outputs.append(best.predict(x["test"], batch_size=64, verbose=0))
        latent = keras.Model(best.inputs, best.get_layer("head").input).predict(x["test"], batch_size=64, verbose=0)
        np.savez(place / "predictions.npz", outputs=outputs[-1], latent=latent)
        (place / "metrics.json").write_text(json.dumps({"train": of_train, "test": of_test}))
    (out / "ensemble.json").write_text(json.dumps(judge(truth, np.mean(outputs, axis=0))))


if __name__ == "__main__":
    dataset, fold, model, root, out, epochs, runs = sys.argv[1:]
    experiment(Path(root) / "classification" / dataset, int(fold), model, Path(out), int(epochs), int(runs))
