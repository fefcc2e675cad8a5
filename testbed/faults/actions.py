"""What can be done to a target. Every action states how it is undone and what proves it bit.

Semantics (fabric.md, "What a fault is"): a link, port or blackholed switch drops and
counts with links up, and no host notices; a NIC link or a crashed switch also takes the
carrier away from the hosts it serves; loss, corruption and one EV act in the port
program, seeded; a host is its agent. Denying an EV and disabling a port are what the
controller of a host does (facts sheet 7.3, 7.8): no frame is dropped for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from testbed.errors import UsageError, did_you_mean
from testbed.faults.targets import (
    EvTarget,
    HostTarget,
    LinkTarget,
    NicTarget,
    PlaneTarget,
    PortTarget,
    SwitchTarget,
    Target,
)

LinkLike = NicTarget | LinkTarget | PortTarget | PlaneTarget
PortLike = LinkLike | SwitchTarget

@dataclass(frozen=True, slots=True)
class LinkDown:
    """The link is cut: all frames dropped; on NIC links the host sees NO-CARRIER."""

    target: LinkLike
    kind: ClassVar[str] = "down"
    undo: ClassVar[str] = "carrier comes back first, then frames pass again"

    @property
    def evidence(self) -> str:
        """Which counter or state shows that it bit."""
        counted = f"the blackhole counter of the ports of {self.target} rises"
        if isinstance(self.target, NicTarget | PlaneTarget):
            return f"the NIC reports NO-CARRIER, or {counted}"
        return counted


@dataclass(frozen=True, slots=True)
class SwitchCrash:
    """The switch is gone: nothing passes and its NIC links lose carrier."""

    target: SwitchTarget
    kind: ClassVar[str] = "crash"
    undo: ClassVar[str] = "carrier comes back first, then frames pass again"

    @property
    def evidence(self) -> str:
        """Which counter or state shows that it bit."""
        return (
            f"the blackhole counters of {self.target.switch} rise, or its hosts report "
            "NO-CARRIER"
        )


@dataclass(frozen=True, slots=True)
class SwitchBlackhole:
    """The switch drops everything while all its links stay up."""

    target: SwitchTarget
    kind: ClassVar[str] = "blackhole"
    undo: ClassVar[str] = "frames pass again"

    @property
    def evidence(self) -> str:
        """Which counter or state shows that it bit."""
        return f"the blackhole counters of {self.target.switch} rise"


@dataclass(frozen=True, slots=True)
class Loss:
    """Frames are lost at random with ``ratio`` (0 exclusive to 1) at each egress meant."""

    target: PortLike
    ratio: float
    kind: ClassVar[str] = "loss"
    undo: ClassVar[str] = "no more frames are lost"

    @property
    def evidence(self) -> str:
        """Which counter or state shows that it bit."""
        return f"the loss counters of the ports of {self.target} rise"


@dataclass(frozen=True, slots=True)
class Corrupt:
    """One bit of a data frame's payload flips with ``ratio`` at each egress meant."""

    target: PortLike
    ratio: float
    kind: ClassVar[str] = "corrupt"
    undo: ClassVar[str] = "no more frames are corrupted"

    @property
    def evidence(self) -> str:
        """Which counter or state shows that it bit."""
        return f"the corrupted counters of the ports of {self.target} rise"


@dataclass(frozen=True, slots=True)
class EvLoss:
    """Frames of one EV between two hosts are lost with ``ratio``; 1.0 is a dead EV."""

    target: EvTarget
    ratio: float = 1.0
    kind: ClassVar[str] = "loss"
    undo: ClassVar[str] = "the EV's frames pass again"

    @property
    def evidence(self) -> str:
        """Which counter or state shows that it bit."""
        return f"the EV drop counter of {self.target} at its first switch rises"


@dataclass(frozen=True, slots=True)
class HostPause:
    """The host's agent is stopped (SIGSTOP): it neither sends nor answers."""

    target: HostTarget
    kind: ClassVar[str] = "pause"
    undo: ClassVar[str] = "the agent continues (SIGCONT)"

    @property
    def evidence(self) -> str:
        """Which counter or state shows that it bit."""
        return f"the agent's process of {self.target} is in state T (stopped)"


@dataclass(frozen=True, slots=True)
class HostKill:
    """The host's agent is killed (SIGKILL), its memory lost."""

    target: HostTarget
    kind: ClassVar[str] = "kill"
    undo: ClassVar[str] = "a new agent is started"

    @property
    def evidence(self) -> str:
        """Which counter or state shows that it bit."""
        return f"the agent's process of {self.target} has ended"


@dataclass(frozen=True, slots=True)
class EvDeny:
    """The source host's controller denies one EV towards one host: no data takes it."""

    target: EvTarget
    kind: ClassVar[str] = "deny"
    undo: ClassVar[str] = "the controller sets the EV to GOOD"

    @property
    def evidence(self) -> str:
        """Which counter or state shows that it bit."""
        return f"{self.target} is DENIED in the queue pairs of its source"


@dataclass(frozen=True, slots=True)
class PortDisable:
    """The host's controller disables the port: unused both ways, carrier stays."""

    target: NicTarget
    kind: ClassVar[str] = "disable"
    undo: ClassVar[str] = "the controller enables the port"

    @property
    def evidence(self) -> str:
        """Which counter or state shows that it bit."""
        return f"the device says that port {self.target} is disabled"


Action = (
    LinkDown | SwitchCrash | SwitchBlackhole | Loss | Corrupt | EvLoss | EvDeny | PortDisable
    | HostPause | HostKill
)  # fmt: skip

# By target; the first kind of each is what happens when none is named.
_LINK_ACTIONS: Mapping[str, Callable[..., Action]] = {
    "down": LinkDown, "loss": Loss, "corrupt": Corrupt,
}  # fmt: skip
_ACTIONS: Mapping[type[Target], Mapping[str, Callable[..., Action]]] = {
    NicTarget: {**_LINK_ACTIONS, "disable": PortDisable},
    LinkTarget: _LINK_ACTIONS,
    PortTarget: _LINK_ACTIONS,
    PlaneTarget: _LINK_ACTIONS,
    SwitchTarget: {
        "crash": SwitchCrash, "blackhole": SwitchBlackhole, "loss": Loss, "corrupt": Corrupt,
    },
    EvTarget: {"loss": EvLoss, "deny": EvDeny},
    HostTarget: {"pause": HostPause, "kill": HostKill},
}  # fmt: skip
ACTION_KINDS = (
    "down", "crash", "blackhole", "loss", "corrupt", "deny", "disable", "pause", "kill",
)  # fmt: skip
RATIO_KINDS = ("loss", "corrupt")


def make_action(target: Target, kind: str | None = None, ratio: float | None = None) -> Action:
    """The action of this kind (default: the plainest one) on a target.

    ``ratio``, 0 exclusive to 1, belongs to loss and corrupt; loss of an EV defaults to
    1. Raises UsageError where the kind does not exist, does not fit, or the ratio is
    missing, superfluous or out of range.
    """
    kind = kind or next(iter(_ACTIONS[type(target)]))
    action = _action_class(target, kind)
    if kind not in RATIO_KINDS:
        if ratio is not None:
            raise UsageError(f"'{kind}' of {target} takes no ratio: leave {ratio:g} away")
        return action(target)
    if ratio is None and isinstance(target, EvTarget):
        return action(target)
    if ratio is None:
        raise UsageError(f"'{kind}' of {target} needs a ratio: give one like 5%")
    if not 0 < ratio <= 1:
        raise UsageError(f"'{kind}' of {target} cannot be {ratio:g}: use above 0% to 100%")
    return action(target, ratio)


def fault_id(action: Action) -> str:
    """The name of an active fault: ``link:p1-t0-0:p1-t1-3#down``."""
    return f"{action.target}#{action.kind}"


def _action_class(target: Target, kind: str) -> Callable[..., Action]:
    if kind not in ACTION_KINDS:
        hint = did_you_mean(kind, ACTION_KINDS)
        raise UsageError(f"fault '{kind}' does not exist{hint}: {', '.join(ACTION_KINDS)} do")
    fitting = _ACTIONS[type(target)]
    if kind not in fitting:
        raise UsageError(f"{target} cannot suffer '{kind}': use {' or '.join(fitting)}")
    return fitting[kind]
