"""Servers that answer badly, byte by byte."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress


@contextmanager
def answering(*chunks: bytes):
    """A server of one connection that answers with *chunks* and then breaks off."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def serve() -> None:
            connection, _ = listener.accept()
            listener.close()
            with connection:
                connection.recv(65536)
                for chunk in chunks:
                    connection.sendall(chunk)

        thread = threading.Thread(target=serve)
        thread.start()
        yield url
        thread.join()


@contextmanager
def dripping(*before: bytes):
    """A server that sends *before*, and then a byte of a header that never ends, again and again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def drip(connection):
            with connection, suppress(OSError):
                connection.recv(65536)
                for part in before:
                    connection.sendall(part)
                while not done.wait(0.05):
                    connection.sendall(b"x")

        def serve():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=drip, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            done.set()
            listener.shutdown(socket.SHUT_RDWR)
