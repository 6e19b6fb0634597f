"""Layer: content hashing; what counts, what does not, and what is read again."""

import os
import time
from pathlib import Path

import pytest
from azure.ai.ml._utils._asset_utils import get_ignore_file, get_upload_files_from_folder
from hypothesis import given
from hypothesis import strategies as st

from dynamic import content
from dynamic.content import HashCache, content_hash, environment_hash, model_hash, uploaded_files, version_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AZUREML_ENDPOINTS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("score.py", "lib/a.py", "lib/data.csv", "__pycache__/score.pyc", "lib/__pycache__/a.pyc", "keep.pyc"):
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name).write_text(name)
    return tmp_path / "code"


def test_a_hash_depends_on_names_and_contents(folder: Path) -> None:
    before = content_hash(folder)
    assert content_hash(folder) == before
    (folder / "score.py").rename(folder / "run.py")
    renamed = content_hash(folder)
    (folder / "run.py").write_text("other")
    assert len({before, renamed, content_hash(folder)}) == 3


def test_a_hash_does_not_depend_on_where_the_folder_is(folder: Path, tmp_path: Path) -> None:
    before = content_hash(folder)
    folder.rename(tmp_path / "elsewhere")
    assert content_hash(tmp_path / "elsewhere") == before


def test_a_model_is_its_type_its_content_and_the_name_that_its_script_loads_it_by(tmp_path: Path) -> None:
    for name in ("a/model.pkl", "b/model.pkl", "b/tumor.pkl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("weights")
    one = model_hash(tmp_path / "a/model.pkl", "custom_model")
    assert one == model_hash(tmp_path / "b/model.pkl", "custom_model"), "where it lies does not count"
    assert one != model_hash(tmp_path / "b/tumor.pkl", "custom_model")
    assert one != model_hash(tmp_path / "a/model.pkl", "mlflow_model")
    (tmp_path / "latest.pkl").symlink_to(tmp_path / "a/model.pkl")
    assert one == model_hash(tmp_path / "latest.pkl", "custom_model"), "what a link leads to is what is uploaded"


def test_what_is_ignored_does_not_count(folder: Path) -> None:
    (folder / ".amlignore").write_text("__pycache__\n*.pyc\n")
    before = content_hash(folder)
    (folder / "__pycache__/score.pyc").write_text("compiled again")
    assert content_hash(folder) == before


IGNORES = [
    "",
    "__pycache__",
    "__pycache__/",
    "*.pyc\n!keep.pyc",
    "# a comment\n\n/score.py  \nlib/*.csv",
    "**/a.py",
    "lib",
    "*\n!*.py",
]


@pytest.mark.parametrize("name", [".amlignore", ".gitignore"])
@pytest.mark.parametrize("rules", IGNORES)
def test_the_files_are_those_that_azure_ai_ml_uploads(folder: Path, name: str, rules: str) -> None:
    (folder / name).write_text(rules)
    (folder / "link.py").symlink_to(folder / "lib/a.py")
    (folder / "linked").symlink_to(folder / "lib")
    theirs = get_upload_files_from_folder(folder, ignore_file=get_ignore_file(folder))
    assert sorted(ours for ours, _ in uploaded_files(folder)) == sorted(name for _, name in theirs)  # type: ignore[misc]


def test_amlignore_goes_before_gitignore(folder: Path) -> None:
    (folder / ".gitignore").write_text("score.py")
    (folder / ".amlignore").write_text("lib")
    names = {name for name, _ in uploaded_files(folder)}
    assert "score.py" in names
    assert "lib/a.py" not in names


def test_a_folder_without_files_is_refused(folder: Path) -> None:
    (folder / ".amlignore").write_text("*")
    with pytest.raises(ValueError, match=r"holds no file to upload; is everything in its .amlignore"):
        content_hash(folder)
    with pytest.raises(FileNotFoundError, match=r'there is no file or folder ".*none"'):
        content_hash(folder / "none")


def aged(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a file's times lie in the past, as far as the cache can tell."""
    now = time.time_ns() + 10 * content.FRESH_NS
    monkeypatch.setattr(content.time, "time_ns", lambda: now)


def test_an_unchanged_file_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "score.py"
    aged(file, monkeypatch)
    first = content_hash(file)
    reads: list[object] = []
    monkeypatch.setattr(content.hashlib, "file_digest", lambda *arguments: reads.append(arguments))
    assert content_hash(file) == first
    assert not reads


def test_a_changed_file_is_read_again_though_size_and_time_are_put_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "score.py"
    aged(file, monkeypatch)
    first, status = content_hash(file), file.stat()
    file.write_text("x" * status.st_size)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert content_hash(file) != first


def test_a_file_that_was_written_just_now_is_not_remembered(folder: Path, cache: Path) -> None:
    file = folder / "score.py"
    content_hash(file)
    with HashCache(cache / "hashes.sqlite") as known:
        status = file.stat()
        stamp = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
        assert known._recall(str(file.resolve()), stamp) is None


def test_hashing_works_where_nothing_can_be_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content_hash(folder)
    blocked = folder / "score.py"
    monkeypatch.setenv("AZUREML_ENDPOINTS_CACHE", str(blocked / "no-folder"))
    assert content_hash(folder) == before


def test_a_broken_cache_costs_time_only(folder: Path, cache: Path) -> None:
    before = content_hash(folder)
    (cache / "hashes.sqlite").write_bytes(b"this is no database" * 100)
    assert content_hash(folder) == before


@given(st.binary(min_size=32, max_size=32))
def test_a_version_is_a_positive_integer_of_31_bits(digest: bytes) -> None:
    version = version_of(digest.hex())
    assert version == str(int(version))
    assert 1 <= int(version) <= 2**31 - 1


def test_an_environment_changes_with_its_image_and_its_conda_file(tmp_path: Path) -> None:
    conda = tmp_path / "conda.yaml"
    conda.write_text("dependencies: [python=3.11]")
    before = environment_hash("image:1", str(conda), None, None)
    other_image = environment_hash("image:2", str(conda), None, None)
    conda.write_text("dependencies: [python=3.12]")
    assert len({before, other_image, environment_hash("image:1", str(conda), None, None)}) == 3
