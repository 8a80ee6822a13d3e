"""What `deeprehab datasets info` tells of a dataset, with and without its files."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ENVIRONMENT, change, deeprehab, refused

from deeprehab_nb.data import load_fold, records
from deeprehab_nb.data.describe import TERMS_PAGES, describe

BRAILLE = re.compile("[\u2801-\u28ff]")


@pytest.fixture
def archived(sample, tmp_path):
    """Put recordings of the sample under the name of a dataset of the paper; returns the archive."""

    def put(original, name):
        folder = next(sample.glob(f"*/{original}"))
        shutil.copytree(folder, tmp_path / "archive" / folder.parent.name / name)
        return tmp_path / "archive"

    return put


def info(name, root, *options, **more):
    return deeprehab("datasets", "info", name, "--root", root, *options, **more)


def rows(text):
    """Return the rows of the folds: the first number, and every pair of train and test after it."""
    found = re.findall(r"^ +(\d+)((?: +[\d.]+ / [\d.]+)+) *$", text, re.MULTILINE)
    return [(int(k), [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) / ([\d.]+)", cells)]) for k, cells in found]


def test_every_record_says_where_the_terms_of_use_are(tmp_path):
    for record in records():
        found = describe(record.dataset, tmp_path)
        facts = dict(found.facts())
        assert found.record == record and found.folder is None and found.folds == () and found.table() == []
        assert facts["files"].startswith("not on this machine") and record.citation_url in facts["publication"]
        assert found.terms_url == TERMS_PAGES.get(record.source, "")
        assert (found.terms_url or "publication") in facts["terms of use"]


def test_the_counts_are_those_of_the_labels(sample):
    done = info("Synthetic_clf_mc_Squat", sample)
    assert done.returncode == 0 and done.stderr == ""
    expected = []
    for k in range(3):
        fold = load_fold("Synthetic_clf_mc_Squat", k, sample)
        counts = [[int((y == c).sum()) for y in (fold.y_train, fold.y_test)] for c in range(4)]
        expected.append((k, [(56, 28), *map(tuple, counts)]))
    assert rows(done.stdout) == expected
    assert "84 recordings, 3 folds, 4 classes" in done.stdout and "yes: made up by a program" in done.stdout
    first = load_fold("Synthetic_clf_mc_Squat", 0, sample)
    assert f"first test recording of fold 0, synthetic: class {first.class_names[first.y_test[0]]}\n" in done.stdout


def test_the_scores_are_summarised_and_drawn(sample):
    done = info("Synthetic_reg_SideBend", sample)
    assert done.returncode == 0
    fold = load_fold("Synthetic_reg_SideBend", 0, sample)
    train, test = (y.astype(float) * 100 for y in (fold.y_train, fold.y_test))
    expected = [(f(train), f(test)) for f in (np.min, np.median, np.max)]
    np.testing.assert_allclose(rows(done.stdout)[0][1][1:], expected, rtol=1e-3)
    bars = re.findall(r"^ *(\d+) to (\d+) +(\d+)( #+)?$", done.stdout, re.MULTILINE)
    counts = np.histogram(np.round(np.concatenate([train, test]), 3), bins=10, range=(0, 100))[0]
    assert [int(count) for _, _, count, _ in bars] == counts.tolist()
    longest = max(len(bar) for *_, bar in bars)
    assert all(bool(bar) == (int(count) > 0) for _, _, count, bar in bars) and longest > 30


@pytest.mark.parametrize("name", ["Synthetic_clf_mc_Squat", "Synthetic_reg_SideBend", "Synthetic_clf_bn_Press2D"])
def test_a_pipe_gets_plain_text(sample, name):
    done = info(name, sample)
    assert "\x1b" not in done.stdout and not BRAILLE.search(done.stdout)
    drawing = done.stdout.split("first test recording")[1].splitlines()[2:]
    assert len(drawing) == 20 and all(set(line) <= {" ", "*"} for line in drawing)
    assert max(map(len, done.stdout.split("train / test")[1].splitlines())) <= 80


def test_a_terminal_gets_braille(sample):
    pytest.importorskip("pty")  # Windows has none
    script = (
        "import pty, sys\n"
        "status = pty.spawn([sys.executable, '-c', 'from deeprehab_nb.cli import main; main()', *sys.argv[1:]])\n"
        "sys.exit(status >> 8)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "datasets", "info", "Synthetic_reg_SideBend", "--root", sample],
        env=ENVIRONMENT | {"COLUMNS": "80", "TERM": "xterm", "PYTHONUTF8": "1"}, stdin=subprocess.DEVNULL, capture_output=True,
        check=False, timeout=60,
    )
    text = re.sub(r"\x1b\[[\d;]*m", "", done.stdout.decode()).replace("\r", "")
    assert done.returncode == 0 and len(BRAILLE.findall(text)) > 40 and "█" in text
    assert max(map(len, text.splitlines())) <= 80


def test_one_fold_only(sample):
    done = info("Synthetic_clf_bn_ArmRaise", sample, "--fold", 2)
    assert [k for k, _ in rows(done.stdout)] == [2] and "of fold 2" in done.stdout
    refused(info("Synthetic_clf_bn_ArmRaise", sample, "--fold", 3), "Synthetic_clf_bn_ArmRaise", "folds 0 to 2")


def test_the_paper_and_the_files_are_both_told(archived):
    root = archived("Synthetic_reg_SideBend", "KIMORE_reg_LA")
    done = info("KIMORE_reg_LA", root)
    assert done.returncode == 0
    for fact in ("71 recordings of 71 people", "725 frames", TERMS_PAGES["Kimore"], "84 recordings, 3 folds", "46 frames", "yes: made up"):
        assert fact in done.stdout


def test_a_class_that_only_the_test_part_has_is_counted(copy_of):
    folder = copy_of()
    change("y_test", lambda y: np.where(np.arange(len(y)) < 5, "odd", y.astype(str)))(folder)
    found = describe(folder.name, folder.parents[1])
    assert found.folds[0].train["odd"] == 0 and found.folds[0].test["odd"] == 5
    assert found.table()[0]["odd"] == "0 / 5" and found.table()[1]["odd"] == "0 / 0"


def test_joints_without_a_tree_are_dots_and_joints_without_a_place_are_not_drawn(copy_of):
    folder = copy_of()
    text = json.loads((folder / "info.json").read_text())
    (folder / "info.json").write_text(json.dumps(text | {"kinematic_tree": []}))
    assert 3 <= info(folder.name, folder.parents[1]).stdout.split("first test recording")[1].count("*") <= 15
    lone = {"n_joints": 45, "kinematic_tree": []} | {key: 1 for key in ("dim", "n_dim") if key in text}
    (folder / "info.json").write_text(json.dumps(text | lone))
    done = info(folder.name, folder.parents[1])
    assert done.returncode == 0 and "first test recording" not in done.stdout and "45 joints of 1 value:" in done.stdout
    refused(info(folder.name, folder.parents[1], "--png", folder.parents[1] / "a.png"), "one value each")


@pytest.mark.parametrize("text, shown", [
    ("a \x1b[31mred\x07 word", "a [31mred word"), ("[/] [bold]no markup[/bold]", "[/] [bold]no markup[/bold]"),
    ("two\nlines\u202e", "two lines"), ("long " * 5000, "long long"),
    ("of $\\sum dollars$", "of $\\sum dollars$"),
], ids=["control characters", "markup", "lines", "long", "formula"])
def test_what_a_file_says_of_itself_does_not_reach_the_terminal_unchecked(copy_of, text, shown):
    folder = copy_of()
    about = json.loads((folder / "info.json").read_text()) | {"description": text}
    (folder / "info.json").write_text(json.dumps(about))
    for split in ("train", "test"):
        change(f"y_{split}", lambda y: np.where(y == y[0], text[:40], "fold"))(folder)
    done = info(folder.name, folder.parents[1], "--png", folder.parents[1] / "a.png")
    assert done.returncode == 0, done.stderr
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", done.stdout) and len(done.stdout) < 20_000
    assert shown in done.stdout and "fold'" in done.stdout


def test_a_picture_is_saved(sample, tmp_path):
    done = info("Synthetic_clf_bn_ArmRaise", sample, "--png", tmp_path / "new" / "arm.PNG")
    assert done.returncode == 0 and f"Wrote {tmp_path / 'new' / 'arm.PNG'}" in done.stdout
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["arm.PNG"]
    import matplotlib.image

    picture = matplotlib.image.imread(tmp_path / "new" / "arm.PNG", format="png")
    assert picture.shape[1] > 1000 and (picture[..., 3] > 0.5).sum() > 5000


def test_a_picture_that_cannot_be_had(sample, tmp_path):
    name = "Synthetic_clf_bn_ArmRaise"
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    refused(info(name, sample, "--png", tmp_path / "arm.jpg"), "arm.jpg", ".png")
    refused(info(name, sample, "--png", tmp_path / "folder.png"), "folder.png", "is a folder")
    refused(info(name, sample, "--png", tmp_path / "file" / "arm.png"), "file", "cannot be written")
    refused(info("KIMORE_reg_LA", tmp_path, "--png", tmp_path / "arm.png"), "KIMORE_reg_LA", "deeprehab datasets download")
    refused(info(name, sample, "--up", "q", "--png", tmp_path / "arm.png"), "upward axis", "q")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_the_axis_that_points_up_can_be_named(sample):
    name = "Synthetic_clf_bn_Press2D"
    plain, turned, upside_down = (info(name, sample, *up).stdout.splitlines()[-20:] for up in ((), ("--up", "y"), ("--up", "-y")))
    assert turned != plain and turned != upside_down


@pytest.mark.parametrize("fold", [0, 2])
def test_a_damaged_fold_is_one_sentence(copy_of, fold):
    folder = copy_of("Synthetic_reg_SideBend")
    path = folder / f"fold{fold}" / f"x_test_fold{fold}.npy"
    path.write_bytes(path.read_bytes()[:-100])
    refused(info(folder.name, folder.parents[1], "--png", folder.parents[1] / "a.png"), path.name)
    assert not (folder.parents[1] / "a.png").exists()
    assert info(folder.name, folder.parents[1], "--fold", 1).returncode == 0


def test_a_dataset_that_is_not_whole(archived, copy_of):
    root = archived("Synthetic_reg_SideBend", "KIMORE_reg_LA")
    folder = root / "regression" / "KIMORE_reg_LA"
    for k in range(3):
        shutil.rmtree(folder / f"fold{k}")
    refused(info("KIMORE_reg_LA", root), "Fold 0 of KIMORE_reg_LA", str(folder))
    (folder / "info.json").unlink()
    refused(info("KIMORE_reg_LA", root), "info.json", "missing")


def test_a_record_is_told_without_slow_libraries(tmp_path):
    script = (
        "import sys, typer.testing, deeprehab_nb.cli as cli\n"
        f"done = typer.testing.CliRunner().invoke(cli.app, ['datasets', 'info', 'KIMORE_reg_LA', '--root', {str(tmp_path)!r}])\n"
        "assert done.exit_code == 0 and 'KIMORE' in done.output\n"
        "print(*{'keras', 'tensorflow', 'sklearn', 'pandas', 'matplotlib', 'plotly', 'plotext', 'papermill'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
