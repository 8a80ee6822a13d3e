"""Whatever is wrong with the data or the parameters, one sentence says so, and nothing is written."""

import json
import os
import zipfile

import numpy as np
import pytest
from conftest import change, deeprehab, installed, load, refused, sentence

from deeprehab_nb.data import load_fold
from deeprehab_nb.errors import UserError
from deeprehab_nb.experiment.store import Experiment

CLASSES, SCORES = "Synthetic_clf_bn_ArmRaise", "Synthetic_reg_SideBend"


def remove(name):
    return lambda folder: (folder / name).unlink()


def write(name, change_bytes):
    """Return a damage: a file's bytes are replaced by what a function makes of them."""

    def damage(folder):
        path = folder / name
        path.write_bytes(change_bytes(path.read_bytes()))

    return damage


def describe(**keys):
    """Return a damage: keys of info.json have other values."""
    return write("info.json", lambda data: json.dumps(json.loads(data) | keys).encode())


def put(name, value, at=100):
    """Return a damage: one value of a stored array is another."""

    def change_array(array):
        array = array.astype(float if isinstance(value, float) else object)
        array.flat[at] = value
        return array

    return change(name, change_array)


def info_as_folder(folder):
    (folder / "info.json").unlink()
    (folder / "info.json").mkdir()


def zip_as_npy(folder):
    with zipfile.ZipFile(folder / "fold0" / "x_train_fold0.npy", "w") as archive:
        archive.writestr("x.npy", b"")


def objects(value):
    """Return what makes an array of one Python object, repeated."""
    return lambda y: np.array([value] * len(y), dtype=object)


X, Y = "fold0/x_train_fold0.npy", "fold0/y_train_fold0.npy"
DAMAGES = {
    "recordings missing": (remove(X), ("x_train_fold0.npy", "missing")),
    "labels missing": (remove(Y), ("y_train_fold0.npy", "missing")),
    "info missing": (remove("info.json"), ("info.json", "missing")),
    "info a folder": (info_as_folder, ("info.json",)),
    "info not JSON": (write("info.json", lambda _: b"n_joints = 15"), ("info.json", "JSON")),
    "info not text": (write("info.json", lambda _: b"\xff\xfe\x00"), ("info.json", "JSON")),
    "info not an object": (write("info.json", lambda _: b"[15, 3]"), ("info.json", "object")),
    "info without length": (write("info.json", lambda data: data.replace(b"length_TS", b"length")), ("info.json", "length_TS")),
    "joints not whole": (describe(n_joints=15.5), ("info.json", "n_joints", "15.5")),
    "two numbers of dimensions": (describe(dim=2), ("info.json", "dim and n_dim")),
    "chain of no joint": (describe(kinematic_tree=[[0, 99]]), ("info.json", "99")),
    "more channels in info": (describe(n_joints=16), ("x_train_fold0.npy", "45 channels", "48")),
    "more frames in info": (describe(length_TS=50), ("x_train_fold0.npy", "45 frames", "50")),
    "NaN": (put("x_train", np.nan), ("x_train_fold0.npy", "NaN", "recording 0, channel 2, frame 10")),
    "infinity": (put("x_test", -np.inf), ("x_test_fold0.npy", "infinite", "recording 0, channel 2, frame 10")),
    "not in float32": (put("x_test", 1e300), ("x_test_fold0.npy",)),
    "range not in float64": (change("x_train", lambda x: np.where(np.arange(len(x)) % 2, 1e308, -1e308)[:, None, None] + x),
                             ("x_train_fold0.npy",)),
    "no recordings": (change("x_train", lambda x: x[:0]), ("x_train_fold0.npy", "no recordings")),
    "no test recordings": (change("x_test", lambda x: x[:0]), ("x_test_fold0.npy", "no recordings")),
    "recordings flat": (change("x_train", lambda x: x.reshape(len(x), -1)), ("x_train_fold0.npy", "shape")),
    "recordings as text": (change("x_train", lambda x: x.astype(str)), ("x_train_fold0.npy", "numbers")),
    "recordings complex": (change("x_train", lambda x: x.astype(complex)), ("x_train_fold0.npy", "complex")),
    "fewer labels": (change("y_train", lambda y: y[1:]), ("y_train_fold0.npy", "55", "56")),
    "labels in two columns": (change("y_train", lambda y: np.stack([y, y], axis=1)), ("y_train_fold0.npy", "shape")),
    "header cut": (write(X, lambda data: data[:40]), ("x_train_fold0.npy", "damaged")),
    "data cut": (write(X, lambda data: data[:-1]), ("x_train_fold0.npy", "cut short")),
    "data too long": (write(X, lambda data: data + b"."), ("x_train_fold0.npy", "longer")),
    "empty file": (write(X, lambda _: b""), ("x_train_fold0.npy", "damaged")),
    "a web page": (write(X, lambda _: b"<!DOCTYPE html><html></html>"), ("x_train_fold0.npy", "not a NumPy .npy file")),
    "a zip": (zip_as_npy, ("x_train_fold0.npy", "not a NumPy .npy file")),
    "label NaN": (change("y_train", lambda y: np.where(y == y[0], np.nan, 1)), ("y_train_fold0.npy", "NaN")),
    "label missing": (put("y_test", None, at=0), ("y_test_fold0.npy", "None")),
    "label too large": (put("y_train", 10**400, at=0), ("y_train_fold0.npy",)),
    "one class": (change("y_train", lambda y: np.full_like(y, y[0])), ("y_train_fold0.npy", "single class")),
}
DAMAGED_SCORES = {
    "score NaN": (put("y_train", np.nan, at=0), ("y_train_fold0.npy", "NaN")),
    "score in words": (change("y_train", lambda y: np.full(len(y), "good")), ("y_train_fold0.npy", "text")),
    "score not in float32": (put("y_test", 1e300, at=0), ("y_test_fold0.npy",)),
    "score too large": (change("y_train", objects(10**400)), ("y_train_fold0.npy",)),
    "highest score zero": (describe(max_score_value=0), ("info.json", "max_score_value")),
    "highest score NaN": (describe(max_score_value=np.nan), ("info.json", "max_score_value")),
    "highest score too large": (describe(max_score_value=10**400), ("info.json", "max_score_value")),
    "highest score too small": (describe(max_score_value=1e-300), ("score",)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("damage, named, dataset", [
    pytest.param(damage, named, dataset, id=name)
    for dataset, damages in ((CLASSES, DAMAGES), (SCORES, DAMAGED_SCORES))
    for name, (damage, named) in damages.items()
])
def test_damaged_data_are_refused(copy_of, damage, named, dataset):
    folder = copy_of(dataset)
    damage(folder)
    with pytest.raises(UserError) as error:
        load(folder)
    sentence(str(error.value), *named)


@pytest.mark.parametrize("name", ["recordings missing", "info not JSON", "NaN", "data cut"])
def test_the_command_says_what_python_says(copy_of, tmp_path, name):
    damage, named = DAMAGES[name]
    folder, out = copy_of(), tmp_path / "out"
    damage(folder)
    done = deeprehab("run", folder.name, "--root", folder.parents[1], "--out", out)
    refused(done, *named)
    with pytest.raises(UserError) as error:
        load(folder)
    assert done.stderr == f"deeprehab: {error.value}\n"
    assert not out.exists()


class Hostile:
    """Its pickle runs a command when it is read."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_pickle_that_runs_a_command_is_refused(copy_of, tmp_path):
    folder, marker, out = copy_of(), tmp_path / "marker", tmp_path / "out"
    change("y_train", objects(Hostile(f"touch {marker}")))(folder)
    refused(installed("run", folder.name, "--root", folder.parents[1], "--out", out), "y_train_fold0.npy", "system")
    assert not marker.exists() and not out.exists()


@pytest.mark.parametrize("dataset, options, named", [
    ("Synthetic_clf_bn_ArmRais", {}, ("'Synthetic_clf_bn_ArmRais'", f"Did you mean {CLASSES}")),
    ("KIMORE_reg_LA", {}, ("KIMORE_reg_LA is not under", "deeprehab datasets download KIMORE_reg_LA")),
    ("../classification", {}, ("'../classification'",)),
    (CLASSES, {"fold": 3}, ("folds 0 to 2", "3")),
    (CLASSES, {"fold": -1}, ("fold", "-1")),
    (CLASSES, {"epochs": 0}, ("epochs", "0")),
    (CLASSES, {"runs": 0}, ("runs", "0")),
    (CLASSES, {"batch_size": 0}, ("batch_size", "0")),
    (CLASSES, {"seed": -1}, ("seed", "-1")),
    (CLASSES, {"model": "LITEMW"}, ("'LITEMW'", "Did you mean LITEMV?")),
], ids=["unknown dataset", "absent dataset", "dataset elsewhere", "fold too high", "fold", "epochs", "runs", "batch size", "seed", "model"])
def test_impossible_parameters_are_refused(sample, tmp_path, dataset, options, named):
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    done = deeprehab("run", dataset, "--root", sample, "--out", tmp_path / "out", *arguments)
    refused(done, *named)
    with pytest.raises(UserError) as error:
        Experiment(dataset, root=sample, out=tmp_path / "out", **options).load()
    assert done.stderr == f"deeprehab: {error.value}\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fold", [3, -1, True, 0.0, "0", None])
def test_python_refuses_what_is_no_fold(sample, fold):
    with pytest.raises(UserError) as error:
        load_fold(CLASSES, fold, sample)
    sentence(str(error.value), CLASSES, "folds 0 to 2" if type(fold) is int else "whole number", repr(fold))


def test_an_output_folder_that_cannot_be_made(sample, tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    refused(deeprehab("run", CLASSES, "--root", sample, "--out", file / "out"), str(file), "cannot be written")
    assert file.read_text() == "not a folder"


def test_an_archive_that_does_not_exist(tmp_path):
    refused(deeprehab("run", "Mine_clf_bn", "--root", tmp_path / "nowhere"), str(tmp_path / "nowhere"), "does not exist")
    refused(deeprehab("run", CLASSES, "--root", tmp_path / "nowhere"), f"`deeprehab datasets sample {tmp_path / 'nowhere'}` writes it")


def as_numbers(y):
    return np.unique(y, return_inverse=True)[1].reshape(y.shape)


def in_test_too(name, change_array):
    """Return a change of both halves of the fold."""
    return lambda folder: [change(f"{name}_{half}", change_array)(folder) for half in ("train", "test")]


@pytest.mark.parametrize("stored_otherwise", [
    in_test_too("x", np.asfortranarray),
    in_test_too("x", lambda x: x.astype(">f4")),
    in_test_too("x", lambda x: np.asfortranarray(x.astype(">f4"))),
    in_test_too("y", lambda y: y.astype(">i4")),
    in_test_too("y", lambda y: y.astype(float)),
    change("y_train", lambda y: y.astype(float)),
    in_test_too("y", lambda y: y.astype(str)),
    in_test_too("y", lambda y: y.astype(">U3")),
    in_test_too("y", lambda y: y.astype(object)),
    in_test_too("y", lambda y: y.astype(bool)),
    in_test_too("y", lambda y: y[:, None]),
    change("y_test", lambda y: y[:, None].astype(object)),
    write("info.json", lambda data: data.rstrip()[:-1] + b",\n}"),
], ids=["x Fortran", "x big-endian", "x both", "y big-endian", "y float", "y float in train", "y text", "y big-endian text",
        "y objects", "y bool", "y column", "y object column", "info with a trailing comma"])
def test_the_same_content_stored_otherwise_is_read_right(copy_of, stored_otherwise):
    folder = copy_of()
    in_test_too("y", as_numbers)(folder)
    before = load(folder)
    stored_otherwise(folder)
    after = load(folder)
    assert after.digest == before.digest
    for name in ("x_train", "y_train", "x_test", "y_test"):
        assert np.array_equal(getattr(after, name), getattr(before, name))


def test_labels_as_text_objects_are_read_right(copy_of):
    folder = copy_of()
    before = load(folder)
    in_test_too("y", lambda y: y.astype(object)[:, None])(folder)
    assert load(folder).digest == before.digest


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("halves", [("train",), ("train", "test")])
@pytest.mark.parametrize("constant", [np.s_[:, 4], np.s_[:, 1::3]], ids=["channel", "coordinate"])
def test_what_never_moves_is_finite(copy_of, constant, halves):
    def hold(x):
        x[constant] = 0.25
        return x

    folder = copy_of()
    for half in halves:
        change(f"x_{half}", hold)(folder)
    fold = load(folder)
    assert np.isfinite(fold.x_train).all() and np.isfinite(fold.x_test).all()
    assert np.ptp(fold.x_train[constant]) == 0
