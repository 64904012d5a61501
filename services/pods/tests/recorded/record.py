"""Records what the real Kubernetes provider of Airflow makes of pods and labels, for the tests beside it.

pip install apache-airflow-providers-cncf-kubernetes
python record.py
"""

from __future__ import annotations

import json
import random
from functools import reduce
from pathlib import Path
from typing import Any

from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator, make_safe_label_value
from kubernetes.client import Configuration
from kubernetes.client.api_client import ApiClient

HERE = Path(__file__).parent
Json = dict[str, Any]

TEXTS = [
    "plain", "a", "", "with space", "group.task", "under_score-dash", "-edge-", "__init__", "ünïcode", "日本", "a" * 63,
    "a" * 64, "b" * 53 + "." * 20, "manual__2026-01-02T03:04:05+00:00", "scheduled__2026-01-02T03:04:05.123456+00:00",
    "x" * 60 + "!", "!!!", "UPPER", "9", "tab\there", "trailing.", ".leading",
]  # fmt: skip

TEMPLATE: Json = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "template",
        "labels": {"team": "data", "tier": "x"},
        "annotations": {"note": "from the template"},
    },
    "spec": {
        "containers": [
            {
                "name": "worker",
                "image": "company/airflow:1",
                "env": [{"name": "A", "value": "1"}],
                "envFrom": [{"secretRef": {"name": "s"}}],
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
                "volumeMounts": [{"name": "dags", "mountPath": "/dags"}],
            },
            {"name": "side", "image": "company/side:1"},
        ],
        "initContainers": [
            {"name": "fetch", "image": "company/fetch:1", "env": [{"name": "F", "value": "1"}]},
            {"name": "native", "image": "company/mesh:1", "restartPolicy": "Always"},
        ],
        "volumes": [{"name": "dags", "emptyDir": {}}],
        "nodeSelector": {"disk": "ssd"},
        "serviceAccountName": "worker",
        "securityContext": {"runAsUser": 50000},
        "hostNetwork": True,
        "terminationGracePeriodSeconds": 60,
        "tolerations": [{"key": "a", "operator": "Exists"}],
    },
}

DYNAMIC: Json = {
    "metadata": {
        "name": "d-t-1",
        "namespace": "jobs",
        "labels": {"dag_id": "d", "tier": "run"},
        "annotations": {"dag_id": "d"},
    },
    "spec": {
        "containers": [
            {
                "name": "base",
                "args": ["run"],
                "image": "company/airflow:2",
                "env": [{"name": "AIRFLOW_IS_K8S_EXECUTOR_POD", "value": "True"}],
            }
        ]
    },
}


def base(**fields: Any) -> Json:
    return {"spec": {"containers": [{"name": "base", **fields}]}}


OVERRIDES: dict[str, Json | None] = {
    "none": None,
    "image": base(image="mine:3"),
    "resources": base(resources={"limits": {"nvidia.com/gpu": "1"}, "requests": {"memory": "8Gi"}}),
    "env": base(
        env=[{"name": "A", "value": "2"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    ),
    "mounts": {
        "spec": {
            "containers": [{"name": "base", "volumeMounts": [{"name": "x", "mountPath": "/x"}]}],
            "volumes": [{"name": "x", "hostPath": {"path": "/x"}}],
        }
    },
    "labels": {
        "metadata": {
            "labels": {"team": "ml"},
            "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
        }
    },
    "empty metadata": {"metadata": {}},
    "placement": {
        "spec": {
            "containers": [{"name": "base"}],
            "nodeSelector": {"gpu": "yes"},
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}
                        ]
                    }
                }
            },
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "priorityClassName": "low",
        }
    },
    "empty mapping": {"spec": {"containers": [{"name": "base"}], "nodeSelector": {}, "tolerations": []}},
    "empty models": {
        "spec": {"containers": [{"name": "base", "resources": {}, "securityContext": {}}], "securityContext": {}}
    },
    "false and nought": {
        "spec": {"containers": [{"name": "base"}], "hostNetwork": False, "terminationGracePeriodSeconds": 0}
    },
    "a side container": {
        "spec": {
            "containers": [
                {"name": "base"},
                {"name": "proxy", "image": "proxy:1", "env": [{"name": "P", "value": "1"}]},
            ]
        }
    },
    "three containers": {
        "spec": {"containers": [{"name": "base"}, {"name": "two"}, {"name": "three", "image": "three:1"}]}
    },
    "other name first": {"spec": {"containers": [{"name": "main", "image": "main:1"}]}},
    "init containers": {
        "spec": {
            "containers": [{"name": "base"}],
            "initContainers": [
                {"name": "fetch", "image": "company/fetch:2", "env": [{"name": "G", "value": "2"}]},
                {"name": "more", "image": "more:1"},
            ],
        }
    },
    "native sidecar": {
        "spec": {
            "containers": [{"name": "base"}],
            "initContainers": [{"name": "log", "image": "log:1", "restartPolicy": "Always"}],
        }
    },
    "owners": {
        "metadata": {
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": "u"}],
            "finalizers": ["a/b"],
        }
    },
    "service account": {
        "spec": {
            "containers": [{"name": "base"}],
            "serviceAccountName": "other",
            "imagePullSecrets": [{"name": "pull"}],
        }
    },
    "command": base(command=["bash", "-c"], args=["echo"]),
    "no containers": {"spec": {"containers": [], "serviceAccountName": "other"}},
}

TEMPLATES: dict[str, Json] = {
    "rich": TEMPLATE,
    "bare": {"spec": {"containers": [{"name": "base", "image": "bare:1"}], "restartPolicy": "Never"}},
    "no metadata": {"spec": TEMPLATE["spec"]},
}


def model(pod: Json | None) -> Any:
    client = ApiClient(configuration=Configuration())
    return None if pod is None else client._ApiClient__deserialize(pod, "V1Pod")


def plain(pod: Any) -> Any:
    return ApiClient(configuration=Configuration()).sanitize_for_serialization(pod)


def some(chance: random.Random, pod: Json) -> Json:
    """Return a pod with some of its fields left out."""

    def cut(value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            kept = ("apiVersion", "containers", "key", "kind", "mountPath", "name", "operator", "path", "spec", "uid")
            return {k: cut(v, depth + 1) for k, v in value.items() if k in kept or depth > 4 or chance.random() < 0.6}
        if isinstance(value, list):
            return [cut(one, depth + 1) for one in value]
        return value

    return cut(pod, 0)  # type: ignore[no-any-return]


def recorded(template: Json, dynamic: Json, override: Json | None) -> Json:
    pods = [model(template), model(dynamic), model(override)]
    given = [plain(pod) for pod in pods]
    return {"given": given, "pod": plain(reduce(PodGenerator.reconcile_pods, pods))}


def main() -> None:
    labels = [f"{json.dumps(text)}\t{make_safe_label_value(text)}\n" for text in TEXTS]
    (HERE / "labels.txt").write_text("".join(labels))
    chance = random.Random(11)
    cases = [
        {"name": f"{name}, {what}", **recorded(template, DYNAMIC, override)}
        for name, template in TEMPLATES.items()
        for what, override in OVERRIDES.items()
    ]
    for n in range(60):
        template = some(chance, chance.choice(list(TEMPLATES.values())))
        override = some(chance, chance.choice([TEMPLATE, *(it for it in OVERRIDES.values() if it)]))
        cases.append({"name": f"random {n}", **recorded(template, some(chance, DYNAMIC), override)})
    lines = [json.dumps(case, sort_keys=True) + "\n" for case in cases]
    (HERE / "pods.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    main()
