"""Numbered UDP datagrams to a gateway and back: what the way itself takes, and what it loses.

TCP hides a lost packet behind a late one, and an answer through gRPC carries most of a millisecond
of both programs' own; a datagram does neither.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

ASKS, TELLS = b"WWg?", b"WWg!"
NONCE_BYTES = 8
# A question is as long as the longest answer, so that a gateway cannot be made to amplify anything.
DATAGRAM_BYTES = 128
# Answers that a demo holds back at once.
WAITING_MOST = 1000
_HEAD_BYTES = len(ASKS) + NONCE_BYTES


def question(nonce: bytes, cluster: str) -> bytes:
    """What an agent sends."""
    return (ASKS + nonce + cluster.encode()).ljust(DATAGRAM_BYTES, b"\0")[:DATAGRAM_BYTES]


def answer(data: bytes, region: str) -> bytes | None:
    """What the gateway of a region sends back; None to what is no question."""
    if len(data) != DATAGRAM_BYTES or not data.startswith(ASKS):
        return None
    return TELLS + data[len(ASKS) : _HEAD_BYTES] + region.encode()[: DATAGRAM_BYTES - _HEAD_BYTES]


class Echo(asyncio.DatagramProtocol):
    """The gateway's end: answers at once, or late where a demo wants a cluster to be far away."""

    def __init__(self, region: str, late: Callable[[str], Awaitable[None] | None]) -> None:
        """``late(cluster)`` is what to wait for before a cluster is answered; None for nothing."""
        self._region = region
        self._late = late
        self._waiting: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # What the event loop makes is one by its methods, not by its class.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        told = answer(data, self._region)
        if told is None or self._transport is None:
            return
        late = self._late(data[_HEAD_BYTES:].rstrip(b"\0").decode(errors="replace"))
        if late is None:
            self._transport.sendto(told, addr)
        elif len(self._waiting) < WAITING_MOST:
            task = asyncio.ensure_future(self._send_late(late, told, addr))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _send_late(self, late: Awaitable[None], told: bytes, addr: tuple[str, int]) -> None:
        await late
        if self._transport is not None:
            self._transport.sendto(told, addr)


class Pinger(asyncio.DatagramProtocol):
    """The agent's end. ``outcomes`` holds the round trips in ms of the newest datagrams whose fate
    is known, None for a lost one."""

    def __init__(self, region: str, cluster: str, window: int, limit_s: float) -> None:
        """``limit_s``: without an answer by then a datagram is lost."""
        self.outcomes: deque[float | None] = deque(maxlen=window)
        self._told = region.encode()[: DATAGRAM_BYTES - _HEAD_BYTES]
        self._cluster = cluster
        self._limit_s = limit_s
        self._clock_s: Callable[[], float] = time.perf_counter
        self._sent_at_s: dict[bytes, float] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # What the event loop makes is one by its methods, not by its class.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def ping(self) -> None:
        """Sends one datagram, and gives up on those that are overdue."""
        now_s = self._clock_s()
        for nonce, sent_at_s in list(self._sent_at_s.items()):
            if now_s - sent_at_s <= self._limit_s:
                break  # the rest was sent later
            del self._sent_at_s[nonce]
            self.outcomes.append(None)
        if self._transport is None or self._transport.is_closing():
            return
        nonce = os.urandom(NONCE_BYTES)
        data = question(nonce, self._cluster)
        self._sent_at_s[nonce] = self._clock_s()
        self._transport.sendto(data)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        now_s = self._clock_s()
        if not data.startswith(TELLS) or data[_HEAD_BYTES:] != self._told:
            return
        sent_at_s = self._sent_at_s.pop(data[len(TELLS) : _HEAD_BYTES], None)
        if sent_at_s is not None and now_s - sent_at_s <= self._limit_s:
            self.outcomes.append((now_s - sent_at_s) * 1000)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there at present: the datagram is lost like any other."""
