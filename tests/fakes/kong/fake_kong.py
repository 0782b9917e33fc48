"""A fake of Kong's Admin API: entities in memory behind the routes that registration uses.

It responds as recorded gateways of the same version do, and takes the defaults of entities from the recordings.
test_fake_kong.py compares its responses with theirs.
"""

import copy
import json
import re
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.fakes.kong.recorded import recording
from tests.support.ports import free_port

NOT_FOUND = (404, {"message": "Not found"})
DOWN = (500, {"message": "An unexpected error occurred"})
# Fields without a default that clients may write.
FURTHER = {
    "services": {"host"},
    "routes": {"service"},
    "upstreams": set(),
    "targets": {"target"},
    "plugins": {"name", "service"},
    "consumers": set(),
    "apis": {"name", "upstream_url", "uris"},
}
PASSING = {"id", "created_at", "updated_at"}


# Plugins that a gateway comes with. Others are not enabled.
ENABLED_PLUGINS = frozenset((
    "rate-limiting", "ip-restriction", "cors", "correlation-id", "request-size-limiting", "key-auth", "jwt",
    "request-transformer", "response-transformer", "prometheus", "oidc",
    "http-log",
))  # fmt: skip
# Configurations of which all fields are known, besides that of rate-limiting, which was recorded.
CONFIGS = {
    "ip-restriction": {"message": None, "deny": None, "status": None, "allow": None},
    "cors": {
        "origins": None, "methods": ["GET", "HEAD"], "headers": None, "exposed_headers": None, "max_age": None,
        "credentials": False, "preflight_continue": False,
    },
}  # fmt: skip


def _recorded(version: str, scenario: str, step: int) -> dict[str, Any]:
    return recording(f"kong-{version}")[scenario][step]["response"]["json"]


def _defaults(version: str) -> dict[str, dict[str, Any]]:
    """Return the defaults of each kind of entity in the recorded version that is closest."""
    if version.startswith("0."):
        api = _recorded("0.14.1", "api created", 0)
        return {"apis": {k: v for k, v in api.items() if k not in PASSING | FURTHER["apis"]} | {"strip_uri": True}}
    near = "3.9.3" if version.startswith("3.") else "2.8.5"
    found = {
        "services": _recorded(near, "service put resets omitted fields", 0) | {"tags": None},
        "routes": _recorded(near, "route put creates", 0) | {"paths": None, "strip_path": True, "tags": None},
        "upstreams": _recorded(near, "upstream put", 0) | {"tags": None},
        "targets": _recorded(near, "targets", 0) | {"tags": None, "weight": 100},
        "plugins": _recorded(near, "plugins on the service", 0) | {"tags": None},
        "consumers": {"username": None, "custom_id": None, "tags": None},
    }
    kept = {
        kind: {k: v for k, v in entity.items() if k not in PASSING | FURTHER[kind] | {"name", "upstream"}}
        for kind, entity in found.items()
    }
    if version.startswith("1.0"):
        kept = {kind: {k: v for k, v in entity.items() if k != "tags"} for kind, entity in kept.items()}
    return kept


class FakeKong:
    """Entities by kind and name, and a record of all requests.

    Attributes:
        version: Version of Kong to fake.
        database: `off` for a gateway without a database.
        database_up: Whether the gateway reaches its database.
        entities: Entities by kind and name.
        targets: Targets by upstream and address.
        jwt_keys: Credentials of the plugin `jwt`, by key id, which is unique over all consumers.
        health: The health of targets that a node's checks have found, by address. FakeProxy runs the checks.
        requests: All requests, as (method, path, body).
        headers: The headers of all requests.
        fail: Responses to the next requests, as (status, body, content type), instead of Kong's.
        url: URL of the server, while it runs.
    """

    def __init__(self, version: str = "3.9.3", database: str = "postgres") -> None:
        self.version = version
        self.database = database
        self.database_up = True
        self.entities: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in FURTHER}
        self.services, self.routes = self.entities["services"], self.entities["routes"]
        self.targets: dict[str, dict[str, dict[str, Any]]] = {}
        self.jwt_keys: dict[str, dict[str, Any]] = {}
        self.health: dict[str, str] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.fail: list[tuple[int, bytes, str]] = []
        self.url = ""
        self._defaults = _defaults(version)
        self._time = count(1)
        self._lock = threading.Lock()

    @property
    def writes(self) -> list[tuple[str, str, Any]]:
        return [r for r in self.requests if r[0] != "GET" and not r[1].endswith("/schemas/plugins/validate")]

    @property
    def legacy(self) -> bool:
        return self.version.startswith("0.")

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON for one request."""
        with self._lock:
            status, members = self._answer(method, unquote(path.partition("?")[0]), body)
            return status, copy.deepcopy(members)

    def _answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if (method, path) == ("GET", "/status"):  # a gateway without a database omits it
            return 200, {"database": {"reachable": self.database_up}} if self.database != "off" else {}
        if (method, path) == ("GET", "/"):
            if not self.database_up:
                return 500, {"message": "An unexpected error happened"}
            told = {"version": self.version, "configuration": {"database": self.database, "role": "traditional"}}
            return 200, told
        if not self.database_up:
            return DOWN
        if self.legacy:
            return self._apis(method, path, body)
        match path.strip("/").split("/"):
            case [("services" | "routes" | "upstreams" | "consumers") as kind, key]:
                name = next((n for n, found in self.entities[kind].items() if found["id"] == key), key)
                return self._entity(method, kind, name, body)
            case ["services", service, "routes", name] if not self.version.startswith(("1.0", "1.1", "1.2")):
                if service not in self.services:
                    return NOT_FOUND
                owner = {"service": {"id": self.services[service]["id"]}}
                if method == "GET" and self.routes.get(name, {}).get("service") != owner["service"]:
                    return NOT_FOUND
                return self._entity(method, "routes", name, body if body is None else {**body, **owner})
            case ["services", service, "routes"] if method == "GET":
                if service not in self.services:
                    return NOT_FOUND
                mine = {"id": self.services[service]["id"]}
                return self._page([route for route in self.routes.values() if route["service"] == mine])
            case [("services" | "routes") as kind] if method == "GET":
                return self._page(list(self.entities[kind].values()))
            case ["upstreams", upstream, "targets", *target]:
                return self._targets(method, upstream, target[0] if target else None, body)
            case ["upstreams", upstream, "health"] if method == "GET":
                return self._page([self._health(t) for t in self.targets.get(upstream, {}).values()])
            case ["services", service, "plugins"] if service in self.services:
                return self._plugins(method, self.services[service]["id"], body)
            case ["plugins", key]:
                return self._plugin(method, key, body)
            case ["schemas", "plugins", "validate"] if method == "POST":
                return self._plugin_violation(body) or (200, {"message": "schema validation successful"})
            case ["consumers"] if method == "POST":
                name = body["username"]
                if name in self.entities["consumers"]:
                    return _unique_violation({"username": name})
                return 201, self._entity("PUT", "consumers", name, body)[1]
            case ["consumers", name, "jwt", *key] if name in self.entities["consumers"]:
                return self._jwt(method, self.entities["consumers"][name]["id"], key[0] if key else None, body)
        return NOT_FOUND

    def _page(self, data: list[dict[str, Any]]) -> tuple[int, Any]:
        return 200, {"data": data, "next": None}

    def _entity(self, method: str, kind: str, name: str, body: Any) -> tuple[int, Any]:
        entities = self.entities[kind]
        if method == "GET":
            return (200, entities[name]) if name in entities else NOT_FOUND
        if method == "DELETE":
            service = entities.get(name, {}).get("id")
            if kind == "consumers" and name in entities:  # its credentials go with it
                owner = {"id": entities[name]["id"]}
                self.jwt_keys = {k: v for k, v in self.jwt_keys.items() if v["consumer"] != owner}
            if kind == "services" and any(route["service"] == {"id": service} for route in self.routes.values()):
                message = "an existing 'routes' entity references this 'services' entity"
                told = {"@referenced_by": "routes"}
                return 400, {"fields": told, "name": "foreign key violation", "code": 4, "message": message}
            entities.pop(name, None)
            return 204, None
        if method == "PATCH" and name not in entities:
            message = f"could not find the entity with '{{name=\"{name}\"}}'"
            return 404, {"fields": {"name": name}, "name": "not found", "code": 6, "message": message}
        if self.database == "off":
            message = f"cannot create or update '{kind}' entities by 'name' when not using a database"
            return 405, {"name": "operation unsupported", "code": 12, "message": message}
        kept = entities.get(name, {"id": str(uuid.uuid4())})
        base = kept if method == "PATCH" else self._defaults[kind]
        problem = self._violation(kind, {**base, **body}, body)
        if problem:
            return problem
        now = next(self._time)
        created_at = kept["created_at"] if method == "PATCH" else now  # a PUT resets it
        changed = {**_overlaid(copy.deepcopy(base), body), "id": kept["id"], "created_at": created_at}
        if not (kind == "upstreams" or (kind == "consumers" and self.version.startswith("2."))):
            changed["updated_at"] = now
        entities[name] = {**changed, "username" if kind == "consumers" else "name": name}
        return 200, entities[name]

    def _violation(self, kind: str, entity: dict[str, Any], body: dict[str, Any]) -> tuple[int, Any] | None:
        fields: dict[str, Any] = dict.fromkeys(
            set(body) - set(self._defaults[kind]) - FURTHER[kind] - PASSING - {"name"}, "unknown field"
        )
        where = ""
        if kind == "services":
            host = entity.get("host")
            if host is None:
                fields["host"] = "required field missing"
            elif "/" in host:
                fields["host"] = f"invalid value: {host}"
            elif not 0 <= entity["port"] <= 65535:
                fields["port"] = "value should be between 0 and 65535"
        if kind == "routes":
            if not entity.get("paths"):
                told = "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"
                return _schema_violation({"@entity": [told]}, told)
            for path in entity["paths"]:
                reason = None
                if "//" in path:
                    reason = "must not have empty segments"
                elif self.version.startswith("3."):
                    if not path.startswith(("/", "~/")):
                        reason = "should start with: / (fixed path) or ~/ (regex path)"
                elif not path.startswith("/"):
                    reason = "should start with: /"
                if reason:
                    fields["paths"], where = [reason], f"paths.1: {reason}"
        if kind == "targets" and not re.fullmatch(r"[\w.:\[\]-]+", entity["target"]):
            fields["target"] = "Invalid target; not a valid hostname or ip address"
        if not fields:
            return None
        return _schema_violation(fields, where or "; ".join(f"{field}: {reason}" for field, reason in fields.items()))

    def _targets(self, method: str, upstream: str, target: str | None, body: Any) -> tuple[int, Any]:
        if upstream not in self.entities["upstreams"]:
            return NOT_FOUND if self.version.startswith("3.") else DOWN
        targets = self.targets.setdefault(upstream, {})
        if method == "GET":
            return self._page(list(targets.values()))
        owner = {"upstream": {"id": self.entities["upstreams"][upstream]["id"]}}
        if method == "POST":
            problem = self._violation("targets", {**self._defaults["targets"], **body}, body)
            if problem:
                return problem
            known = body["target"] in targets
            if known and self.version.startswith("3."):
                fields = {**owner, "target": body["target"]}
                return _unique_violation(fields)
            passing = {"id": str(uuid.uuid4()), "created_at": 1.0, "updated_at": 1.0}
            if not self.version.startswith("3."):
                del passing["updated_at"]
            entity = {**passing, **self._defaults["targets"], **owner, **body}
            targets[body["target"]] = entity
            self.health.pop(body["target"], None)  # a new target counts as healthy until it is checked
            return (200 if known else 201), entity
        target = next((t for t, found in targets.items() if found["id"] == target), target)
        if target not in targets or method == "PUT":
            return NOT_FOUND
        if method == "DELETE":
            del targets[target]
            return 204, None
        targets[target].update(body)
        return 200, targets[target]

    def _health(self, target: dict[str, Any]) -> dict[str, Any]:
        checked = self.health.get(target["target"])
        if checked is None and self.version.startswith("3."):
            return target  # the recorded gateway had not checked the target yet
        health = checked or "HEALTHY"
        host, _, port = target["target"].rpartition(":")
        weight = target["weight"]
        available = weight if health == "HEALTHY" else 0
        address = {"ip": host, "port": int(port), "health": health, "weight": weight}
        found = {
            "addresses": [address], "nodeWeight": weight, "port": int(port), "host": host, "dns": "A",
            "weight": {"total": weight, "unavailable": weight - available, "available": available},
        }  # fmt: skip
        return {**target, "data": found, "health": health}

    def _plugins(self, method: str, service: str, body: Any) -> tuple[int, Any]:
        plugins = self.entities["plugins"]
        mine = [plugin for plugin in plugins.values() if plugin["service"] == {"id": service}]
        if method == "GET":
            return self._page(mine)
        if any(plugin["name"] == body["name"] for plugin in mine):
            return _unique_violation(
                {"consumer": None, "name": body["name"], "route": None, "service": {"id": service}}
            )
        problem = self._plugin_violation(body)
        if problem:
            return problem
        now = next(self._time)
        entity = _overlaid(self._plugin_defaults(body["name"]), body)
        entity |= {"id": str(uuid.uuid4()), "service": {"id": service}, "created_at": now, "updated_at": now}
        if not self.version.startswith("3."):
            del entity["updated_at"]
        plugins[entity["id"]] = entity
        return 201, entity

    def _plugin(self, method: str, key: str, body: Any) -> tuple[int, Any]:
        """Respond as to /plugins/{id}. PATCH merges the configuration, and PUT resets all omitted fields."""
        plugins = self.entities["plugins"]
        if method == "DELETE":
            plugins.pop(key, None)
            return 204, None
        if key not in plugins:
            return NOT_FOUND
        if method == "GET":
            return 200, plugins[key]
        kept = plugins[key]
        problem = self._plugin_violation({"name": kept["name"], **body})
        if problem:
            return problem
        base = copy.deepcopy(kept) if method == "PATCH" else {**self._plugin_defaults(body["name"]), "service": None}
        passing = {name: kept[name] for name in PASSING & kept.keys()}
        plugins[key] = {**_overlaid(base, body), **passing}
        return 200, plugins[key]

    def _plugin_defaults(self, name: str) -> dict[str, Any]:
        defaults = copy.deepcopy(self._defaults["plugins"])
        if name != "rate-limiting":  # the plugin whose defaults were recorded
            defaults["config"] = copy.deepcopy(CONFIGS.get(name, {}))
        else:
            defaults["config"] |= {"minute": None}
        if name == "ip-restriction" and self.version.startswith("3."):
            defaults["protocols"] = ["http", "https", "tcp", "tls", "grpc", "grpcs"]
        return defaults

    def _plugin_violation(self, body: dict[str, Any]) -> tuple[int, Any] | None:
        name = body["name"]
        if name not in ENABLED_PLUGINS:
            reason = f"plugin '{name}' not enabled; add it to the 'plugins' configuration property"
            return _schema_violation({"name": reason}, f"name: {reason}")
        if name == "rate-limiting" or name in CONFIGS:
            for field in (body.get("config") or {}).keys() - self._plugin_defaults(name)["config"].keys():
                return _schema_violation({"config": {field: "unknown field"}}, f"config.{field}: unknown field")
        return None

    def _jwt(self, method: str, consumer: str, key: str | None, body: Any) -> tuple[int, Any]:
        """Respond as to /consumers/{name}/jwt. A key is unique over all consumers; PUT by key is an upsert."""
        owner = {"id": consumer}
        if method == "GET" and key is None:
            return self._page([entity for entity in self.jwt_keys.values() if entity["consumer"] == owner])
        if method == "POST":
            if body["key"] in self.jwt_keys:
                return _unique_violation({"key": body["key"]})
            key = body["key"]
        known = next((k for k, v in self.jwt_keys.items() if v["id"] == key), key)
        if method == "DELETE":
            self.jwt_keys.pop(known, None)
            return 204, None
        kept = self.jwt_keys.get(known, {"id": str(uuid.uuid4())})
        defaults = {"algorithm": "HS256", "rsa_public_key": None, "secret": None, "tags": None, "key": known}
        self.jwt_keys[known] = {**defaults, "created_at": next(self._time), **body, "consumer": owner, "id": kept["id"]}
        return (201 if method == "POST" else 200), self.jwt_keys[known]

    def _apis(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        apis = self.entities["apis"]
        if path == "/apis/":
            if method not in ("POST", "PUT"):
                return NOT_FOUND
            problem = {name: f"{name} is required" for name in ("name", "upstream_url") if name not in body}
            problem |= {
                name: f"{name} is an unknown field"
                for name in set(body) - set(self._defaults["apis"]) - FURTHER["apis"]
            }
            uris = (body.get("uris") or "/").split(",")
            wrong = [uri for uri in uris if not uri.startswith("/")]
            if not re.fullmatch(r"[\w.~-]+", body.get("name", "x")):
                problem["name"] = "name must only contain alphanumeric and '., -, _, ~' characters"
            if wrong:
                problem["uris"] = f"uri with value '{wrong[0]}' is invalid: must be prefixed with slash"
            if problem:
                return 400, problem
            if body["name"] in apis:
                return 409, {"name": f"already exists with value '{body['name']}'"}
            apis[body["name"]] = self._api({"id": str(uuid.uuid4()), "created_at": 1, **self._defaults["apis"]}, body)
            return 201, apis[body["name"]]
        if (method, path) == ("GET", "/apis"):
            return 200, {"data": list(apis.values()), "total": len(apis)}
        name = path.removeprefix("/apis/")
        if not path.startswith("/apis/") or (name not in apis and method != "PUT"):
            return NOT_FOUND
        if method == "PUT":
            return 405, {"message": "Method not allowed"}
        if method == "DELETE":
            del apis[name]
            return 204, None
        if method == "PATCH":
            apis[name] = self._api(apis[name], body)
        return 200, apis[name]

    def _api(self, base: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        uris = {"uris": body["uris"].split(",")} if "uris" in body else {}
        return {**base, **body, **uris}


def _overlaid(base: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    for name, value in body.items():
        inner = isinstance(value, dict) and isinstance(base.get(name), dict) and name != "service"
        base[name] = _overlaid(base[name], value) if inner else value
    return base


def _unique_violation(fields: dict[str, Any]) -> tuple[int, Any]:
    return 409, {"fields": fields, "name": "unique constraint violation", "code": 5, "message": "UNIQUE"}


def _schema_violation(fields: dict[str, Any], told: str) -> tuple[int, Any]:
    return 400, {"fields": fields, "name": "schema violation", "code": 2, "message": f"schema violation ({told})"}


@contextmanager
def running(
    kong: FakeKong, port: int = 0, certificate: Path | None = None, host: str = "127.0.0.1"
) -> Iterator[FakeKong]:
    """Serve a fake gateway while the context is open.

    Args:
        kong: The gateway.
        port: Port to listen on; 0 for a free one.
        certificate: PEM file with a certificate and its key, to use TLS.
        host: Address to listen on.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # the head and the body are two packets: the body waited 40 ms for an ACK

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            kong.requests.append((self.command, self.path, body))
            kong.headers.append(dict(self.headers))
            if kong.fail:
                status, content, kind = kong.fail.pop(0)
            else:
                status, members = kong.answer(self.command, self.path, body)
                content = b"" if members is None else json.dumps(members).encode()
                kind = "application/json; charset=utf-8"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  (the library's names)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    server = Server((host, port or free_port()), Handler)
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    kong.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    try:
        yield kong
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
