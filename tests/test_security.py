"""Files and names from strangers are data, wherever they enter; `test_hostile.py` reads many more of the files."""

import numpy as np
import pytest
from conftest import change, load, sentence

from deeprehab_nb.data import load_fold
from deeprehab_nb.errors import UserError


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
    (b"[" * 30_000, "nested too deeply"), (b" " * 2**21, "more than 32,768 bytes"), (b'{"n_joints": 1' + b"0" * 30 + b"}", "info.json"),
], ids=["lists", "long", "number"])
def test_a_hostile_description_is_refused(copy_of, text, named):
    folder = copy_of()
    (folder / "info.json").write_bytes(text)
    with pytest.raises(UserError) as error:
        load(folder)
    sentence(str(error.value), "info.json", named)
