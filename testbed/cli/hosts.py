"""Host names on the command line."""

from __future__ import annotations

from testbed.errors import UsageError
from topologies.names import parse_host
from topologies.spec import ClosSpec


def host_index(text: str, spec: ClosSpec | None = None) -> int:
    """The index of a host typed as ``h3``. Raises UsageError where there is none."""
    index = parse_host(text)
    if index is None:
        raise UsageError(f"'{text}' is not a host: write one like h0")
    if spec is not None and index >= spec.host_count:
        raise UsageError(f"host {text} does not exist: {spec.name} has h0 to "
                         f"h{spec.host_count - 1}")
    return index
