"""`python fake_program.py COMMAND`: the command line with a small control plane in place of Azure's."""

import sys
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

ROOT = Path(__file__).parent.parent.parent
HOST = "management.azure.com"
ACCOUNT = "teststore"
KEY = "dGhlIGtleSBvZiBhIHN0b3JhZ2UgYWNjb3VudCB0aGF0IGRvZXMgbm90IGV4aXN0IGFueXdoZXJl"


class FakeAzure:
    """Echoes requests for one host, knows one storage account, one endpoint and one log."""

    def __init__(self, settings: Any, home: Any, tokens: Any, fleet: Any) -> None:
        from localazure.arm.weather import Weather

        self._home = home
        self._fleet = fleet
        self.weather = Weather(settings.weather)
        self.app = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST", "PUT"])])
        self.inner_app = Starlette(routes=[Route("/{path:path}", lambda _: JSONResponse("from within"))])

    def start(self, control_port: int, inner_port: int = 0) -> None:
        if (self._home.path / "fail").exists():
            raise RuntimeError("the control plane has a reason not to start")
        self._port, self._inner_port = control_port, inner_port
        (self._home.path / "known-at-start").write_text(self._home.runtime_file.read_text())
        self._fleet.register(ACCOUNT, KEY)

    def upstream(self, host: str) -> int | None:
        return self._port if host == HOST else None

    def inner_upstream(self, host: str) -> int | None:
        return self._inner_port if host == HOST else None

    def principal(self, selector: str) -> str | None:
        return None

    def status(self) -> dict[str, Any]:
        blue = {"name": "blue", "state": "Succeeded", "instances": [], "requests": 7}
        endpoint = {"name": "tumor-online", "traffic": {"blue": 90, "green": 10}, "deployments": [blue]}
        return {"onlineEndpoints": [endpoint], "jobs": []}

    def endpoint_keys(self, name: str) -> dict[str, Any]:
        from localazure.errors import UnknownName

        if name != "tumor-online":
            raise UnknownName(f"There is no online endpoint called {name!r}; there are: tumor-online.")
        return {"primaryKey": "first-key", "secondaryKey": "second-key"}

    def logs(self, name: str) -> dict[str, Any]:
        """A deployment is known while there is a file `blue`, which holds its full name; a job always is."""
        from localazure.errors import UnknownName

        if name == "job":
            ended = (self._home.path / "job-has-ended").exists()
            files = sorted(map(str, (self._home.logs / "job").glob("*.txt")))
            return {"name": "job", "kind": "job", "files": files, "ended": ended}
        known = self._home.path / "blue"
        full = known.read_text() if known.exists() else "blue"
        if name not in ("blue", full):
            raise UnknownName(f"Nothing that logs is called {name!r}; there are: {full}, job.")
        files = [str(self._home.logs / full / f"{each}.log") for each in ("inference-server", "storage-initializer")]
        return {"name": full, "kind": "deployment", "files": files, "ended": False}

    def pass_time(self, seconds: float = 0.0, until: Any = None) -> dict[str, Any]:
        from localazure.errors import LocalAzureError

        if until and until.year < 2020:
            raise LocalAzureError("The clock goes forward only.")
        return {"now": str(until), "aheadSeconds": seconds}

    def preempt(self, cluster: str, count: int, seconds: float) -> dict[str, Any]:
        from localazure.errors import UnknownName

        if cluster != "cheap":
            raise UnknownName(f"There is no compute cluster called {cluster!r}; there are: cheap.")
        return {"cluster": cluster, "preempted": count, "canceled": [], "seconds": seconds}

    def stop(self) -> None:
        (self._home.path / "stopped").touch()


async def echo(request: Request) -> JSONResponse:
    """What arrived."""
    body = await request.body()
    return JSONResponse({"url": str(request.url), "method": request.method, "bytes": len(body)})


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from localazure.cli import main

    sys.exit(main(sys.argv[1:], program=(sys.executable, __file__), factory=FakeAzure))
