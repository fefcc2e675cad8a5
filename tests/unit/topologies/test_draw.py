"""Drawings: within 80 columns at any size, and complete where there is room."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from topologies.draw import WIDTH_CHARACTERS, draw
from topologies.spec import ClosSpec

QUAD = ClosSpec("quad", 4, 2, 4, 4, 100 * 10**9, 1000)

QUAD_PICTURE = """\
      ┌─ plane 3 ─────────────────────────────────┐
    ┌─ plane 2 ─────────────────────────────────┐ │
  ┌─ plane 1 ─────────────────────────────────┐ │ │
┌─ plane 0 ─────────────────────────────────┐ │ │ │
│                                           │ │ │ │
│ T1    p0-t1-0  p0-t1-1  p0-t1-2  p0-t1-3  │ │ │ │
│          │        │        │        │     │ │ │ │
│        ══╧══════╤═╧════════╧═╤══════╧══   │ │ │─┘
│                 │            │            │ │─┘
│ T0           p0-t0-0      p0-t0-1         │─┘
└─────────────────┬────────────┬────────────┘
              ┌──┬┴─┬──┐   ┌──┬┴─┬──┐
hosts        h0 h1 h2 h3  h4 h5 h6 h7
"""


def test_the_default_topology_is_drawn_like_this() -> None:
    assert QUAD_PICTURE in draw(QUAD)


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        ClosSpec,
        name=st.just("a-name-of-24-characters-x"[:24]),
        planes=st.integers(1, 8),
        t0_per_plane=st.integers(1, 512),
        t1_per_plane=st.integers(1, 256),
        hosts_per_t0=st.integers(1, 2048),
        port_rate_bps=st.sampled_from([10**9, 400 * 10**9]),
        link_delay_ns=st.integers(0, 100_000),
    )
)
def test_every_drawing_fits_and_names_first_and_last(spec: ClosSpec) -> None:
    text = draw(spec)
    assert max(len(line) for line in text.splitlines()) <= WIDTH_CHARACTERS
    words = set(re.findall(r"[hp][0-9][0-9a-z-]*", text))
    assert {"h0", f"h{spec.host_count - 1}"} <= words
    assert {"p0-t0-0", f"p0-t0-{spec.t0_per_plane - 1}"} <= words
    assert {"p0-t1-0", f"p0-t1-{spec.t1_per_plane - 1}"} <= words
    assert f"plane {spec.planes - 1}" in text
