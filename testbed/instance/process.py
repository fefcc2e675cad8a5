"""The instance's own process: build in stages, then serve until taken down.

Started by `testbed.instance.launch` as ``python -m testbed.instance.process``;
what it says on the progress pipe is the client's view of the build.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import threading
import time
import traceback
from contextlib import suppress

from testbed.errors import TestbedError
from testbed.fabric.cgroup import Cgroup
from testbed.fabric.namespaces import loopback_up, quiet_ipv6, unshare_network_and_mounts
from testbed.instance.layout import RUN_DIR, Layout
from testbed.instance.progress import Progress
from testbed.intent.request import UpRequest
from testbed.precedence import CONTROL_NICENESS, go_before_others, wake_on_time

# Daemons on a full disk fail in ways of their own (Open vSwitch waits); this names the cause.
_FULL_BYTES = 16_384
# A thread that has to act at a given moment waits so long for each other one that computes; the
# interpreter's default of 5 ms, once per system call, would make scripted actions late.
_SWITCH_S = 0.0005


def main() -> int:
    """Own the instance whose name is the first argument until the process is ended."""
    name, progress_fd, lock_fd = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sys.setswitchinterval(_SWITCH_S)
    go_before_others(os.getpid(), CONTROL_NICENESS)  # scripted actions have their time, too
    wake_on_time()
    for descriptor in (progress_fd, lock_fd):
        os.set_inheritable(descriptor, False)
    progress = Progress(progress_fd)
    try:
        _build(name, progress)
    except Exception as error:
        progress.send(error=_sentence(error), exit_code=getattr(error, "exit_code", 5))
        with suppress(OSError):  # the log may be what is full
            traceback.print_exc(file=sys.stderr)
        return TestbedError.exit_code
    threading.Event().wait()
    return 0


def _build(name: str, progress: Progress) -> None:
    began = time.monotonic()
    _isolate(name)
    # Heavy imports (mininet, pyroute2, paramiko) come after the cgroup is in place.
    from testbed.instance.service import Service
    from testbed.instance.testbed import Testbed

    layout = Layout(name)
    request = UpRequest.from_dict(json.loads(layout.request.read_text()))
    testbed = Testbed(request, layout, progress)
    progress.note("start", time.monotonic() - began)
    testbed.build()
    service = Service(testbed)
    service.start()
    progress.send(ready=service.summary())


def _isolate(name: str) -> None:
    """Into the instance's cgroup and namespaces, before anything is started."""
    # Netlink sockets and terminals of every node, Open vSwitch's sockets: thousands on `wide`.
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    cgroup = Cgroup(name)
    cgroup.create()
    cgroup.add(os.getpid())
    unshare_network_and_mounts()
    loopback_up()
    quiet_ipv6()


def _sentence(error: Exception) -> str:
    free_bytes = shutil.disk_usage(RUN_DIR).free if RUN_DIR.exists() else 0
    if free_bytes < _FULL_BYTES:
        return f"no space left under {RUN_DIR}, which led to this: {error}; free some, try again"
    if isinstance(error, TestbedError):
        return str(error)
    return f"internal error while building ({error!r}); run again with --debug"


if __name__ == "__main__":
    sys.exit(main())
