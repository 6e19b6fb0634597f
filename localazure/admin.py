"""How the command line talks to the daemon: a few requests on the identity endpoint, with the home's secret."""

import http.client
import json
import urllib.parse
from dataclasses import dataclass
from typing import Any

from localazure.errors import LocalAzureError, NotRunning, UnknownName
from localazure.home import Home
from localazure.runtime import Runtime, claimed

PATIENCE = 60.0


@dataclass(frozen=True)
class Admin:
    """The daemon of a home, if one answers."""

    home: Home
    seconds: float = PATIENCE
    """How long it has for an answer."""

    def get(self, what: str, **query: str) -> dict[str, Any]:
        """Ask for something.

        Raises:
            NotRunning: no daemon answers.
            UnknownName: it knows nothing of that name.
            LocalAzureError: it says why not.
        """
        return self._request("GET", what, query)

    def post(self, what: str, content: str | None = None) -> dict[str, Any]:
        """Have something done, with what is given; errors as `get`."""
        return self._request("POST", what, {}, content)

    def delete(self, what: str) -> dict[str, Any]:
        """Have something that was set go back to what it was; errors as `get`."""
        return self._request("DELETE", what, {})

    def _request(self, method: str, what: str, query: dict[str, str], content: str | None = None) -> dict[str, Any]:
        runtime = Runtime.read(self.home)
        # After a SIGKILL the file still names a process, and somebody else may have its port.
        if not (runtime.pid and claimed(self.home)):
            raise self._absent()
        # http.client goes by no proxy variable: this must never leave the machine.
        connection = http.client.HTTPConnection("127.0.0.1", runtime.ports.identity, timeout=self.seconds)
        try:
            body = None if content is None else content.encode()
            connection.request(method, f"/admin/{what}?{urllib.parse.urlencode(query)}", body, self._headers())
            answer = connection.getresponse()
            return _unpacked(answer.status, answer.read())
        except (OSError, http.client.HTTPException):
            raise self._absent() from None
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        return {"X-IDENTITY-HEADER": (self.home.path / "identity-secret").read_text().strip()}

    def _absent(self) -> NotRunning:
        return NotRunning(f"Local Azure does not run in {self.home.path}: python -m localazure start (or --home DIR).")


def _unpacked(status: int, body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        raise LocalAzureError(f"Something other than Local Azure answers (HTTP {status}): stop and start it.") from None
    if status == http.client.OK:
        return answer
    kind = UnknownName if status == http.client.NOT_FOUND else LocalAzureError
    raise kind(answer.get("message", f"HTTP {status}"))
