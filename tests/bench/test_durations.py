"""Layer: what the durations are compared with; the critical path, from a stack's state and recorded operations."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bench import durations

ENDPOINT = "/subscriptions/s/workspaces/w/onlineEndpoints/One"


def resource(name: str, *after: str, id: str = "", type: str = "azure-native:x:Y", **inputs: Any) -> dict[str, Any]:
    return {"urn": name, "type": type, "id": id, "dependencies": list(after), "inputs": inputs}


def test_the_critical_path_is_the_longest_chain_and_counts_each_operation_once() -> None:
    resources = [
        resource("workspace", id="/w"),
        resource("endpoint", "workspace", id=ENDPOINT),
        resource("model", "workspace", type="pulumi-python:dynamic/azureml:Model", id="model"),
        resource("blue", "endpoint", "model", id=f"{ENDPOINT}/deployments/blue"),
        resource("green", "endpoint", "blue", id=f"{ENDPOINT}/deployments/green"),
        resource("other", "workspace", id="/other"),
        resource("traffic", "green", type="pulumi-python:dynamic/azureml:TrafficSplit", endpointName="one"),
    ]
    took = {
        "/w": [5.0],
        ENDPOINT.lower(): [2.0, 0.5],
        f"{ENDPOINT}/deployments/blue".lower(): [10.0],
        f"{ENDPOINT}/deployments/green".lower(): [11.0],
        "/other": [20.0],
    }
    assert durations.critical_path(resources, took) == 5 + 2 + 10 + 11 + 0.5
    assert durations.critical_path(resources, {**took, "/other": [40.0]}) == 5 + 40, "another chain is longer"


def test_operations_are_read_as_local_azure_records_them(tmp_path: Path) -> None:
    rows = [
        ("/A", "2026-11-22T21:08:22.0000000+00:00", "2026-11-22T21:08:23.5000000+00:00"),
        ("/a", "2026-11-22T21:08:30.0000000+00:00", "2026-11-22T21:08:30.2500000+00:00"),
        ("/b", "2026-11-22T21:08:30.0000000+00:00", None),
    ]
    with closing(sqlite3.connect(tmp_path / "state.db")) as store, store:
        store.execute("CREATE TABLE operations (resource, started, ended)")
        store.executemany("INSERT INTO operations VALUES (?, ?, ?)", rows)
    assert durations.operations(tmp_path) == {"/a": pytest.approx([1.5, 0.25])}
