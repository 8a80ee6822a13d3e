"""
A five-run experiment on a GPU, with JAX: the baseline, the package, and all runs as one program (batched.py), by turns.

    python benchmarks/gpu.py            # on the machine with the GPU; TensorFlow need not be there
    python benchmarks/gpu.py --smoke    # on any CPU: everything works, and the one program's losses are those of the package
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

TOLERANCE = 1e-4
BATCHED = HERE / "batched.py"
COMMANDS = {
    "baseline": WAYS["baseline"], "package": WAYS["no_report"], "batched": lambda *words: [sys.executable, BATCHED, *words],
}


def devices(backend: dict[str, str]) -> str:
    """Say what JAX computes on."""
    program = "import jax; print(', '.join(d.device_kind for d in jax.devices()))"
    done = subprocess.run([sys.executable, "-c", program], env=environment(**backend), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def steps_per_second(way: str, out: Path, steps: int) -> float:
    """Return how many training steps a second an experiment has made, of all its runs, without compilation."""
    if way == "batched":
        return json.loads((out / "ensemble.json").read_text())["steps_per_s"]
    return steps / median(row["seconds"] for run in histories(out) for row in run[1:] or run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--models", default="LITEMV,FCN,STGCN")
    parser.add_argument("--ways", default="baseline,package,batched")
    parser.add_argument("--shape", default="irds", choices=SHAPES)
    parser.add_argument("--epochs", type=int, default=100, help="of each run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="turns; the ratios are of medians")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "gpu.csv")
    parser.add_argument("--smoke", action="store_true", help="a small size on the CPU, and the comparison of losses")
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
    with options.out.open("w", newline="") as file, tempfile.TemporaryDirectory() as folder:
        writer = csv.writer(file)
        writer.writerow(["device", "shape", "model", "way", "epochs", "runs", "turn", "seconds", "steps_per_s"])
        write_fold(Path(folder), "Shape_clf_bn_GPU", shape)
        for model in options.models.split(","):
            if options.smoke and "batched" in ways:
                command = list(map(str, (sys.executable, BATCHED, "check", model, options.shape, options.epochs, options.runs)))
                done = subprocess.run(command, env=environment(**backend), stdout=subprocess.PIPE, text=True, check=True)
                difference = json.loads(done.stdout.splitlines()[-1])["difference"]
                print(f"{model}: the losses of {options.runs} runs in one program differ by {difference:.1e} at most", flush=True)
                if not difference < TOLERANCE:
                    sys.exit(f"{model}: that is more than {TOLERANCE:g}.")
            seconds, out = {way: [] for way in ways}, Path(folder) / "out"
            for turn in range(options.repeats):
                for way in ways[:: -1 if turn % 2 else 1]:
                    shutil.rmtree(out, ignore_errors=True)
                    words = ("Shape_clf_bn_GPU", 0, model, folder, out, options.epochs, options.runs)
                    seconds[way].append(timed(COMMANDS[way](*words), **backend))
                    steps = steps_per_second(way, out, math.ceil(shape.n_train / 64))
                    writer.writerow([about["devices"], shape, model, way, options.epochs, options.runs, turn, f"{seconds[way][-1]:.3f}", f"{steps:.2f}"])
                    file.flush()
                    print(f"{model} {way}: {seconds[way][-1]:.1f} s, {steps:.1f} steps/s", flush=True)
            for way in ways[1:]:
                print(f"{model}: {way} is {median(seconds[ways[0]]) / median(seconds[way]):.2f} times as fast as {ways[0]}", flush=True)


if __name__ == "__main__":
    main()
