"""tools/mrc.lua in tshark: it says of every packet what the codec put into it."""

from __future__ import annotations

import random
import re
import shlex
from pathlib import Path

import pytest
from unit.tools.dissector_rig import (
    BRANCHES,
    ETHERNET,
    PATHS,
    SCRIPT,
    VECTORS,
    WHOLE,
    A,
    B,
    any_envelope,
    any_headers,
    any_packet,
    around,
    capture,
    complaints,
    decode,
    decode_all,
    expected,
    field_kinds,
    first_of_each_opcode,
    header_fields,
    info,
    names_of,
    rubbish,
    run,
    shortened,
    table,
    trimmed_by_a_switch,
    tshark,
)
from unit.transport.wire.rig import reference_headers

from testbed.agent.frames import FrameHeaders
from testbed.agent.probewire import Kind, Probe
from testbed.transport.mrc.choices import ACCEPTED_UDP_PORTS
from testbed.transport.mrc.wire.codec import Envelope, encode
from testbed.transport.mrc.wire.codes import (
    ACK_SYNDROME,
    WRITE_OPCODES,
    EndpointOp,
    NackReason,
    NakCode,
    Opcode,
    PathMark,
)
from testbed.transport.mrc.wire.headers import METH, TSETH
from testbed.transport.mrc.wire.ip import encapsulation
from testbed.transport.mrc.wire.packets import EndpointRequest, TransportAck, Write
from topologies.numbers import Dscp, Ecn

TRIMMED = [vector for vector in VECTORS if vector.is_trimmed]
ENVELOPES = [
    Envelope(A, B, path.address.packed, path.ev, Dscp.TRIMMABLE, Ecn.ECT0) for path in PATHS
]
README = (SCRIPT.parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def kinds() -> dict[str, str]:
    return field_kinds()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("captures")


@pytest.fixture(scope="module")
def sampler(folder: Path) -> Path:
    """Every vector and a write on every path: all there is to see."""
    datagrams = [vector.datagram for vector in VECTORS]
    datagrams += [encode(envelope, a_write()) for envelope in ENVELOPES]
    return capture(folder / "sampler.pcap", [ETHERNET + datagram for datagram in datagrams])


def a_write(opcode: int = 0xC7, **fields: int | bytes | None) -> Write:
    write = Write(
        opcode=opcode, dqp=291, psn=102, a=False, rtx=False, se=False, tx_timestamp=0xBEEF,
        msn=1, rqmsn=0, va=0x1122334455667788, rkey=7, dmalen=8192,
        imm=9 if opcode in (0xC9, 0xCB) else None, payload=bytes(range(200)),
    )  # fmt: skip
    return write._replace(**fields)  # type: ignore[arg-type]


def whole(datagram: bytes) -> dict[str, list[int | str]]:
    """The iCRC at the end of a whole packet, least significant byte first."""
    return {"mrc.icrc": [int.from_bytes(datagram[-4:], "little")]}


def test_every_vector_is_read_field_by_field(kinds: dict[str, str], folder: Path) -> None:
    path = capture(folder / "vectors.pcap", [ETHERNET + vector.datagram for vector in WHOLE])
    rows = decode_all(path, kinds)
    for vector, row in zip(WHOLE, rows, strict=True):
        want = expected(vector.envelope, vector.packet) | whole(vector.datagram)
        assert row == want, vector.name
    assert complaints(path) == [set()] * len(WHOLE)


def test_every_header_is_in_some_vector() -> None:
    seen = {type(header) for vector in WHOLE for header in reference_headers(vector.packet)}
    assert seen == set(BRANCHES)


@pytest.mark.parametrize("seed", range(3))
def test_any_packet_is_read_field_by_field(
    kinds: dict[str, str], folder: Path, seed: int
) -> None:
    draw = random.Random(seed)
    content = [(any_envelope(draw), any_packet(draw)) for _ in range(400)]
    datagrams = [encode(envelope, packet) for envelope, packet in content]
    path = capture(folder / "any.pcap", [ETHERNET + datagram for datagram in datagrams])
    rows = decode_all(path, kinds)
    for (envelope, packet), datagram, row in zip(content, datagrams, rows, strict=True):
        assert row == expected(envelope, packet) | whole(datagram), packet


@pytest.mark.parametrize("seed", range(2))
def test_every_bit_of_every_header_is_in_its_field(
    kinds: dict[str, str], folder: Path, seed: int
) -> None:
    draw = random.Random(seed)
    content = [any_headers(draw) for _ in range(400)]
    frames = []
    for headers in content:
        body = b"".join(header.pack() for header in headers) + bytes(4)
        front = encapsulation(*ENVELOPES[0], behind_udp_bytes=len(body))
        frames.append(ETHERNET + b"".join(header.pack() for header in front) + body)
    path = capture(folder / "bits.pcap", frames)
    for headers, row in zip(content, decode_all(path, kinds), strict=True):
        want = header_fields(headers)
        assert {name: row.get(name) for name in want} == want


def test_the_names_are_those_of_the_codec() -> None:
    assert table("OPCODES") == names_of(Opcode)
    assert table("NACK_REASONS") == names_of(NackReason)
    assert table("SYNDROMES") == {ACK_SYNDROME: "ACK"} | names_of(NakCode)
    assert table("PATH_MARKS") == names_of(PathMark)
    assert table("ENDPOINT_OPS") == names_of(EndpointOp)
    trimmed = {int(code): code.name for code in (Dscp.TRIMMED, Dscp.TRIMMED_LASTHOP)}
    assert table("TRIMMED_CLASSES") == trimmed


def test_the_info_column_sums_up_every_vector(folder: Path) -> None:
    path = capture(folder / "info.pcap", [ETHERNET + vector.datagram for vector in WHOLE])
    rows = decode(path, ["_ws.col.Protocol", "_ws.col.Info"])
    for vector, row in zip(WHOLE, rows, strict=True):
        assert row == ["MRC", info(vector.envelope, vector.packet)], vector.name


def test_a_path_of_the_fabric_is_told_by_name(folder: Path) -> None:
    frames = [ETHERNET + encode(envelope, a_write()) for envelope in ENVELOPES]
    path = capture(folder / "paths.pcap", frames)
    fields = ["mrc.ev.plane", "mrc.ev.uplink", "mrc.path", "_ws.col.Info"]
    for way, row in zip(PATHS, decode(path, fields), strict=True):
        assert row[:2] == [str(way.plane), str(way.t1)]
        assert row[2].split(", ")[:-1] == list(way.switches)
        assert row[3] == f"WRITE_MIDDLE qp 291 psn 102 EV {str(way).split()[0]} len 200"


def test_without_the_outer_header_all_but_the_way_is_read(
    kinds: dict[str, str], folder: Path
) -> None:
    datagram = encode(ENVELOPES[1], a_write())
    path = capture(folder / "inner.pcap", [ETHERNET + datagram[40:]])
    want = expected(ENVELOPES[1]._replace(path_address=B), a_write()) | whole(datagram)
    assert decode_all(path, kinds) == [want]


def test_the_inner_flow_label_counts(folder: Path) -> None:
    """Switches may write the outer one anew, and it may be gone on arrival (facts 1.3)."""
    datagram = bytearray(encode(ENVELOPES[0]._replace(ev=0x02031234), a_write()))
    datagram[2:4] = b"\xab\xcd"
    path = capture(folder / "label.pcap", [ETHERNET + bytes(datagram)])
    assert decode(path, ["mrc.ev"]) == [["0x02031234"]]


# --- Trimmed ---------------------------------------------------------------------------


@pytest.mark.parametrize("dscp", [Dscp.TRIMMED, Dscp.TRIMMED_LASTHOP])
def test_what_a_switch_trimmed_is_shown_as_such(
    kinds: dict[str, str], folder: Path, dscp: Dscp
) -> None:
    writes = [a_write(opcode) for opcode in sorted(WRITE_OPCODES)]
    cut = [trimmed_by_a_switch(encode(ENVELOPES[1], write), dscp) for write in writes]
    path = capture(folder / "trimmed.pcap", [ETHERNET + datagram for datagram in cut])
    for write, row in zip(writes, decode_all(path, kinds), strict=True):
        left = reference_headers(write)[:3]
        assert [type(header) for header in left[1:]] == [METH, TSETH]
        assert row == header_fields(left) | around(ENVELOPES[1]) | {"mrc.trimmed": [dscp]}
    assert complaints(path) == [set()] * len(cut)
    for (said,) in decode(path, ["_ws.col.Info"]):
        assert re.fullmatch(r"WRITE_\w+ qp 291 psn 102 EV 0x0001 \[trimmed\]", said)


def test_what_others_trim_otherwise_is_read_as_far_as_it_goes(
    kinds: dict[str, str], folder: Path
) -> None:
    path = capture(folder / "cut.pcap", [ETHERNET + vector.datagram for vector in TRIMMED])
    for vector, row in zip(TRIMMED, decode_all(path, kinds), strict=True):
        packet = vector.packet._asdict()
        assert row["mrc.trimmed"] == [vector.envelope.dscp], vector.name
        assert row["mrc.bth.psn"] == [packet["psn"]]
        assert row.get("mrc.tseth.tx_timestamp", [None]) == [packet["tx_timestamp"]], vector.name
        assert ("mrc.reth.va" in row) is ("RETH" in vector.layers), vector.name
        assert "mrc.icrc" not in row
    assert complaints(path) == [set()] * len(TRIMMED)


def test_only_writes_can_be_trimmed(folder: Path) -> None:
    (sack, *_) = [vector for vector in WHOLE if vector.name.startswith("sack")]
    datagram = trimmed_by_a_switch(sack.datagram, Dscp.TRIMMED)
    path = capture(folder / "odd.pcap", [ETHERNET + datagram])
    assert "unknown" in complaints(path)[0]


# --- Which packets are ours ------------------------------------------------------------


def to_port(datagram: bytes, port: int) -> bytes:
    return datagram[:82] + port.to_bytes(2, "big") + datagram[84:]


def test_no_ev_is_taken_for_a_port_of_another_protocol(folder: Path) -> None:
    """Half of an EV is the UDP source port: 0x0202 is syslog's 514, 0x0035 DNS's 53."""
    envelopes = [ENVELOPES[0]._replace(ev=port << 16) for port in range(5000)]
    frames = [ETHERNET + encode(envelope, a_write()) for envelope in envelopes]
    for port in sorted(ACCEPTED_UDP_PORTS):
        path = capture(folder / "ports.pcap", [
            ETHERNET + to_port(frame[14:], port) for frame in frames])
        rows = decode(path, ["frame.protocols", "mrc.ev"])
        assert {row[0] for row in rows} == {"eth:ethertype:ipv6:ipv6:udp:mrc"}
        assert [int(row[1], 0) for row in rows] == [envelope.ev for envelope in envelopes]


def test_other_protocols_keep_their_ports(folder: Path) -> None:
    question = bytes.fromhex("1234 0100 0001 0000 0000 0000 01 61 00 0001 0001")
    envelope = ENVELOPES[0]
    headers = FrameHeaders(b"\2" * 6, b"\2" * 6, envelope.path_address, A, B, 40000 << 16, 0)
    datagram = headers.pack(len(question))[14:] + question
    answer = datagram[:80] + (53).to_bytes(2, "big") + (40000).to_bytes(2, "big") + datagram[84:]
    frames = [to_port(datagram, 53), answer]
    path = capture(folder / "dns.pcap", [ETHERNET + frame for frame in frames])
    rows = decode(path, ["dns.qry.name", "mrc"])
    assert rows == [["a", ""], ["a", ""]]


def test_the_testbeds_own_path_probes_are_not_called_broken(folder: Path) -> None:
    headers = FrameHeaders(b"\2" * 6, b"\2" * 6, B, A, B, 0x0203 << 16, Dscp.CONTROL)
    frames = []
    for kind in Kind:
        payload = Probe(kind, 77, 123456789).pack() + bytes(50)
        frames.append(headers.pack(len(payload)) + payload)
    path = capture(folder / "probes.pcap", frames)
    rows = decode(path, ["mrc.pathprobe.kind", "mrc.pathprobe.id", "_ws.col.Info"])
    assert rows == [
        [str(int(kind)), "77", f"PATH_PROBE {kind.name} id 77 EV 0x0203"] for kind in Kind
    ]
    assert complaints(path) == [set()] * len(frames)


# --- Short, cut and rubbish ------------------------------------------------------------


def test_a_packet_shorter_than_its_headers_is_malformed(folder: Path) -> None:
    cuts, names = [], []
    for vector in first_of_each_opcode():
        headers = reference_headers(vector.packet)
        needed = 88 + sum(len(header.pack()) for header in headers) + 4
        for size in range(89, needed):
            cuts.append(shortened(vector.datagram, size))
            names.append(f"{vector.name} {size}")
    path = capture(folder / "short.pcap", [ETHERNET + cut for cut in cuts])
    for name, found in zip(names, complaints(path), strict=True):
        assert "malformed" in found, name
    assert_no_lua_error(path)


def test_a_control_packet_that_is_too_long_is_malformed(folder: Path) -> None:
    long = [
        shortened(vector.datagram + bytes(4), len(vector.datagram) + 4)
        for vector in first_of_each_opcode() if vector.datagram[88] not in WRITE_OPCODES
    ]  # fmt: skip
    path = capture(folder / "long.pcap", [ETHERNET + datagram for datagram in long])
    assert complaints(path) == [{"malformed"}] * len(long)


def test_more_padding_than_payload_is_malformed(folder: Path) -> None:
    datagram = bytearray(encode(ENVELOPES[0], a_write(0xCA, payload=b"")))
    datagram[89] = 0x30
    path = capture(folder / "pad.pcap", [ETHERNET + bytes(datagram)])
    assert complaints(path) == [{"malformed"}]


def test_a_capture_that_keeps_less_is_not_malformed(folder: Path) -> None:
    """The snap length cut them, not the network: what is there is read, the rest is said."""
    frames = [ETHERNET + vector.datagram for vector in first_of_each_opcode()]
    for snap_bytes in range(103, max(map(len, frames)), 7):
        path = capture(folder / "snap.pcap", frames, snap_bytes)
        for frame, found in zip(frames, complaints(path), strict=True):
            assert found == ({"incomplete"} if len(frame) > snap_bytes else set())


@pytest.mark.parametrize(
    ("offset", "value"),
    [(88, b"\x06"), (88, b"\xcc"), (89, b"\x01"), (100, b"\x10"), (100, b"\x00\x80")],
    ids=["RoCE's opcode", "no opcode", "transport version", "type", "next header"],
)
def test_what_mrc_1_0_does_not_have_is_pointed_out(
    folder: Path, offset: int, value: bytes
) -> None:
    (sack, *_) = [vector for vector in WHOLE if vector.name.startswith("sack")]
    datagram = bytearray(sack.datagram)
    datagram[offset : offset + len(value)] = value
    path = capture(folder / "strange.pcap", [ETHERNET + bytes(datagram)])
    assert complaints(path) == [{"unknown"}]


@pytest.mark.parametrize("syndrome", [0x20, 0x40, 0x80, 0xE0])
def test_a_syndrome_that_is_neither_ack_nor_nak_is_pointed_out(
    folder: Path, syndrome: int
) -> None:
    datagram = bytearray(encode(ENVELOPES[0], TransportAck(5, 6, 0x1F, 7)))
    datagram[100] = syndrome
    path = capture(folder / "syndrome.pcap", [ETHERNET + bytes(datagram)])
    assert complaints(path) == [{"unknown"}]


def test_an_endpoint_packet_to_another_qpn_is_pointed_out(folder: Path) -> None:
    datagram = bytearray(encode(ENVELOPES[0], EndpointRequest(9, 1, 0, 0)))
    datagram[95] = 3
    path = capture(folder / "qpn.pcap", [ETHERNET + bytes(datagram)])
    assert complaints(path) == [{"unknown"}]


def assert_no_lua_error(path: Path, script: Path = SCRIPT) -> None:
    shown = tshark("-r", str(path), "-V", script=script)
    assert "Lua Error" not in shown, shown[shown.index("Lua Error") :][:200]


@pytest.mark.parametrize("seed", range(4))
def test_rubbish_is_no_error_of_the_script(folder: Path, seed: int) -> None:
    frames = rubbish(400, seed)
    path = capture(folder / "rubbish.pcap", frames)
    assert_no_lua_error(path)
    assert_no_lua_error(capture(folder / "rubbish-cut.pcap", frames, snap_bytes=110))
    ours = decode(path, ["frame.number"], "-Y", "mrc")
    assert len(ours) > 400, "too little of it reached the script"


def test_an_error_of_the_script_would_be_seen(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.lua"
    start = "local function read_bth(packet)\n"
    text = SCRIPT.read_text(encoding="utf-8")
    assert start in text
    broken.write_text(text.replace(start, f"{start}error('on purpose')\n"), encoding="utf-8")
    path = capture(folder / "one.pcap", [ETHERNET + WHOLE[0].datagram])
    with pytest.raises(AssertionError, match="on purpose"):
        assert_no_lua_error(path, broken)


# --- Captures and words ----------------------------------------------------------------


def test_time_stamps_are_the_emulated_time(sampler: Path) -> None:
    times = [row[0] for row in decode(sampler, ["frame.time_epoch"])]
    assert times == [f"0.{place * 1000:09}" for place in range(len(times))]


def test_the_readme_names_every_field(kinds: dict[str, str]) -> None:
    named = {
        prefix + name
        for prefix, cell in re.findall(r"(?m)^\| `(mrc\.[a-z]*\.?)` \| (.*) \|$", README)
        for name in (re.findall(r"`([a-z0-9_]+)`", cell) or [""])
    }
    headers = {name.rpartition(".")[0] for name in named} - {"mrc"}
    assert named | headers == set(kinds)


def test_the_readmes_filters_find_something(sampler: Path) -> None:
    filters = re.findall(r"(?m)^\| `(mrc\.[^`]* [^`]*|mrc\.[a-z_]+)` \| [a-z]", README)
    assert len(filters) > 8
    taps = ",".join(["io,stat,0", *filters])
    shown = tshark("-q", "-r", str(sampler), "-z", taps)
    (cells,) = re.findall(r"(?m)^\|\s*[\d.]+ <> .*$", shown)
    counts = [int(cell) for cell in re.findall(r"\|\s+(\d+) (?=\|)", cells)]
    frames = dict(zip(filters, counts[::2], strict=True))
    assert all(0 < count < len(VECTORS) + len(ENVELOPES) for count in frames.values()), frames


def test_the_readmes_commands_run(sampler: Path) -> None:
    commands = re.findall(r"(?m)^    tshark (.*)$", README)
    assert len(commands) == 2
    for command in commands:
        assert run(*(str(sampler) if word == "FILE" else word for word in shlex.split(command)))
