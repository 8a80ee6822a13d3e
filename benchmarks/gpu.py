"""
A five-run experiment on a GPU, with JAX: the baseline, and the package, which trains all runs as one program, by turns.

    python benchmarks/gpu.py            # on the machine with the GPU; TensorFlow need not be there
    python benchmarks/gpu.py --smoke    # on any CPU: does everything work?
"""

import argparse
import csv
import json
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from common import HERE, SHAPES, WAYS, environment, histories, machine, timed, write_fold
from speed import PAPER_EPOCHS, at_paper_length, parts

COMMANDS = {"baseline": WAYS["baseline"], "package": WAYS["no_report"]}


def devices(backend: dict[str, str]) -> str:
    """Say what JAX computes on."""
    program = "import jax; print(', '.join(d.device_kind for d in jax.devices()))"
    done = subprocess.run([sys.executable, "-c", program], env=environment(**backend), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--models", default="LITEMV,FCN,STGCN")
    parser.add_argument("--ways", default="baseline,package")
    parser.add_argument("--shape", default="irds", choices=SHAPES)
    parser.add_argument("--epochs", type=int, default=100, help="of each run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="turns; the ratios are of medians")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "gpu.csv")
    parser.add_argument("--smoke", action="store_true", help="a small size on the CPU")
    options = parser.parse_args()
    backend = {"KERAS_BACKEND": "jax"}
    if options.smoke:
        backend["JAX_PLATFORMS"] = "cpu"
        options.shape, options.epochs, options.runs, options.repeats = "tiny", 2, 2, 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    about = machine() | {"devices": devices(backend), "command": sys.argv[1:]}
    options.out.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
    print(f"JAX computes on: {about['devices']}", flush=True)
    shape, ways = SHAPES[options.shape], options.ways.split(",")
    n_steps = math.ceil(shape.n_train / 64)
    with options.out.open("w", newline="") as file, tempfile.TemporaryDirectory() as folder:
        writer = csv.writer(file)
        writer.writerow(["device", "shape", "model", "way", "epochs", "runs", "turn", "seconds", "steps_per_s", "write_s", "rest_s"])
        write_fold(Path(folder), "Shape_clf_bn_GPU", shape)
        for model in options.models.split(","):
            seconds, part, out = {way: [] for way in ways}, {}, Path(folder) / "out"
            for turn in range(options.repeats):
                for way in ways[:: -1 if turn % 2 else 1]:
                    shutil.rmtree(out, ignore_errors=True)
                    words = ("Shape_clf_bn_GPU", 0, model, folder, out, options.epochs, options.runs)
                    seconds[way].append(timed(COMMANDS[way](*words), **backend))
                    part[way] = parts(seconds[way][-1], histories(out), 1)
                    found = (n_steps / part[way]["epoch"], part[way]["write"], part[way]["rest"])
                    writer.writerow([
                        about["devices"], shape, model, way, options.epochs, options.runs, turn, f"{seconds[way][-1]:.3f}", *(f"{n:.3g}" for n in found),
                    ])
                    file.flush()
                    print(f"{model} {way}: {seconds[way][-1]:.1f} s, {found[0]:.1f} steps/s, {found[2]:.1f} s that do not grow", flush=True)
            if {"baseline", "package"} <= set(ways):
                far = [at_paper_length(part["baseline"], writes) / at_paper_length(part["package"], 0) for writes in (0, PAPER_EPOCHS)]
                ratio = median(seconds["baseline"]) / median(seconds["package"])
                print(f"{model}: {ratio:.2f} times faster; extrapolated to {PAPER_EPOCHS} epochs, {far[0]:.1f} to {far[1]:.1f}", flush=True)


if __name__ == "__main__":
    main()
