"""Texts that come line by line while a video is made: from a keyboard, a pipe, or a program."""

from __future__ import annotations

import logging
import queue
import threading
from typing import TextIO

from cf.data.script import text_from

log = logging.getLogger("cf.generate")


class TypedPrompts:
    """Lines of a stream, each of which is a text from the next block on.

    A block takes one line at most, so that none is lost where several come at once. Empty lines
    count for nothing; a line that is no text is told and left out.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def first(self) -> str:
        """The first text, for which it waits.

        Raises:
            ValueError: the stream ends without one.
        """
        log.info("type a text and press Enter; each further one holds from the next block on")
        text = self._next(wait=True)
        if text is None:
            raise ValueError(
                "prompts=-: no text came on standard input; type one, or give prompt=... to begin"
            )
        return text

    def next(self) -> str | None:
        """The next text, if one has come by now."""
        return self._next(wait=False)

    def _next(self, wait: bool) -> str | None:
        while not self._ended:
            try:
                line = self._lines.get(wait)
            except queue.Empty:
                return None
            if line is None:
                self._ended = True
            elif line.strip():
                try:
                    return text_from(line, "prompts=-")
                except ValueError as error:
                    log.warning("%s; the line is left out", error)
        return None

    def _read(self) -> None:
        try:
            for line in self._stream:
                self._lines.put(line)
        except (OSError, ValueError) as error:  # closed, or no text in this encoding
            log.warning("prompts=-: standard input cannot be read any more (%s)", error)
        self._lines.put(None)
