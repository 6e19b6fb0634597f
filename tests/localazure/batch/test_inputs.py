"""Inputs: which files a job scores, and how they are cut into mini-batches."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localazure.batch.inputs import list_files, mini_batches
from localazure.batch.spec import JobRefused

names = st.lists(st.text("abc", min_size=1, max_size=3), max_size=30)


@given(st.lists(names, max_size=4), st.integers(1, 7))
def test_every_file_is_in_exactly_one_mini_batch_in_order(inputs: list[list[str]], size: int) -> None:
    batches = mini_batches(inputs, size)
    assert [name for batch in batches for name in batch.files] == [name for files in inputs for name in files]
    assert [batch.number for batch in batches] == list(range(len(batches)))


@given(st.lists(names, max_size=4), st.integers(1, 7))
def test_mini_batches_are_as_full_as_one_input_allows(inputs: list[list[str]], size: int) -> None:
    batches = mini_batches(inputs, size)
    assert all(1 <= len(batch.files) <= size for batch in batches)
    assert len(batches) == sum(-(-len(files) // size) for files in inputs), "an input's last mini-batch is its own"


def test_files_come_sorted_from_all_depths(tmp_path: Path) -> None:
    for name in ("b.csv", "a/z.csv", "a/deep/y.csv", "c.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [Path(name).relative_to(tmp_path).as_posix() for name in list_files(tmp_path, nested=True)]
    assert found == ["a/deep/y.csv", "a/z.csv", "b.csv", "c.csv"]


def test_folders_inside_the_input_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.csv").touch()
    (tmp_path / "b.csv").touch()
    assert list_files(tmp_path, nested=False) == [str(tmp_path / "b.csv")]


def test_an_input_may_be_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    assert list_files(tmp_path / "a.csv", nested=True) == [str(tmp_path / "a.csv")]


def test_an_input_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobRefused, match=r"nowhere does not exist"):
        list_files(tmp_path / "nowhere", nested=True)
