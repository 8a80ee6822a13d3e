"""The Dockerfile's steps are the README's, and the image can be used by anybody. `container.sh` builds it, where there is Docker."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STEPS = [
    tuple(step.split(maxsplit=1))
    for step in re.sub(r"^#.*\n|\\\n", "", DOCKERFILE, flags=re.MULTILINE).splitlines()
    if step.strip()
]


def steps(*kinds):
    """Return what the Dockerfile says by instructions of these kinds, in its order."""
    return [text for kind, text in STEPS if kind in kinds]


def test_set_up_is_that_of_the_readme():
    made = [word for text in steps("RUN") for word in re.findall(r"(?:^|=1 )make (\w+)", text)]
    assert made == ["setup"]
    assert "make setup" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert not any(re.search(r"\b(pip|uv|curl|wget)\b", text) for text in steps("RUN"))


@pytest.mark.parametrize(("gpu", "locks"), [("0", ["requirements.lock"]), ("1", ["requirements.lock", "requirements-gpu.lock"])])
def test_set_up_installs_what_is_locked(gpu, locks):
    command = ["make", "--dry-run", "--always-make", "setup", f"GPU={gpu}"]
    planned = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    installs = re.findall(r"install .*--require-hashes(.*) &&", planned)
    assert len(installs) == 2  # with uv, with pip
    assert all(re.findall(r"-r (\S+)", install) == locks for install in installs)
    copied = steps("COPY")[0].split()[:-1]
    assert {*locks, "Makefile", "pyproject.toml"} <= {*copied}


def test_locks_do_not_disagree():
    names = {}
    for lock in ("requirements.lock", "requirements-gpu.lock"):
        text = (ROOT / lock).read_text(encoding="utf-8")
        names[lock] = set(re.findall(r"^([\w.-]+)==\S+", text, re.MULTILINE))
        for package in re.split(r"\n(?! )", text.strip()):
            assert "--hash=sha256:" in package, package
    assert not names["requirements.lock"] & names["requirements-gpu.lock"]
    assert {"nvidia-cudnn-cu12", "nvidia-cuda-runtime-cu12"} < names["requirements-gpu.lock"]


def test_nobody_is_root_and_anybody_may_write():
    assert steps("USER") == ["1000"]
    after = [kind for kind, _ in STEPS[STEPS.index(("USER", "1000")) :]]
    assert not {"RUN", "COPY", "ADD"} & {*after}
    assert json.loads(steps("VOLUME")[0]) == ["/data", "/results"]
    assert "install --directory --mode=1777 /home/deeprehab /data /results" in steps("RUN")[-1]
    assert steps("WORKDIR")[-1] == "/results"
    environment = dict(item.split("=", 1) for item in steps("ENV")[0].split())
    assert environment["DEEPREHAB_DATA"] == "/data"
    assert environment["HOME"] == "/home/deeprehab"
    assert environment["USER"]  # a user without a name stops libraries that ask for it
    assert environment["PATH"].split(":")[0] == f"{steps('WORKDIR')[0]}/.venv/bin"


def test_program_can_be_stopped():
    assert json.loads(steps("ENTRYPOINT")[0]) == ["tini", "-gs", "--", "deeprehab"]
    assert steps("STOPSIGNAL") == ["SIGINT"]


def test_python_of_the_image_is_one_that_is_tested():
    (python,) = re.findall(r"^python:(3\.\d+)-slim-\w+$", steps("FROM")[0])
    assert f'"Programming Language :: Python :: {python}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_what_git_ignores_stays_out_of_the_image():
    git, docker = (
        {line.rstrip("/").removeprefix("**/") for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")}
        for name in (".gitignore", ".dockerignore")
    )
    assert docker == git | {".git"}


def test_guide_says_what_the_dockerfile_does():
    guide = (ROOT / "book" / "containers.md").read_text(encoding="utf-8")
    commands = "\n".join(re.findall(r"```bash\n(.*?)```", guide, re.DOTALL)).replace("\\\n", " ")
    for run in re.findall(r"docker run .*", commands):
        for _, inside in re.findall(r'-v "([^":]+):([^":]+)"', run):
            assert inside in json.loads(steps("VOLUME")[0])
    assert {argument.split("=")[0] for argument in re.findall(r"--build-arg (\S+)", commands)} == {"GPU"}
    assert steps("ARG") == ["GPU=0"]
    template = re.search(r"(/opt/\S+)/(nbs/\S+\.ipynb)", commands)
    assert template[1] == steps("WORKDIR")[0]
    assert (ROOT / template[2]).is_file()


def test_linter_finds_nothing():
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed (it comes with the extra 'dev')")
    done = subprocess.run([linter, "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
