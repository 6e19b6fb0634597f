"""One Azurite for each storage account: started when first needed, again after a crash, its blobs kept in the home."""

import contextlib
import logging
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from localazure import processes, tools
from localazure.blobs import Blobs
from localazure.errors import StartFailed, UnknownName
from localazure.gateway.ca import CertificateAuthority
from localazure.gateway.tokens import public_key
from localazure.home import Home, last_lines

log = logging.getLogger(__name__)

START_SECONDS = 60
STOP_SECONDS = 3.0
PRELOAD = Path(__file__).with_name("azurite_preload.cjs")
LISTENS = re.compile(rb"successfully listens on https://127\.0\.0\.1:(\d+)")
# What node needs of the daemon's environment. Its other variables (proxies, NODE_OPTIONS) must not change Azurite.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass
class _Account:
    keys: tuple[str, ...]
    keyless: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class AzuriteFleet:
    """The blob services of all storage accounts. Thread-safe: two accounts start at the same time, one only once.

    Azurite ends TLS itself, with a certificate of this home's authority: over plain http it refuses bearer tokens and
    signatures made for https.
    """

    def __init__(self, home: Home, authority: CertificateAuthority | None = None) -> None:
        self._home = home
        self._authority = authority or CertificateAuthority(home)
        self._accounts: dict[str, _Account] = {}
        self._lock = threading.Lock()

    def register(self, account: str, *keys: str, keyless: bool = False) -> None:
        """Make an account known without starting anything; other keys than before end its running process.

        To clients an account that is `keyless` refuses keys and what they sign; its key is then for Local Azure alone.
        """
        with self._lock:
            known = self._accounts.setdefault(account, _Account(keys, keyless))
        with known.lock:
            if (known.keys, known.keyless) != (keys, keyless):
                known.keys, known.keyless = keys, keyless
                self._halt(known)

    def ensure(self, account: str, *keys: str, keyless: bool = False) -> int:
        """The port on which the account is served (TLS), once it is; `keys` are one or two, in base64.

        Raises:
            StartFailed: Azurite did not come up; the text carries its last lines.
            ToolMissing: Azurite or Node.js is not installed.
        """
        self.register(account, *keys, keyless=keyless)
        return self.port(account)

    def port(self, account: str) -> int:
        """The port of a known account, started anew if its process is gone; errors as `ensure`.

        Raises:
            UnknownName: no such account.
        """
        known = self._known(account)
        with known.lock:
            if not known.alive:
                self._start(account, known)
            return known.port

    def blobs(self, account: str) -> Blobs:
        """A client for a known account, by its first key; errors as `port`."""
        return Blobs(self.port(account), account, self._known(account).keys[0], self._authority.certificate)

    def remove(self, account: str) -> None:
        """End the account's process and delete its blobs; an account that is not known only loses its files."""
        with self._lock:
            known = self._accounts.pop(account, None)
        if known:
            with known.lock:
                self._halt(known)
        shutil.rmtree(self._home.azurite / account, ignore_errors=True)

    def status(self) -> list[dict[str, object]]:
        """Each known account with its process and port; both None while it is not running."""
        with self._lock:
            accounts = sorted(self._accounts.items())
        return [
            {
                "account": name,
                "pid": known.process.pid if known.process and known.alive else None,
                "port": known.port if known.alive else None,
            }
            for name, known in accounts
        ]

    def stop(self) -> None:
        """End all processes; the accounts stay known and their blobs stay."""
        with self._lock:
            accounts = list(self._accounts.values())
        for known in accounts:
            # All are told first, so that they close at the same time.
            if known.process and known.alive:
                with contextlib.suppress(ProcessLookupError):
                    known.process.terminate()
        for known in accounts:
            with known.lock:
                self._halt(known)

    def _known(self, account: str) -> _Account:
        with self._lock:
            if account not in self._accounts:
                raise UnknownName(f"There is no storage account {account!r} in this Local Azure.")
            return self._accounts[account]

    def _halt(self, known: _Account) -> None:
        if known.process:
            processes.stop(known.process, grace=STOP_SECONDS)
            known.process = None

    def _start(self, account: str, known: _Account) -> None:
        output = self._home.logs / f"azurite-{account}.log"
        before = output.stat().st_size if output.is_file() else 0
        known.process = processes.spawn(
            self._home,
            self._command(account),
            env={name: os.environ[name] for name in INHERITED if name in os.environ}
            | {"AZURITE_ACCOUNTS": ":".join([account, *known.keys]), "LOCALAZURE_TOKEN_KEY": public_key(self._home)}
            | ({"LOCALAZURE_KEYLESS": "1"} if known.keyless else {}),
            log=output,
        )
        known.port = self._announced(account, known.process, output, before)
        log.info("storage account %s is served by Azurite, process %d", account, known.process.pid)

    def _command(self, account: str) -> list[str]:
        host = f"{account}.blob.core.windows.net"
        names = [host, f"{account}-secondary.blob.core.windows.net", "127.0.0.1"]
        certificate, key = self._authority.leaf(f"azurite-{account}", names)
        place = self._home.azurite / account
        place.mkdir(parents=True, mode=0o700, exist_ok=True)
        options = {"blobHost": "127.0.0.1", "blobPort": "0", "oauth": "basic", "location": str(place)}
        options |= {"cert": str(certificate), "key": str(key)}
        # Silent, for the access log holds the signatures of shared access signatures.
        flags = ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        named = [part for name, value in options.items() for part in (f"--{name}", value)]
        return [str(tools.node()), "--require", str(PRELOAD), str(tools.azurite_main()), *named, *flags]

    def _announced(self, account: str, process: subprocess.Popen[bytes], output: Path, before: int) -> int:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            # It chooses its port itself and says which, so nobody can take the port in between.
            if (said := LISTENS.search(output.read_bytes()[before:])) and _answers(port := int(said[1])):
                return port
            time.sleep(0.02)
        processes.stop(process, grace=0)
        raise StartFailed(
            f"Azurite for storage account {account!r} did not start. {output} ends:\n{last_lines(output)}"
        )


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
