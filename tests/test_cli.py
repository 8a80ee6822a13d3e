"""The command line tells what there is, and starts fast."""

import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, ROOT, deeprehab, installed, listed, refused

import deeprehab_nb
from deeprehab_nb.data import collections, records
from deeprehab_nb.data.sample import SAMPLE_DATASETS

SLOW = ("keras", "tensorflow", "sklearn", "pandas", "matplotlib", "plotly", "papermill")


def test_version_is_that_of_the_settings():
    settings = (ROOT / "settings.ini").read_text(encoding="utf-8")
    assert f"\nversion = {deeprehab_nb.__version__}\n" in settings
    done = installed("--version")
    assert (done.returncode, done.stdout) == (0, f"deeprehab-nb {deeprehab_nb.__version__}\n")


def test_help_lists_the_commands():
    done = installed("--help")
    assert done.returncode == 0 and done.stderr == ""
    for command in ("run", "datasets"):
        assert f" {command} " in done.stdout


def test_an_option_that_cannot_be_read():
    done = installed("run", SAMPLE_DATASETS[0], "--epochs", "many")
    assert done.returncode == 2 and "'--epochs'" in done.stderr and "Traceback" not in done.stderr


def test_the_archive_is_listed_and_no_name_is_cut_in_a_pipe():
    done = installed("datasets", "list", env={"COLUMNS": "40"})
    assert done.stdout.startswith("60 datasets")
    assert listed(done) == [record.dataset for record in records()]


@pytest.mark.parametrize("option, chosen", [
    ("--task=regression", [r.dataset for r in records("regression")]),
    (f"--collection={collections()[0]}", [r.dataset for r in records(collection=collections()[0])]),
])
def test_the_list_can_be_filtered(option, chosen):
    assert 0 < len(chosen) < 60
    assert listed(deeprehab("datasets", "list", option)) == chosen


def test_the_list_knows_what_is_on_disk(sample):
    done = deeprehab("datasets", "list", "--root", sample)
    assert listed(done)[60:] == list(SAMPLE_DATASETS)
    assert done.stdout.count("yes, synthetic") == len(SAMPLE_DATASETS)


@pytest.mark.parametrize("option, named", [
    (("--collection", "KIMORE"), ("KIMORE", "Did you mean KIMORE_reg")), (("--task", "regresion"), ("regresion", "regression")),
])
def test_an_unknown_filter_is_refused(option, named):
    refused(deeprehab("datasets", "list", *option), *named)


def test_info_of_a_record_without_files():
    done = deeprehab("datasets", "info", "KIMORE_reg_LA")
    assert done.returncode == 0
    for fact in ("71 recordings of 71 people, 5 folds", "725 frames", "10.1109/TNSRE.2019.2923060", "not on this machine"):
        assert fact in done.stdout


def test_info_of_synthetic_files(sample):
    done = installed("datasets", "info", "Synthetic_clf_bn_ArmRaise", "--root", sample)
    assert done.returncode == 0
    assert "yes: made up by a program" in done.stdout and "45 frames, 15 joints of 3 values" in done.stdout


def test_the_sample_is_the_same_every_time(sample, tmp_path):
    done = installed("datasets", "sample", tmp_path / "again")
    assert done.returncode == 0 and "synthetic" in done.stdout
    first, again = ({p.relative_to(root): p.read_bytes() for p in root.rglob("*.*")} for root in (sample, tmp_path / "again"))
    assert len(first) == 4 * (1 + 3 * 4) and first == again


@pytest.mark.parametrize("words, expected", [
    ("datasets info KIMORE_reg_S", ["KIMORE_reg_Sq"]), ("run Synthetic_clf", sorted(SAMPLE_DATASETS[:3])), ("run X --model LI", ["LITEMV"]),
])
def test_names_are_completed(sample, words, expected):
    asked = {"_DEEPREHAB_COMPLETE": "complete_bash", "COMP_WORDS": f"deeprehab {words}", "COMP_CWORD": str(len(words.split()))}
    assert installed(env=asked | {"DEEPREHAB_DATA": str(sample)}).stdout.split() == expected


@pytest.mark.parametrize("code, slow, most", [
    ("import deeprehab_nb", SLOW, 5),
    ("import typer.testing, deeprehab_nb.cli as cli; typer.testing.CliRunner().invoke(cli.app, ['--help'])", SLOW, 350),
    ("import deeprehab_nb.data", SLOW, 250),
    ("import deeprehab_nb.experiment.notebook", SLOW, 350),
    ("import deeprehab_nb.experiment.cell", SLOW, 350),
    ("import deeprehab_nb.experiment.run", ("keras", "tensorflow", "sklearn", "matplotlib", "plotly", "papermill"), 800),
], ids=["package", "help", "data", "a command's part", "a cell's part", "an experiment"])
def test_little_is_loaded(code, slow, most):
    """What makes a start slow is what is imported: libraries by name, and how many modules in all."""
    script = f"import sys\nbefore = set(sys.modules)\n{code}\nnew = set(sys.modules) - before\nprint(len(new), *sorted(new & {set(slow)}))"
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    number, *loaded = done.stdout.split()
    assert not loaded and int(number) <= most
