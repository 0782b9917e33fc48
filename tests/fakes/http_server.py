"""A small HTTP server on loopback with scripted replies."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.ports import free_port

Answer = tuple[int, bytes] | tuple[int, bytes, dict[str, str]]


@contextmanager
def serving(answer: Callable[[str, str, dict, bytes], Answer]) -> Iterator[str]:
    """Serve `answer(method, path, headers, body) -> (status, content)`, with or without headers, and yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content, *headers = answer(self.command, self.path, dict(self.headers), body)
            self.send_response(status)
            for name, value in headers[0].items() if headers else ():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(BrokenPipeError):  # the client has left
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815  (the library's names)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
