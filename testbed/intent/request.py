"""What `up` was asked for, resolved: written beside the instance, read by its process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from topologies.spec import ClosSpec


@dataclass(frozen=True, slots=True)
class UpRequest:
    """One instance to bring up: its name, topology (with data plane) and default TDF."""

    name: str
    spec: ClosSpec
    tdf: int
    tdf_is_assumed: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> UpRequest:
        """Read what `to_dict` wrote."""
        return cls(**{**document, "spec": ClosSpec(**document["spec"])})
