"""
How the time of an epoch grows with the number of frames, channels and recordings, for each network; README.md tells how to read the table.

    python benchmarks/growth.py             # 20 minutes on a core
    python benchmarks/growth.py --quick     # does everything work?
"""

import argparse
import csv
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from common import HERE, MODELS, machine
from rich.console import Console
from rich.table import Table

os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}  # as every training has

STEP = 64


@dataclass(frozen=True)
class Size:
    """What an epoch goes over."""

    n_cases: int = 128
    n_joints: int = 10
    n_timepoints: int = 100

    @property
    def n_channels(self) -> int:
        return 3 * self.n_joints


AXES = {
    "n_timepoints": ("n_timepoints", (50, 100, 200, 400)),
    "n_channels": ("n_joints", (5, 10, 20, 40)),
    "n_cases": ("n_cases", (64, 128, 256)),
}
FIELDS = ("model", "axis", "n_cases", "n_channels", "n_timepoints", "epoch_s", "epochs")


def epoch_seconds(model: str, size: Size, seconds: float) -> tuple[float, int]:
    """Return the median time of an epoch, without the first, which compiles, and of how many it is."""
    import numpy as np

    from deeprehab_nb.data.skeleton import Skeleton
    from deeprehab_nb.models.zoo import architecture
    from deeprehab_nb.training.loop import Schedule, seed_everything, train

    class Enough(Exception):
        """So many epochs will do."""

    found = []

    def note(epoch) -> None:
        found.append(epoch.seconds)
        if len(found) > 3 and sum(found[1:]) > seconds:
            raise Enough

    rng = np.random.default_rng(0)
    x = rng.random((size.n_cases, size.n_channels, size.n_timepoints), dtype=np.float32)
    seed_everything(0)
    network = architecture(model).build(size.n_timepoints, size.n_channels, 2, Skeleton(size.n_joints, 3, (tuple(range(size.n_joints)),)))
    try:
        train(network, x, np.arange(size.n_cases) % 2, Schedule(41, STEP), seed=0, report=note)
    except Enough:
        pass
    return median(found[1:]), len(found) - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), help="which of the nine")
    parser.add_argument("--seconds", type=float, default=3.0, help="that a measurement lasts, at least")
    parser.add_argument("--out", type=Path, default=HERE.parent / "deeprehab_nb" / "results" / "growth.csv", help="the table, by default the book's; beside it .json describes the machine")
    parser.add_argument("--quick", action="store_true", help="a smoke test: GRU only, briefly")
    options = parser.parse_args()
    if options.quick:
        options.models, options.seconds = "GRU", 0.1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(machine() | {"threads": 1}, indent=1) + "\n")
    console, rows, base = Console(width=120), [], Size()
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for model in options.models.split(","):
            sizes = [("", base)]
            sizes += [(axis, replace(base, **{field: value})) for axis, (field, values) in AXES.items() for value in values if value != getattr(base, field)]
            for axis, size in sizes:
                seconds, epochs = epoch_seconds(model, size, options.seconds)
                row = {
                    "model": model, "axis": axis, "n_cases": size.n_cases, "n_channels": size.n_channels, "n_timepoints": size.n_timepoints,
                    "epoch_s": f"{seconds:.5g}", "epochs": epochs,
                }
                rows.append(row)
                writer.writerow(row)
                file.flush()
                console.print(f"{model} {size.n_cases} x {size.n_channels} x {size.n_timepoints}: {seconds:.3g} s", highlight=False)
    import pandas as pd

    from deeprehab_nb.results.growth import power_laws

    shown = Table("model", *(f"{axis} to the power of" for axis in AXES), title="How the time of an epoch grows")
    for model, law in power_laws(pd.DataFrame(rows).astype({"epoch_s": float})).iterrows():
        shown.add_row(model, *(f"{law[axis]:.2f}" for axis in AXES))
    console.print(shown)


if __name__ == "__main__":
    main()
