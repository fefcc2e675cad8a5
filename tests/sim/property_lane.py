"""One direction of writes between two QPs, and the application at either end of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sim.property_schedule import Post

from testbed.sim.lab import Side
from testbed.sim.simulation import Simulation
from testbed.transport.mrc.completion import Completion, WcStatus
from testbed.transport.mrc.qp import QpState
from testbed.transport.mrc.verbs import SendWr

GAP_BYTES = 16  # between targets, never to be written
_GAP, _FRESH, _REUSED = b"\xa5", b"\x00", b"\xc5"
_ACCESS, _INVALID = WcStatus.REMOTE_ACCESS_ERROR, WcStatus.REMOTE_INVALID_REQUEST
_BLAME = {"bad_key": _ACCESS, "out_of_bounds": _ACCESS, "no_receive": _INVALID}


class Broken(AssertionError):
    """A property of the protocol does not hold."""


def require(is_so: bool, text: str) -> None:
    """Raise Broken with this text unless it is so."""
    if not is_so:
        raise Broken(text)


@dataclass
class Written:
    """One write: what is to arrive where, and what became of it."""

    post: Post
    number: int
    data: bytes
    start: int  # of its target in the buffer
    imm: int | None
    is_posted: bool = False
    is_reused: bool = False  # the receiving application has used the target for another thing


def length_of(post: Post, payload_bytes: int) -> int:
    """Bytes of a write; a flawed one has at least two, for there is no wrong way to write none."""
    last = 1 if post.tail < 0 else max(payload_bytes - post.tail, 0)
    if post.packets > 1:
        last = max(last, 1)
    length = (post.packets - 1) * payload_bytes + last
    return max(length, 2) if post.flaw else length


class Lane:
    """Writes from one side to the other, in the order in which they are posted."""

    def __init__(
        self, posts: Sequence[Post], sender: Side, receiver: Side, payload_bytes: int,
        unit_ns: int, rng: random.Random,
    ) -> None:  # fmt: skip
        self.sender, self.receiver = sender, receiver
        self.may_time_out: Callable[[], bool] = lambda: False
        self._payload_bytes, self._unit_ns = payload_bytes, unit_ns
        self._sent = self._received = 0  # messages whose end each application knows
        self._verified = 0  # messages seen in place
        self._failed: WcStatus | None = None
        self._flushed_receives = 0
        self._lay_out([*posts, Post(0, False, 0, 1, payload_bytes - 8, is_imm=True)], rng)
        self.immediates = [m for m in self.messages if m.imm is not None]
        flaws = [m for m in self.messages if m.post.flaw]
        self.first_flaw = flaws[0] if flaws else None
        for cq, take in (
            (sender.send_cq, self._on_send), (receiver.recv_cq, self._on_receive)
        ):  # fmt: skip
            cq.push = take  # type: ignore[method-assign]

    def __str__(self) -> str:
        requester = self.sender.requester
        window, cc = requester.window, requester.cc
        return (
            f"h{self.sender.host} to h{self.receiver.host}: {self._sent} of "
            f"{len(self.messages) - 1} ended, {len(requester.messages)} pending, PSN "
            f"{window.first_psn}..{window.next_psn}, cwnd {cc.cwnd:.0f} inflight {cc.inflight}, "
            f"usable {self.sender.qp.paths.usable_ports:#b}"
        )

    # --- Memory ------------------------------------------------------------------------

    def _lay_out(self, posts: list[Post], rng: random.Random) -> None:
        """The last message is the one of the last round, posted by :meth:`post_last`."""
        self.messages: list[Written] = []
        at = GAP_BYTES
        for number, post in enumerate(posts):
            length = length_of(post, self._payload_bytes)
            imm = rng.getrandbits(32) if post.is_imm else None
            self.messages.append(Written(post, number, rng.randbytes(length), at, imm))
            at += length + GAP_BYTES
        self._buffer = bytearray(_GAP * (at + GAP_BYTES))
        for message in self.messages:
            self._fill(message, _FRESH)
        # The region ends before the buffer does, so that running over its end would show.
        self._region_bytes = at - GAP_BYTES
        region = memoryview(self._buffer)[GAP_BYTES : GAP_BYTES + self._region_bytes]
        self._target = self.receiver.context.reg_mr(region)
        self._source_buffer = bytearray(b"".join(m.data for m in self.messages) or b"\0")
        self._source = self.sender.context.reg_mr(self._source_buffer)
        self._offsets = [0]
        for message in self.messages:
            self._offsets.append(self._offsets[-1] + len(message.data))

    def _fill(self, message: Written, byte: bytes) -> None:
        self._buffer[message.start : message.start + len(message.data)] = byte * len(message.data)

    def _is_in_place(self, message: Written) -> bool:
        return self._buffer[message.start : message.start + len(message.data)] == message.data

    def _verify_up_to(self, number: int) -> None:
        """Everything to this message is in place; its target is used for something else."""
        for message in self.messages[self._verified : number + 1]:
            require(message.is_posted, f"{self}: message {message.number} was never posted")
            require(not message.post.flaw, f"{self}: flawed message {message.number} completed")
            require(self._is_in_place(message), f"{self}: message {message.number} is not in place")
            self._fill(message, _REUSED)
            message.is_reused = True
        self._verified = max(self._verified, number + 1)

    # --- Posting -----------------------------------------------------------------------

    def start(self, sim: Simulation, killed: set[int]) -> None:
        """Post the receives now and have the writes posted in their time."""
        for receive in range(self._receive_count()):
            self.receiver.context.post_recv(self.receiver.qp, receive)
        for message in self.messages[:-1]:
            sim.at(
                message.post.at * self._unit_ns,
                lambda message=message: self._post(message, sim, killed),
            )

    def _receive_count(self) -> int:
        for count, message in enumerate(self.immediates):
            if message.post.flaw == "no_receive":
                return count
        return len(self.immediates)

    def post_last(self, sim: Simulation) -> None:
        """Post the message of the last round."""
        self._post(self.messages[-1], sim, set())

    def _post(self, message: Written, sim: Simulation, killed: set[int]) -> None:
        if self.sender.host in killed:
            return
        target, post, length = self._target, message.post, len(message.data)
        va, rkey = target.va + message.start - GAP_BYTES, target.rkey
        if post.flaw == "bad_key":
            rkey ^= 1 << post.at % 32
        elif post.flaw == "out_of_bounds":
            va = target.end - length // 2
        message.is_posted = True
        self.sender.context.post_send(
            self.sender.qp,
            SendWr(
                message.number, self._source, va, rkey, self._offsets[message.number], length,
                message.imm, post.is_signaled, post.is_solicited,
            ),
            sim.now,
        )  # fmt: skip
        sim.kick(self.sender.host)

    # --- Completions -------------------------------------------------------------------

    def _on_send(self, completion: Completion) -> bool:
        number = completion.wr_id
        require(number >= self._sent, f"{self}: write {number} completed again or out of order")
        for silent in self.messages[self._sent : number]:
            require(not silent.post.is_signaled, f"{self}: write {silent.number} was passed over")
            require(self._failed is None, f"{self}: write {silent.number} was not flushed")
        if number > self._sent:
            self._succeed(number - 1)
        self._sent = number + 1
        message = self.messages[number]
        if completion.status is WcStatus.SUCCESS:
            require(self._failed is None, f"{self}: write {number} succeeded after an error")
            require(message.post.is_signaled, f"{self}: unsignaled write {number} completed")
            require(completion.byte_len == len(message.data), f"{self}: {completion} is too short")
            self._succeed(number)
        elif self._failed is None:
            self._failed = completion.status
            self._check_blame(message, completion.status)
        else:
            require(completion.status is WcStatus.FLUSHED, f"{self}: {completion} after an error")
        return True

    def _succeed(self, number: int) -> None:
        self._verify_up_to(number)
        # The buffer is the application's again, who writes the next thing into it.
        start, end = self._offsets[number], self._offsets[number + 1]
        self._source_buffer[start:end] = b"\xee" * (end - start)

    def _check_blame(self, message: Written, status: WcStatus) -> None:
        if status is WcStatus.RETRY_EXCEEDED:
            require(self.may_time_out(), f"{self}: gave up though its budget outlasts the storm")
        elif status is not WcStatus.FLUSHED:
            flaw = self.first_flaw
            require(
                flaw is message and _BLAME[flaw.post.flaw] is status,
                f"{self}: write {message.number} ended with {status.value} and "
                f"{'has no flaw' if flaw is None else f'the flaw is that of {flaw.number}'}",
            )

    def _on_receive(self, completion: Completion) -> bool:
        if completion.status is not WcStatus.SUCCESS:
            require(completion.status is WcStatus.FLUSHED, f"{self}: receive ended {completion}")
            self._flushed_receives += 1
            return True
        require(not self._flushed_receives, f"{self}: {completion} after an error")
        require(self._received < len(self.immediates), f"{self}: {completion} is one too many")
        message = self.immediates[self._received]
        expected = (self._received, message.imm, len(message.data), message.post.is_solicited)
        got = completion.wr_id, completion.imm, completion.byte_len, completion.is_solicited
        require(got == expected, f"{self}: receive {got}, expected {expected}")
        self._received += 1
        self._verify_up_to(message.number)
        return True

    # --- The end -----------------------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        """True where nothing posted is still to end."""
        last = self.messages[-1]
        due = self.messages if last.is_posted else self.messages[:-1]
        return all(m.is_posted for m in due) and not self.sender.requester.messages

    def check_end(self) -> None:
        """Every write and receive has ended, and with what it should."""
        if self.sender.qp.state is QpState.ERROR:
            due = len(self.messages) - 1
            trailing = self.messages[self._sent : due]
            is_silent = self._failed is None and not any(m.post.is_signaled for m in trailing)
            require(self._sent == due or is_silent, f"{self}: writes did not end")
        else:
            require(self._failed is None, f"{self}: a write failed and the QP did not")
            silent = self.messages[self._sent : -1]
            require(not any(m.post.is_signaled for m in silent), f"{self}: writes did not end")
            if silent:
                self._verify_up_to(silent[-1].number)
            if self.receiver.qp.state is not QpState.ERROR:
                done = sum(m is not self.messages[-1] for m in self.immediates)
                require(self._received == done, f"{self}: {self._received} of {done} immediates")
        if self.receiver.qp.state is QpState.ERROR:
            ended = self._received + self._flushed_receives
            require(ended == self._receive_count(), f"{self}: {ended} receives ended")

    def check_memory(self) -> None:
        """Nothing was written but the targets of what was posted, nor after it had ended."""
        expected = bytearray(_GAP * len(self._buffer))
        spoilt = [m for m in self.messages if m.is_posted and m.post.flaw == "out_of_bounds"]
        for message in self.messages:
            start, end = message.start, message.start + len(message.data)
            if message.is_reused:
                expected[start:end] = _REUSED * (end - start)
            elif message.is_posted and not message.post.flaw:
                expected[start:end] = self._buffer[start:end]  # it may be there in part
            elif message.post.flaw == "no_receive" and message.is_posted:
                expected[start:end] = self._buffer[start:end]
            else:
                expected[start:end] = _FRESH * (end - start)
        for message in spoilt:
            # First and last packet tell that the message leaves the region; one between
            # them that lies inside may have come before.
            end = GAP_BYTES + self._region_bytes
            start = end - len(message.data) // 2 + self._payload_bytes
            expected[start:end] = self._buffer[start:end]
        if expected != self._buffer:
            pairs = enumerate(zip(expected, self._buffer, strict=True))
            where = next(place for place, (due, found) in pairs if due != found)
            raise Broken(f"{self}: byte {where} of {len(expected)} was written and should not be")
