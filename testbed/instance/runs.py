"""Runs of an instance, one at a time: started by a client, followed by whoever asks.

A run goes on when its client has gone, and ends with a result, or with the error it ended
in; both stay until the next run begins.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed.errors import InstanceError, TestbedError, UsageError
from testbed.faults.desired import desired_state
from testbed.faults.script import Script, faults_of, require_sense
from testbed.instance.activerun import ActiveRun
from testbed.instance.calibration import Calibration
from testbed.instance.calibrator import Calibrator
from testbed.instance.collecting import Collector
from testbed.instance.filling import abandon, fill
from testbed.instance.fleetrun import RunPlan
from testbed.instance.layout import CHECKOUT
from testbed.instance.measured import measure
from testbed.instance.order import LATENCY_TDF, Order, order_of
from testbed.instance.runfolder import Owner, RunFolder, provenance, require_place
from testbed.instance.runresult import result_document
from testbed.instance.sampling import sample_interval_ns
from testbed.instance.testbed import Testbed
from testbed.intent.dilation import require_drainable
from testbed.intent.topology import topology_document
from testbed.intent.workload import from_document
from testbed.metrics.rows import merged
from testbed.metrics.tables import tables_of
from testbed.transport.mrc.choices import (
    DEFAULT_EXP_COUNT,
    DEFAULT_LINEAR_COUNT,
    DEFAULT_TIMEOUT,
)
from testbed.transport.mrc.reliability.retry import RetrySchedule
from topologies.names import host_name
from topologies.numbers import base_rtt_ns
from workloads.job import Job

RETRY_BUDGET_NS = RetrySchedule(
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

    def start(self, document: Mapping[str, Any], folder: str, owner: Owner,
              script: Script = (), what: str | None = None) -> int:
        """Begin what a command line asked for; the run's number. See `begin`.

        ``script`` is what happens meanwhile; ``what`` names the run where its workload does not.
        Raises InstanceError where there is a script and faults are in force already.
        """
        require_sense(script)
        if script:
            self._require_whole()
        desired_state(self._testbed.graph, [action for _, action in faults_of(script)])
        order = order_of(from_document(document, self._spec), self._spec)
        return self.begin(replace(order, script=script, what=what or order.what), folder, owner)

    def start_job(self, job: Mapping[str, Any], tdf: int, folder: str, owner: Owner) -> int:
        """Begin a planned job at this TDF; the run's number. See `begin`.

        What was asked for is not known of it, so the spec in its folder says what was planned,
        under `planned`, and cannot be run again.
        """
        planned = Job.from_params(job)
        for index in planned.hosts:
            if index >= self._spec.host_count:
                raise UsageError(f"host h{index} does not exist: {self._spec.name} has h0 to "
                                 f"h{self._spec.host_count - 1}")
        document = {"planned": planned.kind, **planned.parameters}
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

    def _require_whole(self) -> None:
        """What a script does is judged against a fabric on which nothing else is broken."""
        if found := self._testbed.injector.in_force:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            raise InstanceError(
                f"instance '{self._testbed.request.name}' has faults in force "
                f"({', '.join(found[:3])}{more}), and a script needs it without: use `heal` first")

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
            if active.unhealed:  # under the class that clients know
                known = next(kind for kind in type(error).__mro__
                             if kind.__module__ == TestbedError.__module__)
                error = known(_with(error, active.unhealed))
            active.error = error
            active.phase = "failed"
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            active.error = TestbedError(_with(
                f"the run failed inside the instance ({error!r}); see its log "
                f"{self._testbed.layout.log}", active.unhealed))
            active.phase = "failed"

    def _run(self, active: ActiveRun, parent: Path, owner: Owner) -> dict[str, Any]:
        order = active.order
        known = self._calibrated(active)
        active.tdf = self._tdf(order, known)
        active.phase = "preparing"
        folder = self._folder(active, parent, owner)
        collector = self._collector(order, active.tdf)
        try:
            self._begin_folder(folder, active)
            epoch = self._next_epoch()
            transit_ns = self._transit_ns(order, active.tdf, epoch)
            plan = RunPlan(
                epoch, order.job.seed, active.tdf, order.job, transit_ns,
                drain_s=_DRAIN_AT_LEAST_S + RETRY_BUDGET_NS * active.tdf / 1e9,
                captures=folder.subfolder("pcap") if order.is_captured else None,
                snap_bytes=order.snap_bytes, script=order.script,
                records=collector.folder, sample_ns=collector.sample_ns,
                pace=order.pace)
            measured = measure(
                self._testbed, plan, active.on_progress, active.on_begin, collector)
            active.phase = "finishing"
            result = result_document(self._testbed, order, plan, measured)
            result |= {"folder": str(folder.path), "calibration": known.to_dict()}
            folder.write_fidelity(measured.evidence.to_document())
            collector.fetch(measured.outcome.results)
            fill(folder, result, merged(collector.tables(), tables_of(result)))
            is_whole = measured.outcome.is_settled and not measured.outcome.is_stopped
            folder.close("complete" if is_whole else "partial", measured.verdict,
                         datetime.now(UTC))
        except BaseException as error:
            collector.leave(folder.path)
            abandon(folder, _with(error, active.unhealed))
            raise
        finally:
            self._testbed.layout.open_run.unlink(missing_ok=True)
            collector.clear()
        return result

    def _collector(self, order: Order, tdf: int) -> Collector:
        testbed = self._testbed
        return Collector(
            testbed.layout.rows, testbed.fabric, testbed.hosts,
            [host_name(index) for index in order.job.hosts],
            sample_interval_ns(order.job, self._spec, order.sample_ns), tdf)

    def _folder(self, active: ActiveRun, parent: Path, owner: Owner) -> RunFolder:
        order = active.order
        made_with = provenance(self._testbed.fabric.describe_dataplane(), order.job.seed,
                               active.tdf, CHECKOUT)
        return RunFolder.make(parent, order.what, owner, made_with, datetime.now(UTC))

    def _begin_folder(self, folder: RunFolder, active: ActiveRun) -> None:
        self._testbed.layout.open_run.write_text(str(folder.path))
        folder.write_spec({**active.order.document, "tdf": active.tdf,
                           "topology": topology_document(self._spec)})

    # --- time ----------------------------------------------------------------------

    def _transit_ns(self, order: Order, tdf: int, epoch: int) -> Mapping[int, int]:
        """How long frames take now, under the time dilation of the run and at its pace."""
        transit = self._testbed.transit
        self._testbed.set_tdf(tdf, epoch, transit.last_ns)
        return transit.know(order.pace, order.job.link_counts)

    def _tdf(self, order: Order, known: Calibration) -> int:
        if order.tdf != "auto":
            return order.tdf
        asked = self._testbed.request
        if not asked.tdf_is_assumed:  # chosen for bandwidth; whoever wants less says so per run
            return asked.tdf if order.is_bandwidth else max(asked.tdf, LATENCY_TDF)
        if not order.is_bandwidth:
            return LATENCY_TDF
        return known.tdf_for(self._spec, order.senders,
                             base_rtt_ns(self._spec, not order.has_local_paths))

    def _calibrated(self, active: ActiveRun) -> Calibration:
        """What the run needs to know of this machine: known, kept from before, or measured."""
        order = active.order
        is_chosen = order.tdf != "auto" or not self._testbed.request.tdf_is_assumed
        senders = 0 if is_chosen or not order.is_bandwidth else order.senders

        def tell(words: str) -> None:
            active.phase = "calibrating"
            active.notes.append(words)

        if order.recalibrate and not senders:
            active.notes.append("--recalibrate has nothing to measure: the time dilation of this "
                                "run is not one that is calibrated")
        return self._calibrator.know(senders, tell, is_anew=order.recalibrate and senders > 0,
                                     is_stopping=lambda: active.is_stopping)


def _with(error: object, unhealed: Sequence[str]) -> str:
    """An error, and what it left behind."""
    return "; ".join([str(error), *unhealed])
