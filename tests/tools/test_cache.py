"""The cache of set-up: made once, whole or not at all, by one set-up at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from localazure import tools as local_tools
from tools.cache import SetupError, cache_dir, digest, point, provide, run, which

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from tools.cache import alone
with alone(Path(sys.argv[1])):
    print("has it", flush=True)
    sys.stdin.read()
"""


def write(name: str):
    return lambda folder: (folder / name).write_text(name)


def test_a_thing_is_made_once_for_its_key(tmp_path: Path) -> None:
    provide(tmp_path, "thing", "1", "why", write("first"))
    thing = provide(tmp_path, "thing", "1", "why", write("second"))
    assert [file.name for file in thing.iterdir()] == ["first"]


def test_another_key_makes_another_version_and_the_name_leads_to_it(tmp_path: Path) -> None:
    provide(tmp_path, "thing", "1", "why", write("first"))
    thing = provide(tmp_path, "thing", "2", "why", write("second"))
    assert (thing / "second").exists()
    assert (provide(tmp_path, "thing", "1", "why", write("never")) / "first").exists(), "the old version was kept"


def test_what_breaks_off_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    def break_off(folder: Path) -> None:
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        provide(tmp_path, "thing", "1", "why", break_off)
    assert not (tmp_path / "thing").exists()
    thing = provide(tmp_path, "thing", "1", "why", write("whole"))
    assert [file.name for file in thing.iterdir()] == ["whole"]
    assert [folder.name for folder in (tmp_path / "versions").iterdir()] == ["thing-1"], "the half was cleared away"


def test_a_link_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "new").mkdir()
    point(tmp_path / "bin", tmp_path / "new")
    assert (tmp_path / "bin").readlink() == Path("new"), "relative, so that the cache may move"


def test_the_second_set_up_waits_for_the_first(tmp_path: Path) -> None:
    with start_holder(tmp_path) as first:
        assert line_of(first) == "has it\n"
        with start_holder(tmp_path) as second:
            assert "waiting for it" in line_of(second)
            first.communicate("")
            assert line_of(second) == "has it\n"
            second.communicate("")


def test_a_killed_set_up_leaves_no_lock(tmp_path: Path) -> None:
    with start_holder(tmp_path) as first:
        assert line_of(first) == "has it\n"
        first.kill()
    with start_holder(tmp_path) as second:
        assert line_of(second) == "has it\n"
        second.communicate("")


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


def start_holder(cache: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, cache], cwd=ROOT, stdin=pipe, stdout=pipe, text=True, start_new_session=True
    )


def test_a_digest_sees_contents_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    first = digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = digest(tmp_path)
    (tmp_path / "b").write_text("y")
    assert len({first, renamed, digest(tmp_path), digest("x", tmp_path)}) == 4


def test_a_failing_command_shows_its_last_lines() -> None:
    with pytest.raises(SetupError, match=r"failed \(3\)[\s\S]*the reason$"):
        run([sys.executable, "-c", "print('the reason'); raise SystemExit(3)"])


def test_a_program_is_looked_for_elsewhere_than_in_what_set_up_fills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'ours'}:{tmp_path / 'theirs'}")
    assert which("tool", without=[tmp_path / "ours"]) == tmp_path / "theirs" / "tool"
    assert which("tool", without=[tmp_path / "ours", tmp_path / "theirs"]) is None


@pytest.mark.parametrize(
    "environ",
    [{"AZUREML_ENDPOINTS_CACHE": "/a/b"}, {"AZUREML_ENDPOINTS_CACHE": "~/c"}, {"XDG_CACHE_HOME": "/x"}, {}],
    ids=["own", "own in home", "XDG", "neither"],
)
def test_local_azure_looks_where_set_up_installs(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZUREML_ENDPOINTS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert cache_dir(environ) == local_tools.cache_dir()
