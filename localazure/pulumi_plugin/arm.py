"""Calls to Azure Resource Manager, with its long operations, retries and errors as azure-native's client has them.

Only Local Azure is ever called: `local_access` refuses to hand out an address that is not on this machine.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from localazure.pulumi_plugin.errors import ArmError, Interrupted, InvalidId, NotLocalError

ARM_URL = "https://management.azure.com"
ARM_RESOURCE = "https://management.azure.com/"

_ENDPOINT = "AZURE_NATIVE_LOCAL_ENDPOINT"
_WAY_OUT = 'start Local Azure and run: eval "$(python -m localazure env)"'
_BROKEN = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_RUNNING_CONFLICT = "AnotherOperationInProgress"
_FAILED_STATES = frozenset({"failed", "canceled", "cancelled"})


@dataclass(frozen=True)
class Access:
    """Where Local Azure answers.

    Attributes:
        arm_url: base address of ARM.
        identity_url, identity_secret: the managed-identity endpoint and the header's value that it wants.
        proxy: the proxy that leads to ARM's host name; None: ARM is called directly.
        certificates: file with the certificate authorities to trust; None: the machine's.
    """

    arm_url: str
    identity_url: str
    identity_secret: str
    proxy: str | None
    certificates: str | None


@dataclass(frozen=True)
class Waits:
    """Pauses, in seconds.

    Attributes:
        poll: between looks at an operation, where ARM names no time. azure-native: 10 (a delete: 30), to spare Azure.
        retry: before the first of the retries, where ARM names no time; doubles. azure-native: 20.
        retries: how often a request is tried again, as in azure-native.
    """

    poll: float = 0.5
    retry: float = 1.0
    retries: int = 3


def local_access(environment: Mapping[str, str]) -> Access:
    """The way to Local Azure that the variables of `python -m localazure env` describe.

    `AZURE_NATIVE_LOCAL_ENDPOINT` names another address for ARM, without proxy; it, too, must be on this machine.

    Raises:
        NotLocalError: if a variable is missing or leads elsewhere.
    """
    identity = _loopback(environment, "IDENTITY_ENDPOINT")
    endpoint, proxy = None, None
    if _ENDPOINT in environment:
        endpoint = _loopback(environment, _ENDPOINT)
    else:
        proxy = _loopback(environment, "https_proxy" if "https_proxy" in environment else "HTTPS_PROXY")
    return Access(
        arm_url=endpoint or ARM_URL,
        identity_url=identity,
        identity_secret=environment.get("IDENTITY_HEADER", ""),
        proxy=proxy,
        certificates=environment.get("SSL_CERT_FILE"),
    )


class Tokens:
    """Access tokens of the managed identity, kept until shortly before they expire."""

    def __init__(self, access: Access) -> None:
        self._access = access
        # Not the environment's proxy: the identity endpoint is on this machine and speaks plain HTTP.
        self._http = httpx.Client(trust_env=False, timeout=30, verify=_trust(access.identity_url, access))
        self._kept: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def get(self, resource: str = ARM_RESOURCE) -> str:
        """A token for `resource`, such as `https://management.azure.com/`.

        Raises:
            ArmError: if the identity endpoint refuses, or does not answer.
        """
        with self._lock:
            token, expires = self._kept.get(resource, ("", 0.0))
            if time.time() > expires - 300:
                token, expires = self._kept[resource] = self._fetch(resource)
            return token

    def claims(self) -> Mapping[str, Any]:
        """What ARM's token says about who calls. Not verified: it is our own."""
        payload = self.get().split(".")[1]
        return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _fetch(self, resource: str) -> tuple[str, float]:
        try:
            answer = self._http.get(
                self._access.identity_url,
                params={"api-version": "2019-08-01", "resource": resource},
                headers={"X-IDENTITY-HEADER": self._access.identity_secret},
            )
        except httpx.TransportError as error:
            raise _no_answer("the request for a token", error) from error
        if answer.status_code != 200:
            raise _error(answer)
        content = answer.json()
        return content["access_token"], float(content["expires_on"])


class Arm:
    """ARM over HTTP. Safe for use by many threads.

    Args:
        access: where it is.
        tokens: who calls.
        cancelled: set when the engine wants everything to stop.
    """

    def __init__(
        self, access: Access, tokens: Tokens, cancelled: threading.Event | None = None, waits: Waits | None = None
    ) -> None:
        self._cancelled = cancelled or threading.Event()
        self._tokens = tokens
        self._waits = waits or Waits()
        # The environment is not asked: NO_PROXY could lead past the proxy, and with that to the real Azure.
        self._http = httpx.Client(
            base_url=access.arm_url,
            proxy=access.proxy,
            verify=_trust(access.arm_url, access),
            trust_env=False,
            timeout=httpx.Timeout(120, connect=10),
            limits=httpx.Limits(max_connections=64),
            headers={"Accept": "application/json", "User-Agent": "pulumi-azure-native-local"},
        )

    def get(self, path: str, api_version: str) -> dict[str, Any]:
        """The resource at `path`. Raises ArmError, with status 404 if there is none."""
        answer = self._send("GET", path, {"api-version": api_version})
        if answer.status_code != 200:
            raise _error(answer)
        return _json(answer)

    def exists(self, path: str, api_version: str) -> bool:
        """Whether there is a resource at `path`; an empty answer means no, as for azure-native."""
        answer = self._send("GET", path, {"api-version": api_version})
        if answer.status_code in (204, 404):
            return False
        if answer.status_code != 200:
            raise ArmError(
                answer.status_code,
                "",
                f"cannot check existence of resource '{path}': status code {answer.status_code}, {answer.text}",
            )
        return bool(_json(answer))

    def put(
        self, path: str, body: Mapping[str, Any], query: Mapping[str, Any], *, long: bool, timeout: float | None = None
    ) -> dict[str, Any]:
        """Writes the resource and follows the operation to its end; the last answer's body.

        Raises:
            ArmError: `accepted` tells a refusal from what failed later, or broke off so that nobody knows.
            Interrupted: while the operation was running.
        """
        answer = self._send("PUT", path, query, body)
        if answer.status_code not in (200, 201, 202):
            raise _error(answer)
        if not long and answer.status_code != 202:
            return _json(answer)
        return self._follow(answer, path, str(query["api-version"]), _deadline(timeout))

    def delete(self, path: str, api_version: str, *, long: bool, timeout: float | None = None) -> None:
        """Deletes the resource: `api-version` and nothing else, as azure-native does. None there is a success."""
        answer = self._send("DELETE", path, {"api-version": api_version})
        if answer.status_code not in (200, 202, 204, 404):
            raise _error(answer)
        if answer.status_code == 404 or not (long or answer.status_code == 202):
            return
        try:
            self._follow(answer, None, api_version, _deadline(timeout))
        except ArmError as error:
            if error.status != 404:  # the operation may go with what it deleted
                raise

    def post(self, path: str, body: Mapping[str, Any], query: Mapping[str, Any]) -> Any:
        """Calls an action; its answer."""
        answer = self._send("POST", path, query, body)
        if answer.status_code not in (200, 201):
            raise _error(answer)
        return answer.json() if answer.content else {}

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _send(self, method: str, url: str, query: Mapping[str, Any] | None = None, body: Any = None) -> httpx.Response:
        """One request, tried again where Azure asks for it."""
        pause, broke = self._waits.retry, False
        for attempt in range(self._waits.retries + 1):
            last, asked = attempt == self._waits.retries, None
            try:
                answer = self._once(method, url, query, body)
            except ArmError as error:
                # azcore's client tries broken connections again. One that is refused means that nothing runs.
                breaks = isinstance(error.__cause__, _BROKEN)
                broke = error.accepted = broke or breaks
                if last or not breaks:
                    raise
            else:
                if last or not _worth_retrying(answer):
                    return answer
                asked = _asked_pause(answer)
            self._pause(pause if asked is None else asked)
            pause *= 2
        raise AssertionError("unreachable")

    def _once(self, method: str, url: str, query: Mapping[str, Any] | None, body: Any) -> httpx.Response:
        if not url.startswith("/"):
            raise InvalidId(f"'{url}' is no id of ARM's: they begin with /subscriptions/ or with a scope's '/'")
        headers = {"Authorization": f"Bearer {self._tokens.get()}"}
        try:
            return self._http.request(method, url, params=query, json=body, headers=headers)
        except httpx.TransportError as error:
            raise _no_answer(f"{method} {url}", error) from error

    def _follow(
        self, answer: httpx.Response, resource: str | None, api_version: str, deadline: float
    ) -> dict[str, Any]:
        """Waits until the operation that `answer` began is done. `resource` is what it writes; None: it deletes."""
        try:
            if operation := answer.headers.get("Azure-AsyncOperation"):
                self._until_succeeded(answer, self._local(operation, api_version), deadline)
                return self.get(resource, api_version) if resource else {}
            if location := answer.headers.get("Location"):
                return self._until_found(answer, self._local(location, api_version), deadline)
            return self._until_provisioned(answer, resource, api_version, deadline) if resource else {}
        except (ArmError, Interrupted) as error:
            error.accepted = True
            raise

    def _until_succeeded(self, answer: httpx.Response, operation: str, deadline: float) -> None:
        while True:
            answer = self._send("GET", operation)
            if answer.status_code not in (200, 201, 202, 204):
                raise _error(answer)
            content = _json(answer)
            status = str(content.get("status", "")).lower()
            if status == "succeeded":
                return
            if status in _FAILED_STATES:
                raise _operation_error(answer, content)
            self._wait(answer, deadline)

    def _until_found(self, answer: httpx.Response, location: str, deadline: float) -> dict[str, Any]:
        while True:
            answer = self._send("GET", location)
            if answer.status_code not in (200, 201, 202, 204):
                raise _error(answer)
            if answer.status_code != 202 and _is_done(answer):
                return _json(answer)
            self._wait(answer, deadline)

    def _until_provisioned(
        self, answer: httpx.Response, resource: str, api_version: str, deadline: float
    ) -> dict[str, Any]:
        while not _is_done(answer):
            self._wait(answer, deadline)
            answer = self._send("GET", resource, {"api-version": api_version})
            if answer.status_code != 200:
                raise _error(answer)
        return _json(answer)

    def _wait(self, answer: httpx.Response, deadline: float) -> None:
        asked = _asked_pause(answer)
        self._pause(self._waits.poll if asked is None else asked)
        if time.monotonic() > deadline:
            raise Interrupted("the operation is not done in the time that the resource's customTimeouts allow")

    def _pause(self, seconds: float) -> None:
        if self._cancelled.wait(seconds):
            raise Interrupted("cancelled while waiting for Azure; what has been started goes on there")

    @staticmethod
    def _local(url: str, api_version: str) -> str:
        """Path and query of an operation's address: its host does not count, so that nothing leads away from the access
        that was granted. Some of Azure's have no host and no api-version, such as a user-assigned identity's."""
        parts = urlsplit(url)
        query = parts.query if "api-version=" in parts.query else f"{parts.query}&api-version={api_version}".lstrip("&")
        return f"{parts.path}?{query}"


def _trust(url: str, access: Access) -> ssl.SSLContext | bool:
    """Whom to trust at `url`. Plain HTTP needs nobody, and reading the authorities takes time."""
    return ssl.create_default_context(cafile=access.certificates) if url.startswith("https:") else False


def _loopback(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise NotLocalError(
            f"{name} is not set: this provider only talks to Local Azure, and refuses to guess where it is; {_WAY_OUT}"
        )
    host = urlsplit(value).hostname or ""
    if not _is_loopback(host):
        raise NotLocalError(
            f"{name} is {value!r}, which is not on this machine: this provider only talks to Local Azure; {_WAY_OUT}"
        )
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _deadline(timeout: float | None) -> float:
    return time.monotonic() + (timeout or 2 * 60 * 60)


def _worth_retrying(answer: httpx.Response) -> bool:
    if answer.status_code == 409:
        return _code_and_message(answer)[0] == _RUNNING_CONFLICT
    return answer.status_code in _RETRIED


def _asked_pause(answer: httpx.Response) -> float | None:
    """Seconds that ARM asks to wait; None if it does not say."""
    for name, scale in (("retry-after-ms", 0.001), ("x-ms-retry-after-ms", 0.001), ("Retry-After", 1.0)):
        try:
            return max(0.0, float(answer.headers[name]) * scale)
        except (KeyError, ValueError):
            continue
    return None


def _is_done(answer: httpx.Response) -> bool:
    """Whether the resource in the answer is provisioned; one that says nothing is. Raises ArmError if that failed."""
    content = _json(answer)
    properties = content.get("properties")
    state = str(properties.get("provisioningState") or "") if isinstance(properties, Mapping) else ""
    if state.lower() in _FAILED_STATES:
        raise _operation_error(answer, content | {"status": state})
    return state.lower() in ("", "succeeded")


def _operation_error(answer: httpx.Response, content: Mapping[str, Any]) -> ArmError:
    error = content.get("error") or {}
    message = error.get("message") or f"the operation ended as {content.get('status')}"
    return ArmError(answer.status_code, str(error.get("code") or ""), message)


def _no_answer(request: str, error: Exception) -> ArmError:
    return ArmError(0, "", f"Local Azure does not answer {request}: {error or type(error).__name__}; {_WAY_OUT}")


def _error(answer: httpx.Response) -> ArmError:
    code, message = _code_and_message(answer)
    return ArmError(answer.status_code, code, message)


def _code_and_message(answer: httpx.Response) -> tuple[str, str]:
    error = _json(answer).get("error")
    if not isinstance(error, Mapping):
        return "", answer.text
    return str(error.get("code") or ""), _with_details(error)


def _with_details(error: Mapping[str, Any]) -> str:
    """The message; the Azure ML front end says what is wrong in the details only."""
    details = [detail for detail in error.get("details") or () if isinstance(detail, Mapping)]
    inner = "; ".join(str(detail["message"]) for detail in details if detail.get("message"))
    message = str(error.get("message") or "")
    return f"{message} {inner}" if inner and inner != message else message


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        content = answer.json() if answer.content else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
