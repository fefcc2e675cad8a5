"""Instances for tests: each with a name of its own, taken down whatever happens."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from testbed_process import Running, up

from testbed.instance.teardown import known_instances, tear_down

_numbers = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without root these tests fail and say why: skipping would look like passing."""
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.obj = _needs_root


def _needs_root(*_args: object, **_kwargs: object) -> None:
    pytest.fail("this test builds namespaces and needs root: sudo make test")


@pytest.fixture
def name() -> Iterator[str]:
    """An instance name nobody else uses; what has it, or it with a suffix, goes down after."""
    chosen = f"test-{os.getpid()}-{next(_numbers)}"
    yield chosen
    for other in known_instances():
        if other == chosen or other.startswith(f"{chosen}-"):
            tear_down(other)


@pytest.fixture(scope="module")
def bring_up() -> Iterator[Callable[..., Running]]:
    """Bring up instances that live until the end of the module."""
    running: list[Running] = []

    def start(topology: str, *options: str) -> Running:
        instance = up(f"test-{os.getpid()}-{next(_numbers)}", topology, *options)
        running.append(instance)
        return instance

    yield start
    with ExitStack() as stack:
        for instance in running:
            stack.callback(instance.down)


@pytest.fixture(scope="module", params=["ovs", "linux"])
def tiny(request: pytest.FixtureRequest, bring_up: Callable[..., Running]) -> Running:
    """`tiny` on each data plane."""
    return bring_up("tiny", "--dataplane", request.param)


@pytest.fixture
def healthy(tiny: Running) -> Iterator[Running]:
    """`tiny` without faults before and after, and with balanced books after."""
    yield tiny
    tiny.call("heal")
    tiny.end_run()
    assert tiny.call("status")["problems"] == []
