"""The dev stack, which is meant for Azure, runs unchanged against Local Azure."""

from __future__ import annotations

import pytest

from tests.end_to_end.conftest import Clone

pytestmark = pytest.mark.end_to_end


def test_the_dev_stack_is_previewed_brought_up_and_taken_down_against_local_azure(clone: Clone) -> None:
    clone.make("setup").ok()
    clone.shell(".venv/bin/python -m localazure start").ok()
    previewed = clone.with_local_azure("make preview STACK=dev").ok().out
    assert "tumor-online" in previewed
    assert clone.status["onlineEndpoints"] == [], "a preview creates nothing"
    clone.with_local_azure("make up STACK=dev").ok()
    (endpoint,) = clone.status["onlineEndpoints"]
    assert endpoint["name"] != "tumor-online", "names are unique in a region, so they carry a suffix"
    assert endpoint["name"].startswith("tumor-online-")
    assert sorted(endpoint["traffic"].values()) == [10, 90]
    assert clone.planned("dev") == []
    clone.with_local_azure("make down STACK=dev").ok()
    after = clone.status
    assert (after["onlineEndpoints"], after["batchEndpoints"], after["storageAccounts"]) == ([], [], [])
