"""The command that downloads, against a server that answers as the archive's does, and as it might on a bad day."""

import filecmp
import io
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from archive_server import ArchiveServer, Fault
from conftest import COMMAND, ENVIRONMENT, refused, sentence
from synthetic_archive import file_names, write_archive

from deeprehab_nb.data import load_fold
from deeprehab_nb.data.archive import record, records
from deeprehab_nb.data.manifest import shipped
from deeprehab_nb.files import sha256

X = "fold0/x_train_fold0.npy"  # 130 kB and more in the datasets that are chosen here: not to be had in one piece
Y = "fold0/y_train_fold0.npy"
CUT = 70_000  # within its second 64 KiB
LOST = 64 * 1024 + 256 * 1024  # what a killed client may have been sent in vain, for one file: a chunk, and what is in buffers
NOWHERE = "http://127.0.0.1:9/"
QUICK = {"DEEPREHAB_RETRY_WAIT": "0.05", "DEEPREHAB_TIMEOUT": "1", "NO_PROXY": "127.0.0.1"}  # seconds


def start(server, root, *args, **settings):
    """Start a download; its stdout and stderr are read by `communicate`."""
    url = [] if "--base-url" in args else ["--base-url", server if isinstance(server, str) else server.url]
    return subprocess.Popen(
        [COMMAND, "datasets", "download", *map(str, [*args, "--root", root, *url])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT | QUICK, **settings,
    )  # fmt: skip


def download(server, root, *args, timeout=60, **settings):
    with start(server, root, *args, **settings) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.kill()
    assert "Traceback" not in out + err, err
    return subprocess.CompletedProcess(args, process.returncode, out, err)


def downloaded(server, root, *args, **settings):
    """Download what is expected to arrive."""
    done = download(server, root, *args, **settings)
    assert done.returncode == 0, done.stderr
    return done


def place(root, dataset):
    return Path(root) / record(dataset).task / dataset


def served(server, dataset):
    return server.folder / record(dataset).url_path


def fold0(dataset):
    return [name for name in file_names(record(dataset)) if "/" not in name or name.startswith("fold0/")]


def broken(server, root, dataset, names=None):
    """List the files that are there under their final names and are not what the server has."""
    here, there = place(root, dataset), served(server, dataset)
    names = file_names(record(dataset)) if names is None else names
    return [n for n in names if (here / n).exists() and not filecmp.cmp(here / n, there / n, shallow=False)]


def missing(root, dataset, names=None):
    return [n for n in names or file_names(record(dataset)) if not (place(root, dataset) / n).is_file()]


def surplus(root, dataset):
    """List the files that are left over: parts and the like."""
    here = {str(p.relative_to(place(root, dataset))) for p in place(root, dataset).rglob("*") if p.is_file()}
    return here - set(file_names(record(dataset))) - {"manifest.json", "recordings.npz"}


def manifest(root, dataset):
    return json.loads((place(root, dataset) / "manifest.json").read_text())["files"]


def requests_for_files(server, end=""):
    return [r for r in server.log if r.path.endswith((".npy", ".json")) and r.path.endswith(end)]


def names_file(line, dataset, name):
    return name in line and (dataset in line or record(dataset).url_path in line)


def complaint(done, dataset, name):
    """Return the one sentence on stderr about a file."""
    lines = [line for line in done.stderr.splitlines() if names_file(line, dataset, name)]
    assert len(lines) == 1, done.stderr
    sentence(lines[0])
    return lines[0]


@pytest.fixture
def serve(tmp_path):
    """Serve datasets: returns the server, which is stopped after the test."""
    running = []

    def serve(*names, **settings):
        running.append(ArchiveServer(write_archive(tmp_path / f"served{len(running)}", names), **settings))
        return running[-1].__enter__()

    yield serve
    for server in running:
        server.__exit__()


# --- the whole archive, in spite of kill -9 ---

ALL = ("--all", "--jobs", "4", "--accept-changed")  # the package has records of some real files, which these are not

def kill_in_the_middle(server, root, share):
    """Start the download of everything, and kill it after this share of the bytes, when a file is half there."""
    total = sum(p.stat().st_size for p in server.folder.rglob("*") if p.is_file())

    def half_there():
        return any(
            r.path.endswith(".npy") and 150_000 < r.sent and (r.start or 0) + r.sent < (server.folder / r.path).stat().st_size - 150_000
            for r in server.log[-12:]
        )

    with start(server, root, *ALL) as process:
        while not (sum(server.sent().values()) > share * total and half_there()):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.002)
        process.kill()
        process.communicate()
    while server.active:
        time.sleep(0.01)
    return [f"{r.dataset}/{name}" for r in records() for name in broken(server, root, r.dataset)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All 60 datasets, downloaded with three kills in between."""
    folder = tmp_path_factory.mktemp("whole")
    root = folder / "root"
    with ArchiveServer(write_archive(folder / "served"), rate=60e6) as server:
        broken_after_kill = [kill_in_the_middle(server, root, share) for share in (0.2, 0.45, 0.7)]
        before = len(server.log)
        done = download(server, root, *ALL, timeout=120)
        last, server.rate = server.log[before:], None
        yield SimpleNamespace(server=server, root=root, done=done, broken_after_kill=broken_after_kill, last=last)
    shutil.rmtree(folder)  # half a gigabyte, which pytest would keep


def test_after_three_kills_everything_arrives(whole):
    assert whole.done.returncode == 0, whole.done.stderr
    for r in records():
        assert missing(whole.root, r.dataset) == broken(whole.server, whole.root, r.dataset) == []
        assert surplus(whole.root, r.dataset) == set()


def test_a_kill_leaves_no_file_half_written_under_its_name(whole):
    assert whole.broken_after_kill == [[], [], []]


def test_no_byte_is_fetched_twice_but_what_a_kill_interrupted(whole):
    sent = whole.server.sent()
    sizes = {f"{r.url_path}/{n}": (served(whole.server, r.dataset) / n).stat().st_size for r in records() for n in file_names(r)}
    again = {path: sent[path] - size for path, size in sizes.items() if sent[path] != size}
    assert min(again.values(), default=0) >= 0
    assert len(again) <= 3 * 4 and all(n <= 3 * LOST for n in again.values()), again  # three kills, four files at a time
    resumed = [r for r in whole.last if r.start]
    assert resumed and all(r.status == 206 and "if-range" in r.headers for r in resumed)


def test_it_is_polite(whole):
    assert whole.server.max_active <= 4
    for r in requests_for_files(whole.server):
        assert r.headers["user-agent"].startswith("deeprehab") and r.headers["accept-encoding"] == "identity"


def test_the_manifests_are_right(whole):
    for r in records():
        entries = manifest(whole.root, r.dataset)
        assert set(file_names(r)) <= set(entries) <= {*file_names(r), "recordings.npz"}
        for name in file_names(r):
            path, entry = served(whole.server, r.dataset) / name, entries[name]
            facts = path.stat()
            assert (entry["sha256"], entry["size"]) == (sha256(path), facts.st_size), name
            assert entry["etag"] == f'"{facts.st_size:x}-{facts.st_mtime_ns // 1000:x}"' and entry["date"].endswith(" GMT")


def test_the_second_time_nothing_is_fetched(whole):
    before = len(requests_for_files(whole.server))
    modified = {p: p.stat().st_mtime_ns for p in whole.root.rglob("*.npy")}
    downloaded(whole.server, whole.root, "--all")
    assert len(requests_for_files(whole.server)) == before
    assert {p: p.stat().st_mtime_ns for p in whole.root.rglob("*.npy")} == modified


def test_what_was_downloaded_can_be_loaded(whole):
    for dataset in ("KERAAL_clf_mc_CTK", "KINECAL_clf_bn_3WFV", "KIMORE_reg_LA"):
        for k in range(record(dataset).n_folds):
            assert load_fold(dataset, k, whole.root).synthetic


# --- what is chosen, and the plan ---


def test_a_dry_run_plans_and_does_nothing(serve, tmp_path):
    server = serve("IRDS_clf_bn_EFR")
    done = downloaded(server, tmp_path / "root", "IRDS_clf_bn_EFR", "--folds", "0,1", "--dry-run")
    assert server.log == [] and not (tmp_path / "root").exists()
    assert "IRDS_clf_bn_EFR" in done.stdout and re.search(r"\b9\b", done.stdout)  # files: info.json, 4 in each fold


@pytest.mark.parametrize(
    ("chosen", "datasets"),
    [
        (["UIPRMD_clf_bn_SL", "KIMORE_reg_LA"], ["UIPRMD_clf_bn_SL", "KIMORE_reg_LA"]),
        (["--collection", "KERAAL_clf_mc"], [r.dataset for r in records(collection="KERAAL_clf_mc")]),
        (["--task", "regression"], [r.dataset for r in records(task="regression")]),
        (["--all"], [r.dataset for r in records()]),
    ],
)
def test_what_is_chosen(chosen, datasets, tmp_path):
    done = downloaded(NOWHERE, tmp_path / "root", *chosen, "--dry-run")
    planned = [word for word in re.findall(r"\w+", done.stdout) if word in {r.dataset for r in records()}]
    assert sorted(set(planned)) == sorted(datasets)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ([], ["--all"]),
        (["KIMORE_reg_LX"], ["KIMORE_reg_LX", "KIMORE_reg_LA"]),
        (["--collection", "KIMORE"], ["KIMORE", "KIMORE_reg"]),
        (["--task", "clustering"], ["clustering", "regression"]),
        (["KIMORE_reg_LA", "--folds", "0,5"], ["KIMORE_reg_LA", "5"]),
        (["KIMORE_reg_LA", "--folds", "one"], ["--folds", "one"]),
        (["KIMORE_reg_LA", "--folds", ""], ["--folds"]),
        (["KIMORE_reg_LA", "--jobs", "0"], ["--jobs"]),
        (["KIMORE_reg_LA", "--base-url", "ftp://example.org/"], ["ftp://example.org/"]),
        (["KIMORE_reg_LA", "--base-url", "example.org"], ["example.org"]),
    ],
)
def test_what_cannot_be_meant_is_refused(args, named, tmp_path):
    refused(download(NOWHERE, tmp_path / "root", *args), *named)
    assert not (tmp_path / "root").exists()


def test_folds_can_be_chosen_and_added(serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    downloaded(server, root, name, "--folds", "0")
    assert set(file_names(record(name))) - set(missing(root, name)) == set(fold0(name)) == set(manifest(root, name)) - {"recordings.npz"}
    downloaded(server, root, name, "--folds", "0,3")
    downloaded(server, root, name)
    assert missing(root, name) == broken(server, root, name) == []
    paths = [r.path for r in requests_for_files(server)]
    assert len(paths) == len(set(paths)) == 21
    assert [len(load_fold(name, k, root).x_test) for k in range(5)] == [1] * 5


def test_originals_can_be_deleted(serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    downloaded(server, root, name)
    digests = [load_fold(name, k, root).digest for k in range(5)]
    downloaded(server, root, name, "--delete-originals")
    assert not list(root.rglob("*.npy"))
    assert [load_fold(name, k, root).digest for k in range(5)] == digests
    before = len(requests_for_files(server))
    downloaded(server, root, name)
    assert len(requests_for_files(server)) == before and not list(root.rglob("*.npy"))  # what was converted is here


def test_the_server_has_more_than_the_records_say(serve, tmp_path):
    server, name = serve("IRDS_clf_bn_EFR"), "IRDS_clf_bn_EFR"
    (served(server, name) / "fold9").mkdir()
    done = downloaded(server, tmp_path / "root", name)
    assert "fold9" in done.stdout + done.stderr and not [r for r in server.log if "fold9" in r.path]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=403),
        Fault(location="?again"),
        Fault(stall=30),
        Fault(endless=True),
        Fault(stop_after=100),
        Fault(change=lambda _: b'<a href="http://[/">x</a> <a href="' + 10**6 * b"../" + b'"><a href="\xff\0">' + 10**6 * b"<a "),
    ],
    ids=["refused", "a circle", "silence", "endless", "cut", "nonsense"],
)
def test_the_server_s_pages_are_not_needed(fault, serve, tmp_path):
    server, name = serve("IRDS_clf_bn_EFR"), "IRDS_clf_bn_EFR"
    server.faults = lambda path: None if path.endswith((".npy", ".json")) else fault
    downloaded(server, tmp_path / "root", name, timeout=20)
    assert missing(tmp_path / "root", name) == []


# --- a bad day: each file of a table has its own trouble, all in one download ---

def other_values(file):
    """Return a file with the same header and other values, which nobody can tell from the right one."""
    return file[:128] + file[128:][::-1]


_SUITABLE = [
    r.dataset for r in records()
    if r.collection in ("IRDS_clf_bn", "UIPRMD_clf_bn", "UIPRMD_reg", "EHE_reg") and r.dataset not in shipped()
]
_OLD = {"ETag": '"old"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
_BARE = {"ETag": None, "Last-Modified": None}
PASSING = {
    "500, twice": Fault(status=500, times=2),
    "503, come back at once": Fault(status=503, headers={"Retry-After": "0"}, times=1),
    "429": Fault(status=429, times=1),
    "reset": Fault(stop_after=CUT, reset=True, stall=0.3, stall_at=CUT, times=1),  # what is unread is lost: time to read
    "cut": Fault(stop_after=CUT, times=1),
    "cut, three times": Fault(stop_after=40_000, times=3),
    "silence": Fault(stall=30, times=1),
    "silence in the middle": Fault(stall=30, stall_at=CUT, times=1),
    "moved": Fault(location="?moved", times=1),
    "chunks without a length": Fault(chunked=True),
    "cut, then no ranges": [Fault(stop_after=CUT, times=1), Fault(ignore_range=True, after=1)],
    "cut, then another range": [Fault(stop_after=CUT, times=1), Fault(shift=8, after=1, times=1)],
    "cut, then changed": Fault(stop_after=CUT, change=other_values, headers=_OLD, times=1),
    "cut, then changed, and the rest of the new one": [
        Fault(stop_after=CUT, change=other_values, headers=_OLD, times=1), Fault(ignore_if_range=True, after=1),
    ],
    "cut, then shorter": Fault(change=lambda old: old * 2, stop_after=200_000, times=1, headers=_OLD),
    "cut, though it was whole": Fault(surplus=1, times=1),
    "no ETag, cut": Fault(headers={"ETag": None}, stop_after=CUT, times=1),
    "no ETag, no date, cut": [Fault(headers=_BARE), Fault(headers=_BARE, stop_after=CUT, times=1)],
}
RESUMED = ("reset", "cut", "cut, three times", "silence in the middle")
LASTING = {  # and what the sentence says
    "404": (Fault(status=404), "404|no such"),
    "403": (Fault(status=403), "403"),
    "500": (Fault(status=500), "500"),
    "503": (Fault(status=503, headers={"Retry-After": "0"}), "503"),
    "429": (Fault(status=429), "429"),
    "reset": (Fault(stop_after=0, reset=True), "connection"),
    "cut": (Fault(stop_after=0), "connection|short|cut"),
    "silence": (Fault(stall=30), "answer|silent|timed out|seconds"),
    "another host": (Fault(location="http://other.invalid/x.npy"), "other.invalid"),
    "redirects without end": (Fault(location="?again"), "redirect"),
    "a web page": (Fault(change=lambda _: b"<html>Welcome</html>", headers={"Content-Type": "text/html"}), "HTML|web page"),
    "a web page that does not say so": (Fault(change=lambda _: b"<!DOCTYPE html><html>Welcome</html>"), "HTML|web page|not a NumPy"),
    "shorter": (Fault(change=lambda whole: whole[:-8]), "short"),
    "longer": (Fault(change=lambda whole: whole + bytes(8)), "long"),
    "shorter than announced": (Fault(change=lambda whole: whole[:-1000], surplus=1000), "short|connection|announced"),
    "shorter than announced, and silence": (
        Fault(change=lambda whole: whole[:-1000], surplus=1000, stall=30, stall_at=10**9), "short|answer|silent|seconds|announced",
    ),
    "longer than announced": (Fault(surplus=-1000), "short|long|announced"),
    "endless": (Fault(endless=True), "long|end"),
    "nothing": (Fault(change=lambda _: b""), "empty|short|nothing|not a NumPy"),
}  # fmt: skip


def on_a_bad_day(folder, faults):
    names = _SUITABLE[: len(faults)]
    with ArchiveServer(write_archive(folder / "served", names)) as server:
        server.faults = {f"{record(name).url_path}/{X}": fault for name, fault in zip(names, faults, strict=True)}
        done = download(server, folder / "root", *names, "--folds", "0", "--jobs", "8")
    return SimpleNamespace(server=server, root=folder / "root", done=done)


@pytest.fixture(scope="module")
def passing(tmp_path_factory):
    return on_a_bad_day(tmp_path_factory.mktemp("passing"), PASSING.values())


@pytest.fixture(scope="module")
def lasting(tmp_path_factory):
    return on_a_bad_day(tmp_path_factory.mktemp("lasting"), [fault for fault, _ in LASTING.values()])


@pytest.mark.parametrize(("dataset", "trouble"), list(zip(_SUITABLE, PASSING)), ids=PASSING)
def test_trouble_that_passes(dataset, trouble, passing):
    assert missing(passing.root, dataset, fold0(dataset)) == broken(passing.server, passing.root, dataset) == []
    assert surplus(passing.root, dataset) == set()
    assert manifest(passing.root, dataset)[X]["sha256"] == sha256(served(passing.server, dataset) / X)
    asked = [r for r in passing.server.log if r.path == f"{record(dataset).url_path}/{X}"]
    if trouble in RESUMED:
        assert all(r.start for r in asked[1:]) and asked[-1].status == 206
        assert sum(r.sent for r in asked) <= (served(passing.server, dataset) / X).stat().st_size + 64 * 1024 * (len(asked) - 1)
    assert len(asked) <= 6


def test_trouble_that_passes_is_no_failure(passing):
    assert passing.done.returncode == 0, passing.done.stderr


@pytest.mark.parametrize(("dataset", "trouble"), list(zip(_SUITABLE, LASTING)), ids=LASTING)
def test_trouble_that_lasts(dataset, trouble, lasting):
    said = complaint(lasting.done, dataset, X)
    assert re.search(LASTING[trouble][1], said, re.IGNORECASE), said
    assert missing(lasting.root, dataset, fold0(dataset)) == [X] and broken(lasting.server, lasting.root, dataset) == []
    assert X not in manifest(lasting.root, dataset)
    asked = [r for r in lasting.server.log if r.path == f"{record(dataset).url_path}/{X}"]
    if trouble in ("404", "403", "another host"):
        assert len(asked) == 1  # asking again would not help
    assert len(asked) <= 30


def test_trouble_that_lasts_is_a_failure(lasting):
    assert lasting.done.returncode == 1
    told = [line for line in lasting.done.stderr.splitlines() if re.search(r"fold0/\w+\.npy", line)]
    assert len(told) == len(LASTING), lasting.done.stderr


@pytest.mark.parametrize(
    "content",
    [b"<html>", b"", b"{", b"[]", b"[" * 10**6, b"{" + b" " * 10**8 + b"}", b'{"length_TS": "75"}'],
    ids=["a web page", "nothing", "half", "a list", "brackets", "100 MB", "text for a number"],
)
def test_an_info_that_is_none(content, serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    server.faults = {"info.json": Fault(change=lambda _: content)}
    done = download(server, root, name, "--folds", "0")
    assert done.returncode == 1
    complaint(done, name, "info.json")
    assert missing(root, name, fold0(name)) == ["info.json"]


def test_an_info_that_does_not_fit(serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    server.faults = {"info.json": Fault(change=lambda old: old.replace(b'"n_joints": 25', b'"n_joints": 26'))}
    done = download(server, root, name, "--folds", "0")
    assert done.returncode == 1
    complaint(done, name, "26 joints")
    assert not list(root.rglob("recordings.npz"))


class _Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_file_that_would_run_something(serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    harm = tmp_path / "harm"
    hostile = io.BytesIO()
    np.save(hostile, np.array([_Touch(harm)] * 4, dtype=object), allow_pickle=True)
    server.faults = {Y: Fault(change=lambda _: hostile.getvalue())}
    done = download(server, root, name, "--folds", "0")
    assert done.returncode == 1 and not harm.exists()
    assert "refused" in complaint(done, name, Y)
    assert missing(root, name, fold0(name)) == [Y]


def test_compression_that_nobody_asked_for_stores_nothing_wrong(serve, tmp_path):
    server, name = serve("IRDS_clf_bn_EFR"), "IRDS_clf_bn_EFR"
    server.faults = {X: Fault(compressed=True)}
    done = download(server, tmp_path / "root", name, "--folds", "0")
    assert broken(server, tmp_path / "root", name) == []
    if done.returncode == 0:
        assert missing(tmp_path / "root", name, fold0(name)) == []
    else:
        complaint(done, name, X)


def test_after_a_bad_day_only_what_failed_is_fetched(serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    server.faults = {X: Fault(stop_after=CUT, times=1), "info.json": Fault(status=404)}
    assert download(server, root, name, "--folds", "0").returncode == 1
    server.faults, before = {}, len(server.log)
    downloaded(server, root, name, "--folds", "0")
    assert {r.path for r in server.log[before:] if r.path.endswith((".npy", ".json"))} == {f"{record(name).url_path}/info.json"}


def test_the_server_says_when_to_come_back(serve, tmp_path):
    server = serve("IRDS_clf_bn_EFR")
    server.faults = {X: Fault(status=503, headers={"Retry-After": "1"}, times=1)}
    downloaded(server, tmp_path / "root", "IRDS_clf_bn_EFR", "--folds", "0")
    first, second = (r.time for r in requests_for_files(server, X))
    assert 1 <= second - first < 5


# --- no server, no place, no time ---


def test_no_server(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    before = time.monotonic()
    done = download(url, tmp_path / "root", "--all")
    assert done.returncode == 1 and time.monotonic() - before < 10
    sentence(done.stderr.strip(), "127.0.0.1")  # once, not for each of 1424 files
    assert not list(tmp_path.rglob("*.npy"))


def test_a_server_that_dies(serve, tmp_path):
    server = serve("KIMORE_reg_LA", rate=2e6)
    with start(server, tmp_path / "root", "KIMORE_reg_LA") as process:
        while sum(server.sent().values()) < 500_000:
            assert process.poll() is None
            time.sleep(0.01)
        server.__exit__()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 1 and "Traceback" not in out + err
    for line in err.strip().splitlines():
        sentence(line)
    assert broken(server, tmp_path / "root", "KIMORE_reg_LA") == []


def test_a_root_that_cannot_be_written(serve, tmp_path):
    server = serve("IRDS_clf_bn_EFR")
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "root"):
        done = download(server, root, "IRDS_clf_bn_EFR")
        assert done.returncode == 2
        sentence(done.stderr.strip().removeprefix("deeprehab: "), str(root))
    assert server.log == []


def test_a_full_disk(serve, tmp_path):
    """The limit on a file's size stands for the disk: writing beyond it fails the same way."""
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    limit = 100_000
    done = download(
        server, root, name, "--folds", "0", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    assert done.returncode == 1
    complaint(done, name, X)
    assert X in missing(root, name, fold0(name)) and broken(server, root, name) == []  # the others need not be tried
    assert len(requests_for_files(server, X)) == 1  # asking again would not help
    before = server.sent()
    downloaded(server, root, name, "--folds", "0")
    assert missing(root, name, fold0(name)) == broken(server, root, name) == [] and surplus(root, name) == set()
    path = f"{record(name).url_path}/{X}"
    assert server.sent()[path] - before[path] <= (served(server, name) / X).stat().st_size - limit  # what had arrived was kept


@pytest.mark.parametrize("obstacle", ["classification", "classification/IRDS_clf_bn_EFR", "classification/IRDS_clf_bn_EFR/fold0"])
def test_a_file_in_the_place_of_a_folder(obstacle, serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    (root / obstacle).parent.mkdir(parents=True)
    (root / obstacle).write_text("")
    done = download(server, root, name)
    assert done.returncode in (1, 2)
    for line in done.stderr.strip().splitlines():
        sentence(line, obstacle)
    assert (root / obstacle).read_text() == ""
    assert obstacle.count("/") < 2 or missing(root, name) == [n for n in fold0(name) if "/" in n]  # the rest goes on


@pytest.mark.parametrize("obstacle", [X, "info.json"])
def test_a_folder_in_the_place_of_a_file(obstacle, serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    (place(root, name) / obstacle / "mine").mkdir(parents=True)
    done = download(server, root, name, "--folds", "0")
    assert done.returncode in (1, 2)
    complaint(done, name, obstacle)
    assert (place(root, name) / obstacle / "mine").is_dir()


def test_interrupted_from_the_keyboard(serve, tmp_path):
    server, root, name = serve("KIMORE_reg_LA", rate=2e6), tmp_path / "root", "KIMORE_reg_LA"
    with start(server, root, name) as process:
        while sum(server.sent().values()) < 500_000:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 130 and "Traceback" not in out + err
    assert broken(server, root, name) == []
    server.rate = None
    downloaded(server, root, name)
    assert missing(root, name) == broken(server, root, name) == [] and surplus(root, name) == set()


def test_two_at_once(serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR", rate=2e6), tmp_path / "root", "IRDS_clf_bn_EFR"
    both = [start(server, root, name) for _ in range(2)]
    ends = [(*process.communicate(timeout=60), process.returncode) for process in both]
    assert 0 in [status for *_, status in ends]
    for out, err, status in ends:
        assert "Traceback" not in out + err
        if status:
            sentence(err.strip())
    assert missing(root, name) == broken(server, root, name) == [] and surplus(root, name) == set()
    assert set(file_names(record(name))) <= set(manifest(root, name))


# --- what has changed since ---


def change_on_server(server, dataset, name, keep_etag):
    path = served(server, dataset) / name
    facts, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + (0 if keep_etag else 10**9)))


@pytest.mark.parametrize("keep_etag", [False, True], ids=["another ETag", "the same ETag"])
def test_a_file_that_changed_on_the_server(serve, tmp_path, keep_etag):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    downloaded(server, root, name, "--folds", "0")
    old = manifest(root, name)
    change_on_server(server, name, X, keep_etag)
    (place(root, name) / X).unlink()  # or there would be no reason to ask
    (place(root, name) / "recordings.npz").unlink(missing_ok=True)
    done = download(server, root, name, "--folds", "0")
    assert done.returncode == 1
    assert re.search("changed", complaint(done, name, X))
    assert missing(root, name, fold0(name)) == [X] and manifest(root, name)[X] == old[X]
    downloaded(server, root, name, "--folds", "0", "--accept-changed")
    assert missing(root, name, fold0(name)) == broken(server, root, name) == []
    assert manifest(root, name)[X]["sha256"] == sha256(served(server, name) / X) != old[X]["sha256"]


def test_what_had_arrived_of_a_file_and_was_damaged_since(serve, tmp_path):
    """As after a power cut: only with the file's digest does it show, and then it is fetched from its beginning."""
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    downloaded(server, root, name, "--folds", "0")
    (place(root, name) / X).unlink()
    (place(root, name) / "recordings.npz").unlink(missing_ok=True)
    server.faults = {X: [Fault(stop_after=CUT), Fault(status=404, after=1)]}
    assert download(server, root, name, "--folds", "0").returncode == 1
    part, = (p for p in (place(root, name) / X).parent.iterdir() if p.stat().st_size == CUT)
    part.write_bytes(part.read_bytes()[:-100] + bytes(100))
    server.faults = {}
    downloaded(server, root, name, "--folds", "0")
    assert missing(root, name, fold0(name)) == broken(server, root, name) == []
    assert [r.start for r in requests_for_files(server, X)][-2:] == [CUT, None]


def test_a_file_that_is_here_is_kept_whatever_the_server_has(serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    downloaded(server, root, name, "--folds", "0")
    old = sha256(place(root, name) / X)
    change_on_server(server, name, X, keep_etag=False)
    download(server, root, name)
    assert sha256(place(root, name) / X) == old == manifest(root, name)[X]["sha256"]


def test_what_a_kill_after_the_last_byte_leaves_is_removed(serve, tmp_path):
    """The file has its name, and the note of what the server said of it is still there."""
    server, root = serve("IRDS_clf_bn_EFR"), tmp_path / "root"
    downloaded(server, root, "IRDS_clf_bn_EFR", "--folds", "0")
    (place(root, "IRDS_clf_bn_EFR") / "fold0" / ".x_train_fold0.npy.part.json").write_text("{}")
    downloaded(server, root, "IRDS_clf_bn_EFR", "--folds", "0")
    assert surplus(root, "IRDS_clf_bn_EFR") == set()


def test_a_file_that_was_cut_short_here_is_fetched_again(serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    downloaded(server, root, name, "--folds", "0")
    os.truncate(place(root, name) / X, 1000)
    before = len(requests_for_files(server))
    done = downloaded(server, root, name, "--folds", "0")
    assert broken(server, root, name) == [] and len(requests_for_files(server)) == before + 1
    assert f"{X} had not the" in done.stdout


@pytest.mark.parametrize("dataset", shipped())
def test_what_the_package_knows_of_the_real_files(dataset, serve, tmp_path):
    """A server that sends others is noticed the first time; these are synthetic, and so they are others."""
    server, root = serve(dataset), tmp_path / "root"
    done = download(server, root, dataset)
    assert done.returncode == 1
    for name in shipped()[dataset]:
        assert re.search("changed", complaint(done, dataset, name))
    assert sorted(missing(root, dataset)) == sorted(shipped()[dataset])
    downloaded(server, root, dataset, "--accept-changed")
    assert missing(root, dataset) == broken(server, root, dataset) == []
    downloaded(server, root, dataset)  # the dataset's own manifest counts now


def test_a_damaged_manifest_is_named(serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    downloaded(server, root, name, "--folds", "0")
    (place(root, name) / "manifest.json").write_text("{")
    done = download(server, root, name, "--folds", "0")
    assert done.returncode in (1, 2)
    assert "manifest.json" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert (place(root, name) / "manifest.json").read_text() == "{"


# --- states that a kill or a user leaves behind ---


def test_what_somebody_has_put_there_is_looked_at(serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    (place(root, name) / "fold0").mkdir(parents=True)
    (place(root, name) / X).write_bytes(b"<html>404</html>")
    shutil.copy(served(server, name) / Y, place(root, name) / Y)
    done = downloaded(server, root, name, "--folds", "0")
    assert f"{X} was there already" in done.stdout
    assert broken(server, root, name) == missing(root, name, fold0(name)) == []
    assert len(requests_for_files(server)) == 4  # all but the labels
    assert manifest(root, name)[Y]["sha256"] == sha256(served(server, name) / Y)


def test_a_conversion_that_a_change_has_overtaken_is_made_anew(serve, tmp_path):
    """As after a kill between the arrival of a changed file and its conversion."""
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    downloaded(server, root, name, "--folds", "0")
    old = (place(root, name) / "recordings.npz").read_bytes()
    change_on_server(server, name, X, keep_etag=False)
    (place(root, name) / X).unlink()
    (place(root, name) / "recordings.npz").unlink()
    downloaded(server, root, name, "--folds", "0", "--accept-changed")
    new = load_fold(name, 0, root).digest
    (place(root, name) / "recordings.npz").write_bytes(old)
    downloaded(server, root, name, "--folds", "0")
    assert load_fold(name, 0, root).digest == new


@pytest.mark.parametrize("fault, said", [
    (Fault(location="http://[/x"), "address"), (Fault(location="http://a\x1b[2J/"), "redirects"), (Fault(headers={"Content-Length": "x"}), None),
])
def test_an_odd_answer_is_one_file_s_trouble(fault, said, serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    server.faults = {X: fault}
    done = download(server, root, name, "--folds", "0")
    assert "\x1b" not in done.stderr + done.stdout
    if said:
        assert done.returncode == 1 and said in complaint(done, name, X)
    assert set(missing(root, name, fold0(name))) <= {X} and broken(server, root, name) == []


def test_a_page_that_no_parser_takes(serve, tmp_path):
    server, name = serve("IRDS_clf_bn_EFR"), "IRDS_clf_bn_EFR"
    pages = Fault(change=lambda _: b'<![foo[ <a href="a&#27;[2Jb">', headers={"Content-Type": "text/html"})
    server.faults = lambda path: None if path.endswith((".npy", ".json")) else pages
    assert "\x1b" not in downloaded(server, tmp_path / "root", name, "--folds", "0").stdout


@pytest.mark.parametrize("url", ["http://[", "http://a..b/", "http://127.0.0.1:99999/", "https:///x"])
def test_an_address_that_is_none(url, tmp_path):
    done = download(url, tmp_path / "root", "IRDS_clf_bn_EFR", "--folds", "0", timeout=30)
    assert done.returncode in (1, 2)
    for line in done.stderr.strip().splitlines():
        sentence(line.removeprefix("deeprehab: "))


def test_no_secure_connection(tmp_path):
    """A port that hangs up at the first word of TLS is no matter of certificates, and is asked again."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        port.listen()
        met = []

        def hang_up():
            while True:
                try:
                    connection = port.accept()[0]
                except OSError:
                    return
                met.append(connection.recv(10))
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        done = download(f"https://127.0.0.1:{port.getsockname()[1]}/", tmp_path / "root", "IRDS_clf_bn_EFR", "--folds", "0", "--jobs", "1")
    assert done.returncode == 1 and len(met) >= 5
    assert "certificate" not in done.stderr


def test_an_interruption_does_not_wait_for_a_silent_server(serve, tmp_path):
    server, root, name = serve("IRDS_clf_bn_EFR"), tmp_path / "root", "IRDS_clf_bn_EFR"
    server.faults = {X: Fault(stall=30)}
    with start(server, root, name, "--timeout", "20") as process:
        while not requests_for_files(server, X):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        before = time.monotonic()
        _, err = process.communicate(timeout=15)
    assert process.returncode == 130 and "Interrupted" in err and time.monotonic() - before < 5
    server.faults = {}
    downloaded(server, root, name)


def test_one_damaged_manifest_does_not_stop_the_others(serve, tmp_path):
    server, root = serve("IRDS_clf_bn_EFR", "UIPRMD_reg_DS"), tmp_path / "root"
    place(root, "IRDS_clf_bn_EFR").mkdir(parents=True)
    (place(root, "IRDS_clf_bn_EFR") / "manifest.json").write_text("{")
    done = download(server, root, "IRDS_clf_bn_EFR", "UIPRMD_reg_DS", "--folds", "0")
    assert done.returncode == 1
    sentence(done.stderr.strip().splitlines()[-1], "manifest.json")
    assert missing(root, "UIPRMD_reg_DS", fold0("UIPRMD_reg_DS")) == []
