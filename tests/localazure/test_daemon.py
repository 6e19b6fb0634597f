"""The daemon's life: started once, ended whole, whatever happens in between. Real processes, a small control plane."""

import json
import shutil
import signal
import socket
import stat
from pathlib import Path

import psutil
import pytest

from localazure.runtime import Runtime, claimant
from tests.localazure.fake_program import ACCOUNT
from tests.localazure.running import Installation, gone, until

TOUCH_STORAGE = f"curl -sS -o /dev/null https://{ACCOUNT}.blob.core.windows.net/"


def listening(process: psutil.Process) -> list[str]:
    """The addresses that a process and its children listen on."""
    family = [process, *process.children(recursive=True)]
    found = [connection for one in family for connection in one.net_connections("inet")]
    return [connection.laddr.ip for connection in found if connection.status == psutil.CONN_LISTEN]


def daemon(installation: Installation) -> psutil.Process:
    return psutil.Process(installation.status()["pid"])


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_it_answers_when_start_returns_and_only_on_loopback(installation: Installation) -> None:
    said = installation.ok("start")
    assert str(installation.home.path) in said, "start says where it is"
    installation.shell(TOUCH_STORAGE)
    addresses = listening(daemon(installation))
    assert len(addresses) == 6, "two proxies with a control plane each, identity and one Azurite"
    assert set(addresses) == {"127.0.0.1"}


def test_what_runs_in_a_workspaces_network_is_answered_as_such(installation: Installation) -> None:
    installation.ok("start")
    ports = installation.status()["ports"]
    asked = "curl -sS https://management.azure.com/"
    assert "from within" not in installation.shell(asked)
    assert "from within" in installation.shell(f"{asked} --proxy http://127.0.0.1:{ports['inner']}")


def test_what_comes_back_at_the_start_is_told_the_ports(installation: Installation) -> None:
    installation.ok("start")
    known = json.loads((installation.home.path / "known-at-start").read_text())
    assert known == {"pid": 0, "ports": installation.status()["ports"]}, "but nobody is told that it answers yet"


def test_starting_again_changes_nothing(installation: Installation) -> None:
    installation.ok("start")
    before = installation.status()
    installation.ok("start")
    assert installation.status() == before


def test_two_starts_at_once_make_one_daemon(installation: Installation) -> None:
    starts = [installation.begin("start") for _ in range(3)]
    for start in starts:
        _, error = start.communicate(timeout=60)
        assert start.returncode == 0, error
    daemons = [process for process in installation.marked() if "serve" in process.cmdline()]
    assert len(daemons) == 1


def test_stop_leaves_no_process_and_no_port(installation: Installation) -> None:
    installation.ok("start")
    installation.shell(TOUCH_STORAGE)
    ports = installation.status()["ports"]
    installation.ok("stop")
    assert installation.marked() == []
    assert all(refuses(port) for port in ports.values())
    assert (installation.home.path / "stopped").exists(), "the control plane was stopped in order"
    assert "was not running" in installation.ok("stop"), "stopping twice is no mistake"


def test_a_terminated_daemon_ends_in_order(installation: Installation) -> None:
    installation.ok("start")
    installation.shell(TOUCH_STORAGE)
    daemon(installation).terminate()
    until(lambda: not installation.marked(), "the daemon, its guardian and Azurite have gone")
    assert (installation.home.path / "stopped").exists()


def test_nothing_outlives_a_killed_daemon(installation: Installation) -> None:
    installation.ok("start")
    installation.shell(TOUCH_STORAGE)
    assert len(installation.marked()) == 3, "the daemon, its guardian and Azurite"
    daemon(installation).kill()
    until(lambda: not installation.marked(), "the guardian has ended everything, itself at last")
    assert "does not run" in installation.run("status").stdout
    installation.ok("start")
    installation.shell(TOUCH_STORAGE)


def test_what_a_killed_daemon_and_guardian_left_is_swept_at_the_next_start(installation: Installation) -> None:
    installation.ok("start")
    installation.shell(TOUCH_STORAGE)
    killed = daemon(installation)
    (azurite,) = [child for child in killed.children() if "main.js" in " ".join(child.cmdline())]
    guardians = [process for process in installation.marked() if process not in (killed, azurite)]
    for process in [*guardians, killed]:
        process.kill()
    assert azurite.is_running()
    installation.ok("start")
    assert gone(azurite)


def test_a_frozen_daemon_is_ended_by_force(installation: Installation) -> None:
    installation.ok("start")
    daemon(installation).suspend()
    installation.ok("stop")
    assert installation.marked() == []


def test_ports_are_kept_so_that_shells_keep_working(installation: Installation) -> None:
    installation.ok("start")
    before = installation.status()["ports"]
    installation.ok("stop")
    installation.ok("start")
    assert installation.status()["ports"] == before


def test_a_port_that_somebody_took_is_given_up(installation: Installation) -> None:
    installation.ok("start")
    before = installation.status()["ports"]
    installation.ok("stop")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", before["proxy"]))
        other.listen()
        installation.ok("start")
        after = installation.status()["ports"]
    assert after["proxy"] != before["proxy"]
    assert after["control"] == before["control"]


def test_a_start_that_fails_shows_the_logs_last_lines(installation: Installation) -> None:
    installation.home.create()
    (installation.home.path / "fail").touch()
    failed = installation.run("start")
    assert failed.returncode == 1
    assert "the control plane has a reason not to start" in failed.stderr
    assert installation.marked() == []


def test_wrong_settings_are_said_by_start(installation: Installation) -> None:
    failed = installation.run("start", LOCALAZURE_LOKATION="eastus")
    assert failed.returncode == 1
    assert "lokation" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_deleted_home_ends_its_daemon(installation: Installation) -> None:
    installation.ok("start")
    installation.shell(TOUCH_STORAGE)
    family = installation.marked()
    assert len(family) == 3
    shutil.rmtree(installation.home.path)
    until(lambda: all(map(gone, family)), "nobody could stop it any more")
    assert not installation.home.path.exists(), "it does not come back either"


def test_reset_deletes_the_home_and_ends_everything(installation: Installation) -> None:
    installation.ok("start")
    family = installation.marked()
    installation.ok("reset")
    assert not installation.home.path.exists()
    assert all(map(gone, family))
    assert "no Local Azure" in installation.ok("reset")
    installation.ok("start")


def test_reset_never_deletes_a_folder_of_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    Installation.of(tmp_path).ok("reset")
    refused = Installation.of(tmp_path).run("start")
    assert refused.returncode == 1
    assert "not a Local Azure home" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_homes_run_side_by_side(installation: Installation, tmp_path: Path) -> None:
    other = Installation.of(tmp_path / "other")
    installation.ok("start")
    other.ok("start")
    try:
        assert set(installation.status()["ports"].values()).isdisjoint(other.status()["ports"].values())
        installation.ok("stop")
        assert other.status()["running"]
    finally:
        other.ok("stop")


def test_an_interrupted_start_can_be_repeated(installation: Installation) -> None:
    start = installation.begin("start")
    until(lambda: installation.home.exists and claimant(installation.home), "the daemon is on its way")
    start.send_signal(signal.SIGINT)
    start.communicate(timeout=60)
    installation.ok("start")
    assert len([process for process in installation.marked() if "serve" in process.cmdline()]) == 1


def test_secrets_are_private_and_stay_out_of_the_logs(installation: Installation) -> None:
    installation.ok("start")
    header = installation.shell(
        f"{TOUCH_STORAGE}\n"
        'curl -sS -o /dev/null -H "X-IDENTITY-HEADER: $IDENTITY_HEADER" '
        '"$IDENTITY_ENDPOINT?api-version=2019-08-01&resource=x"\n'
        "curl -sS https://management.azure.com/?sig=topsecret >/dev/null\n"
        "curl -sS https://foo.azure.com/?sig=topsecret >/dev/null || true\n"
        'printf %s "$IDENTITY_HEADER"'
    )
    logs = "".join(file.read_text() for file in installation.home.logs.iterdir())
    assert "foo.azure.com" in logs, "what was refused can be looked up"
    assert header not in logs
    assert "topsecret" not in logs
    assert "eyJ" not in logs, "tokens begin like this"
    assert stat.S_IMODE(installation.home.path.stat().st_mode) == 0o700
    private = [installation.home.runtime_file, installation.home.path / "identity-secret"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in private} == {0o600}


def test_the_runtime_file_tells_process_and_ports(installation: Installation) -> None:
    installation.ok("start")
    known = json.loads(installation.home.runtime_file.read_text())
    status = installation.status()
    assert (known["pid"], known["ports"]) == (status["pid"], status["ports"])
    installation.ok("stop")
    assert Runtime.read(installation.home).pid == 0


@pytest.mark.parametrize("command", ["status", "env", "keys", "logs"])
def test_commands_say_when_nothing_runs(installation: Installation, command: str) -> None:
    names = ["tumor-online"] if command in ("keys", "logs") else []
    done = installation.run(command, *names)
    assert done.returncode != 0
    assert "python -m localazure start" in done.stdout + done.stderr, "the way out"
    assert "Traceback" not in done.stderr
    assert not installation.home.path.exists(), "looking leaves nothing behind"
