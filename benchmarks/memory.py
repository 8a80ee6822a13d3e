"""
How much memory an experiment of the largest dataset takes, and whether many experiments in one process take ever more.

    python benchmarks/memory.py            # all nine networks, then 50 experiments
    python benchmarks/memory.py --quick    # does everything work?
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
from common import HERE, MODELS, SHAPES, WAYS, ask, environment, machine, write_fold

POLL = 0.2  # seconds


def held(process: psutil.Process) -> int:
    """Return the bytes that a process and its descendants hold; what they share is counted once, where the system says so (Linux)."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it has just ended
            found = each.memory_full_info()
            total += getattr(found, "pss", found.rss)
    return total


def peak(command: list[object]) -> tuple[float, float]:
    """Run a command; return the most memory that it held with its descendants, in GB, and its seconds."""
    start, most = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(list(map(str, command)), env=environment(), stdout=said, stderr=said, text=True)
        process = psutil.Process(child.pid)
        while child.poll() is None:
            try:
                most = max(most, held(process))
            except psutil.NoSuchProcess:
                break
            time.sleep(POLL)
        if child.wait():
            said.seek(0)
            raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{said.read()[-3000:]}")
    return most / 1e9, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), help="of the large experiments")
    parser.add_argument("--ways", default="package", help=f"of {', '.join(WAYS)}")
    parser.add_argument("--shape", default="largest", choices=SHAPES, help="of the large experiments")
    parser.add_argument("--epochs", type=int, default=1, help="of each run")
    parser.add_argument("--runs", type=int, default=5, help="of each large experiment")
    parser.add_argument("--many", type=int, default=50, help="how many small experiments, of one run, follow each other in one process; 0 for none")
    parser.add_argument("--many-models", default="FCN,GRU,LITEMV", help="of the small experiments, by turns")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "memory.csv")
    parser.add_argument("--quick", action="store_true", help="a smoke test: little of everything")
    options = parser.parse_args()
    if options.quick:
        options.models, options.shape, options.runs, options.many, options.many_models = "FCN", "tiny", 1, 4, "FCN"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(machine() | {"command": sys.argv[1:]}, indent=1) + "\n")
    with options.out.open("w", newline="") as file, tempfile.TemporaryDirectory() as folder:
        writer, out = csv.writer(file), Path(folder) / "out"
        writer.writerow(["what", "way", "shape", "model", "epochs", "runs", "GB", "seconds"])

        def keep(*row: object) -> None:
            writer.writerow(row)
            file.flush()
            print(*row, flush=True)

        dataset, shape = f"Shape_clf_bn_{options.shape}", SHAPES[options.shape]
        write_fold(Path(folder), dataset, shape)
        for model in options.models.split(","):
            for way in options.ways.split(","):
                shutil.rmtree(out, ignore_errors=True)
                gb, seconds = peak(WAYS[way](dataset, 0, model, folder, out, options.epochs, options.runs))
                keep("peak of an experiment", way, shape, model, options.epochs, options.runs, f"{gb:.2f}", f"{seconds:.0f}")
        if options.many:
            write_fold(Path(folder), "Many_clf_bn_Tiny", SHAPES["tiny"])
            gb = ask("many", "Many_clf_bn_Tiny", options.many_models, folder, out, options.many)["gb"]
            for number in sorted({1, len(gb) // 5, len(gb) // 2, len(gb)} - {0}):
                keep(f"after {number} of {len(gb)} in one process", "no_report", SHAPES["tiny"], options.many_models, 1, 1, f"{gb[number - 1]:.3f}", "")
            half = gb[len(gb) // 2 :]
            slope = 1000 * np.polyfit(np.arange(len(half)), half, 1)[0] if len(half) > 1 else 0.0
            print(f"In the second half, each experiment adds {slope:.2f} MB.")


if __name__ == "__main__":
    main()
