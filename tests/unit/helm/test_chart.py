"""The chart lints, renders what Kubernetes accepts, and writes what the parts' loaders accept."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml

from agents import config as agent_config
from helm.schema import FILE, text
from scheduler import config as scheduler_config
from scheduler.policyfile import load as policyfile
from scheduler.policyfile.sections import PolicyFile

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "helm" / "westward"
KUBERNETES_VERSIONS = ("1.27", "1.37")

Values = dict[str, Any]
Manifest = dict[str, Any]

REGIONS: Values = {"shanghai": {"gateway": "gateway.shanghai.example:7444", "label": "上海"}}
POLICIES: Values = {
    "weights": {"nongreen_yuan_per_kwh": 0.2},
    "clusters": {"qingyang": {"price_adder_yuan_per_kwh": -0.05}},
    "tenants": {"lab": {"quota_gpus": 2_000_000}},  # as YAML, Helm would write 2e+06
    "maintenance": [
        {
            "cluster": "qingyang",
            "from": "2026-11-20T22:00:00+08:00",
            "to": "2026-11-21T06:00:00+08:00",
            "why": "new transformer",
        }
    ],
}
HEAD: Values = {
    "province": "Gansu",
    "price": {"table": "/etc/westward/series/tariff.csv", "flat_yuan_per_kwh": 0.398},
    "green": {"file": "/etc/westward/series/green.csv"},
    "pue": 1.15,
    "grid_carbon_g_per_kwh": 550,
    "power_cap_kw": 2_000_000,  # Helm writes it as 2e+06
    "ray": {"address": "127.0.0.1:6379"},
}
SITES: dict[str, Values] = {
    "as it is": {},
    "scheduler on PostgreSQL, secured": {
        "scheduler": {
            "config": {"regions": REGIONS, "slot_s": 900, "horizon_slots": 192},
            "policies": POLICIES,
            "database": {"existingSecret": "westward-database"},
            "token": {"existingSecret": "westward-token"},
            "tls": {"existingSecret": "westward-tls"},
            "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
        }
    },
    "western cluster": {
        "scheduler": {"enabled": False},
        "agent": {
            "enabled": True,
            "config": {
                "cluster": "qingyang",
                "scheduler": {"address": "westward.example:7443"},
                "accelerators": {"model": "A800", "count": 8, "gpu_power_kw": 0.55},
            },
            "head": {
                "enabled": True,
                "config": HEAD,
                "files": {"tariff.csv": "band\nflat\n", "green.csv": "hour,kw\n0,1200\n"},
            },
            "token": {"existingSecret": "westward-token"},
            "ca": {"existingSecret": "westward-ca"},
        },
    },
    "scheduler, watched": {
        "scheduler": {"metrics": {"enabled": True, "dashboard": {"enabled": True}}},
    },
    "origin region": {
        "image": {"repository": "images.example.org/westward", "pullSecrets": ["pull"]},
        "scheduler": {"enabled": False},
        "gateway": {"enabled": True, "region": "shanghai"},
    },
}


@pytest.fixture(scope="module")
def chart() -> Iterator[helm.Chart]:
    with helm.Chart.load(CHART) as loaded:
        yield loaded


def render(chart: helm.Chart, values: Values) -> list[Manifest]:
    """The manifests of a release named west in the namespace compute."""
    files = chart.render(values, name="west", namespace="compute")
    documents = [
        document
        for name, content in files.items()
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(content)
    ]
    return [document for document in documents if document]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    [found] = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


def pods(manifests: list[Manifest]) -> list[Manifest]:
    return [m["spec"]["template"]["spec"] for m in manifests if "template" in m.get("spec", {})]


def environment(manifest: Manifest) -> dict[str, Manifest]:
    [container] = manifest["spec"]["template"]["spec"]["containers"]
    return {item["name"]: item["valueFrom"] for item in container.get("env", [])}


@pytest.mark.parametrize("site", SITES)
def test_it_lints_strictly(site: str) -> None:
    report = helm.lint(CHART, SITES[site], strict=True)
    assert report["errors"] == []
    worst = max((message["severity"] for message in report["messages"]), default=0)
    assert worst <= 1, report["messages"]


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_kubernetes_accepts_every_manifest(chart: helm.Chart, site: str, version: str) -> None:
    manifests = render(chart, SITES[site])
    assert manifests
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("site", SITES)
def test_no_pod_has_more_rights_than_it_needs(chart: helm.Chart, site: str) -> None:
    for pod in pods(render(chart, SITES[site])):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        # Kubernetes' own variables would otherwise fall among the scheduler's settings.
        assert pod["enableServiceLinks"] is False
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("site", SITES)
def test_selectors_find_their_own_pods_only(chart: helm.Chart, site: str) -> None:
    owners = [m for m in render(chart, SITES[site]) if "template" in m.get("spec", {})]
    labels = [m["spec"]["template"]["metadata"]["labels"] for m in owners]
    for owner in owners:
        wanted = owner["spec"]["selector"]["matchLabels"]
        assert sum(wanted.items() <= found.items() for found in labels) == 1


def load_scheduler(manifests: list[Manifest], folder: Path) -> scheduler_config.SchedulerConfig:
    """What the scheduler makes of its ConfigMap."""
    file = folder / "scheduler.yaml"
    file.write_text(named(manifests, "ConfigMap", "west-scheduler")["data"][file.name])
    return scheduler_config.load(file)


def test_sqlite_lives_on_a_volume(chart: helm.Chart, tmp_path: Path) -> None:
    manifests = render(chart, {"scheduler": {"config": {"regions": REGIONS}}})
    config = load_scheduler(manifests, tmp_path)
    assert config.listen == "0.0.0.0:7443"
    assert config.database_url == "sqlite:////var/lib/westward/westward.db"
    assert config.tls is None
    assert config.domain_regions()["shanghai"].label == "上海"
    spec = named(manifests, "StatefulSet", "west-scheduler")["spec"]
    assert spec["replicas"] == 1
    [container] = spec["template"]["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["data"] == "/var/lib/westward"
    assert container["readinessProbe"]["grpc"] == {"port": 7443}


def test_postgresql_needs_no_volume_and_never_two_schedulers(
    chart: helm.Chart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = render(chart, SITES["scheduler on PostgreSQL, secured"])
    deployment = named(manifests, "Deployment", "west-scheduler")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    secrets = environment(deployment)
    assert secrets["WESTWARD_SCHEDULER_DATABASE_URL"]["secretKeyRef"]["name"] == "westward-database"
    monkeypatch.setenv("WESTWARD_SCHEDULER_DATABASE_URL", "postgresql+psycopg://db.example/west")
    monkeypatch.setenv("WESTWARD_SCHEDULER_TOKEN", "s3cret")
    config = load_scheduler(manifests, tmp_path)
    assert config.database_url == "postgresql+psycopg://db.example/west"
    assert config.token == "s3cret"
    assert config.tls is not None
    assert str(config.tls.cert) == "/etc/westward/tls/tls.crt"
    assert config.horizon_slots == 192
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["tcpSocket"] == {"port": 7443}


def test_the_policy_file_is_mounted_where_the_configuration_says(
    chart: helm.Chart, tmp_path: Path
) -> None:
    manifests = render(chart, SITES["scheduler on PostgreSQL, secured"])
    config = load_scheduler(manifests, tmp_path)
    pod = named(manifests, "Deployment", "west-scheduler")["spec"]["template"]["spec"]
    [volume] = [v for v in pod["volumes"] if v["name"] == "policies"]
    [mount] = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "policies"]
    # A file mounted by subPath would never change.
    assert "subPath" not in mount
    [(name, text)] = named(manifests, "ConfigMap", volume["configMap"]["name"])["data"].items()
    assert str(config.policies) == f"{mount['mountPath']}/{name}"
    (tmp_path / name).write_text(text)
    assert policyfile.load(tmp_path / name) == PolicyFile.model_validate(POLICIES)


def test_without_policies_there_is_no_policy_file(chart: helm.Chart, tmp_path: Path) -> None:
    manifests = render(chart, SITES["as it is"])
    assert load_scheduler(manifests, tmp_path).policies is None
    assert "policies" not in str(manifests)


def test_figures_are_served_inside_the_cluster_alone(chart: helm.Chart, tmp_path: Path) -> None:
    assert load_scheduler(render(chart, SITES["as it is"]), tmp_path).metrics.listen is None
    manifests = render(chart, SITES["scheduler, watched"])
    assert load_scheduler(manifests, tmp_path).metrics.listen == "0.0.0.0:9464"
    open_to_others = named(manifests, "Service", "west-scheduler")["spec"]["ports"]
    assert [port["name"] for port in open_to_others] == ["grpc"]
    inside = named(manifests, "Service", "west-scheduler-metrics")
    assert inside["spec"]["type"] == "ClusterIP"
    pod = named(manifests, "StatefulSet", "west-scheduler")["spec"]["template"]
    assert inside["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    [port] = [p for p in pod["spec"]["containers"][0]["ports"] if p["name"] == "metrics"]
    assert port["containerPort"] == 9464


def test_the_dashboard_arrives_as_it_is(chart: helm.Chart) -> None:
    made = named(render(chart, SITES["scheduler, watched"]), "ConfigMap", "west-dashboard")
    file = CHART / "dashboards" / "westward.json"
    assert json.loads(made["data"]["westward.json"]) == json.loads(file.read_text("utf-8"))
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_a_service_monitor_finds_the_service_of_the_figures(chart: helm.Chart) -> None:
    monitor = {"enabled": True, "labels": {"release": "prometheus"}}
    values = {"scheduler": {"metrics": {"enabled": True, "serviceMonitor": monitor}}}
    manifests = render(chart, values)
    made = named(manifests, "ServiceMonitor", "west-scheduler-metrics")
    service = named(manifests, "Service", "west-scheduler-metrics")
    wanted = made["spec"]["selector"]["matchLabels"]
    services = [m for m in manifests if m["kind"] == "Service"]
    found = [m for m in services if wanted.items() <= m["metadata"]["labels"].items()]
    assert found == [service]
    assert made["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert made["metadata"]["labels"]["release"] == "prometheus"


def test_a_changed_policy_restarts_nothing(chart: helm.Chart) -> None:
    """The scheduler reads the file anew by itself."""

    def pod(weight: float) -> Manifest:
        values = {"scheduler": {"policies": {"weights": {"moving_yuan": weight}}}}
        found: Manifest = named(render(chart, values), "StatefulSet", "west-scheduler")
        return found

    assert pod(1.0) == pod(2.0)


def test_no_secret_stands_in_a_config_map(chart: helm.Chart) -> None:
    for site in SITES.values():
        for manifest in render(chart, site):
            if manifest["kind"] == "ConfigMap":
                assert "token" not in str(manifest["data"]), manifest["metadata"]["name"]


@pytest.mark.parametrize(("file", "is_head"), [("agent.yaml", False), ("head.yaml", True)])
def test_agents_load_what_the_chart_writes(
    chart: helm.Chart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, is_head: bool
) -> None:
    manifests = render(chart, SITES["western cluster"])
    path = tmp_path / file
    path.write_text(named(manifests, "ConfigMap", "west-agent")["data"][file])
    monkeypatch.setenv("WESTWARD_AGENT_NODE_ID", "qy-7")
    monkeypatch.setenv("WESTWARD_AGENT_SCHEDULER__TOKEN", "s3cret")
    config = agent_config.load(path)
    assert (config.node_id, config.cluster) == ("qy-7", "qingyang")
    assert config.scheduler.address == "westward.example:7443"
    assert config.scheduler.token == "s3cret"
    assert str(config.scheduler.tls_ca) == "/etc/westward/ca/ca.crt"
    assert str(config.data_dir) == "/var/lib/westward"
    assert (config.head is not None) is is_head
    if config.head is not None:
        assert config.head.power_cap_kw == 2_000_000


def test_head_and_node_agents_never_share_a_node(chart: helm.Chart) -> None:
    manifests = render(chart, SITES["western cluster"])
    node, head = (named(manifests, "DaemonSet", f"west-{part}") for part in ("agent", "head"))
    node_pod, head_pod = (m["spec"]["template"]["spec"] for m in (node, head))
    [key] = node_pod["nodeSelector"].keys() & head_pod["nodeSelector"].keys()
    assert node_pod["nodeSelector"][key] != head_pod["nodeSelector"][key]
    assert environment(node)["WESTWARD_AGENT_NODE_ID"]["fieldRef"]["fieldPath"] == "spec.nodeName"
    assert head_pod["hostNetwork"] is True
    assert "hostNetwork" not in node_pod
    assert node_pod["hostPID"] is head_pod["hostPID"] is True


def test_the_head_finds_its_series_where_its_configuration_says(chart: helm.Chart) -> None:
    manifests = render(chart, SITES["western cluster"])
    pod = named(manifests, "DaemonSet", "west-head")["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    files = named(manifests, "ConfigMap", "west-series")["data"]
    at = {f"{mounts['series']}/{name}" for name in files}
    assert {HEAD["price"]["table"], HEAD["green"]["file"]} <= at


def test_a_changed_configuration_restarts_the_pod(chart: helm.Chart) -> None:
    def checksum(values: Values) -> str:
        [pod] = [m["spec"]["template"] for m in render(chart, values) if m["kind"] == "StatefulSet"]
        found: str = pod["metadata"]["annotations"]["checksum/config"]
        return found

    assert checksum({}) == checksum({})
    assert checksum({}) != checksum({"scheduler": {"config": {"slot_s": 300}}})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"schedular": {}}, "'schedular' not allowed"),
        ({"scheduler": {"replicas": 2}}, "'replicas' not allowed"),
        ({"scheduler": {"config": {"slots": 1}}}, "'slots' not allowed"),
        ({"scheduler": {"config": {"slot_s": -900}}}, "/scheduler/config/slot_s"),
        ({"scheduler": {"config": {"token": "x"}}}, "'token' not allowed"),
        ({"scheduler": {"config": {"policies": "/p.yaml"}}}, "'policies' not allowed"),
        ({"scheduler": {"policies": {"weight": {}}}}, "'weight' not allowed"),
        (
            {"scheduler": {"policies": {"tenants": {"lab": {"quota_gpus": -1}}}}},
            "/scheduler/policies/tenants/lab/quota_gpus",
        ),
        ({"scheduler": {"config": {"regions": {"shanghai": {}}}}}, "missing property 'gateway'"),
        ({"scheduler": {"service": {"port": 70000}}}, "/scheduler/service/port"),
        ({"runAsUser": 0}, "/runAsUser"),
        ({"agent": {"enabled": True}}, "missing properties 'cluster', 'scheduler'"),
        ({"agent": {"head": {"enabled": True}}}, "missing properties 'province'"),
        ({"gateway": {"enabled": True}}, "/gateway/region"),
    ],
)
def test_a_bad_value_is_refused_by_name(chart: helm.Chart, values: Values, told: str) -> None:
    with pytest.raises(helm.HelmValuesError) as refused:
        chart.render(values, name="west", namespace="compute")
    assert told in str(refused.value)


def test_the_schema_follows_the_loaders() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run `python helm/schema.py`"


def test_the_notes_name_what_is_open(chart: helm.Chart) -> None:
    def notes(site: str) -> str:
        files = chart.render(SITES[site], name="west", namespace="compute")
        return files["westward/templates/NOTES.txt"]

    for warning in ("No region", "No token", "Plain text"):
        assert warning in notes("as it is")
        assert warning not in notes("scheduler on PostgreSQL, secured")
    assert "cluster qingyang" in notes("western cluster")
    assert "regions.shanghai.gateway" in notes("origin region")


def test_it_can_be_packaged(tmp_path: Path) -> None:
    archive = helm.package(CHART, destination=tmp_path)
    with helm.Chart.load(archive) as packaged:
        assert packaged.name == "westward"
        assert render(packaged, {})
