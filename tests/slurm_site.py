"""A real Slurm of one node for the tests: munged, slurmctld and slurmd, started by hand in a folder of their own.

Needs root on Debian or Ubuntu; `why_not` says so. `python tests/slurm_site.py` keeps one up until it is interrupted.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

FOLDER = Path("/run/deeprehab_slurm_site")  # one at a time on a machine, so that what a killed run has left is found
USUAL = Path("/etc/slurm/slurm.conf")  # a job of snakemake looks nowhere else: its plugin drops SLURM_CONF
DAEMONS = ("munged", "slurmctld", "slurmd")

# No cgroups, no accounting: these work in a container. Cores, memory and GPUs are counted and handed out as on a
# cluster. The GPUs are only names: a `File` must be a device that exists, and these exist everywhere.
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0
MpiDefault=none
KillWait={kill_wait}
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} Gres=gpu:{gpus}
PartitionName=short Nodes=ALL Default=YES DefaultTime=10 MaxTime=60
"""
DEVICES = ("null", "zero", "full", "random")


def why_not():
    """Return why there can be no Slurm here, in a few words, or an empty text."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "needs root"
    if not all(map(shutil.which, DAEMONS)) and not shutil.which("apt-get"):
        return "needs Slurm, or Debian's apt-get to install it"
    if USUAL.exists() and not _linked():
        return f"this machine has a Slurm of its own, {USUAL}"
    return ""


@contextmanager
def slurm_site(cpus=2, memory_mb=4000, gpus=2, kill_wait=5):
    """
    Start a Slurm of one node, and stop it again. A second one waits until the first has ended.

    Parameters
    ----------
    cpus, memory_mb, gpus : int
        What the node says it has: up to four GPUs.
    kill_wait : int
        Seconds between SIGTERM and SIGKILL when a job is cancelled or its time is up.

    Yields
    ------
    dict
        The environment variables for Slurm's commands.
    """
    with FileLock(f"{FOLDER}.lock"):
        _stop()
        try:
            _install()
            yield _start(cpus=cpus, memory_mb=memory_mb, gpus=gpus, kill_wait=kill_wait)
        finally:
            _stop()


def _install():
    if all(map(shutil.which, DAEMONS)):
        return
    for words in (["update"], ["install", "--yes", "--no-install-recommends", "slurm-wlm", "munge"]):
        subprocess.run(
            ["apt-get", "--quiet", *words], env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, check=True,
            capture_output=True,
        )


def _start(**node):
    for name in ("state", "spool"):
        (FOLDER / name).mkdir(parents=True)
    host = socket.gethostname().split(".")[0]
    (FOLDER / "slurm.conf").write_text(CONFIGURATION.format(folder=FOLDER, host=host, ports=_free_ports(2), **node))
    (FOLDER / "gres.conf").write_text("".join(f"Name=gpu File=/dev/{name}\n" for name in DEVICES[: node["gpus"]]))
    (FOLDER / "munge.key").touch(mode=0o600)
    (FOLDER / "munge.key").write_bytes(os.urandom(128))
    USUAL.parent.mkdir(exist_ok=True)
    USUAL.symlink_to(FOLDER / "slurm.conf")

    ours = ("SLURM_", "SBATCH_", "SRUN_")  # of a Slurm in which the tests themselves may run
    environment = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    environment["SLURM_CONF"] = str(FOLDER / "slurm.conf")
    munge = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    for command in (
        ["munged", *(f"--{option}={FOLDER}/munge.{ending}" for option, ending in munge.items())],
        ["slurmctld", "-f", FOLDER / "slurm.conf"],
        ["slurmd", "-f", FOLDER / "slurm.conf"],
    ):
        subprocess.run(command, env=environment, check=True, timeout=60)
    for _ in range(300):
        sinfo = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True, check=False
        )
        if sinfo.stdout.strip() == "idle":
            return environment
        time.sleep(0.1)
    logs = "\n".join(path.read_text()[-2000:] for path in sorted(FOLDER.glob("*.log")))
    raise RuntimeError(f"Slurm has not started: {sinfo.stdout}{sinfo.stderr}\n{logs}")


def _stop():
    """End the daemons and all that runs in their jobs, now and of an earlier run, and remove their folder."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(50):
            running = _processes()
            if not running:
                break
            for process in running:
                try:
                    os.kill(process, number)
                except ProcessLookupError:  # it has ended meanwhile
                    pass
            time.sleep(0.1)
    if _linked():
        USUAL.unlink()
    shutil.rmtree(FOLDER, ignore_errors=True)


def _linked():
    return USUAL.is_symlink() and USUAL.readlink() == FOLDER / "slurm.conf"


def _processes():
    """Return the processes of the site: Slurm's own work in its folder, and all jobs know its configuration."""
    mark = f"SLURM_CONF={FOLDER}/slurm.conf".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            marked = mark in (process / "environ").read_bytes().split(b"\0")
            inside = str((process / "cwd").readlink()).startswith(f"{FOLDER}")
        except OSError:  # it has ended meanwhile
            continue
        if marked or inside:
            found.append(int(process.name))
    return found


def _free_ports(count):
    with_ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in with_ports]
    for one in with_ports:
        one.close()
    return ports


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with slurm_site():
        print("up: sinfo, sbatch and the others work in every shell", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            pass
