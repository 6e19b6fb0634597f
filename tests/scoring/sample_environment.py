"""An environment that can run the samples, built once from `train.py`'s own pins and kept in the cache."""

import fcntl
import hashlib
import re
import subprocess
import sys
from pathlib import Path

from localazure.tools import cache_dir, uv

SCORING = Path(__file__).parents[2] / "scoring"
# For parquet and for images; the samples themselves do without.
EXTRA = ("pyarrow", "pillow")


def train_pins() -> dict[str, str]:
    """Package to version, from the script metadata of `train.py`."""
    header = (SCORING / "train.py").read_text(encoding="utf-8").partition("\n# ///\n")[0]
    return dict(re.findall(r'"([a-z-]+)==([^"]+)"', header))


def sample_python() -> Path:
    """The environment's interpreter, of this Python's version; built on the first call, which takes about a minute."""
    requirements = [f"{name}=={version}" for name, version in train_pins().items()] + list(EXTRA)
    key = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:16]
    folder = cache_dir() / "environments" / f"tests-{key}"
    python, done = folder / "bin" / "python", folder / "complete"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        # Several pytest workers, one build.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _uv("venv", "--clear", "--python", sys.executable, str(folder))
            _uv(
                "pip", "install", "--python", str(python), "--only-binary", ":all:", "--compile-bytecode", *requirements
            )
            done.touch()
    return python


def _uv(*arguments: str) -> None:
    answer = subprocess.run([uv(), *arguments], capture_output=True, text=True)
    assert answer.returncode == 0, f"uv {arguments[0]} failed:\n{answer.stderr}"
