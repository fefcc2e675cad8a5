"""Resolved intent as YAML text, for people to read and for the testbed to run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


def dump_yaml(document: Mapping[str, Any]) -> str:
    """YAML of plain types, keys in the order of the mapping: same document, same bytes.

    Raises ValueError where something in it is not a plain type.
    """
    try:
        return yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True,
                              default_flow_style=False, width=100)
    except yaml.YAMLError as error:
        raise ValueError(f"a document cannot be written as YAML ({error}): use text, numbers, "
                         "lists and mappings") from None
