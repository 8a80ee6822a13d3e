"""What is well is read as it was written, whatever its type, shape and layout; what is damaged gives an array or a sentence."""

import io
import pickle
import tempfile
from pathlib import Path

import numpy as np
from conftest import sentence
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from deeprehab_nb.data.npy import parse_array, parse_arrays, read_array, read_arrays, write_arrays
from deeprehab_nb.errors import UserError

settings.register_profile(
    "same everywhere", derandomize=True, deadline=None, max_examples=200, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("same everywhere")

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")  # an array of text drops a NUL at the end
SHAPES = arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
TYPES = st.one_of(
    arrays_of.boolean_dtypes(), arrays_of.integer_dtypes(endianness="?"), arrays_of.unsigned_integer_dtypes(endianness="?"),
    arrays_of.floating_dtypes(endianness="?"), arrays_of.unicode_string_dtypes(endianness="?", min_len=1, max_len=5),
)


@st.composite
def plain_arrays(draw):
    """An array of numbers, booleans or text: any byte order, C order, Fortran order or neither."""
    dtype = draw(TYPES)
    elements = st.text(LETTERS, max_size=dtype.itemsize // 4) if dtype.kind == "U" else None
    array = draw(arrays_of.arrays(dtype, draw(SHAPES), elements=elements))
    return draw(st.sampled_from([np.asarray, np.asfortranarray, np.transpose, lambda a: a[..., ::-1] if a.ndim else a]))(array)


SCALARS = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(LETTERS, max_size=5))


@st.composite
def object_arrays(draw):
    """An array of Python's own numbers, booleans and text."""
    array = np.empty(draw(SHAPES), dtype=object)
    array.reshape(-1)[:] = draw(st.lists(SCALARS, min_size=array.size, max_size=array.size))
    return draw(st.sampled_from([np.asarray, np.asfortranarray]))(array)


def npy(array, version=None):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)
    return stream.getvalue()


def same(result, array):
    """Check that an array is what was written, and what `read_array` promises."""
    assert result.dtype == array.dtype.newbyteorder("=") and result.dtype.isnative
    assert result.flags.c_contiguous and result.flags.aligned and not result.flags.writeable
    assert result.shape == array.shape
    if array.dtype == object:
        assert [(type(v), repr(v)) for v in result.flat] == [(type(v), repr(v)) for v in array.flat]
    else:
        np.testing.assert_array_equal(result, array)


@given(plain_arrays(), st.sampled_from([None, (1, 0), (2, 0)]))
def test_plain_arrays_are_read_as_they_were_written(array, version):
    same(parse_array(npy(array, version), "The file x.npy"), array)


@given(plain_arrays())
def test_padding_is_of_no_importance(array):
    """Other writers pad the header to another length, so that the values begin anywhere."""
    whole = npy(array)
    length = int.from_bytes(whole[8:10], "little")
    text = whole[10 : 10 + length].rstrip()
    content = whole[:8] + len(text).to_bytes(2, "little") + text + whole[10 + length :]
    same(parse_array(content, "The file x.npy"), array)


@given(object_arrays())
def test_object_arrays_are_read_as_numpy_writes_them(array):
    same(parse_array(npy(array), "The file x.npy"), array)


@given(object_arrays(), st.integers(0, 5))
def test_object_arrays_are_read_in_every_protocol(array, protocol):
    header = npy(array)
    header = header[: 10 + int.from_bytes(header[8:10], "little")]
    same(parse_array(header + pickle.dumps(array, protocol), "The file x.npy"), array)


@given(st.dictionaries(st.from_regex("[A-Za-z0-9_]{1,20}", fullmatch=True), plain_arrays(), max_size=4))
def test_arrays_are_read_from_an_archive(arrays):
    ours, numpys = io.BytesIO(), io.BytesIO()
    write_arrays(ours, arrays)
    assume("file" not in arrays and "allow_pickle" not in arrays)  # which NumPy takes for its own arguments
    np.savez(numpys, **arrays)
    for content in (ours.getvalue(), numpys.getvalue()):
        result = parse_arrays(content, "The file x.npz")
        assert list(result) == list(arrays)
        for name, array in arrays.items():
            same(result[name], array)
    with np.load(io.BytesIO(ours.getvalue()), allow_pickle=False) as read:  # what we write, NumPy reads
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array)


@given(plain_arrays())
def test_equal_arrays_make_equal_archives(array):
    first, second = io.BytesIO(), io.BytesIO()
    write_arrays(first, {"x": array})
    swapped = array.astype(array.dtype.newbyteorder("S"), order="F")
    write_arrays(second, {"x": swapped})
    assert first.getvalue() == second.getvalue()


@given(plain_arrays(), object_arrays())
@settings(max_examples=20)
def test_files_are_read_as_their_content_is(plain, objects):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        for array in (plain, objects):
            path.write_bytes(npy(array))
            same(read_array(path), array)
        write_arrays(path.with_suffix(".npz"), {"x": plain})
        same(read_arrays(path.with_suffix(".npz"))["x"], plain)


def archive(array):
    stream = io.BytesIO()
    np.savez(stream, x=array, y=np.arange(3))
    return stream.getvalue()


WHOLE = {
    "numbers": (npy(np.arange(24.0).reshape(2, 3, 4)), parse_array), "text": (npy(np.array([["C", "E1"]])), parse_array),
    "truth": (npy(np.array([True, False])), parse_array), "objects": (npy(np.array([1, 0.5, "E1", True], dtype=object)), parse_array),
    "archive": (archive(np.arange(6.0).reshape(2, 3)), parse_arrays),
}


def is_array_or_sentence(content, read, whole):
    """Check that reading a damaged content gives arrays of the shapes that the whole has, or one sentence."""
    try:
        result = read(content, "The file x")
    except UserError as error:
        sentence(str(error), "x")
        assert str(error).isprintable() and len(str(error)) < 1000
        return
    expected = read(whole, "The file x")
    if isinstance(result, dict):
        assert {name: array.shape for name, array in result.items()} == {name: array.shape for name, array in expected.items()}
    else:
        assert result.shape == expected.shape


@given(st.sampled_from(sorted(WHOLE)), st.data())
@settings(max_examples=1000)
def test_a_changed_byte_gives_an_array_or_a_sentence(name, data):
    whole, read = WHOLE[name]
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    is_array_or_sentence(changed, read, whole)


def test_a_file_cut_short_is_refused():
    for whole, read in WHOLE.values():
        for length in range(len(whole)):
            try:
                read(whole[:length], "The file x")
            except UserError as error:
                sentence(str(error), "x")
            else:
                raise AssertionError(length)
