"""The proxy and the certificates that were in force before Local Azure's, which everything but Azure still goes by."""

import base64
import os
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Set by `localazure env` beside the values that they remember, so that a shell may evaluate it twice,
# start another Local Azure, or change its own proxy later.
PROXY_MARK, BUNDLE_MARK = "LOCALAZURE_PROXY", "LOCALAZURE_BUNDLE"
OUTER_PROXY, OUTER_NO_PROXY, OUTER_BUNDLE = (
    "LOCALAZURE_OUTER_PROXY",
    "LOCALAZURE_OUTER_NO_PROXY",
    "LOCALAZURE_OUTER_BUNDLE",
)
PROXY_NAMES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
BUNDLE_NAMES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class OuterProxy:
    """How to reach hosts that are not Azure's: through `url`, or directly when it is empty."""

    url: str = ""
    no_proxy: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "OuterProxy":
        """The proxy in force in an environment, looking through what `localazure env` put in front of it."""
        current = next((environ[name] for name in PROXY_NAMES if environ.get(name)), "")
        if current and current == environ.get(PROXY_MARK):
            return cls(environ.get(OUTER_PROXY, ""), environ.get(OUTER_NO_PROXY, ""))
        return cls(current, environ.get("no_proxy") or environ.get("NO_PROXY", ""))

    def applies_to(self, host: str) -> bool:
        """Whether `host` is reached through it."""
        exempt = [entry.strip().lower().lstrip("*").lstrip(".") for entry in self.no_proxy.split(",") if entry.strip()]
        # A lone `*` exempts every host, and is empty by now.
        return bool(self.url) and not any(host == end or host.endswith(f".{end}") or not end for end in exempt)

    @property
    def _parts(self) -> urllib.parse.SplitResult:
        return urllib.parse.urlsplit(self.url if "://" in self.url else f"http://{self.url}")

    @property
    def supported(self) -> bool:
        """Whether its protocol is one that we speak (not SOCKS)."""
        return self._parts.scheme in DEFAULT_PORTS

    @property
    def secure(self) -> bool:
        """Whether the proxy itself is reached by TLS."""
        return self._parts.scheme == "https"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the proxy."""
        return self._parts.hostname or "", self._parts.port or DEFAULT_PORTS.get(self._parts.scheme, 80)

    def connect_request(self, host: str, port: int) -> bytes:
        """The request that opens a tunnel to `host`."""
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self._parts.username:
            pair = ":".join(urllib.parse.unquote(part or "") for part in (self._parts.username, self._parts.password))
            lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}")
        return "\r\n".join([*lines, "", ""]).encode()


def outer_bundle(environ: Mapping[str, str]) -> Path | None:
    """The certificate bundle in force in an environment, looking through Local Azure's own; None for the defaults."""
    current = [environ[name] for name in BUNDLE_NAMES if environ.get(name)]
    ours = environ.get(BUNDLE_MARK)
    foreign = [name for name in current if name != ours]
    remembered = environ.get(OUTER_BUNDLE) if ours in current else None
    candidates = [Path(name) for name in [*foreign, remembered] if name]
    return next((path for path in candidates if path.is_file()), None)


def restored(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment as it would be had `localazure env` never been evaluated in it, as far as that can be known.

    The daemon takes it for itself and for what it starts: `uv` must get at packages by the outer proxy.
    """
    clean = {name: value for name, value in environ.items() if not name.startswith("LOCALAZURE_OUTER_")}
    mark, bundle_mark = clean.pop(PROXY_MARK, None), clean.pop(BUNDLE_MARK, None)
    if mark and mark in (clean.get("https_proxy"), clean.get("HTTPS_PROXY")):
        clean = _without(clean, {"https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"})
        outer = OuterProxy.of(environ)
        clean |= {"HTTPS_PROXY": outer.url} if outer.url else {}
        clean |= {"NO_PROXY": outer.no_proxy} if outer.no_proxy else {}
    if bundle_mark:
        ours = {name for name in BUNDLE_NAMES if clean.get(name) == bundle_mark}
        bundle = outer_bundle(environ)
        clean = _without(clean, ours) | (dict.fromkeys(ours, str(bundle)) if bundle else {})
    return clean


def _without(environ: Mapping[str, str], names: set[str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in names}


def take_restored() -> OuterProxy:
    """Make this process's environment the restored one; returns the proxy in force in it."""
    clean = restored(os.environ)
    outer = OuterProxy.of(os.environ)
    os.environ.clear()
    os.environ.update(clean)
    return outer
