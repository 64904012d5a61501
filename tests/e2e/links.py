"""A link between two network namespaces of this machine. IP packets go through this process, which keeps them for a
while, loses some, or cuts the link: the kernels at both ends do with that what they do on a real one.

Needs Linux with namespaces and `/dev/net/tun`; the process stands in a namespace of its own (`isolated`).
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

NEAR, FAR = "10.213.0.1", "10.213.0.2"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
PACKET = 65_535
LIBC = ctypes.CDLL(None, use_errno=True)


def isolated(script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a script in a network namespace of its own, with nothing in it but a loopback that is down.

    Raises `OSError` where this machine permits none.
    """
    own = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*own, "true"], capture_output=True, check=False).returncode != 0:
        raise OSError("network namespaces are not permitted here")
    return subprocess.run([*own, sys.executable, str(script), *words], capture_output=True, text=True, check=False)


def ip(*words: str) -> None:
    """Changes what the network of this namespace is."""
    subprocess.run(["ip", *words], check=True)


def _tun(name: str) -> int:
    """A device whose packets come to this process; in the namespace of the thread that asks for it."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


class Link:
    """From here (`NEAR`) to another namespace (`FAR`), which has no other way to anywhere.

    `delay` is in seconds for one way, `loss` is the share of packets that go astray.
    """

    def __init__(self, delay: float = 0.0, loss: float = 0.0, seed: int = 0) -> None:
        """Prepares it; `start` makes it."""
        self.delay, self.loss = delay, loss
        self.passed = self.lost = 0
        self._random = random.Random(seed)
        self._cut = threading.Event()
        self._over = threading.Event()
        self._holder: subprocess.Popen[bytes] | None = None
        self._carrier: threading.Thread | None = None
        self._there = -1

    def start(self) -> Link:
        """Makes the other namespace and both ends."""
        # The namespace lives as long as this process of it, which ends with its standard input.
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        own, place = os.stat("/proc/self/ns/net").st_ino, Path(f"/proc/{self._holder.pid}/ns/net")
        while place.stat().st_ino == own:
            time.sleep(0.01)
        self._there = os.open(place, os.O_RDONLY)
        near, far = _tun("near"), self._in_there(lambda: _tun("far"))
        ip("addr", "add", NEAR, "peer", FAR, "dev", "near")
        ip("link", "set", "near", "up")
        enter = ["nsenter", f"--net=/proc/self/fd/{self._there}", "ip"]
        for words in ("link set lo up", f"addr add {FAR} peer {NEAR} dev far", "link set far up"):
            subprocess.run([*enter, *words.split()], check=True, pass_fds=[self._there])
        self._carrier = threading.Thread(target=self._carry, args=(near, far), daemon=True)
        self._carrier.start()
        return self

    def enter(self) -> None:
        """Has the process that calls this stand at the far end: between fork and exec."""
        if LIBC.setns(self._there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "the process can't go to the far end")

    def cut(self) -> None:
        """Lets nothing through any more, and says so to nobody."""
        self._cut.set()

    def mend(self) -> None:
        """Lets packets through again; those of meanwhile are lost."""
        self._cut.clear()

    def stop(self) -> None:
        """Ends the far namespace, once nothing is left in it."""
        self._over.set()
        if self._carrier is not None:
            self._carrier.join()
        if self._holder is not None and self._holder.stdin is not None:
            self._holder.stdin.close()
            self._holder.wait()
        if self._there >= 0:
            os.close(self._there)

    def __enter__(self) -> Link:
        """Makes it."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self.stop()

    def _in_there(self, do: Callable[[], int]) -> int:
        """Does something in the far namespace: in a thread, since a thread's namespace is its own."""
        found: list[int] = []

        def work() -> None:
            self.enter()
            found.append(do())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return found[0]

    def _carry(self, near: int, far: int) -> None:
        """Takes packets at each end and gives them to the other one, later."""
        order = itertools.count()
        waiting: list[tuple[float, int, int, bytes]] = []
        try:
            while not self._over.is_set():
                due = waiting[0][0] - time.monotonic() if waiting else 0.1
                ready, _, _ = select.select([near, far], [], [], min(max(due, 0.0), 0.1))
                for device in ready:
                    packet = os.read(device, PACKET)
                    if self._cut.is_set() or self._random.random() < self.loss:
                        self.lost += 1
                        continue
                    other = far if device == near else near
                    heapq.heappush(waiting, (time.monotonic() + self.delay, next(order), other, packet))
                while waiting and waiting[0][0] <= time.monotonic():
                    _, _, device, packet = heapq.heappop(waiting)
                    self.passed += 1
                    os.write(device, packet)
        finally:
            os.close(near)
            os.close(far)
