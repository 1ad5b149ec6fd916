"""The manifests, as far as Kubernetes' own schemas go, and the job in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from flink_job.settings import JobSettings

PATH = Path(__file__).parents[2] / "docker" / "kubernetes" / "cascade.yaml"
RESOURCES: list[dict[str, Any]] = list(yaml.safe_load_all(PATH.read_text(encoding="utf-8")))
FLINK = next(one["spec"] for one in RESOURCES if one["kind"] == "FlinkDeployment")
KUBERNETES = "1.37"
MAIN = "flink-main-container"


def pod() -> dict[str, Any]:
    template: dict[str, Any] = FLINK["podTemplate"]
    return template


@pytest.mark.parametrize(
    "resource",
    [one for one in RESOURCES if one["kind"] != "FlinkDeployment"] + [FLINK["podTemplate"]],
    ids=lambda one: one["kind"],
)
def test_kubernetes_takes_it(resource: dict[str, Any]) -> None:
    kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_the_job_is_a_job() -> None:
    (text,) = [one["data"]["job.yaml"] for one in RESOURCES if one["kind"] == "ConfigMap"]
    job = JobSettings.model_validate(yaml.safe_load(text))
    options = FLINK["flinkConfiguration"]
    assert job.flink.checkpoints == options["execution.checkpointing.dir"]
    assert job.flink.parallelism == FLINK["job"]["parallelism"]


def test_every_volume_is_there_and_every_secret_is_a_file() -> None:
    (container,) = pod()["spec"]["containers"]
    assert container["name"] == MAIN
    volumes = {volume["name"]: volume for volume in pod()["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    (secret,) = [one for one in RESOURCES if one["kind"] == "Secret"]
    assert volumes["secrets"]["secret"]["secretName"] == secret["metadata"]["name"]
    files = {env["value"] for env in container["env"] if env["name"].endswith("_FILE")}
    assert files == {f"/secrets/{name}" for name in secret["stringData"]}


def test_it_does_not_run_as_root() -> None:
    assert pod()["spec"]["securityContext"]["runAsNonRoot"] is True
    (container,) = pod()["spec"]["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_upgrades_go_on_from_the_last_state_and_the_gpu_is_asked_for() -> None:
    options = FLINK["flinkConfiguration"]
    assert FLINK["job"]["upgradeMode"] == "last-state"
    assert options["high-availability.type"] == "kubernetes"
    assert options["high-availability.storageDir"]
    (worker,) = FLINK["taskManager"]["podTemplate"]["spec"]["containers"]
    assert worker["name"] == MAIN
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert options["external-resource.gpu.kubernetes.config-key"] == "nvidia.com/gpu"
