"""The workflow in a real Slurm of one node: short cells share a job, what fails or is cancelled is tried again."""

import csv
import json
import os
import re
import signal
import subprocess
import time

import pytest
from conftest import COMMAND, ROOT
from slurm_site import slurm_site, why_not

SNAKEMAKE = ROOT / ".venv-slurm" / "bin" / "snakemake"

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(why_not()), reason=f"a Slurm of its own: {why_not()}")]

# Stands in for the project's Python: it gets `-m MODULE PLAN JOB` and does what the real command does with a job's
# cells, but quickly. A cell whose name begins with "slow" takes a minute when it is tried for the first time.
FAKE_PYTHON = """#!/usr/bin/env python3
import json, os, signal, sys, time
from pathlib import Path

plan = json.loads(Path(sys.argv[3]).read_text())
out = Path(plan["out"])


def note(*words):
    with open(out / "events", "a") as file:
        print(*words, os.environ["SLURM_JOB_ID"], file=file)


def stop(*_):
    note("stopped", cell)
    sys.exit(143)


signal.signal(signal.SIGTERM, stop)
failed = False
for cell in plan["jobs"][sys.argv[4]]["cells"]:
    if (out / cell).exists():
        continue
    note("started", cell)
    if cell.startswith("slow"):
        slow = (out / "events").read_text().count(f"started {cell} ") == 1
        time.sleep(60 if slow else 0)
    if cell.startswith("bad"):
        failed = True
        continue
    (out / cell).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    note("finished", cell)
sys.exit(failed)
"""


@pytest.fixture(scope="module")
def site():
    if not SNAKEMAKE.exists():
        subprocess.run(["make", "slurm"], cwd=ROOT, check=True)
    with slurm_site(kill_wait=30) as environment:  # Slurm's default
        yield environment


def plan(out, jobs):
    """Write a plan of jobs, each a list of cells, and return its path."""
    python = out / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    entries = {
        name: dict(cells=cells, priority=0, threads=1, mem_mb=500, gpu=int("gpu" in name), minutes=5) for name, cells in jobs.items()
    }
    path = out / "plan.json"
    path.write_text(json.dumps({"python": str(python), "out": str(out), "jobs": entries}))
    return path


def start(site, path):
    """Start the workflow, with status checks that suit a test."""
    return subprocess.Popen(
        [SNAKEMAKE, "--snakefile", ROOT / "workflow" / "Snakefile", "--profile", ROOT / "workflow" / "profiles" / "slurm",
         "--directory", path.parent, "--config", f"plan={path}", "--retries", "1", "--nolock",
         "--slurm-init-seconds-before-status-checks", "2"],
        env=site, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )


def events(out):
    """Return what the cells have noted: (what, cell, Slurm's job number)."""
    path = out / "events"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(out, what, cell):
    """Wait until a cell has noted something, and return the number of its Slurm job."""
    for _ in range(600):
        for event in events(out):
            if event[:2] == (what, cell):
                return event[2]
        time.sleep(0.1)
    raise AssertionError(f"{cell} has not {what}: {events(out)}")


def test_jobs_are_tried_again_and_go_on(site, tmp_path):
    path = plan(tmp_path, {"short-gpu": ["a", "b"], "cancelled": ["c", "slow", "d"], "failing": ["e", "bad", "f"]})
    engine = start(site, path)
    subprocess.run(["scancel", wait_for(tmp_path, "started", "slow")], env=site, check=True)
    output, _ = engine.communicate(timeout=150)
    assert engine.returncode == 1, output  # because of the cell that fails each time

    noted = events(tmp_path)
    for cell in ("a", "b", "c", "slow", "d", "e", "f"):
        assert [what for what, name, _ in noted if name == cell and what == "finished"] == ["finished"], noted
    started = {cell: [job for what, name, job in noted if name == cell and what == "started"] for _, cell, _ in noted}
    assert started["a"] == started["b"]  # in one job
    assert (tmp_path / "a").read_text() in ("0", "1")  # the GPU that Slurm gave to it
    assert (tmp_path / "c").read_text() == ""
    assert len(started["slow"]) == 2 and ("stopped", "slow", started["slow"][0]) in noted
    assert len(started["bad"]) == 2 and len(started["f"]) == 1

    (tmp_path / "bad").touch()  # it has been put right, by hand
    engine = start(site, plan(tmp_path, {"rest": ["bad"]}))
    output, _ = engine.communicate(timeout=60)
    assert engine.returncode == 0, output


def test_an_interrupted_run_leaves_no_job_behind(site, tmp_path):
    engine = start(site, plan(tmp_path, {"long": ["slow"]}))
    wait_for(tmp_path, "started", "slow")
    os.kill(engine.pid, signal.SIGINT)
    output, _ = engine.communicate(timeout=60)
    assert engine.returncode == 1, output
    wait_for(tmp_path, "stopped", "slow")
    assert not (tmp_path / "slow").exists()


def test_a_benchmark_is_planned_run_cancelled_run_again_and_collected(site, sample, tmp_path):
    out, path = tmp_path / "runs", tmp_path / "slurm.yaml"
    path.write_text(
        f"root: {sample}\nout: {out}\ndatasets: [Synthetic_clf_bn_ArmRaise]\nfolds: [0]\nepochs: 200\nruns: 2\nbatch_size: 8\n"
        "models: [FCN: {n_filters: [4, 4, 4]}, FCN: {n_filters: [2, 2, 2]}]\ncheckpoint: {seconds: 1}\n"
        "resources: {memory: 1500, retries: 0, batch: 0.1}\n"  # a batch that one cell fills, so two jobs
    )
    planned = subprocess.run([COMMAND, "benchmark", "plan", path, "--no-trial"], env=site, capture_output=True, text=True, check=True)
    assert "0 of 2 cells complete, 2 left, 0 failed" in planned.stdout
    profile = tmp_path / "profile"  # that asks more often how the jobs are
    profile.mkdir()
    known = (ROOT / "workflow" / "profiles" / "slurm" / "config.yaml").read_text()
    (profile / "config.yaml").write_text(f"{known}\nslurm-init-seconds-before-status-checks: 2\n")
    run = [COMMAND, "benchmark", "run", path, "--profile", profile]
    running = subprocess.Popen(run, env=site, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (kept := list(out.glob("*/*/*/*/.run*.checkpoint"))):
        assert running.poll() is None, running.communicate()
        time.sleep(0.1)
    job = int(re.search(r"job (\d+)", json.loads((kept[0].parent / "cell.json").read_text())["host"])[1])
    subprocess.run(["scancel", str(job)], env=site, check=True)
    said, complained = running.communicate(timeout=240)
    assert running.returncode == 1 and "1 of 2 cells complete, 1 left, 0 failed" in said, (said, complained)
    # how far it was, if it could say so before it was killed
    assert re.search(r"was interrupted: (Interrupted in run|Its process was killed)", complained)

    again = subprocess.run(run, env=site, capture_output=True, text=True, check=False, timeout=240)
    assert again.returncode == 0 and "2 of 2 cells complete" in again.stdout, again.stderr
    resumed = [json.loads(p.read_text())["resumed"] for p in kept[0].parent.glob("run*/provenance.json")]
    assert sum(resumed) >= 1
    with (out / "collected" / "metrics.csv").open(newline="") as file:
        assert len({row["variant"] for row in csv.DictReader(file)}) == 2
