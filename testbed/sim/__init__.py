"""The fabric in virtual time: same ports, same forwarding, same faults, no clock and no root.

The twin of :mod:`testbed.fabric`. It drives the same transport object an agent drives,
jumps from event to event in emulated ns, and repeats a run bit by bit from its seed.
"""
