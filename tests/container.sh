#!/bin/sh
# Build the image and use it as book/containers.md says, as a user whom it does not know: data and results in mounted folders,
# an experiment stopped and gone on with, the notebook. Needs Linux, a Docker engine, the network and about 5 GB.
#
#   tests/container.sh [options of docker build, such as --network host]
set -eu
cd "$(dirname "$0")/.."
docker build --tag deeprehab:test "$@" .

place=$(mktemp -d)
name=deeprehab-test-$$
user=4321:8765
clean() {
    docker rm --force "$name" >/dev/null 2>&1 || true
    inside --user 0 --entrypoint find deeprehab:test /data /results -mindepth 1 -delete  # they are not ours to remove
    rm -r "$place"
}
inside() { docker run --rm --user "$user" -v "$place/data:/data" -v "$place/results:/results" "$@"; }
trap clean EXIT
mkdir -m 777 "$place/data" "$place/results"
runs=$place/results/runs/classification/Synthetic_clf_bn_ArmRaise/fold0/FCN

echo "== the command"
inside deeprehab:test --version
inside deeprehab:test datasets sample /data/sample

echo "== an experiment, stopped during its second run"
docker run --detach --name "$name" --user "$user" -v "$place/data:/data" -v "$place/results:/results" deeprehab:test \
    run Synthetic_clf_bn_ArmRaise --model FCN --root /data/sample --epochs 60 --batch-size 8 --runs 3 >/dev/null
waited=0
until [ -d "$runs/run0" ]; do
    sleep 0.5
    waited=$((waited + 1))
    if [ "$waited" -gt 600 ]; then docker logs "$name"; exit 1; fi
done
docker stop -t 60 "$name" >/dev/null
docker logs "$name" 2>&1 | tail -n 1 | grep "^Interrupted"
test "$(docker inspect --format '{{.State.ExitCode}}' "$name")" = 130
test ! -e "$runs/run2"

echo "== and gone on with"
made=$(stat -c %Y "$runs/run0/model.keras")
docker start --attach "$name"
test "$(stat -c %Y "$runs/run0/model.keras")" = "$made"
test -f "$runs/experiment.ipynb"

echo "== the notebook"
inside --entrypoint papermill deeprehab:test /opt/deeprehab-nb/nbs/experiments/train.ipynb report.ipynb --no-progress-bar \
    -p dataset Synthetic_clf_bn_ArmRaise -p model FCN -p root /data/sample -p out notebook -p epochs 3 -p batch_size 8 -p runs 1

echo "== all files belong to the user who was named, and nothing is left half written"
test -z "$(find "$place/data" "$place/results" -mindepth 1 ! -user 4321)"
test -z "$(find "$place" -name '*.part*')"
echo "== all is well"
