import sys
from pathlib import Path

import pytest

from localazure.batch import BatchSpec
from localazure.home import Home
from tests.localazure.batch.support import JobRunner, Log, Rows
from tests.scoring.sample_environment import sample_python


@pytest.fixture
def spec(tmp_path: Path) -> BatchSpec:
    """A job of the running interpreter: two workers, one file a mini-batch, one try."""
    return BatchSpec(
        job="batchjob-test",
        python=Path(sys.executable),
        model_dir=None,
        mlflow_path=None,
        code_dir=tmp_path / "code",
        script="score.py",
        environment_variables={},
        inputs=(tmp_path / "input",),
        output_dir=tmp_path / "output",
        log_dir=tmp_path / "log",
        journal=tmp_path / "journal",
        instance_count=1,
        max_concurrency_per_instance=2,
        mini_batch_size=1,
        error_threshold=-1,
        max_retries=1,
        timeout=60.0,
        output_action="AppendRow",
        output_file_name="predictions.csv",
        logging_level="info",
    )


@pytest.fixture
def job(spec: BatchSpec, home: Home) -> JobRunner:
    return JobRunner(spec, home)


@pytest.fixture
def rows(spec: BatchSpec) -> Rows:
    """The lines of the output file, sorted: their order is not promised."""

    def read() -> list[str]:
        text = (spec.output_dir / spec.output_file_name).read_text(encoding="utf-8", errors="surrogateescape")
        return sorted(text.splitlines())

    return read


@pytest.fixture
def log(spec: BatchSpec) -> Log:
    """All log files that match a pattern, as one text."""

    def read(pattern: str) -> str:
        return "".join(path.read_text() for path in sorted(spec.log_dir.glob(pattern)))

    return read


@pytest.fixture(scope="session")
def sample_interpreter() -> Path:
    """An interpreter that has what the samples were trained with."""
    return sample_python()
