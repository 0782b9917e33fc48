"""JSON Schema of the settings in the chart's values, generated from the service's `Settings`.

`python -m tests.deploy.settings_schema` writes it to values.schema.json. A test fails if the file is out of date.
"""

import json
from typing import Any

from service.settings import all_settings
from tests.conftest import ROOT

SCHEMA = ROOT / "deploy" / "helm" / "values.schema.json"

# Set by the chart: paths of mounted files, service discovery, the address of each pod.
BY_CHART = {
    "KEYS_DIR", "CLIENTS_FILE", "GATEWAY_PLUGINS", "TLS_CERT", "TLS_KEY",
    "SERVICE_DISCOVERY", "CONSUL_AGENT_URL", "INSTANCE_HOST",
}  # fmt: skip
ADMIN = {"PSQL_ADMIN_USER", "PSQL_ADMIN_PW", "VAULT_ADMIN_ROLE"}  # for migrations only
READ_BY_CHART = {"PORT", "SERVICE_NAME", "GATEWAY_TIMEOUT_S", "VAULT_TIMEOUT_S", "DRAIN_S"}
KEPT = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "description")


def settings_schema() -> dict[str, Any]:
    """Return the definitions `settings`, without secrets, and `secretSettings`, which may name any setting."""
    fields = {name: _plain(field) for name, field in described().items()}
    secret = {name for name, field in fields.items() if field.get("writeOnly")}
    plain = {name: field for name, field in fields.items() if name not in BY_CHART | ADMIN | secret}
    return {
        "settings": {
            "type": "object",
            "additionalProperties": False,
            "required": sorted(READ_BY_CHART),
            "properties": {name: _property(name, field) for name, field in plain.items()},
        },
        "secretSettings": {
            "type": "object",
            "additionalProperties": False,
            "patternProperties": {
                f"^({'|'.join(sorted(fields.keys() - BY_CHART - ADMIN - READ_BY_CHART))})$": {
                    "$ref": "#/definitions/secretKey"
                }
            },
        },
    }


def described() -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each setting by its name."""
    groups = dict.fromkeys(group for _, _, group in all_settings())
    return {name: field for group in groups for name, field in group.model_json_schema()["properties"].items()}


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field without its null option."""
    return {**field, **next((option for option in field.get("anyOf", ()) if option["type"] != "null"), {})}


def _property(name: str, field: dict[str, Any]) -> dict[str, Any]:
    kept = {word: field[word] for word in KEPT if word in field}
    if name.endswith(("_URL", "_ADDR")):
        kept["pattern"] = "^https?://"
    elif field["type"] == "string" and "enum" not in field:
        kept["minLength"] = 1
    return kept


def main() -> None:
    """Update values.schema.json."""
    schema = json.loads(SCHEMA.read_text())
    schema["definitions"] |= settings_schema()
    SCHEMA.write_text(json.dumps(schema, indent=2) + "\n")


if __name__ == "__main__":
    main()
