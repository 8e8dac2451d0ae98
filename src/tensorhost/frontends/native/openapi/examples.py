"""Requests and answers of the demo models. A test sends the requests and compares; times and sizes are examples."""

from __future__ import annotations

from typing import Any

_WINE = [13.87, 1.9, 2.8, 19.4, 107.0, 2.95, 2.97, 0.37, 1.76, 4.5, 1.25, 3.4, 915.0]
_THREE = [
    [[0], [0], [5], [11], [16], [16], [8], [0]],
    [[0], [0], [15], [14], [8], [12], [15], [0]],
    [[0], [0], [0], [0], [2], [14], [9], [0]],
    [[0], [0], [0], [0], [11], [12], [1], [0]],
    [[0], [0], [0], [1], [16], [5], [0], [0]],
    [[0], [0], [0], [1], [14], [9], [0], [0]],
    [[0], [0], [1], [4], [15], [9], [0], [0]],
    [[0], [0], [7], [16], [11], [2], [0], [0]],
]
_TEXT = "Beberapa kunci hilang"
_TIMES = {
    "inferenceTimeMs": 0.3726,
    "preprocessingTimeMs": 0.0117,
    "postprocessingTimeMs": 0.1507,
    "queueTimeMs": 0.0284,
}

PREDICT_REQUESTS: dict[str, Any] = {
    "wine": {
        "modelName": "wine",
        "modelVersion": "1",
        "timeoutMs": 5000,
        "inputs": [_WINE],
        "postprocessing": {"topK": 1, "round": 3},
    },
    "digits": {
        "modelName": "digits",
        "modelVersion": "stable",
        "inputs": [_THREE],
        "postprocessing": {"argmax": True, "topK": None},
    },
    "langid": {"modelName": "langid", "inputs": {"text": [_TEXT]}, "postprocessing": {"topK": 1, "round": 2}},
}

PREDICT_RESULTS: dict[str, Any] = {
    "wine": {
        "predictions": [[{"label": "class_0", "index": 0, "score": 1.0}]],
        "modelName": "wine",
        "modelVersion": "1",
        **_TIMES,
    },
    "digits": {"predictions": [3], "modelName": "digits", "modelVersion": "2", **_TIMES},
    "langid": {
        "predictions": {
            "confidence": [1.0],
            "language": ["id"],
            "probabilities": [[{"label": "id", "index": 14, "score": 1.0}]],
        },
        "modelName": "langid",
        "modelVersion": "1",
        **_TIMES,
    },
}

BATCH_REQUESTS: dict[str, Any] = {
    "langid": {
        "modelName": "langid",
        "batch": [{"inputs": [_TEXT], "postprocessing": {"topK": 1, "round": 2}}, {"inputs": [3]}],
    }
}

BATCH_RESULTS: dict[str, Any] = {
    "langid": {
        "results": [
            PREDICT_RESULTS["langid"],
            {
                "error": {
                    "code": "INVALID_INPUT_TYPE",
                    "message": "Input 'text' must be string: the value at [0] is the number 3, expected a string or "
                    '{"b64": "…"}.',
                    "details": {"input": "text", "expected": "string", "actual": "the number 3"},
                    "requestId": "5a48ff8d1d592d04",
                }
            },
        ],
        "modelVersion": "1",
    }
}

_FEATURES = {"name": "features", "dtype": "float32", "shape": [None, 13]}
_PROBABILITIES = {"name": "probabilities", "dtype": "float32", "shape": [None, 3]}
_WINE_VERSION: dict[str, Any] = {
    "name": "wine",
    "version": "1",
    "state": "AVAILABLE",
    "format": "keras",
    "description": "Which of three cultivars a wine is made from, by thirteen measurements",
    "versionLabels": [],
    "labels": ["class_0", "class_1", "class_2"],
    "preprocessing": {},
    "postprocessing": {"topK": 3},
    "error": None,
    "inputShape": [None, 13],
    "outputShape": [None, 3],
    "inputs": [_FEATURES],
    "outputs": [_PROBABILITIES],
    "loadedAt": "2026-11-22T10:13:09.250Z",
    "lastUsedAt": "2026-11-22T10:14:02.913Z",
    "warmupComplete": True,
    "runtime": "tensorflow",
    "memoryBytes": 6934528,
    "peakMemoryBytes": 41275392,
    "weightsBytes": 2296,
    "parameters": 574,
    "findings": [],
    "disabledOptimizations": [],
    "loadTimeMs": 1675.1,
    "probeTimeMs": 971.3,
    "warmupTimeMs": 5.9,
    "signatures": {
        "serving_default": {
            "inputs": [_FEATURES],
            "outputs": [_PROBABILITIES],
            "methodName": "",
            "callPath": "frozen graph, single-threaded session, prepared callable, operations in one thread up to "
            "32 rows",
            "race": None,
            "batching": {
                "batched": True,
                "reason": None,
                "maxBatchSize": 32,
                "filledUpTo": [],
                "latencyGoal": None,
            },
            "inlineRows": 32,
            "inlineRowsNow": 32,
            "callTimeMs": {"1": 0.0181, "2": 0.0818, "4": 0.0776, "8": 0.1159, "16": 0.0935, "32": 0.085},
            "warmupComplete": True,
            "warmupProblem": None,
        }
    },
    "refusedSignatures": {},
}

VERSION: dict[str, Any] = {"wine": _WINE_VERSION}
MODEL: dict[str, Any] = {
    "wine": _WINE_VERSION | {"problem": None, "loading": "eager", "allVersionLabels": {}, "versions": [_WINE_VERSION]}
}
MODELS: dict[str, Any] = {
    "one": {
        "models": [_WINE_VERSION],
        "unavailable": [
            {
                "name": "spam",
                "version": "3",
                "state": "END",
                "error": {"code": "MODEL_FAILED", "message": "The model could not be loaded.", "attempts": 3},
            }
        ],
        "problems": {"my model": "a model name is 1 to 128 letters, digits, '.', '_' or '-'"},
    }
}

LOAD_REQUESTS: dict[str, Any] = {"version": {"version": "1"}, "everything": {}}
LABEL_REQUESTS: dict[str, Any] = {
    "move": {"label": "canary", "version": "1"},
    "remove": {"label": "canary", "version": None},
}
UNLOAD_REQUESTS: dict[str, Any] = {"version": {"version": "1"}, "everything": {}}
UNLOAD_RESULTS: dict[str, Any] = {"version": {"name": "wine", "version": "1", "state": "END"}}

_LATENCY = {"count": 2, "averageMs": 0.52, "p50Ms": 0.5, "p95Ms": 0.73, "p99Ms": 0.75}
METRICS: dict[str, Any] = {
    "wine": {
        "requestCount": 3,
        "averageInferenceTimeMs": 0.41,
        "errorCount": 1,
        "errorRate": 0.3333333333333333,
        "uptime": 61.25,
        "memoryUsage": {"rss": 714731520, "heapTotal": 185282560, "heapUsed": 150917776, "external": 2296},
        "errors": {"INVALID_INPUT_SHAPE": 1},
        "unattributedErrors": {},
        "inFlight": 0,
        "loads": {"succeeded": 1, "failed": 0},
        "modelsByState": {"AVAILABLE": 1},
        "workers": {"count": 1, "ready": 1, "restarts": 0},
        "models": {
            "wine": {
                "1": {
                    "requestCount": 3,
                    "errorCount": 1,
                    "errors": {"INVALID_INPUT_SHAPE": 1},
                    "inFlight": 0,
                    "queueRows": 0,
                    "queueLimitRows": 4096,
                    "batchLimitRows": 32,
                    "lateRequests": 0,
                    "latency": {
                        "total": _LATENCY,
                        "queue": _LATENCY,
                        "preprocessing": _LATENCY,
                        "inference": _LATENCY,
                        "postprocessing": _LATENCY,
                        "execution": _LATENCY,
                    },
                    "batches": {
                        "count": 2,
                        "averageRows": 1.0,
                        "p50Rows": 1.0,
                        "p95Rows": 1.0,
                        "p99Rows": 1.0,
                        "byRows": {"1": 2},
                        "closed": {"full": 2},
                    },
                    "loadTimeMs": 1675.1,
                    "warmupTimeMs": 5.9,
                    "weightsBytes": 2296,
                    "memoryBytes": 6934528,
                }
            }
        },
    }
}

PROMETHEUS: dict[str, Any] = {
    "excerpt": "# HELP tensorhost_uptime_seconds Time since the metrics collector was made.\n"
    "# TYPE tensorhost_uptime_seconds gauge\n"
    "tensorhost_uptime_seconds 61.25\n"
}
OPENMETRICS: dict[str, Any] = {
    "excerpt": "# HELP tensorhost_uptime_seconds Time since the metrics collector was made.\n"
    "# TYPE tensorhost_uptime_seconds gauge\n"
    "# UNIT tensorhost_uptime_seconds seconds\n"
    "tensorhost_uptime_seconds 61.25\n"
    "# EOF\n"
}
