"""MRC packets as bytes: every header drawn once, and a codec fast enough for the engine.

    codes      opcodes, reasons, marks: the numbers and their names
    headers    one type per header, field by field: read this to learn the format
    ip         IPv6 and UDP, and where the entropy value hides in them
    icrc       the checksum at the end of every packet
    packets    one flat tuple per kind of packet: what the engine handles
    codec      packet <-> datagram in one step (encoding, decoding)

A *datagram* is what travels behind the Ethernet header:

    outer IPv6 40 | inner IPv6 40 | UDP 8 | BTH 12 | headers by opcode | payload | iCRC 4
"""
