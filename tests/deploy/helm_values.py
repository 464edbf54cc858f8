"""Values with whatever the Helm chart can be given."""

from __future__ import annotations

from tests.deploy.helm import Values

#: Several ingestors, each of another kind.
INGESTORS: list[Values] = [
    {
        "name": "web",
        "sources": ["http://0.0.0.0:8080", "https://0.0.0.0:8443"],
        "replicas": 3,
        "tlsSecret": "web-tls",
        "token": "ingest-me",
        "service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["198.51.100.0/24"]},
        "ingress": {"enabled": True, "className": "nginx", "host": "in.example.com", "tlsSecret": "in-tls"},
        "allowedHosts": ["events.example.com"],
        "clients": [{"ipBlock": {"cidr": "198.51.100.0/24"}}],
        "settings": {"TALLY_MAX_CONNECTIONS": 5000},
    },
    {"name": "lines", "sources": ["tcp://[::]:7000"], "service": {"type": "NodePort"}},
    {
        "name": "logs",
        "sources": ["tail:/logs/*.log", "exec:echo $(date) $HOME"],
        "volumes": [{"name": "logs", "persistentVolumeClaim": {"claimName": "logs", "readOnly": True}}],
        "volumeMounts": [{"name": "logs", "mountPath": "/logs", "readOnly": True}],
    },
]

#: Whatever can be given.
ALL: Values = {
    "imagePullSecrets": [{"name": "registry"}],
    "redis": {
        "url": "rediss://:hunter2@redis.data.svc:6379/1",
        "tls": {"existingSecret": "redis-tls"},
        "namespace": "web-shop",
    },
    "shards": 3,
    "settings": {"TALLY_MAX_WORDS": 100_000_000, "TALLY_FOLD_CASE": True, "TALLY_WORD_PATTERN": r"\w+(?:$|$$|\b)"},
    "ingestors": INGESTORS,
    "aggregator": {
        "settings": {"TALLY_CLAIM_IDLE_SECONDS": 2.5},
        "autoscaling": {
            "enabled": True,
            "redis": {
                "addresses": ["redis.data.svc:6379"],
                "database": 1,
                "tls": True,
                "existingSecret": "redis",
                "usernameKey": "user",
                "caKey": "ca.crt",
            },
        },
        "nodeSelector": {"kind": "large"},
        "tolerations": [{"key": "large", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "podLabels": {"team": "counting"},
        "podAnnotations": {"note": "counts"},
        "env": [{"name": "TZ", "value": "UTC"}],
    },
    "api": {
        "token": "read-me",
        "service": {"port": 8000},
        "ingress": {"enabled": True, "host": "tally.example.com", "path": "/tally/", "annotations": {"a": "b"}},
    },
    "metrics": {
        "port": 9101,
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboard": {"enabled": True},
    },
    "networkPolicy": {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 6379}]}]},
}
