"""`testbed topology`: describe and draw a topology without building it."""

from __future__ import annotations

import argparse

from testbed.cli.output import print_json, table
from testbed.intent.dilation import assumed_tdf
from testbed.intent.topology import (
    DEFAULT_TOPOLOGY,
    load_topology,
    preset_names,
    topology_document,
)
from testbed.units import format_size_bytes, format_time_ns
from topologies.draw import draw
from topologies.numbers import base_rtt_ns, bdp_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `topology`."""
    parser.add_argument("topology", nargs="?", default=DEFAULT_TOPOLOGY,
                        help="preset or YAML file (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets",
                        help="change one key, e.g. --set planes=2")
    parser.add_argument("--list", action="store_true", help="the presets, a line each")


def run(arguments: argparse.Namespace) -> int:
    """Needs neither root nor an instance."""
    if arguments.list:
        return _list(arguments.json)
    spec = load_topology(arguments.topology, arguments.sets)
    rtt_ns = base_rtt_ns(spec)
    if arguments.json:
        print_json({
            **topology_document(spec), "hosts": spec.host_count, "switches": spec.switch_count,
            "nic_ports": spec.nic_port_count, "links": spec.link_count,
            "base_rtt_ns": rtt_ns, "bdp_bytes": bdp_bytes(spec), "tdf": assumed_tdf(spec),
        })
        return 0
    print(draw(spec))
    if spec.description:
        print(f"\n{spec.description}")
    print(f"\nbase RTT {format_time_ns(rtt_ns)} cross-T1, "
          f"{format_time_ns(base_rtt_ns(spec, cross_t1=False))} T0-local; plane BDP "
          f"{format_size_bytes(bdp_bytes(spec))}; data plane {spec.dataplane}")
    return 0


def _list(is_json: bool) -> int:
    specs = [load_topology(name) for name in preset_names()]
    if is_json:
        print_json([topology_document(spec) for spec in specs])
        return 0
    rows = [(s.name, s.host_count, s.planes, s.t0_per_plane, s.t1_per_plane, s.switch_count,
             s.link_count, s.description) for s in sorted(specs, key=lambda s: s.link_count)]
    print(table(("NAME", "HOSTS", "PLANES", "T0", "T1", "SWITCHES", "LINKS", ""), rows))
    return 0
