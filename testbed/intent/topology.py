"""A topology by name, by file, with ``--set`` on top, resolved to a ``ClosSpec``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from testbed.errors import UsageError, did_you_mean
from testbed.intent.names import NAME_RULE, is_name
from testbed.intent.raw import RawSettings, RawValue, apply_sets, read_yaml
from testbed.units import (
    format_rate_bps,
    format_size_bytes,
    format_time_ns,
    parse_rate_bps,
    parse_size_bytes,
    parse_time_ns,
)
from topologies.spec import ClosSpec, allowed
from topologies.spec import faults as spec_faults

DEFAULT_TOPOLOGY = "quad"
_MAX_FILE_CHARACTERS = 1_000_000
_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class _Key:
    """A key of the file: the field it sets, how it is read and written.

    ``stand_in`` is the default. Where the key is required or unreadable, a fault anyway,
    it lets the other values still be judged.
    """

    field: str
    parse: Callable[[str], object]
    write: Callable[[Any], object]
    stand_in: object
    is_required: bool = False


def _count(field: str) -> _Key:
    def parse(text: str) -> int:
        if not _INTEGER.fullmatch(text):
            raise ValueError(f"'{text}' is not a whole number, use {allowed(field)}")
        return int(text)

    return _Key(field, parse, int, 1, is_required=True)


def _parse_name(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"'{text}' is not allowed, use {NAME_RULE}")
    return text


def _parse_switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"'{text}' is not allowed, use true or false")
    return text == "true"


_KEYS: Mapping[str, _Key] = {
    "name": _Key("name", _parse_name, str, "unnamed"),
    "description": _Key("description", str, str, ""),
    "planes": _count("planes"),
    "t0_per_plane": _count("t0_per_plane"),
    "t1_per_plane": _count("t1_per_plane"),
    "hosts_per_t0": _count("hosts_per_t0"),
    "port_rate": _Key("port_rate_bps", parse_rate_bps, format_rate_bps, 10**11, True),
    "link_delay": _Key("link_delay_ns", parse_time_ns, format_time_ns, 1000, True),
    "mtu": _Key("mtu_bytes", parse_size_bytes, format_size_bytes, 9000),
    "payload": _Key("payload_bytes", parse_size_bytes, format_size_bytes, 4096),
    "dataplane": _Key("dataplane", str, str, "ovs"),
    "description_only": _Key("is_description_only", _parse_switch, bool, False),
}
_KEY_OF_FIELD = {key.field: name for name, key in _KEYS.items()}


def preset_names() -> tuple[str, ...]:
    """Names of the topologies that come with the testbed, sorted."""
    files = (resources.files("topologies") / "presets").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files))


def load_topology(name_or_path: str, sets: Sequence[str] = ()) -> ClosSpec:
    """The topology of this preset or YAML file, with ``key=value`` options laid over it.

    Raises UsageError that lists everything wrong at once.
    """
    raw = _read_source(name_or_path)
    apply_sets(raw, sets)
    spec = _resolve(raw, name_or_path)
    if raw.faults:
        raise UsageError(_joined(name_or_path, raw.faults))
    return spec


def topology_document(spec: ClosSpec) -> dict[str, object]:
    """The spec as the keys and values of a topology file; loading it gives the spec back."""
    return {name: key.write(getattr(spec, key.field)) for name, key in _KEYS.items()}


def _read_source(name_or_path: str) -> RawSettings:
    if name_or_path in preset_names():
        file = resources.files("topologies") / "presets" / f"{name_or_path}.yaml"
        return read_yaml(file.read_text(encoding="utf-8"), f"{name_or_path}.yaml")
    path = Path(name_or_path)
    looks_like_path = "/" in name_or_path or path.suffix in (".yaml", ".yml")
    if not looks_like_path:
        hint = did_you_mean(name_or_path, preset_names())
        raise UsageError(
            f"topology '{name_or_path}' does not exist{hint}: use "
            f"{', '.join(preset_names())} or the path of a YAML file"
        )
    return read_yaml(_read_file(path), name_or_path)


def _read_file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MAX_FILE_CHARACTERS + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"topology file {path} cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"topology file {path} is not text: save it as UTF-8") from error
    if len(text) > _MAX_FILE_CHARACTERS:
        raise UsageError(f"topology file {path} is too large: a dozen lines are expected")
    return text


def _resolve(raw: RawSettings, source: str) -> ClosSpec:
    """The spec these settings describe; adds to ``raw.faults`` what is wrong with them."""
    _reject_unknown_keys(raw)
    raw.values.setdefault("name", RawValue(Path(source).stem, source))
    fields: dict[str, Any] = {}
    for name, key in _KEYS.items():
        fields[key.field] = key.stand_in
        value = raw.values.get(name)
        if value is not None:
            try:
                fields[key.field] = key.parse(value.text)
            except ValueError as error:
                raw.faults.append(f"{value.where}: {name}: {error}")
        elif key.is_required and name not in raw.rejected:
            raw.faults.append(f"{source}: {name} is missing: add '{name}: ...'")
    spec = ClosSpec(**fields)
    _judge(raw, spec)
    return spec


def _judge(raw: RawSettings, spec: ClosSpec) -> None:
    for fault in spec_faults(spec):
        name = _KEY_OF_FIELD[fault.field]
        value = raw.values[name]
        raw.faults.append(
            f"{value.where}: {name}: {value.text} is not allowed, use {fault.allowed}"
        )


def _reject_unknown_keys(raw: RawSettings) -> None:
    for name in [name for name in raw.values if name not in _KEYS]:
        hint = did_you_mean(name, _KEYS)
        where = raw.values.pop(name).where
        remedy = "" if hint else f", the keys are {', '.join(_KEYS)}"
        raw.faults.append(f"{where}: there is no key '{name}'{hint or remedy}")


def _joined(source: str, faults: Sequence[str]) -> str:
    if len(faults) == 1:
        return faults[0]
    lines = "".join(f"\n  {fault}" for fault in faults)
    return f"topology {source} has {len(faults)} faults:{lines}"
