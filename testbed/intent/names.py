"""Names a user may give: of instances and of topologies."""

from __future__ import annotations

import re

from testbed.errors import UsageError

NAME_RULE = "a lower-case letter, then at most 23 lower-case letters, digits or hyphens"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")


def is_name(text: str) -> bool:
    """True where this text may name an instance or a topology."""
    return _NAME.fullmatch(text) is not None


def parse_instance_name(text: str) -> str:
    """The name itself where it is valid: it becomes part of paths and namespace names.

    Raises UsageError otherwise.
    """
    if not is_name(text):
        raise UsageError(f"'{text}' cannot name an instance: use {NAME_RULE}")
    return text
