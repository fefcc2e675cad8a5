"""Run folders read: whole, cut off, old, and damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from unit.analysis.made import MANIFEST, SIMULATED, flow, made_folder, message, write_table

from testbed.analysis import Run, load
from testbed.analysis.frames import frame_of
from testbed.errors import UsageError
from testbed.metrics.rows import encode, values_of
from testbed.metrics.tables import SCHEMA_VERSION, TABLES


def folder(tmp_path: Path, **more: Any) -> Path:
    return made_folder(tmp_path / "run", **more)


def test_a_folder_gives_its_documents_and_tables(tmp_path: Path) -> None:
    path = folder(tmp_path, result={"kind": "write-bw"}, drill={"word": "PASS"},
                  flows=[flow(2000, acked_bytes=4096), flow(1000)], messages=[message(0, 90)])
    run = load(path)
    assert isinstance(run, Run)
    assert (run.verdict_word, run.is_partial, run.is_simulated) == ("trusted", False, False)
    assert (run.tdf, run.topology.name, run.base_rtt_ns) == (5000, "quad", 9404)
    assert run.spec["workload"] == "write-bw"
    assert run.spec["qps"] == 1  # typed as `to_document` has it, not as text
    assert run.result["kind"] == "write-bw"
    assert run.drill == {"word": "PASS"}
    assert list(run.flows["t_ns"]) == [1000, 2000]  # in order of time
    assert run.messages.iloc[0]["t_done_ns"] == 90
    assert run.flows is run.flows  # read once


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_not_there_is_empty_and_typed(tmp_path: Path, name: str) -> None:
    frame = getattr(load(folder(tmp_path)), name)
    assert {column: str(kind) for column, kind in frame.dtypes.items()} == TABLES[name]
    assert len(frame) == 0


def test_a_folder_of_before_there_were_tables_answers_every_question(tmp_path: Path) -> None:
    run = load(folder(tmp_path))
    assert (run.end_ns, run.result, run.drill) == (100_000, {}, None)  # the duration asked for
    assert run.mean_goodput_bps() == 0
    for answer in (run.goodput(), run.goodput(by=("plane",)), run.ev_timeline(), run.recovery(),
                   run.fairness(), run.step_times(), run.collective_times()):
        assert len(answer) == 0
    assert run.retransmissions()["packets"].sum() == 0
    assert run.path_heatmap().to_numpy().sum() == 0


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (tmp_path / "latest").symlink_to("run")
    assert load(tmp_path / "latest").path == path


def test_a_simulation_has_neither_dilation_nor_verdict(tmp_path: Path) -> None:
    run = load(folder(tmp_path, manifest=SIMULATED))
    assert (run.is_simulated, run.tdf, run.verdict_word) == (True, None, None)


def test_a_run_that_was_cut_off_loads_up_to_where_it_got(tmp_path: Path) -> None:
    path = folder(tmp_path, manifest={"state": "partial"})
    rows = [flow(1000, acked_bytes=10), flow(2000, acked_bytes=20)]
    lines = "".join(encode("flows", values_of("flows", row)) for row in rows)
    (path / "rows").mkdir()
    (path / "rows" / "h0.jsonl").write_text(lines + '["flows",3000,10')
    other = encode("flows", values_of("flows", flow(1500, host="h1", acked_bytes=5)))
    (path / "rows" / "h1.jsonl").write_text(other)
    run = load(path)
    assert run.is_partial
    assert list(run.flows["acked_bytes"]) == [10, 5, 20]
    assert run.flows["t_ns"].dtype == "int64"


def test_a_table_that_was_written_counts_more_than_raw_rows(tmp_path: Path) -> None:
    path = folder(tmp_path, flows=[flow(1000)])
    (path / "rows").mkdir()
    (path / "rows" / "h0.jsonl").write_text(encode("flows", values_of("flows", flow(7000))))
    assert list(load(path).flows["t_ns"]) == [1000]


def test_a_table_without_a_version_is_read(tmp_path: Path) -> None:
    path = folder(tmp_path, flows=[])
    write_table(path / "tables" / "flows.parquet", frame_of("flows", [flow(1000)]), None)
    assert len(load(path).flows) == 1


def test_columns_an_older_table_lacks_are_there(tmp_path: Path) -> None:
    path = folder(tmp_path, flows=[])
    old = frame_of("events", []).drop(columns=["evidence", "late_ns"])
    write_table(path / "tables" / "events.parquet", old, 1)
    assert list(load(path).events.columns) == list(TABLES["events"])


def test_raw_rows_of_another_version_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, manifest={"state": "partial"})
    (path / "rows").mkdir()
    (path / "rows" / "h0.jsonl").write_text('["schema_version",99]\n["flows",1]\n')
    assert "h0.jsonl cannot be read: its rows are of version 99" in refused(path, "flows")


def refused(path: Path, table: str | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        getattr(load(path), table or "manifest")
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    assert "no run folder" in refused(tmp_path)
    assert "no run folder" in refused(tmp_path / "nothing")


@pytest.mark.parametrize(("name", "content", "told"), [
    ("manifest.json", "{", "cannot be read"),
    ("manifest.json", "[]", "no JSON object"),
    ("manifest.json", json.dumps({**MANIFEST, "schema_version": 99}), "version 99"),
    ("result.json", "nonsense", "cannot be read"),
    ("result.json", '{"schema_version": 2}', "is of version 2, and this testbed reads version 1"),
    ("fidelity.json", '{"schema_version": 7}', "is of version 7"),
    ("drill.json", '{"schema_version": "1"}', "is of version '1', and"),
    ("spec.yaml", "schema_version: 2\nworkload: novelty\n", "is of version 2, and this testbed"),
    ("spec.yaml", "workload: write-bw\nsrc: h0\ndst: h4\n", "which topology"),
    ("spec.yaml", "workload: nonsense\ntopology: quad\n", "there is no workload"),
])
def test_a_damaged_document_is_told(tmp_path: Path, name: str, content: str, told: str) -> None:
    path = folder(tmp_path)
    (path / name).write_text(content)
    assert told in refused(path)


def test_a_folder_without_a_spec_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "spec.yaml").unlink()
    assert "has no spec.yaml" in refused(path)


def test_a_broken_table_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = folder(tmp_path, flows=[flow(1000)])
    (path / "tables" / "flows.parquet").write_bytes(b"PAR1 and no more")
    assert "no Parquet file" in refused(path, "flows")
    assert len(load(path).events) == 0  # the others are as good as before


def test_a_table_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, flows=[])
    write_table(path / "tables" / "flows.parquet", pd.DataFrame(), SCHEMA_VERSION + 1)
    assert f"version {SCHEMA_VERSION + 1}" in refused(path, "flows")
