"""The store: what a transaction leaves, what lies below what, what a reopened file holds."""

import sqlite3
from pathlib import Path

import pytest

from localazure.arm.store import Operation, Resource, Store, StoreError

GROUP = "/subscriptions/s/resourceGroups/one"
# As it was released: it must not follow changes of the store.
FIRST_SCHEMA = """
CREATE TABLE resources (
    key TEXT PRIMARY KEY, id TEXT NOT NULL, type TEXT NOT NULL, document TEXT NOT NULL, hidden TEXT NOT NULL,
    created TEXT NOT NULL, sequence INTEGER NOT NULL);
CREATE INDEX resources_by_type ON resources (type, sequence);
CREATE TABLE operations (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, resource TEXT NOT NULL, status TEXT NOT NULL,
    payload TEXT NOT NULL, error TEXT, started TEXT NOT NULL, ended TEXT);
CREATE INDEX operations_running ON operations (status, key);
PRAGMA user_version=1;
"""


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


def test_a_newer_file_is_left_byte_for_byte_as_it_is(path: Path) -> None:
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA journal_mode=WAL")
    newer.execute("CREATE TABLE resources (id TEXT)")
    newer.execute("PRAGMA user_version=99")
    newer.execute("INSERT INTO resources VALUES ('of the future')")
    newer.commit()
    # Not closed: as after a kill, with the write-ahead log beside it.
    before = {file.name: file.read_bytes() for file in (path, path.with_name(path.name + "-wal"))}
    with pytest.raises(StoreError, match="schema 99"):
        Store(path)
    assert {name: path.with_name(name).read_bytes() for name in before} == before
    newer.close()


def test_a_file_of_the_first_schema_is_brought_to_the_present_one_with_all_that_is_in_it(path: Path) -> None:
    with sqlite3.connect(path) as old:
        old.executescript(FIRST_SCHEMA)
        old.execute(
            "INSERT INTO resources VALUES (?, ?, 'n/things', '{\"colour\":\"blue\"}', '{}', 'then', 7)",
            (resource("a").id.lower(), resource("a").id),
        )
        old.execute("INSERT INTO operations VALUES ('op', 'kind', '/a', '/a', 'Running', '{}', NULL, 'then', NULL)")
    old.close()
    store = Store(path)
    found = store.get(resource("a").id)
    assert found is not None
    assert (found.document, found.created) == ({"colour": "blue"}, "then")
    assert [(each.id, each.outlook) for each in store.running()] == [("op", None)]
    store.put_note("name", "value")
    store.put(resource("b"))
    store.close()
    again = Store(path)
    assert again.note("name") == "value", "the second time there is nothing left to bring up to date"
    assert [each.name for each in again.of_type("N/things")] == ["a", "b"]


def test_a_file_that_an_old_version_was_killed_in_before_its_tables_were_made_is_opened(path: Path) -> None:
    with sqlite3.connect(path) as old:
        old.execute("PRAGMA user_version=1")
    old.close()
    assert Store(path).of_type("N/things") == []


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"\xff" * 200])
def test_a_file_that_is_no_database_is_said_with_the_way_out(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"localazure reset"):
        Store(path)


def test_an_inner_part_that_fails_and_is_caught_leaves_nothing_of_itself(path: Path) -> None:
    store = Store(path)
    called: list[str] = []

    def inner() -> None:
        with store.transaction():
            store.put(resource("inner"))
            store.after_commit(lambda: called.append("inner"))
            raise RuntimeError("refused")

    with store.transaction():
        store.put(resource("outer"))
        store.after_commit(lambda: called.append("outer"))
        with pytest.raises(RuntimeError):
            inner()
    assert [each.name for each in store.of_type("N/things")] == ["outer"]
    assert called == ["outer"]


def test_a_full_disk_loses_the_write_and_nothing_else(path: Path) -> None:
    store = Store(path)
    store.put(resource("a"))
    called: list[str] = []

    def too_much() -> None:
        with store.transaction():
            store.after_commit(lambda: called.append("never"))
            store.put(resource("b", filler="x" * 1_000_000))

    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(StoreError, match="cannot be written"):
        too_much()
    store._db.execute("PRAGMA max_page_count=1000000")
    with store.transaction():
        store.put(resource("c"))
    assert [each.name for each in store.of_type("N/things")] == ["a", "c"]
    assert called == [], "what was lost has no consequences, then or later"


def test_what_follows_no_transaction_is_called_at_once(path: Path) -> None:
    called: list[str] = []
    Store(path).after_commit(lambda: called.append("now"))
    assert called == ["now"]
