"""Runs of an instance, one at a time: started by a client, followed by whoever asks.

A run goes on when its client has gone, and ends with a result, or with the error it ended
in; both stay until the next run begins.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed.analysis.fidelity import Verdict
from testbed.errors import InstanceError, TestbedError, UsageError
from testbed.instance.activerun import ActiveRun
from testbed.instance.calibration import Calibration
from testbed.instance.calibrator import Calibrator
from testbed.instance.fleetrun import RunPlan
from testbed.instance.layout import CHECKOUT
from testbed.instance.measured import Measured, measure
from testbed.instance.order import LATENCY_TDF, Order, order_of
from testbed.instance.runfolder import Owner, RunFolder, provenance, require_place
from testbed.instance.runresult import result_document
from testbed.instance.testbed import Testbed
from testbed.intent.dilation import require_drainable, round_up_125
from testbed.intent.run import from_document, require_hosts
from testbed.intent.topology import topology_document
from testbed.transport.mrc.choices import (
    DEFAULT_EXP_COUNT,
    DEFAULT_LINEAR_COUNT,
    DEFAULT_TIMEOUT,
)
from testbed.transport.mrc.reliability.retry import RetrySchedule
from topologies.numbers import base_rtt_ns
from workloads.job import Job

_RETRY_BUDGET_NS = RetrySchedule(
    DEFAULT_TIMEOUT, DEFAULT_LINEAR_COUNT, DEFAULT_EXP_COUNT).budget_ns or 0
_DRAIN_AT_LEAST_S = 2.0


class Runs:
    """Starts and follows the runs of one testbed. Thread-safe."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self._spec = testbed.request.spec
        self._lock = threading.Lock()
        self._active: ActiveRun | None = None
        self._number = 0  # of runs, for people
        self._epoch = 0  # of runs and trials: each has random sequences of its own
        self._is_calibrating = False
        self._calibrator = Calibrator(testbed, self._next_epoch)

    # --- requests ------------------------------------------------------------------

    def start(self, document: Mapping[str, Any], folder: str, owner: Owner) -> int:
        """Begin what a command line asked for; the run's number. See `begin`."""
        request = from_document(document)
        require_hosts(request, self._spec)
        return self.begin(order_of(request, self._spec), folder, owner)

    def start_job(self, job: Mapping[str, Any], tdf: int, folder: str, owner: Owner) -> int:
        """Begin a planned job at this TDF; the run's number. See `begin`."""
        planned = Job.from_params(job)
        for index in planned.hosts:
            if index >= self._spec.host_count:
                raise UsageError(f"host h{index} does not exist: {self._spec.name} has h0 to "
                                 f"h{self._spec.host_count - 1}")
        document = {"workload": planned.kind, **planned.parameters}
        return self.begin(Order(planned.kind, planned, document, tdf), folder, owner)

    def begin(self, order: Order, folder: str, owner: Owner) -> int:
        """Carry an order out in the background; its folder is made inside ``folder``.

        Raises UsageError where its TDF is not possible, InstanceError while another run
        is under way.
        """
        if order.tdf != "auto":
            require_drainable(self._spec, order.tdf)
        with self._lock:
            self._require_idle()
            require_place(Path(folder), owner)
            self._number += 1
            self._active = active = ActiveRun(self._number, order)
        threading.Thread(target=self._execute, args=(active, Path(folder), owner), daemon=True,
                         name=f"run-{active.number}").start()
        return active.number

    def state(self, number: int) -> dict[str, Any]:
        """How far a run is; with its result, or raising its error, when it is over.

        Raises UsageError where it is not the last one.
        """
        active = self._named(number)
        if active.error is not None:
            raise active.error
        return {**active.describe(), "result": active.result}

    def stop(self, number: int) -> None:
        """End a run early; what is under way is finished, and there is a result."""
        self._named(number).stop()

    def set_tdf(self, tdf: int) -> None:
        """Run the fabric at this TDF until the next run; for benchmarks of bare frames.

        Raises UsageError where ports cannot drain so fast, InstanceError while a run is on.
        """
        require_drainable(self._spec, tdf)
        with self._lock:
            self._require_idle()
            self._testbed.set_tdf(tdf, self._next_epoch(), {})

    def calibrate(self, senders: int) -> dict[str, Any]:
        """What is known of this machine, with the smallest trusted TDF for so many senders (1,
        or all hosts), measured anew. Raises InstanceError while a run is on."""
        with self._lock:
            self._require_idle()
            self._is_calibrating = True
        try:
            return self._calibrator.know(senders, lambda _words: None, is_anew=True).to_dict()
        finally:
            self._is_calibrating = False

    def summary(self) -> dict[str, Any] | None:
        """The run under way, or what came of the last one; None before the first."""
        active = self._active
        if active is None:
            return None
        verdict = active.result["verdict"] if active.result else None
        return {**active.describe(), "verdict": verdict, "hosts": active.host_rows(),
                "error": None if active.error is None else str(active.error)}

    @property
    def is_busy(self) -> bool:
        """A run is under way."""
        is_running = self._active is not None and not self._active.is_over
        return is_running or self._is_calibrating

    def _require_idle(self) -> None:
        active = self._active
        if self._is_calibrating:
            raise InstanceError(f"instance '{self._testbed.request.name}' is busy: it is being "
                                "calibrated, try again in a moment")
        if active is not None and not active.is_over:
            raise InstanceError(
                f"instance '{self._testbed.request.name}' is busy with run {active.number} "
                f"({active.order.what}): wait for it, or end it with Ctrl-C where it was started")

    def _named(self, number: int) -> ActiveRun:
        active = self._active
        if active is None or active.number != number:
            raise UsageError(f"run {number} is not the last one of this instance: look at its "
                             "folder")
        return active

    def _next_epoch(self) -> int:
        self._epoch += 1
        return self._epoch

    # --- a run ---------------------------------------------------------------------

    def _execute(self, active: ActiveRun, parent: Path, owner: Owner) -> None:
        try:
            active.result = self._run(active, parent, owner)
            active.phase = "done"
        except TestbedError as error:
            active.error, active.phase = error, "failed"
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            active.error = TestbedError(f"the run failed inside the instance ({error!r}); see its "
                                        f"log {self._testbed.layout.log}")
            active.phase = "failed"

    def _run(self, active: ActiveRun, parent: Path, owner: Owner) -> dict[str, Any]:
        order = active.order
        known = self._calibrated(active)
        active.tdf = self._tdf(order, known)
        active.phase = "preparing"
        folder = self._folder(active, parent, owner)
        try:
            self._begin_folder(folder, active)
            plan = RunPlan(
                self._next_epoch(), order.job.seed, active.tdf, order.job, known.transit_ns,
                drain_s=_DRAIN_AT_LEAST_S + _RETRY_BUDGET_NS * active.tdf / 1e9,
                captures=folder.subfolder("pcap") if order.is_captured else None,
                snap_bytes=order.snap_bytes)
            measured = measure(self._testbed, plan, active.on_progress, active.on_begin)
            active.phase = "finishing"
            result = result_document(self._testbed, order, plan, measured)
            result |= {"folder": str(folder.path), "calibration": known.to_dict()}
            _fill(folder, result, measured)
        except BaseException as error:
            _abandon(folder, error)
            raise
        finally:
            self._testbed.layout.open_run.unlink(missing_ok=True)
        return result

    def _folder(self, active: ActiveRun, parent: Path, owner: Owner) -> RunFolder:
        order = active.order
        made_with = provenance(self._testbed.fabric.describe_dataplane(), order.job.seed,
                               active.tdf, CHECKOUT)
        return RunFolder.make(parent, order.what, owner, made_with, datetime.now(UTC))

    def _begin_folder(self, folder: RunFolder, active: ActiveRun) -> None:
        self._testbed.layout.open_run.write_text(str(folder.path))
        folder.write_spec({**active.order.document, "tdf": active.tdf,
                           "topology": topology_document(self._spec)})

    # --- time dilation -------------------------------------------------------------

    def _tdf(self, order: Order, known: Calibration) -> int:
        if order.tdf != "auto":
            return order.tdf
        asked = self._testbed.request
        if not asked.tdf_is_assumed:
            return asked.tdf
        if not order.is_bandwidth:
            return LATENCY_TDF
        # What was tried was cross-T1; a shorter round trip leaves less room for being late.
        tdf = known.tdf_for(self._spec, order.senders)
        shortest_ns = base_rtt_ns(self._spec, not order.has_local_paths)
        return round_up_125(-(-tdf * base_rtt_ns(self._spec) // shortest_ns))

    def _calibrated(self, active: ActiveRun) -> Calibration:
        """What the run needs to know of this machine: known, kept from before, or measured."""
        order = active.order
        is_chosen = order.tdf != "auto" or not self._testbed.request.tdf_is_assumed
        senders = 0 if is_chosen or not order.is_bandwidth else order.senders

        def tell(words: str) -> None:
            active.phase = "calibrating"
            active.notes.append(words)

        return self._calibrator.know(senders, tell, is_anew=order.recalibrate,
                                     is_stopping=lambda: active.is_stopping)


def _fill(folder: RunFolder, result: Mapping[str, Any], measured: Measured) -> None:
    for event in result["events"]:
        folder.append_event(event)
    folder.write_fidelity(measured.evidence.to_document())
    folder.write_result(result)
    is_whole = measured.outcome.is_settled and not measured.outcome.is_stopped
    folder.close("complete" if is_whole else "partial", measured.verdict, datetime.now(UTC))


def _abandon(folder: RunFolder, error: BaseException) -> None:
    """Close the folder of a run that was cut off; what is missing is said in it."""
    with contextlib.suppress(TestbedError, ValueError):
        folder.close("partial", Verdict("invalid", (str(error),)), datetime.now(UTC))
