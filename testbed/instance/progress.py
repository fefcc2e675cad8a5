"""What the instance process tells the client that brings it up."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Progress:
    """Lines of JSON on a pipe, for as long as somebody listens."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.stages: dict[str, float] = {}

    def send(self, **event: Any) -> None:
        """Tell the client; it may have gone."""
        with suppress(OSError):
            os.write(self._descriptor, json.dumps(event).encode() + b"\n")

    def note(self, name: str, seconds: float) -> None:
        """Book a stage that is done (wall seconds) and report it."""
        self.stages[name] = round(seconds, 3)
        self.send(stage=name, seconds=self.stages[name])

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage of the build and report it when it is done."""
        began = time.monotonic()
        yield
        self.note(name, time.monotonic() - began)
