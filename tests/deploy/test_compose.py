"""The compose file: read by a parser of the compose specification, and compared with the rest of the repository."""

from __future__ import annotations

import re

import pytest
from compose_spec import PyOptions
from dockerfile import ROOT, stages

from tensorhost.settings import Settings, environment_variable, setting_fields

FOLDER = ROOT / "deploy" / "compose"
TEXT = (FOLDER / "compose.yaml").read_text("utf-8")
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)\}")


def interpolated(text: str, **variables: str) -> str:
    """``text`` with ``${NAME:-default}`` and ``${NAME:?message}`` filled in, as compose does before it parses."""
    return _VARIABLE.sub(lambda found: variables.get(found[1]) or found[2], text)


def parsed(text: str) -> dict:
    options = PyOptions(apply_merge=True)
    compose = options.from_yaml(text)
    compose.validate()
    return compose.to_dict()


@pytest.fixture(scope="module")
def services():
    return parsed(interpolated(TEXT, GRAFANA_PASSWORD="secret"))["services"]


def test_it_is_a_compose_file_that_the_specification_allows(services):
    assert set(services) == {"tensorhost", "prometheus", "grafana"}


def test_the_parser_would_tell():
    with pytest.raises(ValueError, match="read_onli"):
        parsed(interpolated(TEXT, GRAFANA_PASSWORD="x").replace("read_only", "read_onli"))


def test_all_variables_are_explained_at_its_top():
    head = TEXT.partition("\nname:")[0]
    used = {found[1] for found in _VARIABLE.finditer(TEXT)}
    assert used == set(re.findall(r"^#   (\w+(?:, \w+)*)  +", head, re.MULTILINE)) - {"MEMORY, CPUS"} | {
        "MEMORY",
        "CPUS",
    }
    assert "$" not in _VARIABLE.sub("", TEXT)


def test_the_settings_of_tensorhost_exist_and_are_valid(services):
    settings = {environment_variable(name): name for name in setting_fields()}
    values = {settings[name]: value for name, value in services["tensorhost"]["environment"].items()}
    Settings(**values)


def test_tensorhost_has_time_to_stop(services):
    settings = Settings(
        shutdown_timeout_s=float(services["tensorhost"]["environment"]["TENSORHOST_SHUTDOWN_TIMEOUT_S"])
    )
    grace = re.fullmatch(r"(\d+)s|(\d+)m", services["tensorhost"]["stop_grace_period"])
    assert grace is not None
    grace_s = int(grace[1] or 0) + 60 * int(grace[2] or 0)
    assert grace_s > settings.drain_window_s + settings.shutdown_timeout_s + 15


def test_every_service_is_confined(services):
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service


def test_nothing_is_open_to_the_network_unless_asked_for(services):
    for service in services.values():
        for port in service["ports"]:
            assert str(port if isinstance(port, str) else port["host_ip"]).startswith("127.0.0.1")


def test_volumes_are_where_the_image_wants_them(services):
    environment = stages()[-1].environment
    targets = {str(volume).split(":")[1] for volume in services["tensorhost"]["volumes"]}
    assert environment["MODEL_PATH"] in targets
    assert environment["TENSORHOST_CACHE_DIR"].rpartition("/")[0] in targets
    assert services["tensorhost"]["tmpfs"] == ["/tmp"]


def test_images_of_others_have_a_version(services):
    for name in ("prometheus", "grafana"):
        assert re.search(r":v?\d+\.\d+\.\d+$", services[name]["image"])


def test_what_it_mounts_is_in_the_repository(services):
    for service in services.values():
        sources = [str(volume).split(":")[0] for volume in service["volumes"]]
        assert [source for source in sources if source.startswith("../") and not (FOLDER / source).is_dir()] == []


def test_prometheus_and_grafana_find_what_they_look_for(services):
    prometheus = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8")
    assert f'"tensorhost:{setting_fields()["port"].default}"' in prometheus
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    assert "url: http://prometheus:9090" in (provisioning / "datasources" / "prometheus.yml").read_text("utf-8")
    path = re.search(r"path: (\S+)", (provisioning / "dashboards" / "tensorhost.yml").read_text("utf-8"))
    assert path is not None
    assert any(volume.split(":")[1] == path[1] for volume in services["grafana"]["volumes"])
