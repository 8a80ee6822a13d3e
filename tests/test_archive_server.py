"""The server that the download is tried on is itself what it claims to be."""

import gzip
import time

import pytest
import requests
from archive_server import ArchiveServer, Fault
from synthetic_archive import file_names, n_cases, write_archive

from deeprehab_nb.data import load_fold
from deeprehab_nb.data.archive import record, records

X = "fold0/x_train_fold0.npy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_archive(tmp_path_factory.mktemp("served"), ["SPHERE_clf_bn_WUS"]) / "SPHERE_clf_bn" / "WUS"


@pytest.fixture
def server(folder):
    with ArchiveServer(folder) as server:
        yield server


def get(server, path=X, faults=None, **headers):
    if faults:
        server.faults[path] = faults
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(server.url + path, headers={"Accept-Encoding": "identity"} | named, timeout=5, allow_redirects=False)


@pytest.mark.parametrize("dataset", [r.dataset for r in records()])
def test_every_dataset_of_the_synthetic_archive_can_be_read(dataset, tmp_path):
    entry = record(dataset)
    write_archive(tmp_path, [dataset], lambda r: f"{r.task}/{r.dataset}")
    folder = tmp_path / entry.task / dataset
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert written == set(file_names(entry)) and len(written) == 1 + 4 * entry.n_folds
    for k in range(entry.n_folds):
        fold = load_fold(dataset, k, tmp_path)
        assert fold.synthetic and len(fold.x_train) + len(fold.x_test) == n_cases(entry)
        assert fold.n_classes == len(fold.class_names) == (entry.n_classes or 0)
        assert entry.task == "classification" or fold.max_score == entry.score_max


def test_files_folders_and_what_is_not_there(server, folder):
    content = (folder / X).read_bytes()
    whole = get(server)
    assert whole.status_code == 200 and whole.content == content and "Content-Type" not in whole.headers
    assert requests.head(server.url + X).headers["Content-Length"] == str(len(content))
    page = get(server, "fold0/")
    assert "<title>Index of /datasets/RehabPile/fold0</title>" in page.text and 'href="x_train_fold0.npy"' in page.text
    assert get(server, "fold0").headers["Location"] == server.url + "fold0/"
    for path in ("nothing", "../../../etc/passwd", "%2e%2e/%2e%2e/%2e%2e/etc/passwd", f"{server.url}../WUS2/"):
        assert get(server, path).status_code == 404
    first, head, *_ = server.log
    assert (first.method, first.path, first.start, first.status, first.sent) == ("GET", X, None, 200, len(content))
    assert (head.method, head.sent) == ("HEAD", 0) and server.sent()[X] == len(content)
    assert server.max_active == 1


def test_ranges(server, folder):
    content, size = (folder / X).read_bytes(), (folder / X).stat().st_size
    whole = get(server)
    for tag in (None, whole.headers["ETag"], whole.headers["Last-Modified"]):
        part = get(server, Range="bytes=1000-", If_Range=tag)
        assert part.status_code == 206 and part.content == content[1000:]
        assert part.headers["Content-Range"] == f"bytes 1000-{size - 1}/{size}"
    assert get(server, Range="bytes=1000-", If_Range='"other"').content == content
    assert get(server, Range="bytes=10-19").content == content[10:20]
    assert get(server, Range="bytes=-10").content == content[-10:]
    beyond = get(server, Range=f"bytes={size}-")
    assert beyond.status_code == 416 and beyond.headers["Content-Range"] == f"bytes */{size}"


def test_faults(server, folder):
    content, size = (folder / X).read_bytes(), (folder / X).stat().st_size
    answers = [get(server, faults=Fault(status=503, headers={"Retry-After": "1"}, times=2)) for _ in range(1)] + [get(server), get(server)]
    assert [answer.status_code for answer in answers] == [503, 503, 200] and answers[0].headers["Retry-After"] == "1"
    assert get(server, faults=Fault(location="http://other.invalid/")).headers["Location"] == "http://other.invalid/"
    for fault in (Fault(stop_after=20_000), Fault(stop_after=20_000, reset=True), Fault(surplus=10)):
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            get(server, faults=fault)
    assert 20_000 == server.log[-2].sent == server.log[-3].sent
    page = get(server, faults=Fault(change=lambda _: b"<html>", headers={"Content-Type": "text/html"}))
    assert page.status_code == 200 and page.content == b"<html>"
    assert get(server, faults=Fault(surplus=-10)).content == content[:-10]
    chunked = get(server, faults=Fault(chunked=True))
    assert chunked.content == content and "Content-Length" not in chunked.headers
    assert requests.get(server.url + X, stream=True).headers["Transfer-Encoding"] == "chunked"
    packed = get(server, faults=Fault(compressed=True))
    assert packed.headers["Content-Encoding"] == "gzip" and packed.content == content
    assert len(gzip.compress(content, 1)) == int(packed.headers["Content-Length"])
    assert get(server, faults=Fault(ignore_range=True), Range="bytes=10-").content == content
    assert get(server, faults=Fault(shift=-4), Range="bytes=10-").headers["Content-Range"] == f"bytes 6-{size - 1}/{size}"
    changed = Fault(change=lambda old: old[::-1], headers={"ETag": '"new"'}, after=1)
    assert [get(server, faults=changed).content, get(server).content] == [content, content[::-1]]


def test_slowness(server):
    def seconds(**settings):
        start = time.monotonic()
        with requests.get(server.url + X, stream=True, **settings) as answer:
            n = sum(map(len, answer.iter_content(8192)))
        return time.monotonic() - start, n

    _, n = seconds(timeout=5)
    server.rate = n / 0.4
    assert 0.3 < seconds(timeout=5)[0] < 2
    server.rate = None
    server.faults[X] = Fault(stall=10, stall_at=10_000)
    with pytest.raises(requests.ConnectionError, match="timed out"):
        seconds(timeout=0.2)
    server.faults[X] = Fault(endless=True)
    with requests.get(server.url + X, stream=True, timeout=5) as answer:
        pieces = answer.iter_content(65536)
        assert sum(len(next(pieces)) for _ in range(50)) > 2 * n and "Content-Length" not in answer.headers
