"""A way for datagrams that is late and loses some, exactly: run as a program of its own, so that
it does not wait for the one that measures.

Arguments: port of the gateway on loopback, delay in ms of the way there (the way back takes none),
share that is lost. Prints the port where the way begins.
"""

import select
import socket
import sys
import time
from collections import deque

# Timers of the kernel are late by less; the rest of the wait is polled.
SPIN_S = 0.001


def main(gateway_port: int, delay_s: float, loss: float) -> None:
    """Forwards until killed. Of n datagrams floor(n * loss) are lost, evenly spread."""
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.bind(("127.0.0.1", 0))
    far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    far.connect(("127.0.0.1", gateway_port))
    print(near.getsockname()[1], flush=True)
    late: deque[tuple[float, bytes]] = deque()
    asker, count = ("127.0.0.1", 0), 0
    while True:
        wait_s = late[0][0] - time.monotonic() - SPIN_S if late else 1.0
        ready, _, _ = select.select([near, far], [], [], max(0.0, wait_s))
        if near in ready:
            data, asker = near.recvfrom(2048)
            count += 1
            if int(count * loss) == int((count - 1) * loss):
                late.append((time.monotonic() + delay_s, data))
        if far in ready:
            near.sendto(far.recv(2048), asker)
        while late and late[0][0] <= time.monotonic():
            far.send(late.popleft()[1])


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) / 1000, float(sys.argv[3]))
