"""What the dissector's tests share: captures, tshark with the script, what it should say.

What is expected comes from the headers of the codec: a member ``x`` of SETH is the field
``mrc.sack.x``, and so on, so a member without a field (or the other way round) is found.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from enum import IntEnum
from ipaddress import IPv6Address
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from unit.transport.wire.rig import Vector, load_vectors, reference_headers

from testbed.agent.capture import SNAP_BYTES_LIMIT, Capture
from testbed.agent.frames import FrameHeaders
from testbed.forwarding.paths import paths
from testbed.intent.topology import load_topology
from testbed.sim.frame import WAY, Frame, Route
from testbed.transport.mrc.serial import PSN_MASK
from testbed.transport.mrc.wire import headers as h
from testbed.transport.mrc.wire.codec import Envelope
from testbed.transport.mrc.wire.codes import (
    IMMEDIATE_OPCODES,
    WRITE_OPCODES,
    EndpointOp,
    NackReason,
    NakCode,
    Opcode,
    PathMark,
)
from testbed.transport.mrc.wire.packets import (
    EndpointRequest,
    EndpointResponse,
    Nack,
    Packet,
    ReliabilityProbe,
    Sack,
    TransportAck,
    Write,
)
from topologies import names, usid
from topologies.ev import format_ev, split_ev
from topologies.numbers import Dscp

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "tools" / "mrc.lua"
ETHERNET = bytes.fromhex("020000000002 020000000001 86dd")
BRANCHES: dict[type[Any], str] = {
    h.BTH: "bth", h.METH: "meth", h.TSETH: "tseth", h.RETH: "reth", h.ImmDt: "immdt",
    h.AETH: "aeth", h.SETH: "sack", h.CCState: "cc", h.NETH: "nack", h.PETH: "probe",
    h.ERTH: "request", h.EETH: "response",
}  # fmt: skip
VECTORS = load_vectors()
WHOLE = [vector for vector in VECTORS if not vector.is_trimmed]
AS_ROOT = "Running as user"
A, B = bytes.fromhex("fd00") + bytes(13) + b"\1", bytes.fromhex("fd00") + bytes(13) + b"\2"
SPEC = load_topology("quad")
PATHS = paths(SPEC, 0, SPEC.host_count - 1)

Row = dict[str, list[int | str]]


def tshark(*arguments: str, script: Path = SCRIPT) -> str:
    """What tshark prints with the script loaded. Fails where it is absent or complains."""
    return run(*arguments, "-X", f"lua_script:{script}")


def run(*arguments: str) -> str:
    """What tshark, called in the checkout, prints. Fails where it is absent or complains."""
    program = shutil.which("tshark")
    if program is None:
        pytest.fail("tshark is not installed, and the dissector runs in it: sudo make dev")
    done = subprocess.run(
        [program, *arguments], check=False, text=True, capture_output=True, timeout=120,
        cwd=ROOT, env=_environment(),
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if not line.startswith(AS_ROOT)]
    assert (done.returncode, said) == (0, []), done.stderr
    return done.stdout


def _environment() -> dict[str, str]:
    """Without the settings and plugins of whoever runs the tests, in a fixed language."""
    nowhere = "/nonexistent"
    return {**os.environ, "HOME": nowhere, "XDG_CONFIG_HOME": nowhere, "LC_ALL": "C.UTF-8",
            "WIRESHARK_CONFIG_DIR": nowhere}  # fmt: skip


def field_kinds() -> dict[str, str]:
    """Every field of the script and its type, as tshark lists them."""
    rows = [line.split("\t") for line in tshark("-G", "fields").splitlines()]
    kinds = {row[2]: row[3] for row in rows if row[0] == "F" and row[4] == "mrc"}
    if not kinds:
        pytest.fail(
            "tshark does not load Lua scripts: it was built without Lua, or its init.lua has "
            "enable_lua = false or, for root, run_user_scripts_when_superuser = false; set "
            "these to true"
        )
    return kinds


def capture(path: Path, frames: Iterable[bytes], snap_bytes: int = SNAP_BYTES_LIMIT) -> Path:
    """A capture of these frames, the n-th (from 0) at n microseconds."""
    file = Capture(path, snap_bytes)
    file.open()
    for place, frame in enumerate(frames):
        file.write(place * 1000, frame)
    file.close()
    return path


def decode(path: Path, fields: Sequence[str], *options: str) -> list[list[str]]:
    """One row per frame: the values of each field, those of one field joined by ``;``."""
    wanted = [word for field in fields for word in ("-e", field)]
    layout = ("-T", "fields", "-E", "separator=/t", "-E", "occurrence=a", "-E", "aggregator=;")
    said = tshark("-r", str(path), *layout, *wanted, *options)
    return [line.split("\t") for line in said.splitlines()]


def decode_all(path: Path, kinds: dict[str, str]) -> list[Row]:
    """Every field of ours that each frame has, numbers as numbers."""
    fields = sorted(name for name, kind in kinds.items() if kind != "FT_NONE")
    found = []
    for cells in decode(path, fields):
        assert len(cells) == len(fields)
        row: Row = {}
        for name, cell in zip(fields, cells, strict=True):
            if cell:
                row[name] = [_value(kinds[name], text) for text in cell.split(";")]
        found.append(row)
    return found


def _value(kind: str, text: str) -> int | str:
    if kind == "FT_BOOLEAN":
        return int(text in ("1", "True"))  # later versions write it out
    if kind.startswith(("FT_UINT", "FT_INT")):
        return int(text, 0)
    return text.replace(":", "") if kind == "FT_BYTES" else text


def complaints(path: Path) -> list[set[str]]:
    """Of each frame, the kinds of remark the script made: malformed, unknown, incomplete."""
    kinds = ("malformed", "unknown", "incomplete")
    rows = decode(path, ["frame.number", *(f"mrc.{kind}" for kind in kinds)])
    return [{kind for kind, cell in zip(kinds, row[1:], strict=True) if cell} for row in rows]


def any_packet(draw: random.Random) -> Packet:
    """One of any kind, with anything in it."""

    def bits(*counts: int) -> list[int]:
        # Small numbers leave fields empty that large ones would spill into.
        return [draw.getrandbits(draw.choice([1, count, count])) for count in counts]

    def signed() -> int:
        return draw.randrange(-0x8000, 0x8000)

    opcode = draw.choice(sorted(WRITE_OPCODES))
    stamp = draw.choice([None, draw.getrandbits(16)])
    flags = [draw.random() < 0.5 for _ in range(3)]
    imm = draw.getrandbits(32) if opcode in IMMEDIATE_OPCODES else None
    payload = draw.randbytes(draw.randrange(0, 40))
    reference = (True, 0, *bits(16)) if flags[0] else (False, signed(), 0)
    return draw.choice([
        Write(opcode, *bits(24, 24), *flags, stamp, *bits(16, 16, 64, 32, 32), imm, payload),
        Sack(*bits(24, 2), *reference, *bits(32, 16, 16, 24, 8), signed(), *bits(64, 16, 15),
             flags[1], *bits(7, 24)),
        TransportAck(*bits(24, 24), draw.choice([0x00, 0x60]) + draw.randrange(32), *bits(24)),
        Nack(*bits(24, 8, 32, 16, 16, 24, 16)),
        ReliabilityProbe(*bits(24, 16, 16, 16, 16)),
        EndpointRequest(*bits(16, 2, 32, 16)),
        EndpointResponse(*bits(16, 2, 16)),
    ])  # fmt: skip


def any_envelope(draw: random.Random) -> Envelope:
    """A path of the fabric or none, an EV of the fabric or any."""
    way = draw.choice([B, *(path.address.packed for path in PATHS)])
    ev = draw.choice([draw.getrandbits(32), draw.getrandbits(16) << 16])
    return Envelope(A, B, way, ev, draw.choice([0, 4, 8, 46]), draw.randrange(4))


CHAINS: dict[int, list[type[Any]]] = {
    **{code: [h.METH, h.RETH, h.ImmDt][: 3 if code in IMMEDIATE_OPCODES else 2]
       for code in WRITE_OPCODES},
    Opcode.TRANSPORT_ACK: [h.AETH], Opcode.SACK: [h.SETH, h.CCState], Opcode.NACK: [h.NETH],
    Opcode.RELIABILITY_PROBE: [h.PETH], Opcode.ENDPOINT_REQUEST: [h.ERTH],
    Opcode.ENDPOINT_RESPONSE: [h.EETH],
}  # fmt: skip


def any_headers(draw: random.Random) -> list[Any]:
    """Headers that follow each other with any bits in them, also those the codec leaves 0."""
    opcode = draw.choice(sorted(CHAINS))
    chain = CHAINS[opcode]
    bth = _any_header(draw, h.BTH, opcode=int(opcode), pad=0)
    if bth.ts and opcode in WRITE_OPCODES:
        chain = [chain[0], h.TSETH, *chain[1:]]
    return [bth, *(_any_header(draw, kind) for kind in chain)]


def _any_header(draw: random.Random, kind: type[Any], **given: int) -> Any:
    members = {
        field.name: draw.getrandbits(field.bits) - (1 << field.bits - 1) * field.is_signed
        for field in kind.LAYOUT if field.name
    }  # fmt: skip
    return kind(**{**members, **given})


def expected(envelope: Envelope, packet: Packet) -> Row:
    """Every field of a packet that is whole: those on the wire, and those worked out."""
    row = header_fields(reference_headers(packet))
    if isinstance(packet, Write):
        row |= _bytes("mrc.payload", bytes(packet.payload))
        row |= _bytes("mrc.padding", bytes(-len(packet.payload) % 4))
    if isinstance(packet, Sack):
        row |= _sack(packet)
    return row | around(envelope)


def header_fields(headers: Iterable[Any]) -> Row:
    """A field for every member of every header."""
    row: Row = {}
    for header in headers:
        branch = BRANCHES[type(header)]
        for name in (field.name for field in header.LAYOUT if field.name):
            short = name.removeprefix(f"{branch}_")
            if name != "offset_or_id":  # has two meanings, see _sack
                row[f"mrc.{branch}.{short}"] = [int(getattr(header, name))]
    return row


def _bytes(name: str, content: bytes) -> Row:
    return {name: [content.hex()]} if content else {}


def _sack(packet: Sack) -> Row:
    base = packet.cack_psn + packet.sack_offset
    row: Row = {"mrc.sack.base_psn": [base & PSN_MASK]}
    if packet.pr:
        row["mrc.sack.probe_id"] = [packet.probe_id]
    else:
        row["mrc.sack.ack_psn_offset"] = [packet.ack_psn_offset]
        row["mrc.sack.ack_psn"] = [packet.cack_psn + packet.ack_psn_offset & PSN_MASK]
    if packet.sack_bitmap:
        row["mrc.sack.received"] = [_ranges(packet.sack_bitmap, base)]
    return row


def _ranges(bitmap: int, base: int) -> str:
    """Runs of set bits of a bitmap as PSNs, "101, 103-104"."""
    texts = []
    for bit, places in groupby(range(64), lambda place: bitmap >> place & 1):
        psns = [base + place & PSN_MASK for place in places]
        if bit:
            texts.append(str(psns[0]) if len(psns) == 1 else f"{psns[0]}-{psns[-1]}")
    return ", ".join(texts)


def around(envelope: Envelope) -> Row:
    """EV and way, of any packet in such an envelope."""
    row: Row = {"mrc.ev": [envelope.ev]}
    if not envelope.ev & 0xFFFF:
        plane, uplink = split_ev(envelope.ev)
        row |= {"mrc.ev.plane": [plane], "mrc.ev.uplink": [uplink]}
    address = IPv6Address(envelope.path_address)
    stops = usid.usids_of(address) if address in usid.BLOCK else ()
    if stops:
        row["mrc.usid"] = list(stops)
        row["mrc.path"] = [", ".join(map(_stop, stops))]
    return row


def _stop(value: int) -> str:
    stop = usid.decode(value)
    if stop.kind == usid.Kind.DOWNLINK:
        return f"downlink {stop.index}"
    return names.switch_name(stop.plane, 0 if stop.kind == usid.Kind.T0 else 1, stop.index)


def ev_text(ev: int) -> str:
    """An EV as the script writes it."""
    return f"{ev:#010x}" if ev & 0xFFFF else format_ev(ev)


def info(envelope: Envelope, packet: Packet) -> str:
    """The Info column of a packet that is whole."""
    ev = f"EV {ev_text(envelope.ev)}"
    bth = reference_headers(packet)[0]
    here = f"qp {bth.dqp} psn {bth.psn} {ev}"
    match packet:
        case Write():
            text = f"{Opcode(packet.opcode).name} {here} len {len(packet.payload)}"
            return text + (" rtx" if packet.rtx else "")
        case TransportAck():
            kind = f"TRANSPORT_NAK {NakCode(packet.syndrome).name}" if packet.is_nak else (
                "TRANSPORT_ACK")
            return f"{kind} {here} msn {packet.msn}"
        case Sack():
            probe = f"probe {packet.probe_id} " if packet.pr else ""
            mark = ["", "SKIP_ONCE ", "ALWAYS_SKIP ", "mark 3 "][packet.m]
            assert packet.m == 3 or PathMark(packet.m).name == (mark.strip() or "NONE")
            about = f"for EV {ev_text(packet.entropy)}"
            return f"SACK {here} {probe}{about} {mark}ooo {packet.ooo_count}"
        case Nack():
            known = {int(reason): reason.name for reason in NackReason}
            reason = known.get(packet.nack_reason, f"reason {packet.nack_reason:#04x}")
            return f"NACK {reason} {here} for EV {ev_text(packet.entropy)}"
        case ReliabilityProbe():
            return f"RELIABILITY_PROBE {here} probe {packet.probe_id}"
        case EndpointRequest():
            name = EndpointOp(packet.op).name
            ports = f" ports {packet.port_status_mask:#x}" if packet.op == 0 else ""
            return f"ENDPOINT_REQUEST {name} id {packet.request_id} {ev}{ports}"
        case EndpointResponse():
            return f"ENDPOINT_RESPONSE {EndpointOp(packet.op).name} id {packet.request_id} {ev}"
    raise AssertionError(packet)


def table(name: str) -> dict[int, str]:
    """A table of names in the script, by its variable."""
    (body,) = re.findall(rf"(?s)\nlocal {name} = {{(.*?)}}", SCRIPT.read_text(encoding="utf-8"))
    return {int(code, 0): word for code, word in re.findall(r'\[(\w+)\] = "(\w+)"', body)}


def names_of(codes: type[IntEnum]) -> dict[int, str]:
    """The same of an enum of the codec."""
    return {int(code): code.name for code in codes}


def shortened(datagram: bytes, size: int) -> bytes:
    """The first ``size`` bytes, with lengths that say so: not damaged, but malformed."""
    cut = bytearray(datagram[:size])
    for offset, header_end in ((4, 40), (44, 80), (84, 80)):
        cut[offset : offset + 2] = (size - header_end).to_bytes(2, "big")
    return bytes(cut)


def rubbish(count: int, seed: int) -> list[bytes]:
    """Random UDP payloads, vectors with random bytes in them, random frames."""
    draw = random.Random(seed)
    frames = []
    for _ in range(count):
        payload = draw.randbytes(draw.randrange(0, 120))
        if draw.random() < 0.7 and payload:  # an opcode of MRC, so that something is read
            payload = bytes([draw.choice(sorted(CHAINS))]) + payload[1:]
        address = draw.choice([B, PATHS[0].address.packed, b"\xfc" + draw.randbytes(15)])
        ev, dscp = draw.getrandbits(32), draw.choice([0, 12, 16, 46])
        headers = FrameHeaders(b"\2" * 6, b"\2" * 6, address, A, B, ev, dscp)
        frames.append(headers.pack(len(payload)) + payload)
        damaged = bytearray(draw.choice(VECTORS).datagram)
        for _ in range(draw.randrange(1, 6)):
            damaged[draw.randrange(len(damaged))] = draw.getrandbits(8)
        frames.append(ETHERNET + bytes(damaged[: draw.choice([len(damaged), 95, 120])]))
        frames.append(ETHERNET + draw.randbytes(draw.randrange(0, 200)))
    return frames


def trimmed_by_a_switch(datagram: bytes, dscp: int) -> bytes:
    """What the switch of the simulator leaves of a datagram."""
    frame = Frame(datagram, len(datagram) + 14, False, Dscp.TRIMMABLE << 2, Route((), (), ""))
    frame.trim(dscp)
    return frame.written(datagram[WAY])


def first_of_each_opcode() -> list[Vector]:
    """A vector for each."""
    return list({vector.datagram[88]: vector for vector in reversed(WHOLE)}.values())
