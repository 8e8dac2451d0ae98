from __future__ import annotations

import pytest

from tensorhost.core.errors import ModelFailedError
from tensorhost.models.config import ModelConfig, loading_digest, read_config, resolve_inside


def read(folder, text):
    data = text if isinstance(text, bytes) else text.encode()
    (folder / "model.toml").write_bytes(data)
    return read_config(folder)


def refusal(folder, text) -> str:
    with pytest.raises(ModelFailedError) as raised:
        read(folder, text)
    assert str(folder) not in raised.value.message
    return raised.value.message


def test_no_file_means_the_defaults(tmp_path):
    assert read_config(tmp_path) == ModelConfig()
    (tmp_path / "model.toml").mkdir()
    assert read_config(tmp_path) == ModelConfig()


def test_everything_it_may_say(tmp_path):
    config = read(
        tmp_path,
        """
        description = "Digits."
        labels = ["zero", "one"]
        loading = "lazy"
        version_policy = ["1", "2"]
        version_labels = { stable = "1", canary = "2" }
        batching = { enabled = false, max_batch_size = 8, batch_timeout_ms = 0.5, max_queue_rows = 64 }
        warmup = { iterations = 0, examples = "examples.json" }
        preprocessing = { resize = [28, 28] }
        postprocessing.top_k = 3
        """,
    )
    assert (config.labels, config.loading, config.version_policy) == (("zero", "one"), "lazy", ("1", "2"))
    assert config.version_labels == {"stable": "1", "canary": "2"}
    assert (config.batching.enabled, config.batching.max_batch_size, config.warmup.iterations) == (False, 8, 0)
    assert config.postprocessing == {"top_k": 3}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("labls = []", "labls"),
        ("[batching]\nsize = 3", "batching.size"),
        ("labels = 3", "labels: must be a list"),
        ("labels = [1, 2]", "labels.0"),
        ("loading = 'sometimes'", "loading"),
        ("[batching]\nmax_batch_size = 0", "batching.max_batch_size"),
        ("[warmup]\niterations = -1", "warmup.iterations"),
        ("version_policy = 'newest'", "version_policy"),
        ("version_policy = 3", "version_policy: Value error, must be latest, latest:N, all or a list"),
        ("version_policy = [1, 2]", "version_policy: Value error, must be latest, latest:N, all or a list"),
        ("version_policy = 'latest:" + "9" * 5000 + "'", "version_policy"),
        ("[version_labels]\n'a b' = '1'", "version_labels"),
        ("preprocessing = 'resize'", "preprocessing: must be a table"),
        ("version_labels = 3", "version_labels: must be a table"),
        ("warmup = 3", "warmup: must be a table"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, text, named):
    message = refusal(tmp_path, text)
    assert message.startswith("model.toml is not valid: ")
    assert named in message
    assert not any(word in message for word in ("tuple", "dictionary", "Config"))


@pytest.mark.parametrize(
    "text",
    [
        "labels = [",
        b"description = '\xff'",
        b"\x00",
        "x = 1" + "0" * 5000,
        "x = " + "[" * 100_000,
        "x = " + "{a=" * 50_000,
    ],
)
def test_what_is_no_toml_is_refused(tmp_path, text):
    assert refusal(tmp_path, text).startswith(("model.toml cannot be read", "model.toml is nested too deeply"))


def test_a_message_stays_short_whatever_the_file_says(tmp_path):
    assert len(refusal(tmp_path, "\n".join(f"key{number} = 1" for number in range(10_000)))) < 1100
    assert len(refusal(tmp_path, f"{'k' * 100_000} = 1")) < 1100
    assert len(refusal(tmp_path, "a" + ".a" * 1000 + " = 1")) < 1100


def test_a_huge_file_is_not_read(tmp_path):
    assert "larger than" in refusal(tmp_path, "#" * (256 * 2**10 + 1))


def test_a_file_that_cannot_be_read_is_a_problem_of_its_model(tmp_path, monkeypatch):
    (tmp_path / "model.toml").write_text("")

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    with pytest.raises(ModelFailedError, match=r"^model.toml cannot be read: Permission denied\.$"):
        read_config(tmp_path)


def test_labels_from_a_file(tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"cat\r\n\n  dog  \n\xff\n")
    assert read(tmp_path, "labels_file = 'labels.txt'").labels == ("cat", "dog", "�")


def test_labels_come_from_one_place(tmp_path):
    (tmp_path / "labels.txt").write_text("cat")
    assert refusal(tmp_path, "labels = ['cat']\nlabels_file = 'labels.txt'") == (
        "model.toml has both labels and labels_file."
    )


def test_a_huge_file_of_labels_is_refused(tmp_path):
    with (tmp_path / "labels.txt").open("wb") as file:
        file.truncate(4 * 2**20 + 1)
    assert "larger than" in refusal(tmp_path, "labels_file = 'labels.txt'")


@pytest.mark.parametrize(
    "name",
    ["../secret.txt", "inside/../../secret.txt", "missing.txt", "inside", ".", "", "link.txt", "loop", "a\\u0000b"],
)
def test_labels_never_come_from_outside_the_folder(tmp_path, name):
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "m"
    (folder / "inside").mkdir(parents=True)
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "loop").symlink_to(folder / "loop")
    message = refusal(folder, f'labels_file = "{name}"')
    assert message == "labels_file must name a file inside the model's folder."


def test_an_absolute_path_outside_is_refused_and_one_inside_is_not(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "labels.txt").write_text("cat")
    assert "inside" in refusal(folder, f'labels_file = "{tmp_path / "secret.txt"}"')
    assert resolve_inside(folder, str(folder / "labels.txt"), "labels_file", 10) == (folder / "labels.txt").resolve()


LOADED_WITH = [
    "labels = ['a']",
    "labels = ['a', 'b']",
    "labels = ['a\\n', 'b']",
    "labels_file = 'c.txt'",
    "[batching]\nenabled = false",
    "[batching]\nmax_batch_size = 8",
    "[warmup]\niterations = 1",
    "[warmup]\nexamples = 'a.json'",
    "[preprocessing]\nscale = 2.0",
    "[preprocessing]\nscale = 2",
    "[preprocessing]\nmean = [2]",
    "[preprocessing]\nmean = [2, []]",
    "[preprocessing]\nmean = [[2]]",
    "[preprocessing.tokenize]\nfile = 'a.json'",
    "[postprocessing]\nscale = 2.0",
    "",
]


def digest(folder, text):
    return loading_digest(read(folder, text), folder)


def test_the_digest_tells_apart_all_that_a_version_is_loaded_with(tmp_path):
    (tmp_path / "c.txt").write_text("c")
    assert len({digest(tmp_path, text) for text in LOADED_WITH}) == len(LOADED_WITH)


@pytest.mark.parametrize(
    "text",
    [
        "description = 'x'",
        "loading = 'lazy'",
        "version_policy = 'all'",
        "version_labels = { stable = '1' }",
        "labels = []",
    ],
)
def test_the_digest_leaves_out_what_a_loaded_version_does_not_hold(tmp_path, text):
    assert digest(tmp_path, text) == digest(tmp_path, "")


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("labels_file = 'inside/a'", "inside/a"),
        ("[warmup]\nexamples = 'inside/a'", "inside/a"),
        ("[preprocessing.tokenize]\nfile = 'inside/a'", "inside/a"),
    ],
)
def test_the_digest_changes_with_the_files_that_are_named(tmp_path, text, file):
    (tmp_path / "inside").mkdir()
    (tmp_path / file).write_text("one")
    before = digest(tmp_path, text)
    assert digest(tmp_path, text) == before
    (tmp_path / file).write_text("three")
    assert digest(tmp_path, text) != before


@pytest.mark.parametrize("name", ["../secret", "link", "loop", "a\\u0000b", "", "x" * 5000])
def test_the_digest_does_not_look_outside_the_folder(tmp_path, name):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "loop").symlink_to(folder / "loop")
    text = f'[warmup]\nexamples = "{name}"'
    before = digest(folder, text)
    (tmp_path / "secret").write_text("secret")
    assert digest(folder, text) == before


def test_the_digest_of_deeply_nested_tables_is_no_stack_overflow(tmp_path):
    config = ModelConfig(preprocessing={})
    inner = config.preprocessing
    for _ in range(100_000):
        inner["a"] = inner = {}
    assert len(loading_digest(config, tmp_path)) == 32
