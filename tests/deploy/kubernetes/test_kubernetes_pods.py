"""What the manifests start, started: the command of KServe's runtime, and the environment of the Deployment's pods."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import yaml
from manifests import KUSTOMIZE, OVERLAYS, environment, kustomized, server
from tests.integration.native_server import RunningServer

from tensorhost.demo import demo_models_path, samples

BIN = Path(sys.executable).parent
# A port of the test; a drain window and a trial that nobody needs.
HERE = {"HOST": "127.0.0.1", "PORT": "0", "TENSORHOST_DRAIN_WINDOW_S": "0", "TENSORHOST_PROBE": "false"}


class KServePod(RunningServer):
    """The container as KServe starts it: the name filled in, a model where its storage initializer puts it."""

    def __init__(self, name: str, files: Path, folder: Path) -> None:
        runtime = yaml.safe_load((KUSTOMIZE / "kserve" / "serving-runtime.yaml").read_text())
        (container,) = runtime["spec"]["containers"]
        self._files, self._folder = files, folder
        self._container = container
        variables = {
            entry["name"]: entry["value"].replace("{{.Name}}", name) for entry in container["env"] if "value" in entry
        }
        here = HERE | {"TENSORHOST_CACHE_DIR": str(folder / "cache"), "PATH": f"{BIN}:{os.environ['PATH']}"}
        super().__init__(**variables | here)

    def _line(self, command, args, port) -> list[str]:
        init, dashes, *line = self._container["command"]
        assert (init, dashes) == ("tini", "--")
        return [
            part.replace("/mnt/models", str(self._files)).replace("/tmp/repository", str(self._folder / "repository"))
            for part in line
        ]


@pytest.mark.parametrize(("files", "versions"), [("digits", {"1", "2"}), ("digits/1", {"1"})])
def test_kserve_serves_a_model_under_the_name_of_its_service(files, versions, tmp_path):
    # As a container that was restarted finds it.
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "my-digits").symlink_to("/nowhere")
    with KServePod("my-digits", demo_models_path() / files, tmp_path) as running:
        running.wait_for("ready")
        models = running.get("/models").json["models"]
        assert {(model["name"], model["version"]) for model in models} == {("my-digits", one) for one in versions}
        sample = samples()["digits"][0]
        (scores,) = running.predict("my-digits", [sample["input"]], postprocessing={})["predictions"]
        assert isinstance(scores, list)
        answer = running.request("POST", "/v1/models/my-digits:predict", {"instances": [sample["input"]]})
        (probabilities,) = answer.json["predictions"]
        assert probabilities.index(max(probabilities)) == int(sample["expected"])
        assert running.get("/v2/models/my-digits/ready").json == {"name": "my-digits", "ready": True}
        (spec,) = running.get("/v2/models/my-digits").json["inputs"]
        given = {"name": spec["name"], "datatype": spec["datatype"], "shape": [1, 8, 8, 1], "data": [sample["input"]]}
        answer = running.request("POST", "/v2/models/my-digits/infer", {"inputs": [given]})
        assert answer.status == 200, answer.json
        (output,) = answer.json["outputs"]
        assert output["data"].index(max(output["data"])) == int(sample["expected"])
        assert running.stop() == 0


def test_a_pod_is_alive_before_it_is_ready_and_ready_when_its_models_serve(tmp_path):
    manifests = kustomized(OVERLAYS["pvc"])
    container = server(manifests)
    variables = environment(manifests) | {
        "MODEL_PATH": str(demo_models_path()),
        "TENSORHOST_CACHE_DIR": str(tmp_path),
        "TENSORHOST_INTRA_OP_THREADS": container["resources"]["requests"]["cpu"],
        "TENSORHOST_ADMIN_TOKEN": "of the secret",
    }
    probes = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    with RunningServer(**variables | HERE) as running:
        running.wait_for("listening")
        assert running.get(probes["startupProbe"]).status == 200
        assert running.get(probes["livenessProbe"]).status == 200
        assert running.get(probes["readinessProbe"]).status == 503
        running.wait_for("ready")
        assert running.get(probes["readinessProbe"]).status == 200
        assert running.request("POST", "/models/digits/unload", {}).status == 401
        unload = running.request("POST", "/models/digits/unload", {}, Authorization="Bearer of the secret")
        assert unload.status == 200
        assert running.stop() == 0
