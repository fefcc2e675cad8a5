"""What one packet costs to encode and to decode: microseconds of this machine, best of runs.

Run as ``python tests/bench/wire_rate.py``. A Write carries 4096 bytes and its time stamp.
"""

from __future__ import annotations

import sys
import timeit
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from testbed.transport.mrc.srv6 import PathTemplate
from testbed.transport.mrc.wire.codec import Envelope, decode, encode
from testbed.transport.mrc.wire.codes import Opcode
from testbed.transport.mrc.wire.packets import Sack, TransportAck, Write
from topologies.ev import make_ev
from topologies.numbers import Dscp, Ecn

CALLS = 20_000
RUNS = 7

TEMPLATE = PathTemplate(source_t0=1, destination_t0=4, downlink=2)
EV = make_ev(2, 3)
DATA = Envelope(
    bytes(15) + b"\x01", bytes(15) + b"\x02", TEMPLATE.address(EV), EV, Dscp.TRIMMABLE, Ecn.ECT0
)
CONTROL = DATA._replace(dscp=int(Dscp.CONTROL), ecn=0)
WRITE = Write(
    int(Opcode.WRITE_MIDDLE), 0x123, 0x4567, True, False, False, 0xBEEF, 7, 0,
    0x7F00_1234_0000, 0xA1B2C3D4, 1 << 20, None, memoryview(bytes(range(256)) * 16),
)  # fmt: skip
SACK = Sack(
    0x456, 1, False, 5, 0, EV, 0x123, 0x456, 0x64, 8, 1, 0b11010, 0xBEEF, 3, False, 0, 0x40
)
ACK = TransportAck(0x456, 0x64, 0x1F, 9)


def measure_us(action: Callable[[], object]) -> float:
    """Microseconds of one call, in the best of several runs."""
    return min(timeit.repeat(action, number=CALLS, repeat=RUNS)) / CALLS * 1e6


def rows() -> list[tuple[str, float]]:
    """What was measured, in microseconds."""
    table = []
    for name, envelope, packet in (
        ("Write", DATA, WRITE), ("Sack", CONTROL, SACK), ("TransportAck", CONTROL, ACK)
    ):  # fmt: skip
        datagram = encode(envelope, packet)
        table += [
            (f"encode {name}", measure_us(lambda e=envelope, p=packet: encode(e, p))),
            (f"decode {name}", measure_us(lambda d=datagram: decode(d))),
        ]
    return [*table, ("PathTemplate.address", measure_us(lambda: TEMPLATE.address(EV)))]


def main() -> None:
    """Print the table."""
    for name, cost_us in rows():
        print(f"{name:<22} {cost_us:6.2f} us", flush=True)


if __name__ == "__main__":
    main()
