"""Puts what a run found out into its folder: the same for the fabric and the simulator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from testbed.analysis.fidelity import Verdict
from testbed.errors import TestbedError
from testbed.instance.runfolder import RunFolder

Tables = Mapping[str, Iterable[Mapping[str, Any]]]
"""Rows by the name of their table."""


def fill(folder: RunFolder, result: Mapping[str, Any], tables: Tables) -> None:
    """Events, the result document, and a file for every table. Raises TestbedError."""
    for event in result["events"]:
        folder.append_event(event)
    folder.write_result(result)
    if tables:
        # Imported where there is something to write: pandas would double this process.
        from testbed.analysis.tables import to_parquet

        for name, rows in tables.items():
            folder.write_table(name, to_parquet(name, rows))


def abandon(folder: RunFolder, why: object) -> None:
    """Close the folder of a run that was cut off, by an error or ``why``; it is said in it."""
    with contextlib.suppress(TestbedError, ValueError):
        folder.close("partial", Verdict("invalid", (str(why),)), datetime.now(UTC))
