"""The estimators keep aeon's and scikit-learn's contracts, compute what the experiments compute, and load files of strangers safely."""

import gc
import hashlib
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from aeon.testing.estimator_checking import parametrize_with_checks
from conftest import ENVIRONMENT, sentence
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from deeprehab_nb.data import Skeleton, load_fold
from deeprehab_nb.errors import UserError
from deeprehab_nb.experiment.run import run_experiment
from deeprehab_nb.experiment.store import Experiment
from deeprehab_nb.models.fcn import FCN
from deeprehab_nb.models.zoo import ARCHITECTURES
from deeprehab_nb.training.estimators import RehabClassifier, RehabRegressor

KINDS = (RehabClassifier, RehabRegressor)
BODY = Skeleton(n_joints=2, n_dims=1, kinematic_tree=((0, 1),))
MODELS = {  # small ones
    "FCN": {"hyperparameters": {"n_filters": (2, 2, 2)}},
    "LITEMV": {"hyperparameters": {"n_filters": 2, "kernel_size": 4}},
    "DisjointCNN": {"hyperparameters": {"n_filters": 2, "hidden_fc_units": 2}},
    "GRU": {"hyperparameters": {"hidden_units_gru": 3, "hidden_units_fc": 3}},
    "ConvLSTM": {"hyperparameters": {"n_conv_filters": 2, "kernel_size": 3, "hidden_units_lstm": 2}},
    "VanTran": {"hyperparameters": {"emb_size": 4, "dimm_ff": 4, "n_layers": 1, "num_heads": 2}},
    "ConvTran": {"hyperparameters": {"emb_size": 4, "num_heads": 2, "dimm_ff": 4, "factor_filters": 1}},
    "H-Inception": {"hyperparameters": {"n_filters": 2, "bottleneck": 2, "kernel_size": 4, "depth": 3}},
    "STGCN": {
        "hyperparameters": {"n_temporal_filters": 4, "n_bottleneck_filters": 2, "n_lstm_units": (2, 2, 2, 2)}, "skeleton": BODY,
    },
}
TINY = {"epochs": 2, "batch_size": 16, "n_runs": 1, "random_state": 0}


def tiny(kind=RehabClassifier, model="FCN", **parameters):
    return kind(model, **MODELS.get(model, {}) | TINY | parameters)


def made_up(n_cases=12, n_channels=2, n_timepoints=20, seed=0):
    """Return recordings with labels and scores; nothing may write to them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_cases, n_channels, n_timepoints))
    labels = np.where(np.arange(n_cases) % 2, "good", "poor")
    x += np.arange(n_cases)[:, None, None] % 2
    x.flags.writeable = False
    return x, labels, rng.uniform(0, 100, n_cases)


X, LABELS, SCORES = made_up()


def target(kind):
    return LABELS if kind is RehabClassifier else SCORES


def output(estimator, x=X):
    return estimator.predict_proba(x) if isinstance(estimator, RehabClassifier) else estimator.predict(x)


# aeon's own battery. Nothing that it has for such estimators is excluded. It has more for others: several threads
# (capability:multithreading; the backend has its own), a training estimate and a time limit (capability:train_estimate and
# capability:contractable; there are none), and four checks of aeon's deep learners (subclasses of its BaseDeepClassifier and
# BaseDeepRegressor, whose files and single network these estimators do not have). STGCN passes too, but is compiled for minutes;
# below it is fitted, saved and loaded like all the others.


@parametrize_with_checks([
    RehabClassifier, tiny(RehabClassifier, "LITEMV"), tiny(RehabClassifier, "GRU", skeleton=BODY),
    RehabRegressor, tiny(RehabRegressor, "GRU"), tiny(RehabRegressor, "DisjointCNN"),
])
def test_aeon_accepts_them(check):
    check()


def test_two_fits_are_one_to_the_last_bit(fitted):
    state = np.random.get_state()[1].tolist()
    assert np.array_equal(output(tiny(n_runs=2).fit(X, LABELS)), output(fitted))
    assert np.random.get_state()[1].tolist() == state


def test_the_seed_is_known():
    given = tiny(random_state=np.random.RandomState(3)).fit(X, LABELS)
    assert np.array_equal(output(given), output(tiny(random_state=np.random.RandomState(3)).fit(X, LABELS)))
    fresh = [tiny(random_state=None).fit(X, LABELS) for _ in range(2)]
    assert fresh[0].seed_ != fresh[1].seed_ and not np.array_equal(*map(output, fresh))
    assert np.array_equal(output(fresh[0]), output(tiny(random_state=fresh[0].seed_).fit(X, LABELS)))
    assert f"seed {fresh[0].seed_}" in fresh[0].summary_()


@pytest.mark.parametrize("dataset, kind", [("Synthetic_clf_mc_Squat", RehabClassifier), ("Synthetic_reg_SideBend", RehabRegressor)])
def test_an_estimator_computes_what_an_experiment_computes(sample, tmp_path, dataset, kind):
    hyperparameters, threads = {"n_filters": (4, 4, 4)}, len(os.sched_getaffinity(0))  # an estimator computes with all of them
    experiment = Experiment(
        dataset, model="FCN", root=sample, out=tmp_path, epochs=2, runs=2, batch_size=32, seed=5, hyperparameters=hyperparameters, threads=threads,
    )
    expected = run_experiment(experiment, show=lambda state: None).ensemble
    fold = load_fold(dataset, 0, sample)
    scale = {"max_score": fold.max_score} if kind is RehabRegressor else {}
    estimator = kind(
        "FCN", hyperparameters=hyperparameters, skeleton=fold.skeleton, normalise=False, epochs=2, batch_size=32, n_runs=2,
        random_state=5, **scale,
    ).fit(fold.x_train, fold.y_train if kind is RehabClassifier else fold.y_train.astype(float) * fold.max_score)
    assert np.array_equal(estimator.predict(fold.x_test), expected.predicted)
    if kind is RehabClassifier:
        assert np.array_equal(estimator.predict_proba(fold.x_test), expected.outputs)


def test_recordings_are_scaled_as_the_archive_is(sample):
    fold = load_fold("Synthetic_clf_bn_Press2D", 0, sample)
    estimator = tiny(skeleton=fold.skeleton, epochs=1).fit(fold.normalisation.invert(fold.x_train), fold.y_train)
    assert np.allclose(estimator.normalisation_.minimum, fold.normalisation.minimum)
    assert len(tiny(epochs=1).fit(X, LABELS).normalisation_.span) == X.shape[1]


@pytest.mark.parametrize("of", [
    lambda y: y, lambda y: y.astype(object), lambda y: (y == "good").astype(np.int8), lambda y: np.where(y == "good", 1.5, 0.5),
    lambda y: y == "good", lambda y: (y == "good").astype(int).astype(object), pd.Series, lambda y: pd.Series(y, dtype="category"),
    lambda y: y[:, None], lambda y: y.tolist(), lambda y: np.where(y == "good", "ä\n", ""), lambda y: np.where(y == "good", -(2**62), 2**62),
], ids=["text", "objects", "int8", "halves", "truth", "numbers as objects", "series", "category", "column", "list", "odd text", "large"])
def test_labels_may_be_of_any_type(tmp_path, of):
    y = of(LABELS)
    estimator = tiny(epochs=1).fit(X, y)
    known = np.unique(np.asarray(y))
    assert estimator.classes_.dtype == known.dtype and estimator.classes_.tolist() == known.tolist()
    estimator.save(tmp_path / "file")
    for one in (estimator, RehabClassifier.load(tmp_path / "file")):
        predicted = one.predict(X)
        assert predicted.dtype == known.dtype and set(predicted.tolist()) <= set(known.tolist())
        assert one.classes_.tolist() == known.tolist()


def test_scores_are_clipped_only_where_the_scale_has_an_end():
    far = X + 50 * np.sign(np.arange(len(X)) - 5)[:, None, None]
    bounded, free = tiny(RehabRegressor, max_score=100, n_runs=2).fit(X, SCORES), tiny(RehabRegressor).fit(X, SCORES)
    assert bounded.score_range_ == (0, 100) and free.score_range_ == (SCORES.min(), SCORES.max())
    assert 0 <= bounded.predict(far).min() <= bounded.predict(far).max() <= 100
    raw = np.mean([o.clip(0, 1) for o in bounded._outputs(far)], axis=0)[:, 0]
    assert np.allclose(bounded.predict(far), 100 * raw)
    before = free.predict(far)
    assert np.array_equal(free.set_params(max_score=1).predict(far), before)  # what was learned does not change
    assert tiny(RehabRegressor).fit(X, np.full(len(X), 7.0)).predict(X).shape == (len(X),)  # nothing to learn, no division by 0
    assert tiny(RehabRegressor).fit(X, np.arange(len(X)) % 2).predict(X).shape == (len(X),)


def test_history_and_summary():
    estimator = tiny(epochs=3, n_runs=2).fit(X, LABELS)
    assert [len(history.epochs) for history in estimator.history_] == [3, 3]
    for history in estimator.history_:
        assert history.best_loss == min(epoch.loss for epoch in history.epochs) and history.epochs[0].learning_rate == 1e-3
    for fact in ("RehabClassifier: FCN(", "12 recordings, 2 channels, 20 frames", "2 classes: good, poor", "2 runs", "of 3"):
        assert fact in estimator.summary_()
    assert "scores from 0 to 100" in tiny(RehabRegressor, max_score=100).fit(X, SCORES).summary_()


# the tools of scikit-learn


PERSON = np.arange(len(X)) // 2


@pytest.mark.parametrize("kind", KINDS)
def test_cross_validation(kind):
    estimator = tiny(kind)
    scores = cross_val_score(estimator, X, target(kind), groups=PERSON, cv=GroupKFold(2), error_score="raise")
    assert scores.shape == (2,) and np.isfinite(scores).all() and not estimator.is_fitted


@pytest.mark.parametrize("model", MODELS)
def test_one_fit_after_another_leaves_nothing_behind(model):
    def left():
        tiny(model=model).fit(X, LABELS).predict(X)
        gc.collect()
        return sum(type(each).__name__ == "FuncGraph" for each in gc.get_objects())  # TensorFlow's: what is compiled, which holds the weights

    assert left() == left()


def test_cross_validation_where_a_fold_has_one_class():
    groups = np.where(LABELS == "good", 0, PERSON % 2 + 1)
    keep = np.flatnonzero((groups != 1) | (PERSON > 1))
    scores = cross_val_score(
        tiny(epochs=1), np.concatenate([X, X[keep]]), np.concatenate([LABELS, LABELS[keep]]),
        groups=np.concatenate([np.full(len(X), 9), groups[keep]]), cv=LeaveOneGroupOut(), error_score="raise",
    )
    assert np.isfinite(scores).all()


def test_probabilities_by_cross_validation():
    probabilities = cross_val_predict(tiny(), X, LABELS, cv=2, method="predict_proba")
    assert probabilities.shape == (len(X), 2) and np.allclose(probabilities.sum(axis=1), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_in_a_pipeline(kind):
    pipeline = Pipeline([("centre", FunctionTransformer(lambda x: x - x[:, :, :1])), ("network", tiny(kind))])
    grid = [
        {"network__epochs": [1]},
        {"network__model": ["LITEMV"], "network__hyperparameters": [MODELS["LITEMV"]["hyperparameters"]]},
    ]
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, target(kind))
    assert len(search.cv_results_["params"]) == 2 and np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == (len(X),)
    assert search.best_estimator_["network"].is_fitted and not pipeline["network"].is_fitted


@pytest.mark.parametrize("kind", KINDS)
def test_a_clone_has_the_parameters_and_nothing_else(kind):
    estimator = tiny(kind, skeleton=BODY).fit(X, target(kind))
    again = clone(estimator)
    assert again.get_params() == estimator.get_params() and not again.is_fitted
    with pytest.raises(NotFittedError):
        again.predict(X)
    for method in (again.summary_, lambda: again.save("nowhere")):
        with pytest.raises(NotFittedError):
            method()


# what is refused


def with_value(value, at=(3, 1, 7)):
    x = X.copy()
    x[at] = value
    return x


IMPOSSIBLE = {
    "unknown model": ({"model": "LITEMW"}, X, LABELS, "LITEMV"),
    "model of another type": ({"model": ["FCN"]}, X, LABELS, "['FCN']"),
    "unknown hyperparameter": ({"hyperparameters": {"n_filter": 3}}, X, LABELS, "n_filters"),
    "impossible hyperparameter": ({"hyperparameters": {"n_filters": (2, 0, 2)}}, X, LABELS, "0"),
    "hyperparameters as text": ({"hyperparameters": "n_filters=2"}, X, LABELS, "dict"),
    "skeleton of another type": ({"skeleton": {"n_joints": 2}}, X, LABELS, "Skeleton"),
    "skeleton of another size": ({"skeleton": Skeleton(3, 3)}, X, LABELS, "9 channels"),
    "no skeleton": ({"model": "STGCN", "hyperparameters": None}, X, LABELS, "needs a skeleton with a kinematic tree"),
    "skeleton without bones": ({"model": "STGCN", "hyperparameters": None, "skeleton": Skeleton(2, 1)}, X, LABELS, "kinematic tree"),
    "normalise": ({"normalise": "yes"}, X, LABELS, "True or False"),
    **{f"{name} {value!r}": ({name: value}, X, LABELS, name)
       for name in ("epochs", "batch_size", "n_runs") for value in (0, -1, 1.5, "3", None, True, float("nan"))},
    **{f"random_state {value!r}": ({"random_state": value}, X, LABELS, "random_state") for value in (-1, 0.5, "0", True)},
    "NaN": ({}, with_value(np.nan), LABELS, "recording 3, channel 1, frame 7"),
    "infinite": ({}, with_value(np.inf), LABELS, "recording 3"), "too large": ({}, with_value(1e300), LABELS, "recording 3"),
    "two dimensions": ({}, X[0], LABELS, "(2, 20)"), "four dimensions": ({}, X[None], LABELS, "(1, 12, 2, 20)"),
    "no recordings": ({}, X[:0], LABELS[:0], "(0, 2, 20)"), "no frames": ({}, X[:, :, :0], LABELS, "(12, 2, 0)"),
    "empty list": ({}, [], [], "(0,)"), "text": ({}, X.astype(str), LABELS, "numbers"), "objects": ({}, X.astype(object), LABELS, "object"),
    "a table": ({}, pd.DataFrame(X[:, 0]), LABELS, "DataFrame"), "nothing": ({}, None, LABELS, "NoneType"),
    "unequal lengths": ({}, [*X[:11], X[11][:, :5]], LABELS, "(2, 5)"),
    "one class": ({}, X, np.full(12, "good"), "'good'"), "too few labels": ({}, X, LABELS[:5], "5 labels for 12"),
    "two labels each": ({}, X, np.stack([LABELS, LABELS], 1), "(12, 2)"), "a label too few": ({}, X, [None, *LABELS[1:]], "labels"),
    "too long": ({}, np.zeros((12, 1, 10_001)), LABELS, "10,000"),
}


@pytest.mark.parametrize("parameters, x, y, named", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_be_learned_from_is_refused(parameters, x, y, named):
    with pytest.raises(UserError) as error:
        tiny().set_params(**parameters).fit(x, y)
    sentence(str(error.value), named)


@pytest.mark.parametrize("max_score, y, named", [
    (0, SCORES, "max_score"), (-1, SCORES, "max_score"), (float("nan"), SCORES, "max_score"), ("100", SCORES, "max_score"),
    (True, SCORES, "max_score"), (10, SCORES, "max_score = 10"), (100, SCORES - 200, "between 0"), (None, LABELS, "numbers"),
    (None, SCORES[:5], "5 scores for 12"), (None, [np.nan, *SCORES[1:]], "NaN"), (None, SCORES + 1j, "numbers"),
])
def test_what_cannot_be_a_score_is_refused(max_score, y, named):
    with pytest.raises(UserError) as error:
        tiny(RehabRegressor, max_score=max_score).fit(X, y)
    sentence(str(error.value), named)


def test_too_short_recordings_are_refused(monkeypatch):
    monkeypatch.setattr(FCN, "min_timepoints", 21)
    with pytest.raises(UserError) as error:
        tiny().fit(X, LABELS)
    sentence(str(error.value), "at least 21 frames", "20")


@pytest.mark.parametrize("x, named", [
    (X[:, :1], "1 channels"), (X[:, :, :7], "7 frames"), (X[0], "(2, 20)"), (with_value(np.nan), "NaN"), (X[:0], "(0, 2, 20)"),
])
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_what_does_not_fit_is_not_predicted(fitted, method, x, named):
    with pytest.raises(UserError) as error:
        getattr(fitted, method)(x)
    sentence(str(error.value), named)


# files


@pytest.fixture(scope="module")
def fitted():
    return tiny(n_runs=2).fit(X, LABELS)


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "classifier"
    fitted.save(path)
    return path


def test_a_fresh_process_predicts_the_same(tmp_path):
    np.save(tmp_path / "x.npy", X)
    assert MODELS.keys() == ARCHITECTURES.keys()
    estimators = {f"RehabClassifier-{model}": tiny(model=model).fit(X, LABELS) for model in MODELS}
    estimators["RehabRegressor-scaled"] = tiny(RehabRegressor, max_score=100, skeleton=BODY, normalise=False, n_runs=2).fit(X, SCORES)
    for name, estimator in estimators.items():
        estimator.save(tmp_path / "folder" / name)
    code = f"""
from pathlib import Path
import numpy as np
from deeprehab_nb.training import estimators
folder = Path({str(tmp_path)!r})
x = np.load(folder / "x.npy")
for path in sorted((folder / "folder").iterdir()):
    estimator = getattr(estimators, path.name.split("-")[0]).load(path)
    np.savez(folder / (path.name + ".npz"), predicted=estimator.predict(x), summary=estimator.summary_(), parameters=repr(estimator.get_params()))
"""
    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=True)
    for name, estimator in estimators.items():
        with np.load(tmp_path / f"{name}.npz", allow_pickle=False) as there:
            here = estimator.predict(X)
            assert there["predicted"].dtype == here.dtype and np.array_equal(there["predicted"], here)
            assert there["summary"] == estimator.summary_() and there["parameters"] == repr(estimator.get_params())


def test_all_that_was_known_is_loaded(fitted, saved, tmp_path):
    loaded = RehabClassifier.load(saved)
    assert loaded.history_ == fitted.history_ and loaded.versions_ == fitted.versions_ and loaded.seed_ == 0
    assert loaded.normalisation_ == fitted.normalisation_ and loaded.metadata_ == fitted.metadata_ and loaded.is_fitted
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()
    assert np.array_equal(output(loaded.fit(X, LABELS)), output(fitted))  # it can be fitted anew
    with zipfile.ZipFile(io.BytesIO(saved.read_bytes().split(b"\n", 1)[1])) as archive:
        assert archive.namelist() == ["estimator.json", "run0.npz", "run1.npz"]
        with np.load(archive.open("run1.npz"), allow_pickle=False) as weights:
            assert weights["0.npy"].dtype == np.float32


def test_a_changed_parameter_does_not_change_what_was_learned(tmp_path):
    estimator = tiny(random_state=np.random.RandomState(0)).fit(X, LABELS)
    expected = output(estimator)
    estimator.set_params(model="LITEMV", hyperparameters=None, epochs=7)
    estimator.save(tmp_path / "file")
    loaded = RehabClassifier.load(tmp_path / "file")
    assert np.array_equal(output(loaded), expected) and loaded.epochs == 7 and loaded.random_state == estimator.seed_


def test_the_other_kind_is_refused(saved, tmp_path):
    with pytest.raises(UserError) as error:
        RehabRegressor.load(saved)
    sentence(str(error.value), str(saved), "RehabClassifier.load")


def test_a_folder_is_not_replaced(fitted, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "precious").touch()
    for path in (tmp_path / "results", tmp_path / "results" / "precious" / "file"):
        with pytest.raises(UserError) as error:
            fitted.save(path)
        sentence(str(error.value), str(tmp_path / "results"))
    assert (tmp_path / "results" / "precious").exists()


def refuses(path, *named):
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        RehabClassifier.load(path)
    sentence(str(error.value), str(path), *named)
    assert time.monotonic() - start < 10


def test_a_file_altered_by_one_byte_is_refused(saved, tmp_path):
    content = saved.read_bytes()
    places = {*range(110), *range(110, len(content), max(1, len(content) // 200)), *range(len(content) - 40, len(content))}
    path = tmp_path / "altered"
    for place in sorted(places):
        for bit in (0, 5, 7):
            altered = bytearray(content)
            altered[place] ^= 1 << bit
            path.write_bytes(altered)
            refuses(path)


def test_a_file_cut_short_or_made_longer_is_refused(saved, tmp_path):
    content, path = saved.read_bytes(), tmp_path / "other"
    for length in [*range(0, 110, 3), *range(110, len(content), len(content) // 50), len(content) - 1]:
        path.write_bytes(content[:length])
        refuses(path)
    path.write_bytes(content + b"\0")
    refuses(path, "altered")


def test_what_is_no_file_is_refused(tmp_path):
    refuses(tmp_path / "missing", "missing")
    refuses(tmp_path)
    (tmp_path / "empty").touch()
    refuses(tmp_path / "empty", "empty")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10 * 2**30)
    refuses(tmp_path / "sparse", "more than")


def seal(rest):
    """Write a first line that is true, which anybody can do."""
    return b"deeprehab-nb estimator, format 1 " + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def zipped(members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def npy(array=None, **header):
    stream = io.BytesIO()
    if array is not None:
        np.save(stream, array)
    else:
        np.lib.format.write_array_header_1_0(stream, {"fortran_order": False} | header)
    return stream.getvalue()


@pytest.fixture
def parts(saved):
    """What is in the file: the description and the arrays of each run."""
    with zipfile.ZipFile(io.BytesIO(saved.read_bytes().split(b"\n", 1)[1])) as archive:
        runs = [zipfile.ZipFile(io.BytesIO(archive.read(f"run{k}.npz"))) for k in range(2)]
        return json.loads(archive.read("estimator.json")), [{n: run.read(n) for n in run.namelist()} for run in runs]


def assembled(described, runs):
    text = described if isinstance(described, bytes) else json.dumps(described).encode()
    return seal(zipped([("estimator.json", text), *((f"run{k}.npz", zipped(run.items())) for k, run in enumerate(runs))]))


def put(*keys_and_value):
    """Return a change of the description: the value at some keys is replaced, or taken away where it is `put`."""
    *keys, last, value = keys_and_value

    def change(described, runs):
        place = described
        for key in keys:
            place = place[key]
        if value is put:
            del place[last]
        else:
            place[last] = value
        return described, runs

    return change


def array(content, name="0.npy", run=0):
    """Return a change of the weights; None takes an array away."""

    def change(described, runs):
        runs[run].pop(name, None)
        if content is not None:
            runs[run][name] = content
        return described, runs

    return change


def text(content):
    return lambda described, runs: (content, runs)


HOSTILE = {
    **{f"no {key}": put(key, put) for key in (
        "estimator", "parameters", "network", "normalisation", "targets", "n_cases", "seed", "history", "versions")},
    **{f"no {key} of the network": put("network", key, put) for key in (
        "model", "hyperparameters", "n_timepoints", "n_channels", "n_classes", "skeleton")},
    **{f"{key} is {value!r}": put(key, value) for key in ("parameters", "network", "targets", "history", "versions", "seed", "n_cases")
       for value in (None, [], "text", 1.5, -1)},
    "another class": put("estimator", "os.system"), "class of another type": put("estimator", ["RehabClassifier"]),
    "unknown model": put("network", "model", "LITEMW"), "model as a path": put("network", "model", "os:system"),
    "unknown parameter": put("parameters", "callback", "os.system"), "impossible parameter": put("parameters", "epochs", -1),
    "unknown hyperparameter": put("network", "hyperparameters", "filters", 3), "hyperparameters as text": put("network", "hyperparameters", "x"),
    "many joints": put("network", "skeleton", {"n_joints": 10**5, "n_dims": 1, "kinematic_tree": []}),
    "another model": put("network", "model", "LITEMV"), "other filters": put("network", "hyperparameters", "n_filters", [2, 2, 3]),
    "huge filters": put("network", "hyperparameters", "n_filters", [999_999] * 3),
    "many huge filters": put("network", "hyperparameters", "n_filters", [10**12] * 3),
    "huge kernels": put("network", "hyperparameters", "kernel_sizes", [10**6] * 3),
    "number of 30 digits": put("network", "hyperparameters", "kernel_sizes", [10**30] * 3),
    **{f"{key} {value!r}": put("network", key, value) for key in ("n_timepoints", "n_channels", "n_classes")
       for value in (0, -1, 10**5, 10**9, 10**30, 1.5, "2", None, [2])},
    "skeleton of another size": put("network", "skeleton", {"n_joints": 10**9, "n_dims": 10**9, "kinematic_tree": []}),
    "skeleton of another type": put("network", "skeleton", [1]), "skeleton with more": put("network", "skeleton", {"n_joints": 2, "n": 1}),
    "scaling of other channels": put("normalisation", "span", [1.0] * 3), "scaling by zero": put("normalisation", "span", [0.0, 1.0]),
    "scaling by NaN": put("normalisation", "minimum", [float("nan"), 0.0]), "scaling by text": put("normalisation", "span", "ab"),
    "classes out of order": put("targets", "classes", ["poor", "good"]), "a class twice": put("targets", "classes", ["good", "good"]),
    "three classes": put("targets", "classes", ["a", "b", "c"]), "classes as text": put("targets", "classes", "ab"),
    "no class": put("targets", "classes", []), "nested classes": put("targets", "classes", [["a"], ["b"]]),
    "mixed classes": put("targets", "classes", ["a", 1]), "classes of another type": put("targets", "dtype", "<i8"),
    **{f"classes as {dtype}": put("targets", "dtype", dtype) for dtype in ("<U500000000", "|V8", "<M8[s]", "|S4", "x", "i4,O", 7, "<U0", "<U1")},
    "history of nothing": put("history", 0, "epochs", []), "best epoch of none": put("history", 0, "best_epoch", 99),
    "loss as text": put("history", 0, "epochs", 0, "loss", "low"), "loss NaN": put("history", 0, "epochs", 0, "loss", float("nan")),
    "epoch with more": put("history", 0, "epochs", 0, "more", 1), "a history too few": lambda d, runs: (d | {"history": d["history"][:1]}, runs),
    "a run too few": lambda described, runs: (described, runs[:1]), "no runs": lambda described, runs: (described, []),
    "an array too few": array(None), "an array too many": array(npy(np.zeros(3)), "24.npy"), "array of another name": array(b"", "../0.npy"),
    "another shape": array(npy(np.zeros((8, 2, 3), np.float32))), "another type": array(npy(np.zeros((8, 2, 2)))),
    "NaN": array(npy(np.full((8, 2, 2), np.nan, np.float32))),
    "objects": array(npy(np.array([{"a": 1}], object))), "text for an array": array(b"text"), "nothing for an array": array(b""),
    "huge array": array(npy(descr="<f4", shape=(10**12,))), "huge header": array(b"\x93NUMPY\x01\x00\xff\xff" + b"9" * 65535),
    "negative sizes": array(npy(descr="<f4", shape=(-8, -2, 2)) + bytes(128)), "65 dimensions": array(npy(descr="<f4", shape=(1,) * 65) + bytes(4)),
    "nothing of huge size": array(npy(descr="<f4", shape=(0, 2**62, 2**62))), "run in a header": array(b"\x93NUMPY\x01\x00\x10\x00open('marker')   "),
    "no JSON": text(b"text"), "bytes": text(b"\xff" * 100), "a list": text(b"[]"), "nothing": text(b""),
    "nested lists": text(b"[" * 10**6), "nested objects": text(b'{"a":' * 10**6), "many digits": text(b'{"estimator": 1' + b"0" * 10**5 + b"}"),
    "nested parameters": put("parameters", "hyperparameters", {"n_filters": [[[[2]]]]}),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_with_a_true_digest_is_refused(tmp_path, parts, change, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hostile"
    path.write_bytes(assembled(*change(*parts)))
    refuses(path)
    assert list(tmp_path.iterdir()) == [path]


def bomb(size):
    return zipped([("estimator.json", b"{}"), ("run0.npz", bytes(size))], zipfile.ZIP_DEFLATED)


def lying(rest):
    """Overwrite each size in an archive's directory with a huge one."""
    at = rest.index(b"PK\x01\x02")
    return rest[: at + 20] + (2**31).to_bytes(4, "little") * 2 + rest[at + 28 :]


ARCHIVES = {
    "no archive": b"text", "nothing": b"", "empty archive": zipped([]), "a bomb": bomb(200 * 2**20), "no description": zipped([("run0.npz", b"")]),
    "a path": zipped([("../../estimator.json", b"{}"), ("/tmp/run0.npz", b"")]), "a description alone": zipped([("estimator.json", b"{}")]),
    "another member": zipped([("estimator.json", b"{}"), ("evil.py", b"")]), "no arrays": zipped([("estimator.json", b"{}"), ("run0.npz", b"text")]),
    "a bomb within": zipped([("estimator.json", b"{}"), ("run0.npz", zipped([("0.npy", bytes(2 * 10**8))], zipfile.ZIP_DEFLATED))]),
    "a lie about a size": lying(zipped([("estimator.json", b"{}"), ("run0.npz", zipped([]))])),
    "many members": zipped([(f"run{k}.npz", b"") for k in range(2000)]),
    "cut": zipped([("estimator.json", b"{}"), ("run0.npz", zipped([]))])[:-30],
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("rest", ARCHIVES.values(), ids=ARCHIVES)
def test_a_hostile_archive_is_refused(tmp_path, rest):
    (tmp_path / "hostile").write_bytes(seal(rest))
    refuses(tmp_path / "hostile")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_given_twice_is_refused(tmp_path, parts):
    described = json.dumps(parts[0]).encode()
    runs = [(f"run{k}.npz", zipped(run.items())) for k, run in enumerate(parts[1])]
    (tmp_path / "right").write_bytes(seal(zipped([("estimator.json", described), *runs])))
    assert RehabClassifier.load(tmp_path / "right").is_fitted
    (tmp_path / "twice").write_bytes(seal(zipped([("estimator.json", described), ("estimator.json", described), *runs])))
    refuses(tmp_path / "twice")


def test_a_refused_file_leaves_nothing_behind(fitted, saved, tmp_path, parts):
    from deeprehab_nb.backend import keras

    before = keras.layers.Layer.add_weight
    (tmp_path / "hostile").write_bytes(assembled(*HOSTILE["huge filters"](*parts)))
    refuses(tmp_path / "hostile")
    assert keras.layers.Layer.add_weight is before
    assert np.array_equal(output(RehabClassifier.load(saved)), output(fitted))


def test_nothing_slow_is_loaded_before_it_is_needed(saved, tmp_path):
    (tmp_path / "altered").write_bytes(saved.read_bytes() + b"\0")
    code = f"""
import sys, pickle
from deeprehab_nb.errors import UserError
from deeprehab_nb.training.estimators import RehabClassifier, RehabRegressor
pickle.loads(pickle.dumps(RehabClassifier().clone())), RehabRegressor().get_tags(), repr(RehabRegressor())
for path in {str(saved)!r}, {str(tmp_path / "altered")!r}:
    try:
        RehabRegressor.load(path)
    except UserError:
        print("refused")
print(*sorted({{"keras", "tensorflow", "jax", "torch", "matplotlib", "plotly"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == "refused\nrefused\n\n"
    assert done.stderr == ""


def test_the_chain_of_joints_survives(tmp_path):
    chain = Skeleton(4, 1, tuple(pairwise(range(4))))
    x, labels, _ = made_up(n_channels=4)
    tiny(skeleton=chain, epochs=1).fit(x, labels).save(tmp_path / "file")
    assert RehabClassifier.load(tmp_path / "file").skeleton == chain
