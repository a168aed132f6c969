"""A line between a command and the server that can be cut, with neither of them being told."""

from __future__ import annotations

import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from runner.embedded import Server

PORT = 5432


class Line:
    """A client and the session that the server has for it."""

    def __init__(self, client: socket.socket, backend: socket.socket) -> None:
        """Pass on what either says, until one of them hangs up."""
        self._client = client
        self._backend = backend
        self._is_half = False
        for source, sink in ((client, backend), (backend, client)):
            Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def cut(self, *, is_half: bool) -> None:
        """Cut it; by half: the server is left to believe that its client is there."""
        self._is_half = is_half
        _shut(self._client)
        if not is_half:
            _shut(self._backend)

    def close(self) -> None:
        """Cut it for good."""
        self.cut(is_half=False)
        self._client.close()
        self._backend.close()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while said := source.recv(65536):
                sink.sendall(said)
        if not (self._is_half and sink is self._backend):
            _shut(sink)


class Relay:
    """A socket that passes everything on to the server's, both ways."""

    def __init__(self, server: Server) -> None:
        """Listen in a folder of its own."""
        self._target = server.socket_folder / f".s.PGSQL.{PORT}"
        self._folder = Path(tempfile.mkdtemp(prefix="pgm-relay-"))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / f".s.PGSQL.{PORT}"))
        self._listener.listen()
        self._lines: list[Line] = []
        self._thread = Thread(target=self._accept, daemon=True)
        self._thread.start()

    def url(self, database: str) -> str:
        """Return how the server is reached through here."""
        folder = quote(str(self._folder))
        return f"postgresql://postgres@/{database}?host={folder}&hostaddr=&port={PORT}"

    def cut(self, *, is_half: bool) -> int:
        """Cut all lines that there are, and return how many."""
        lines = list(self._lines)
        for line in lines:
            line.cut(is_half=is_half)
        return len(lines)

    def close(self) -> None:
        """Cut what is left, and stop listening."""
        _shut(self._listener)
        self._thread.join()
        self._listener.close()
        for line in self._lines:
            line.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            backend = socket.socket(socket.AF_UNIX)
            try:
                backend.connect(str(self._target))
            except OSError:  # the server is down
                client.close()
                backend.close()
            else:
                self._lines.append(Line(client, backend))


def _shut(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
