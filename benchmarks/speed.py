"""
How much faster the package is than the baseline, side by side and by turns; README.md tells how to read the table.

    python benchmarks/speed.py            # what `make bench` does
    python benchmarks/speed.py --quick    # does everything work?
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import geometric_mean, median

import yaml
from common import COMMAND, HERE, MODELS, SHAPES, WAYS, Shape, ask, environment, histories, machine, timed, write_fold
from rich.console import Console
from rich.table import Table

# Epochs of a run, so that an experiment of the baseline takes about half a minute on two cores where that is possible.
EPOCHS = {
    "small": {"FCN": 20, "H-Inception": 10, "LITEMV": 15, "ConvTran": 6, "ConvLSTM": 2, "GRU": 10, "VanTran": 2, "DisjointCNN": 3, "STGCN": 2},
    "irds": {"FCN": 15, "H-Inception": 10, "LITEMV": 15, "ConvTran": 6, "ConvLSTM": 3, "GRU": 15, "VanTran": 2, "DisjointCNN": 6, "STGCN": 2},
    "kimore": dict.fromkeys(MODELS, 2) | dict.fromkeys(("FCN", "LITEMV", "GRU"), 5),
    "ucdhe": dict.fromkeys(MODELS, 2),
}
PAPER_EPOCHS = 1500
CELL_MODELS, CELL_EPOCHS = ("FCN", "LITEMV", "ConvTran", "GRU", "DisjointCNN", "H-Inception"), 5
FIELDS = (
    "what", "shape", "model", "epochs", "runs", "repeats", "baseline_s", "package_s", "ratio", "ratio_min", "ratio_max", "no_report_s", "no_report_ratio",
    "limit_s", "times_limit", "extrapolated_1500_least", "extrapolated_1500_most", "baseline_all_s", "package_all_s", "no_report_all_s",
)


def parts(seconds: float, runs: list[list[dict[str, float]]], places: int) -> dict[str, float]:
    """Divide the time of an experiment into what each epoch takes, each checkpoint, and all the rest, which does not grow."""
    epoch = median(row["seconds"] for run in runs for row in run[1:] or run)  # the first compiles
    writes = [row["write_seconds"] for run in runs for row in run if row.get("write_seconds", 0) > 1e-3]
    turns = max(1, len(runs) / places)  # a run may be divided
    return {
        "epoch": epoch, "write": median(writes) if writes else 0.0, "turns": turns,
        "rest": seconds - turns * (epoch * len(runs[0]) + sum(writes) / len(runs)),
    }


def at_paper_length(part: dict[str, float], writes: int) -> float:
    """Extrapolate the time of an experiment to 1500 epochs, with so many checkpoints in each run."""
    return part["rest"] + part["turns"] * (PAPER_EPOCHS * part["epoch"] + writes * part["write"])


def alternate(ways: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Measure each way in turn; every second turn begins with the other end."""
    found = {name: [] for name in ways}
    for turn in range(repeats):
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            found[name].append(ways[name]())
    return found


def compared(baseline: list[float], other: list[float]) -> tuple[float, float, float]:
    """Return the ratio of the medians, and the least and the largest of the turns."""
    ratios = [a / b for a, b in zip(baseline, other, strict=True)]
    return median(baseline) / median(other), min(ratios), max(ratios)


def row_of(what: str, shape: str, model: str, found: dict[str, list[float]], limit: float | None = None, **more: object) -> dict[str, object]:
    """Put measured seconds into a row of the table."""
    ratio, least, most = compared(found["baseline"], found["package"])
    row = {"what": what, "shape": shape, "model": model, "repeats": len(found["package"]), "ratio": ratio, "ratio_min": least, "ratio_max": most} | more
    row |= {f"{name}_s": median(values) for name, values in found.items()}
    row |= {f"{name}_all_s": " ".join(f"{value:.4g}" for value in values) for name, values in found.items()}
    if "no_report" in found:
        row["no_report_ratio"] = compared(found["baseline"], found["no_report"])[0]
    if limit:
        row |= {"limit_s": limit, "times_limit": row.get("no_report_s", row["package_s"]) / limit}
    return row


def measure_experiment(model: str, name: str, shape: Shape, options: argparse.Namespace, gflops: float, flops: int, folder: Path) -> dict[str, object]:
    """Measure an experiment from the start of its process to the end of it: the baseline, the package, the package without report."""
    root, outs = folder / "archive", {way: folder / way for way in WAYS}
    dataset = f"Shape_clf_bn_{name}"
    if not (root / "classification" / dataset).is_dir():
        write_fold(root, dataset, shape)
    epochs = options.epochs or EPOCHS.get(name, {}).get(model, 3)

    def measure(way: str) -> float:
        shutil.rmtree(outs[way], ignore_errors=True)
        return timed(WAYS[way](dataset, 0, model, root, outs[way], epochs, options.runs))

    found = alternate({way: partial(measure, way) for way in options.ways}, options.repeats)
    cores = len(os.sched_getaffinity(0))
    theirs, ours = (parts(found[key][-1], histories(outs[key]), n) for key, n in (("baseline", 1), ("package", cores)))
    ratios = [at_paper_length(theirs, writes) / at_paper_length(ours, 0) for writes in (0, PAPER_EPOCHS)]
    limit = 3 * flops * shape.n_train * epochs * options.runs / (gflops * 1e9)
    extrapolated = {"extrapolated_1500_least": ratios[0], "extrapolated_1500_most": ratios[1]}
    return row_of("experiment", str(shape), model, found, limit, epochs=epochs, runs=options.runs, **extrapolated)


def measure_step(model: str, name: str, shape: Shape, options: argparse.Namespace, gflops: float, flops: int, folder: Path) -> dict[str, object]:
    """Measure a training step of 64 recordings, in two processes that wait for each other, or that make room for each other."""
    words = {"baseline": "naive", "package": "package"}
    workers: dict[str, subprocess.Popen] = {}

    def end() -> None:
        for worker in workers.values():
            worker.kill()
            worker.wait()
        workers.clear()

    def turn(key: str) -> float:
        if options.apart:
            end()
        if key not in workers:
            workers[key] = subprocess.Popen(
                [sys.executable, HERE / "worker.py", "step", words[key], model, name], env=environment(), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )
        workers[key].stdin.write("\n")
        workers[key].stdin.flush()
        return json.loads(workers[key].stdout.readline())["ms"] / 1000

    try:
        found = alternate({key: partial(turn, key) for key in words}, options.repeats)
    finally:
        end()
    return row_of("step", str(shape), model, found, 3 * flops * 64 / (gflops * 1e9))


def measure_benchmark(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Measure 24 cells, two datasets by two folds by six models: the baseline one process after another, the package by its own command."""
    shape, folds, models = (SHAPES["tiny"], [0], ["FCN", "GRU"]) if options.quick else (SHAPES["small"], [0, 1], list(CELL_MODELS))
    epochs, root, datasets = options.epochs or CELL_EPOCHS, folder / "cells", ("Cells_clf_bn_A", "Cells_clf_bn_B")
    for seed, dataset in enumerate(datasets):
        if not (root / "classification" / dataset).is_dir():
            write_fold(root, dataset, shape, n_folds=len(folds), seed=seed)
    cells = [(dataset, fold, model) for dataset in datasets for fold in folds for model in models]
    out, file = folder / "of_cells", folder / "cells.yaml"
    file.write_text(yaml.safe_dump({
        "root": str(root), "out": str(out), "datasets": list(datasets), "models": models, "epochs": epochs, "runs": options.runs,
    }))

    def baseline() -> float:
        shutil.rmtree(out, ignore_errors=True)
        return sum(timed(WAYS["baseline"](*cell, root, out / "-".join(map(str, cell)), epochs, options.runs)) for cell in cells)

    def ours() -> float:
        shutil.rmtree(out, ignore_errors=True)
        return timed([COMMAND, "benchmark", "run", file])

    found = alternate({"baseline": baseline, "package": ours}, options.repeats)
    return row_of("benchmark", str(shape), f"{len(cells)} cells", found, epochs=epochs, runs=options.runs)


def table(rows: list[dict[str, object]], about: dict[str, object]) -> Table:
    """Show the rows, and the geometric mean of each group of models."""
    shown = Table(title=f"The package against the baseline: {about['cpu']}, {about['cores']} cores, {about['gflops']:.0f} GFLOP/s, {about['commit']}, {about['date']}")
    columns = (
        "what", "n_cases x n_channels x n_timepoints", "model", "epochs x runs", "baseline, s", "package, s", "times faster (min to max)",
        "without report", "1500 epochs, extrapolated", "limit, s", "package / limit",
    )
    for number, column in enumerate(columns):
        shown.add_column(column, justify="left" if number < 3 else "right")

    def text(row: dict[str, object], name: str, form: str = ".3g") -> str:
        return format(row[name], form) if isinstance(row.get(name), (int, float)) else ""

    def far(row: dict[str, object]) -> str:
        return f"{text(row, 'extrapolated_1500_least')} to {text(row, 'extrapolated_1500_most')}" if row.get("extrapolated_1500_least") else ""

    groups = {(row["what"], row["shape"]): [] for row in rows}
    for row in rows:
        groups[row["what"], row["shape"]].append(row)
    for (what, shape), group in groups.items():
        for row in group:
            length = f"{row['epochs']} x {row['runs']}" if row.get("epochs") else ""
            shown.add_row(
                what, shape, str(row["model"]), length, text(row, "baseline_s"), text(row, "package_s"),
                f"{row['ratio']:.2f} ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})", text(row, "no_report_ratio", ".2f"), far(row),
                text(row, "limit_s"), text(row, "times_limit", ".1f"),
            )
        if len(group) > 1:
            names = ("ratio", "no_report_ratio", "extrapolated_1500_least", "extrapolated_1500_most")
            means = {name: geometric_mean([row[name] for row in group]) for name in names if name in group[0]}
            ratios = [text(means, name, ".2f") for name in names[:2]]
            shown.add_row(what, shape, f"geometric mean of {len(group)}", "", "", "", *ratios, far(means), "", "", style="bold")
        shown.add_section()
    return shown


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--what", default="experiment,step,benchmark", help="experiment, step, benchmark")
    parser.add_argument("--models", default=",".join(MODELS), help="which of the nine")
    parser.add_argument("--shapes", default="small", help=f"of experiments and steps: {', '.join(SHAPES)}; or all, the first four, which takes hours")
    parser.add_argument("--ways", default=",".join(WAYS), help="of experiments; no_report can be left out where time is short")
    parser.add_argument("--apart", action="store_true", help="of steps: end a process before the other begins, where memory has no room for both")
    parser.add_argument("--repeats", type=int, default=3, help="turns; the table has medians")
    parser.add_argument("--epochs", type=int, help="of each run; by default so many that a measurement lasts, see EPOCHS")
    parser.add_argument("--runs", type=int, default=5, help="of each experiment")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "speed.csv", help="the table; beside it .json describes the machine")
    parser.add_argument("--quick", action="store_true", help="a smoke test: little of everything, once")
    options = parser.parse_args()
    if options.quick:
        options.models, options.shapes, options.repeats, options.epochs, options.runs = "FCN,GRU", "tiny", 1, 2, 1
    options.what, options.models, options.ways = (getattr(options, name).split(",") for name in ("what", "models", "ways"))
    options.shapes = list(EPOCHS) if options.shapes == "all" else options.shapes.split(",")
    for found, known in (
        (options.what, ("experiment", "step", "benchmark")), (options.models, MODELS), (options.shapes, SHAPES), (options.ways, WAYS),
    ):
        if wrong := set(found) - set(known):
            parser.error(f"there is no {', '.join(sorted(wrong))}; there are {', '.join(known)}")
    if not {"baseline", "package"} <= set(options.ways):
        parser.error("two ways are compared: --ways has baseline and package")
    return options


def main() -> None:
    options, console, rows = arguments(), Console(width=190), []
    about = machine() | ask("rate") | {"command": sys.argv[1:]}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
    started = time.monotonic()
    with options.out.open("w", newline="") as file, tempfile.TemporaryDirectory() as folder:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()

        def keep(row: dict[str, object]) -> None:
            rows.append(row)
            writer.writerow({name: f"{value:.5g}" if isinstance(value, float) else value for name, value in row.items()})
            file.flush()
            console.print(
                f"{(time.monotonic() - started) / 60:5.1f} min  {row['what']} {row['shape']} {row['model']}: {row['baseline_s']:.3g} s and "
                f"{row['package_s']:.3g} s, {row['ratio']:.2f} times faster", highlight=False,
            )

        try:
            for what in options.what:
                if what == "benchmark":
                    keep(measure_benchmark(options, Path(folder)))
                    continue
                for name in options.shapes:
                    for model in options.models:
                        flops = ask("flops", model, name)["flops"]
                        measure = measure_experiment if what == "experiment" else measure_step
                        keep(measure(model, name, SHAPES[name], options, about["gflops"], flops, Path(folder)))
        except KeyboardInterrupt:
            console.print("Interrupted: what follows was measured until then.")
    console.print(table(rows, about))
    console.print(f"Written to {options.out}; the machine is described in {options.out.with_suffix('.json').name}.")


if __name__ == "__main__":
    main()
