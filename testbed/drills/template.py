"""What `drill new NAME` writes: a drill that runs as it is, with what may be changed in it."""

from __future__ import annotations

from testbed.drills.moments import parse_name
from testbed.errors import UsageError

_TEMPLATE = """\
# A drill. `drill show FILE` says how it was understood, `drill run FILE --sim` tries it in the
# simulator, `sudo python -m testbed drill run FILE` runs it on the emulated fabric.
drill: {name}
title: A T1 switch dies and returns
paper: none                     # a figure of the paper this corresponds to, and what was seen
about: |
  Say here what is done and why, and what must be seen. It is shown by `drill show` and stands
  in the report.

topology: tiny                  # tiny, quad, octo, rack4, wide; {{preset: quad, port_rate: 50Gbps}}
workload:                       # as in a spec.yaml of `run`; times may be in base RTTs (rtt)
  workload: write-bw
  src: h0
  dst: h2
  qps: 4
  duration: 120rtt
tdf: auto                       # time dilation on the fabric: auto, or wall per emulated time
packets: 20000                  # how many packets all hosts send together, at most
takes: {{fabric: 20s, sim: 3s}}   # wall time of a run, on the fabric and in the simulator

# What is done, and when. TARGETs are nic:h3:p2, link:p1-t0-0:p1-t1-3, switch:p0-t1-2,
# port:p0-t1-2:p0-t0-1, ev:h0:h5:0x0003, host:h3, plane:2; [a, b] are several at once.
#   fail (the plainest fault of the target), down, crash, blackhole, loss, corrupt (ratio: 5%),
#   pause, kill, deny, disable; for: 10rtt heals by itself; heal: NAME heals an entry
#   flap: T, period, duty, count | staircase: [..], step, up | glitch: [..], flaps, down, up
#   reboot: switch, down | random: uplinks, every, for, count, seed
# When: at: 40rtt, at: start (before anything is sent), at: end - 20rtt, after: crash + 5rtt,
# or when: all ranks in iteration 3 (plus: 2rtt). What is left in force is healed at the end.
timeline:
  - {{name: crash, at: 40rtt, fail: switch:p0-t1-1}}
  - {{name: back, at: 80rtt, heal: crash}}

# Between two moments: a time, start, end or a step, with or without a time. `run` is all of it.
windows:
  before: 10rtt .. crash
  broken: crash + 15rtt .. back
  after: back + 20rtt .. end

# A check compares a measure in a window (and of: a window, nominal, ...) with what is expected.
# The one with `steady: true` is the gate: where it does not hold the drill is INCONCLUSIVE.
checks:
  - name: steady state
    steady: true
    measure: goodput
    in: before
    expect: ">= 90 %"
    of: nominal
  - {{name: nothing is lost for good, measure: goodput, in: broken, expect: ">= 90 %", of: before}}
  - {{name: as before, measure: goodput, in: after, expect: ">= 95 %", of: before}}
  - {{measure: qp_failures, expect: "0"}}
figure: goodput                 # the figure the report begins with
"""


def template(name: str) -> str:
    """The text of a new drill of this name. Raises UsageError for what cannot be a name."""
    try:
        return _TEMPLATE.format(name=parse_name(name))
    except ValueError as error:
        raise UsageError(str(error)) from None
