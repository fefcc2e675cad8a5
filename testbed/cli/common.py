"""The options every command has."""

from __future__ import annotations

import argparse
import os


def common_options(*, is_nested: bool = False) -> argparse.ArgumentParser:
    """A parent for a command's parser; of a nested one, where they may stand once more."""
    # What is not typed behind the nested command must not undo what was typed before it.
    def default(value: object) -> object:
        return argparse.SUPPRESS if is_nested else value

    common = argparse.ArgumentParser(add_help=False)
    name = os.environ.get("TESTBED_NAME", "default")
    common.add_argument("--name", default=default(name),
                        help=f"which instance (default: {name})")
    common.add_argument("--json", action="store_true", default=default(False),
                        help="print exactly one JSON document on stdout")
    common.add_argument("--debug", action="store_true", default=default(False),
                        help="show tracebacks")
    return common
