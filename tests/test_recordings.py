"""Published files are converted once: each recording is there once, nothing is lost, and no pickle is left."""

import json
import os
import shutil
import time

import numpy as np
import pytest
from conftest import change, deeprehab, installed, load, refused, sentence

from deeprehab_nb.data import load_fold, local_datasets
from deeprehab_nb.data.info import read_info
from deeprehab_nb.data.layout import STORE
from deeprehab_nb.data.npy import write_arrays
from deeprehab_nb.data.recordings import Recordings, convert, local_folds, read_recordings, write_recordings
from deeprehab_nb.errors import UserError
from deeprehab_nb.files import sha256

CLASSES, PRESS, SCORES = "Synthetic_clf_bn_ArmRaise", "Synthetic_clf_bn_Press2D", "Synthetic_reg_SideBend"


def digests(folder):
    return {fold: load(folder, fold).digest for fold in local_folds(folder)}


def imported(folder, *options):
    done = deeprehab("datasets", "import", folder.name, "--root", folder.parents[1], *options)
    assert done.returncode == 0, done.stderr
    return done


def verified(folder):
    """Return the state that `deeprehab datasets verify` prints, and what it says on stderr."""
    done = deeprehab("datasets", "verify", folder.name, "--root", folder.parents[1])
    assert "Traceback" not in done.stderr
    state = next(line.split()[1] for line in done.stdout.splitlines() if line.split()[:1] == [folder.name])
    assert done.returncode == (0 if state == "complete" else 1)
    for line in done.stderr.splitlines():
        sentence(line)
    return state, done.stderr


def as_objects(folder):
    """Store the labels of the first fold as the paper's archive does: as a pickle."""
    for half in ("train", "test"):
        change(f"y_{half}", lambda y: y.astype(object).reshape(-1, 1))(folder)


def in_aeons_layout(folder):
    for fold in local_folds(folder):
        (folder / f"fold{fold}").rename(folder / str(fold))


@pytest.mark.parametrize("dataset", [CLASSES, PRESS, "Synthetic_clf_mc_Squat", SCORES])
@pytest.mark.parametrize("prepare", [lambda folder: None, as_objects, in_aeons_layout], ids=["as it is", "pickles", "aeon's layout"])
def test_nothing_is_lost_and_the_originals_can_go(copy_of, dataset, prepare):
    folder = copy_of(dataset)
    prepare(folder)
    before, published = digests(folder), sum(path.stat().st_size for path in folder.rglob("*.npy"))
    imported(folder, "--delete-originals")
    assert sorted(path.name for path in folder.iterdir()) == ["info.json", "manifest.json", STORE]
    assert len(before) == 3 and digests(folder) == before
    assert (folder / STORE).stat().st_size < 0.4 * published
    with np.load(folder / STORE, allow_pickle=False) as plain:
        assert len(plain["x"]) == len(np.unique(plain["x"], axis=0)) == 84
    assert verified(folder) == ("complete", "")


def test_real_recordings_are_converted(real, tmp_path):
    root = shutil.copytree(real, tmp_path / "real")
    folders = [root / task / name for name, task in local_datasets(root).items()]
    before = [digests(folder) for folder in folders]
    done = deeprehab("datasets", "import", "--root", root, "--delete-originals")
    assert done.returncode == 0 and "Note" not in done.stdout, done.stdout
    assert [digests(folder) for folder in folders] == before
    assert not list(root.rglob("*.npy"))


def test_converting_again_gives_the_same_bytes(copy_of):
    folder = copy_of()
    imported(folder)
    first = sha256(folder / STORE)
    imported(folder)
    assert sha256(folder / STORE) == first


def test_the_manifest_knows_the_converted_file(copy_of):
    folder = copy_of()
    imported(folder)
    entry = json.loads((folder / "manifest.json").read_text())["files"][STORE]
    assert (entry["sha256"], entry["size"]) == (sha256(folder / STORE), (folder / STORE).stat().st_size)


DAMAGES = {
    "NaN": (change("x_train", lambda x: np.where(np.arange(len(x))[:, None, None] == 3, np.nan, x)), "x_train_fold0.npy"),
    "label missing": (change("y_test", lambda y: y[1:]), "y_test_fold0.npy"),
    "text in one fold and numbers in another": (
        lambda folder: [change(f"y_{half}", lambda y: (y == y[0]).astype(int))(folder) for half in ("train", "test")], "text in fold 2"),
}


@pytest.mark.parametrize("damage, named", DAMAGES.values(), ids=DAMAGES)
def test_what_cannot_be_right_is_not_converted(copy_of, damage, named):
    folder = copy_of()
    damage(folder)
    done = deeprehab("datasets", "import", folder.name, "--root", folder.parents[1], "--delete-originals")
    assert done.returncode == 1
    sentence(done.stderr.strip(), named)
    assert not (folder / STORE).exists() and len(list(folder.rglob("*.npy"))) == 12


def test_a_bad_dataset_does_not_stop_the_others(sample, tmp_path):
    root = shutil.copytree(sample, tmp_path / "archive")
    (root / "classification" / CLASSES / "fold1" / "x_test_fold1.npy").write_bytes(b"no array")
    done = installed("datasets", "import", "--root", root)
    assert done.returncode == 1
    sentence(done.stderr.strip(), "x_test_fold1.npy")
    assert len(list(root.rglob(STORE))) == 3


def test_what_a_network_would_be_tested_on_in_training_is_noted(copy_of):
    folder = copy_of()
    stolen = np.load(folder / "fold0" / "x_train_fold0.npy")[5]
    label = np.load(folder / "fold0" / "y_train_fold0.npy")[5]
    change("x_test", lambda x: np.concatenate([x[:-1], stolen[None]]))(folder)
    change("y_test", lambda y: np.concatenate([y[:-1], [label]]))(folder)
    assert "In fold 0, 1 recording to test with is in training too." in imported(folder).stdout


def test_a_file_that_changed_after_it_was_converted(copy_of):
    folder = copy_of()
    imported(folder)
    change("y_train", lambda y: y[::-1])(folder)
    with pytest.raises(UserError) as error:
        load(folder)
    sentence(str(error.value), "y_train_fold0.npy", f"deeprehab datasets import {folder.name}")
    state, said = verified(folder)
    assert state == "changed" and "y_train_fold0.npy" in said
    assert load(folder, 1)  # the other folds are as they were
    imported(folder)
    assert load(folder)


def test_a_copy_with_other_dates_is_no_change(copy_of):
    folder = copy_of()
    imported(folder)
    later = time.time() + 100
    for path in folder.rglob("*.npy"):
        os.utime(path, (later, later))
    assert verified(folder) == ("complete", "")


@pytest.mark.parametrize("damage, state, named", [
    (lambda folder: (folder / "info.json").unlink(), "missing", "info.json"),
    (lambda folder: (folder / "fold1" / "x_train_fold1.npy").unlink(), "missing", "x_train_fold1.npy"),
    (lambda folder: os.truncate(folder / "fold2" / "y_test_fold2.npy", 100), "corrupt", "y_test_fold2.npy"),
    (lambda folder: (folder / "info.json").write_text("{"), "corrupt", "info.json"),
    (lambda folder: (folder / "manifest.json").write_text("{}"), "corrupt", "manifest.json"),
    (lambda folder: (folder / "manifest.json").write_text('{"format": 1, "files": {"../../secret": {}}}'), "corrupt", "manifest.json"),
], ids=["no info", "no recordings", "cut", "no JSON", "no manifest", "manifest of other files"])
def test_verify_tells_what_is_wrong(copy_of, damage, state, named):
    folder = copy_of()
    damage(folder)
    found, said = verified(folder)
    assert found == state and named in said


def test_verify_tells_what_was_changed_since_it_was_recorded(copy_of):
    folder = copy_of()
    imported(folder)
    recordings = read_recordings(folder, read_info(folder / "info.json"))
    arrays = {"x": recordings.x + 1, "y": recordings.y}
    arrays |= {f"{half}_{k}": part for k, parts in recordings.folds.items() for half, part in zip(("train", "test"), parts)}
    write_arrays(folder / STORE, arrays)
    state, said = verified(folder)
    assert state == "changed" and STORE in said


def test_verify_writes_what_is_known_of_all_files(copy_of, tmp_path):
    folder = copy_of()
    imported(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["info.json"] = {"sha256": sha256(folder / "info.json"), "size": (folder / "info.json").stat().st_size}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = installed("datasets", "verify", "--root", folder.parents[1], "--manifest", tmp_path / "all.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "all.json").read_text())["datasets"] == {folder.name: {"info.json": manifest["files"]["info.json"]}}


def test_there_is_nothing_to_do(tmp_path):
    for command in ("verify", "import"):
        refused(deeprehab("datasets", command, "--root", tmp_path), str(tmp_path))
        refused(deeprehab("datasets", command, "Synthetic_clf_bn_Arm", "--root", tmp_path), "'Synthetic_clf_bn_Arm'")


STORED = {
    "a fold names nothing": dict(test_0=np.array([7])),
    "a negative number": dict(test_0=np.array([-1])),
    "numbers as floats": dict(train_0=np.array([0.0])),
    "half a fold": dict(train_1=np.array([0])),
    "an odd fold": {"train_x": np.array([0]), "test_x": np.array([0])},
    "an empty fold": dict(test_0=np.array([], dtype=np.int64)),
    "recordings of another size": dict(x=np.zeros((4, 3, 5))),
    "too few labels": dict(y=np.array([0, 1])),
    "subjects of others": dict(subjects=np.array(["a"])),
    "sources of no kind": dict(sources=np.array([1])),
    "a label that is none": dict(y=np.array([0, 1, np.nan, 1])),
}


@pytest.mark.parametrize("wrong", STORED.values(), ids=STORED)
def test_a_converted_file_is_not_believed(tmp_path, wrong):
    folder = tmp_path / "classification" / "Mine"
    folder.mkdir(parents=True)
    (folder / "info.json").write_text('{"length_TS": 5, "n_joints": 2, "dim": 2}')
    right = dict(x=np.arange(80.0).reshape(4, 4, 5), y=np.array([0, 1, 0, 1]), train_0=np.array([0, 1, 2]), test_0=np.array([3]))
    write_arrays(folder / STORE, right)
    assert load_fold("Mine", 0, tmp_path).n_classes == 2
    write_arrays(folder / STORE, right | wrong)
    with pytest.raises(UserError) as error:
        load_fold("Mine", 0, tmp_path)
    sentence(str(error.value), str(folder / STORE))


def test_a_dataset_that_never_was_npy(tmp_path):
    """What a program writes by `write_recordings` is a dataset like any other."""
    folder = tmp_path / "regression" / "Mine"
    folder.mkdir(parents=True)
    (folder / "info.json").write_text('{"length_TS": 5, "n_joints": 2, "dim": 2}')
    mine = Recordings(np.arange(120.0).reshape(6, 4, 5), np.linspace(0, 100, 6), {0: (np.arange(4), np.arange(4, 6))}, np.array(list("aabbcc")))
    write_recordings(folder, mine)
    assert load_fold("Mine", 0, tmp_path).y_test.tolist() == pytest.approx([0.8, 1.0])
    with pytest.raises(UserError) as error:
        convert(folder)
    sentence(str(error.value), str(folder))


def recorded(folder):
    """Record all published files in the manifest, as a download does."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.npy")]
    entries = {name: {"sha256": sha256(folder / name), "size": (folder / name).stat().st_size} for name in names}
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": entries}))


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("before", [False, True], ids=["not yet converted", "converted"])
def test_a_file_that_decayed_is_not_converted(copy_of, before):
    folder = copy_of()
    recorded(folder)
    if before:
        imported(folder)
    flip(folder / "fold1" / "x_test_fold1.npy")
    done = deeprehab("datasets", "import", folder.name, "--root", folder.parents[1], "--delete-originals")
    assert done.returncode == 1 and len(list(folder.rglob("*.npy"))) == 12
    sentence(done.stderr.strip(), "x_test_fold1.npy", "--accept-changed")
    assert verified(folder)[0] == "changed"
    imported(folder, "--accept-changed")
    assert verified(folder) == ("complete", "")


@pytest.mark.parametrize("damage", [lambda path: os.truncate(path, 1000), lambda path: path.write_bytes(b"")], ids=["cut", "empty"])
def test_a_damaged_conversion_is_made_anew(copy_of, damage):
    folder = copy_of()
    before = digests(folder)
    imported(folder)
    damage(folder / STORE)
    assert verified(folder)[0] == "corrupt"
    imported(folder)
    assert digests(folder) == before and verified(folder) == ("complete", "")


def test_a_changed_file_with_an_old_date_is_noticed(copy_of):
    folder = copy_of()
    imported(folder)
    flip(folder / "fold0" / "x_test_fold0.npy")
    os.utime(folder / "fold0" / "x_test_fold0.npy", (1, 1))
    state, said = verified(folder)
    assert state == "changed" and "x_test_fold0.npy" in said


def test_what_lies_beside_is_no_dataset(copy_of):
    folder = copy_of()
    for name in (".Mine.abcdef-1.part", f"{folder.name} (copy)"):
        shutil.copytree(folder, folder.with_name(name))
    (folder.parent / "notes").mkdir()
    for command in ("list", "verify", "import"):
        done = deeprehab("datasets", command, "--root", folder.parents[1])
        assert done.returncode == 0, done.stderr
        assert folder.name in done.stdout and "copy" not in done.stdout and "notes" not in done.stdout


def test_a_dataset_without_a_description_is_not_passed_over(copy_of):
    folder = copy_of()
    (folder / "info.json").unlink()
    for command in ("verify", "import"):
        done = deeprehab("datasets", command, "--root", folder.parents[1])
        assert done.returncode == 1
        sentence(done.stderr.strip(), str(folder / "info.json"), "missing")


def test_a_label_is_its_name(copy_of):
    """Text in training and numbers in the test are one dataset's recordings, once each."""
    folder = copy_of(PRESS)
    before = digests(folder)
    for fold in range(3):
        path = folder / f"fold{fold}" / f"y_train_fold{fold}.npy"
        np.save(path, np.load(path).astype(int).astype(str))
    imported(folder, "--delete-originals")
    assert len(read_recordings(folder, read_info(folder / "info.json")).x) == 84 and digests(folder) == before


def test_a_fold_that_is_not_whole_is_named(copy_of):
    folder = copy_of()
    (folder / "fold1" / "y_test_fold1.npy").unlink()
    done = imported(folder)
    assert f"Fold 1 of {folder.name} was left out: y_test_fold1.npy is missing." in done.stdout
    assert load(folder, 2)
