"""The manifests of deploy/kubernetes: Kubernetes' schemas allow them, and they agree with the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from domain.telemetry.metrics import CATALOGUE
from tests.production.deployed import DEPLOY, END_SECONDS, program_of, settings_with

HOME = DEPLOY / "kubernetes"
VERSIONS = ("1.29", "1.37")
"""The oldest and the newest whose schemas they are held against."""

SECRETS_HOME = "/run/secrets/mana-credits"

Object = dict[str, Any]


def documents(kustomization: Path) -> list[Object]:
    """Every object of the files that a kustomization names."""
    named = yaml.safe_load((kustomization / "kustomization.yaml").read_text("utf-8"))["resources"]
    return [
        one
        for name in named
        for one in yaml.safe_load_all((kustomization / name).read_text("utf-8"))
        if one is not None
    ]


ALL = [*documents(HOME), *documents(HOME / "migrate")]


def of_kind(kind: str) -> dict[str, Object]:
    """The objects of a kind by the last word of their name."""
    return {one["metadata"]["name"].rpartition("-")[2]: one for one in ALL if one["kind"] == kind}


DEPLOYMENTS = of_kind("Deployment")
PODS = {name: one["spec"]["template"] for name, one in {**DEPLOYMENTS, **of_kind("Job")}.items()}
CONFIGURATION: dict[str, str] = of_kind("ConfigMap")["credits"]["data"]


def container(name: str) -> Object:
    [only] = PODS[name]["spec"]["containers"]
    found: Object = only
    return found


def environment(name: str) -> dict[str, str]:
    given = {one["name"]: one["value"] for one in container(name).get("env", ())}
    return {**CONFIGURATION, **given}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("one", ALL, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_the_schema_allows_it(one: Object, version: str) -> None:
    kubernetes_validate.validate(one, version, strict=True)


def test_a_word_that_is_none_would_be_seen() -> None:
    web = DEPLOYMENTS["web"]
    broken = {**web, "spec": {**web["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_every_file_is_named_by_a_kustomization() -> None:
    for home in (HOME, HOME / "migrate"):
        kustomization = yaml.safe_load((home / "kustomization.yaml").read_text("utf-8"))
        there = {path.name for path in home.glob("*.yaml")}
        assert there - {"kustomization.yaml", "prometheus-adapter.yaml"} == set(kustomization["resources"])
        assert [image["name"] for image in kustomization["images"]] == ["mana-credits"]


def test_there_is_everything_that_runs() -> None:
    assert set(PODS) == {"web", "workers", "scheduler", "migrate"}
    for name in PODS:
        assert program_of(" ".join(container(name)["command"])) == {"migrate": "migrations"}.get(name, name)
        assert container(name)["image"] == "mana-credits"


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_not_root_writes_nowhere_and_may_nothing(name: str) -> None:
    pod, its = PODS[name]["spec"], container(name)["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert f"USER {pod['securityContext']['runAsUser']}\n" in (DEPLOY / "Dockerfile").read_text("utf-8")
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert its["readOnlyRootFilesystem"] is True
    assert its["allowPrivilegeEscalation"] is False
    assert its["capabilities"] == {"drop": ["ALL"]}
    assert container(name)["resources"]["limits"]["memory"]
    assert container(name)["resources"]["requests"]


@pytest.mark.parametrize("name", PODS)
def test_its_variables_are_those_of_the_code_and_secrets_are_mounted(name: str, tmp_path: Path) -> None:
    given = environment(name)
    settings_with(given, tmp_path)
    assert container(name)["envFrom"] == [{"configMapRef": {"name": "mana-credits"}}]
    mounted = {one["mountPath"]: one["name"] for one in container(name)["volumeMounts"]}
    volumes = {one["name"]: one for one in PODS[name]["spec"]["volumes"]}
    assert volumes[mounted[SECRETS_HOME]]["secret"] == {"secretName": "mana-credits"}
    assert "emptyDir" in volumes[mounted["/tmp"]]
    for variable, path in given.items():
        if variable.endswith("_FILE"):
            assert path == f"{SECRETS_HOME}/{variable.removesuffix('_FILE')}"


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_its_ports_and_probes_are_where_the_process_answers(name: str, tmp_path: Path) -> None:
    settings = settings_with(environment(name), tmp_path)
    metrics = {
        "web": settings.telemetry.web_metrics_port,
        "workers": settings.telemetry.worker_metrics_port,
        "scheduler": settings.telemetry.scheduler_metrics_port,
    }[name]
    ports = {one["name"]: one["containerPort"] for one in container(name)["ports"]}
    assert ports == ({"http": settings.port} if name == "web" else {}) | {"metrics": metrics}
    asked = {"path": "/health", "port": "http"} if name == "web" else {"path": "/metrics", "port": "metrics"}
    probes = [container(name)[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe")]
    if name == "web":
        probes.append(container(name)["readinessProbe"]["httpGet"])
    assert probes == [asked] * len(probes)
    annotations = PODS[name]["metadata"]["annotations"]
    assert annotations == {"prometheus.io/scrape": "true", "prometheus.io/port": str(metrics)}


@pytest.mark.parametrize("name", END_SECONDS)
def test_nobody_is_killed_before_what_is_under_way_has_ended(name: str) -> None:
    waits = container(name).get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])
    grace = PODS[name]["spec"]["terminationGracePeriodSeconds"]
    assert grace > END_SECONDS[name] + int(waits[1])


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_it_outlives_the_loss_of_a_node(name: str) -> None:
    labels = PODS[name]["metadata"]["labels"]
    assert DEPLOYMENTS[name]["spec"]["selector"]["matchLabels"] == labels
    budget = of_kind("PodDisruptionBudget")[name]["spec"]
    assert budget["selector"]["matchLabels"] == labels
    [spread] = PODS[name]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == labels
    scaler = of_kind("HorizontalPodAutoscaler").get(name)
    least = DEPLOYMENTS[name]["spec"].get("replicas") if scaler is None else scaler["spec"]["minReplicas"]
    assert least == 2
    if scaler is not None:
        assert "replicas" not in DEPLOYMENTS[name]["spec"], "an apply would undo what the autoscaler did"
        assert scaler["spec"]["scaleTargetRef"]["name"] == DEPLOYMENTS[name]["metadata"]["name"]


def test_workers_are_scaled_by_a_metric_that_the_service_tells() -> None:
    [metric] = of_kind("HorizontalPodAutoscaler")["workers"]["spec"]["metrics"]
    wanted = metric["external"]["metric"]["name"]
    assert wanted in {one.name for one in CATALOGUE}
    [rule] = yaml.safe_load((HOME / "prometheus-adapter.yaml").read_text("utf-8"))["rules"]["external"]
    assert (rule["seriesQuery"], rule["name"]["as"]) == (wanted, wanted)


def test_the_metrics_are_for_prometheus_alone() -> None:
    [policy] = of_kind("NetworkPolicy").values()
    open_to_all = [rule["ports"] for rule in policy["spec"]["ingress"] if "from" not in rule]
    assert open_to_all == [[{"port": "http"}]]


def test_the_service_leads_to_the_front() -> None:
    service = of_kind("Service")["web"]["spec"]
    assert service["selector"] == PODS["web"]["metadata"]["labels"]
    assert service["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
