"""Parsing and exit codes that need neither root nor an instance."""

from __future__ import annotations

import json

import pytest

from testbed.cli.main import VERBS, main, make_parser


def test_every_verb_has_help_and_the_common_options() -> None:
    for verb in VERBS:
        with pytest.raises(SystemExit) as ended:
            main([verb, "--help"])
        assert ended.value.code == 0


def test_the_common_options_stand_before_and_after_arguments() -> None:
    parsed = make_parser().parse_args(["probe", "--name", "lab", "h0", "h1", "--json"])
    assert (parsed.name, parsed.json, parsed.src) == ("lab", True, "h0")


@pytest.mark.parametrize("words", [[], ["fly"], ["up", "--colour"], ["probe", "h0"]])
def test_bad_usage_is_exit_code_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


def test_topology_describes_the_paper_s_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topology", "full", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["hosts"] == 131_072
    assert described["planes"] == 8


def test_paths_of_a_described_topology(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paths", "h0", "h131071", "--topology", "full", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 8 * 256
    assert len({row["address"] for row in rows}) == len(rows)


@pytest.mark.parametrize(("words", "said"), [
    (["paths", "h0", "h0", "--topology", "tiny"], "no path to itself"),
    (["paths", "h0", "h4", "--topology", "tiny"], "h4 does not exist"),
    (["paths", "zero", "h4", "--topology", "tiny"], "'zero' is not a host"),
    (["topology", "tinny"], "did you mean 'tiny'"),
    (["topology", "tiny", "--set", "planes"], "--set"),
    (["status", "--name", "No"], "cannot name an instance"),
])
def test_mistakes_are_one_sentence_and_exit_code_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_presets_are_listed_smallest_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topology", "--list"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert names == ["tiny", "rack4", "quad", "octo", "wide", "full"]
