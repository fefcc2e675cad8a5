"""The instance's own process: build in stages, then serve until taken down.

Started by `testbed.instance.launch` as ``python -m testbed.instance.process``;
what it says on the progress pipe is the client's view of the build.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from testbed.errors import TestbedError
from testbed.fabric.cgroup import Cgroup
from testbed.fabric.namespaces import loopback_up, quiet_ipv6, unshare_network_and_mounts
from testbed.instance.layout import Layout
from testbed.intent.request import UpRequest


class Progress:
    """Lines of JSON to the client, for as long as one listens."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.stages: dict[str, float] = {}

    def send(self, **event: Any) -> None:
        """Tell the client; it may have gone."""
        with suppress(OSError):
            os.write(self._descriptor, json.dumps(event).encode() + b"\n")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage of the build (wall seconds) and report it when it is done."""
        began = time.monotonic()
        self.send(begin=name)
        yield
        self.stages[name] = round(time.monotonic() - began, 3)
        self.send(stage=name, seconds=self.stages[name])

    def close(self) -> None:
        """The client sees the end of the stream."""
        with suppress(OSError):
            os.close(self._descriptor)


def main() -> int:
    """Own the instance whose name is the first argument until the process is ended."""
    name, progress_fd, lock_fd = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    began = time.monotonic()
    for descriptor in (progress_fd, lock_fd):
        os.set_inheritable(descriptor, False)
    progress = Progress(progress_fd)
    try:
        _isolate(name)
        # Heavy imports (mininet, pyroute2, paramiko) come after the cgroup is in place.
        from testbed.instance.testbed import Testbed

        layout = Layout(name)
        request = UpRequest.from_dict(json.loads(layout.request.read_text()))
        testbed = Testbed(request, layout, progress)
        progress.stages["start"] = round(time.monotonic() - began, 3)
        progress.send(stage="start", seconds=progress.stages["start"])
        testbed.build()
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        progress.send(error=_sentence(error), exit_code=getattr(error, "exit_code", 5))
        return 5
    progress.send(ready=testbed.summary())
    threading.Event().wait()
    return 0


def _isolate(name: str) -> None:
    """Into the instance's cgroup and namespaces, before anything is started."""
    cgroup = Cgroup(name)
    cgroup.create()
    cgroup.add(os.getpid())
    unshare_network_and_mounts()
    loopback_up()
    quiet_ipv6()


def _sentence(error: Exception) -> str:
    if isinstance(error, TestbedError):
        return str(error)
    return f"internal error while building ({error!r}); see the log, and --debug"


if __name__ == "__main__":
    sys.exit(main())
