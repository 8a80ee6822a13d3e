"""aeon's loader and ours give the same arrays from the same files, in aeon's folders and in the archive's."""

import shutil

import numpy as np
import pytest
from aeon.datasets import rehabpile_loader
from archive_server import ArchiveServer
from synthetic_archive import LABEL_KINDS, label_kind, write_archive

from deeprehab_nb.data import load_fold
from deeprehab_nb.data.archive import record
from deeprehab_nb.data.reader import Normalisation

pytestmark = pytest.mark.filterwarnings("ignore:Could not access")  # the collections that are not served here
DATASETS = (  # every way of storing labels, skeletons of 2 to 8 values, scores up to 1, 10 and 100
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
    """Load with aeon, which stores what it fetches below ``aeon`` in the test's folder."""
    monkeypatch.setattr(rehabpile_loader, "REHABPILE_ROOT_URL", server.url)
    for task in ("classification", "regression"):  # fetched once, and kept
        monkeypatch.setattr(rehabpile_loader, f"_rehabpile_{task}_datasets", None)

    def load(name, split, fold):
        return rehabpile_loader.load_rehab_pile_dataset(name, split, fold, tmp_path / "aeon", return_meta=split == "test")

    return load


def test_the_datasets_have_labels_of_every_kind():
    assert {label_kind(name) for name in DATASETS} == set(LABEL_KINDS.values())


@pytest.mark.parametrize("name", DATASETS)
def test_same_arrays(name, from_aeon, server, tmp_path):
    entry = record(name)
    folder = tmp_path / "archive" / entry.task / name
    shutil.copytree(server.folder / entry.url_path, folder)
    for k in range(entry.n_folds):  # all: a dataset is only whole with all of its folds
        (x_train, y_train), (x_test, y_test, info) = from_aeon(name, "train", k), from_aeon(name, "test", k)
        assert info["synthetic"] and (tmp_path / "aeon" / entry.task / name / str(k)).is_dir()
        normalisation = Normalisation.fit(x_train, entry.n_dims)
        for fold in (load_fold(name, k, tmp_path / "archive"), load_fold(name, k, tmp_path / "aeon")):
            assert np.array_equal(fold.x_train, normalisation.apply(x_train))
            assert np.array_equal(fold.x_test, normalisation.apply(x_test))
            for ours, theirs in ((fold.y_train, y_train.ravel()), (fold.y_test, y_test.ravel())):
                if entry.task == "classification":
                    names = np.array(fold.class_names).astype(theirs.dtype)
                    assert np.array_equal(names[ours], theirs)
                else:
                    assert np.allclose(ours * fold.max_score, theirs, rtol=1e-6, atol=1e-6)


def test_folders_of_both_kinds_are_the_same_dataset(from_aeon, server, tmp_path):
    """Equal content has an equal digest: results of both are collected together."""
    name = "KINECAL_clf_bn_3WFV"
    for k in range(5):
        from_aeon(name, "train", k), from_aeon(name, "test", k)
    folder = tmp_path / "archive" / "classification" / name
    shutil.copytree(server.folder / record(name).url_path, folder)
    for k in range(5):
        assert load_fold(name, k, tmp_path / "aeon").digest == load_fold(name, k, tmp_path / "archive").digest
