"""A server on this machine that serves what a test gives it, and misbehaves as told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What is served under a path.

    ``cuts`` are numbers of bytes after which the connection is closed, one for each request until they are used up.
    """

    content: bytes
    ranges: bool = True
    status: int = 200
    cuts: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Server:
    """``requests`` holds the path and the range of each request that came."""

    address: str
    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"


@contextmanager
def serving() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, asked = self.path.lstrip("/"), self.headers.get("Range")
            server.requests.append((path, asked))
            page = server.pages.get(path)
            if page is None or page.status != 200:
                self.send_error(page.status if page else 404)
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and page.ranges else None
            if start is not None and start >= len(page.content):
                self.send_error(416)
                return
            body = page.content[start:]
            self.send_response(200 if start is None else 206)
            self.send_header("Content-Length", str(len(body)))
            if start is not None:
                self.send_header("Content-Range", f"bytes {start}-{len(page.content) - 1}/{len(page.content)}")
            for name, value in page.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: page.cuts.pop(0)] if page.cuts else body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = Server(f"http://127.0.0.1:{http.server_address[1]}")
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
