"""An experiment is the same however it is started, whole whenever it is stopped, and says what made it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import datetime

import nbformat
import numpy as np
import pytest
from conftest import COMMAND, ENVIRONMENT, ROOT, change, deeprehab, load, refused, sentence, wait_for

from deeprehab_nb.errors import UserError
from deeprehab_nb.experiment import report
from deeprehab_nb.experiment.code import code_version
from deeprehab_nb.experiment.notebook import execute
from deeprehab_nb.experiment.progress import PROGRESS
from deeprehab_nb.experiment.run import run_experiment
from deeprehab_nb.experiment.store import Experiment, is_complete, load_ensemble, load_run
from deeprehab_nb.training.ensemble import judge

CLASSES, SCORES = "Synthetic_clf_bn_ArmRaise", "Synthetic_reg_SideBend"
TINY = {"n_filters": [4, 4, 4]}
RUN = ["history.csv", "metrics.json", "model.keras", "predictions.npz", "provenance.json"]
WHOLE = sorted([
    "ensemble.json", "experiment.ipynb", "provenance.json", *(f"run{k}/{name}" for k in range(2) for name in RUN),
])


def unseen(state):
    """Show progress to nobody."""


def content(folder, *patterns):
    """Return the bytes of all files below a folder, or of those that have one of the names."""
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: data for name, data in files.items() if not patterns or name.rpartition("/")[2] in patterns}


def results(folder):
    """Return what must be equal, byte for byte, whenever and however an experiment is made."""
    return content(folder, "ensemble.json", "metrics.json", "predictions.npz")


def predictions(folder, run):
    with np.load(folder / f"run{run}" / "predictions.npz", allow_pickle=False) as saved:
        return dict(saved)


def notebook(path):
    """Read a report, and check that all of it was executed, well and quietly."""
    read = nbformat.read(path, as_version=4)
    for cell in read.cells:
        assert "#|" not in cell.source
        if cell.cell_type == "code":
            assert cell.execution_count
            assert not any(o.output_type == "error" or o.get("name") == "stderr" for o in cell.outputs), cell.outputs
    return read


@pytest.fixture(scope="module")
def started(sample, tmp_path_factory):
    """Two experiments by the command and one by papermill, all at once and from one working folder."""
    place = tmp_path_factory.mktemp("started")
    (place / "here").mkdir()
    options = ["--model=FCN", "--epochs=3", "--runs=2", "--seed=0", f"--root={sample}"]
    parameters = {
        "dataset": CLASSES, "fold": 0, "model": "FCN", "epochs": 3, "runs": 2, "seed": 0, "root": sample, "out": place / "papermill",
    }
    template = ROOT / "nbs" / "experiments" / "train.ipynb"
    commands = {
        "command": [COMMAND, "run", CLASSES, *options, f"--out={place / 'command'}"],
        "scores": [COMMAND, "run", SCORES, *options, f"--out={place / 'scores'}"],
        "papermill": [sys.executable, "-m", "papermill", template, place / "papermill.ipynb", "--kernel=python3"]
        + [part for name, value in parameters.items() for part in ("-p", name, str(value))],
    }
    processes = {
        name: subprocess.Popen(
            command, cwd=place / "here", env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for name, command in commands.items()
    }
    said = {name: process.communicate(timeout=300) for name, process in processes.items()}
    assert [process.returncode for process in processes.values()] == [0, 0, 0], said
    assert list((place / "here").iterdir()) == []
    return place, {name: out for name, (out, _) in said.items()}


@pytest.fixture(scope="module")
def experiment(sample, started):
    """The experiment that the command has made."""
    return Experiment(CLASSES, model="FCN", root=sample, out=started[0] / "command", epochs=3, runs=2)


@pytest.fixture
def copied(experiment, tmp_path):
    """A copy of it, which may be damaged."""
    copy = replace(experiment, out=tmp_path / "runs")
    shutil.copytree(experiment.folder, copy.folder)
    return copy


def test_the_folder_holds_what_the_book_says(experiment):
    assert experiment.folder == experiment.out / "classification" / CLASSES / "fold0" / "FCN"
    assert sorted(content(experiment.out)) == [f"classification/{CLASSES}/fold0/FCN/{name}" for name in WHOLE]


def test_the_command_says_what_came_out(started, experiment):
    said, metrics = started[1]["command"], load_ensemble(experiment)["metrics"]
    assert said.startswith("Ensemble of 2 runs, on synthetic data: ") and said.endswith(f"{experiment.folder}/experiment.ipynb\n")
    assert f"accuracy {metrics['accuracy']:.4g}" in said and f"balanced accuracy {metrics['balanced_accuracy']:.4g}" in said


def test_the_report_is_executed(experiment):
    cells = notebook(experiment.folder / "experiment.ipynb").cells
    injected = next(cell.source for cell in cells if "injected-parameters" in cell.metadata.tags)
    assert "epochs = 3\n" in injected and f'dataset = "{CLASSES}"\n' in injected
    outputs = [output.data for cell in cells if cell.cell_type == "code" for output in cell.outputs if "data" in output]
    assert sum("application/vnd.plotly.v1+json" in data for data in outputs) == 4
    assert sum("text/html" in data and "<table" in data["text/html"] for data in outputs) == 4
    assert any("synthetic" in data.get("text/markdown", "") for data in outputs)


def test_the_ensemble_is_the_average_of_the_runs(experiment):
    runs = [predictions(experiment.folder, run) for run in range(2)]
    predicted = np.mean([run["outputs"] for run in runs], axis=0).argmax(axis=1)
    truth = runs[0]["y_true"]
    right = predicted == truth
    recalls = [right[truth == label].mean() for label in np.unique(truth)]
    said = load_ensemble(experiment)
    assert said["metrics"] == pytest.approx({"accuracy": right.mean(), "balanced_accuracy": np.mean(recalls)})
    assert (said["dataset"], said["task"], said["synthetic"], said["runs"]) == (CLASSES, "classification", True, [0, 1])
    assert not np.array_equal(runs[0]["outputs"], runs[1]["outputs"])


def test_the_provenance_says_what_made_it(experiment):
    said = json.loads((experiment.folder / "provenance.json").read_text())
    assert said["synthetic"] is True
    assert said["experiment"] == {
        "dataset": CLASSES, "fold": 0, "model": "FCN", "hyperparameters": {}, "epochs": 3, "batch_size": 64, "seed": 0,
        "data_digest": experiment.load().digest, "code": code_version("FCN"),
    }
    assert [run["run"] for run in said["runs"]] == [0, 1] and said["runs"][0]["seed"] != said["runs"][1]["seed"]
    for run in said["runs"]:
        assert {"python", "deeprehab_nb", "keras", "numpy", "platform", "device"} < set(run["versions"])
        assert datetime.fromisoformat(run["date"]).utcoffset() is not None
        assert run["training_time_s"] > 0 and 1 <= run["best_epoch"] <= 3


def test_predictions_are_plain_arrays(experiment):
    fold, saved = experiment.load(), predictions(experiment.folder, 0)
    assert saved["class_names"].tolist() == list(fold.class_names)
    assert np.array_equal(saved["y_true"], fold.y_test) and np.array_equal(saved["y_pred"], saved["outputs"].argmax(axis=1))
    assert saved["outputs"].sum(axis=1) == pytest.approx(1)


def test_the_second_time_nothing_is_done(sample, experiment):
    before = {path: path.stat().st_mtime_ns for path in experiment.folder.rglob("*")}
    done = deeprehab("run", CLASSES, "--model=FCN", "--epochs=3", "--runs=2", "--root", sample, "--out", experiment.out)
    assert done.returncode == 0 and done.stdout.startswith("Already complete. Ensemble of 2 runs"), done.stderr
    assert {path: path.stat().st_mtime_ns for path in experiment.folder.rglob("*")} == before


def test_papermill_alone_makes_the_same(started, experiment):
    place, _ = started
    folder = replace(experiment, out=place / "papermill").folder
    notebook(place / "papermill.ipynb")
    assert sorted(content(folder)) == [name for name in WHOLE if name != "experiment.ipynb"]
    assert results(folder) == results(experiment.folder)


def test_python_makes_the_same(experiment, tmp_path):
    result = run_experiment(replace(experiment, out=tmp_path), unseen)
    assert results(result.folder) == results(experiment.folder)


def test_scores_are_judged_in_their_unit(sample, started):
    place, said = started
    folder = Experiment(SCORES, model="FCN", root=sample, out=place / "scores").folder
    notebook(folder / "experiment.ipynb")
    assert sorted(content(folder)) == WHOLE
    runs = [predictions(folder, run) for run in range(2)]
    truth = runs[0]["y_true"]
    assert np.ptp(truth) > 50 and all(((0 <= run["outputs"]) & (run["outputs"] <= 1)).all() for run in runs)
    difference = 100 * np.mean([run["outputs"][:, 0] for run in runs], axis=0) - truth
    metrics = json.loads((folder / "ensemble.json").read_text())["metrics"]
    assert metrics["rmse"] == pytest.approx(np.sqrt(np.mean(difference**2)), rel=1e-5)
    assert metrics["mae"] == pytest.approx(np.abs(difference).mean(), rel=1e-5)
    assert metrics["mape"] == pytest.approx(np.mean(np.abs(difference) / (truth + 1)), rel=1e-5)
    assert f"rmse {metrics['rmse']:.4g}" in said["scores"]


def test_another_experiment_in_its_place_is_refused(sample, experiment):
    before = content(experiment.folder)
    done = deeprehab("run", CLASSES, "--model=FCN", "--epochs=4", "--runs=2", "--root", sample, "--out", experiment.out)
    refused(done, str(experiment.folder / "run0"), "epochs 3, not 4")
    with pytest.raises(UserError) as error:
        run_experiment(replace(experiment, hyperparameters=TINY), unseen)
    sentence(str(error.value), "hyperparameters {}, not")
    assert content(experiment.folder) == before


def test_runs_on_other_data_are_refused(copied, copy_of):
    folder = copy_of()
    change("x_test", lambda x: x[::-1])(folder)
    with pytest.raises(UserError) as error:
        run_experiment(replace(copied, root=folder.parents[1]), unseen)
    sentence(str(error.value), "data_digest")


def test_a_missing_run_is_made_and_the_other_is_kept(copied):
    before = content(copied.folder / "run0")
    shutil.rmtree(copied.folder / "run1")
    assert not is_complete(copied, copied.load())
    result = run_experiment(copied, unseen)
    assert content(copied.folder / "run0") == before
    assert [run.number for run in result.runs] == load_ensemble(copied)["runs"] == [0, 1]


def saved(**arrays):
    return lambda folder: np.savez(folder / "run0" / "predictions.npz", **arrays)


def cut(name, n_bytes):
    return lambda folder: os.truncate(folder / name, n_bytes)


def text(name, new):
    return lambda folder: (folder / name).write_text(new)


def flip(folder):
    """Change one bit of the stored outputs."""
    path = folder / "run0" / "predictions.npz"
    data = bytearray(path.read_bytes())
    data[data.index(b"outputs.npy") + 150] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage, named", [
    (cut("run0/predictions.npz", 300), "run0"), (cut("run0/predictions.npz", 0), "run0"), (flip, "run0"),
    (lambda folder: (folder / "run0/predictions.npz").unlink(), "run0"),
    (saved(outputs=np.array([print], dtype=object)), "run0"), (saved(other=np.zeros(28)), "run0"),
    (saved(outputs=np.zeros(28, "f4")), "run0"), (saved(outputs=np.zeros((3, 2), "f4")), "run0"),
    (saved(outputs=np.full((28, 2), "a")), "run0"),
    (cut("run0/provenance.json", 30), "run0"), (text("run0/provenance.json", "[]"), "run0"),
    (text("run0/provenance.json", '{"experiment": "this one"}'), "run0"), (text("run0/provenance.json", "[" * 100_000), "run0"),
    (text("run0/history.csv", ""), "run0"), (text("run0/history.csv", "epoch,loss\n1,2,3\n"), "run0"),
    (cut("ensemble.json", 20), "ensemble.json"), (text("ensemble.json", "[]"), "ensemble.json"), (text("ensemble.json", "{}"), "ensemble.json"),
], ids=[
    "predictions cut", "predictions empty", "predictions flipped", "predictions missing", "objects", "no outputs",
    "outputs flat", "outputs too few", "outputs text", "provenance cut", "provenance a list",
    "provenance of text", "provenance deep", "history empty", "history ragged", "ensemble cut", "ensemble a list",
    "ensemble empty",
])
@pytest.mark.filterwarnings("error::UserWarning")
def test_a_damaged_folder_is_not_taken_for_a_result(copied, damage, named):
    damage(copied.folder)
    with pytest.raises(UserError) as error:
        is_complete(copied, copied.load())
    sentence(str(error.value), str(copied.folder / named))


def test_what_was_killed_goes_on_and_ends_the_same(sample, tmp_path):
    options = {"model": "FCN", "root": sample, "epochs": 60, "runs": 3, "seed": 5, "side_by_side": 2, "hyperparameters": TINY}
    killed, undisturbed = (Experiment(CLASSES, out=tmp_path / name, **options) for name in ("killed", "undisturbed"))
    script = (
        "from deeprehab_nb.experiment.run import Experiment, run_experiment\n"
        f"run_experiment(Experiment({CLASSES!r}, out={str(killed.out)!r}, **{options | {'root': str(sample)}}))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    wait_for(killed.folder / "run0", process)
    process.kill()
    process.wait()
    names = {name for name in content(killed.folder) if not name.startswith(".")}
    assert {f"run0/{name}" for name in RUN} <= names <= {f"run{run}/{name}" for run in (0, 2) for name in RUN}  # run 1 pauses half way
    assert load_run(killed.folder, 0, killed, killed.load()).history["epoch"] == list(range(1, 61))
    first = content(killed.folder / "run0")

    for experiment in (killed, undisturbed):
        run_experiment(experiment, unseen)
    assert content(killed.folder / "run0") == first
    assert sorted(content(killed.folder)) == sorted(content(undisturbed.folder))
    assert results(killed.folder) == results(undisturbed.folder)


def test_what_was_interrupted_says_so(sample, tmp_path):
    """Ctrl-C at the terminal: the signal goes to the command and to what it has started in its group."""
    experiment = Experiment(CLASSES, model="FCN", root=sample, out=tmp_path / "runs")
    process = subprocess.Popen(
        [COMMAND, "run", CLASSES, "--model=FCN", "--root", sample, "--out", experiment.out], cwd=tmp_path, env=ENVIRONMENT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )
    wait_for(experiment.folder / PROGRESS, process)
    os.killpg(process.pid, signal.SIGINT)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 130 and said == ""
    assert re.search(r"\nInterrupted in run \d of 5 after \d+ epochs?; the same command goes on from there\.\n$", complained)
    assert "Traceback" not in complained
    *checkpoints, notebook = sorted(content(experiment.folder))
    assert notebook == "failed.ipynb" and checkpoints and all(re.fullmatch(r"\.run\d\.checkpoint", name) for name in checkpoints)
    failed = nbformat.read(experiment.folder / "failed.ipynb", as_version=4)
    nbformat.validate(failed)
    assert [o.ename for c in failed.cells for o in c.get("outputs", []) if o.output_type == "error"] == ["Interrupted"]


def without(label, half):
    """Return a damage: the recordings of one class are removed from a half of the fold."""

    def damage(folder):
        kept = load(folder)
        names = np.array(kept.class_names)[getattr(kept, f"y_{half}")]
        for variable in "xy":
            change(f"{variable}_{half}", lambda array: array[names != label])(folder)

    return damage


@pytest.mark.parametrize("dataset, damage, n_classes, n_named", [
    (CLASSES, without("incorrect", "test"), 2, 2),
    ("Synthetic_clf_mc_Squat", without("incomplete range", "train"), 3, 4),
], ids=["from the test", "from the training"])
def test_a_fold_that_lacks_a_class_runs_through(copy_of, tmp_path, dataset, damage, n_classes, n_named):
    folder = copy_of(dataset)
    damage(folder)
    fold = load(folder)
    assert (fold.n_classes, len(fold.class_names)) == (n_classes, n_named)
    tiny = Experiment(
        dataset, model="FCN", root=folder.parents[1], out=tmp_path / "runs", epochs=1, runs=1, hyperparameters=TINY
    )
    result = run_experiment(tiny, unseen)
    assert result.ensemble.outputs.shape == (len(fold.y_test), n_classes)
    assert result.ensemble.metrics == judge(fold, result.ensemble.outputs).metrics
    assert all(0 <= metric <= 1 for metric in result.ensemble.metrics.values())
    assert len(report.fold_table(fold)) == n_named + 1
    for figure in (report.two_recordings(fold), report.judgement(fold, result.ensemble), report.latent_figure(result)):
        assert figure.data


def test_a_report_that_fails_is_kept_and_nothing_else(sample, tmp_path):
    experiment = Experiment(CLASSES, model="FCN", root=sample, out=tmp_path, epochs=1, runs=1, hyperparameters={"n_filter": 3})
    with pytest.raises(UserError) as error:
        execute(experiment, unseen)
    sentence(str(error.value), "'n_filter'", "n_filters")
    assert list(content(experiment.folder)) == ["failed.ipynb"]
    failed = nbformat.read(experiment.folder / "failed.ipynb", as_version=4)
    assert [o.ename for c in failed.cells for o in c.get("outputs", []) if o.output_type == "error"] == ["UserError"]
