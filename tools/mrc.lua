-- MRC (Multipath Reliable Connection, OCP 1.0) for Wireshark and tshark; see README.md here.
--
--     tshark -X lua_script:tools/mrc.lua -r FILE
--
-- A packet is UDP to one of two ports, behind one or two IPv6 headers:
--
--     BTH 12 | headers by opcode | payload | iCRC 4
--
-- The headers are drawn once, in section 2. Their numbers are those of testbed/transport/mrc
-- and topologies, and tests/unit/tools/test_dissector.py holds the two against each other.
-- Clauses (2.1) are the facts sheet's, tables the specification's, as in that codec.
-- The iCRC is shown, not verified. Bit operations are left to Wireshark (masks, bitfield), since
-- Lua's differ from one version of Wireshark to the next.

-- 1. Numbers and their names ------------------------------------------------------------

local PORTS = { [4791] = true, [4971] = true } -- IANA's for RoCEv2; the other reading
local ICRC_BYTES = 4
local PSN_RANGE = 0x1000000
local USID_BLOCK = 0xfcbbbbbb -- fcbb:bbbb::/32
local ENDPOINT_QPN = 2
local OUR_PROBE = 0xa55e -- `testbed probe` sends frames of its own to the same port
local OUR_PROBE_BYTES = 32

local OPCODES = {
    [0xc6] = "WRITE_FIRST", [0xc7] = "WRITE_MIDDLE", [0xc8] = "WRITE_LAST",
    [0xc9] = "WRITE_LAST_WITH_IMM", [0xca] = "WRITE_ONLY", [0xcb] = "WRITE_ONLY_WITH_IMM",
    [0xd1] = "TRANSPORT_ACK", [0xd8] = "ENDPOINT_REQUEST", [0xd9] = "ENDPOINT_RESPONSE",
    [0xdc] = "SACK", [0xdd] = "NACK", [0xde] = "RELIABILITY_PROBE",
}
local HAS_IMMEDIATE = { [0xc9] = true, [0xcb] = true }
local NACK_REASONS = {
    [0x01] = "TRIMMED", [0x02] = "TRIMMED_LASTHOP", [0x06] = "NO_BITMAP",
    [0x07] = "NO_PKT_BUFFER", [0x0a] = "NO_RESOURCE", [0x0b] = "PSN_OOR_WINDOW",
    [0x19] = "UNEXP_EVENT",
}
local SYNDROMES = {
    [0x1f] = "ACK", [0x61] = "INVALID_REQUEST", [0x62] = "REMOTE_ACCESS_ERROR",
    [0x63] = "REMOTE_OPERATIONAL_ERROR",
}
local PATH_MARKS = { [0] = "NONE", [1] = "SKIP_ONCE", [2] = "ALWAYS_SKIP" }
local ENDPOINT_OPS = { [0] = "PORT_STATUS_UPDATE", [1] = "EV_PROBE" }
local TRIMMED_CLASSES = { [12] = "TRIMMED", [16] = "TRIMMED_LASTHOP" } -- by DSCP
local OUR_PROBE_KINDS = { [1] = "REQUEST", [2] = "REPLY", [3] = "SELF" }

-- 2. Headers: name, title, bytes, then {offset, bytes, field} ----------------------------

local mrc = Proto("mrc", "Multipath Reliable Connection")
local fields = {} -- by name without "mrc."

local function field(kind, name, label, ...)
    fields[name] = ProtoField[kind]("mrc." .. name, label, ...)
    return fields[name]
end

local function number(bits, name, label, names, mask)
    return field("uint" .. bits, name, label, base.DEC, names, mask)
end

local function hex(bits, name, label, names, mask)
    return field("uint" .. bits, name, label, base.HEX, names, mask)
end

local function flag(bits, name, label, mask)
    return field("bool", name, label, bits, nil, mask)
end

-- A header is a branch of the tree, and a field too: `mrc.nack` finds what has a NETH.
local function header(name, title, bytes, ...)
    return { branch = field("none", name, title), title = title, bytes = bytes, ... }
end

local BTH = header("bth", "BTH, base transport header", 12, -- 2.1; Tables 6-3, 6-4
    { 0, 1, hex(8, "bth.opcode", "Opcode", OPCODES) },
    { 1, 1, flag(8, "bth.se", "Solicited event", 0x80) },
    { 1, 1, flag(8, "bth.m", "Migration, unused", 0x40) },
    { 1, 1, number(8, "bth.pad", "Bytes of padding", nil, 0x30) },
    { 1, 1, number(8, "bth.tver", "Transport version", nil, 0x0f) },
    { 2, 2, hex(16, "bth.p_key", "Partition key") },
    { 4, 1, hex(8, "bth.var_res", "Variant reserved") },
    { 5, 3, number(24, "bth.dqp", "Destination queue pair") },
    { 8, 1, flag(8, "bth.a", "Acknowledge now", 0x80) },
    { 8, 1, flag(8, "bth.rtx", "Retransmission", 0x20) },
    { 8, 1, flag(8, "bth.ts", "TSETH follows", 0x10) },
    { 8, 1, hex(8, "bth.inv_res", "Invariant reserved", nil, 0x0f) },
    { 9, 3, number(24, "bth.psn", "Packet sequence number") })
local METH = header("meth", "METH, message", 4, -- 2.3; Tables 6-8, 6-9
    { 0, 2, number(16, "meth.rqmsn", "Number among messages with immediate") },
    { 2, 2, number(16, "meth.msn", "Message sequence number") })
local TSETH = header("tseth", "TSETH, time stamp", 4, -- 2.4; Tables 6-6, 6-7
    { 0, 2, number(16, "tseth.tx_timestamp", "Sent at") },
    { 2, 2, flag(16, "tseth.tsr", "Ticks of 1 us, not 128 ns", 0x8000) },
    { 2, 2, number(16, "tseth.ftype", "Format", nil, 0x000f) })
local RETH = header("reth", "RETH, where the payload goes", 16, -- 2.5; Table 6-5
    { 0, 8, field("uint64", "reth.va", "Virtual address of this payload", base.HEX) },
    { 8, 4, hex(32, "reth.rkey", "Remote key") },
    { 12, 4, number(32, "reth.dmalen", "Bytes of the whole message") })
local IMMDT = header("immdt", "ImmDt, immediate data", 4, -- 2.6
    { 0, 4, hex(32, "immdt.imm", "Immediate data") })
local AETH = header("aeth", "AETH, acknowledgement", 4, -- 2.7
    { 0, 1, hex(8, "aeth.syndrome", "Syndrome", SYNDROMES) },
    { 1, 3, number(24, "aeth.msn", "Messages completed") })
local SETH = header("sack", "SETH, selective acknowledgement", 28, -- 2.8; Tables 7-14, 7-15
    { 0, 2, number(16, "sack.type", "Type", nil, 0xf000) },
    { 0, 2, number(16, "sack.nh", "Next header", nil, 0x0f80) },
    { 0, 2, number(16, "sack.m", "What to do about the EV", PATH_MARKS, 0x0060) },
    { 0, 2, flag(16, "sack.pr", "Answers a reliability probe", 0x0002) },
    { 4, 4, hex(32, "sack.entropy", "EV of what caused it") },
    { 8, 2, number(16, "sack.spdcid", "Source id") },
    { 10, 2, number(16, "sack.dpdcid", "Destination id") },
    { 13, 3, number(24, "sack.cack_psn", "All received up to PSN") },
    { 16, 1, number(8, "sack.cc_type", "Congestion control type", nil, 0xf0) },
    { 16, 1, hex(8, "sack.cc_fl", "Congestion control flags", nil, 0x0f) },
    { 17, 1, number(8, "sack.mpr", "Maximum PSN range, units of 128") },
    { 18, 2, field("int16", "sack.offset", "Bitmap begins behind cack_psn at", base.DEC) },
    { 20, 8, field("uint64", "sack.bitmap", "Bitmap", base.HEX) })
-- Two meanings of bytes 2 and 3 of SETH, by pr.
local ACK_PSN_OFFSET = field("int16", "sack.ack_psn_offset", "Caused by cack_psn plus", base.DEC)
local SACK_PROBE_ID = number(16, "sack.probe_id", "Probe answered")
local CC_STATE = header("cc", "CC_STATE, congestion control", 8, -- 2.8; Tables 7-12, 7-13
    { 0, 2, number(16, "cc.tx_timestamp", "Time stamp echoed") },
    { 2, 2, number(16, "cc.ooo_count", "Received out of order", nil, 0x7fff) },
    { 4, 1, flag(8, "cc.r_c", "Restore the congestion window", 0x80) },
    { 4, 1, number(8, "cc.rcv_cwnd_pen", "Window penalty", nil, 0x7f) },
    { 5, 3, number(24, "cc.rcvd_bytes", "Bytes received, units of 256") })
local NETH = header("nack", "NETH, packet refused", 20, -- 2.9; Tables 7-16, 7-17
    { 0, 2, number(16, "nack.type", "Type", nil, 0xf000) },
    { 0, 2, number(16, "nack.nh", "Next header", nil, 0x0f80) },
    { 2, 1, hex(8, "nack.reason", "Reason", NACK_REASONS) },
    { 3, 1, hex(8, "nack.vendor_info", "Vendor information") },
    { 4, 4, hex(32, "nack.entropy", "EV of what was refused") },
    { 8, 2, number(16, "nack.spdcid", "Source id") },
    { 10, 2, number(16, "nack.dpdcid", "Destination id") },
    { 13, 3, number(24, "nack.psn", "PSN refused") },
    { 16, 1, number(8, "nack.cc_type", "Congestion control type", nil, 0xf0) },
    { 16, 1, hex(8, "nack.cc_fl", "Congestion control flags", nil, 0x0f) },
    { 18, 2, number(16, "nack.tx_timestamp", "Time stamp echoed") })
local PETH = header("probe", "PETH, reliability probe", 16, -- 2.10; Tables 7-18, 7-19
    { 0, 2, number(16, "probe.type", "Type", nil, 0xf000) },
    { 0, 2, number(16, "probe.nh", "Next header", nil, 0x0f80) },
    { 3, 1, hex(8, "probe.vendor_info", "Vendor information") },
    { 4, 2, number(16, "probe.id", "Probe id") },
    { 8, 2, number(16, "probe.spdcid", "Source id") },
    { 10, 2, number(16, "probe.dpdcid", "Destination id") },
    { 12, 2, number(16, "probe.tx_timestamp", "Sent at") },
    { 14, 2, flag(16, "probe.tsr", "Ticks of 1 us, not 128 ns", 0x8000) },
    { 14, 2, number(16, "probe.ftype", "Format of the time stamp", nil, 0x000f) })
local ERTH = header("request", "ERTH, endpoint request", 16, -- 2.11; Tables 7-20, 7-21
    { 0, 2, number(16, "request.type", "Type", nil, 0xf000) },
    { 0, 2, number(16, "request.nh", "Next header", nil, 0x0f80) },
    { 0, 2, number(16, "request.op", "Operation", ENDPOINT_OPS, 0x0003) },
    { 3, 1, hex(8, "request.vendor_info", "Vendor information") },
    { 4, 4, hex(32, "request.port_status_mask", "Ports that work, bit = plane") },
    { 12, 2, number(16, "request.tx_timestamp", "Sent at") },
    { 14, 2, flag(16, "request.tsr", "Ticks of 1 us, not 128 ns", 0x8000) },
    { 14, 2, number(16, "request.ftype", "Format of the time stamp", nil, 0x000f) })
local EETH = header("response", "EETH, endpoint response", 36, -- 2.12; Tables 7-22, 7-23
    { 0, 2, number(16, "response.type", "Type", nil, 0xf000) },
    { 0, 2, number(16, "response.nh", "Next header", nil, 0x0f80) },
    -- The sources differ about the place of op (2.12); this is where the testbed writes it.
    { 0, 2, number(16, "response.op", "Operation", ENDPOINT_OPS, 0x000c) },
    { 28, 2, number(16, "response.tx_timestamp", "Time stamp echoed") })
local OUR_PROBE_HEADER = header("pathprobe", "Path probe of the testbed, not MRC", OUR_PROBE_BYTES,
    { 2, 1, number(8, "pathprobe.kind", "Kind", OUR_PROBE_KINDS) },
    { 4, 4, number(32, "pathprobe.id", "Probe id") })

field("bytes", "payload", "Payload")
field("bytes", "padding", "Padding")
hex(32, "icrc", "Invariant CRC, not verified") -- least significant byte first on the wire
-- What follows is worked out, not read.
hex(32, "ev", "Entropy value")
number(8, "ev.plane", "Plane")
number(8, "ev.uplink", "Uplink")
number(8, "trimmed", "Trimmed by a switch, DSCP", TRIMMED_CLASSES)
field("string", "path", "Way left")
hex(16, "usid", "uSID")
number(24, "sack.ack_psn", "Caused by PSN")
number(24, "sack.base_psn", "Bitmap begins at PSN")
field("string", "sack.received", "PSNs received")

local listed = {}
for _, one in pairs(fields) do table.insert(listed, one) end
mrc.fields = listed

local malformed = ProtoExpert.new(
    "mrc.malformed", "Malformed", expert.group.MALFORMED, expert.severity.ERROR)
local unknown = ProtoExpert.new(
    "mrc.unknown", "Not of MRC 1.0", expert.group.PROTOCOL, expert.severity.WARN)
local incomplete = ProtoExpert.new(
    "mrc.incomplete", "Not captured whole", expert.group.UNDECODED, expert.severity.NOTE)
mrc.experts = { malformed, unknown, incomplete }

-- Every IPv6 header of the frame, outer first; the UDP dissector does not hand them on.
local ipv6_flow, ipv6_dst = Field.new("ipv6.flow"), Field.new("ipv6.dst")
local ipv6_dscp = Field.new("ipv6.tclass.dscp")

-- 3. Reading ----------------------------------------------------------------------------

-- A packet being read: `at` is where the next header begins, `stop` where the iCRC does (a
-- trimmed one has none), `captured` how many bytes the file has; `words` become its Info.
local function say(packet, text, ...)
    table.insert(packet.words, string.format(text, ...))
end

local function is_there(packet, title, bytes)
    local stop = packet.at + bytes
    if stop <= packet.stop and stop <= packet.captured then return true end
    if stop <= packet.stop then
        packet.tree:add_proto_expert_info(incomplete, title .. " is not in the capture")
    else
        packet.tree:add_proto_expert_info(malformed, string.format(
            "%s needs %d bytes, %d are left", title, bytes, math.max(packet.stop - packet.at, 0)))
        say(packet, "[malformed]")
    end
    packet.is_short = true
    return false
end

-- Show a header and step over it: its bytes and its branch of the tree, nil where it is short.
local function take(packet, header)
    if not is_there(packet, header.title, header.bytes) then return nil end
    local range = packet.tvb(packet.at, header.bytes)
    local branch = packet.tree:add(header.branch, range)
    for _, part in ipairs(header) do
        local offset, bytes, one = part[1], part[2], part[3]
        branch:add(one, range(offset, bytes))
    end
    packet.at = packet.at + header.bytes
    return range, branch
end

local function work_out(branch, name, value, text)
    local item = branch:add(fields[name], value):set_generated()
    if text then item:append_text(text) end
end

-- As the testbed prints it: plane and uplink, all 32 bits only where more are set.
local function ev_text(ev)
    if ev % 65536 ~= 0 then return string.format("0x%08x", ev) end
    return string.format("0x%04x", math.floor(ev / 65536))
end

local function check_format(packet, range, branch)
    local first = range(0, 2):bitfield(0, 9)
    if first ~= 0 then
        branch:add_proto_expert_info(unknown, "type and next header other than 0 mean a layout "
            .. "that is not known here")
    end
end

-- The place of the PSN holds an id here.
local function check_endpoint(packet)
    packet.words[2] = string.format("id %d", packet.psn)
    table.remove(packet.words, 3)
    if packet.dqp ~= ENDPOINT_QPN or packet.psn >= 65536 then
        packet.tree:add_proto_expert_info(unknown,
            "endpoint packets go to queue pair 2 with an id of 16 bits in the PSN")
    end
end

-- 4. Kinds of packet --------------------------------------------------------------------

local function read_payload(packet, pad)
    local bytes = packet.stop - packet.at - pad
    if bytes < 0 then
        packet.tree:add_proto_expert_info(malformed, "more padding than payload")
        return say(packet, "[malformed]")
    end
    if not packet.trimmed then say(packet, "len %d", bytes) end
    local there = math.min(bytes, packet.captured - packet.at)
    if there > 0 then packet.tree:add(fields.payload, packet.tvb(packet.at, there)) end
    packet.at = packet.at + bytes
    if pad > 0 and packet.at + pad <= packet.captured then
        packet.tree:add(fields.padding, packet.tvb(packet.at, pad))
    end
    packet.at = packet.at + pad
end

local function read_write(packet, bth)
    local headers = { METH }
    if bth(8, 1):bitfield(3) == 1 then table.insert(headers, TSETH) end
    table.insert(headers, RETH)
    if HAS_IMMEDIATE[packet.opcode] then table.insert(headers, IMMDT) end
    for _, header in ipairs(headers) do
        -- A switch may have cut anywhere behind BTH (4.17): what is left is no fault.
        if packet.trimmed and packet.at + header.bytes > packet.stop then break end
        if not take(packet, header) then return end
    end
    read_payload(packet, packet.trimmed and 0 or bth(1, 1):bitfield(2, 2))
    if bth(8, 1):bitfield(2) == 1 then say(packet, "rtx") end
end

local function read_ack(packet)
    local range, branch = take(packet, AETH)
    if not range then return end
    local syndrome = range(0, 1):uint()
    local name = SYNDROMES[syndrome] or string.format("syndrome 0x%02x", syndrome)
    if range(0, 1):bitfield(0, 3) == 3 then
        packet.words[1] = "TRANSPORT_NAK " .. name
    elseif range(0, 1):bitfield(0, 3) ~= 0 then
        branch:add_proto_expert_info(unknown, "a syndrome that is neither ACK nor NAK")
    end
    say(packet, "msn %d", range(1, 3):uint())
end

-- PSNs of the bits that are set, as "101, 103-104"; bit 0 is the least significant.
local function received(range, first)
    local parts, place = {}, 0
    while place < 64 do
        local start = place
        while place < 64 and range:bitfield(63 - place) == 1 do place = place + 1 end
        if place > start then
            local from, to = (first + start) % PSN_RANGE, (first + place - 1) % PSN_RANGE
            table.insert(parts, from == to and string.format("%d", from)
                or string.format("%d-%d", from, to))
        end
        place = place + 1
    end
    return table.concat(parts, ", ")
end

local function read_sack(packet)
    local range, branch = take(packet, SETH)
    if not range then return end
    check_format(packet, range, branch)
    local cack, first = range(13, 3):uint(), range(0, 2)
    if first:bitfield(14) == 1 then
        branch:add(SACK_PROBE_ID, range(2, 2))
        say(packet, "probe %d", range(2, 2):uint())
    else
        branch:add(ACK_PSN_OFFSET, range(2, 2))
        work_out(branch, "sack.ack_psn", (cack + range(2, 2):int()) % PSN_RANGE)
    end
    local base_psn = (cack + range(18, 2):int()) % PSN_RANGE
    work_out(branch, "sack.base_psn", base_psn)
    local psns = received(range(20, 8), base_psn)
    if psns ~= "" then work_out(branch, "sack.received", psns) end
    local mark = first:bitfield(9, 2)
    say(packet, "for EV %s", ev_text(range(4, 4):uint()))
    if mark ~= 0 then say(packet, PATH_MARKS[mark] or "mark 3") end
    local state = take(packet, CC_STATE)
    if state then say(packet, "ooo %d", state(2, 2):bitfield(1, 15)) end
end

local function read_nack(packet)
    local range, branch = take(packet, NETH)
    if not range then return end
    check_format(packet, range, branch)
    local reason = range(2, 1):uint()
    packet.words[1] = "NACK " .. (NACK_REASONS[reason] or string.format("reason 0x%02x", reason))
    say(packet, "for EV %s", ev_text(range(4, 4):uint()))
end

local function read_probe(packet)
    local range, branch = take(packet, PETH)
    if not range then return end
    check_format(packet, range, branch)
    say(packet, "probe %d", range(4, 2):uint())
end

local function read_request(packet)
    local range, branch = take(packet, ERTH)
    if not range then return end
    check_format(packet, range, branch)
    check_endpoint(packet)
    local op = range(0, 2):bitfield(14, 2)
    packet.words[1] = "ENDPOINT_REQUEST " .. (ENDPOINT_OPS[op] or string.format("op %d", op))
    if op == 0 then say(packet, "ports 0x%x", range(4, 4):uint()) end
end

local function read_response(packet)
    local range, branch = take(packet, EETH)
    if not range then return end
    check_format(packet, range, branch)
    check_endpoint(packet)
    local op = range(0, 2):bitfield(12, 2)
    packet.words[1] = "ENDPOINT_RESPONSE " .. (ENDPOINT_OPS[op] or string.format("op %d", op))
end

local CONTROL = {
    [0xd1] = read_ack, [0xd8] = read_request, [0xd9] = read_response,
    [0xdc] = read_sack, [0xdd] = read_nack, [0xde] = read_probe,
}

local function read_control(packet)
    CONTROL[packet.opcode](packet)
    if packet.trimmed then
        packet.tree:add_proto_expert_info(unknown, "only writes can be trimmed")
    elseif packet.at < packet.stop and not packet.is_short then
        packet.tree:add_proto_expert_info(malformed, string.format(
            "%d bytes more than this packet has", packet.stop - packet.at))
    end
end

-- 5. Around it: entropy value, way, iCRC ------------------------------------------------

local KINDS = { "?", "t0", "t1", "downlink" } -- kind 0 names nothing

-- The uSIDs left in the outer destination (RFC 9800, 16 bits each behind a block of 32).
local function show_way(packet)
    local headers = { ipv6_dst() }
    if #headers < 2 or headers[1].range(0, 4):uint() ~= USID_BLOCK then return end
    local address, stops = headers[1].range, {}
    for offset = 4, 14, 2 do
        local usid = address(offset, 2)
        if usid:uint() == 0 then break end
        local plane, kind, index = usid:bitfield(0, 3), usid:bitfield(3, 2), usid:bitfield(5, 11)
        local name = kind == 3 and string.format("downlink %d", index)
            or string.format("p%d-%s-%d", plane, KINDS[kind + 1], index)
        work_out(packet.tree, "usid", usid:uint(), " (" .. name .. ")")
        table.insert(stops, name)
    end
    if #stops > 0 then work_out(packet.tree, "path", table.concat(stops, ", ")) end
end

-- The inner header counts, since the outer may be gone on arrival (1.3).
local function show_ev(packet, source_port)
    local labels = { ipv6_flow() }
    local label = #labels > 0 and labels[#labels].value or 0
    local ev = source_port * 65536 + label % 65536
    if ev % 65536 == 0 then -- else it is no EV of the testbed's, and names no plane
        local plane, uplink = math.floor(source_port / 256), source_port % 256
        work_out(packet.tree, "ev", ev, string.format(" (plane %d, uplink %d)", plane, uplink))
        work_out(packet.tree, "ev.plane", plane)
        work_out(packet.tree, "ev.uplink", uplink)
    else
        work_out(packet.tree, "ev", ev)
    end
    packet.ev = ev_text(ev)
end

local function show_icrc(packet)
    if packet.stop + ICRC_BYTES <= packet.captured then
        packet.tree:add_le(fields.icrc, packet.tvb(packet.stop, ICRC_BYTES))
    elseif not packet.is_short then
        packet.tree:add_proto_expert_info(incomplete, "the end is not in the capture")
    end
end

-- DSCP if a switch cut this packet, else nil: the outer header's, which is what it rewrites.
local function trimmed_class()
    local first = ipv6_dscp()
    return first and TRIMMED_CLASSES[first.value] and first.value
end

local function read_our_probe(packet)
    packet.stop = packet.stop + ICRC_BYTES -- it has none
    local range = take(packet, OUR_PROBE_HEADER)
    if not range then return end
    local kind = range(2, 1):uint()
    packet.words = { "PATH_PROBE " .. (OUR_PROBE_KINDS[kind] or string.format("kind %d", kind)) }
    say(packet, "id %d EV %s", range(4, 4):uint(), packet.ev)
end

local function read_bth(packet)
    local bth, branch = take(packet, BTH)
    if not bth then return end
    packet.opcode, packet.dqp, packet.psn = bth(0, 1):uint(), bth(5, 3):uint(), bth(9, 3):uint()
    local name = OPCODES[packet.opcode]
    packet.words = { name or string.format("opcode 0x%02x", packet.opcode) }
    say(packet, "qp %d", packet.dqp)
    say(packet, "psn %d", packet.psn)
    say(packet, "EV %s", packet.ev)
    if packet.trimmed then say(packet, "[trimmed]") end
    if bth(1, 1):bitfield(4, 4) ~= 0 then
        branch:add_proto_expert_info(unknown, "a transport version other than 0")
    end
    if CONTROL[packet.opcode] then
        read_control(packet)
    elseif name then
        read_write(packet, bth)
    else
        packet.tree:add_proto_expert_info(unknown, "an opcode MRC does not have")
    end
    if not packet.trimmed then show_icrc(packet) end
end

local function read_packet(packet, source_port)
    show_ev(packet, source_port)
    show_way(packet)
    if packet.trimmed then work_out(packet.tree, "trimmed", packet.trimmed) end
    if packet.captured >= 2 and packet.tvb(0, 2):uint() == OUR_PROBE then
        read_our_probe(packet)
    else
        read_bth(packet)
    end
end

local function dissect(tvb, pinfo, tree)
    if not PORTS[pinfo.dst_port] then return 0 end -- the source port of something else
    local captured, size = tvb:captured_len(), tvb:reported_len()
    local trimmed = trimmed_class()
    local packet = {
        tvb = tvb, tree = tree:add(mrc, tvb()), at = 0, captured = captured,
        -- Lengths of a trimmed packet may still promise what was cut off (4.17).
        stop = trimmed and math.min(size, captured) or size - ICRC_BYTES,
        trimmed = trimmed, words = { "MRC" },
    }
    pinfo.cols.protocol = "MRC"
    read_packet(packet, pinfo.src_port)
    pinfo.cols.info = table.concat(packet.words, " ")
    return captured
end

mrc.dissector = dissect
local by_port = DissectorTable.get("udp.port")
for port in pairs(PORTS) do by_port:add(port, mrc) end

-- Wireshark gives a datagram to the dissector of the lower of its two ports, and half of an EV
-- is a source port: plane 2, uplink 2 is 514, syslog's. Dissectors that look at the packet first
-- are asked before that if this preference is set, and the last one registered before the others.
mrc:register_heuristic("udp", function(tvb, pinfo, tree)
    return dissect(tvb, pinfo, tree) > 0
end)
set_preference("udp.try_heuristic_first", true)
