"""A benchmark: planned, run, watched, stopped, and never mixed."""

import csv
import json
import re
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from conftest import COMMAND, ENVIRONMENT, ROOT, deeprehab, installed, refused
from synthetic_archive import write_archive

from deeprehab_nb.data import records

CLASSES, SCORES = "Synthetic_clf_bn_ArmRaise", "Synthetic_reg_SideBend"
TINY = "{n_filters: [4, 4, 4]}"


def write(path, root, out, text):
    path.write_text(f"root: {root}\nout: {out}\nfolds: [0]\nruns: 2\nbatch_size: 16\n{text}")
    return path


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def start(path):
    return subprocess.Popen(
        [COMMAND, "benchmark", "run", path], cwd=path.parent, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(scope="module")
def half(sample, tmp_path_factory):
    """A benchmark that was run, one of whose networks cannot be built: for so large a pool the recordings are too short."""
    place = tmp_path_factory.mktemp("half")
    path = write(place / "half.yaml", sample, place / "runs", (
        f"datasets: [{CLASSES}, {SCORES}]\nmodels: [FCN: {TINY}, DisjointCNN: {{pool_size: 500}}]\nepochs: 2\n"
    ))
    return path, installed("benchmark", "run", path, env={"CUDA_VISIBLE_DEVICES": "3,5"})  # GPUs in name only


def test_what_fails_is_listed_and_stops_nothing_else(half):
    done = half[1]
    assert done.returncode == 1, done.stderr
    assert "2 of 4 cells complete, 0 left, 2 failed" in done.stdout and "2 complete, 2 not complete" in done.stdout
    for dataset in (CLASSES, SCORES):
        said = re.search(rf"^DisjointCNN on {dataset}, fold 0, pool_size 500 failed: (.+) Notebook: (.+)$", done.stderr, re.MULTILINE)
        assert "too short" in said[1] or "at least" in said[1]
        assert any(o.output_type == "error" for c in nbformat.read(said[2], as_version=4).cells for o in c.get("outputs", []))
    assert "Traceback" not in done.stderr


def test_each_cell_has_its_share_of_the_machine(half):
    notes = [json.loads(path.read_text()) for path in (half[0].parent / "runs").glob("*/*/fold0/*/cell.json")]
    assert {note["gpu"] for note in notes} <= {"3", "5"} and {note["threads"] for note in notes} == {1} and len(notes) == 4
    assert all(note["attempts"] == 1 for note in notes)  # what can never be built is not tried again


def test_the_results_are_collected(half):
    path, _ = half
    out = path.parent / "runs"
    metrics = table(out / "collected" / "metrics.csv")
    assert {row["model"] for row in metrics} == {"FCN"} and {row["n_runs"] for row in metrics} == {"2"}
    assert {(row["dataset"], row["metric"]) for row in metrics} == {
        (CLASSES, "accuracy"), (CLASSES, "balanced_accuracy"), (SCORES, "rmse"), (SCORES, "mae"), (SCORES, "mape")
    }
    assert [row["state"] for row in table(out / "collected" / "incomplete.csv")] == ["failed", "failed"]
    for row in metrics:
        found = json.loads(next(out.glob(f"*/{row['dataset']}/fold0/FCN-*/ensemble.json")).read_text())["metrics"]
        assert float(row["value"]) == found[row["metric"]]


def test_anybody_can_look(half):
    path, _ = half
    for done in (deeprehab("benchmark", "status", path), deeprehab("benchmark", "plan", path, "--no-trial")):
        assert done.returncode == 0, done.stderr
        assert "2 of 4 cells complete, 0 left, 2 failed" in done.stdout
    assert "Not running" in installed("benchmark", "status", path).stdout
    assert "rests on 2 cells that are done" in deeprehab("benchmark", "plan", path, "--no-trial").stdout


def test_starting_again_does_what_is_missing_and_a_change_makes_other_cells(half, sample):
    path, _ = half
    kept = {p: p.stat().st_mtime_ns for p in (path.parent / "runs").glob("*/*/fold0/FCN-*/**/*")}
    write(path, sample, path.parent / "runs", f"datasets: [{CLASSES}]\nmodels: [FCN: {TINY}, FCN: {{n_filters: [2, 2, 2]}}]\nepochs: 2\n")
    planned = deeprehab("benchmark", "plan", path, "--no-trial", "--cells").stdout
    assert "1 of 2 cells complete, 1 left, 0 failed" in planned
    done = installed("benchmark", "run", path)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 cells complete" in done.stdout and {p: p.stat().st_mtime_ns for p in kept} == kept
    assert "more than one setting; all are kept, told apart" in done.stdout  # in the collected tables
    again = installed("benchmark", "run", path)
    assert again.returncode == 0 and {p: p.stat().st_mtime_ns for p in kept} == kept


def test_one_at_a_time_stopped_and_limited(sample, tmp_path):
    out = tmp_path / "runs"
    options = f"datasets: [{CLASSES}]\nmodels: [FCN: {TINY}]\nepochs: 100000\n"
    path = write(tmp_path / "long.yaml", sample, out, options)
    running = start(path)
    wait_for(lambda: any(out.glob("*/*/*/*/.progress.json")), running)
    refused(deeprehab("benchmark", "run", path), "is running on", "benchmark status")
    status = deeprehab("benchmark", "status", path)
    assert status.stdout.startswith("Running: 0 of 1 cells complete, 1 left, 0 failed, about "), status.stdout
    assert re.search(rf"FCN on {CLASSES}, fold 0.*: run 1/2, epoch \d+/100000", status.stdout)

    running.send_signal(signal.SIGTERM)
    said, complained = running.communicate(timeout=90)
    assert running.returncode == 128 + signal.SIGTERM, complained
    assert "0 of 1 cells complete, 1 left, 0 failed" in said and "Every training has saved its state" in complained
    assert "Traceback" not in complained
    folder = next(out.glob("*/*/fold0/FCN-*"))
    nbformat.validate(nbformat.read(folder / "failed.ipynb", as_version=4))
    assert (folder / ".run0.checkpoint").is_file() and not (folder / "ensemble.json").exists()
    assert re.search(r"after \d+ epoch", json.loads((folder / "cell.json").read_text())["message"])

    write(path, sample, out, f"{options}resources: {{time_limit: 0.25, retries: 0}}\n")  # a quarter of a minute
    done = installed("benchmark", "run", path)
    assert done.returncode == 1 and "The time limit of 0.25 minutes was reached." in done.stderr, done.stderr
    assert (folder / ".run0.checkpoint").read_bytes() and nbformat.read(folder / "failed.ipynb", as_version=4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Synthetic stand-ins of all sixty datasets, with the real numbers of folds, and the paper's benchmark on them."""
    place = tmp_path_factory.mktemp("whole")
    write_archive(place / "archive", [r.dataset for r in records()], lambda r: f"{r.task}/{r.dataset}")
    (place / "all.yaml").write_text(f"root: {place / 'archive'}\nout: {place / 'runs'}\n")
    return place / "all.yaml"


def test_all_of_the_paper_is_planned(whole):
    done = deeprehab("benchmark", "plan", whole, "--no-trial")
    assert done.returncode == 0, done.stderr
    assert "60 datasets" in done.stdout and "0 of 3,069 cells complete, 3,069 left, 0 failed" in done.stdout
    assert len(re.findall(r"^  \w+_(?:clf|reg)\w* ", done.stdout, re.MULTILINE)) == 60
    dry = deeprehab("benchmark", "run", whole, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "would start 3,069 of 3,069 cells" in dry.stdout
    assert [path.name for path in (whole.parent / "runs").iterdir()] == [".benchmark"]
    plan = json.loads((whole.parent / "runs" / ".benchmark" / "plan.json").read_text())
    in_jobs = [cell for job in plan["jobs"].values() for cell in job["cells"]]
    assert sorted(in_jobs) == sorted(plan["cells"]) and len(in_jobs) == 3069  # each in one job
    assert re.search(rf"^job\s+{len(plan['jobs'])}$", (whole.parent / "runs" / ".benchmark" / "engine.log").read_text(), re.MULTILINE)


def test_a_machine_of_which_nothing_is_known_is_tried_out(sample, tmp_path):
    path = write(tmp_path / "new.yaml", sample, tmp_path / "runs", f"datasets: [{CLASSES}]\nmodels: [FCN, GRU]\n")
    first = installed("benchmark", "plan", path)
    assert "The estimate rests on a trial of FCN, GRU here and the paper's costs." in first.stdout, first.stderr
    kept = (tmp_path / "runs" / ".benchmark" / "trial.json").read_bytes()
    again = deeprehab("benchmark", "plan", path)
    assert again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1] and (tmp_path / "runs" / ".benchmark" / "trial.json").read_bytes() == kept


def test_what_is_missing_is_said_before_anything_starts(sample, tmp_path):
    path = write(tmp_path / "missing.yaml", sample, tmp_path / "runs", f"datasets: [{CLASSES}, KIMORE_reg_LA]\nmodels: [FCN]\n")
    refused(deeprehab("benchmark", "run", path), "KIMORE_reg_LA", "datasets download")
    planned = deeprehab("benchmark", "plan", path, "--no-trial")
    assert planned.returncode == 0 and "Note: The dataset KIMORE_reg_LA is not under" in planned.stdout
    refused(deeprehab("benchmark", "run", path, "--gpus", "99"), "99")
    write(path, sample, tmp_path / "runs", f"datasets: [{CLASSES}]\nmodels: [FCN]\n")
    refused(deeprehab("benchmark", "run", path, "--profile", "slrum"), "slrum", "slurm")


def test_planning_loads_no_network_library(half):
    program = (
        "import sys; from deeprehab_nb.experiment.grid import read_benchmark; from deeprehab_nb.experiment.plan import cells\n"
        "from deeprehab_nb.experiment.workflow import survey; survey(cells(read_benchmark(sys.argv[1])))\n"
        "assert 'keras' not in sys.modules and 'papermill' not in sys.modules"
    )
    path = half[0].with_name("plain.yaml")
    path.write_text(re.sub(r"models:.*", "models: [FCN]", half[0].read_text()))
    done = subprocess.run([sys.executable, "-c", program, path], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
