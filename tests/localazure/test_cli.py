"""What the commands print, of a Local Azure that runs."""

import fcntl
import json
import threading
from pathlib import Path

import pytest

from localazure import cli
from tests.localazure.running import PATIENCE, Installation, until


def test_status_is_for_people_and_for_programs(running: Installation) -> None:
    status = running.status()
    assert status["running"] is True
    assert status["azure"]["onlineEndpoints"][0]["name"] == "tumor-online"
    text = running.ok("status")
    assert str(running.home.path) in text
    assert "traffic: blue 90, green 10" in text


def test_keys_prints_what_a_curl_line_can_take(running: Installation) -> None:
    assert running.ok("keys", "tumor-online") == "first-key\n"
    assert running.ok("keys", "tumor-online", "--secondary") == "second-key\n"
    keys = json.loads(running.ok("keys", "tumor-online", "--json"))
    assert keys == {"primaryKey": "first-key", "secondaryKey": "second-key"}


def test_an_unknown_endpoint_is_said_with_those_there_are(running: Installation) -> None:
    done = running.run("keys", "tumour-online")
    assert done.returncode == 1
    assert "'tumour-online'" in done.stderr
    assert "there are: tumor-online" in done.stderr


def test_logs_prints_the_daemons_or_a_deployments(running: Installation) -> None:
    assert "Local Azure answers" in running.ok("logs")
    unwritten = running.run("logs", "blue")
    assert unwritten.returncode == 1
    assert "nothing has been logged" in unwritten.stderr
    (running.home.logs / "blue.log").write_text("one\ntwo\nthree\n")
    assert running.ok("logs", "blue", "-n", "2") == "two\nthree\n"
    unknown = running.run("logs", "purple")
    assert unknown.returncode == 1
    assert "purple" in unknown.stderr
    (running.home.logs / "blue.log").unlink()


def test_logs_follows_what_is_added(running: Installation) -> None:
    file = running.home.logs / "blue.log"
    file.write_text("before\n")
    follower = running.begin("logs", "blue", "--follow")
    patience = threading.Timer(PATIENCE, follower.kill)
    patience.start()
    assert follower.stdout
    assert follower.stdout.readline() == "before\n"
    with file.open("a") as log:
        log.write("after\n")
    assert follower.stdout.readline() == "after\n"
    patience.cancel()
    follower.terminate()
    follower.communicate()
    file.unlink()


def test_a_reader_that_has_enough_is_no_error(running: Installation) -> None:
    file = running.home.logs / "blue.log"
    file.write_text("line\n" * 200_000)
    done = running.shell(f'"$PYTHON" "$PROGRAM" logs blue -n 200000 --home "{running.home.path}" 2>&1 | head -1')
    assert done == "line\n"
    file.unlink()


def test_the_plugin_is_installed_by_one_start_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(pulumi_home: Path) -> bool:
        with (pulumi_home.parent / "start.lock").open("ab") as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise AssertionError("another start could have come in between")

    monkeypatch.setattr(cli, "install_plugin", install)
    with pytest.raises(BlockingIOError):
        cli.main(["start", "--home", str(tmp_path / "home")])


def test_an_unknown_command_is_explained(running: Installation) -> None:
    done = running.run("begin")
    assert done.returncode == 2
    assert "invalid choice: 'begin'" in done.stderr


def test_stopping_shells_do_not_stop_the_daemon(running: Installation) -> None:
    running.shell("true")
    until(lambda: running.status()["connections"] == 0, "tunnels of shells that ended are closed")
