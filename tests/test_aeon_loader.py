"""aeon's loader and ours give the same arrays from the same files, in aeon's folders and in the archive's."""

import shutil

import numpy as np
import pytest
from aeon.datasets import rehabpile_loader
from archive_server import ArchiveServer
from synthetic_archive import LABEL_KINDS, label_kind, write_archive

from deeprehab_nb.data import load_fold
from deeprehab_nb.data.archive import record
from deeprehab_nb.data.info import read_info
from deeprehab_nb.data.reader import Normalisation
from deeprehab_nb.data.recordings import convert, read_split

pytestmark = pytest.mark.filterwarnings("ignore:Could not access")  # the collections that are not served here
DATASETS = (  # every way of storing labels, joints of 2 to 8 values, scores up to 1, 10 and 100
    "IRDS_clf_bn_EFL", "IRDS_clf_bn_STR", "KERAAL_clf_mc_CTK", "KIMORE_clf_bn_Sq", "KINECAL_clf_bn_3WFV", "SPHERE_clf_bn_WUS",
    "UCDHE_clf_bn_MP", "UCDHE_clf_mc_Rowing", "UIPRMD_clf_bn_DS", "UIPRMD_clf_bn_HS",
    "EHE_reg_BWL", "EHE_reg_WH", "KIMORE_reg_LA", "KIMORE_reg_Sq", "UIPRMD_reg_DS", "UIPRMD_reg_STS",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ArchiveServer(write_archive(tmp_path_factory.mktemp("served"), DATASETS)) as server:
        yield server


@pytest.fixture
def from_aeon(server, tmp_path, monkeypatch):
    """Load all folds of a dataset with aeon, which stores what it fetches below ``aeon`` in the test's folder."""
    monkeypatch.setattr(rehabpile_loader, "REHABPILE_ROOT_URL", server.url)
    for task in ("classification", "regression"):  # fetched once, and kept
        monkeypatch.setattr(rehabpile_loader, f"_rehabpile_{task}_datasets", None)

    def load(name):
        def split(which, fold):
            return rehabpile_loader.load_rehab_pile_dataset(name, which, fold, tmp_path / "aeon", return_meta=which == "test")

        return [{"train": split("train", k), "test": split("test", k)[:2]} for k in range(record(name).n_folds)]

    return load


def test_the_datasets_have_labels_of_every_kind():
    assert {label_kind(name) for name in DATASETS} == set(LABEL_KINDS.values())


@pytest.mark.parametrize("name", DATASETS)
def test_same_arrays(name, from_aeon, server, tmp_path):
    entry, theirs = record(name), from_aeon(name)
    aeon, ours = (tmp_path / root / entry.task / name for root in ("aeon", "archive"))
    shutil.copytree(server.folder / entry.url_path, ours)
    assert (aeon / "0").is_dir() and not (aeon / "fold0").exists()

    def compare(folder):
        """Compare all folds, as they are stored and as a network gets them; return their digests."""
        digests = []
        for k, splits in enumerate(theirs):
            stored, fold = read_split(folder, k, read_info(folder / "info.json")), load_fold(name, k, folder.parents[1])
            normalisation = Normalisation.fit(splits["train"][0], entry.n_dims)
            for split, (x, y) in splits.items():
                assert np.array_equal(stored[split].x, x) and stored[split].x.dtype == x.dtype == np.float64
                assert np.array_equal(stored[split].y, y.ravel())
                assert np.array_equal(getattr(fold, f"x_{split}"), normalisation.apply(x))
                got = getattr(fold, f"y_{split}")
                if entry.task == "classification":
                    assert np.array_equal(np.array(fold.class_names).astype(y.dtype)[got], y.ravel())
                else:
                    assert np.allclose(got * fold.max_score, y.ravel(), rtol=1e-6, atol=0)
            digests.append(fold.digest)
        return digests

    as_published = compare(ours)
    assert compare(aeon) == as_published
    for folder in (ours, aeon):
        convert(folder, accept_changed=True)
        shutil.rmtree(folder / ("fold0" if folder == ours else "0"))  # it is in the converted file
        assert compare(folder) == as_published
