"""A folder of one's own recordings becomes a dataset, or a list of all that is wrong with it."""

import json
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from conftest import deeprehab, installed, refused, sentence

from deeprehab_nb.data import load_fold
from deeprehab_nb.data.info import read_info
from deeprehab_nb.data.layout import local_datasets
from deeprehab_nb.data.own import ImportProblems, import_own
from deeprehab_nb.data.recordings import read_recordings
from deeprehab_nb.data.verify import verify
from deeprehab_nb.errors import UserError

JOINTS = ("shoulder", "elbow", "wrist")
COLUMNS = [f"{joint}_{axis}" for joint in JOINTS for axis in "xy"]
PEOPLE, EACH = ("Ann", "Bo", "Cy", "Di"), 4


def recording(i):
    """Return recording number i, (n_timepoints, 6): even lines, so that resampling and interpolation are exact."""
    n = 20 + i % 5
    return np.linspace(0, 1, n)[:, None] * (1 + np.arange(6)) + i


def csv_text(x, columns=COLUMNS, header=True):
    lines = [",".join(columns)] if header else []
    return "\n".join([*lines, *(",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in x)]) + "\n"


def write_table(folder, rows, columns=("file", "subject", "label")):
    (folder / "recordings.csv").write_text("\n".join(map(",".join, [columns, *rows])) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """Sixteen synthetic recordings of four people, of two classes."""
    folder = tmp_path / "my recordings"
    folder.mkdir()
    rows = []
    for i in range(len(PEOPLE) * EACH):
        (folder / f"r{i}.csv").write_text(csv_text(recording(i)))
        rows.append((f"r{i}.csv", PEOPLE[i // EACH], ("good", "poor")[i % 2]))
    write_table(folder, rows)
    skeleton = {"joints": JOINTS, "n_dims": 2, "kinematic_tree": [JOINTS], "description": "Synthetic lines.", "synthetic": True}
    (folder / "skeleton.json").write_text(json.dumps(skeleton))
    return folder


@pytest.fixture
def root(tmp_path):
    return tmp_path / "archive"


def run(folder, root, **options):
    return import_own(folder, root, **{"n_folds": 4} | options)


def stored(imported):
    return read_recordings(imported.folder, read_info(imported.folder / "info.json"))


def change_skeleton(**keys):
    def change(folder):
        path = folder / "skeleton.json"
        path.write_text(json.dumps({k: v for k, v in (json.loads(path.read_text()) | keys).items() if v is not None}))

    return change


def change_table(old, new):
    def change(folder):
        path = folder / "recordings.csv"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return change


def replace_recording(content):
    """Return a change: r3.csv has another content."""
    return lambda folder: (folder / "r3.csv").write_bytes(content if isinstance(content, bytes) else content.encode())


def as_npy(array):
    def change(folder):
        np.save(folder / "r3.npy", array, allow_pickle=True)
        change_table("r3.csv", "r3.npy")(folder)

    return change


def link_out(folder):
    (folder.parent / "secret.csv").write_text(csv_text(recording(3)))
    (folder / "r3.csv").unlink()
    (folder / "r3.csv").symlink_to(folder.parent / "secret.csv")


def gap(x, frames, channels=(4, 5)):
    x = x.copy()
    x[np.ix_(frames, channels)] = np.nan
    return x


def timed(times, x=None):
    x = recording(3)[: len(times)] if x is None else x
    return csv_text(np.column_stack([times, x]), ["time", *COLUMNS])


# ---- what is made


def test_dataset(folder, root):
    imported = run(folder, root, name="Arm")
    assert imported.folder == root / "classification" / "Arm" and imported.task == "classification"
    assert (imported.n_cases, imported.n_subjects) == (16, 4)
    assert imported.lengths == (20, 24) and imported.n_timepoints == 22  # the median of sixteen lengths
    assert imported.classes == {"good": 8, "poor": 8} and imported.scores is None
    assert imported.n_interpolated == 0 and imported.interpolated == {} and imported.remarks == ()
    assert imported.n_resampled == sum(len(recording(i)) != 22 for i in range(16))
    assert local_datasets(root) == {"Arm": "classification"}
    info = json.loads((imported.folder / "info.json").read_text())
    assert info["joints"] == list(JOINTS) and info["kinematic_tree"] == [[0, 1, 2]] and info["subjects"] == 4
    assert info["synthetic"] is True and info["description"] == "Synthetic lines." and "max_score_value" not in info
    assert verify("Arm", root).state == "complete"
    fold = load_fold("Arm", 3, root)
    assert fold.x_train.shape == (12, 6, 22) and fold.x_test.shape == (4, 6, 22)
    assert fold.class_names == ("good", "poor") and fold.synthetic and fold.skeleton.links == ((0, 1), (1, 2))


def test_recordings_are_read_off_straight_lines(folder, root):
    imported = run(folder, root, n_timepoints=33)
    for i, x in enumerate(stored(imported).x):
        np.testing.assert_allclose(x, (np.linspace(0, 1, 33)[:, None] * (1 + np.arange(6)) + i).T, atol=1e-12)
    assert imported.n_timepoints == 33 and imported.n_resampled == 16


def test_each_person_is_tested_once(folder, root):
    for n_folds in (2, 3, 4):
        imported = run(folder, root, n_folds=n_folds, name=f"k{n_folds}")
        content = stored(imported)
        assert len(content.folds) == len(imported.folds) == n_folds
        assert sorted(np.concatenate([test for _, test in content.folds.values()])) == list(range(16))
        for k, (train, test) in content.folds.items():
            assert sorted([*train, *test]) == list(range(16))
            assert not set(content.subjects[train]) & set(content.subjects[test])
            assert imported.folds[k] == tuple(sorted(set(content.subjects[test])))


def test_same_seed_same_bytes(folder, root):
    first = run(folder, root, name="a", n_folds=2)
    again = run(folder, root, name="b", n_folds=2)
    for name in ("info.json", "recordings.npz"):
        assert (first.folder / name).read_bytes() == (again.folder / name).read_bytes()
    others = {run(folder, root, name=f"seed{seed}", n_folds=2, seed=seed).folds for seed in range(8)}
    assert first.folds in others and len(others) > 1


def test_scores(folder, root):
    change_table("label", "score")(folder)
    text = (folder / "recordings.csv").read_text().replace("good", "37.5").replace("poor", "12")
    (folder / "recordings.csv").write_text(text)
    change_skeleton(max_score=40)(folder)
    imported = run(folder, root, n_folds=3)
    assert imported.task == "regression" and imported.scores == (12, 37.5) and imported.classes == {}
    assert stored(imported).y.tolist() == [37.5, 12] * 8
    fold = load_fold(imported.folder.name, 0, root)
    assert fold.max_score == 40 and set(fold.y_train.tolist()) == {np.float32(37.5 / 40), np.float32(0.3)}


@pytest.mark.parametrize(("labels", "expected"), [
    (("0", "1"), np.array([0, 1])), (("1.5", "2"), np.array([1.5, 2.0])), (("01", "2"), np.array(["01", "2"])),
    (("naïve", "Größe"), np.array(["naïve", "Größe"])),
])
def test_labels(folder, root, labels, expected):
    change_table("good", labels[0])(folder)
    change_table("poor", labels[1])(folder)
    y = stored(run(folder, root)).y
    assert y.dtype == expected.dtype and y[:2].tolist() == expected.tolist()


# ---- how files may look


def with_header_in_any_order(folder):
    order = np.random.default_rng(0).permutation(6)
    for i in range(16):
        columns = [COLUMNS[c].upper() for c in order]
        x = np.column_stack([np.arange(len(recording(i))), recording(i)[:, order]])
        (folder / f"r{i}.csv").write_text(csv_text(x, ["Frame", *columns]))


def without_header(folder):
    for i in range(16):
        (folder / f"r{i}.csv").write_text(csv_text(recording(i), header=False))


def from_a_european_spreadsheet(folder):
    for path in folder.glob("r*.csv"):
        text = path.read_text()
        if path.name != "recordings.csv":
            text = text.replace(",", ";").replace(".", ",")
        path.write_bytes(b"\xef\xbb\xbf" + text.replace(",csv;", ".csv;").replace("\n", "\r\n").encode())


def as_npy_files(folder):
    for i in range(16):
        x = recording(i)
        np.save(folder / f"r{i}.npy", x.reshape(-1, 3, 2) if i % 2 else np.asfortranarray(x))
        (folder / f"r{i}.csv").unlink()
    change_table(".csv", ".npy")(folder)


def with_even_times(folder):
    for i in range(16):
        (folder / f"r{i}.csv").write_text(timed(1.6e9 + np.arange(len(recording(i))) / 32, recording(i)))


def in_folders(folder):
    for i in range(16):
        (folder / f"p{i // 4}").mkdir(exist_ok=True)
        (folder / f"r{i}.csv").rename(folder / f"p{i // 4}" / f"r{i}.csv")
        change_table(f"\nr{i}.csv", f"\n{'./' * (i % 2)}p{i // 4}{'/' if i % 3 else chr(92)}r{i}.csv")(folder)


def with_a_commented_skeleton(folder):
    text = (folder / "skeleton.json").read_text().replace('"n_dims": 2', '// in the image\n "n_dims": 2').removesuffix("}")
    (folder / "skeleton.json").write_text(text + ",}")


def with_numbered_chains(folder):
    change_skeleton(kinematic_tree=[[0, "Elbow", 2]])(folder)


@pytest.mark.parametrize("change", [
    with_header_in_any_order, without_header, from_a_european_spreadsheet, as_npy_files, with_even_times, in_folders,
    with_a_commented_skeleton, with_numbered_chains,
])
def test_same_dataset_from_other_files(folder, root, change):
    expected = stored(run(folder, root, name="expected"))
    change(folder)
    found = stored(run(folder, root, name="found"))
    assert found.subjects.tolist() == expected.subjects.tolist() and found.y.tolist() == expected.y.tolist()
    if change is with_even_times:
        np.testing.assert_allclose(found.x, expected.x, atol=1e-5)  # seconds since 1970 have few digits left
    else:
        assert np.array_equal(found.x, expected.x)
    assert [[half.tolist() for half in fold] for fold in found.folds.values()] == [
        [half.tolist() for half in fold] for fold in expected.folds.values()
    ]


def test_joints_without_names(folder, root):
    without_header(folder)
    change_skeleton(joints=None, n_joints=3, kinematic_tree=[[0, 1, 2]])(folder)
    imported = run(folder, root)
    assert "joints" not in json.loads((imported.folder / "info.json").read_text())
    (folder / "r0.csv").write_text(csv_text(recording(0), [f"{j}_{axis}" for j in range(3) for axis in "xy"]))
    assert np.array_equal(stored(run(folder, root, overwrite=True)).x, stored(imported).x)


def test_unicode(folder, root):
    """Names and labels of any language; one person, whichever way an accented letter is stored."""
    one, two = (unicodedata.normalize(form, "Zoë Müller") for form in ("NFC", "NFD"))
    assert one != two
    change_table("Ann,good", f"{one},良い")(folder)
    change_table("Ann,poor", f"{two},poor")(folder)
    (folder / "r0.csv").rename(folder / "Übung 1.csv")
    change_table("r0.csv", "Übung 1.csv")(folder)
    imported = run(folder, root)
    assert (one,) in imported.folds and imported.n_subjects == 4
    assert load_fold(imported.folder.name, 0, root).class_names == ("good", "poor", "良い")


def test_name_of_the_folder(folder, root):
    assert run(folder, root).folder.name == "my-recordings"
    assert run(folder.rename(folder.with_name(".Épaule (2)")), root).folder.name == "Epaule-2"
    nameless = folder.with_name(".Épaule (2)").rename(folder.with_name("良い"))
    with pytest.raises(UserError) as error:
        run(nameless, root)
    sentence(str(error.value), "良い", "choose one")


# ---- gaps and time


def test_gaps_are_closed_and_counted(folder, root):
    expected = stored(run(folder, root, name="whole")).x
    (folder / "r3.csv").write_text(csv_text(gap(recording(3), range(5, 9))))
    text = csv_text(gap(recording(7), [2], [0])).replace("\n,", "\nNaN,")
    (folder / "r7.csv").write_text(text)
    imported = run(folder, root, name="gaps")
    assert imported.interpolated == {"r3.csv": 8, "r7.csv": 1} and imported.n_interpolated == 9
    assert imported.n_values == sum(recording(i).size for i in range(16))
    np.testing.assert_allclose(stored(imported).x, expected, atol=1e-12)  # even lines: nothing is lost
    assert "9 of" in str(imported) and "r3.csv (8)" in str(imported)


def test_ends_are_held(folder, root):
    n = len(recording(3))
    (folder / "r3.csv").write_text(csv_text(gap(recording(3), [0, 1, n - 1])))
    x = stored(run(folder, root, n_timepoints=n)).x[3]
    assert (x[4, :3] == recording(3)[2, 4]).all() and (x[4, -2:] == recording(3)[-2, 4]).all()


def test_half_missing_is_interpolated_and_more_is_refused(folder, root):
    n = len(recording(4))
    assert n == 24
    (folder / "r4.csv").write_text(csv_text(gap(recording(4), range(12))))
    assert run(folder, root).interpolated == {"r4.csv": 24}
    (folder / "r4.csv").write_text(csv_text(gap(recording(4), range(13), [4])))
    with pytest.raises(ImportProblems, match=r"wrist \(in 13\)"):
        run(folder, root, overwrite=True)


def test_uneven_time(folder, root):
    times = np.array([0, 0.1, 0.2, 0.6, 0.7, 1.0])
    (folder / "r3.csv").write_text(timed(times, times[:, None] * (1 + np.arange(6))))
    imported = run(folder, root, n_timepoints=6)
    assert imported.n_resampled == 16  # the one of six frames too: they are not even
    np.testing.assert_allclose(stored(imported).x[3], (np.linspace(0, 1, 6)[:, None] * (1 + np.arange(6))).T, atol=1e-12)


# ---- what is wrong

PROBLEMS = {
    "no table": (lambda f: (f / "recordings.csv").unlink(), ["recordings.csv", "missing"]),
    "table without columns": (change_table("subject", "who"), ["recordings.csv", "subject"]),
    "table twice the column": (change_table("subject", "file"), ["recordings.csv", "file"]),
    "neither label nor score": (change_table("label", "class"), ["recordings.csv", "neither"]),
    "label and score": (
        lambda f: write_table(f, [("r0.csv", "Ann", "good", "1")], ("file", "subject", "label", "score")), ["recordings.csv", "label and score"],
    ),
    "table a folder": (lambda f: ((f / "recordings.csv").unlink(), (f / "recordings.csv").mkdir()), ["recordings.csv", "not a file"]),
    "table a pipe": (lambda f: ((f / "recordings.csv").unlink(), os.mkfifo(f / "recordings.csv")), ["recordings.csv", "not a file"]),
    "empty table": (lambda f: write_table(f, []), ["recordings.csv", "no recordings"]),
    "table cut short": (change_table("r3.csv,Ann,poor", "r3.csv,Ann"), ["recordings.csv", "line 5", "2 cells"]),
    "no subject": (change_table("r3.csv,Ann", "r3.csv,"), ["recordings.csv", "line 5 has no subject"]),
    "no label": (change_table("r3.csv,Ann,poor", "r3.csv,Ann,\u00a0"), ["recordings.csv", "line 5 has no label"]),
    "odd label": (change_table("r3.csv,Ann,poor", "r3.csv,Ann,\x1b[2J"), ["recordings.csv", "line 5", "printed"]),
    "no such file": (lambda f: (f / "r3.csv").unlink(), ["recordings.csv", "line 5", "r3.csv", "no such file"]),
    "a folder": (lambda f: ((f / "r3.csv").unlink(), (f / "r3.csv").mkdir()), ["r3.csv", "no such file"]),
    "out of the folder": (change_table("r3.csv", "../r3.csv"), ["line 5", "../r3.csv", "does not lie in"]),
    "absolute": (change_table("r3.csv", "/etc/passwd"), ["line 5", "/etc/passwd", "does not lie in"]),
    "a drive": (change_table("r3.csv", "C:\\r3.csv"), ["line 5", "does not lie in"]),
    "a link out": (link_out, ["line 5", "r3.csv", "does not lie in"]),
    "a link to itself": (lambda f: ((f / "r3.csv").unlink(), (f / "r3.csv").symlink_to("r3.csv")), ["line 5", "r3.csv", "no such file"]),
    "too long a name": (change_table("r3.csv", "r" * 300), ["line 5", "no such file"]),
    "listed twice": (change_table("r3.csv", "./r2.csv"), ["line 5", "r2.csv", "line 4"]),
    "a score of text": (change_table("label", "score"), ["recordings.csv", "line 2", "good"]),
    "no skeleton": (lambda f: (f / "skeleton.json").unlink(), ["skeleton.json", "missing"]),
    "skeleton no JSON": (lambda f: (f / "skeleton.json").write_text("joints: 3"), ["skeleton.json", "JSON"]),
    "unknown key": (change_skeleton(n_dim=3), ["skeleton.json", "n_dim", "Did you mean n_dims?"]),
    "chain of no joint": (change_skeleton(kinematic_tree=[["elbow", "hand"]]), ["skeleton.json", "hand"]),
    "other kind of file": (
        lambda f: ((f / "r3.csv").rename(f / "r3.xlsx"), change_table("r3.csv", "r3.xlsx")(f)), ["r3.xlsx", ".csv nor .npy"],
    ),
    "empty": (replace_recording(""), ["r3.csv", "empty"]),
    "not text": (replace_recording(csv_text(recording(3)).encode("utf-16")), ["r3.csv", "UTF-8"]),
    "cell not a number": (replace_recording(csv_text(recording(3)) + "1,2,3,lost,5,6\n"), ["r3.csv", "line 25", "'lost'"]),
    "cut short": (replace_recording(csv_text(recording(3)).rpartition(",")[0]), ["r3.csv", "line", "cut short"]),
    "column missing": (replace_recording(csv_text(recording(3)).replace("wrist_x", "wrist x")), ["r3.csv", "wrist_x", "Did you mean wrist x?"]),
    "column twice": (replace_recording(csv_text(recording(3)).replace("wrist_x", "wrist_y")), ["r3.csv", "wrist_y", "twice"]),
    "too few columns": (replace_recording(csv_text(recording(3)[:, :5], header=False)), ["r3.csv", "5 columns", "3 joints x 2 values = 6"]),
    "one frame": (replace_recording(csv_text(recording(3)[:1])), ["r3.csv", "1 frame;"]),
    "no frame": (replace_recording(csv_text(recording(3)[:0])), ["r3.csv", "0 frames"]),
    "infinite": (replace_recording(csv_text(recording(3)) + "1,2,3,inf,5,6\n"), ["r3.csv", "infinite", "frame 23", "elbow_y"]),
    "too large": (replace_recording(csv_text(recording(3)) + "1,2,3,4,-1e200,6\n"), ["r3.csv", "frame 23", "wrist_x"]),
    "joint missing": (replace_recording(csv_text(gap(recording(3), range(23)))), ["r3.csv", "wrist (in 23)"]),
    "time back": (replace_recording(timed([0, 1, 2, 2, 3])), ["r3.csv", "line 5", "time does not increase"]),
    "time missing": (replace_recording(timed([0, 1, np.nan, 3])), ["r3.csv", "time"]),
    "NPY damaged": (lambda f: (as_npy(recording(3))(f), (f / "r3.npy").write_bytes(b"\x93NUMPY")), ["r3.npy", "damaged"]),
    "NPY transposed": (as_npy(recording(3).T), ["r3.npy", "(6, 23)", "transposed"]),
    "NPY of other joints": (as_npy(np.zeros((20, 4, 2))), ["r3.npy", "(20, 4, 2)", "(n_timepoints, 3, 2)"]),
    "NPY of text": (as_npy(recording(3).astype(str)), ["r3.npy", "numbers"]),
    "NPY of objects": (as_npy(np.array([[Path("x")] * 6] * 20, dtype=object)), ["r3.npy", "refused"]),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_problem(folder, root, name):
    damage, named = PROBLEMS[name]
    damage(folder)
    with pytest.raises(ImportProblems) as error:
        run(folder, root)
    for problem in error.value.problems:
        sentence(problem)
        assert str(folder) in problem
    sentence(error.value.problems[0], *named)
    sentence(str(error.value), *named)
    assert not root.exists()  # nothing was written


def test_all_problems_at_once(folder, root):
    (folder / "r1.csv").write_text("")
    (folder / "r5.csv").unlink()
    change_table("r9.csv,Cy", "r9.csv,")(folder)
    (folder / "r15.csv").write_text("1,2\n")
    with pytest.raises(ImportProblems) as error:
        run(folder, root)
    problems = error.value.problems
    assert len(problems) == 4
    for what in ("r5.csv", "line 11 has no subject", "r1.csv is empty", "r15.csv has no header and 2 columns"):
        assert sum(what in problem for problem in problems) == 1, what
    sentence(str(error.value), "4 problems", problems[0])
    assert not root.exists()
    (folder / "skeleton.json").write_text("{}")
    with pytest.raises(ImportProblems) as error:
        run(folder, root)
    assert len(error.value.problems) == 3  # without a skeleton no recording can be read


@pytest.mark.parametrize(("change", "options", "named"), [
    (None, {"n_folds": 5}, ["4 subjects", "5 folds"]),
    (None, {"n_folds": 1}, ["folds", "from 2"]),
    (None, {"n_folds": 2.0}, ["folds", "2.0"]),
    (None, {"n_timepoints": 1}, ["frames", "from 2"]),
    (None, {"n_timepoints": 10**6}, ["frames", "10,000"]),
    (None, {"seed": -1}, ["seed", "-1"]),
    (None, {"name": "my recordings"}, ["'my recordings'", "letters"]),
    (None, {"name": "../x"}, ["'../x'"]),
    (None, {"name": "KIMORE_reg_LA"}, ["KIMORE_reg_LA", "archive"]),
    (None, {"name": "kimore_REG_la"}, ["kimore_REG_la", "archive"]),
    (change_table("poor", "good"), {}, ["recordings.csv", "'good'"]),
    (lambda f: [change_table(f",{person},", ",Ann,")(f) for person in PEOPLE[1:]], {}, ["recordings.csv", "one subject"]),
    (
        lambda f: [change_table(f",{person},{label}", f",{person},{new}")(f) for person, new in zip(PEOPLE, ("poor", *["good"] * 3), strict=True)
                   for label in ("good", "poor") if label != new],
        {}, ["class good alone", "number of folds"],
    ),
])
def test_whole_is_impossible(folder, root, change, options, named):
    if change:
        change(folder)
    with pytest.raises(UserError) as error:
        run(folder, root, **options)
    sentence(str(error.value), *named)
    assert not root.exists()


@pytest.mark.parametrize("score", ["-1", "101", "nan", "inf", "1e400", "high"])
def test_impossible_scores(folder, root, score):
    change_table("label", "score")(folder)
    change_table("good", "50")(folder)
    change_table("poor", score)(folder)
    with pytest.raises(ImportProblems) as error:
        run(folder, root)
    assert len(error.value.problems) == 8
    for problem in error.value.problems:
        sentence(problem, "recordings.csv", "score")


def test_not_a_folder(tmp_path, root):
    with pytest.raises(UserError) as error:
        import_own(tmp_path / "nowhere", root)
    sentence(str(error.value), "nowhere", "recordings.csv")


def test_never_overwritten_unless_asked(folder, root):
    first = run(folder, root)
    before = (first.folder / "recordings.npz").read_bytes()
    with pytest.raises(UserError) as error:
        run(folder, root, seed=1)
    sentence(str(error.value), str(first.folder), "already")
    run(folder, root, n_timepoints=50, overwrite=True)
    assert (first.folder / "recordings.npz").read_bytes() != before
    assert verify(first.folder.name, root).state == "complete"
    (first.folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError) as error:
        run(folder, root, overwrite=True)
    sentence(str(error.value), "no earlier import")
    assert (first.folder / "notes.txt").read_text() == "mine"


def test_a_name_stands_for_one_dataset(folder, root):
    run(folder, root)
    change_table("label", "score")(folder)
    change_table("good", "50")(folder)
    change_table("poor", "10")(folder)
    for overwrite in (False, True):
        with pytest.raises(UserError) as error:
            run(folder, root, overwrite=overwrite)
        sentence(str(error.value), str(root / "classification"))


def test_a_failed_replacement_leaves_the_older(folder, root, monkeypatch):
    first = run(folder, root)
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deeprehab_nb.data.own.write_recordings", full)
    with pytest.raises(UserError) as error:
        run(folder, root, overwrite=True)
    sentence(str(error.value), "No space left")
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == before
    assert [path.name for path in first.folder.parent.iterdir()] == [first.folder.name]


# ---- what may not be as it was meant


def test_remarks(folder, root):
    (folder / "r0.csv").write_text(csv_text(np.column_stack([recording(0), recording(0)[:, 0]]), [*COLUMNS, "confidence"]))
    (folder / "r2.csv").write_text((folder / "r1.csv").read_text())
    (folder / "forgotten.csv").write_text(csv_text(recording(0)))
    change_table("r5.csv,Bo", "r5.csv,BO")(folder)
    remarks = run(folder, root).remarks
    assert len(remarks) == 4
    expected = ("BO and Bo are two subjects", "r2.csv is the same recording as r1.csv", "'confidence'", "'forgotten.csv'")
    for remark, named in zip(remarks, expected, strict=True):
        sentence(remark, named)


def test_class_of_one_person(folder, root):
    change_table("Ann,good", "Ann,rare")(folder)
    imported = run(folder, root)
    (remark,) = imported.remarks
    sentence(remark, "rare")
    fold = next(k for k, people in enumerate(imported.folds) if people == ("Ann",))
    assert f"In fold {fold}" in remark and load_fold(imported.folder.name, fold, root).n_classes == 2


def test_few_recordings(tmp_path, root):
    """One recording of each person: classes cannot be dealt out evenly, and each person is still tested once."""
    folder = tmp_path / "few"
    folder.mkdir()
    (folder / "skeleton.json").write_text('{"n_joints": 3, "n_dims": 2}')
    for i in range(6):
        np.save(folder / f"{i}.npy", recording(i))
    write_table(folder, [(f"{i}.npy", f"P{i}", "abc"[i // 2]) for i in range(6)])
    imported = import_own(folder, root, n_folds=6)
    assert sorted(imported.folds) == [(f"P{i}",) for i in range(6)]


def test_progress_and_report(folder, root):
    seen = []
    imported = run(folder, root, progress=seen.append)
    assert seen == [(i + 1) / 16 for i in range(16)]
    lines = str(imported).splitlines()
    assert str(imported.folder) in lines[0] and "16 recordings of 4 people" in lines[0]
    assert lines[-4:] == [f"Fold {k} tests {people[0]}" for k, people in enumerate(imported.folds)]


def test_the_command_imports_and_a_network_can_be_run_on_it(folder, root):
    done = installed("datasets", "import", "--from", folder, "--root", root, "--name", "Mine", "--folds", "2", "--n-timepoints", "24")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Wrote {root / 'classification' / 'Mine'}: 16 recordings of 4 people, for classification\n")
    fold = load_fold("Mine", 1, root)
    assert fold.synthetic and fold.n_timepoints == 24 and len(fold.x_test) == 8
    assert deeprehab("datasets", "verify", "--root", root).returncode == 0
    refused(deeprehab("datasets", "import", "--from", folder, "--root", root, "--name", "Mine", "--folds", "2"), "Mine", "--overwrite")
    assert deeprehab("datasets", "import", "--from", folder, "--root", root, "--name", "Mine", "--folds", "2", "--overwrite").returncode == 0


def test_the_command_lists_all_that_is_wrong(folder, root):
    (folder / "r3.csv").write_text("")
    (folder / "r5.csv").unlink()
    done = deeprehab("datasets", "import", "--from", folder, "--root", root)
    assert done.returncode == 2 and done.stdout == "" and not root.exists()
    first, second, last = done.stderr.splitlines()
    sentence(first, "r5.csv", "recordings.csv")  # the table comes before the files
    sentence(second, "r3.csv", "empty")
    sentence(last, "2 problems")


@pytest.mark.parametrize("options, named", [
    (["--name", "Mine"], "--from"), (["--overwrite"], "--from"), (["KIMORE_reg_LA", "--from", "."], "--name"), (["--from", "nowhere"], "nowhere"),
])
def test_options_that_do_not_go_together(root, options, named):
    refused(deeprehab("datasets", "import", "--root", root, *options), named)


def test_only_an_import_is_overwritten(folder, root, sample):
    """A dataset of another kind may be the only copy there is."""
    other = root / "classification" / "Other"
    shutil.copytree(sample / "classification" / "Synthetic_clf_bn_ArmRaise", other)
    assert deeprehab("datasets", "import", "Other", "--root", root, "--delete-originals").returncode == 0
    refused(deeprehab("datasets", "import", "--from", folder, "--root", root, "--name", "Other", "--folds", "2", "--overwrite"), "Other")
    assert len(read_recordings(other, read_info(other / "info.json")).x) == 84
