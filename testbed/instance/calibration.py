"""What is known of this machine: kept per machine, topology and data plane."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Any

from testbed import __version__
from testbed.analysis.fidelity import limits
from testbed.errors import TestbedError
from testbed.intent.dilation import round_up_125
from topologies.numbers import base_rtt_ns
from topologies.spec import ClosSpec

_MARGIN = Fraction(3, 2)
CACHE = Path(os.environ.get("TESTBED_CACHE", "/var/cache/mrc-testbed"))


@dataclass(frozen=True, slots=True)
class Calibration:
    """The smallest time dilations at which a run was trusted that has one host, and every host,
    send at line rate; None where that was not tried yet."""

    pair_tdf: int | None = None
    all_tdf: int | None = None

    def covers(self, senders: int) -> bool:
        """Whether it says how fast time may run for so many senders (0: not asked)."""
        is_pair_known, is_all_known = self.pair_tdf is not None, self.all_tdf is not None
        return senders == 0 or (is_pair_known and (senders == 1 or is_all_known))

    def with_tdf(self, senders: int, tdf: int) -> Calibration:
        """Knowing this too: of one sender, or of all."""
        if senders == 1:
            return replace(self, pair_tdf=tdf)
        return replace(self, all_tdf=tdf)

    def tdf_for(self, spec: ClosSpec, senders: int, shortest_rtt_ns: int) -> int:
        """A TDF at which so many hosts may send at line rate; `covers` must say it is known.

        Some way above the smallest that was trusted, so that a moment's other load on the
        machine does not cost the verdict. What was tried was cross-T1: where the shortest
        round trip of the run is shorter, there is less room for being late. Of more than one
        sender what was measured with all is taken in proportion, but never less than for one.
        """
        assert self.pair_tdf is not None
        least = self.pair_tdf
        if senders != 1:
            assert self.all_tdf is not None
            least = max(least, -(-self.all_tdf * senders // spec.host_count))
        margin = max(_MARGIN, Fraction(base_rtt_ns(spec), shortest_rtt_ns))
        return round_up_125(ceil(least * margin))

    def to_dict(self) -> dict[str, Any]:
        """As JSON; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Calibration:
        """Read what `to_dict` wrote. Raises KeyError, TypeError or ValueError otherwise."""
        tdfs = (document["pair_tdf"], document["all_tdf"])
        return cls(*(None if tdf is None else int(tdf) for tdf in tdfs))


def fingerprint(spec: ClosSpec, dataplane: str) -> dict[str, Any]:
    """What a calibration depends on: it holds as long as none of this changes."""
    return {
        "cpu": _cpu_model(), "cores": os.cpu_count(), "kernel": os.uname().release,
        "testbed": __version__, "trusted": limits(), "dataplane": dataplane,
        "topology": asdict(spec),
    }


def load(mark: Mapping[str, Any], cache: Path = CACHE) -> Calibration | None:
    """What was measured under the same circumstances, None where nothing was."""
    try:
        document = json.loads(_file(mark, cache).read_text())
        return Calibration.from_dict(document["calibration"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # absent, or half written: measure again


def store(mark: Mapping[str, Any], calibration: Calibration, cache: Path = CACHE) -> None:
    """Keep a calibration. Raises TestbedError where it cannot be written."""
    file = _file(mark, cache)
    unfinished = file.with_suffix(".new")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(
            json.dumps({"of": mark, "calibration": calibration.to_dict()}, indent=2))
        unfinished.replace(file)
    except OSError as error:
        raise TestbedError(f"the calibration cannot be kept in {cache} ({error.strerror}): "
                           "make room, or name another folder in TESTBED_CACHE") from error


def _file(mark: Mapping[str, Any], cache: Path) -> Path:
    digest = sha256(json.dumps(mark, sort_keys=True).encode()).hexdigest()[:16]
    return cache / f"{mark['topology']['name']}-{digest}.json"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return os.uname().machine
