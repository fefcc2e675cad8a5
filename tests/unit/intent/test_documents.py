"""YAML out: readable, in order, and only plain types."""

from __future__ import annotations

import pytest
import yaml

from testbed.intent.documents import dump_yaml


def test_keys_keep_their_order_and_text_stays_text() -> None:
    document = {"b": "1e3", "a": {"z": "on", "y": [1, None, True]}, "c": "größer"}
    text = dump_yaml(document)
    assert text.index("b:") < text.index("a:") < text.index("z:") < text.index("y:")
    assert "größer" in text
    assert yaml.safe_load(text) == document
    assert dump_yaml(yaml.safe_load(text)) == text


def test_what_is_no_plain_type_is_refused() -> None:
    with pytest.raises(ValueError, match="use text, numbers, lists and mappings"):
        dump_yaml({"a": object()})
