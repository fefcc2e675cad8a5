"""Many frames with one system call: recvmmsg(2), which Python's socket module lacks.

`socket.recvmsg_into` takes one frame at a time and, of a packet socket, looks up the name of
the interface for every one of them; both cost more than the frame. Layouts are the kernel's,
through ctypes: struct mmsghdr, struct iovec, and one control message with the receive stamp.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket

from testbed.errors import TestbedError

SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the option, and the type of its control message
FRAMES = 32  # of one call
FRAME_BYTES = 9216  # above link MTU 9000 and its header, so that a longer one is seen to be one

_WORD = ctypes.sizeof(ctypes.c_long)
_STAMP_BYTES = 2 * _WORD  # struct timespec
_CONTROL_BYTES = socket.CMSG_SPACE(_STAMP_BYTES)
_STAMP_AT = socket.CMSG_LEN(0) // _WORD  # what comes before says what it is


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _MessageHeader(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_IoVec)), ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )  # fmt: skip


class _Message(ctypes.Structure):
    _fields_ = (("header", _MessageHeader), ("length", ctypes.c_uint32))


class _ControlHeader(ctypes.Structure):
    _fields_ = (("length", ctypes.c_size_t), ("level", ctypes.c_int), ("kind", ctypes.c_int))


_MESSAGE_BYTES = ctypes.sizeof(_Message)
_LENGTH_AT = _Message.length.offset // 4
_CONTROL_LENGTH_AT = _MessageHeader.control_length.offset // _WORD
_KIND = memoryview(bytes(_ControlHeader(
    socket.CMSG_LEN(_STAMP_BYTES), socket.SOL_SOCKET, SO_TIMESTAMPNS))).cast("l")[-1]

_recvmmsg = ctypes.CDLL(None, use_errno=True).recvmmsg
_recvmmsg.argtypes = (
    ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_recvmmsg.restype = ctypes.c_int
_DONT_WAIT = int(socket.MSG_DONTWAIT)
_NOTHING = (errno.EAGAIN, errno.EINTR)


class Inbox:
    """Room for the frames of one call; sockets that are read in turn share one."""

    def __init__(self) -> None:
        frames = bytearray(FRAMES * FRAME_BYTES)
        controls = bytearray(FRAMES * _CONTROL_BYTES)
        self._vectors = (_IoVec * FRAMES)()
        self._messages = (_Message * FRAMES)()
        self._address = ctypes.addressof(self._messages)
        frames_at = ctypes.addressof(ctypes.c_char.from_buffer(frames))
        controls_at = ctypes.addressof(ctypes.c_char.from_buffer(controls))
        for index, message in enumerate(self._messages):
            self._vectors[index] = _IoVec(frames_at + index * FRAME_BYTES, FRAME_BYTES)
            header = message.header
            header.vectors = ctypes.pointer(self._vectors[index])
            header.vector_count = 1
            header.control = controls_at + index * _CONTROL_BYTES
            header.control_length = _CONTROL_BYTES
        self._frames = memoryview(frames)
        self._controls = memoryview(controls).cast("l")
        # The kernel writes into the headers, but every control message it gives is as long as
        # its room: they are ready for the next call as they are.
        raw = memoryview(self._messages).cast("B")
        self._lengths, self._words = raw.cast("I"), raw.cast("l")

    def receive(self, fd: int) -> list[tuple[memoryview, int]]:
        """What waits in a socket, `FRAMES` at most: each frame with its CLOCK_REALTIME ns.

        Fewer than that means nothing else was waiting, none that nothing was. The views are
        valid until the next call. Never blocks; raises the OSError of the system call, and
        TestbedError where the kernel gave a frame no stamp (SO_TIMESTAMPNS is off).
        """
        count = _recvmmsg(fd, self._address, FRAMES, _DONT_WAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            if number in _NOTHING:
                return []
            raise OSError(number, os.strerror(number))
        frames, lengths, words, controls = (
            self._frames, self._lengths, self._words, self._controls)
        found = []
        for index in range(count):
            at, stamp = index * FRAME_BYTES, index * (_CONTROL_BYTES // _WORD) + _STAMP_AT
            message = index * _MESSAGE_BYTES
            if not words[message // _WORD + _CONTROL_LENGTH_AT] or controls[stamp - 1] != _KIND:
                raise TestbedError(
                    "the kernel delivered a frame without a receive timestamp: SO_TIMESTAMPNS "
                    "is on, so this kernel cannot be trusted for measurements"
                )
            found.append((
                frames[at : at + lengths[message // 4 + _LENGTH_AT]],
                controls[stamp] * 1_000_000_000 + controls[stamp + 1],
            ))
        return found
