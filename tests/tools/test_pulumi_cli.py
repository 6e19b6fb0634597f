"""Where Pulumi comes from: PATH if it works, the official release if it can be had and is whole, else a build."""

from __future__ import annotations

import hashlib
import http.client
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools import pulumi_cli
from tools.cache import SetupError

SAYS_VERSION = f"#!/bin/sh\necho v{pulumi_cli.VERSION}\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is served as the publisher's; it holds one whole release."""
    folder = tmp_path / "releases"
    folder.mkdir()
    publish(folder, dict.fromkeys(pulumi_cli.PROGRAMS, SAYS_VERSION) | {"pulumi-language-go": ""})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    monkeypatch.setattr(pulumi_cli, "RELEASES", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield folder
    server.shutdown()
    server.server_close()


def publish(folder: Path, programs: dict[str, str]) -> None:
    archive = folder / f"pulumi-v{pulumi_cli.VERSION}-{pulumi_cli.platform()}.tar.gz"
    with tarfile.open(archive, "w:gz") as release:
        for name, content in programs.items():
            member = tarfile.TarInfo(f"pulumi/{name}")
            member.size = len(content)
            release.addfile(member, io.BytesIO(content.encode()))
    total = hashlib.sha256(archive.read_bytes()).hexdigest()
    (folder / f"pulumi-{pulumi_cli.VERSION}-checksums.txt").write_text(f"{total}  {archive.name}\n")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def test_the_release_brings_what_a_python_program_needs_and_no_more(releases: Path, target: Path) -> None:
    pulumi_cli.install(target, target, target, target)
    assert sorted(file.name for file in target.iterdir()) == sorted(pulumi_cli.PROGRAMS)


def test_a_release_with_another_checksum_is_refused(releases: Path, target: Path) -> None:
    checksums = releases / f"pulumi-{pulumi_cli.VERSION}-checksums.txt"
    checksums.write_text(checksums.read_text().replace(checksums.read_text()[:8], "00000000"))
    with pytest.raises(SetupError, match="checksum"):
        pulumi_cli.download(target)
    assert not list(target.iterdir()), "nothing of it was unpacked, and the archive is gone"


def test_without_the_release_it_is_built(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(cache: Path, tools: Path, uv: Path, folder: Path) -> None:
        script(folder / "pulumi", SAYS_VERSION)

    monkeypatch.setattr(pulumi_cli, "RELEASES", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(pulumi_cli, "build", build)
    pulumi_cli.install(target, target, target, target)
    assert (target / "pulumi").exists()


def test_a_transfer_that_breaks_off_is_followed_by_a_build(
    releases: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(response: object, file: object) -> None:
        raise http.client.IncompleteRead(b"half of it")

    monkeypatch.setattr(pulumi_cli.shutil, "copyfileobj", breaks)
    monkeypatch.setattr(pulumi_cli, "build", lambda *folders: script(folders[-1] / "pulumi", SAYS_VERSION))
    pulumi_cli.install(target, target, target, target)
    assert [file.name for file in target.iterdir()] == ["pulumi"], "what was built, without half an archive"


def test_a_pulumi_of_another_version_than_was_asked_for_is_refused(releases: Path, target: Path) -> None:
    publish(releases, dict.fromkeys(pulumi_cli.PROGRAMS, "#!/bin/sh\necho v1.0.0\n"))
    with pytest.raises(SetupError, match=r"v1\.0\.0"):
        pulumi_cli.install(target, target, target, target)


def script(file: Path, content: str) -> None:
    file.write_text(content)
    file.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH besides the system's."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_a_pulumi_with_its_language_host_is_taken_from_path(path: Path, tmp_path: Path) -> None:
    script(path / "pulumi", SAYS_VERSION)
    script(path / "pulumi-language-python", "")
    assert pulumi_cli.on_path(tmp_path)


def test_a_pulumi_without_a_language_host_will_not_do(path: Path, tmp_path: Path) -> None:
    script(path / "pulumi", SAYS_VERSION)
    assert not pulumi_cli.on_path(tmp_path)


def test_a_pulumi_that_does_not_start_will_not_do(path: Path, tmp_path: Path) -> None:
    script(path / "pulumi", "#!/bin/sh\nexit 1\n")
    script(path / "pulumi-language-python", "")
    assert not pulumi_cli.on_path(tmp_path)


def test_the_one_in_the_cache_does_not_count_as_the_users(path: Path, tmp_path: Path) -> None:
    script(path / "pulumi", SAYS_VERSION)
    script(path / "pulumi-language-python", "")
    (tmp_path / "bin").symlink_to(path)
    assert not pulumi_cli.on_path(tmp_path)


def test_a_pulumi_is_started_once_until_it_changes(path: Path, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    script(path / "pulumi", f"#!/bin/sh\necho x >> {starts}\n")
    script(path / "pulumi-language-python", "")
    for _ in range(3):
        assert pulumi_cli.on_path(tmp_path)
    assert starts.read_text() == "x\n"
    script(path / "pulumi", "#!/bin/sh\n# broken since\nexit 1\n")
    assert not pulumi_cli.on_path(tmp_path)


@pytest.mark.parametrize(
    ("says", "enough"),
    [("go1.26.8 linux/amd64", True), ("go1.25.11 x", True), ("go1.25.9 x", False), ("go1.26 x", True), ("?", False)],
)
def test_go_must_be_recent_enough_for_the_modules(says: str, enough: bool, tmp_path: Path) -> None:
    script(tmp_path / "go", f"#!/bin/sh\necho 'go version {says}'\n")
    assert (pulumi_cli.go_version(tmp_path / "go") >= pulumi_cli.OLDEST_GO) is enough
