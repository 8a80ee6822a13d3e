"""Files from strangers are data: nothing in them is run, and none of them takes the machine."""

import pickle
import struct
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from conftest import change, load, sentence

from deeprehab_nb.data import load_fold
from deeprehab_nb.data.npy import read_array
from deeprehab_nb.errors import UserError

MEGABYTE = 2**20


def npy(path, descr, shape, content=b""):
    """Write a .npy file whose header claims what it likes."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        file.write(content)
    return path


def refuses(path, *named):
    """Check that a file is refused in one sentence, fast, and without much memory."""
    tracemalloc.start()
    start = time.monotonic()
    try:
        with pytest.raises(UserError) as error:
            read_array(path)
        seconds, peak = time.monotonic() - start, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    sentence(str(error.value), str(path), *named)
    assert seconds < 5
    assert peak < 100 * path.stat().st_size + 5 * MEGABYTE


HARMLESS = pickle.dumps(np.array([77], dtype=object), 3)


def value(instructions):
    """Return a pickled object array whose only value is made by these instructions."""
    before, after = HARMLESS.split(b"KM")
    return before + instructions + after


def claim(opcode, length, n_bytes=8):
    """Return an instruction that claims a length which is not there."""
    return value(opcode + length.to_bytes(n_bytes, "little"))


def test_the_harmless_pickle_is_read(tmp_path):
    assert read_array(npy(tmp_path / "y.npy", "|O", (1,), HARMLESS)).tolist() == [77]
    assert read_array(npy(tmp_path / "y.npy", "|O", (1,), value(b"X\x02\x00\x00\x00E1"))).tolist() == ["E1"]


CALLS = {
    "eval": "cbuiltins\neval\n(S'open(\"{}\", \"w\")'\ntR",
    "exec": "c__builtin__\nexec\n(S'open(\"{}\", \"w\")'\ntR",
    "posix.system": "cposix\nsystem\n(S'touch {}'\ntR",
    "os.system": "cos\nsystem\n(S'touch {}'\ntR",
    "subprocess": "csubprocess\ncheck_output\n((S'touch'\nS'{}'\nltR",
    "open": "cio\nopen\n(S'{}'\nS'w'\ntR",
    "instance": "(S'touch {}'\niposix\nsystem\n",
    "object": "(cposix\nsystem\nS'touch {}'\no",
    "numpy.testing": "cnumpy.testing._private.utils\nrunstring\n(S'open(\"{}\", \"w\")'\n}}tR",
    "numpy.f2py": "cnumpy.f2py.crackfortran\nmyeval\n(S'open(\"{}\", \"w\")'\ntR",
    "numpy.memmap": "cnumpy\nmemmap\n(S'{}'\nS'u1'\nS'w+'\nI0\nI8\ntR",
    "numpy.fromfile": "cnumpy\nload\n(S'{}'\nNI01\ntR",
    "attribute of an allowed class": "\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93(S'{}'\ntR",
    "attribute of a stand-in": "\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93(S'{}'\ntR",
    "copyreg": "ccopyreg\n_reconstructor\n(cposix\nsystem\ncbuiltins\nobject\nNtR",
    "codecs": "c_codecs\nencode\n(S'{}'\ntR",
}


@pytest.mark.parametrize("whole", [True, False], ids=["alone", "as a value"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_nothing_in_a_pickle_is_called(tmp_path, call, whole):
    marker = tmp_path / "marker"
    instructions = call.format(marker).encode("latin-1")
    refuses(npy(tmp_path / "y.npy", "|O", (1,), instructions + b"." if whole else value(instructions)), "refused")
    assert not marker.exists()


DEEP = 30_000
HOSTILE = {
    "array class called": b"cnumpy\nndarray\n(I1000000000000\ntR.",
    "array rebuilt with odd arguments": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000000\ntS'b'\ntR.",
    "state as a dict": b"cnumpy\nndarray\n(tR}S'__class__'\nI1\nsb.",
    "state with slots": b"cnumpy\nndarray\n(tR(}}S'x'\nI1\nstb.",
    "state of a class": b"cnumpy\nndarray\n}S'__setstate__'\nI1\nsb.",
    "state of too few parts": b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n(I1\nttb.",
    "extension": b"\x82\x01.",
    "persistent id": b"Phere\n.",
    "persistent id from the stack": b"I1\nQ.",
    "buffer from outside": b"\x97.",
    "protocol of the future": b"\x80\x09N.",
    "no content": b"",
    "nothing but an end": b".",
    "cut": HARMLESS[:-10],
    "tuples in tuples": b"N" + b"\x85" * DEEP + b".",
    "tuples in tuples as a value": value(b"N" + b"\x85" * DEEP),
    "lists in lists": b"]" * DEEP + b"a" * (DEEP - 1) + b".",
    "marks": b"(" * DEEP + b"t" * DEEP + b".",
    "None": value(b"N"), "dict": value(b"}"), "list": value(b"]"), "bytes": value(b"C\x01a"), "class": value(b"cnumpy\ndtype\n"),
    "number of too many digits": value(b"I" + b"1" * DEEP + b"\n"),
    "number of too many bytes": value(b"\x8b" + DEEP.to_bytes(4, "little") + b"\x01" * DEEP),
    "long text": claim(b"\x8d", 2**62), "long bytes": claim(b"\x8e", 2**62), "long bytearray": claim(b"\x96", 2**40),
    "long number": claim(b"\x8b", 2**31 - 1, 4), "long frame": b"\x80\x04\x95" + (2**40).to_bytes(8, "little") + b"N.",
    "far memo": claim(b"K\x01r", 2**32 - 1, 4), "far memo as text": value(b"K\x01p99999999999\n"),
    "negative memo": value(b"K\x01p-1\n"), "no such memo": value(b"h\x63"),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_pickle_is_refused(tmp_path, content):
    refuses(npy(tmp_path / "y.npy", "|O", (1,), content))
    assert read_array(npy(tmp_path / "y.npy", "|O", (1,), HARMLESS)).tolist() == [77]  # nothing is left behind


@pytest.mark.parametrize("key", [b"N" + b"\x85" * 300_000, b"N" + b"22\x87" * 40], ids=["deep", "wide"])
@pytest.mark.parametrize("hashed", [b"}%bNs", b"}(%bNu", b"(%bNd", b"\x8f(%b\x90", b"(%b\x91"], ids=["item", "items", "dict", "set", "frozenset"])
def test_a_pickle_cannot_crash_or_stall_the_program(tmp_path, hashed, key):
    """Hashing such a key overflows the stack, or takes for ever: a process of its own, lest it takes pytest with it."""
    path = npy(tmp_path / "y.npy", "|O", (1,), hashed % key + b".")
    script = f"from deeprehab_nb.data.npy import read_array\nread_array({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1 and f"UserError: The file {path}" in done.stderr


@pytest.mark.parametrize("descr, shape, content", [
    ("<f8", (10**12,), b""), ("<f8", (10**30,), b""), ("<f8", (0, 2**40, 2**40), b""), ("<f8", (0, 10**30), b""),
    ("<f8", (-1, -8), bytes(64)), ("<f8", (True,), bytes(8)), ("<f8", (1,) * 65, bytes(8)), ("<U0", (5,), b""),
    ("<U0", (10**12,), b""), ("<U500000000", (1,), b""), ("|O", (10**12,), HARMLESS), ("|O", (2,), HARMLESS),
    ("|V8", (1,), bytes(8)), ("<M8[s]", (1,), bytes(8)), ("<c16", (1,), bytes(16)), ("|S4", (1,), bytes(4)),
    ([("a", "<f8")], (1,), bytes(8)), ([("a", "|O")], (1,), HARMLESS),
], ids=[
    "huge", "beyond 64 bits", "nothing of huge size", "nothing beyond 64 bits", "negative", "not a number", "65 dimensions",
    "empty texts", "many empty texts", "long text", "many objects", "two objects", "raw", "dates", "complex", "byte strings",
    "record", "record of objects",
])
def test_a_header_is_not_believed(tmp_path, descr, shape, content):
    refuses(npy(tmp_path / "x.npy", descr, shape, content))


@pytest.mark.parametrize("header", [
    b"__import__('os').system('touch marker')", b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'more': 1}",
    b"[" * 5000, b"{" + b"1:" * 4000, b"9" * 60_000, b"{'descr': '<f8' * 10**9}", b"\xff" * 64,
], ids=["call", "key", "deep", "nonsense", "digits", "bomb", "bytes"])
def test_a_header_is_not_run(tmp_path, header, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    refuses(path, "not a NumPy .npy file")
    assert list(tmp_path.iterdir()) == [path]


def test_text_that_is_no_unicode_is_refused(copy_of):
    folder = copy_of()
    change("y_train", lambda y: np.full(4 * len(y), 0xFF, np.uint8).view("<U1"))(folder)
    with pytest.raises(UserError) as error:
        load(folder)
    sentence(str(error.value), "y_train_fold0.npy")


@pytest.mark.parametrize("name", ["../x", "/etc", "classification/x", "..", ".", "", "a\\b", "a\nb", "a\0b", "~", "-x"])
def test_a_dataset_is_not_looked_for_elsewhere(sample, name):
    with pytest.raises(UserError) as error:
        load_fold(name, 0, sample)
    sentence(str(error.value), repr(name))


@pytest.mark.parametrize("text, named", [
    (b"[" * DEEP, "nested too deeply"), (b'{"a":' * 6000, "nested too deeply"), (b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}", "nested"),
    (b'{"n_joints": 1' + b"0" * 5000 + b"}", "JSON"), (b" " * 2 * MEGABYTE, "over 32 kB"), (b'{"n_joints": 1' + b"0" * 30 + b"}", "info.json"),
], ids=["lists", "objects", "closed", "digits", "long", "number"])
def test_a_hostile_description_is_refused(copy_of, text, named):
    folder = copy_of()
    (folder / "info.json").write_bytes(text)
    with pytest.raises(UserError) as error:
        load(folder)
    sentence(str(error.value), "info.json", named)
