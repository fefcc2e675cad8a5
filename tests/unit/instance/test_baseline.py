"""The run a training job is compared with: which are accepted, and what is taken from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import UsageError
from testbed.instance.baseline import with_baseline
from testbed.instance.order import order_of
from testbed.intent.documents import dump_yaml
from testbed.intent.topology import load_topology, topology_document
from testbed.intent.train import TrainRequest
from testbed.intent.workload import from_document

QUAD = load_topology("quad")
TRAIN = {"workload": "train", "hosts": "4", "steps": 3}


def left(folder: Path, topology: str = "quad", manifest: Any = None, steps: Any = None,
         **spec: Any) -> str:
    """The folder of a run."""
    asked = from_document({**TRAIN, **spec}, load_topology(topology)).to_document()
    about = topology_document(load_topology(topology))
    (folder / "spec.yaml").write_text(dump_yaml({"schema_version": 1, **asked, "tdf": 70,
                                                 "topology": about}))
    (folder / "manifest.json").write_text(json.dumps(
        {"state": "complete", "verdict": {"word": "trusted"}, **(manifest or {})}))
    times = (900, 100, 300) if steps is None else steps
    (folder / "result.json").write_text(json.dumps({"steps": [{"time_ns": ns} for ns in times]}))
    return str(folder)


def asked(**keys: Any) -> TrainRequest:
    request = from_document({**TRAIN, **keys}, QUAD)
    assert isinstance(request, TrainRequest)
    return request


@pytest.mark.parametrize("manifest", [
    {}, {"verdict": {"word": "degraded"}}, {"verdict": None}])  # None: it was simulated
def test_it_is_the_median_step_of_the_same_job(tmp_path: Path, manifest: Any) -> None:
    request = asked(against=left(tmp_path, manifest=manifest))
    found = with_baseline(request, QUAD)
    assert isinstance(found, TrainRequest)
    assert found.baseline_ns == 300


def test_the_figure_is_in_the_spec_and_the_folder_is_not_needed_again(tmp_path: Path) -> None:
    order = order_of(asked(against=left(tmp_path)), QUAD)
    assert order.job.parameters["baseline_ns"] == 300
    for path in tmp_path.iterdir():
        path.unlink()
    again = order_of(from_document(order.document, QUAD), QUAD)
    assert again.job == order.job
    assert again.document == order.document


def test_what_compares_with_nothing_stays_as_it_is() -> None:
    assert with_baseline(asked(), QUAD) == asked()
    other = from_document({"workload": "allreduce"}, QUAD)
    assert with_baseline(other, QUAD) is other


@pytest.mark.parametrize(("changes", "why"), [
    ({"manifest": {"state": "partial"}}, "it is partial, not complete"),
    ({"manifest": {"verdict": {"word": "invalid"}}}, "it is invalid"),
    ({"gradients": "8M"}, "its gradients is 8MiB, not 16MiB"),
    ({"seed": 4}, "its seed is 4, not 1"),
    ({"pipeline": "64K"}, "its pipeline is 64KiB, not none"),
    ({"topology": "octo"}, "this spec is for octo"),
    ({"steps": []}, "StatisticsError"),
])
def test_another_run_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match="cannot be compared with") as caught:
        with_baseline(asked(against=left(tmp_path, **changes)), QUAD)
    assert why in str(caught.value)
    assert str(caught.value).endswith("name the folder of an undisturbed run of the same training "
                                      "job")


@pytest.mark.parametrize("text", ["", "[]", '{"streams": []}'])
def test_what_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    folder = left(tmp_path)
    for name in ("result.json", "manifest.json"):
        (tmp_path / name).write_text(text)
        with pytest.raises(UsageError, match="name the folder of an undisturbed run"):
            with_baseline(asked(against=folder), QUAD)
    with pytest.raises(UsageError, match="FileNotFoundError"):
        with_baseline(asked(against=str(tmp_path / "gone")), QUAD)
