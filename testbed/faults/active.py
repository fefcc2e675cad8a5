"""The set of active faults: putting one in, taking some out. Values, never changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from testbed.errors import UsageError, did_you_mean
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


def heal_named(
    active: ActiveFaults, names: Iterable[str]
) -> tuple[ActiveFaults, ActiveFaults]:
    """Split like `heal`, the healed being the faults of these names (`fault_id`).

    Raises UsageError where one of them is not active.
    """
    wanted = frozenset(names)
    known = {fault_id(action): action for action in active}
    for name in sorted(wanted - known.keys()):
        raise UsageError(
            f"fault {name} is not active{did_you_mean(name, known)}: active are "
            f"{', '.join(known) or 'none'}"
        )
    staying = tuple(action for name, action in known.items() if name not in wanted)
    return staying, tuple(known[name] for name in reversed(known) if name in wanted)


def move(
    active: ActiveFaults, injects: Sequence[Action], heals: Iterable[str]
) -> tuple[ActiveFaults, ActiveFaults]:
    """Heal these names, then inject these: (what is active then, what was healed).

    What is healed may be injected again at once, with another ratio for example. Raises
    UsageError as `heal_named` and `inject` do.
    """
    staying, healed = heal_named(active, heals)
    for action in injects:
        staying = inject(staying, action)
    return staying, healed
