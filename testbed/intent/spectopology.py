"""The topology a spec file is for, and whether an instance is just that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.errors import UsageError, did_you_mean
from testbed.intent.options import require_none
from testbed.intent.topology import load_topology, preset_names, topology_document
from topologies.spec import ClosSpec


def topology_of(document: Mapping[str, Any]) -> ClosSpec | None:
    """The topology a document is for: a name, or every key `topology_document` writes.

    None where it does not say. Raises UsageError that lists everything wrong.
    """
    about = document.get("topology")
    if about is None or isinstance(about, str):
        return None if about is None else load_topology(about)
    if not isinstance(about, Mapping):
        raise UsageError("topology: this is neither a name nor a list of keys: write one like "
                         "'topology: quad'")
    base = preset_names()[0]
    known = list(topology_document(load_topology(base)))
    require_none([f"topology: there is no key '{key}'{did_you_mean(str(key), known)}"
                  for key in about if key not in known])
    missing = [key for key in known if key not in about]
    if len(missing) > 1:
        raise UsageError(f"topology: {', '.join(missing)} are missing: write every key, or a name "
                         f"like 'topology: {base}'")
    require_none([f"topology: {key} is missing: add '{key}: ...'" for key in missing])
    sets = [f"{key}={_plain(value)}" for key, value in about.items()]
    try:
        return load_topology(base, sets)
    except UsageError as error:
        text = str(error)
        for each in sets:
            text = text.replace(f"--set {each}: ", "topology: ")
        raise UsageError(text) from None


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def require_topology(document: Mapping[str, Any], spec: ClosSpec,
                     instance: str = "default") -> None:
    """Raises UsageError where a document is for another topology than this instance's.

    The name and everything else must agree, but for the description.
    """
    wanted = topology_of(document)
    if wanted is None:
        return
    due, there = topology_document(wanted), topology_document(spec)
    differing = [key for key in due if key != "description" and due[key] != there[key]]
    if not differing:
        return
    told = wanted.name
    if "name" not in differing:
        told += " with " + ", ".join(f"{key} {_plain(due[key])}" for key in differing)
    raise UsageError(f"this spec is for {told}, but instance '{instance}' is {spec.name}"
                     f"{_contrast(differing, there)}: run `{_up(wanted)}` first")


def _contrast(differing: list[str], there: Mapping[str, object]) -> str:
    if "name" in differing:
        return ""
    return " with " + ", ".join(f"{key} {_plain(there[key])}" for key in differing)


def _up(wanted: ClosSpec) -> str:
    """The command that builds this topology: a preset, changed where it must be."""
    base = wanted.name if wanted.name in preset_names() else preset_names()[0]
    there, due = topology_document(load_topology(base)), topology_document(wanted)
    sets = "".join(f" --set {key}={_plain(due[key])}" for key in due
                   if key != "description" and due[key] != there[key])
    return f"testbed up {base}{sets}"
