"""Datasets of the archive are rebuilt from a study's files: from made-up ones here, and from the real ones where they are."""

import csv
import gzip
import json
import re
import shutil

import numpy as np
import pytest
from conftest import deeprehab, installed, refused
from sklearn.metrics import f1_score
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight

from deeprehab_nb.data import load_fold, record
from deeprehab_nb.data.info import read_info
from deeprehab_nb.data.npy import read_array
from deeprehab_nb.data.rebuild import STUDIES
from deeprehab_nb.data.recordings import read_recordings
from deeprehab_nb.data.uiprmd import path_of, reduced_set
from deeprehab_nb.results.audit import fitting_sizes
from deeprehab_nb.results.published import published

IL, HS = "UIPRMD_clf_bn_IL", "UIPRMD_clf_bn_HS"
ALL = STUDIES[0].datasets


def write(path, values, sep=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(sep.join(f"{v:.6f}" for v in row) + "\n" for row in values))


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """Two exercises in the folders of UI-PRMD; what the files hold is noise."""
    study, rng = tmp_path_factory.mktemp("study") / "UI-PRMD", np.random.default_rng(0)
    for one in reduced_set():
        if one.exercise in ("IL", "HS"):
            write(path_of(study, one, "positions"), rng.normal(0, 20, (20, 66)))
            write(path_of(study, one, "angles"), rng.normal(0, 40, (20, 66)))
    return study


@pytest.fixture
def study(made_up, tmp_path):
    return shutil.copytree(made_up, tmp_path / "UI-PRMD")


def first(exercise="IL", execution="correct"):
    return next(one for one in reduced_set() if (one.exercise, one.execution) == (exercise, execution))


def test_whatever_exercises_are_there_become_datasets(made_up, tmp_path):
    done = installed("datasets", "rebuild", "--from", made_up, "--root", tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{HS} +110 +7 +7 +differs from the archive's +written", done.stdout)
    assert f"Note: {IL} is not the archive's: m03_s01_e04, " in done.stdout and "and 97 more are not as the study published." in done.stdout
    assert {path.name for path in tmp_path.glob("*/*")} == {IL, HS}
    assert deeprehab("datasets", "verify", "--root", tmp_path).stdout.count("complete") == 2
    told = deeprehab("datasets", "info", IL, "--root", tmp_path).stdout
    assert "the recordings of UI-PRMD, by recipe 1" in told and "Public Domain Dedication" in told
    trained = deeprehab("run", IL, "--model", "FCN", "--epochs", 1, "--runs", 1, "--root", tmp_path, "--out", tmp_path / "runs")
    assert trained.returncode == 0, trained.stderr
    provenance = json.loads(next((tmp_path / "runs").glob("*/*/*/FCN/provenance.json")).read_text())
    assert (provenance["rebuilt"]["study"], provenance["rebuilt"]["recipe"]) == ("UI-PRMD", "1")


def test_packed_files_and_a_dataset_by_name(study, tmp_path):
    plain = deeprehab("datasets", "rebuild", IL, "--from", study, "--root", tmp_path / "plain")
    assert plain.returncode == 0, plain.stderr
    for path in study.rglob("*.txt"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert deeprehab("datasets", "rebuild", IL, "--from", study, "--root", tmp_path / "packed").returncode == 0
    assert not list((tmp_path / "packed").glob(f"*/{HS}"))
    assert load_fold(IL, 0, tmp_path / "packed").digest == load_fold(IL, 0, tmp_path / "plain").digest


def damage_missing(study):
    path_of(study, first(), "angles").unlink()


def damage_cut_line(study):
    path = path_of(study, first(), "angles")
    path.write_text(path.read_text()[:-200])


def damage_cut_frames(study):
    path = path_of(study, first(), "positions")
    path.write_text("".join(path.read_text().splitlines(True)[:-3]))


def damage_vicon(study):
    write(path_of(study, first(), "positions"), np.ones((20, 117)))


def damage_radians(study):
    for one in reduced_set():
        if one.exercise == "IL":
            write(path_of(study, one, "angles"), np.full((20, 66), 0.7))


def damage_metres(study):
    write(path_of(study, first(), "positions"), np.full((20, 66), 0.2))


def damage_absolute(study):
    """Positions in millimetres and absolute are far from the offsets of a body."""
    write(path_of(study, first(), "positions"), np.full((20, 66), 900.0))


def damage_text(study):
    path = path_of(study, first(), "positions")
    path.write_text(path.read_text().replace("0", "o", 1))


def damage_gzip(study):
    path = path_of(study, first(), "positions")
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes())[:-20])
    path.unlink()


@pytest.mark.parametrize("damage, words", [
    (damage_missing, ["m03_s01_e04_angles.txt", "is missing"]),
    (damage_cut_line, ["m03_s01_e04_angles.txt", "line 20", "cut short"]),
    (damage_cut_frames, ["has 17 frames, but", "has 20"]),
    (damage_vicon, ["the Vicon's"]),
    (damage_radians, ["in degrees, these may be radians"]),
    (damage_metres, ["longest bone has 0.346 cm"]),
    (damage_absolute, ["longest bone has 1.56e+03 cm"]),
    (damage_text, ["line 1", "no number"]),
    (damage_gzip, ["can't be unpacked"]),
])  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_written(study, tmp_path, damage, words):
    damage(study)
    done = deeprehab("datasets", "rebuild", IL, "--from", study, "--root", tmp_path / "archive")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    said = done.stderr.splitlines()
    assert all(word in said[0] for word in words), said[0]
    assert said[-1].startswith("Nothing was written;") and len(said) <= 52
    assert not list((tmp_path / "archive").glob("*/*"))


@pytest.mark.parametrize("below", ["..", "Segmented Movements", "Segmented Movements/Kinect/Positions"])
def test_another_level_of_the_folders(study, tmp_path, below):
    refused(deeprehab("datasets", "rebuild", "--from", study / below, "--root", tmp_path / "a"), "is not the top of UI-PRMD", "name that one")


def test_angles_without_positions(study, tmp_path):
    shutil.rmtree(study / "Segmented Movements" / "Kinect" / "Positions")
    refused(deeprehab("datasets", "rebuild", "--from", study, "--root", tmp_path / "a"), "Positions is missing", "both needed")


def test_what_is_no_study_or_has_no_recipe(study, tmp_path):
    (tmp_path / "empty").mkdir()
    for args, words in {
        ("--from", tmp_path / "empty"): ["lacks Segmented Movements/Kinect"],
        ("--from", tmp_path / "none"): ["There is no folder"],
        ("UIPRMD_reg_HS", "--from", study): ["its scores were not published"],
        ("KIMORE_reg_LA", "--from", study): ["a recipe for UI-PRMD, none for Kimore"],
        ("UI-PRDM", "--from", study): ["Did you mean UI-PRMD"],
    }.items():
        refused(deeprehab("datasets", "rebuild", *args, "--root", tmp_path / "a"), *words)


@pytest.fixture(scope="module")
def real_study(recordings, tmp_path_factory):
    """The study's own files."""
    folder = tmp_path_factory.mktemp("raw")
    shutil.unpack_archive(recordings / "ui-prmd.tar.xz", folder)
    return folder


@pytest.fixture(scope="module")
def rebuilt(real_study, tmp_path_factory):
    """The eleven datasets, beside a part of a downloaded one; and what was said."""
    root = tmp_path_factory.mktemp("rebuilt")
    done = deeprehab("datasets", "rebuild", "UI-PRMD", "--from", real_study, "--root", root)
    assert done.returncode == 0, done.stderr
    return root, done.stdout


def stored(root, dataset):
    folder = root / record(dataset).task / dataset
    return read_recordings(folder, read_info(folder / "info.json"))


def test_all_eleven_are_the_archives(rebuilt):
    root, said = rebuilt
    assert said.count("equal to the archive's") == 11 and "Note" not in said
    for dataset in ALL:
        known, found = record(dataset), stored(root, dataset)
        assert found.x.shape == (known.n_samples, known.n_channels, known.n_frames)
        n_subjects = 10 if dataset.endswith("_DS") else known.n_subjects  # the paper says 5: that of its folds, each tests two
        assert len(set(found.subjects.tolist())) == n_subjects and len(found.folds) == known.n_folds


def test_a_fold_that_was_downloaded_is_met(rebuilt, recordings, real_study, tmp_path):
    served = recordings / "rehabpile_files" / "UIPRMD_reg_DS"
    found = stored(rebuilt[0], "UIPRMD_reg_DS")
    train, test = found.folds[0]
    x, y = (read_array(served / "fold0" / f"{name}_test_fold0.npy") for name in "xy")
    assert np.abs(found.x[test] - x).max() < 3e-13
    assert np.array_equal(found.y[test], y.ravel())
    assert np.array_equal(found.y[train], read_array(served / "fold0" / "y_train_fold0.npy").ravel())
    shutil.copytree(served, tmp_path / "regression" / "UIPRMD_reg_DS")
    done = deeprehab("datasets", "rebuild", "UIPRMD_reg_DS", "--from", real_study, "--root", tmp_path)
    assert "not written: was downloaded" in done.stdout and "3 of its files are equal to what was rebuilt (to 3e-13)" in done.stdout
    assert sorted(p.name for p in (tmp_path / "regression" / "UIPRMD_reg_DS").iterdir()) == ["fold0"]


def test_a_file_of_another_repetition_is_found(real_study, tmp_path):
    folder, one, other = tmp_path / "UI-PRMD", first("IL"), first("HS", "incorrect")
    shutil.copytree(real_study, folder, copy_function=lambda source, target: target if "m03" not in source else shutil.copy(source, target))
    for what in ("positions", "angles"):
        shutil.copy(path_of(real_study, other, what), path_of(folder, one, what))
    done = deeprehab("datasets", "rebuild", "--from", folder, "--root", tmp_path / "archive")
    assert done.returncode == 2 and f"hold the repetition {other.name}, another one" in done.stderr


def test_the_published_accuracies_fit_the_test_sizes(rebuilt):
    results = published().metrics
    results, n_folds = results[results.metric == "accuracy"], 0
    for dataset in ALL[:-1]:
        for fold, (_, test) in stored(rebuilt[0], dataset).folds.items():
            accuracies = results[(results.dataset == dataset) & (results.fold == fold)].value
            assert len(accuracies) == 9 and len(test) in fitting_sizes(accuracies, len(test))
            n_folds += 1
    assert n_folds == 67


def summary(x):
    step = np.diff(x, axis=2)
    return np.concatenate([x.mean(2), x.std(2), x.min(2), x.max(2), np.abs(step).mean(2), step.std(2)], axis=1)


def forest(x, y, new, n_trees=300):
    """A random forest as scikit-learn grew it before 1.8: since then, weights decide what a tree draws, not what it counts."""
    seeds, votes = check_random_state(0), np.zeros((len(new), 2))
    weights = compute_sample_weight("balanced", y)
    for _ in range(n_trees):
        seed = seeds.randint(np.iinfo(np.int32).max)
        drawn = np.bincount(check_random_state(seed).randint(0, len(y), len(y), dtype=np.int32), minlength=len(y))
        votes += DecisionTreeClassifier(max_features="sqrt", random_state=seed).fit(x, y, weights * drawn).predict_proba(new)
    return votes.argmax(axis=1)


def test_what_others_got_with_the_served_files_is_met(rebuilt, recordings):
    with (recordings.parent / "reference" / "uiprmd_third_party.csv").open(newline="") as table:
        reported = {(row["dataset"], int(row["fold"])): row["macro_f1"] for row in csv.DictReader(table) if row["model"] == "rf_summary"}
    assert len(reported) == 67
    for dataset in ALL[:-1]:
        found = stored(rebuilt[0], dataset)
        features = summary(found.x)
        for fold, (train, test) in found.folds.items():
            predicted = forest(features[train], found.y[train], features[test])
            assert f"{f1_score(found.y[test], predicted, average='macro'):.4f}" == f"{float(reported[dataset, fold]):.4f}", (dataset, fold)


def test_the_provenance_of_a_rebuilt_dataset(rebuilt):
    said = json.loads((rebuilt[0] / "classification" / HS / "info.json").read_text())
    assert said["rebuilt"] == {
        "study": "UI-PRMD", "licence": "Open Data Commons Public Domain Dedication and License 1.0",
        "licence_url": "https://opendatacommons.org/licenses/pddl/1-0/", "citation": "Vakanski et al. 2018 https://doi.org/10.3390/data3010002",
        "recipe": 1,
    }  # fmt: skip
    manifest = json.loads((rebuilt[0] / "classification" / HS / "manifest.json").read_text())
    assert set(manifest["files"]) == {"info.json", "recordings.npz"}
