"""A training can be stopped in any way and at any time, and ends as if nobody had stopped it."""

import hashlib
import io
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from zipfile import ZipFile

import nbformat
import numpy as np
import pytest
from conftest import COMMAND, ENVIRONMENT, sentence, wait_for

from deeprehab_nb.errors import Interrupted, UserError
from deeprehab_nb.experiment.progress import PROGRESS
from deeprehab_nb.experiment.run import run_experiment
from deeprehab_nb.experiment.store import Experiment
from deeprehab_nb.models.golden import GOLDEN_HYPERPARAMETERS
from deeprehab_nb.training.checkpoint import Checkpoint

CLASSES = "Synthetic_clf_bn_ArmRaise"


def unseen(state):
    """Show progress to nobody."""


def made(experiment):
    """Return what must be equal, to the last bit, however often an experiment was stopped."""
    result = run_experiment(experiment, unseen)
    files = [p for p in sorted(result.folder.rglob("*")) if p.name in ("metrics.json", "predictions.npz", "ensemble.json")]
    return {
        "files": {p.relative_to(result.folder).as_posix(): p.read_bytes() for p in files},
        "weights": [[w.tobytes() for w in result.network(run.number).get_weights()] for run in result.runs],
        "history": [(run.history["loss"], run.history["learning_rate"]) for run in result.runs],
    }


def checkpoint_of(experiment, run=0):
    return experiment.folder / f".run{run}.checkpoint"


def resumed(experiment, run=0):
    return json.loads((experiment.folder / f"run{run}" / "provenance.json").read_text())["resumed"]


def stop_before(batch, experiment, number=signal.SIGTERM):
    """Let the process get a signal before a batch, counted from 1, of what is left to be trained."""
    seen, due = 0, Checkpoint.due

    def counting(self, epochs):
        nonlocal seen
        seen += 1
        if seen == batch:
            signal.raise_signal(number)
        return due(self, epochs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted) as error:
        patch.setattr(Checkpoint, "due", counting)
        run_experiment(experiment, unseen)
    assert error.value.signal == number
    sentence(str(error.value), "Interrupted", "the same command goes on from there")
    return str(error.value)


@pytest.fixture(scope="module")
def tiny(sample, tmp_path_factory):
    """A small experiment, and what it gives undisturbed; two batches in an epoch."""
    experiment = Experiment(
        CLASSES, model="FCN", root=sample, out=tmp_path_factory.mktemp("tiny"), epochs=4, runs=2, hyperparameters={"n_filters": [4, 4, 4]}
    )
    return experiment, made(experiment)


@pytest.mark.parametrize("model", GOLDEN_HYPERPARAMETERS)
def test_every_network_ends_the_same(sample, tmp_path, model):
    small = GOLDEN_HYPERPARAMETERS[model]
    small = small | {"dropout": 0.3} if "dropout" in small else small
    undisturbed, stopped = (
        Experiment(CLASSES, model=model, root=sample, out=tmp_path / out, epochs=3, runs=1, batch_size=32, hyperparameters=small)
        for out in ("undisturbed", "stopped")
    )
    stop_before(6, stopped)
    stop_before(2, stopped, signal.SIGINT)
    assert made(stopped) == made(undisturbed)
    assert resumed(stopped) == 2 and resumed(undisturbed) == 0 and not checkpoint_of(stopped).exists()


def test_the_run_that_was_stopped_is_named_and_the_others_are_kept(tiny, tmp_path):
    experiment, expected = replace(tiny[0], out=tmp_path), tiny[1]
    n_batches = -(-len(experiment.load().y_train) // 64)
    assert "in run 2 of 2 after 1 epoch;" in stop_before(5 * n_batches + 2 + n_batches // 2, experiment)
    assert (experiment.folder / "run0").is_dir() and not (experiment.folder / "run1").exists()
    assert not (experiment.folder / "ensemble.json").exists()
    assert made(experiment) == expected and [resumed(experiment, run) for run in range(2)] == [0, 1]


def test_killed_in_the_middle(sample, tmp_path):
    options = {"model": "FCN", "epochs": 60, "runs": 1, "batch_size": 16}
    killed, undisturbed = (Experiment(CLASSES, root=sample, out=tmp_path / out, **options) for out in ("killed", "undisturbed"))
    script = (
        "from deeprehab_nb.experiment.run import Experiment, run_experiment\n"
        f"run_experiment(Experiment({CLASSES!r}, root={str(sample)!r}, out={str(killed.out)!r}, checkpoint_seconds=1, **{options}))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], env=ENVIRONMENT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(checkpoint_of(killed), process)
    process.kill()
    process.wait()
    assert [p.name for p in killed.folder.iterdir() if "part" not in p.name and p.name != PROGRESS] == [checkpoint_of(killed).name]
    assert made(killed) == made(undisturbed) and resumed(killed) == 1
    assert sorted(p.name for p in killed.folder.iterdir()) == ["ensemble.json", "provenance.json", "run0"]


def test_the_command_goes_on_whatever_stops_it(sample, tmp_path):
    """SIGTERM; then kill -9 of the command; then of the notebook, as when memory runs out; then nothing."""
    experiment = Experiment(CLASSES, model="FCN", root=sample, out=tmp_path / "runs", epochs=200, runs=1)
    command = [COMMAND, "run", CLASSES, "--model=FCN", "--epochs=200", "--runs=1", "--root", sample, "--out", experiment.out]
    command += ["--checkpoint-epochs=1"]

    def start():
        (experiment.folder / PROGRESS).unlink(missing_ok=True)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, start_new_session=True, **pipes)
        wait_for(experiment.folder / PROGRESS, process)
        [notebook] = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout.split()
        return process, int(notebook)

    process, _ = start()
    process.terminate()
    said, complained = process.communicate(timeout=60)
    assert (process.returncode, said) == (143, "")
    told = re.search(r"\n(Interrupted in run 1 of 1 after (\d+) epochs?; the same command goes on from there\.)\n$", complained)
    assert told and "Traceback" not in complained, complained
    assert sorted(p.name for p in experiment.folder.iterdir()) == [checkpoint_of(experiment).name, "failed.ipynb"]
    failed = nbformat.read(experiment.folder / "failed.ipynb", as_version=4)
    nbformat.validate(failed)
    errors = [o for cell in failed.cells for o in cell.get("outputs", []) if o.output_type == "error"]
    assert [(error.ename, error.evalue) for error in errors] == [("Interrupted", told[1])]

    process, notebook = start()
    assert json.loads((experiment.folder / PROGRESS).read_text())["epoch"] >= int(told[2])
    process.kill()
    process.communicate()
    end = time.monotonic() + 20
    while os.path.exists(f"/proc/{notebook}") and time.monotonic() < end:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{notebook}")

    process, notebook = start()
    os.kill(notebook, signal.SIGKILL)
    said, complained = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "")
    assert "killed, perhaps for want of memory; the same command goes on from the last checkpoint." in complained, complained

    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in experiment.folder.iterdir()) == ["ensemble.json", "experiment.ipynb", "provenance.json", "run0"]
    assert resumed(experiment) == 3 and list(tmp_path.iterdir()) == [experiment.out]
    assert made(experiment) == made(replace(experiment, out=tmp_path / "undisturbed"))


def test_a_full_disk_leaves_the_checkpoint_before(tiny, tmp_path):
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")
    experiment, expected = replace(tiny[0], out=tmp_path, checkpoint_epochs=1), tiny[1]
    before, limits = [], resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(state):
        if state.epoch == 2:
            before.append(checkpoint_of(experiment).read_bytes())
            resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limits[1]))

    try:
        with pytest.raises(UserError) as error:
            run_experiment(experiment, fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    sentence(str(error.value), f"{checkpoint_of(experiment)} could not be written (File too large)")
    assert [p.name for p in experiment.folder.iterdir()] == [checkpoint_of(experiment).name]
    assert [checkpoint_of(experiment).read_bytes()] == before
    assert made(experiment) == expected and resumed(experiment) == 1


def test_a_checkpoint_of_another_experiment_is_refused(tiny, tmp_path):
    experiment = replace(tiny[0], out=tmp_path)
    stop_before(3, experiment)
    path, kept = checkpoint_of(experiment), checkpoint_of(experiment).read_bytes()
    for other, named in ((replace(experiment, epochs=5), "epochs 4, not 5"), (replace(experiment, seed=1), "seed 0, not 1")):
        with pytest.raises(UserError) as error:
            run_experiment(other, unseen)
        sentence(str(error.value), str(path), named)
    shutil.copytree(tiny[0].folder / "run0", experiment.folder / "run0")
    path.rename(checkpoint_of(experiment, 1))
    with pytest.raises(UserError) as error:
        run_experiment(experiment, unseen)
    sentence(str(error.value), "run 0, not 1")
    assert checkpoint_of(experiment, 1).read_bytes() == kept


class Attack:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch the-command-was-run",)


def _npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def _huge(member):
    return member.replace(b"'shape': (", b"'shape': (9999999999999, ", 1)


def _state(**changes):
    def change(member):
        described = json.loads(member)
        described["state"].update(changes)
        return json.dumps(described).encode()

    return change


@pytest.mark.parametrize("member, change", [
    ("run0.npz", lambda member: _npz(**{"0": np.array([Attack()], dtype=object)})),
    ("run1.npz", lambda member: pickle.dumps(Attack())),
    ("run0.npz", _huge), ("run0.npz", lambda member: _npz(**{"0": np.zeros(3)})), ("run1.npz", lambda member: _npz()),
    ("checkpoint.json", lambda member: b"[" * 100_000), ("checkpoint.json", lambda member: b"{}"),
    ("checkpoint.json", _state(random={"bit_generator": "PCG64", "state": "none"})), ("checkpoint.json", _state(batch="1")),
    ("checkpoint.json", _state(total=float("nan"))), ("checkpoint.json", _state(history={"epochs": [], "best_epoch": 1})),
], ids=[
    "a pickled array", "a pickle", "a huge header", "another network's", "no best weights", "deep", "nothing", "no random state", "text",
    "no number", "no history",
])
def test_a_hostile_checkpoint_runs_nothing(tiny, tmp_path, monkeypatch, capsys, member, change):
    """Its digest is right. Nothing in it is run, it is removed, and the run begins anew."""
    monkeypatch.chdir(tmp_path)
    experiment, expected = replace(tiny[0], out=tmp_path / "runs"), tiny[1]
    shutil.copytree(tiny[0].folder, experiment.folder)
    shutil.rmtree(experiment.folder / "run1")
    stop_before(4, experiment)
    path = checkpoint_of(experiment, 1)
    with ZipFile(io.BytesIO(path.read_bytes().partition(b"\n")[2])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert member in members
    members[member] = change(members[member])
    stream = io.BytesIO()
    with ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    rest = stream.getvalue()
    path.write_bytes(b"deeprehab-nb checkpoint, format 1 " + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
    assert made(experiment) == expected and resumed(experiment, 1) == 0
    assert f"The checkpoint {path} was damaged, so run 2 of 2 begins anew." in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize("damage", [
    lambda content: content[:-1], lambda content: content[:2000] + bytes([content[2000] ^ 4]) + content[2001:], lambda content: b"",
    lambda content: content.replace(b"format 1", b"format 2", 1),
], ids=["cut", "a bit", "empty", "another format"])
def test_a_damaged_checkpoint_costs_only_time(tiny, tmp_path, capsys, damage):
    experiment, expected = replace(tiny[0], out=tmp_path), tiny[1]
    shutil.copytree(tiny[0].folder, experiment.folder)
    shutil.rmtree(experiment.folder / "run1")
    stop_before(4, experiment)
    path = checkpoint_of(experiment, 1)
    path.write_bytes(damage(path.read_bytes()))
    assert made(experiment) == expected and resumed(experiment, 1) == 0
    assert f"The checkpoint {path} was damaged, so run 2 of 2 begins anew." in capsys.readouterr().out
