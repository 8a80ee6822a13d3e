"""A site of one's own: its results, its recordings and the reports of its experiments are in it."""

import json
import shutil

import nbformat
import pytest
import untrained
from conftest import deeprehab, refused
from nbformat.v4 import new_code_cell, new_notebook

from deeprehab_nb.book import site
from deeprehab_nb.book.site import add_report, build_site
from deeprehab_nb.errors import UserError
from deeprehab_nb.experiment.store import Experiment

TOC = """
root: book/start
parts:
  - {caption: The archive, chapters: [{file: nbs/data/archive, sections: [{file: collections/KIMORE_reg}]}]}
  - {caption: Results, chapters: [{file: nbs/results/reproduced}]}
  - {caption: More, chapters: [{file: nbs/broken}]}
"""
START = """---
file_format: mystnb
kernelspec: {display_name: python3, name: python3}
---

# A small book

[The results](../nbs/results/reproduced.ipynb), and [here](start.md) again.

```{code-cell} ipython3
2 + 40
```
"""


@pytest.fixture(scope="module")
def small_source(tmp_path_factory):
    """The book's source with a few pages only, one of them broken."""
    source = tmp_path_factory.mktemp("source")
    for name in ("nbs/data/archive.ipynb", "nbs/data/collection.ipynb", "nbs/results/reproduced.ipynb", "book/_config.yml", "book/references.bib"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(site.SOURCE / name, source / name)
    for name in ("book/_ext", "book/_static"):
        shutil.copytree(site.SOURCE / name, source / name)
    (source / "book" / "_toc.yml").write_text("format: jb-book" + TOC)
    (source / "book" / "start.md").write_text(START)
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0")]), source / "nbs" / "broken.ipynb")
    return source


def report(folder, dataset="Synthetic_clf_bn_ArmRaise", exception=None, said="ready"):
    """Write a report, as `deeprehab run` leaves one, into the folder of an experiment that nobody has run."""
    notebook = new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# FCN on {dataset}"), new_code_cell("print()")], metadata={
        "kernelspec": {"name": "python3", "display_name": "python3"},
        "papermill": {"parameters": {"dataset": dataset, "fold": 0, "model": "FCN"}, "exception": exception},
    })
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text=said)]
    nbformat.write(notebook, folder / "experiment.ipynb")
    return folder


@pytest.fixture
def run_folder(sample, folds, tmp_path):
    experiment = Experiment(untrained.CLASSES, model="FCN", root=sample, out=tmp_path / "runs", epochs=2, runs=2)
    return report(untrained.write(experiment, folds[untrained.CLASSES]).folder)


def test_a_site_shows_the_results_recordings_and_reports_of_its_owner(monkeypatch, small_source, sample, tree, run_folder, tmp_path):
    out = tmp_path / "site"
    monkeypatch.setattr(site, "SOURCE", small_source)
    add_report(run_folder, out)
    looks = []
    built = build_site(out, root=sample, results=tree, look=lambda *what: looks.append(what))
    assert built.index == out / "html" / "index.html" and 'url=book/start.html"' in built.index.read_text()
    assert list(built.failed) == ["nbs/broken"] and "division by zero" in built.failed["nbs/broken"]
    pages = {path.relative_to(out / "html").as_posix(): path.read_text() for path in (out / "html").rglob("*.html")}
    assert "ZeroDivisionError" in pages["nbs/broken.html"]
    assert "42" in pages["book/start.html"] and 'href="../nbs/results/reproduced.html"' in pages["book/start.html"]
    assert "ready" in pages["experiments/Synthetic_clf_bn_ArmRaise-fold0-FCN.html"]
    assert "FCN on Synthetic_clf_bn_ArmRaise, fold 0" in pages["book/start.html"]
    assert "Synthetic_clf_bn" in pages["collections/Synthetic_clf_bn.html"] and "collections/Synthetic_reg.html" in pages
    assert "H-Inception" in pages["nbs/results/reproduced.html"] and "UIPRMDKinect" not in pages["nbs/results/reproduced.html"]
    for name, text in pages.items():
        assert str(sample) not in text, name  # nobody's folders are published
    before = {path: path.stat().st_mtime_ns for path in (out / "source").rglob("*.ipynb")}
    looks.clear()
    add_report(report(run_folder, said="anew"), out)
    (small_source / "book" / "start.md").write_text(START.replace("small", "changed"))
    built = build_site(out, root=sample, results=tree, look=lambda *what: looks.append(what))
    assert [look for look in looks if look[0] == "executing pages"] == [("executing pages", 1, 1)]  # the broken one: it may be mended
    changed = [path.relative_to(out / "source").as_posix() for path, date in before.items() if path.stat().st_mtime_ns != date]
    assert sorted(changed) == ["book/start.ipynb", "experiments/Synthetic_clf_bn_ArmRaise-fold0-FCN.ipynb"]
    assert "A changed book" in (out / "html" / "book" / "start.html").read_text()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "\0", '{"cells": 1}', None])
def test_what_is_no_report_is_refused(run_folder, tmp_path, content):
    path = run_folder / "experiment.ipynb"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"experiment\.ipynb"):
        add_report(run_folder, tmp_path / "site")
    assert not (tmp_path / "site" / "experiments").exists()


def test_a_failed_a_misnamed_and_an_incomplete_experiment_are_refused(run_folder, tmp_path):
    for change, said in (({"exception": True}, "ends with an error"), ({"dataset": "../../elsewhere"}, "no complete experiment")):
        with pytest.raises(UserError, match=said):
            add_report(report(run_folder, **change), tmp_path / "site")
    (report(run_folder) / "ensemble.json").unlink()
    with pytest.raises(UserError, match="no complete experiment"):
        add_report(run_folder, tmp_path / "site")


def test_the_command_answers_in_a_sentence(run_folder, tmp_path):
    refused(deeprehab("book", "add", tmp_path), str(tmp_path), "experiment.ipynb")
    (tmp_path / "mine" / "html").mkdir(parents=True)
    refused(deeprehab("book", "build", "--out", tmp_path / "mine"), "mine", "html")
    refused(deeprehab("book", "build", "--results", tmp_path / "nothing"), "nothing")
    done = deeprehab("book", "add", run_folder, "--out", tmp_path / "site")
    assert done.returncode == 0 and "FCN.ipynb" in done.stdout, done.stderr
    assert json.loads((tmp_path / "site" / "experiments" / "Synthetic_clf_bn_ArmRaise-fold0-FCN.ipynb").read_text())["cells"]
