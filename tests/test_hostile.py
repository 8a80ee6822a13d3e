"""Files from strangers are data: each of a set of hostile ones is refused in a sentence, and none takes the machine."""

import json
import subprocess
import sys

import pytest
from conftest import sentence

if sys.platform != "linux":
    pytest.skip("what a process takes is read from /proc", allow_module_level=True)

import hostile

NAMES = hostile.names()


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """How the reading of each file ended: one warm process forks a child for each."""
    folder = tmp_path_factory.mktemp("hostile")
    hostile.write(folder)
    done = subprocess.run([sys.executable, hostile.__file__, folder], capture_output=True, text=True, timeout=120, check=True)
    return folder, {end.pop("file"): end for end in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("number", range(len(NAMES)), ids=[f"{suffix} {name!a:.50}" for suffix, name in NAMES])
def test_a_hostile_file_is_refused(ends, number):
    folder, how = ends
    path = folder / f"{number}{NAMES[number][0]}"
    end = how[path.name]
    assert end["ended"] == "refused"
    assert end["seconds"] < hostile.SECONDS and end["megabytes"] < hostile.MEGABYTES and end["left"] == []
    sentence(end["sentence"], str(path))
    assert end["sentence"].isprintable() and len(end["sentence"]) < 1000
