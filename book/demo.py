"""
The demonstration: two networks on each synthetic dataset, one table, and the reports as pages.

Everything from recordings on disk to a readable result, in some minutes. Started again, only what is missing is done.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pandas as pd

from deeprehab_nb.book.pages import read_page
from deeprehab_nb.book.site import render
from deeprehab_nb.data.sample import SAMPLE_DATASETS, write_sample
from deeprehab_nb.experiment.store import Experiment, load_ensemble

ROOT = Path(__file__).resolve().parents[1]
OUT = Path("runs/demo")
MODELS = ("FCN", "LITEMV")
# the moving averages of batch normalisation need some hundred steps; 56 recordings give 7 small batches
SETTINGS = {"epochs": 120, "runs": 2, "batch_size": 8, "seed": 0}


def run(experiment: Experiment) -> str:
    """Run one experiment in a process of its own; return a line about it."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
    command = [Path(sys.executable).parent / "deeprehab", "run", experiment.dataset, f"--model={experiment.model}"]
    done = subprocess.run(
        [*command, f"--root={experiment.root}", f"--out={OUT}", *options], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return f"{experiment.model} on {experiment.dataset}: {done.stdout.splitlines()[0]}"


def table(experiments: list[Experiment]) -> pd.DataFrame:
    """Return the ensembles' metrics."""
    rows = [{"dataset": e.dataset, "network": e.model} | load_ensemble(e)["metrics"] for e in experiments]
    return pd.DataFrame(rows).set_index(["dataset", "network"]).round(3)


def build_pages(experiments: list[Experiment], results: pd.DataFrame) -> Path:
    """Make pages of the executed notebooks, with the book's own settings; return the first."""
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in SETTINGS.items())
    linked = results.reset_index()
    linked["network"] = [f"[{e.model}](/{e.folder / 'experiment.ipynb'})" for e in experiments]
    text = (
        "# A demonstration\n> Two networks on each dataset of the synthetic sample archive\n\n"
        f"{linked.fillna('').to_markdown(index=False)}\n\nEnsembles on fold 0 of each dataset ({settings}). The recordings are "
        "**synthetic**, made by a program: the figures show that everything works, and say nothing about patients.\n"
    )
    chapters = [{"file": str(e.folder / "experiment"), "title": f"{e.model} on {e.dataset}"} for e in experiments]
    notebooks = {str(e.folder / "experiment"): read_page(e.folder / "experiment.ipynb") for e in experiments}
    site = (OUT / "site").resolve()
    if render({"format": "jb-book", "root": "demo", "chapters": chapters}, notebooks, {"demo": text}, site):
        sys.exit("The pages have faults; they are named above.")
    return site / "html" / "index.html"


def main() -> None:
    """Run the demonstration from the repository's folder."""
    os.chdir(ROOT)
    root = write_sample("datasets/sample")
    pairs = product(SAMPLE_DATASETS, MODELS)
    experiments = [Experiment(dataset, model=model, root=root, out=OUT, **SETTINGS) for dataset, model in pairs]
    print(f"{len(experiments)} experiments on SYNTHETIC recordings, two at a time", flush=True)
    with ThreadPoolExecutor(2) as pool:
        for number, line in enumerate(pool.map(run, experiments), start=1):
            print(f"[{number}/{len(experiments)}] {line}", flush=True)
    results = table(experiments)
    print("Building the pages", flush=True)
    page = build_pages(experiments, results)
    print(f"\nEnsembles of {SETTINGS['runs']} runs, SYNTHETIC recordings:\n{results.to_string(na_rep='')}\n\nPage: {page}")


if __name__ == "__main__":
    main()
