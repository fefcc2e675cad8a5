"""One job on the agents of an instance, from `prepare` to results (design.md section 3).

Agents prepare and tell each other, through here, how to reach them; emulated time 0 is set
ahead; the run ends when every host reports that it is done. Then nothing is posted any
more, what is under way is finished, and results are collected. A host that does not answer
is waited for as long as another still works: its peers' queue pairs notice by themselves,
within their retry budget, and the run says who was silent and why. Where no host can finish
without the others neither it, nor one that another has found lost, is waited for any longer than
that budget.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.agent.runs import RunOrder
from testbed.errors import TestbedError
from testbed.faults.script import Script, silenced_hosts
from testbed.instance.hosts import STATE_WORDS, Hosts
from testbed.instance.jointresult import loss_sentences
from testbed.instance.transit import Pace
from topologies.names import host_name
from workloads.job import Job

LEAD_S = 0.2  # between the last `connect` and emulated time 0
_LEAD_PER_HOST_S = 0.01
_POLL_S = 0.1
_ANSWER_PATIENCE_S = 1.0
_CALL_PATIENCE_S = 30.0
_SILENT_S = 3.0  # of a host after all others are done
_SETTLE_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What is run. ``captures`` is a folder; ``drain_s`` bounds the wait for what is under way.

    ``script`` is what happens meanwhile. ``records``: the folder in which hosts leave their
    rows, a sample every ``sample_ns``; None where nothing is recorded. ``pace``: at which
    transit is measured again after it; None where that is not.
    """

    number: int
    seed: int
    tdf: int
    job: Job
    transit_ns: Mapping[int, int]
    drain_s: float
    captures: Path | None = None
    snap_bytes: int = 256
    script: Script = ()
    records: Path | None = None
    sample_ns: int | None = None
    pace: Pace | None = None


@dataclass(slots=True)
class Outcome:
    """What came of a run, by host name; ``failures`` are sentences for people, ``foretold`` such
    of hosts that the script itself stopped or killed.

    ``silent`` says of the hosts without results why there are none.
    """

    results: dict[str, Any] = field(default_factory=dict)
    verified: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    foretold: list[str] = field(default_factory=list)
    silent: dict[str, str] = field(default_factory=dict)
    is_settled: bool = False
    is_stopped: bool = False
    zero_ns: int = 0
    wall_s: float = 0.0


OnProgress = Callable[[Mapping[str, Any]], None]
"""Told what every host that answers last said of itself, a few times a second."""
OnStart = Callable[[int], None]
"""Told CLOCK_MONOTONIC of emulated time 0, a moment ahead of it."""


class FleetRun:
    """Runs one plan. `stop` may be called from any thread, everything else from one."""

    def __init__(self, hosts: Hosts, plan: RunPlan, on_progress: OnProgress,
                 on_start: OnStart = lambda _zero_ns: None) -> None:
        self._hosts, self._plan, self._on_progress = hosts, plan, on_progress
        self._on_start = on_start
        self._names = [host_name(index) for index in plan.job.hosts]
        self._stop_wanted = threading.Event()
        self._silent_since_s: dict[str, float] = {}
        self._lost_since_s: float | None = None  # when an answer first named a lost rank
        self._outcome = Outcome()

    def stop(self) -> None:
        """End it early: nothing more is posted, what is under way is finished."""
        self._stop_wanted.set()

    def run(self) -> Outcome:
        """From beginning to end. Raises TestbedError where it cannot even begin."""
        try:
            self._prepare()
            self._outcome.zero_ns = self._start()
            began_s = time.monotonic()
            self._follow()
            self._outcome.wall_s = time.monotonic() - began_s
            self._drain()
            self._collect()
        finally:
            self._ask("release", self._to_all({}))
        return self._outcome

    # --- beginning -----------------------------------------------------------------

    def _prepare(self) -> None:
        answers = self._require("prepare", {
            host_name(index): self._order(index).to_params() for index in self._plan.job.hosts})
        told = {self._index(name): answer["ends"] for name, answer in answers.items()}
        self._require("connect", {
            host_name(index): {"ends": list(remote.values())}
            for index, remote in self._plan.job.swap(told).items()})

    def _order(self, index: int) -> RunOrder:
        plan = self._plan
        host = plan.job.hosts[index]
        return RunOrder(plan.number, plan.seed, plan.tdf, plan.transit_ns, host.ends,
                        host.program, plan.captures, plan.snap_bytes, host.shared_bytes,
                        plan.records, plan.sample_ns)

    def _start(self) -> int:
        lead_s = LEAD_S + _LEAD_PER_HOST_S * len(self._names)
        zero_ns = time.monotonic_ns() + int(lead_s * 1e9)
        self._require("start", self._to_all({"zero_ns": zero_ns}))
        self._on_start(zero_ns)
        return zero_ns

    def _to_all(self, params: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        return dict.fromkeys(self._names, params)

    def _ask(self, method: str, params: Mapping[str, Mapping[str, Any]]
             ) -> tuple[dict[str, Any], dict[str, str]]:
        """What hosts answer, who may need long for it. One whose agent's process does not run is
        asked as well, for it may go on some day, but nobody waits for it."""
        halted = {name: params[name] for name in params if self._hosts.agent_state(name)}
        answers, silent = self._hosts.ask(
            method, {name: params[name] for name in params if name not in halted},
            _CALL_PATIENCE_S)
        if halted:
            late, halted_silent = self._hosts.ask(method, halted, _ANSWER_PATIENCE_S)
            answers, silent = {**answers, **late}, {**silent, **halted_silent}
        return answers, silent

    def _require(self, method: str, params: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        answers, silent = self._hosts.ask(method, params, _CALL_PATIENCE_S)
        if silent:
            raise TestbedError(f"the run cannot begin: {next(iter(silent.values()))}")
        return answers

    # --- while it runs -------------------------------------------------------------

    def _follow(self) -> None:
        """Until every host is done, or only silent ones are left."""
        while True:
            answers = self._ask_progress()
            self._on_progress(answers)
            if self._stop_wanted.is_set():
                self._outcome.is_stopped = True
                return
            self._note_loss(answers)
            if self._plan.job.is_joint and self._is_lost():
                return
            if all(answer["is_done"] for answer in answers.values()) and self._is_waiting_over():
                return
            self._stop_wanted.wait(_POLL_S)

    def _ask_progress(self) -> dict[str, Any]:
        answers, silent = self._hosts.ask("progress", self._to_all({}), _ANSWER_PATIENCE_S)
        now_s = time.monotonic()
        for name in self._names:
            if name in silent:
                self._silent_since_s.setdefault(name, now_s)
            else:
                self._silent_since_s.pop(name, None)
        return answers

    def _is_waiting_over(self) -> bool:
        """No host is silent, or those that are have been long enough."""
        now_s = time.monotonic()
        alive = set(self._hosts.alive())
        return all(name not in alive or now_s - since_s > _SILENT_S
                   for name, since_s in self._silent_since_s.items())

    def _note_loss(self, answers: Mapping[str, Any]) -> None:
        if self._lost_since_s is None and any(
                answer.get("lost_rank") is not None for answer in answers.values()):
            self._lost_since_s = time.monotonic()

    def _is_lost(self) -> bool:
        """A host has been silent for longer than its peers would try to reach it, or one was
        found lost for longer than all others need to hear of it."""
        times_s = list(self._silent_since_s.values())
        if self._lost_since_s is not None:
            times_s.append(self._lost_since_s)
        return any(time.monotonic() - since_s > self._plan.drain_s for since_s in times_s)

    # --- afterwards ----------------------------------------------------------------

    def _drain(self) -> None:
        self._hosts.ask("stop", self._to_all({}), _ANSWER_PATIENCE_S)
        until_s = time.monotonic() + self._plan.drain_s
        while time.monotonic() < until_s:
            answers = self._ask_progress()
            if answers and all(answer["is_settled"] for answer in answers.values()):
                self._outcome.is_settled = True
                return
            if not set(self._names) & set(self._hosts.alive()):
                return  # nobody is left to finish anything; why, is told of each
            time.sleep(_SETTLE_POLL_S)
        self._fail(["what was under way at the end was not acknowledged within "
                    f"{self._plan.drain_s:.0f} s"])

    def _collect(self) -> None:
        answers, silent = self._ask("results", self._to_all({}))
        self._outcome.results = answers
        self._outcome.silent = {name: self._reason(name, why) for name, why in silent.items()}
        programs = {self._index(name): answer["program"] for name, answer in answers.items()}
        lost = loss_sentences(self._plan.job, programs, self._outcome.silent)
        self._fail(lost)  # one lost rank ends the work of all, so it matters not whose
        for name, why in self._outcome.silent.items():
            self._fail([] if lost else [why], name)
        for name, since_s in self._silent_since_s.items():
            if name not in silent:
                self._fail([f"the agent of {name} did not answer for "
                            f"{time.monotonic() - since_s:.1f} s"], name)
        self._verify(answers)

    def _fail(self, sentences: Iterable[str], name: str | None = None) -> None:
        """Something went wrong, with this host or somewhere; foretold where the script did it."""
        silenced = {host_name(index) for index in silenced_hosts(self._plan.script)}
        is_foretold = bool(silenced) if name is None else name in silenced
        (self._outcome.foretold if is_foretold else self._outcome.failures).extend(sentences)

    def _reason(self, name: str, why: str) -> str:
        state, since_s = self._hosts.agent_state(name), self._silent_since_s.get(name)
        if state == STATE_WORDS["T"] and since_s is not None:
            why = (f"the agent of host {name} did not answer for "
                   f"{time.monotonic() - since_s:.0f} s")
        return f"{why}: its process {state}" if state else why

    def _verify(self, answers: Mapping[str, Any]) -> None:
        """Have every host compare its memory with what its peers say they wrote."""
        said = {self._index(name): answer["program"]["channels"]
                for name, answer in answers.items()}
        asked = {host_name(index): {"peers": list(rows.values())}
                 for index, rows in self._plan.job.swap(said).items()}
        self._outcome.verified, silent = self._ask(
            "verify", {name: asked[name] for name in answers})
        for name, why in silent.items():
            self._fail([f"nothing was verified on {name}: {self._reason(name, why)}"], name)

    def _index(self, name: str) -> int:
        return next(index for index in self._plan.job.hosts if host_name(index) == name)
