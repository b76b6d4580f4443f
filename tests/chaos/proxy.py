"""A TCP proxy between a client and a server that drops, delays, cuts and garbles what the server sends."""

import socket
import threading
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Self

_PART = 65536
_LONGEST_DELAY = 0.3  # seconds


class FaultyProxy:
    """Listens on 127.0.0.1 and passes connections on, as a context manager.

    Args:
        url: Address of the server.
        rng: Random numbers, which choose the faults by connection and part.
        rate: Probability of a fault per part that is passed on.
        garble: True to change bytes of requests and answers, too.

    Attributes:
        url: Address of the proxy, once entered.
        done: Number of faults by kind.
    """

    def __init__(self, url: str, rng: Random, rate: float, *, garble: bool) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._target = host, int(port)
        self._rng, self._rate, self._garble = rng, rate, garble
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self.done: Counter[str] = Counter()
        self.url = ""

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, run: object, *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _fault(self, *kinds: str) -> str:
        """One of the kinds, or nothing."""
        with self._lock:
            kind = self._rng.choice(kinds)
            if self._rng.random() >= self._rate or (kind.startswith("garble") and not self._garble):
                return ""
            self.done[kind] += 1
            return kind

    def _random(self, below: int) -> int:
        with self._lock:
            return self._rng.randrange(max(below, 1))

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if self._fault("refuse"):
                _reset(near)
                continue
            self._start(self._serve, near)

    def _serve(self, near: socket.socket) -> None:
        with near, socket.create_connection(self._target) as far:
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                each.settimeout(60)
            self._start(self._forward, near, far)
            with suppress(OSError):
                while part := far.recv(_PART):
                    if not self._answer(near, part):
                        break
            for each in (near, far):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        """Pass requests on; some are lost, with their connection."""
        with suppress(OSError):
            while part := near.recv(_PART):
                kind = self._fault("drop request", "garble request")
                if kind == "drop request":
                    _reset(near)
                    break
                far.sendall(self._changed(part, 0, len(part)) if kind else part)
        with suppress(OSError):
            far.shutdown(socket.SHUT_WR)

    def _answer(self, near: socket.socket, part: bytes) -> bool:
        """Pass a part of an answer on; false if the connection ends with it."""
        kind = self._fault("reset", "cut", "delay", "drip", "garble body", "garble head")
        if kind == "reset":
            _reset(near)
            return False
        if kind == "cut":
            near.sendall(part[: self._random(len(part))])
            return False
        if kind == "delay":
            self._closed.wait(_LONGEST_DELAY * self._random(100) / 100)
        if kind == "drip":
            for start in range(0, min(len(part), 60), 7):
                near.sendall(part[start : start + 7])
                self._closed.wait(0.002)
            part = part[min(-(-min(len(part), 60) // 7) * 7, len(part)) :]
        if kind == "garble head":
            part = self._changed(part, 0, min(len(part), 60))
        if kind == "garble body":
            head = part.find(b"\r\n\r\n") + 4
            part = self._changed(part, head if head > 3 else 0, len(part))
        near.sendall(part)
        return True

    def _changed(self, part: bytes, start: int, end: int) -> bytes:
        """A part with one byte replaced by one that neither JSON nor a head has.

        A digit for a digit would not be noticed: the checksums of TCP and TLS are there for that.
        """
        changed = bytearray(part)
        start = min(start, end - 1)  # a head may come without its body
        changed[start + self._random(end - start)] = (0, 0x80, 0xFF)[self._random(3)]
        return bytes(changed)


def _reset(connection: socket.socket) -> None:
    """Close a connection at once, so that its peer sees a reset."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    with suppress(OSError):
        connection.close()
