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
from contextlib import contextmanager
from dataclasses import replace
from zipfile import ZipFile

import nbformat
import numpy as np
import psutil
import pytest
from conftest import COMMAND, ENVIRONMENT, sentence, wait_for

from deeprehab_nb.errors import Interrupted, UserError
from deeprehab_nb.experiment import run
from deeprehab_nb.experiment.progress import PROGRESS
from deeprehab_nb.experiment.run import run_experiment
from deeprehab_nb.experiment.store import Experiment
from deeprehab_nb.experiment.workers import RunMaker
from deeprehab_nb.models.golden import GOLDEN_HYPERPARAMETERS, GOLDEN_SKELETON
from deeprehab_nb.models.zoo import architecture
from deeprehab_nb.training.checkpoint import Checkpoint, stopping
from deeprehab_nb.training.loop import Schedule, seed_everything, train

CLASSES = "Synthetic_clf_bn_ArmRaise"


def unseen(state):
    """Show progress to nobody."""


def here(numbers, experiment, fold, network_of, report, stop):
    """Make runs in this process, where a test can stop them at a certain batch."""
    RunMaker(experiment, fold, network_of).make(numbers, report, stop)


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(run, "make_runs", here)


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


@contextmanager
def stopping_before(batch, number=signal.SIGTERM):
    """Let the process get a signal before a batch, counted from 1, of what is left to be trained."""
    seen, due = 0, Checkpoint.due

    def counting(self, epochs):
        nonlocal seen
        seen += 1
        if seen == batch:
            signal.raise_signal(number)
        return due(self, epochs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "due", counting)
        yield


def stop_before(batch, experiment, number=signal.SIGTERM):
    """Start an experiment that is stopped before a batch; returns what it says."""
    with stopping_before(batch, number), pytest.raises(Interrupted) as error:
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "make_runs", here)
        return experiment, made(experiment)


HEAVY = ("STGCN", "H-Inception")  # they take long to compile, so all their batches are of one size


@pytest.mark.parametrize("model", GOLDEN_HYPERPARAMETERS)
def test_every_network_ends_the_same(tmp_path, model):
    """Stopped before the last and smaller batch of an epoch, and built anew: so two trainings from one seed give one network too."""
    small = GOLDEN_HYPERPARAMETERS[model]
    network_of = architecture(model, small | {"dropout": 0.3} if "dropout" in small else small)
    rng, n_cases = np.random.default_rng(0), 24 if model in HEAVY else 20
    x = rng.normal(size=(n_cases, 3 * GOLDEN_SKELETON.n_joints, 40)).astype("float32")
    y = rng.integers(2, size=n_cases)

    def trained(checkpoint=None):
        seed_everything(1)
        network = network_of.build(40, x.shape[1], 2, GOLDEN_SKELETON)
        history = train(network, x, y, Schedule(epochs=2, batch_size=8), seed=1, checkpoint=checkpoint)
        return [w.tobytes() for w in network.get_weights()], [(e.loss, e.learning_rate) for e in history.epochs], history.best_epoch

    path = tmp_path / "training"
    with stopping_before(6), stopping() as stop, pytest.raises(Interrupted):
        trained(Checkpoint(path, {}, stop=stop))
    assert trained(Checkpoint(path, {})) == trained()


def test_the_run_that_was_stopped_is_named_and_the_others_are_kept(in_this_process, tiny, tmp_path):
    experiment, expected = replace(tiny[0], out=tmp_path), tiny[1]
    n_looks = 4 * -(-len(experiment.load().y_train) // 64) + 1  # before each batch of a run, and at its end
    assert "in run 2 of 2 after 1 epoch;" in stop_before(n_looks + n_looks // 4 + 1, experiment)
    assert "in run 2 of 2 after 1 epoch;" in stop_before(1, experiment, signal.SIGINT)
    assert (experiment.folder / "run0").is_dir() and not (experiment.folder / "run1").exists()
    assert not (experiment.folder / "ensemble.json").exists()
    assert made(experiment) == expected and [resumed(experiment, run) for run in range(2)] == [0, 2]


def test_killed_in_the_middle(sample, tmp_path):
    options = {"model": "FCN", "epochs": 40, "runs": 1, "batch_size": 16}
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
    """SIGTERM; then kill -9 of the command; then of the notebook, as when memory runs out; then of the training; then nothing."""
    experiment = Experiment(CLASSES, model="FCN", root=sample, out=tmp_path / "runs", epochs=120, runs=1)
    command = [COMMAND, "run", CLASSES, "--model=FCN", "--epochs=120", "--runs=1", "--root", sample, "--out", experiment.out]
    command += ["--checkpoint-epochs=1"]

    def start():
        (experiment.folder / PROGRESS).unlink(missing_ok=True)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, start_new_session=True, **pipes)
        wait_for(experiment.folder / PROGRESS, process)
        below = psutil.Process(process.pid).children(recursive=True)
        server = next(other.pid for other in below if "forkserver" in " ".join(other.cmdline()) and other.ppid() == process.pid)
        notebook, training = sorted((other for other in below if other.ppid() == server), key=lambda other: other.create_time())
        return process, notebook.pid, training.pid

    process, _, _ = start()
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

    process, notebook, training = start()
    assert json.loads((experiment.folder / PROGRESS).read_text())["epoch"] >= int(told[2])
    process.kill()
    process.communicate()
    end = time.monotonic() + 20
    while any(map(psutil.pid_exists, (notebook, training))) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(psutil.pid_exists, (notebook, training)))

    for victim, named in ((1, "The notebook's process was"), (2, "The process that trained run 1 of 1 was")):
        process, *_ = started = start()
        os.kill(started[victim], signal.SIGKILL)
        said, complained = process.communicate(timeout=60)
        assert (process.returncode, said) == (1, "")
        assert f"{named} killed, perhaps for want of memory; the same command goes on from the last checkpoint." in complained, complained

    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in experiment.folder.iterdir()) == ["ensemble.json", "experiment.ipynb", "provenance.json", "run0"]
    assert 1 <= resumed(experiment) <= 4 and list(tmp_path.iterdir()) == [experiment.out]  # what was lost is not counted
    assert made(experiment) == made(replace(experiment, out=tmp_path / "undisturbed"))


def test_a_full_disk_leaves_the_checkpoint_before(in_this_process, tiny, tmp_path):
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


def test_a_checkpoint_of_another_experiment_is_refused(in_this_process, tiny, tmp_path):
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


def forged(member, change):
    """Return a damage: a member of the archive is changed, and the digest is right."""

    def damage(content):
        with ZipFile(io.BytesIO(content.partition(b"\n")[2])) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members[member] = change(members[member])
        stream = io.BytesIO()
        with ZipFile(stream, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        rest = stream.getvalue()
        return b"deeprehab-nb checkpoint, format 1 " + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest

    return damage


def _state(**changes):
    def change(member):
        described = json.loads(member)
        described["state"].update(changes)
        return json.dumps(described).encode()

    return change


DAMAGES = {
    "cut": lambda content: content[:-1],
    "a bit": lambda content: content[:2000] + bytes([content[2000] ^ 4]) + content[2001:],
    "empty": lambda content: b"",
    "another format": lambda content: content.replace(b"format 1", b"format 2", 1),
    "a pickled array": forged("run0.npz", lambda member: _npz(**{"0": np.array([Attack()], dtype=object)})),
    "a pickle": forged("run1.npz", lambda member: pickle.dumps(Attack())),
    "a huge header": forged("run0.npz", lambda member: member.replace(b"'shape': (", b"'shape': (9999999999999, ", 1)),
    "another network's": forged("run0.npz", lambda member: _npz(**{"0": np.zeros(3)})),
    "no best weights": forged("run1.npz", lambda member: _npz()),
    "deep": forged("checkpoint.json", lambda member: b"[" * 100_000),
    "nothing": forged("checkpoint.json", lambda member: b"{}"),
    "no random state": forged("checkpoint.json", _state(random={"bit_generator": "PCG64", "state": "none"})),
    "text": forged("checkpoint.json", _state(batch="1")),
    "no number": forged("checkpoint.json", _state(total=float("nan"))),
    "no history": forged("checkpoint.json", _state(history={"epochs": [], "best_epoch": 1})),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A training that stops before its first batch, and the content of a checkpoint from which it goes on after an epoch."""
    path = tmp_path_factory.mktemp("kept") / "training"
    x = np.random.default_rng(0).normal(size=(8, 6, 20)).astype("float32")

    def begin(path, batch=1):
        network = architecture("FCN", {"n_filters": (2, 2, 2)}).build(20, 6, 2)
        with stopping_before(batch), stopping() as stop, pytest.raises(Interrupted) as error:
            train(network, x, np.arange(8) % 2, Schedule(epochs=2, batch_size=4), seed=0, checkpoint=Checkpoint(path, {}, stop=stop))
        return str(error.value)

    begin(path, 4)
    return begin, path.read_bytes()


@pytest.mark.parametrize("damage", [None, *DAMAGES])
def test_a_damaged_or_hostile_checkpoint_is_removed(kept, tmp_path, monkeypatch, capsys, damage):
    """Nothing in it is run, also where its digest is right, and the training begins anew."""
    monkeypatch.chdir(tmp_path)
    begin, content = kept
    path = tmp_path / "training"
    path.write_bytes(DAMAGES[damage](content) if damage else content)
    assert f"after {0 if damage else 1} epoch" in begin(path)
    assert (f"The checkpoint {path} was damaged, so the training begins anew." in capsys.readouterr().out) == bool(damage)
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_checkpoint_costs_only_time(in_this_process, tiny, tmp_path):
    experiment, expected = replace(tiny[0], out=tmp_path), tiny[1]
    stop_before(4, experiment)
    path = checkpoint_of(experiment)
    path.write_bytes(DAMAGES["a bit"](path.read_bytes()))
    assert made(experiment) == expected and resumed(experiment) == 0
