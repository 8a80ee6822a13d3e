"""A synthetic archive as its server lays it out: every dataset's name, shape and folds, few recordings, nobody recorded."""

import json
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from zlib import crc32

import numpy as np

from deeprehab_nb.data.archive import Record, records

# What the labels of the real files look like, and which collections or datasets look like that here. A dataset has the
# kind of the longest prefix of its name.
LABEL_KINDS = {
    "IRDS_clf_bn": "old pickle",  # as the real one's
    "IRDS_clf_bn_STR": "old pickle, column",
    "KERAAL_clf_bn": "text",
    "KERAAL_clf_mc": "text",
    "KIMORE_clf_bn": "int64",
    "KINECAL_clf_bn": "float64 to train, int64 to test",
    "SPHERE_clf_bn": "int64, column",
    "UCDHE_clf_bn": "float64",
    "UCDHE_clf_mc": "pickle",
    "UIPRMD_clf_bn": "int64",
    "UIPRMD_clf_bn_DS": "pickle, column",
    "UIPRMD_clf_bn_HS": "float64, column",
    "EHE_reg": "int64",
    "EHE_reg_WH": "old pickle",
    "KIMORE_reg": "float64, column",
    "KIMORE_reg_Sq": "float64",
    "UIPRMD_reg": "float64",
    "UIPRMD_reg_DS": "pickle, column",
}
_TRAILING_COMMAS = ("KERAAL_clf_bn_CTK", "KINECAL_clf_bn_GGFV", "KIMORE_reg_LT", "UIPRMD_reg_IL")
_WITHOUT_TREE = ("SPHERE_clf_bn_WUS",)
_WITHOUT_MAX_SCORE = ("KIMORE_reg_LA", "KIMORE_reg_LT")  # theirs is 100, which is what its absence means
_CALLED_DIM = ("KERAAL_clf", "EHE_reg", "UCDHE_clf")  # the others say n_dim


def label_kind(dataset: str) -> str:
    """Return how the labels of a dataset are stored."""
    return LABEL_KINDS[max(filter(dataset.startswith, LABEL_KINDS), key=len)]


def n_cases(record: Record) -> int:
    """Return how many recordings a dataset has: each is tested in one fold, each class twice, in different folds."""
    return max(record.n_folds, 2 * (record.n_classes or 0))


def file_names(record: Record) -> list[str]:
    """List a dataset's files, relative to its folder."""
    folds = range(record.n_folds)
    return ["info.json", *(f"fold{k}/{v}_{s}_fold{k}.npy" for k in folds for s in ("train", "test") for v in "xy")]


def _recordings(record: Record, rng: np.random.Generator) -> np.ndarray:
    steps = rng.normal(0, 0.01, (n_cases(record), record.n_channels, record.n_frames))
    return np.cumsum(steps, axis=2) + rng.uniform(-1, 1, (1, record.n_channels, 1))


def _labels(record: Record, rng: np.random.Generator) -> list:
    n, kind = n_cases(record), label_kind(record.dataset)
    if record.task == "regression":
        scores = rng.uniform(record.score_min, record.score_max, n)
        return np.round(scores).astype(int).tolist() if record.score_max == 10 else scores.round(3).tolist()
    classes = [i // 2 % record.n_classes for i in range(n)]  # neighbours share a class and never a fold
    if kind == "text":
        errors = ["E"] if record.n_classes == 2 else [f"E{i}" for i in range(1, record.n_classes)]
        return [["C", *errors][i] for i in classes]
    return classes


def _save_labels(path: Path, labels: list, kind: str, split: str) -> None:
    shape = (-1, 1) if "column" in kind else (-1,)
    if "pickle" in kind:
        array = np.empty(len(labels), dtype=object)
        array[:] = labels  # plain Python numbers
        array = array.reshape(shape)
        content = pickle.dumps(array, protocol=3 if "old" in kind else 4)
        if "old" in kind:  # as NumPy 1 called its modules; both names end in a newline, so no length changes
            content = content.replace(b"cnumpy._core.", b"cnumpy.core.")
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": array.shape})
            file.write(content)
        return
    array = np.array(labels).reshape(shape)
    if kind.startswith("float64"):
        array = array.astype(np.int64 if split == "test" and "int64 to test" in kind else np.float64)
    np.save(path, array, allow_pickle=False)


def _info(record: Record) -> str:
    name, limb = record.dataset, -(-(record.n_joints - 1) // 5)
    info = {
        "length_TS": record.n_frames,
        "n_joints": record.n_joints,
        "dim" if name.startswith(_CALLED_DIM) else "n_dim": record.n_dims,
        "synthetic": True,
        "description": f"Synthetic random walks with the shape of {name}; nobody was recorded.",
    }
    if name not in _WITHOUT_TREE:  # trunk, arms and legs, all from joint 0
        starts = range(1, record.n_joints, limb)
        info["kinematic_tree"] = [[0, *range(i, min(i + limb, record.n_joints))] for i in starts]
    if record.task == "regression" and name not in _WITHOUT_MAX_SCORE:
        info["max_score_value"] = int(record.score_max)
    text = json.dumps(info, indent=1)
    if name in _TRAILING_COMMAS:
        text = text.removesuffix("\n}") + ",\n}"
    return text + "\n"


def _write_dataset(record: Record, folder: Path) -> None:
    rng = np.random.default_rng(crc32(record.dataset.encode()))
    x, y = _recordings(record, rng), _labels(record, rng)
    kind, fold_of = label_kind(record.dataset), np.arange(len(x)) % record.n_folds
    folder.mkdir(parents=True)
    (folder / "info.json").write_text(_info(record), encoding="utf-8")
    for k in range(record.n_folds):
        (folder / f"fold{k}").mkdir()
        for split, chosen in (("train", np.flatnonzero(fold_of != k)), ("test", np.flatnonzero(fold_of == k))):
            np.save(folder / f"fold{k}" / f"x_{split}_fold{k}.npy", x[chosen], allow_pickle=False)
            _save_labels(folder / f"fold{k}" / f"y_{split}_fold{k}.npy", [y[i] for i in chosen], kind, split)


def write_archive(
    folder: Path, names: Iterable[str] | None = None, place: Callable[[Record], str] = lambda record: record.url_path
) -> Path:
    """
    Write a synthetic archive; the same files, byte for byte, each time.

    Parameters
    ----------
    folder : Path
        Where to; the datasets must not be there yet.
    names : iterable of str, optional
        Only these datasets; by default all 60, in 220 MB.
    place : callable, optional
        Gives the folder of a dataset: by default collection/exercise, as on the server.
    """
    for record in records(names=names):
        _write_dataset(record, Path(folder) / place(record))
    return Path(folder)
