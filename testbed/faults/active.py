"""The set of active faults: putting one in, taking some out. Values, never changed."""

from __future__ import annotations

from testbed.errors import UsageError
from testbed.faults.actions import Action, fault_id
from testbed.faults.targets import Target

ActiveFaults = tuple[Action, ...]


def inject(active: ActiveFaults, action: Action) -> ActiveFaults:
    """The active faults with one more, newest last.

    Raises UsageError where the same kind of fault is active on the target already: it
    would be unclear which of the two a heal means.
    """
    name = fault_id(action)
    if name in (fault_id(other) for other in active):
        raise UsageError(f"fault {name} is active already: heal {action.target} first")
    return (*active, action)


def heal(active: ActiveFaults, target: Target | None) -> tuple[ActiveFaults, ActiveFaults]:
    """Split into (what stays, what is healed): every fault on ``target``, or all for None.

    The healed ones come newest first, the order in which they are undone. Raises
    UsageError where nothing is active on the target.
    """
    healed = tuple(a for a in reversed(active) if target is None or a.target == target)
    if target is not None and not healed:
        names = ", ".join(fault_id(action) for action in active) or "none"
        raise UsageError(f"no fault is active on {target}: active are {names}")
    return tuple(action for action in active if action not in healed), healed
