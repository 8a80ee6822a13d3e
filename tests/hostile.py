"""
Files that want to harm the reader: a set that is generated, and a process that reads each of them in a child of its own.

`NPY`, `NPZ` and `INFO` give for each name the content, or a function that makes it where it is large. `python hostile.py FOLDER`
reads the files of a folder and prints for each, as a line of JSON, how the reading ended. Every attack that calls something
would leave a file behind: it is told to write "marker" to where it runs, which is an empty folder.
"""

import codecs
import io
import json
import os
import pickle
import resource
import signal
import struct
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from deeprehab_nb.data.info import read_info
from deeprehab_nb.data.npy import read_array, read_arrays
from deeprehab_nb.errors import UserError

SECONDS, MEGABYTES = 5, 500  # what a file may cost
DEEP = 100_000


# pickles ------------------------------------------------------------------------------------------------------------


def header(text, version=1, length=None):
    """Return the beginning of a .npy file: a header that says what it likes, also about its length."""
    text = text if isinstance(text, bytes) else text.encode()
    length = len(text) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<L", length) + text


def npy(descr, shape, content=b"", order=False, **lies):
    """Return a .npy file; `descr` and `shape` are what stands in the header."""
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n", **lies) + content


def pickled(content, shape="(1,)"):
    return npy("'|O'", shape, content)


HARMLESS = pickle.dumps(np.array([77], dtype=object), 3)


def value(instructions):
    """Return a pickled object array whose only value is made by these instructions."""
    before, after = HARMLESS.split(b"KM")
    return before + instructions + after


def claim(opcode, length, n_bytes=8):
    """Return an instruction that claims a length which is not there."""
    return value(opcode + length.to_bytes(n_bytes, "little"))


def short(text):
    return b"\x8c" + bytes([len(text)]) + text.encode()


WAYS_TO_CALL = {  # a function of a module, with one argument
    "reduce": lambda m, f, a: f"c{m}\n{f}\n(S'{a}'\ntR".encode(),
    "instance": lambda m, f, a: f"(S'{a}'\ni{m}\n{f}\n".encode(),
    "object": lambda m, f, a: f"(c{m}\n{f}\nS'{a}'\no".encode(),
    "new object": lambda m, f, a: f"\x80\x02c{m}\n{f}\n(S'{a}'\nt\x81".encode("latin-1"),
    "new object with keywords": lambda m, f, a: f"\x80\x04c{m}\n{f}\n(S'{a}'\nt}}\x92".encode("latin-1"),
    "stack": lambda m, f, a: b"\x80\x04" + short(m) + short(f) + b"\x93" + short(a) + b"\x85R",
    "stack by way of the memo": lambda m, f, a: b"\x80\x04" + short(f) + b"\x940" + short(m) + b"h\0\x93" + short(a) + b"\x85R",
    "frame": lambda m, f, a: b"\x80\x05\x95" + (8 + len(m + f + a)).to_bytes(8, "little") + WAYS_TO_CALL["stack"](m, f, a)[2:],
    "pop": lambda m, f, a: f"c{m}\n{f}\n(S'{a}'\ntR0I1\n".encode(),
    "pop to a mark": lambda m, f, a: f"(c{m}\n{f}\n(S'{a}'\ntR1I1\n".encode(),
    "duplicate": lambda m, f, a: f"c{m}\n{f}\n2(S'{a}'\ntR".encode(),
    "slots of a stand-in": lambda m, f, a: f"cnumpy\nndarray\n(tR(N}}S'__setstate__'\nc{m}\n{f}\nstbS'{a}'\nb".encode(),
    "attributes of a stand-in": lambda m, f, a: f"cnumpy\nndarray\n(tR}}S'__setstate__'\nc{m}\n{f}\nsbS'{a}'\nb".encode(),
    "state": lambda m, f, a: f"cnumpy\nndarray\n(tRc{m}\n{f}\n(S'{a}'\ntRb".encode(),
    "argument": lambda m, f, a: f"cnumpy.core.multiarray\n_reconstruct\n(c{m}\n{f}\n(S'{a}'\ntRtR".encode(),
    "shape": lambda m, f, a: f"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\nc{m}\n{f}\n(S'{a}'\ntRNI00\n(lI1\natb".encode(),
    "append": lambda m, f, a: f"c{m}\n{f}\nS'{a}'\na".encode(),
    "key": lambda m, f, a: f"}}c{m}\n{f}\n(S'{a}'\ntRI1\ns".encode(),
}
PLACES = {
    "alone": lambda instructions: instructions + b".",
    "as an array": lambda instructions: b"cnumpy.core.multiarray\n_reconstruct\n(tR" + instructions + b"b.",
    "as a value": value,
}
FUNCTIONS = """
    os system touch marker | nt system touch marker | os popen touch marker | os mkdir marker
    builtins eval open("marker","w") | builtins exec open("marker","w") | __builtin__ eval open("marker","w") | builtins open marker
    builtins __import__ antigravity | builtins getattr os | builtins compile 1 | builtins input marker | builtins breakpoint x
    io open marker | _io FileIO marker | subprocess Popen touch | subprocess getoutput touch marker | pty spawn touch | runpy run_path marker
    importlib import_module this | pickle loads N. | _pickle loads N. | marshal loads N | timeit timeit open("marker","w") | code interact x
    cProfile run open("marker","w") | pdb run open("marker","w") | ctypes CDLL marker | types CodeType x | types FunctionType x
    operator attrgetter system | operator methodcaller system | functools partial os | codecs open marker | _codecs decode x
    shutil rmtree . | socket create_connection x | urllib.request urlopen file:///etc/passwd | webbrowser open marker | tempfile mkdtemp x
    logging.config fileConfig marker | copyreg _reconstructor x | copyreg __newobj__ x | collections OrderedDict x | pathlib Path.mkdir marker
    __main__ exit 1 | sys exit 1 | os _exit 1 | os abort x | signal raise_signal 9 | sqlite3 connect marker | pip main x | pydoc pipepager x
    numpy load marker | numpy memmap marker | numpy fromfile marker | numpy savetxt marker | numpy.testing._private.utils runstring x
    numpy.f2py.crackfortran myeval open("marker","w") | numpy.f2py os.system touch marker | numpy.lib.npyio load marker
    numpy sys.exit 1 | numpy core.multiarray._reconstruct x | numpy ndarray.tofile marker | numpy ndarray.__init__ x | numpy ndarray.__class__ x
    numpy dtype.__reduce__ x | numpy.core.multiarray _reconstruct.__globals__ x | numpy._core.multiarray scalar x | numpy _core._exceptions x
    numpy.core.multiarray fromstring x | numpy.core.multiarray frombuffer x | numpy.core.numeric _frombuffer x | numpy.random._pickle __randomstate_ctor x
    numpy  x | _codecs encode.__class__ x | deeprehab_nb.data.npy os.system touch marker | deeprehab_nb.files _remove . | joblib load marker
    pandas read_pickle marker | keras models.load_model marker
"""


class Evil:
    """Pickles as the result of a call of something."""

    def __init__(self, *how):
        self.how = how

    def __reduce__(self):
        return self.how


def function(text):
    module, name, argument = text.split(" ", 2)
    return module, name, argument


TOUCH = ("posix", "system", "touch marker")
PICKLES = {
    **{f"{way}, {place}": put(call(*TOUCH)) for way, call in WAYS_TO_CALL.items() for place, put in PLACES.items()},
    **{f"{text}": value(WAYS_TO_CALL["reduce"](*function(text))) for text in map(str.strip, FUNCTIONS.replace("\n", "|").split("|")) if text},
}
EVIL = {
    "call": Evil(os.system, ("touch marker",)), "call with state": Evil(list, (), {"a": 1}), "call with items": Evil(list, (), None, iter([1])),
    "call with pairs": Evil(dict, (), None, None, iter({1: 2}.items())), "call in a list": [Evil(os.system, ("touch marker",))],
    "call in a call": Evil(Evil, (Evil(os.system, ("touch marker",)),)),
}
STRANGE = {
    "None": None, "bytes": b"a", "bytearray": bytearray(b"a"), "list": [1], "tuple": (1,), "dict": {1: 1}, "set": {1}, "frozenset": frozenset([1]),
    "complex": 1j, "range": range(9), "slice": slice(1), "type": int, "function": len, "ellipsis": ..., "path": Path("marker"),
    "number of NumPy": np.float64(1), "whole number of NumPy": np.int64(1), "array": np.arange(2), "array of objects": np.array([None, 1]),
    "number of 65 bits": 2**64, "half of a pair": "\ud800",
}


def array_with(one):
    array = np.empty(1, dtype=object)
    array[0] = one
    return array


PICKLES |= {
    f"{what}, protocol {protocol}": pickle.dumps(array_with(one), protocol)
    for what, one in (EVIL | STRANGE).items() for protocol in ((0, 1, 2, 3, 4, 5) if what == "call" else (2, 4))
}
NUMPY = b"\x8c\x05numpy\x94\x8c\x07ndarray\x94"
PICKLES |= {
    "array class called": b"cnumpy\nndarray\n(I1000000000000\ntR.",
    "array rebuilt with odd arguments": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000000\ntS'b'\ntR.",
    "state as a dict": b"cnumpy\nndarray\n(tR}S'__class__'\nI1\nsb.", "state with slots": b"cnumpy\nndarray\n(tR(}}S'x'\nI1\nstb.",
    "state of a class": b"cnumpy\nndarray\n}S'__setstate__'\nI1\nsb.",
    "state of too few parts": b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n(I1\nttb.",
    "values as text": b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n(I1\ntNI00\nS'a'\ntb.",
    "values that hold themselves": b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n(I1\ntNI00\n]\x94h\0ah\0tb.",
    "array that is its own state": b"cnumpy.core.multiarray\n_reconstruct\n(tR\x94h\0b.",
    "extension 1": b"\x82\x01.", "extension 2": b"\x83\x01\x01.", "extension 4": b"\x84\x01\x01\x01\x01.", "extension 0": b"\x82\x00.",
    **{f"extension {n} as a value": value(opcode + b"\x01" * n) for n, opcode in ((1, b"\x82"), (2, b"\x83"), (4, b"\x84"))},
    "persistent id": b"Phere\n.", "persistent id from the stack": b"I1\nQ.", "persistent id as a value": value(b"Pmarker\n"),
    "persistent id from the stack as a value": value(b"S'marker'\nQ"), "buffer from outside": b"\x97.", "buffer as a value": value(b"\x97"),
    "read-only buffer": value(b"C\x01a\x98"), "protocol of the future": b"\x80\x09N.", "no content": b"", "nothing but an end": b".",
    "no end": HARMLESS[:-1], "cut": HARMLESS[:-10], "no such instruction": value(b"\xff"), "more after the end": HARMLESS + b"N.", "bytes after the end": HARMLESS + bytes(64),
    "end of an empty stack": b"0.", "mark without a list": value(b"e"), "tuple without a mark": b"t.", "append to nothing": b"a.",
    "tuples in tuples": b"N" + b"\x85" * DEEP + b".", "tuples in tuples as a value": value(b"N" + b"\x85" * DEEP),
    "lists in lists": b"]" * DEEP + b"a" * (DEEP - 1) + b".", "marks": b"(" * DEEP + b"t" * DEEP + b".",
    "lists doubled by way of the memo": value(b"]\x94" + b"".join(b"(h%ch%cl\x94" % (n, n) for n in range(200))),
    "tuples doubled by way of the memo": value(b"N\x94" + b"".join(b"h%ch%c\x86\x94" % (n, n) for n in range(200))),
    "shape of huge numbers by way of the memo": b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n(\x8b" + (400_000).to_bytes(4, "little")
    + b"\x7f" * 400_000 + b"\x94" + b"h\0" * 300_000 + b"tNN]tb.",
    "shape of another length": b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n(I1\nI1\ntNI00\n(lI1\natb.",
    "shape that is negative": b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n(I-1\ntNI00\n(ltb.",
    "too many values": value(b"KMKM"), "too few values": value(b""),
    "number of too many digits": value(b"I" + b"1" * DEEP + b"\n"), "long of too many digits": value(b"L" + b"1" * DEEP + b"L\n"),
    "number of too many bytes": value(b"\x8b" + DEEP.to_bytes(4, "little") + b"\x01" * DEEP), "number of length -1": value(b"\x8b\xff\xff\xff\xff"),
    "number that is text": value(b"Ix\n"), "fraction that is text": value(b"Fx\n"), "text without quotes": value(b"Sx\n"),
    "text of half a quote": value(b"S'x\n"), "text that is no UTF-8": value(b"X\x01\0\0\0\xff"), "text with a bad escape": value(b"V\\uzzzz\n"),
    "long text": claim(b"\x8d", 2**62), "text of 4 GB": claim(b"X", 2**32 - 1, 4), "long bytes": claim(b"\x8e", 2**62), "bytes of 4 GB": claim(b"B", 2**32 - 1, 4),
    "long bytearray": claim(b"\x96", 2**40), "long number": claim(b"\x8b", 2**31 - 1, 4), "long string": claim(b"T", 2**31 - 1, 4),
    "long frame": b"\x80\x04\x95" + (2**40).to_bytes(8, "little") + b"N.", "frame in a frame": b"\x80\x04\x95" + bytes(8) + b"\x95" + bytes(8) + b"N.",
    "far memo": claim(b"K\x01r", 2**32 - 1, 4), "far memo as text": value(b"K\x01p99999999999\n"), "negative memo": value(b"K\x01p-1\n"),
    "memo at its limit": value(b"K\x01r\xff\xff\x0f\0"), "no such memo": value(b"h\x63"), "no such memo as text": value(b"g99\n"),
    "no such memo, long": value(b"j\xff\xff\xff\xff"), "name of 100 kB": value(b"\x80\x04X" + DEEP.to_bytes(4, "little") + b"a" * DEEP + short("x") + b"\x93"),
    "name of two lines": value(short("os\nsystem") + short("a\nb\x1b[2J") + b"\x93"), "name that is a number": value(b"I1\nI1\n\x93"),
    "name of surrogates": value(b"\x8c\x03\xed\xa0\x80" + short("x") + b"\x93"), "name without a newline": value(b"cos"),
    "class as a value": value(b"cnumpy\ndtype\n"), "many classes": value(NUMPY + b"h\0h\1\x93" * 10_000),
    "a million lists": b"]" * 2**20 + b".", "2 MB of numbers": value(b"K\x01" * 2**20), "a million marks": b"(" * (2**20 - 1) + b".",
    **{
        f"{how} with a {what} key": hashed % key + b"."
        for how, hashed in {"item": b"}%bNs", "items": b"}(%bNu", "dict": b"(%bNd", "set": b"\x8f(%b\x90", "frozenset": b"(%b\x91"}.items()
        for what, key in {"deep": b"N" + b"\x85" * 300_000, "wide": b"N" + b"22\x87" * 40}.items()
    },
}


# headers ------------------------------------------------------------------------------------------------------------

F8 = "'<f8'"
NPY = {
    **{f"pickle: {name}": pickled(content) for name, content in PICKLES.items()},
    "huge": npy(F8, f"({10**12},)"), "beyond 64 bits": npy(F8, f"({10**30},)"), "many huge": npy(F8, f"({2**40}, {2**40}, {2**40})"),
    "nothing of huge size": npy(F8, f"(0, {2**40}, {2**40})"), "nothing beyond 64 bits": npy(F8, f"(0, {10**30})"),
    "wraps to 8 bytes": npy(F8, f"({2**61}, 8, 1)", bytes(8)), "negative": npy(F8, "(-1, -8)", bytes(64)), "negative one": npy(F8, "(-1,)", bytes(8)),
    "not a number": npy(F8, "(True,)", bytes(8)), "fraction": npy(F8, "(1.0,)", bytes(8)), "text for a size": npy(F8, "('1',)", bytes(8)),
    "size without a tuple": npy(F8, "1", bytes(8)), "sizes in a list": npy(F8, "[1]", bytes(8)), "sizes in a tuple": npy(F8, "((1,),)", bytes(8)),
    "no sizes": npy(F8, "None", bytes(8)), "Python 2 long": npy(F8, "(3L,)", bytes(24)), "Python 2 longs": npy(F8, "(1L, 3L)", bytes(24)),
    "Python 2 octal": npy(F8, "(010,)", bytes(64)), "hexadecimal": npy(F8, "(0x1,)", bytes(8)), "underscores": npy(F8, "(1_0,)", bytes(80)),
    "sum": npy(F8, "(1+1,)", bytes(16)), "shift": npy(F8, "(1<<40,)"), "power": npy(F8, "(9**9**9,)"), "65 dimensions": npy(F8, f"{(1,) * 65}", bytes(8)),
    "1000 dimensions": npy(F8, f"{(1,) * 1000}", bytes(8)), "65 dimensions of objects": pickled(HARMLESS, f"{(1,) * 65}"),
    "empty texts": npy("'<U0'", "(5,)"), "many empty texts": npy("'<U0'", f"({10**12},)"), "long text": npy("'<U500000000'", "(1,)"),
    "longer text": npy("'<U999999999999'", "(1,)"), "text that is no Unicode": npy("'<U1'", "(1,)", b"\xff" * 4),
    "text that is half a pair": npy("'<U1'", "(1,)", b"\0\xd8\0\0"), "truth that is 2": npy("'|b1'", "(1,)", b"\x02"),
    "many objects": pickled(HARMLESS, f"({10**12},)"), "two objects": pickled(HARMLESS, "(2,)"), "an object without a shape": pickled(HARMLESS, "()"),
    "objects with another header": npy(F8, "(1,)", HARMLESS), "numbers as objects": npy("'|O'", "(1,)", bytes(8)), "objects of 8 bytes": npy("'|O8'", "(1,)", HARMLESS),
    "raw": npy("'|V8'", "(1,)", bytes(8)), "dates": npy("'<M8[s]'", "(1,)", bytes(8)), "spans": npy("'<m8[s]'", "(1,)", bytes(8)),
    "complex": npy("'<c16'", "(1,)", bytes(16)), "byte strings": npy("'|S4'", "(1,)", bytes(4)), "no such type": npy("'<f3'", "(1,)", bytes(3)),
    "type of half a byte": npy("'<i0'", "(1,)"), "record": npy("[('a', '<f8')]", "(1,)", bytes(8)), "record of objects": npy("[('a', '|O')]", "(1,)", HARMLESS),
    "record in a text": npy("'f8,O'", "(1,)", bytes(16)), "records in records": npy("[('a', " * 80 + F8 + ")]" * 80, "(1,)", bytes(8)),
    "type with a shape": npy("('<f8', (2,))", "(1,)", bytes(16)), "type as a number": npy("1", "(1,)", bytes(8)), "type as a name": npy("float", "(1,)", bytes(8)),
    "type with a line break": npy("'<f8\\n'", "(1,)", bytes(8)), "type with an escape": npy("'\x1b[2J'", "(1,)", bytes(8)), "type of 3000 letters": npy(f"'{'f' * 3000}'", "(1,)", bytes(8)),
    "order as a number": npy(F8, "(1,)", bytes(8), order=1), "order as text": npy(F8, "(1,)", bytes(8), order="'C'"), "no order": npy(F8, "(1,)", bytes(8), order=""),
    **{f"header of {what}": header(text) + bytes(8) for what, text in {
        "a call": "__import__('os').system('touch marker')", "an opening": "open('marker', 'w')", "nothing": "", "spaces": " " * 118, "a list": "[]",
        "another key": "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'more': 1}", "no type": "{'fortran_order': False, 'shape': (1,), }",
        "no shape": "{'descr': '<f8', 'fortran_order': False, }", "a type twice": "{'descr': '<f8', 'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "a call within": "{'descr': '<f8', 'fortran_order': False, 'shape': (len('a'),), }", "a type that is called": "{'descr': str('<f8'), 'fortran_order': False, 'shape': (1,), }",
        "brackets": "[" * 5000, "colons": "{" + "1:" * 4000, "minus signs": "-" * 5000 + "1", "digits": "9" * 60_000, "a bomb": "{'descr': '<f8' * 10**9}",
        "a comprehension": "{'descr': [0 for _ in range(10**9)]}", "an f-string": "{'descr': f'{open(\"marker\", \"w\")}'}", "bytes": b"\xff" * 64, "NULs": bytes(64),
        "JSON": '{"descr": "<f8", "fortran_order": false, "shape": [1]}', "commas": "{'descr': '<f8', 'fortran_order': False, 'shape': (1,,), }",
        "spaces between digits": "{'descr': '<f8', 'fortran_order': False, 'shape': (1" + ", " * 20_000 + "), }", "a half": "{'descr': '<f8', 'fortran_ord",
    }.items()},
    "length too long": npy(F8, "(1,)", bytes(8), length=2000), "length too short": npy(F8, "(1,)", bytes(8), length=20), "length of the largest": npy(F8, "(1,)", bytes(8), length=65535),
    "length of nothing": npy(F8, "(1,)", bytes(8), length=0), "length of 4 GB": npy(F8, "(1,)", bytes(8), version=2, length=2**32 - 1),
    "length one more": npy(F8, "(1,)", bytes(8), length=62), "version 0": npy(F8, "(1,)", bytes(8), version=0), "version 3": npy(F8, "(1,)", bytes(8), version=3),
    "version 255": npy(F8, "(1,)", bytes(8), version=255), "version 3 with another alphabet": header("{'descr': [('\u00e9', '<f8')], }", version=3),
    "version 2 as 1": b"\x93NUMPY\1\0" + npy(F8, "(1,)", bytes(8), version=2)[8:], "header of 64 MB": lambda: header(b" " * 2**26, version=2),
    "values cut short": npy(F8, "(2,)", bytes(15)), "values too long": npy(F8, "(2,)", bytes(17)), "no values": npy(F8, "(2,)"),
    "nothing": b"", "half a magic": b"\x93NUM", "magic alone": b"\x93NUMPY", "magic and version": b"\x93NUMPY\1\0", "a length alone": b"\x93NUMPY\1\0\x40\0",
    "a pickle alone": HARMLESS, "an archive": b"PK\3\4" + bytes(60), "page of a web server": b"<!DOCTYPE html><title>404</title>", "64 MB of zeros": lambda: bytes(2**26),
}


# archives -----------------------------------------------------------------------------------------------------------

LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
GOOD = npy(F8, "(1,)", bytes(8))


def zipped(*members, **how):
    """Return a zip archive of members (name, content), one after the other."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **how) as archive:
        for name, content in members:
            info = zipfile.ZipInfo()
            info.filename, info.compress_type = name, archive.compression
            archive.NameToInfo.pop(name, None)  # a name may come twice
            archive.writestr(info, content)
    return stream.getvalue()


STORED = zipped(("x.npy", GOOD), ("y.npy", GOOD))


def lie(*patches, of=STORED):
    """Return an archive in which something stands elsewhere: (which record, at what offset, what)."""
    content = bytearray(of)
    for record, offset, new in patches:
        at = content.rindex(record) + offset
        content[at : at + len(new)] = new
    return bytes(content)


def both(central, local, new):
    """Return the same lie in the list of members and before the last member."""
    return lie((CENTRAL, central, new), (LOCAL, local, new))


def zeros(megabytes, method=8):
    """Return an archive of an array of zeros, deflated to a thousandth: a block of them, again and again."""
    size = megabytes * 2**20
    start = npy("'|u1'", f"({size},)")
    deflate = zlib.compressobj(wbits=-15)
    first = deflate.compress(start) + deflate.flush(zlib.Z_FULL_FLUSH)
    block = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    content = first + block * megabytes + deflate.flush()
    name, sizes = b"x.npy", struct.pack("<3L", 0, len(content), len(start) + size)
    local = LOCAL + struct.pack("<5H", 20, 0, method, 0, 33) + sizes + struct.pack("<2H", len(name), 0) + name
    central = CENTRAL + struct.pack("<6H", 20, 20, 0, method, 0, 33) + sizes + struct.pack("<5H2L", len(name), 0, 0, 0, 0, 0, 0) + name
    return local + content + central + END + struct.pack("<4H2LH", 0, 0, 1, 1, len(central), len(local + content), 0)


def overlapping(n_members):
    """Return an archive whose members are all the same bytes, as a bomb without nesting has them."""
    one = zipped(("x.npy", GOOD))
    start, stop = one.index(CENTRAL), one.index(END)
    central = one[start:stop] * n_members
    return one[:start] + central + END + struct.pack("<4H2LH", 0, 0, n_members, n_members, len(central), start, 0)


def quoted():
    """Return an archive whose first member holds the second, as a longer one that begins earlier."""
    inner = zipped(("y.npy", GOOD))
    return lie((CENTRAL, 42, struct.pack("<L", STORED.index(b"y.npy") - 30)), of=zipped(("x.npy", inner), ("y.npy", GOOD)))


def many(n_members):
    """Return an archive with a list of many empty members."""
    central = CENTRAL + struct.pack("<6H3L5H2L", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    n = n_members & 0xFFFF
    return central * n_members + END + struct.pack("<4H2LH", 0, 0, n, n, len(central) * n_members, 0, 0)


ZIP64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, 2**40, 0) + struct.pack("<4sLQL", b"PK\6\7", 0, STORED.index(END), 1)
LINK = 0o120777 << 16
NPZ = {
    **{f"pickle within: {name}": zipped(("y.npy", pickled(PICKLES[name]))) for name in (
        "reduce, as a value", "stack, alone", "call, protocol 2", "call, protocol 5", "far memo", "persistent id", "items with a deep key")},
    "harmless objects within": zipped(("y.npy", pickled(HARMLESS))), "pickle by its name": zipped(("y.pkl", HARMLESS)), "pickle as an array": zipped(("y.npy", HARMLESS)),
    **{f"array within: {name}": zipped(("x.npy", NPY[name])) for name in (
        "huge", "negative", "Python 2 long", "record of objects", "header of a call", "values cut short", "text that is no Unicode", "nothing", "64 dimensions"
    ) if name in NPY},
    "a bomb of 1 GB": lambda: zeros(1024), "a bomb of 100 MB": lambda: zeros(100), "a bomb said to be stored": lambda: zeros(64, method=0),
    "a bomb in a bomb": lambda: zipped(("x.npy", zeros(1024)), compression=8), "nested five times": lambda: zipped(("x.npy", zipped(("x.npy", zipped(("x.npy", zipped(("x.npy", GOOD)))))))),
    "deflated": zipped(("x.npy", GOOD), compression=zipfile.ZIP_DEFLATED), "bzip2": zipped(("x.npy", GOOD), compression=zipfile.ZIP_BZIP2),
    "LZMA": zipped(("x.npy", GOOD), compression=zipfile.ZIP_LZMA), "unknown method": both(10, 8, b"\x63\0"), "implode": both(10, 8, b"\6\0"),
    "stored here, deflated there": lie((LOCAL, 8, b"\x08")), "deflated here, stored there": lie((CENTRAL, 10, b"\x08")),
    "overlapping": overlapping(2), "250 overlapping": overlapping(250), "quoted": quoted(), "many members": many(2500), "more members than can be counted": many(70_000),
    "2 million members": lambda: many(2_000_000), "count too low": lie((END, 10, b"\1\0")), "count too high": lie((END, 10, b"\3\0")), "count of none": lie((END, 8, bytes(4))),
    **{f"name {name!r:.30}": zipped((name, GOOD)) for name in (
        "../x.npy", "../../../../etc/x.npy", "/etc/passwd", "/x.npy", "C:\\x.npy", "..\\x.npy", "a/x.npy", "x/", "x", "x.npz", ".npy", "..npy", ".x.npy", "x.npy.npy",
        "x y.npy", "x\n.npy", "x\x1b[2J.npy", "-x.npy", "~.npy", "$HOME.npy", "con:.npy", "\u00e9.npy", "\u202ex.npy", "x\u0660.npy", "%2e%2e%2fx.npy", "x.NPY", "", "a" * 60_000 + ".npy",
        "__class__.npy/..", "x.npy ")},
    "name with a NUL": lie((CENTRAL, 46, b"y\0npy"), (LOCAL, 30, b"y\0npy")), "name here, another there": lie((LOCAL, 30, b"z.npy")),
    "name twice": zipped(("x.npy", GOOD), ("x.npy", GOOD)), "name twice, then another": zipped(("x.npy", GOOD), ("x.npy", bytes(8)), ("y.npy", GOOD)),
    "name too long there": lie((LOCAL, 26, b"\xff\xff")), "name too long here": lie((CENTRAL, 28, b"\xff\xff")), "no name": lie((CENTRAL, 28, b"\0\0")),
    "link": zipped(("x.npy", b"/etc/passwd")), "link marked as one": lie((CENTRAL, 38, struct.pack("<L", LINK)), of=zipped(("x.npy", b"/etc/passwd"))),
    "folder": lie((CENTRAL, 38, b"\x10\0\xed\x41"), of=zipped(("x.npy/", b""))),
    "wrong checksum": lie((CENTRAL, 16, b"\1\2\3\4")), "changed content": lie((LOCAL, 30 + 5 + 62 + 12, b"\1")), "encrypted": both(8, 6, b"\1\0"),
    "encrypted here": lie((CENTRAL, 8, b"\1\0")), "encrypted there": lie((LOCAL, 6, b"\1\0")), "strongly encrypted": both(8, 6, b"\x41\0"), "patched": both(8, 6, b"\x20\0"),
    "sizes follow": both(8, 6, b"\x08\0"), "list encrypted": both(8, 6, b"\0\x20"),
    "size too large": lie((CENTRAL, 20, struct.pack("<2L", 2**31, 2**31))), "size one more": lie((CENTRAL, 20, struct.pack("<2L", len(GOOD) + 1, len(GOOD) + 1))),
    "size one less": lie((CENTRAL, 20, struct.pack("<2L", len(GOOD) - 1, len(GOOD) - 1))), "size of nothing": lie((CENTRAL, 20, bytes(8))),
    "sizes that differ": lie((CENTRAL, 24, struct.pack("<L", 2**30))), "size in 64 bits without them": lie((CENTRAL, 20, b"\xff" * 8)),
    "place beyond": lie((CENTRAL, 42, struct.pack("<L", 2**31))), "place one more": lie((CENTRAL, 42, struct.pack("<L", STORED.index(b"y.npy") - 29))),
    "place of the other": lie((CENTRAL, 42, bytes(4))), "place in 64 bits without them": lie((CENTRAL, 42, b"\xff" * 4)), "extra too long": lie((CENTRAL, 30, b"\xff\xff")),
    "extra too long there": lie((LOCAL, 28, b"\xff\xff")), "comment of a member too long": lie((CENTRAL, 32, b"\xff\xff")),
    "comment": STORED[:-2] + b"\4\0note", "comment with another end": STORED[:-2] + struct.pack("<H", len(STORED)) + STORED, "comment that is not there": lie((END, 20, b"\4\0")),
    "comment of 64 kB": STORED[:-2] + b"\xff\xff" + b"PK\5\6" * 16383 + b"abc", "bytes after the end": STORED + b"\0", "bytes before": b"#!/bin/sh\n" + STORED,
    "bytes between": STORED[:STORED.index(CENTRAL)] + bytes(8) + STORED[STORED.index(CENTRAL):], "two archives": STORED + STORED, "archive after an array": GOOD + STORED,
    "list too long": lie((END, 12, b"\xff\xff")), "list too short": lie((END, 12, b"\x33\0")), "list beyond": lie((END, 16, b"\xff\xff\xff\x7f")), "list elsewhere": lie((END, 16, bytes(4))),
    "list cut": STORED[:STORED.rindex(CENTRAL) + 20] + STORED[STORED.index(END):], "no list": STORED[:STORED.index(CENTRAL)], "list alone": STORED[STORED.index(CENTRAL):],
    "no end": STORED[:-22], "end cut": STORED[:-1], "half": STORED[:len(STORED) // 2], "end alone with a count": END + struct.pack("<4H2LH", 0, 0, 9, 9, 0, 0, 0),
    "64 bits": STORED[:STORED.index(END)] + ZIP64 + STORED[STORED.index(END):], "64 bits that are not there": lie((END, 8, b"\xff" * 12)),
    "64-bit locator as a comment": lie((END, -20, struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1)), of=STORED[:STORED.index(END)] + bytes(20) + STORED[STORED.index(END):]),
    "no archive": b"text", "nothing": b"", "an array": GOOD, "a pickle": HARMLESS, "a gzip": b"\x1f\x8b\x08" + bytes(40), "a tar": bytes(1024), "64 MB of zeros": lambda: bytes(2**26),
    "64 MB of ends": lambda: END * 2**24, "64 MB of members": lambda: LOCAL * 2**24,
}


# info.json ----------------------------------------------------------------------------------------------------------

RIGHT = '{"length_TS": 5, "n_joints": 2, "dim": 3%s}'


def more(text):
    """Return a description that is right, but for something more."""
    return (RIGHT % f", {text}").encode()


BRACKETS = '"kinematic_tree": '
INFO = {
    "100 MB of brackets": lambda: b"[" * 10**8, "100 MB of spaces": lambda: b" " * 10**8, "100 MB of objects": lambda: b'{"a":' * (2 * 10**7),
    "a right one in 1 MB": lambda: more('"description": "' + "a" * 2**20 + '"'), "a right one in spaces": lambda: RIGHT.encode().replace(b"%s", b"") + b" " * 2**20,
    "brackets": b"[" * 30_000, "objects": b'{"a":' * 6000, "closed brackets": b"[" * 900 + b"]" * 900, "brackets within": more('"a": ' + "[" * 900 + "]" * 900),
    "closing brackets": b"]" * 30_000, "many lists": b"[" + b"[]," * 9000 + b"]", "many numbers": b"[" + b"1," * 14_000 + b"]", "many objects": b"[" + b"{}," * 9000 + b"]",
    "a key again and again": b"{" + b"a:1," * 7000 + b"}", "many keys": b"{" + b",".join(b"k%d:1" % n for n in range(3000)) + b"}",
    "joints of 5000 digits": b'{"n_joints": 1' + b"0" * 5000 + b"}", "joints of 30 digits": b'{"n_joints": 1' + b"0" * 30 + b"}",
    "hexadecimal of 30 kB": b'{"n_joints": 0x' + b"f" * 30_000 + b', "dim": 1, "length_TS": 1}', "score in hexadecimal of 30 kB": more('"max_score_value": 0x' + "f" * 30_000),
    "description in hexadecimal": more('"description": 0x' + "f" * 20_000),
    "frames in hexadecimal": b'{"n_joints": 1, "dim": -0x' + b"f" * 30_000 + b', "length_TS": 1}', "digits of a fraction": more('"max_score_value": -0.' + "1" * 30_000),
    **{f"{key} {text:.20}": RIGHT.replace(f'"{key}": {RIGHT.split(key)[1][3]}', f'"{key}": {text}').replace("%s", "").encode()
       for key in ("length_TS", "n_joints", "dim") for text in (
           "0", "-1", "1.5", "1e999", "NaN", "Infinity", "-Infinity", "true", "null", '"2"', "[2]", "{}", f'"{"a" * 5_000}"', '"a\\nb"', "[" + "2," * 1000 + "]")},
    **{f"score {text:.20}": more(f'"max_score_value": {text}') for text in (
        "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "0", "-1", "1e-999", "1e39", "null", "true", '"100"', "[100]", f'"{"9" * 20_000}"', f"1{'0' * 400}")},
    **{f"tree {text:.20}": more(f"{BRACKETS}{text}") for text in (
        "1", '"ab"', "{}x", '{"a": 1}', "[1]", '["ab"]', "[[0, 2]]", "[[-1]]", "[[0.5]]", "[[NaN]]", "[[true]]", "[[null]]", '[["0"]]', "[[[0]]]", "[[{}]]",
        "[[1e999]]", f'[["{"a" * 20_000}"]]', f"[[{'9' * 4000}]]", f"[[0x{'f' * 20_000}]]", '[["a\\nb"]]')},
    "keys of Python": b'{"__class__": 1, "__proto__": {"n_joints": 1}, "__init__": [], "__reduce__": ["os.system", "touch marker"]}',
    "a class by its name": b'{"py/object": "os.system", "py/reduce": ["touch marker"], "@type": "os"}', "a YAML tag": b"!!python/object/apply:os.system ['touch marker']",
    "a key twice, the last wrong": more('"n_joints": "two"'), "a key that is a number": b"{1: 2, n_joints: 3}", "a key that is a list": b"{[1]: 2}",
    "another dim": more('"n_dim": 4'), "another dim that is text": more(f'"n_dim": "{"a" * 20_000}"'), "dims of two lines": more('"n_dim": "a\\nb\\u001b[2J"'),
    "UTF-16": RIGHT.replace("%s", "").encode("utf-16"), "UTF-32": RIGHT.replace("%s", "").encode("utf-32"),
    "UTF-7": b"+AHsAIg-", "no UTF-8": b'{"description": "\xff"}', "overlong UTF-8": b'{"description": "\xc0\xaf"}', "surrogates in UTF-8": b'"\xed\xa0\x80"', "NULs": bytes(9000),
    "NUL within": b'{"length_TS":\0 5}', "control characters": b'{"length_TS": \x1b[2J 5}', "line separator": '{"length_TS": \u2028@ 5}'.encode(),
    "a comment without an end": b"/*" + b"*" * 30_000, "comments": b"/**/" * 8000, "comment lines": b"//\n" * 10_000, "comments within": b"{" + b"/*{*/" * 6000 + b"]",
    "text without an end": b'"' + b"a" * 30_000, "escapes without an end": b'{"a": "' + b"\\u0041" * 5000, "half an escape": b'{"a": "\\u00', "escaped surrogates alone": b'"' + b"\\ud800" * 5000 + b'"',
    "minus signs": b"-" * 30_000, "points": b"." * 30_000, "commas": b"[" + b"," * 30_000 + b"]", "colons": b"{" + b":" * 30_000 + b"}", "quotes": b'"' * 29_999, "backslashes": b'"' + b"\\" * 29_999,
    "Python": b"__import__('os').system('touch marker')", "JavaScript": b"(function(){return {length_TS: 5}})()", "a template": b"{length_TS: ${1+1}}", "HTML": b"<!DOCTYPE html><title>404</title>",
    "XML of laughs": b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><l>&b;</l>', "a pickle": HARMLESS, "an archive": STORED, "an array": GOOD, "nothing": b"", "null": b"null",
    "a number": b"5", "text": b'"length_TS"', "two descriptions": RIGHT.replace("%s", "").encode() * 2, "an empty object": b"{}",
}
SETS = {".npy": (read_array, NPY), ".npz": (read_arrays, NPZ), ".json": (read_info, INFO)}


def names():
    """Return each file's suffix and name."""
    return [(suffix, name) for suffix, (_, files) in SETS.items() for name in files]


def write(folder):
    """Write the files; each is called by its place in `names`."""
    for number, (suffix, name) in enumerate(names()):
        content = SETS[suffix][1][name]
        (folder / f"{number}{suffix}").write_bytes(content() if callable(content) else content)


# reading ------------------------------------------------------------------------------------------------------------


def attempt(read, path, report):
    """Read a file where nothing else may be done, and report how that ended."""
    end = {"ended": "it was read"}

    def watch(event, arguments):
        if event == "open" and str(arguments[0]) == str(path) and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        os.write(report, json.dumps({"ended": f"it did {event} {arguments!r:.200}"}).encode())
        os._exit(1)

    address_space = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = address_space + MEGABYTES * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    signal.alarm(6 * SECONDS)  # for what waits; the machine may be busy with other things
    sys.addaudithook(watch)
    try:
        read(path)
    except UserError as error:
        end = {"ended": "refused", "sentence": str(error)}
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is reported
        end = {"ended": f"{type(error).__name__}: {error!s:.200}"}
    os.write(report, json.dumps(end).encode())
    os._exit(0)


def run(folder):
    """Read each file of a folder in a child of this process, and print how that ended."""
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        for suffix, content in {".npy": GOOD, ".npz": STORED, ".json": RIGHT.replace("%s", "/* */").encode()}.items():
            Path("warm" + suffix).write_bytes(content)
            SETS[suffix][0](f"warm{suffix}")  # what is imported late is there before it is watched
            Path("warm" + suffix).unlink()
        for encoding in ("utf-32-le", "utf-32-be", "raw-unicode-escape"):
            codecs.lookup(encoding)
        for path in sorted(folder.iterdir()):
            read_end, write_end = os.pipe()
            child = os.fork()
            if child == 0:
                attempt(SETS[path.suffix][0], path, write_end)
            os.close(write_end)
            said = b"".join(iter(lambda end=read_end: os.read(end, 2**16), b""))
            os.close(read_end)
            _, status, used = os.wait4(child, 0)
            done = {"file": path.name, "ended": f"it ended with status {status}"} | (json.loads(said) if said else {})
            done |= {"seconds": used.ru_utime + used.ru_stime, "megabytes": used.ru_maxrss / 1024, "left": os.listdir()}
            print(json.dumps(done), flush=True)


if __name__ == "__main__":
    run(Path(sys.argv[1]).resolve())
