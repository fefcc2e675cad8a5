"""The one place that imports Ryu, or os-ken where Ryu cannot be imported.

Ryu 4.34 is from 2020. It runs on current eventlet and dnspython once three
things are arranged, all before its first import:

- ``ryu.app.wsgi`` imports ``eventlet.wsgi.ALREADY_HANDLED``, which eventlet
  removed in 0.30.3. Nothing here serves HTTP, so any object will do.
- eventlet's replacement of the DNS resolver costs 190 ms of a start (it imports
  dnspython); the controller listens on an address and resolves no name.
- ``distutils``, wanted for one version comparison, would be answered by
  setuptools' copy of it, another 90 ms; Python before 3.12 has its own.

os-ken is Ryu's maintained fork with the same API (faucet runs on it). It is told
to run on eventlet too: on its other hub, plain threads, it never reports that a
switch has left (4.2: it waits for a sender thread that nothing ends).

Everything else in this package imports the names below from here.
"""

import contextlib
import gc
import importlib
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

_PACKAGES = ("ryu", "os_ken")
_Handler = TypeVar("_Handler", bound=Callable[..., None])


@contextlib.contextmanager
def _stdlib_distutils() -> Iterator[None]:
    """Let `import distutils` find the standard library's, where there is one."""
    shim = sys.modules.get("_distutils_hack")
    if shim is None or sys.version_info >= (3, 12):
        yield
        return
    shim.remove_shim()
    try:
        yield
    finally:
        shim.add_shim()


@contextlib.contextmanager
def _quick_import() -> Iterator[None]:
    """No collector runs over half-made modules (20 ms), no notices about its age."""
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if was_collecting:
            gc.enable()


def _prepare_eventlet() -> None:
    os.environ["EVENTLET_NO_GREENDNS"] = "yes"
    os.environ["OSKEN_HUB_TYPE"] = "eventlet"
    wsgi = importlib.import_module("eventlet.wsgi")
    if not hasattr(wsgi, "ALREADY_HANDLED"):
        wsgi.ALREADY_HANDLED = object()  # type: ignore[attr-defined]


def _import_framework() -> types.ModuleType:
    """Import Ryu or its fork; raise ImportError naming why neither could be."""
    reasons = []
    for package in _PACKAGES:
        try:
            _prepare_eventlet()
            importlib.import_module(f"{package}.controller.ofp_handler")
            return importlib.import_module(package)
        except Exception as error:  # a broken Ryu fails with anything, not only ImportError
            reasons.append(f"{package}: {type(error).__name__}: {error}")
    raise ImportError(
        f"no OpenFlow controller can be imported ({'; '.join(reasons)}): run `make install`"
    )


with _quick_import(), _stdlib_distutils():
    _framework = _import_framework()


def _module(path: str) -> Any:
    return importlib.import_module(f"{_framework.__name__}.{path}")


#: Which one was taken ("ryu" or "os_ken"), and its version.
FRAMEWORK: str = _framework.__name__
FRAMEWORK_VERSION: str = getattr(_framework, "version", "") or _framework.__version__

app_manager: Any = _module("base.app_manager")
ofp_event: Any = _module("controller.ofp_event")
ofproto: Any = _module("ofproto.ofproto_v1_3")
parser: Any = _module("ofproto.ofproto_v1_3_parser")
hub: Any = _module("lib.hub")

AppManager: Any = app_manager.AppManager
RyuApp: Any = getattr(app_manager, "RyuApp", None) or app_manager.OSKenApp
OFPHandler: Any = _module("controller.ofp_handler").OFPHandler
EventBase: Any = _module("controller.event").EventBase
ProtocolDesc: Any = _module("ofproto.ofproto_protocol").ProtocolDesc
datapath_connection_factory: Any = _module("controller.controller").datapath_connection_factory
message_from_wire: Any = _module("ofproto.ofproto_parser").msg

_handler: Any = _module("controller.handler")
HANDSHAKE_DISPATCHER: str = _handler.HANDSHAKE_DISPATCHER
CONFIG_DISPATCHER: str = _handler.CONFIG_DISPATCHER
MAIN_DISPATCHER: str = _handler.MAIN_DISPATCHER
DEAD_DISPATCHER: str = _handler.DEAD_DISPATCHER


def set_ev_cls(
    event: Any, dispatchers: str | list[str] | None = None
) -> Callable[[_Handler], _Handler]:
    """Mark a method as the handler of an event, in these phases of a connection (None: all)."""
    mark: Callable[[_Handler], _Handler] = _handler.set_ev_cls(event, dispatchers)
    return mark


def wait_readable(descriptor: int) -> None:
    """Wait until `descriptor` can be read, letting the controller go on meanwhile.

    A descriptor that cannot be polled (a plain file, /dev/null) is always readable.
    """
    with contextlib.suppress(PermissionError):  # epoll's word for "always readable"
        importlib.import_module("eventlet.hubs").trampoline(descriptor, read=True)
