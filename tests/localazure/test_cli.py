"""What the commands print, of a Local Azure that runs."""

import fcntl
import json
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localazure import cli
from tests.localazure.running import PATIENCE, Installation, until

Follow = Callable[..., subprocess.Popen[str]]


def test_status_is_for_people_and_for_programs(running: Installation) -> None:
    status = running.status()
    assert status["running"] is True
    assert status["azure"]["onlineEndpoints"][0]["name"] == "tumor-online"
    text = running.ok("status")
    assert str(running.home.path) in text
    assert re.search(
        r"Online endpoint tumor-online\n +DEPLOYMENT +TRAFFIC +STATE .*\n +blue +90 % +Succeeded +0/0 +7", text
    )


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


def test_the_clock_of_schedules_is_put_forward(running: Installation) -> None:
    assert json.loads(running.ok("clock")) == {"now": "None", "aheadSeconds": 0.0}
    assert json.loads(running.ok("clock", "--by", "8h"))["aheadSeconds"] == 8 * 3600
    assert json.loads(running.ok("clock", "--to", "2026-03-29T02:00Z"))["now"] == "2026-03-29 02:00:00+00:00"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--by", "soon"), "a number with s, m, h or d"),
        (("--to", "tomorrow"), "to a time such as 2026-03-29T02:00"),
        (("--to", "2019-01-01"), "goes forward only"),
    ],
)
def test_a_clock_that_cannot_be_put_there_is_said(running: Installation, arguments: list[str], words: str) -> None:
    done = running.run("clock", *arguments)
    assert done.returncode
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def blue(running: Installation) -> Iterator[Path]:
    """The log of the server of a deployment, which has not logged yet."""
    folder = running.home.logs / "blue"
    folder.mkdir()
    yield folder / "inference-server.log"
    shutil.rmtree(folder)


@pytest.fixture
def follow(running: Installation) -> Iterator[Follow]:
    """Begins to follow logs; what does not end by itself is ended after the test, or when it takes too long."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        follower = running.begin("logs", "--follow", *arguments)
        begun.append(follower)
        patience.append(threading.Timer(PATIENCE, follower.kill))
        patience[-1].start()
        return follower

    patience: list[threading.Timer] = []
    yield begin
    for follower, timer in zip(begun, patience, strict=True):
        timer.cancel()
        follower.kill()
        follower.communicate()


def line(follower: subprocess.Popen[str]) -> str:
    assert follower.stdout
    return follower.stdout.readline()


def test_logs_prints_the_daemons_or_a_deployments(running: Installation, blue: Path) -> None:
    assert "Local Azure answers" in running.ok("logs")
    blue.write_text("one\ntwo\nthree\n")
    assert running.ok("logs", "blue", "-n", "2") == "two\nthree\n"
    assert running.ok("logs", "blue", "-n", "0") == ""


def test_a_deployment_that_has_not_logged_says_so(running: Installation, blue: Path) -> None:
    unwritten = running.run("logs", "blue")
    assert unwritten.returncode == 1
    assert f"{blue} does not exist: nothing has been logged" in unwritten.stderr


def test_before_a_deployment_has_a_server_its_preparation_is_shown(running: Installation, blue: Path) -> None:
    blue.with_name("storage-initializer.log").write_text("building\n")
    assert running.ok("logs", "blue") == "building\n"
    blue.write_text("serving\n")
    assert running.ok("logs", "blue") == "serving\n"
    assert running.ok("logs", "blue", "-c", "storage-initializer") == "building\n"


def test_an_unknown_name_is_said_with_those_that_log(running: Installation) -> None:
    unknown = running.run("logs", "purple")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == "localazure: Nothing that logs is called 'purple'; there are: blue, job.\n"


def test_the_logs_of_a_job_are_told_apart(running: Installation) -> None:
    folder = running.home.logs / "job"
    folder.mkdir()
    (folder / "70_driver_log.txt").write_text("scored\n")
    (folder / "90_stdout.txt").write_text("printed\n")
    assert running.ok("logs", "job") == "==> job/70_driver_log.txt <==\nscored\n\n==> job/90_stdout.txt <==\nprinted\n"
    shutil.rmtree(folder)


def test_logs_follows_what_is_added(follow: Follow, blue: Path) -> None:
    blue.write_text("before\n")
    follower = follow("blue")
    assert line(follower) == "before\n"
    with blue.open("a") as log:
        log.write("after\n")
    assert line(follower) == "after\n"


def test_a_log_that_is_not_there_yet_is_waited_for(follow: Follow, blue: Path) -> None:
    follower = follow("blue")
    blue.with_name("storage-initializer.log").write_text("building\n")
    assert line(follower) == "building\n"
    blue.write_text("serving\n")
    assert [line(follower) for _ in range(3)] == ["\n", "==> blue/inference-server.log <==\n", "serving\n"]


def test_a_log_is_followed_when_it_is_moved_away_or_cut_off(follow: Follow, blue: Path) -> None:
    blue.write_text("first\n")
    follower = follow("blue")
    assert line(follower) == "first\n"
    with blue.open("a") as old:
        blue.rename(blue.with_suffix(".1"))
        old.write("the old one's last\n")
    blue.write_text("the new one\n")
    assert [line(follower), line(follower)] == ["the old one's last\n", "the new one\n"]
    blue.write_text("short\n")
    assert line(follower) == "short\n"


def test_a_deployment_is_followed_into_its_next_revision(running: Installation, follow: Follow, blue: Path) -> None:
    known = running.home.path / "blue"
    for revision in ("blue-00000001", "blue-00000002"):
        (running.home.logs / revision).mkdir()
        (running.home.logs / revision / "inference-server.log").write_text(f"{revision} serves\n")
    known.write_text("blue-00000001")
    follower = follow("blue")
    assert line(follower) == "blue-00000001 serves\n"
    known.write_text("blue-00000002")
    shutil.rmtree(running.home.logs / "blue-00000001")
    lines = [line(follower) for _ in range(3)]
    assert lines == ["\n", "==> blue-00000002/inference-server.log <==\n", "blue-00000002 serves\n"]
    known.unlink()
    shutil.rmtree(running.home.logs / "blue-00000002")


def test_following_ends_with_the_job(running: Installation, follow: Follow) -> None:
    folder, ended = running.home.logs / "job", running.home.path / "job-has-ended"
    folder.mkdir()
    (folder / "70_driver_log.txt").write_text("begun\n")
    follower = follow("job")
    assert line(follower) == "begun\n"
    with (folder / "70_driver_log.txt").open("a") as log:
        log.write("its last words\n")
    ended.touch()
    assert follower.communicate(timeout=PATIENCE) == ("its last words\n", "")
    assert follower.returncode == 0
    ended.unlink()
    shutil.rmtree(folder)


def test_following_ends_in_order_by_ctrl_c(follow: Follow, blue: Path) -> None:
    blue.write_text("before\n")
    follower = follow("blue")
    assert line(follower) == "before\n"
    follower.send_signal(signal.SIGINT)
    assert follower.communicate(timeout=PATIENCE) == ("", "")
    assert follower.returncode == 130, "as a shell expects of what Ctrl-C ended"


def test_following_outlives_the_daemon(installation: Installation) -> None:
    installation.ok("start")
    log = installation.home.logs / "blue" / "inference-server.log"
    log.parent.mkdir()
    log.write_text("before\n")
    follower = installation.begin("logs", "blue", "--follow")
    patience = threading.Timer(PATIENCE, follower.kill)
    patience.start()
    assert line(follower) == "before\n"
    installation.ok("stop")
    with log.open("a") as file:
        file.write("while it was away\n")
    assert line(follower) == "while it was away\n"
    installation.ok("start")
    with log.open("a") as file:
        file.write("when it was back\n")
    assert line(follower) == "when it was back\n"
    patience.cancel()
    follower.kill()
    follower.communicate()


def test_a_reader_that_has_enough_is_no_error(running: Installation, blue: Path) -> None:
    blue.write_text("line\n" * 200_000)
    done = running.shell(f'"$PYTHON" "$PROGRAM" logs blue -n 200000 --home "{running.home.path}" 2>&1 | head -1')
    assert done == "line\n"


def test_nodes_of_a_cluster_are_preempted(running: Installation) -> None:
    told = json.loads(running.ok("preempt", "cheap", "-n", "2", "-s", "5"))
    assert told == {"cluster": "cheap", "preempted": 2, "canceled": [], "seconds": 5.0}
    assert json.loads(running.ok("preempt", "cheap")) == {**told, "preempted": 1, "seconds": 60.0}
    for arguments, said in (
        (("dear",), "there are: cheap"),
        (("cheap", "-n", "0"), "give 1 or more"),
        (("cheap", "-s", "-1"), "0 to 604800"),
        (("cheap", "-s", "nan"), "0 to 604800"),
    ):
        failed = running.run("preempt", *arguments)
        assert failed.returncode == 1
        assert said in failed.stderr


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
