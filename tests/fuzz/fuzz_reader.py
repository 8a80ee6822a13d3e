"""
Coverage-guided fuzzing of the readers of strangers' files.

In an environment of its own, with this package and `pip install atheris` (no dependency of the project):

    python tests/fuzz/fuzz_reader.py array|arrays|info FOLDER -max_total_time=600

The inputs that reached something new are collected in FOLDER; the options are libFuzzer's. Without atheris,
`tests/test_hostile.py` runs the functions here on the few inputs kept in `tests/fuzz/corpus`.
"""

import contextlib
import io
import pickle
import re
import sys
import types
from pathlib import Path

try:
    import atheris

    sys.modules.pop("pickletools", None)  # it may have been imported before it could be watched
    watched = atheris.instrument_imports(include=["deeprehab_nb.data.npy", "deeprehab_nb.data.info", "pickletools", "json5"])
except ImportError:
    atheris, watched = None, contextlib.nullcontext()
with watched:
    import pickletools  # noqa: F401

    import json5.parser  # noqa: F401

    from deeprehab_nb.data import npy
    from deeprehab_nb.data.info import parse_info

import numpy as np

from deeprehab_nb.errors import UserError

CORPUS = Path(__file__).parent / "corpus"


def harmless(array):
    """Check what a reader has returned."""
    assert array.dtype.kind in "biufUO" and array.dtype.isnative and array.flags.c_contiguous and not array.flags.writeable
    for value in array.reshape(-1)[:1000].tolist():
        assert type(value) in (bool, int, float, str) or array.dtype == np.longdouble
        str(value).encode()


def array(content):
    """Read a .npy file."""
    harmless(npy.parse_array(content, "The file x.npy"))


def arrays(content):
    """Read a .npz file."""
    for name, one in npy.parse_arrays(content, "The file x.npz").items():
        assert re.fullmatch("[A-Za-z0-9_]+", name)
        harmless(one)


def info(content):
    """Read an info.json."""
    found = parse_info(content, "info.json")
    found.description.encode()
    assert found.n_timepoints > 0 and 0 < found.max_score < 3.4e38


TARGETS = {target.__name__: target for target in (array, arrays, info)}


def attack(target, content):
    """Run a target; anything but a result or one sentence is a finding, and ends in an exception."""
    try:
        TARGETS[target](content)
    except UserError as error:
        text = str(error)
        assert text.isprintable() and text[-1] in ".?" and len(text) < 1000, text


def seeds(target):
    """Return some files to begin with."""
    values = np.array([1, True, 0.5, "E1"], dtype=object)
    plain = [np.arange(6.0).reshape(1, 2, 3), np.arange(4, dtype=">i2"), np.array(["C", "E1"]), np.array(True), np.asfortranarray(np.eye(2))]

    def saved(one):
        stream = io.BytesIO()
        np.save(stream, one)
        return stream.getvalue()

    if target == "array":
        header = saved(values)[:128]
        return [*map(saved, plain), *(header + pickle.dumps(values, protocol) for protocol in range(6))]
    if target == "arrays":
        stored = []
        for write in (np.savez, np.savez_compressed, lambda stream, **named: npy.write_arrays(stream, named)):
            stream = io.BytesIO()
            write(stream, x=plain[0], y=plain[2])
            stored.append(stream.getvalue())
        return stored
    return [
        b'{"length_TS": 5, "n_joints": 2, "dim": 3, "kinematic_tree": [[0, 1]], "max_score_value": 50.5, "synthetic": true,}',
        b"{'n_dim': 3, 'dim': 0x3, /* \xc3\xa9 */ length_TS: +5, n_joints: 1e0, max_score_value: Infinity, description: '\\u00e9'} // x",
    ]


def main():
    """Fuzz one target."""
    target, folder, *options = sys.argv[1:]
    for number, seed in enumerate(seeds(target)):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"seed{number}").write_bytes(seed)

    class Right:  # a checksum that is always right: the fuzzer could never find one
        def __ne__(self, other):
            return False

    npy.zlib = types.SimpleNamespace(crc32=lambda data: Right())
    atheris.Setup([sys.argv[0], folder, *options], lambda content: attack(target, content))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
