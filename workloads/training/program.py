"""The program of a training job on one rank: it computes, sends what is ready, and goes on.

A step ends when computing is over, every bucket is reduced and every other exchange of the
step is complete; the next begins at once. Computing is a timer: nothing is computed, and
adding up takes no emulated time. Only step 0 is preceded by a barrier of all ranks, and only the
last is followed by one: a rank that is lost before its end is noticed by all.

Gradients need no other barrier. A rank that has finished a bucket has the sum of every element,
and a sum is final only when whatever any rank staged for it has been added: nothing in STAGING
of any rank is still needed, and the rank may write there for the next step. OUTPUT of a
rank is written to by others with final sums only; these contain what the rank itself put into
the new step, so it has begun that bucket again, and before that it had its result, had checked it,
and all it sent from INPUT and OUTPUT was acknowledged. Messages of a step that a
rank has not reached are kept by its `Group`, and no rank can be two steps ahead. As each
bucket has areas of its own, what happens to others does not matter.

On the fabric the stamps of every exchange are compared, and every element of the last exchange
of each array at the end: more would hold up an agent that has packets to send. In the simulator,
where that takes no time, every element of every exchange is.

Pipeline and expert exchanges tell a rank about some others only, if at all, so each is
followed by a barrier, on a lane of its own, before the next may begin.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from workloads.collectives.joint import JointProgram
from workloads.collectives.tensors import Tensors
from workloads.connections import MAX_SEED, Channel
from workloads.training.lanes import Lane, Work
from workloads.training.plan import KIND, Array, TrainingPlan
from workloads.training.steps import Due, Traffic, compute_time_ns, timetable

# Lanes, and for those that need one the lane of the barriers between their exchanges.
_LANES = {Traffic.GRADIENTS: (0, None), Traffic.PIPELINE: (1, 2), Traffic.EXPERTS: (3, 4)}
_JOINT_LANE = 5  # of the barriers at the begin and at the end


class Training(JointProgram):
    """The program of one rank. Raises WorkloadError where a channel does not fit the plan.

    ``is_thorough``: every element of every exchange is compared, not only of the last.
    """

    def __init__(self, plan: TrainingPlan, channels: Mapping[int, Channel],
                 is_thorough: bool = False) -> None:
        super().__init__(plan, channels)
        self.plan = plan
        self._is_thorough = is_thorough
        self._works: dict[Traffic, list[Work]] = {}
        for index, array in enumerate(plan.arrays()):
            work = self._work(index, array)
            self._works.setdefault(array.traffic, []).append(work)
        self._lanes = {traffic: self._lane(traffic) for traffic in self._works}
        self._due: deque[Due] = deque()  # of this step, still to come
        self._begun_ns = self._compute_ns = self._reducing_ns = self._wrong = 0
        self._rows: list[dict[str, Any]] = []

    def _work(self, index: int, array: Array) -> Work:
        plan = self.plan
        # Contents differ from array to array: what strays into another's areas is wrong there.
        seed = plan.seed + index * (MAX_SEED + 1)
        of_kind = plan.buckets if array.traffic is Traffic.GRADIENTS else 1
        return Work(plan.schedule(array), Tensors(self._view, array.layout, seed, plan.rank),
                    plan.expect(array), self._times(array.traffic) // of_kind, self._is_thorough)

    def _times(self, traffic: Traffic) -> int:
        """How many exchanges of this kind there are in all steps."""
        due = timetable(0, *self.plan.exchanges)
        return self.plan.steps * sum(item.traffic is traffic for item in due)

    def _lane(self, traffic: Traffic) -> Lane:
        number, guard = _LANES[traffic]
        return Lane(self._group, number, self._times(traffic), self._on_end,
                    None if guard is None else (guard, self._barrier))

    def fill_sources(self) -> None:
        """Put the contents of this rank into every INPUT."""
        for works in self._works.values():
            for work in works:
                work.fill_source()

    # --- Running -----------------------------------------------------------------------

    def start(self, now_ns: int) -> None:
        """Begin with a barrier."""
        self._group.open()
        self._group.begin(_JOINT_LANE, self._barrier, None, now_ns, self._begin_step)

    def _begin_step(self, now_ns: int) -> None:
        plan, step = self.plan, len(self._rows)
        self._begun_ns, self._reducing_ns, self._wrong = now_ns, 0, 0
        self._compute_ns = compute_time_ns(
            plan.compute_ns, plan.jitter_ppm, plan.seed, plan.rank, step)
        self._due.extend(timetable(self._compute_ns, *plan.exchanges))
        self._send_what_is_due(now_ns)

    def _send_what_is_due(self, now_ns: int) -> None:
        """Ask for every exchange whose time has come."""
        while self._due and self._begun_ns + self._due[0].at_ns <= now_ns:
            _, traffic, number = self._due.popleft()
            if traffic is Traffic.GRADIENTS and number == 0:
                self._reducing_ns = now_ns
            works = self._works[traffic]
            self._lanes[traffic].ask(works[number % len(works)], now_ns)

    def _on_end(self, wrong: int, now_ns: int) -> None:
        """An exchange has ended, and with it perhaps the step."""
        self._wrong += wrong
        if self._due or not all(lane.is_idle for lane in self._lanes.values()):
            return
        self._rows.append({
            "step": len(self._rows), "begun_ns": self._begun_ns, "compute_ns": self._compute_ns,
            "reduce_ns": self._lanes[Traffic.GRADIENTS].ended_ns - self._reducing_ns,
            "exposed_ns": now_ns - self._begun_ns - self._compute_ns, "ended_ns": now_ns,
            "wrong": self._wrong,
        })
        if len(self._rows) < self.plan.steps:
            self._begin_step(now_ns)
        else:
            self._group.begin(_JOINT_LANE, self._barrier, None, now_ns, self._finish)

    def busy_until_ns(self) -> int | None:
        """When the next exchange of this step is ready; never once a rank is lost."""
        if not self._due or self._group.is_over:
            return None
        return self._begun_ns + self._due[0].at_ns

    def next_timer_ns(self) -> int | None:
        """The same, or when it looks after the ranks it waits for."""
        busy_ns, pulse_ns = self.busy_until_ns(), super().next_timer_ns()
        if busy_ns is None or pulse_ns is None:
            return pulse_ns if busy_ns is None else busy_ns
        return min(busy_ns, pulse_ns)

    def on_timer(self, now_ns: int) -> None:
        """Something is ready, or nothing was heard for long."""
        self._send_what_is_due(now_ns)
        super().on_timer(now_ns)

    # --- Results -----------------------------------------------------------------------

    def progress(self) -> dict[str, Any]:
        """What has completed so far; ``share`` of all steps, ``step`` the one it is in."""
        done = len(self._rows)
        return {**self._progress(done / self.plan.steps, None), "step": done}

    def result(self) -> dict[str, Any]:
        """``steps``: a row for each that this rank completed, times in emulated ns.

        ``reduce_ns`` is from the begin of the first bucket to the end of the last,
        ``exposed_ns`` what the step took beyond its ``compute_ns``; ``wrong`` counts elements,
        or stamps where not every element was compared.
        """
        return self._result(KIND, steps=self._rows)

    def verify(self, peers: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
        """Every element of the last result of every array.

        ``wrong`` is how many are not as they must be, ``unchecked`` the arrays, by their number,
        that have no whole result. Peers have nothing to add: contents follow from the seed.
        """
        named = list(self._named_works())
        found = ((name, work.check()) for name, work in named if work.is_checkable)
        unchecked = [i for i, (_, work) in enumerate(named) if not work.is_checkable]
        return {**self._verified(found, unchecked), "sizes": []}

    def _named_works(self) -> Iterator[tuple[dict[str, Any], Work]]:
        for traffic, works in self._works.items():
            for number, work in enumerate(works):
                is_bucket = traffic is Traffic.GRADIENTS
                yield {"bucket": number} if is_bucket else {"traffic": traffic.value}, work
