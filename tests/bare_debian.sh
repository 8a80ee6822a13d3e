#!/bin/sh
# Run the README's two commands in a Debian 12 that has nothing but python3, python3-venv, make and git.
# A set-up step that is missing shows here and nowhere else. Needs root, debootstrap, the network and about 6 GB.
#
#   sudo tests/bare_debian.sh FOLDER [make targets; default: demo test]
set -eu
root=${1:?"name an empty folder for the Debian system"}
shift
here=$(cd "$(dirname "$0")/.." && pwd)

if [ ! -x "$root/usr/bin/make" ]; then
    debootstrap --variant=minbase --include=python3,python3-venv,make,git,ca-certificates bookworm "$root" \
        "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
fi
cp /etc/resolv.conf "$root/etc/resolv.conf"
if [ -n "${PIP_CERT:-}" ]; then cp "$PIP_CERT" "$root$PIP_CERT"; fi  # a machine behind a proxy has certificates of its own
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
mountpoint -q "$root/dev" || { mount --rbind /dev "$root/dev" && mount --make-rslave "$root/dev"; }
trap 'umount -R -l "$root/proc" "$root/dev" 2>/dev/null || true' EXIT

rm -rf "$root/root/clone"
git clone --quiet "$here" "$root/root/clone"
for target in ${*:-demo test}; do
    echo "== make $target"
    start=$(date +%s)
    env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" $(env | grep -iE '^(https?|no)_proxy=|^PIP_' || true) \
        chroot "$root" make -C /root/clone "$target"
    echo "== make $target took $(($(date +%s) - start)) s"
done
