"""Reading plans of workloads, which travel as JSON; the error of this package."""

from __future__ import annotations

from testbed import fields
from testbed.errors import UsageError


class WorkloadError(UsageError):
    """What a workload was asked for, or told by its peers, is not valid."""


class Fields(fields.Fields):
    """One JSON object; faults raise WorkloadError."""

    error = WorkloadError
