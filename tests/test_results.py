"""Rankings and comparisons, the paper's and one's own: the numbers, the figures, the commands, and what is refused."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import COMMAND, deeprehab, installed, refused
from untrained import CLASSES, SCORES

from deeprehab_nb.errors import UserError
from deeprehab_nb.models.zoo import ARCHITECTURES
from deeprehab_nb.results.charts import beside, dots
from deeprehab_nb.results.collected import collect, load_collected, tables_of
from deeprehab_nb.results.compared import compare
from deeprehab_nb.results.figures import overall_chart, ranking_charts
from deeprehab_nb.results.published import published
from deeprehab_nb.results.ranking import COSTS, bootstrap, friedman, pairwise, scores
from deeprehab_nb.results.tables import Results

KINDS = ("pdf", "png", "csv")
OF_A_RANKING = {
    "ranks", "critical-difference", "comparison-matrix", "pairs", "equivalence", "collections", "datasets", "left-out", "trade-off",
}


def results(values, metric="accuracy", task="classification"):
    """Return results that nobody has found: ``values[model]`` has a value per dataset, or a list of those of its folds."""
    rows = [
        (task, f"c_d{number}", fold, model, metric, value)
        for model, of in values.items() for number, folds in enumerate(of) for fold, value in enumerate(np.atleast_1d(folds))
    ]
    names = sorted({row[1] for row in rows})
    datasets = pd.DataFrame({"dataset": names, "task": task, "collection": "c", "score_max": 10.0})
    return Results(pd.DataFrame(rows, columns=["task", "dataset", "fold", "model", "metric", "value"]), pd.DataFrame(), datasets, "Made up.")


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


# the numbers, by hand ------------------------------------------------------------------------------------------------


def test_ranks_with_ties():
    """Means over folds 0.7, 0.7, 0.6, 0.7: three share the ranks 1, 2, 3."""
    found = scores(results({"A": [[0.6, 0.8]], "B": [[0.7, 0.7]], "C": [[0.6, 0.6]], "D": [[0.5, 0.9]]}), "accuracy")
    assert found.ranks().iloc[0].to_dict() == {"A": 2.0, "B": 2.0, "C": 4.0, "D": 2.0}
    errors = scores(results({"A": [3.0], "B": [1.0], "C": [3.0]}, "rmse", "regression"), "rmse")
    assert errors.ranks().iloc[0].to_dict() == {"A": 2.5, "B": 1.0, "C": 2.5} and errors.table.loc["c_d0", "A"] == 0.3


def test_holm_steps_down():
    """A beats B and C on all of six datasets (p = 2/64 each), B beats C on all but the least difference (p = 4/64)."""
    b = [0.49, 0.52, 0.53, 0.54, 0.55, 0.56]
    pairs = pairwise(scores(results({"A": [0.9, 0.91, 0.92, 0.93, 0.94, 0.96], "B": b, "C": [0.5] * 6}), "accuracy")).set_index(["first", "second"])
    assert pairs.p.tolist() == pytest.approx([2 / 64, 2 / 64, 4 / 64])
    assert pairs.p_holm.tolist() == pytest.approx([6 / 64] * 3)  # 3 x 2/64; then 2 x 2/64 and 1 x 4/64, which may not be less
    assert pairs.loc[("B", "C"), ["wins", "ties", "losses"]].tolist() == [5, 0, 1]


def test_friedman_with_ties():
    """Ranks 1.5, 1.5, 3 and 1, 2, 3 and 1, 2, 3: sums 3.5, 5.5, 9, mean 6, so 12/(3*3*4) * 15.5 over the tie correction 1 - 6/72."""
    found = scores(results({"A": [0.9, 0.9, 0.9], "B": [0.9, 0.8, 0.8], "C": [0.1, 0.1, 0.1]}), "accuracy")
    assert friedman(found)[0] == pytest.approx(12 / 36 * (2.5**2 + 0.5**2 + 3**2) / (1 - 6 / 72))


def test_a_bootstrap_interval():
    """Of two datasets with means 0 and 1 a draw has 0, 1/2 or 1, with the probabilities 1/4, 1/2, 1/4."""
    found = bootstrap(scores(results({"A": [0.0, 1.0], "B": [0.5, 0.5]}), "accuracy"))
    assert found.loc["A", ["mean", "mean_low", "mean_high"]].tolist() == [0.5, 0.0, 1.0]
    assert found.loc["B", ["mean", "mean_low", "mean_high"]].tolist() == [0.5, 0.5, 0.5]
    half = bootstrap(scores(results({"A": [0.0, 1.0], "B": [0.5, 0.5]}), "accuracy"), level=0.4)  # its tails have 0.3 each
    assert half.loc["A", ["mean_low", "mean_high"]].tolist() == [0.5, 0.5]


# the paper's ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ranked(tmp_path_factory):
    """The paper's ranking, with all figures."""
    folder = tmp_path_factory.mktemp("figures") / "deep"
    done = installed("results", "rank", "--figures", folder)
    assert done.returncode == 0, done.stderr
    return done.stdout, folder


def test_the_papers_ranking(ranked):
    said, _ = ranked
    for title in ("Accuracy", "RMSE", "Over both tasks"):
        table = said[said.index(f"{title} ") :].splitlines()[4 : 4 + len(ARCHITECTURES)]
        assert {line.split()[0] for line in table} == set(ARCHITECTURES) and table[0].split()[0] == "LITEMV"
    for stated in ("Friedman test", "Holm's correction", "Ties share", "39 datasets", "21 datasets", "Figures published with arXiv 2507.21018"):
        assert stated in said


def test_every_figure_is_there_with_its_data(ranked):
    said, folder = ranked
    names = {f"{name}-{metric}" for name in OF_A_RANKING for metric in ("accuracy", "rmse")} | {"overall-ranks"}
    assert f"{len(names)} figures" in said
    assert set(files(folder)) == {f"{name}.{kind}" for name in names for kind in KINDS} | {"captions.md"}
    captions = (folder / "captions.md").read_text()
    for name in names:
        content = {kind: (folder / f"{name}.{kind}").read_bytes() for kind in KINDS}
        assert content["pdf"].startswith(b"%PDF") and content["png"].startswith(b"\x89PNG") and f"`{name}.*`" in captions
        assert len(pd.read_csv(folder / f"{name}.csv")) >= 3
    assert captions.count("Figures published with arXiv 2507.21018") == len(names)


def test_data_of_a_figure_are_its_numbers(ranked):
    data = pd.read_csv(ranked[1] / "ranks-accuracy.csv").set_index("model")
    assert data["rank"].to_dict() == pytest.approx(scores(published(), "accuracy").ranks().mean().to_dict())
    pairs = pd.read_csv(ranked[1] / "comparison-matrix-accuracy.csv")
    assert len(pairs) == 36 and (pairs[["wins", "ties", "losses"]].sum(axis=1) == 39).all()


# small and odd results -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [
    {"A": [0.5], "B": [0.5]}, {"A": [0.5], "B": [0.5], "C": [0.4]}, {"A": [0.5, 0.5], "B": [0.5, 0.5]}, {"A": [[1.0]], "<b>$\\frac": [[0.0]]},
], ids=["a tie", "a tie among three", "ties", "a name like a formula"])
def test_small_results_are_drawn(values, tmp_path):
    found = results(values)
    found = Results(found.metrics, pd.DataFrame(columns=["dataset", "model", *COSTS], dtype=float), found.datasets, found.source)
    names = {chart.name for chart in ranking_charts(found, "accuracy") if chart.interactive() and len(chart.save(tmp_path)) == 3}
    assert names == {f"{name}-accuracy" for name in OF_A_RANKING - {"left-out", "trade-off"}}


def test_a_value_outside_of_its_interval_is_drawn(tmp_path):
    """Folds that are drawn anew move ranks to the middle, so this can be."""
    table = pd.DataFrame({"rank": [1.0], "rank_low": [1.4], "rank_high": [2.3]}, index=["A"])
    chart = dots("ranks", "Ranks", table, "rank", "Made up.", "mean rank")
    assert chart.interactive().data and chart.save(tmp_path)


def test_a_point_with_rounded_bounds_is_drawn(tmp_path):
    cells = pd.DataFrame([("A", "d", 0, 2 / 3, round(2 / 3, 12), round(2 / 3, 12), np.nan)], columns=["model", "dataset", "fold", "value", "low", "high", "other"])
    assert beside("point", "A point", cells, "Made up.", "accuracy", "published").save(tmp_path)


def test_nothing_appears_where_a_name_is_taken(tmp_path):
    (tmp_path / "pairs.pdf").mkdir()
    chart = dots("pairs", "Pairs", pd.DataFrame({"x": [1.0], "x_low": [0.5], "x_high": [1.5]}, index=["A"]), "x", "Made up.", "x")
    with pytest.raises(UserError, match=r"pairs\.pdf is a folder"):
        chart.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.pdf"]


def test_no_overall_rank_without_a_network_of_both_tasks():
    classes, errors = results({"A": [0.9], "B": [0.8]}), results({"C": [1.0], "D": [2.0]}, "rmse", "regression")
    both = Results(pd.concat([classes.metrics, errors.metrics]), pd.DataFrame(), pd.concat([classes.datasets, errors.datasets]).drop_duplicates("dataset"), "")
    with pytest.raises(UserError, match="network with results of both tasks"):
        overall_chart(both)


# one's own -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables(tree, tmp_path_factory):
    """Collected tables of one setting, and the digest of it."""
    folder = tmp_path_factory.mktemp("tables")
    found = collect(tree)
    found.save(folder)
    return folder, found.settings.query("epochs == 2").experiment.iloc[0]


def test_a_setting_must_be_chosen_where_there_are_several(tables):
    folder, experiment = tables
    for command in ("rank", "compare"):
        refused(deeprehab("results", command, folder), experiment, "epochs")
        refused(deeprehab("results", command, folder, "--experiment", "0123456789ab"), "0123456789ab")


def test_ranking_from_tables_and_from_experiments_is_the_same(tree, tables, tmp_path):
    folder, experiment = tables
    said = [deeprehab("results", "rank", source, "--experiment", experiment, "--figures", tmp_path / source.name) for source in (tree, folder)]
    assert [done.returncode for done in said] == [0, 0], said[0].stderr + said[1].stderr
    first, second = (done.stdout.rsplit(": ", 1)[0] for done in said)
    assert first == second and "synthetic" in first and "2 epochs" in first and "seed 0" in first
    assert files(tmp_path / tree.name) == files(tmp_path / folder.name)  # equal results, equal files
    names = {path.stem for path in (tmp_path / folder.name).glob("*.pdf")}
    assert names == {
        f"{name}-{metric}" for name in (OF_A_RANKING | {"ensemble-size"}) - {"left-out"} for metric in ("accuracy", "rmse")
    } | {"overall-ranks"}
    assert "synthetic" in (tmp_path / folder.name / "captions.md").read_text()


def test_comparing_shows_no_published_column_where_nothing_is_published(tables, tmp_path):
    folder, experiment = tables
    done = deeprehab("results", "compare", folder, "--experiment", experiment, "--figures", tmp_path)
    assert done.returncode == 0, done.stderr
    assert CLASSES in done.stdout and SCORES in done.stdout and "published  " not in done.stdout
    for stated in ("synthetic data", "the dataset is not in the paper", "2 epochs instead of 1500", "nothing to compare", "seed 0", "2026-11-24"):
        assert stated in done.stdout
    assert set(files(tmp_path)) == {f"compared-{metric}.{kind}" for metric in ("accuracy", "rmse") for kind in KINDS} | {
        "captions.md", "cells.csv", "datasets.csv", "verdicts.csv",
    }
    cells = pd.read_csv(tmp_path / "cells.csv")
    assert len(cells) == 2 * 2 + 2 * 3 and cells.published.isna().all() and cells.why_not.notna().all()


def test_a_published_cell_stands_beside_ours(tree, tmp_path):
    """Under a published name, with the published sizes: made-up figures are compared as real ones would be."""
    found = collect(tree)
    kept = found.settings.query("epochs == 2").experiment.iloc[0]
    for name in ("metrics", "runs", "costs", "timings", "settings", "provenance", "sizes"):
        table = getattr(found, name)
        table = table[table.experiment == kept].copy()
        if "dataset" in table:
            table = table[table.dataset == CLASSES].assign(dataset="UIPRMD_clf_bn_DS")
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    found.incomplete.to_csv(tmp_path / "incomplete.csv", index=False)
    provenance = pd.read_csv(tmp_path / "provenance.csv").assign(n_train=162, n_test=18, n_channels=66, n_timepoints=81, synthetic=False)
    provenance.to_csv(tmp_path / "provenance.csv", index=False)
    pd.read_csv(tmp_path / "metrics.csv").assign(synthetic=False).to_csv(tmp_path / "metrics.csv", index=False)
    theirs = published().metrics.query("dataset == 'UIPRMD_clf_bn_DS' and fold == 0 and metric == 'accuracy'").set_index("model").value
    cells = compare(load_collected(tmp_path), published()).cells.query("metric == 'accuracy'").set_index("model")
    for model in ("FCN", "H-Inception"):
        assert cells.published[model] == theirs[model] and cells.difference[model] == pytest.approx(cells.ours[model] - theirs[model])
        assert cells.within[model] == (cells.low[model] <= theirs[model] <= cells.high[model])
    done = installed("results", "compare", tmp_path, "--figures", tmp_path / "figures")
    assert done.returncode == 0, done.stderr
    assert "published" in done.stdout and f"{theirs['FCN']:.3f}" in done.stdout and "not the paper's protocol" in done.stdout
    assert "impossible   fold 0 tests 18, its published accuracies need 36 or a multiple" in done.stdout


# what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["rank", "compare"])
def test_what_cannot_be_shown_is_refused(command, tables, tmp_path):
    folder, experiment = tables
    refused(deeprehab("results", command, tmp_path / "missing"), "missing")
    refused(deeprehab("results", command, tmp_path), "no experiments")
    refused(deeprehab("results", command, folder, "--metric", "acuracy"), "acuracy", "accuracy")
    (tmp_path / "file").write_text("mine")
    refused(deeprehab("results", command, folder, "--experiment", experiment, "--figures", tmp_path / "file"), "file")
    (tmp_path / "metrics.csv").write_text("task,dataset\n")
    refused(deeprehab("results", command, tmp_path), "metrics.csv", "collect again")
    assert (tmp_path / "file").read_text() == "mine"


def test_what_the_paper_has_not():
    refused(deeprehab("results", "rank", "--metric", "mape"), "mape")
    refused(deeprehab("results", "rank", "--experiment", "0123456789ab"), "--experiment")


@pytest.mark.parametrize("name", ["$\\frac$", "<b>x", "%{x}", "x\x1b[31m", "../x"])
def test_tables_with_names_that_are_none_are_refused(name, tables, tmp_path):
    folder, _ = tables
    shutil.copytree(folder, tmp_path / "tables")
    path = tmp_path / "tables" / "metrics.csv"
    path.write_text(path.read_text().replace(CLASSES, name))
    refused(deeprehab("results", "compare", tmp_path / "tables"), "metrics.csv", "collect again")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path):
    tmp_path.chmod(0o500)
    refused(deeprehab("results", "rank", "--figures", tmp_path), str(tmp_path))


def test_the_reproduced_tables_are_real_and_say_what_made_them():
    found = tables_of()
    assert not found.provenance.synthetic.any() and not found.metrics.synthetic.any() and found.incomplete.empty
    assert set(found.provenance.folder.map(lambda name: name.count("/"))) == {3}  # relative: no place on anybody's machine
    assert (found.provenance.data_digest.str.len() == 64).all() and found.settings.libraries.str.contains("keras").all()
    compared = compare(found, published())
    assert set(compared.cells.kind) == {""} and set(compared.datasets.folds) == {"possible"}  # the paper's folds, the paper's protocol


def test_ranking_loads_no_network():
    code = """
import sys
from deeprehab_nb.results.published import published
from deeprehab_nb.results.figures import ranking_charts, overall_chart
from deeprehab_nb.results.ranking import scores
scores(published(), "accuracy").ranks()
assert not {"keras", "tensorflow", "jax", "torch", "matplotlib", "plotly", "statsmodels"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(COMMAND).parent)
