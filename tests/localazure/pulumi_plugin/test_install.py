"""Installing the provider into a Pulumi home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from localazure.pulumi_plugin.__main__ import main
from localazure.pulumi_plugin.install import install

FOLDER = "resource-azure-native-v3.29.0"


def test_the_second_time_nothing_is_written(tmp_path: Path) -> None:
    assert install(tmp_path)
    before = (tmp_path / "plugins" / FOLDER).stat()

    assert not install(tmp_path)

    assert (tmp_path / "plugins" / FOLDER).stat() == before
    assert os.access(tmp_path / "plugins" / FOLDER / "pulumi-resource-azure-native", os.X_OK)


@pytest.mark.parametrize("name", ["location", "pulumi-resource-azure-native"])
def test_what_differs_is_replaced_as_a_whole(tmp_path: Path, name: str) -> None:
    install(tmp_path)
    (tmp_path / "plugins" / FOLDER / name).write_text("python=/gone/python\n")

    assert install(tmp_path)
    assert not install(tmp_path)
    assert [entry.name for entry in (tmp_path / "plugins").iterdir()] == [FOLDER]


def test_a_download_that_broke_off_does_not_hide_it(tmp_path: Path) -> None:
    install(tmp_path)
    partial = tmp_path / "plugins" / f"{FOLDER}.partial"
    partial.touch()

    assert install(tmp_path)
    assert not partial.exists()


def test_the_command_takes_the_home_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "new"))

    main(["install"])

    assert "installed" in capsys.readouterr().out
    assert (tmp_path / "new" / "plugins" / FOLDER).is_dir()


def test_the_command_without_a_home_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PULUMI_HOME", raising=False)

    with pytest.raises(SystemExit, match="set PULUMI_HOME"):
        main(["install"])
