"""What Envoy is told: an endpoint's answers (azure-ai-docs, how-to-troubleshoot-online-endpoints) as its configuration.

Pure functions from routes and backends to the JSON of Envoy's resources. Deployments are clusters, endpoints are
virtual hosts, and a traffic split is a list of routes, because a timeout belongs to a route and each deployment has its
own.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localazure.serving.model import EndpointRoute

Json = dict[str, Any]

PATHS = ("/score", "/swagger.json")
DEPLOYMENT_HEADER = "azureml-model-deployment"
# The reserved top-level domain: no endpoint can have this name.
PROBE_HOST = "router.invalid"
NO_DEPLOYMENT = (
    "No valid deployments to route to. Please check that the endpoint has at least one deployment with positive weight "
    "values or use a deployment specific header to route."
)
# What Envoy itself says, with the same status, of a deployment whose instances are all down.
NOT_READY = "no healthy upstream"
AAD_AUDIENCE = "https://ml.azure.com"
AML_ISSUER = AML_AUDIENCE = "azureml"
SCORE_ACTION = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"
NO_PERMISSION = (
    f"The identity of this token may not do {SCORE_ACTION}. Give it a role that allows this on the endpoint, for "
    "example 'AzureML Data Scientist', and wait until the assignment is effective."
)
_AML_CLAIMS, _AAD_CLAIMS = "aml", "aad"
_MILLION = 1_000_000
_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_KEY_AUTH = "envoy.filters.http.api_key_auth"
_JWT = "envoy.filters.http.jwt_authn"
_RBAC = "envoy.filters.http.rbac"

_SHORTEST_QUEUE: Json = {
    "name": "envoy.load_balancing_policies.least_request",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
        "selection_method": "FULL_SCAN",
    },
}
# What the router answers by itself carries a mark, for all but 200 from an instance is 424:
# https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints#http-status-codes
_OWN = "x-localazure-own"
_MODEL_ERRORS = f"""
function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  if headers:get("{_OWN}") then
    headers:remove("{_OWN}")
    if status == "401" or status == "403" then headers:remove("{DEPLOYMENT_HEADER}") end
    return
  end
  headers:replace("ms-azureml-model-error-statuscode", status)
  headers:replace("ms-azureml-model-error-reason", "model_error")
  headers:replace(":status", "424")
end
"""


# One that refuses a connection has the shortest queue: without this it would be asked first, again and again, until the
# router is told that it is gone. The last one that is left stays, whatever it does.
_SET_ASIDE: Json = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 1,
    "enforcing_consecutive_local_origin_failure": 100,
    "enforcing_local_origin_success_rate": 0,
    "enforcing_consecutive_5xx": 0,
    "enforcing_consecutive_gateway_failure": 0,
    "enforcing_success_rate": 0,
    "interval": "0.250s",
    "base_ejection_time": "1s",
    "max_ejection_time": "1s",
    "max_ejection_percent": 99,
}


@dataclass(frozen=True)
class Backend:
    """A deployment as the router sees it: loopback ports of its instances."""

    endpoint: str
    name: str
    timeout_ms: int
    limit: int
    """Requests in flight before 429."""
    ports: tuple[int, ...] = ()
    draining: tuple[int, ...] = ()
    """Instances that finish what they have and get nothing new."""

    @property
    def cluster(self) -> str:
        """The cluster's name, also in Envoy's statistics."""
        return f"{self.endpoint}/{self.name}"

    @property
    def file(self) -> str:
        """The file that holds its instances."""
        return f"eds-{self.endpoint}.{self.name}.json"


def bootstrap(folder: Path, port: int, admin_port: int, jwks: Mapping[str, Any], issuer: str) -> Json:
    """The part that never changes while Envoy runs: the listener, its filters and the admin interface."""
    return {
        "node": {"id": "localazure", "cluster": "localazure"},
        "admin": {"address": _loopback(admin_port)},
        # Nobody gets them but who asks, and then they are to be the latest.
        "stats_flush_on_admin": True,
        "dynamic_resources": {"cds_config": _file(folder / "cds.json")},
        "static_resources": {"listeners": [_listener(folder, port, jwks, issuer)]},
        # Azure takes 500 connections an endpoint; this only keeps a runaway client from eating every file descriptor.
        "overload_manager": {"resource_monitors": [_connection_limit(5_000)]},
    }


def _connection_limit(count: int) -> Json:
    kind = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {"@type": f"type.googleapis.com/{kind}", "max_active_downstream_connections": count},
    }


def _listener(folder: Path, port: int, jwks: Mapping[str, Any], issuer: str) -> Json:
    manager = {
        "@type": _MANAGER,
        "stat_prefix": "scoring",
        "codec_type": "HTTP1",
        "server_name": "azureml-frontdoor",
        "use_remote_address": True,
        "skip_xff_append": True,
        # Nobody is internal: callers cannot set Envoy's own headers, and x-request-id is always a fresh GUID.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "request_id_extension": {
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
                "pack_trace_reason": False,
            }
        },
        "always_set_request_id_in_response": True,
        "strip_any_host_port": True,
        "normalize_path": True,
        "rds": {"route_config_name": "endpoints", "config_source": _file(folder / "rds.json")},
        "http_filters": _filters(jwks, issuer),
        "local_reply_config": {"mappers": _local_replies()},
    }
    return {
        "name": "scoring",
        "address": _loopback(port),
        # A second process on the same port must fail, not share it.
        "enable_reuse_port": False,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def _filters(jwks: Mapping[str, Any], issuer: str) -> list[Json]:
    return [
        # Off but where an endpoint's own configuration turns them on: a filter costs time also where it has no say.
        {"name": _JWT, "disabled": True, "typed_config": _token_rules(jwks, issuer)},
        {"name": _RBAC, "disabled": True, "typed_config": {"@type": f"{_FILTERS}.rbac.v3.RBAC"}},
        # Envoy keeps these keys out of its dumps.
        {"name": _KEY_AUTH, "disabled": True, "typed_config": {"@type": f"{_FILTERS}.api_key_auth.v3.ApiKeyAuth"}},
        _model_errors(),
        {
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": f"{_FILTERS}.router.v3.Router", "suppress_envoy_headers": True},
        },
    ]


def _model_errors() -> Json:
    """Lua takes more time than all other filters together, so it does not run for 200."""
    kinds = "type.googleapis.com/envoy"
    script = {"@type": f"{_FILTERS}.lua.v3.Lua", "default_source_code": {"inline_string": _MODEL_ERRORS}}
    status = {"@type": f"{kinds}.type.matcher.v3.HttpResponseHeaderMatchInput", "header_name": ":status"}
    skip = {"@type": f"{kinds}.extensions.filters.common.matcher.action.v3.SkipFilter"}
    skipped = {"200": {"action": {"name": "skip", "typed_config": skip}}}
    tree = {"input": {"name": "status", "typed_config": status}, "exact_match_map": {"map": skipped}}
    return {
        "name": "model-errors",
        "typed_config": {
            "@type": f"{kinds}.extensions.common.matching.v3.ExtensionWithMatcher",
            "xds_matcher": {"matcher_tree": tree},
            "extension_config": {"name": "envoy.filters.http.lua", "typed_config": script},
        },
    }


def _token_rules(jwks: Mapping[str, Any], issuer: str) -> Json:
    keys = {"inline_string": json.dumps(jwks)}
    providers = {
        "aml_token": {"issuer": AML_ISSUER, "audiences": [AML_AUDIENCE], "payload_in_metadata": _AML_CLAIMS},
        "aad_token": {"issuer": issuer, "audiences": [AAD_AUDIENCE], "payload_in_metadata": _AAD_CLAIMS},
    }
    return {
        "@type": f"{_FILTERS}.jwt_authn.v3.JwtAuthentication",
        "providers": {name: {**provider, "local_jwks": keys} for name, provider in providers.items()},
        "requirement_map": {name: {"provider_name": name} for name in providers},
    }


def _local_replies() -> list[Json]:
    by_flag = {"UT": 408, "UC": 502, "UF": 503, "UH": 503}
    overloaded = _reply(
        _flagged("UO"), 429, "", headers=[_header("ms-azureml-model-error-reason", "too_many_pending_request")]
    )
    forbidden = {"and_filter": {"filters": [_status("EQ", 403), _known_caller()]}}
    return [
        overloaded,
        *(_reply(_flagged(flag), status) for flag, status in by_flag.items()),
        _reply(forbidden, 403, NO_PERMISSION),
        # A token for another endpoint or audience is as good as none.
        _reply(_status("EQ", 403), 401),
        _reply(_status("GE", 300)),
    ]


def _reply(which: Json, status: int | None = None, text: str | None = None, headers: Sequence[Json] = ()) -> Json:
    reply: Json = {"filter": which, "headers_to_add": [_header(_OWN, "yes"), *headers]}
    if status is not None:
        reply["status_code"] = status
    if text is not None:
        reply["body_format_override"] = {"text_format_source": {"inline_string": text}}
    return reply


def _flagged(flag: str) -> Json:
    return {"response_flag_filter": {"flags": [flag]}}


def _status(comparison: str, status: int) -> Json:
    value = {"default_value": status, "runtime_key": f"localazure.status.{status}"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}


def _known_caller() -> Json:
    # Claims are there only once a token has been found good.
    matcher = {"filter": _JWT, "path": [{"key": _AAD_CLAIMS}, {"key": "oid"}], "value": {"present_match": True}}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}


def clusters(backends: Iterable[Backend], folder: Path) -> list[Json]:
    """A cluster for each deployment; its instances come from a file of their own."""
    return [_cluster(backend, folder) for backend in backends]


def _cluster(backend: Backend, folder: Path) -> Json:
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": backend.cluster,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": _file(folder / backend.file)},
        "connect_timeout": "2s",
        # A worker takes one request at a time: look at every instance for the one with the shortest queue.
        "load_balancing_policy": {"policies": [{"typed_extension_config": _SHORTEST_QUEUE}]},
        "outlier_detection": _SET_ASIDE,
        # Never fall back to instances that are draining.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_requests": backend.limit,
                    "max_pending_requests": backend.limit,
                    "max_connections": 1_000_000,
                    "max_retries": 1_000_000,
                }
            ]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                # A scoring worker serves one connection at a time and waits on it: an unused one must not hold it.
                "common_http_protocol_options": {"idle_timeout": "0.250s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def endpoints(backend: Backend) -> list[Json]:
    """The instances of one deployment."""
    healthy = [_instance(port, "HEALTHY") for port in backend.ports]
    draining = [_instance(port, "DRAINING") for port in backend.draining]
    return [
        {
            "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": backend.cluster,
            "endpoints": [{"lb_endpoints": healthy + draining}],
        }
    ]


def _instance(port: int, health: str) -> Json:
    return {"endpoint": {"address": _loopback(port)}, "health_status": health}


def routes(endpoints: Iterable[tuple[EndpointRoute, Mapping[str, Backend]]], version: str) -> list[Json]:
    """Every endpoint's hosts, each with its deployments by name.

    The probe's host answers `version`, which proves that requests see this configuration.
    """
    hosts = [_virtual_host(route, backends) for route, backends in endpoints]
    probe = {"name": "router", "domains": [PROBE_HOST], "routes": [_direct("/", 200, version)]}
    unknown = {
        "name": "unknown",
        "domains": ["*"],
        "routes": [_direct("/", 404, "No endpoint has this host name. Check the scoring URI.")],
    }
    return [
        {
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": "endpoints",
            "virtual_hosts": [*hosts, probe, unknown],
        }
    ]


def _virtual_host(route: EndpointRoute, backends: Mapping[str, Backend]) -> Json:
    reachable = {name: backends[name] for name in route.deployments if name in backends}
    rules = [rule for path in PATHS for rule in _path_rules(path, route, reachable)]
    no_path = _direct("/", 404, "Not found: an endpoint answers /score and /swagger.json.")
    return {
        "name": route.name,
        "domains": list(dict.fromkeys(host.lower() for host in route.hosts)),
        "routes": [*_schemes(route), *rules, no_path],
        "typed_per_filter_config": _admission(route),
        # The key or token has done its work: a scoring script has no business with it, nor have its logs.
        "request_headers_to_remove": ["authorization", "x-envoy-external-address"],
        "request_headers_to_add": [_header("x-ms-client-request-id", _CLIENT_ID, "OVERWRITE_IF_EXISTS")],
        "response_headers_to_add": [_header("x-ms-client-request-id", _CLIENT_ID)],
    }


# Azure passes on 40 characters of a caller's own id.
_CLIENT_ID = "%REQ(x-ms-client-request-id):40%"


def _admission(route: EndpointRoute) -> Json:
    if route.auth == "key":
        return {_KEY_AUTH: _keys(route.keys)}
    rules = {_JWT: {"@type": f"{_FILTERS}.jwt_authn.v3.PerRouteConfig", "requirement_name": route.auth}}
    if route.auth == "aml_token":
        return rules | {_RBAC: _allow([_has_claim(_AML_CLAIMS, "endpointName", route.name)])}
    if route.callers is None:
        return rules
    return rules | {_RBAC: _allow([_has_claim(_AAD_CLAIMS, "oid", each) for each in sorted(route.callers)])}


def _keys(keys: Sequence[str]) -> Json:
    credentials = [{"key": key, "client": f"key-{number}"} for number, key in enumerate(dict.fromkeys(keys), 1)]
    return {
        "@type": f"{_FILTERS}.api_key_auth.v3.ApiKeyAuthPerRoute",
        "credentials": credentials,
        "key_sources": [{"header": "authorization"}],
    }


def _schemes(route: EndpointRoute) -> list[Json]:
    if route.auth != "key":
        return []
    # Envoy takes a key with the scheme or without it; Azure wants the scheme.
    scheme = {"name": "authorization", "string_match": {"prefix": "Bearer "}, "invert_match": True}
    match = {"prefix": "/", "headers": [scheme | {"treat_missing_header_as_empty": True}]}
    return [{"match": match, "direct_response": {"status": 401}}]


def _has_claim(claims: str, name: str, value: str) -> Json:
    path = [{"key": claims}, {"key": name}]
    found = {"filter": _JWT, "path": path, "value": {"string_match": {"exact": value}}}
    return {"sourced_metadata": {"metadata_matcher": found}}


def _allow(principals: list[Json]) -> Json:
    nobody = {"not_id": {"any": True}}
    policy = {"permissions": [{"any": True}], "principals": principals or [nobody]}
    return {
        "@type": f"{_FILTERS}.rbac.v3.RBACPerRoute",
        "rbac": {"rules": {"action": "ALLOW", "policies": {"callers": policy}}},
    }


def _path_rules(path: str, route: EndpointRoute, reachable: Mapping[str, Backend]) -> list[Json]:
    known = dict.fromkeys([*reachable, *route.known, *_weights(route)])
    named = [_to(name, reachable, {"path": path, "headers": [_named(name)]}, mirrors=[]) for name in known]
    unnamed = {"path": path, "headers": [{"name": DEPLOYMENT_HEADER, "present_match": True}]}
    return [*named, _refuse(unnamed), *_split(path, route, reachable), _refuse({"path": path})]


def _split(path: str, route: EndpointRoute, reachable: Mapping[str, Backend]) -> list[Json]:
    weights = _weights(route)
    mirrors = [_mirror(reachable[name], share) for name, share in route.mirror.items() if name in reachable and share]
    rules, sofar, total = [], 0, sum(weights.values())
    for name, weight in weights.items():
        sofar += weight
        # Envoy draws one number for a request and compares it with each route's share: the shares add up.
        share = {"default_value": {"numerator": _MILLION * sofar // total, "denominator": "MILLION"}}
        rules.append(_to(name, reachable, {"path": path, "runtime_fraction": share}, mirrors))
    return rules


def _weights(route: EndpointRoute) -> dict[str, int]:
    return {name: weight for name, weight in route.traffic.items() if weight > 0}


def _to(name: str, reachable: Mapping[str, Backend], match: Json, mirrors: list[Json]) -> Json:
    # A deployment that is not ready keeps its share: those that are ready must not get what is not theirs.
    return _forward(match, reachable[name], mirrors) if name in reachable else _unavailable(match, name)


def _mirror(backend: Backend, share: int) -> Json:
    fraction = {"default_value": {"numerator": share, "denominator": "HUNDRED"}}
    return {"cluster": backend.cluster, "runtime_fraction": fraction, "disable_shadow_host_suffix_append": True}


def _forward(match: Json, backend: Backend, mirrors: list[Json]) -> Json:
    action = {
        "cluster": backend.cluster,
        "timeout": f"{backend.timeout_ms / 1000:.3f}s",
        "request_mirror_policies": mirrors,
        # An instance that has just died refuses the connection: nothing was sent, so another one may be asked.
        "retry_policy": {
            "retry_on": "connect-failure",
            # One to two seconds altogether: by then whoever has died is set aside, or known to be gone.
            "num_retries": 20,
            "retry_back_off": {"base_interval": "0.010s", "max_interval": "0.200s"},
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": "type.googleapis.com/"
                        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": 5,
        },
    }
    return {"match": match, "route": action, "response_headers_to_add": [_header(DEPLOYMENT_HEADER, backend.name)]}


def _named(deployment: str) -> Json:
    return {"name": DEPLOYMENT_HEADER, "string_match": {"exact": deployment}}


def _unavailable(match: Json, name: str) -> Json:
    answer = {"status": 503, "body": {"inline_string": NOT_READY}}
    return {"match": match, "direct_response": answer, "response_headers_to_add": [_header(DEPLOYMENT_HEADER, name)]}


def _refuse(match: Json) -> Json:
    return {"match": match, "direct_response": {"status": 404, "body": {"inline_string": NO_DEPLOYMENT}}}


def _direct(prefix: str, status: int, text: str) -> Json:
    return {"match": {"prefix": prefix}, "direct_response": {"status": status, "body": {"inline_string": text}}}


def _header(name: str, value: str, action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> Json:
    return {"header": {"key": name, "value": value}, "append_action": action}


def _loopback(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _file(path: Path) -> Json:
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}
