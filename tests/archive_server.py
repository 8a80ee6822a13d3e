"""A local web server that answers as the archive's does, and as it might on a bad day."""

import gzip
import html
import itertools
import os
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

BASE = "/datasets/RehabPile/"
PIECE = 8 * 1024  # small pieces and buffers: what a killed client had not read yet is little
ERROR_PAGE = "<!DOCTYPE HTML>\n<html><head>\n<title>{0}</title>\n</head><body>\n<h1>{0}</h1>\n<hr>\n</body></html>\n"


@dataclass
class Fault:
    """
    What goes wrong with the requests for a file, or for the page of a folder. The parts can be combined.

    Attributes
    ----------
    status : int, optional
        Answer with a page of this status.
    location : str, optional
        Redirect there. ``"?moved"`` with ``times=1`` is a redirect that arrives, and without it a loop.
    headers : dict
        Headers to add or to replace; those that are None are left out.
    change : callable, optional
        Makes the content that is sent from the file's. The ETag stays, unless ``headers`` has another.
    surplus : int
        How many bytes more than it sends the answer announces; negative if it sends more.
    chunked, compressed, endless : bool
        Chunks instead of a length; gzip although nobody asked; a body without length that goes on with zeros.
    stop_after : int, optional
        Close the connection after so many bytes of the body.
    reset : bool
        Close it with a reset, not in good order.
    stall : float
        Send nothing for so many seconds, before the answer, or in the body at about byte ``stall_at``.
    ignore_range, ignore_if_range : bool
        Send everything with status 200 whatever range is asked for; or the range, though the file has changed.
    shift : int
        By how much the range that is sent is not the one that was asked for.
    after, times : int
        Let the first requests for a path pass; then this number of requests goes wrong (by default, all).
        Only GET counts.
    """

    status: int | None = None
    location: str | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    change: Callable[[bytes], bytes] | None = None
    surplus: int = 0
    chunked: bool = False
    compressed: bool = False
    endless: bool = False
    stop_after: int | None = None
    reset: bool = False
    stall: float = 0
    stall_at: int | None = None
    ignore_range: bool = False
    ignore_if_range: bool = False
    shift: int = 0
    after: int = 0
    times: float = float("inf")
    seen: Counter = field(default_factory=Counter, repr=False)


@dataclass
class Request:
    """What was asked, and what became of it; `sent` grows while the body is handed to the socket."""

    method: str
    path: str  # below the archive's address
    start: int | None  # of the range that was asked for
    headers: dict[str, str]  # the request's, with names in lower case
    time: float
    status: int | None = None
    sent: int = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Apache/2.4.62 (Debian)", ""
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.server.archive.connections.add(self.connection)

    def handle(self):
        with suppress(ConnectionError):  # the client is gone
            super().handle()

    def finish(self):
        self.server.archive.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_):
        pass

    def do_GET(self):
        archive, path = self.server.archive, unquote(urlsplit(self.path).path).removeprefix(BASE)
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.request_ = Request(self.command, path, int(asked[1]) if asked else None, headers, time.monotonic())
        with archive.serving(self.request_):
            self._answer(archive, archive.fault(self.request_))

    do_HEAD = do_GET

    def _answer(self, archive: "ArchiveServer", fault: Fault) -> None:
        if fault.stall_at is None:
            archive.stopped.wait(fault.stall)
        place = archive.place(self.path)
        if fault.status is not None:
            self._page(fault.status, fault.headers)
        elif fault.location is not None:
            self._page(302, {"Location": fault.location} | fault.headers)
        elif place is None or not place.exists():
            self._page(404)
        elif place.is_file():
            self._file(place, fault)
        elif not urlsplit(self.path).path.endswith("/"):
            self._page(301, {"Location": f"{urlsplit(archive.url)._replace(path=urlsplit(self.path).path).geturl()}/"})
        else:
            listing = _listing(unquote(urlsplit(self.path).path), place).encode()
            headers = {"Content-Type": "text/html;charset=UTF-8"} | fault.headers
            self._content(fault.change(listing) if fault.change else listing, 200, headers, fault)

    def _head(self, status: int, headers: dict[str, str | None]) -> None:
        self.request_.status = status
        if self.command == "HEAD":
            self.server.archive.ends(self.request_)
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def _page(self, status: int, headers: dict | None = None, text: str | None = None) -> None:
        title = f"{status} {self.responses[status][0]}"
        body = (text or ERROR_PAGE.format(title)).encode()
        self._head(status, {"Content-Type": "text/html;charset=UTF-8", "Content-Length": str(len(body))} | (headers or {}))
        self._body(body, Fault())

    def _file(self, path: Path, fault: Fault) -> None:
        facts, body, status = path.stat(), path.read_bytes(), 200
        if fault.change is not None:
            body = fault.change(body)
        headers = {
            "Last-Modified": self.date_time_string(facts.st_mtime),
            "ETag": f'"{facts.st_size:x}-{facts.st_mtime_ns // 1000:x}"',
            "Accept-Ranges": "bytes",
            "Content-Type": "application/json" if path.suffix == ".json" else None,
        } | fault.headers
        if not (fault.ignore_range or fault.compressed) and (range_ := self._range(len(body), headers, fault)):
            start, stop = range_
            if start >= len(body):
                return self._page(416, {"Content-Range": f"bytes */{len(body)}"})
            start = max(0, start + fault.shift)
            status, headers["Content-Range"] = 206, f"bytes {start}-{stop - 1}/{len(body)}"
            body = body[start:stop]
        if fault.compressed:
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        return self._content(body, status, headers, fault)

    def _content(self, body: bytes, status: int, headers: dict[str, str | None], fault: Fault) -> None:
        if fault.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif not fault.endless:
            headers.setdefault("Content-Length", str(len(body) + fault.surplus))
        self._head(status, headers)
        self._body(body, fault)

    def _range(self, size: int, headers: dict[str, str | None], fault: Fault) -> tuple[int, int] | None:
        """Return start and stop of the one range that is asked for; None to send everything."""
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        condition = None if fault.ignore_if_range else self.headers.get("If-Range")
        if asked is None or asked[0] == "bytes=-" or condition not in (None, headers["ETag"], headers["Last-Modified"]):
            return None
        first, last = asked.groups()
        if first == "":
            return max(0, size - int(last)), size
        return int(first), min(int(last) + 1, size) if last else size

    def _body(self, body: bytes, fault: Fault) -> None:
        """Send the body, or what the fault leaves of it."""
        if self.command == "HEAD":
            return
        pieces = (body[i : i + PIECE] for i in range(0, len(body), PIECE))
        if fault.endless:
            pieces = itertools.chain(pieces, itertools.repeat(bytes(PIECE)))
        stalls, left = fault.stall_at is not None, float("inf") if fault.stop_after is None else fault.stop_after
        for piece in pieces:
            if stalls and self.request_.sent + len(piece) > fault.stall_at:
                self.server.archive.stopped.wait(fault.stall)
                stalls = False
            piece = piece[: min(left, PIECE)]
            left -= len(piece)
            if self.request_.sent + len(piece) == len(body) and not fault.chunked:
                self.server.archive.ends(self.request_)
            if piece:
                self._send(b"%x\r\n%b\r\n" % (len(piece), piece) if fault.chunked else piece)
            if left <= 0:
                break
        else:
            if fault.chunked:
                self._send(b"0\r\n\r\n")
        if stalls:
            self.server.archive.stopped.wait(fault.stall)
        if fault.stop_after is not None or fault.reset or fault.surplus or fault.endless:
            self.close_connection = True
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.server.archive.connections.discard(self.connection)
            socket.close(self.connection.detach())  # not close(): it would wait for the reader, and say goodbye first

    def _send(self, data: bytes) -> None:
        self.server.archive.throttle(len(data))
        rest = memoryview(data)
        while rest:
            n = self.connection.send(rest)
            self.request_.sent += n
            rest = rest[n:]


def _listing(path: str, folder: Path) -> str:
    """Return a page as Apache's mod_autoindex makes it."""
    sorts = "".join(f'<th><a href="?C={key};O={"D" if key == "N" else "A"}">{name}</a></th>'
                    for key, name in (("N", "Name"), ("M", "Last modified"), ("S", "Size")))
    rows = [f'<tr><td><a href="{quote(path.rstrip("/").rpartition("/")[0])}/">Parent Directory</a></td><td>&nbsp;</td></tr>']
    for entry in sorted(folder.iterdir()):
        name = entry.name + "/" * entry.is_dir()
        changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.stat().st_mtime))
        size = "  - " if entry.is_dir() else f"{entry.stat().st_size / 1024:.1f}K"
        rows.append(f'<tr><td><a href="{quote(name)}">{html.escape(name)}</a></td><td>{changed}</td><td>{size}</td></tr>')
    title = f"Index of {html.escape(path.rstrip('/'))}"
    return (
        f'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n<html>\n <head>\n  <title>{title}</title>\n </head>\n'
        f" <body>\n<h1>{title}</h1>\n  <table>\n   <tr>{sorts}</tr>\n" + "\n".join(rows) + "\n</table>\n</body></html>\n"
    )


class ArchiveServer:
    """
    Serve a folder on this machine: ``with ArchiveServer(folder) as server: ... server.url ...``.

    Attributes
    ----------
    url : str
        The archive's address, with a slash at its end.
    log : list of Request
        All requests, from the moment they come in.
    faults : dict of str to Fault or list of Fault, or callable
        What goes wrong, by the end of the path; or a function of the path, which returns that, or None. Out of a list,
        the last one that concerns the request.
    rate : float, optional
        Bytes per second, for all connections together.
    active : int
        How many requests are being answered now.
    max_active : int
        The highest number that were at the same time. Here a request ends before its last bytes are sent: once they
        are, the client's next request may come before this one's thread goes on.
    """

    def __init__(self, folder: Path, rate: float | None = None):
        self.folder, self.rate = Path(folder).absolute(), rate
        self.faults: dict[str, Fault | list[Fault]] | Callable[[str], Fault | list[Fault] | None] = {}
        self.log: list[Request] = []
        self.active = self.max_active = 0
        self._unanswered: set[int] = set()
        self.connections: set[socket.socket] = set()
        self.stopped = threading.Event()
        self._lock, self._due = threading.Lock(), 0.0

    def __enter__(self):
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * PIECE)  # connections inherit it
        self._http.daemon_threads, self._http.block_on_close, self._http.archive = True, False, self
        self.url = f"http://127.0.0.1:{self._http.server_port}{BASE}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self.connections):
            with suppress(OSError):  # it is closed already
                connection.shutdown(socket.SHUT_RDWR)

    def sent(self) -> Counter:
        """Count the bytes of bodies that were sent, by path."""
        sent = Counter()
        for request in list(self.log):
            sent[request.path] += request.sent
        return sent

    @contextmanager
    def serving(self, request: Request):
        with self._lock:
            self.log.append(request)
            self.active += 1
            self._unanswered.add(id(request))
            self.max_active = max(self.max_active, len(self._unanswered))
        try:
            yield
        finally:
            self.ends(request)
            with self._lock:
                self.active -= 1

    def ends(self, request: Request) -> None:
        """Tell that a request's last bytes are about to be sent, if that has not been told."""
        with self._lock:
            self._unanswered.discard(id(request))

    def fault(self, request: Request) -> Fault:
        """Return what goes wrong with a request; a fault without effect where nothing does."""
        if callable(self.faults):
            faults = self.faults(request.path) or []
        else:
            faults = next((faults for end, faults in self.faults.items() if request.path.endswith(end)), [])
        active = Fault()
        for fault in faults if isinstance(faults, list) else [faults]:
            with self._lock:
                number = fault.seen[request.path]
                fault.seen[request.path] += request.method == "GET"
            if fault.after <= number < fault.after + fault.times:
                active = fault
        return active

    def throttle(self, n_bytes: int) -> None:
        """Wait until so many bytes may be sent."""
        if self.rate:
            with self._lock:
                self._due = max(self._due, time.monotonic()) + n_bytes / self.rate
                wait = self._due - time.monotonic()
            self.stopped.wait(max(0, wait))

    def place(self, url: str) -> Path | None:
        """Return where the thing with an address lies; None outside the archive."""
        path = unquote(urlsplit(url).path)
        place = os.path.normpath(self.folder / path.removeprefix(BASE))
        inside = path.startswith(BASE) and Path(place).is_relative_to(self.folder)
        return Path(place) if inside else None
