"""An instance for a drill: the one that is up where it fits, else one of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from testbed.errors import UsageError
from testbed.instance.client import Control
from testbed.instance.launch import Launch
from testbed.instance.layout import Layout, Liveness
from testbed.instance.teardown import tear_down
from testbed.intent.dilation import assumed_tdf
from testbed.intent.request import UpRequest
from topologies.spec import ClosSpec

OWN_NAME = "drill"

OnReady = Callable[[dict[str, Any], float], None]
"""Told of an instance that was brought up (its summary) and the wall clock it took, s."""


@contextmanager
def control_for(spec: ClosSpec, name: str, is_named: bool, on_ready: OnReady) -> Iterator[Control]:
    """A connection to an instance of this topology.

    The instance ``name``, where it is up and has this topology, on either data plane; where
    it is not up, or was not asked for by name and has another one, an instance is brought up
    for the drill and taken down after it, also after an error or Ctrl-C. Raises UsageError
    where the instance that was asked for has another topology.
    """
    if Layout(name).liveness() is Liveness.ALIVE:
        with Control(name) as control:
            if _is_alike(ClosSpec(**control.call("nodes")["spec"]), spec):
                yield control
                return
        if is_named:
            raise UsageError(f"instance '{name}' is not {spec.name}, which the drill needs: take "
                             "it down, or leave out --name")
    with _own_instance(spec, name if is_named else OWN_NAME, on_ready) as control:
        yield control


def _is_alike(one: ClosSpec, other: ClosSpec) -> bool:
    """The same fabric, on whichever data plane it stands."""
    return replace(one, dataplane=other.dataplane, description=other.description) == other


@contextmanager
def _own_instance(spec: ClosSpec, name: str, on_ready: OnReady) -> Iterator[Control]:
    launch = Launch(UpRequest(name, spec, assumed_tdf(spec), True))
    try:
        began_s = time.monotonic()
        launch.start()
        summary = launch.follow_until_ready(lambda _stage: None)
        on_ready(summary, time.monotonic() - began_s)
        with Control(name) as control:
            yield control
    finally:
        if launch.is_claimed:
            launch.release()
            tear_down(name)
