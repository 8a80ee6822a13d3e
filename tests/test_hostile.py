"""Files from strangers are data: each of a set of hostile ones is refused in a sentence, and none takes the machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import sentence

if sys.platform != "linux":
    pytest.skip("what a process takes is read from /proc", allow_module_level=True)

import hostile
from fuzz import fuzz_reader

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


def test_the_set_is_large_and_without_repetition():
    for _, files in hostile.SETS.values():
        assert len(set(files.values())) == len(files)
    assert len(NAMES) >= 200


def test_a_reader_that_runs_pickles_is_found_out(tmp_path):
    """Unpickled as usual, these would run: the watch over the children sees it."""
    for number, name in enumerate(("reduce, alone", "object, alone", "stack, alone")):
        (tmp_path / f"{number}.npy").write_bytes(hostile.NPY[f"pickle: {name}"])
    script = """
import pathlib, pickle, sys
import hostile

def careless(path):
    header, content = pathlib.Path(path).read_bytes().split(b"}\\n", 1)
    return pickle.loads(content) if b"'|O'" in header else None

hostile.SETS[".npy"] = careless, {}
hostile.run(pathlib.Path(sys.argv[1]))
"""
    folder = str(Path(hostile.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=60, check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])},
    )
    ends = [json.loads(line)["ended"] for line in done.stdout.splitlines()]
    assert len(ends) == 3 and all("system" in end for end in ends), ends


@pytest.mark.parametrize("path", sorted(fuzz_reader.CORPUS.iterdir()), ids=lambda path: path.name)
def test_what_the_fuzzer_has_reached_is_still_harmless(path):
    """Each input is named after the reader it is for."""
    fuzz_reader.attack(path.name.split("-")[0], path.read_bytes())
