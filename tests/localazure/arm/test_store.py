"""The store: what a transaction leaves, what lies below what, what a reopened file holds."""

import sqlite3
from pathlib import Path

import pytest

from localazure.arm.store import Operation, Resource, Store, StoreError

GROUP = "/subscriptions/s/resourceGroups/one"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def resource(name: str, kind: str = "N/things", **document: object) -> Resource:
    return Resource(f"{GROUP}/providers/N/things/{name}", kind, dict(document))


def test_a_transaction_that_fails_leaves_nothing_and_starts_nothing(path: Path) -> None:
    store = Store(path)
    called: list[str] = []

    def refused() -> None:
        with store.transaction():
            store.put(resource("a"))
            store.after_commit(lambda: called.append("a"))
            raise RuntimeError("refused")

    with pytest.raises(RuntimeError):
        refused()
    assert store.get(resource("a").id) is None
    with store.transaction():
        store.put(resource("b"))
        store.after_commit(lambda: called.append("b"))
    assert called == ["b"], "only what was committed may have consequences"


def test_what_was_committed_is_there_when_the_file_is_opened_again(path: Path) -> None:
    store = Store(path)
    with store.transaction():
        store.put(resource("a", colour="blue"))
        store.put_operation(Operation("op", "kind", resource("a").id, "Running", {"n": 1}, None, "now", None))
    # Not closed: as after a kill.
    again = Store(path)
    found = again.get(resource("A").id)
    assert found is not None
    assert found.document == {"colour": "blue"}
    assert [each.id for each in again.running()] == ["op"]
    assert again.running()[0].resource == resource("a").id, "an operation keeps the spelling of its resource"


def test_deleting_a_resource_takes_what_lies_below_it_and_nothing_beside_it(path: Path) -> None:
    store = Store(path)
    for name in ("a", "a/children/x", "ab", "a-b"):
        store.put(resource(name))
    store.delete(resource("a").id)
    assert {each.name for each in store.of_type("N/things")} == {"ab", "a-b"}


def test_lists_are_in_order_of_creation_and_an_update_keeps_its_place(path: Path) -> None:
    store = Store(path)
    for name in ("c", "a", "b"):
        store.put(resource(name))
    created = store.get(resource("c").id)
    store.put(resource("c", changed=True))
    assert [each.name for each in store.below(GROUP, "N/things")] == ["c", "a", "b"]
    after = store.get(resource("c").id)
    assert created is not None
    assert after is not None
    assert after.created == created.created


def test_a_file_of_a_newer_schema_is_not_opened(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match="newer Local Azure"):
        Store(path)


def test_what_follows_a_transaction_and_fails_takes_nothing_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.db")
    done: list[bool] = []
    with store.transaction():
        store.put(Resource("/a/b", "t", {}))
        store.after_commit(lambda: 1 / 0)  # pyright: ignore[reportArgumentType]
        store.after_commit(lambda: done.append(True))
    assert store.get("/a/b") is not None
    assert done == [True], "one callback's failure is not the next one's"
