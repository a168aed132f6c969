"""The command as somebody at a terminal uses it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from select import select
from time import monotonic
from typing import Self


class Terminal:
    """The command on a terminal of its own; what it prints is in ``seen``."""

    def __init__(self, *arguments: str, url: str) -> None:
        self._ours, theirs = pty.openpty()
        self.seen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runner", *arguments],
            env=os.environ | {"DATABASE_URL": url, "TERM": "xterm", "COLUMNS": "200"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def until(self, text: str, *, seconds: float = 20) -> None:
        """Read until it prints a text."""
        deadline = monotonic() + seconds
        while text not in self.seen:
            assert self._read(deadline), f"no {text!r} in {self.seen!r}"

    def answer(self, text: str) -> None:
        """Type a line."""
        os.write(self._ours, f"{text}\n".encode())

    def end(self, *, seconds: float = 30) -> int:
        """Read to the end, and return the exit status."""
        deadline = monotonic() + seconds
        while self._read(deadline):
            pass
        return self.process.wait(timeout=5)

    def _read(self, deadline: float) -> bool:
        assert monotonic() < deadline, f"it goes on and on: {self.seen!r}"
        if not select([self._ours], [], [], 0.1)[0]:
            return self.process.poll() is None
        try:
            read = os.read(self._ours, 65536)
        except OSError:  # the other end was closed
            return False
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", read.decode(errors="replace"))
        self.seen += plain.replace("\r", "")
        return bool(read)
