"""Writes values.schema.json: the chart's own values, and the parts' configuration as they load it.

``python helm/schema.py`` writes it in place. The sections called ``config`` come from the same
pydantic models that read the files, so a key or a value that a part would refuse at its start is
refused before anything is installed.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from agents.config import AgentConfig, Head
from scheduler.config import SchedulerConfig
from scheduler.policyfile.sections import PolicyFile

FILE = Path(__file__).resolve().parent / "westward" / "values.schema.json"
# Set by the templates.
SCHEDULER_OWN = {"listen", "database_url", "token", "tls", "policies", "metrics"}
AGENT_OWN = {"node_id", "data_dir", "head"}

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FILLED: Schema = TEXT | {"minLength": 1}
FLAG: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
FOLDER: Schema = {"type": "string", "pattern": "^/"}


def strict(**properties: Schema) -> Schema:
    """An object with these keys and no others."""
    return {"type": "object", "additionalProperties": False, "properties": properties}


def needs_when_enabled(section: Schema, needed: Schema) -> Schema:
    """What else must hold of a section once its ``enabled`` is true."""
    enabled = {"properties": {"enabled": {"const": True}}, "required": ["enabled"]}
    return section | {"if": enabled, "then": {"properties": needed, "required": list(needed)}}


def of_model(model: type[BaseModel], without: set[str], definitions: Schema) -> Schema:
    """The model's JSON schema less some keys; the sections it uses go to ``definitions``."""
    schema = model.model_json_schema()
    for name, definition in schema.pop("$defs", {}).items():
        assert definitions.setdefault(name, definition) == definition, f"two sections named {name}"
    schema["properties"] = {k: v for k, v in schema["properties"].items() if k not in without}
    schema["required"] = [k for k in schema.get("required", []) if k not in without]
    return schema


def _service() -> Schema:
    types: Schema = {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]}
    return strict(type=types, port=PORT, annotations=TEXTS)


def _pods() -> Schema:
    tolerations: Schema = {"type": "array", "items": OBJECT}
    resources = strict(requests=OBJECT, limits=OBJECT)
    return {"resources": resources, "nodeSelector": TEXTS, "tolerations": tolerations}


def _secret(*keys: str) -> Schema:
    return strict(existingSecret=TEXT, **dict.fromkeys(keys, FILLED))


def _metrics() -> Schema:
    monitor = strict(enabled=FLAG, interval=FILLED, labels=TEXTS)
    return strict(
        enabled=FLAG,
        port=PORT,
        serviceMonitor=monitor,
        dashboard=strict(enabled=FLAG, labels=TEXTS),
    )


def _scheduler(definitions: Schema) -> Schema:
    return strict(
        enabled=FLAG,
        service=_service(),
        config=of_model(SchedulerConfig, SCHEDULER_OWN, definitions),
        policies=of_model(PolicyFile, set(), definitions),
        database=_secret("key"),
        storage=strict(size=FILLED, className=TEXT),
        token=_secret("key"),
        tls=_secret(),
        metrics=_metrics(),
        **_pods(),
    )


def _agent(definitions: Schema) -> Schema:
    head = strict(enabled=FLAG, config=OBJECT, files=TEXTS, rayDir=FOLDER, **_pods())
    section = strict(
        enabled=FLAG,
        config=OBJECT,
        dataDir=FOLDER,
        head=needs_when_enabled(head, {"config": of_model(Head, set(), definitions)}),
        token=_secret("key"),
        ca=_secret("key"),
        **_pods(),
    )
    return needs_when_enabled(section, {"config": of_model(AgentConfig, AGENT_OWN, definitions)})


def _gateway() -> Schema:
    section = strict(enabled=FLAG, region=TEXT, service=_service(), **_pods())
    return needs_when_enabled(section, {"region": FILLED})


def schema() -> Schema:
    """The whole of values.schema.json."""
    definitions: Schema = {}
    image = strict(
        repository=FILLED,
        tag=TEXT,
        pullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
        pullSecrets={"type": "array", "items": TEXT},
    )
    values = strict(
        image=image,
        runAsUser={"type": "integer", "minimum": 1},
        scheduler=_scheduler(definitions),
        agent=_agent(definitions),
        gateway=_gateway(),
    )
    values["properties"]["global"] = OBJECT  # Helm gives it to every chart
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Westward"}
    return head | values | {"$defs": dict(sorted(definitions.items()))}


def text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
