"""The daemon: the control plane, the proxy and the identity endpoint of one home, in one process."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from localazure import processes
from localazure.arm.weather import Weather
from localazure.errors import LocalAzureError, SettingsInvalid
from localazure.gateway.azurite import AzuriteFleet
from localazure.gateway.ca import CertificateAuthority
from localazure.gateway.identity import holds, identity_route, kept_secret
from localazure.gateway.outer import OuterProxy, take_restored
from localazure.gateway.proxy import Proxy
from localazure.gateway.routing import routing
from localazure.gateway.tokens import TokenIssuer
from localazure.home import Home
from localazure.runtime import Ports, Runtime, claim, listen
from localazure.settings import Settings

log = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
STOP_SECONDS = 8.0
# For which nodes that were preempted are not to be had: a week is as good as for ever.
MOST_SECONDS = 7 * 86_400
# Clients keep connections: closing an idle one too early loses the request that is just being sent on it.
KEEP_ALIVE_SECONDS = 75


class ControlPlane(Protocol):
    """What the daemon needs of `localazure.azure.LocalAzure`."""

    @property
    def app(self) -> ASGIApp:
        """Answers for management.azure.com and the other hosts that it serves."""
        ...

    @property
    def inner_app(self) -> ASGIApp:
        """As `app`, for what runs in the networks of workspaces."""
        ...

    @property
    def weather(self) -> Weather:
        """What happens to calls and operations beside being carried out."""
        ...

    def start(self, control_port: int, inner_port: int = 0) -> None:
        """Called before `app` answers on the first port, and `inner_app` on the other."""

    def upstream(self, host: str) -> int | None:
        """The loopback port (plain http) that answers for a host; None for a host that it does not know."""

    def inner_upstream(self, host: str) -> int | None:
        """As `upstream`, for what runs in the networks of workspaces."""

    def principal(self, selector: str) -> str | None:
        """The object id of an identity by its client id, object id or resource id; None for one not known."""

    def status(self) -> dict[str, Any]:
        """For `status`."""
        ...

    def endpoint_keys(self, name: str) -> dict[str, Any]:
        """Primary and secondary key of an endpoint; raises UnknownName."""
        ...

    def logs(self, name: str) -> dict[str, Any]:
        """Where a deployment or a job logs; raises UnknownName."""
        ...

    def pass_time(self, seconds: float = 0.0, until: datetime | None = None) -> dict[str, Any]:
        """Put the clock of schedules forward, by so much or to a time, and say what it shows then."""
        ...

    def preempt(self, cluster: str, count: int, seconds: float) -> dict[str, Any]:
        """Take nodes of a low-priority cluster back for some seconds; raises UnknownName, LocalAzureError."""
        ...

    def stop(self) -> None:
        """Stop what `start` started."""


Factory = Callable[[Settings, Home, TokenIssuer, AzuriteFleet], ControlPlane]


def serve(home: Home, factory: Factory) -> None:
    """Be the daemon of a home until SIGTERM, SIGINT, `stop` or the home's end.

    Raises:
        LocalAzureError: another daemon has this home, or something that it needs does not start.
    """
    home.create()
    lock = claim(home)
    if lock is None:
        raise LocalAzureError(f"Another Local Azure runs in {home.path}: stop it, or take another folder with --home.")
    _configure_logging()
    outer = take_restored()
    run = processes.new_run()
    if swept := processes.sweep(home):
        log.warning("ended %d processes that an earlier daemon had left", swept)
    guardian = processes.start_guardian(home, run)
    try:
        _Daemon(home, Settings.load(home), factory, outer).run()
    finally:
        processes.release_guardian(guardian)
        lock.close()


class _Daemon:
    def __init__(self, home: Home, settings: Settings, factory: Factory, outer: OuterProxy) -> None:
        self._home = home
        self._secret = kept_secret(home)
        authority = CertificateAuthority(home)
        self._tokens = TokenIssuer.at(home, settings.tenant_id)
        self._settings = settings
        self._fleet = AzuriteFleet(home, authority)
        self._azure = factory(settings, home, self._tokens, self._fleet)
        self._proxy = Proxy(authority, routing(self._azure.upstream, self._fleet), outer=outer)
        self._inner = Proxy(authority, routing(self._azure.inner_upstream, self._fleet), outer=outer)
        self._ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runtime = Runtime()

    def run(self) -> None:
        """Serve until told to end, then stop everything that was started."""
        known = Runtime.read(self._home).ports
        listeners = {name: listen(port) for name, port in asdict(known).items()}
        ports = Ports(**{name: listener.getsockname()[1] for name, listener in listeners.items()})
        self._runtime = Runtime(os.getpid(), ports)
        # Deployments and jobs that come back at the start are told the ports before the daemon answers there.
        self._runtime.without_pid().write(self._home)
        try:
            # Only this daemon's own inner proxy asks there, so that nobody has to be told the port.
            inner = listen(0)
            self._azure.start(ports.control, inner.getsockname()[1])
            with (
                _in_thread(_server(_SecureScheme(self._azure.app)), listeners["control"]),
                _in_thread(_server(_SecureScheme(self._azure.inner_app)), inner),
            ):
                asyncio.run(self._serve(listeners["proxy"], listeners["identity"], listeners["inner"]))
        finally:
            self._stop()

    async def _serve(self, proxy: socket.socket, identity: socket.socket, inner: socket.socket) -> None:
        self._loop = loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        await self._proxy.start(proxy)
        await self._inner.start(inner)
        server = _server(self._identity_app())
        serving = asyncio.create_task(server.serve(sockets=[identity]))
        watching = asyncio.create_task(self._watch())
        self._runtime.write(self._home)
        log.info("Local Azure answers in %s, process %d, %s", self._home.path, os.getpid(), self._runtime.ports)
        await self._ending.wait()
        log.info("Local Azure ends")
        watching.cancel()
        await self._proxy.stop()
        await self._inner.stop()
        server.should_exit = True
        await serving

    async def _watch(self) -> None:
        # Whoever deletes the folder, or puts another daemon in our place, wants no daemon that nobody can stop.
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if Runtime.read(self._home).pid != os.getpid():
                log.warning("%s is no longer this daemon's", self._home.runtime_file)
                self._ending.set()

    def _stop(self) -> None:
        if Runtime.read(self._home).pid == os.getpid():
            self._runtime.without_pid().write(self._home)
        _within(STOP_SECONDS, self._azure.stop)
        _within(STOP_SECONDS, self._fleet.stop)

    def _identity_app(self) -> Starlette:
        routes = [
            identity_route(self._tokens, self._secret, self._settings.tenant_id, principal=self._azure.principal),
            self._admin("/admin/ping", lambda _: asdict(self._runtime)),
            self._admin("/admin/status", self._status),
            self._admin("/admin/keys", self._keys),
            self._admin("/admin/logs", self._logs),
            self._admin("/admin/stop", self._end, method="POST"),
            self._admin("/admin/clock", lambda _: self._azure.pass_time()),
            self._admin("/admin/clock", self._pass_time, method="POST", takes_body=True),
            self._admin("/admin/preempt", self._preempt, method="POST", takes_body=True),
            self._admin("/admin/weather", lambda _: self._azure.weather.report()),
            self._admin("/admin/weather", self._set_weather, method="POST", takes_body=True),
            self._admin("/admin/weather", self._reset_weather, method="DELETE"),
        ]
        return Starlette(routes=routes)

    def _admin(
        self, path: str, answer: Callable[[str], Any], method: str = "GET", *, takes_body: bool = False
    ) -> Route:
        """A route for the home's owner; `answer` gets the name that the query gives, or the body."""

        async def endpoint(request: Request) -> Response:
            if not holds(request, self._secret):
                return JSONResponse({"message": "The secret header is missing or wrong."}, 401)
            sent = (await request.body()).decode(errors="replace") if takes_body else request.query_params.get("name")
            return await _admin_answer(answer, sent or "")

        return Route(path, endpoint, methods=[method])

    def _status(self, _: str) -> dict[str, Any]:
        return {
            "running": True,
            "home": str(self._home.path),
            **asdict(self._runtime),
            "connections": self._proxy.connections + self._inner.connections,
            "azure": self._azure.status(),
        }

    def _keys(self, name: str) -> dict[str, Any]:
        return self._azure.endpoint_keys(name)

    def _logs(self, name: str) -> dict[str, Any]:
        return self._azure.logs(name)

    def _pass_time(self, body: str) -> dict[str, Any]:
        try:
            asked = json.loads(body)
            until = datetime.fromisoformat(asked["to"]) if asked.get("to") else None
            seconds = float(asked.get("seconds") or 0)
        except (ValueError, TypeError, AttributeError) as error:
            wanted = "The clock is put forward by seconds, or to a time such as 2026-03-29T02:00"
            raise LocalAzureError(f"{wanted}: {error}.") from None
        log.warning("the clock of schedules is put forward: %s", asked)
        return self._azure.pass_time(seconds, until)

    def _preempt(self, body: str) -> dict[str, Any]:
        try:
            asked = json.loads(body)
            cluster, count, seconds = str(asked["cluster"]), int(asked["nodes"]), float(asked["seconds"])
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise LocalAzureError(f"A pre-emption names cluster, nodes and seconds; {error!r} is wrong.") from None
        if count < 1 or not 0 <= seconds < MOST_SECONDS:
            raise LocalAzureError(f"nodes is {count} and seconds {seconds:g}: give 1 or more, and 0 to {MOST_SECONDS}.")
        log.warning("nodes of a cluster are preempted: %s", asked)
        return self._azure.preempt(cluster, count, seconds)

    def _set_weather(self, body: str) -> dict[str, Any]:
        try:
            values = json.loads(body)
        except ValueError as error:
            raise SettingsInvalid(f"This weather is not JSON: {error}.") from None
        self._azure.weather.set(values)
        log.warning("the weather was set: %s", values)
        return self._azure.weather.report()

    def _reset_weather(self, _: str) -> dict[str, Any]:
        self._azure.weather.reset()
        return self._azure.weather.report()

    def _end(self, _: str) -> dict[str, bool]:
        if self._loop:
            self._loop.call_soon_threadsafe(self._ending.set)
        return {"stopping": True}


async def _admin_answer(answer: Callable[[str], Any], name: str) -> Response:
    try:
        # The control plane may wait for its store.
        return JSONResponse(await asyncio.to_thread(answer, name))
    except LookupError as error:
        said = str(error) if isinstance(error, LocalAzureError) else f"Nothing here is called {name!r}: see `status`."
        return JSONResponse({"message": said}, 404)
    except LocalAzureError as error:
        return JSONResponse({"message": str(error)}, 400)
    except Exception:
        log.exception("an admin request failed")
        return JSONResponse({"message": "Local Azure failed; `logs` shows why."}, 500)


class _SecureScheme:
    """The proxy ended TLS: for the control plane the request is https, as the client made it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        secure = {**scope, "scheme": "https"} if scope["type"] == "http" else scope
        await self._app(secure, receive, send)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The daemon handles signals, once for all its servers.
        yield


def _server(app: ASGIApp) -> _Server:
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=2,
        backlog=1024,
    )
    return _Server(config)


@contextlib.contextmanager
def _in_thread(server: _Server, listener: socket.socket) -> Iterator[None]:
    """Run a server on an event loop of its own: a slow answer of the control plane must not hold up the proxy."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="control", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)


def _within(seconds: float, action: Callable[[], None]) -> None:
    """Do something that must not keep the daemon from ending."""
    thread = threading.Thread(target=_logged, args=(action,), daemon=True)
    thread.start()
    thread.join(seconds)


def _logged(action: Callable[[], None]) -> None:
    try:
        action()
    except Exception:
        log.exception("stopping failed")


def _configure_logging() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Their lines at INFO are a line a request, some with addresses that carry signatures.
    for name in ("azure", "httpx", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)
