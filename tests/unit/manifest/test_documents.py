"""What a file means: every spelling, every mistake with its place, and nothing but InvalidArgument."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rune.api.orchestrator import specs
from rune.api.orchestrator.services import Service
from rune.errors import InvalidArgument
from rune.manifest.documents import read
from rune.manifest.lint import check
from rune.positions.spots import Malformed


def service(text: str) -> Service:
    (item,) = read("service:\n  name: api\n" + "".join(f"  {line}\n" for line in text.splitlines()), name="f")
    return item.model


def messages(text: str) -> list[str]:
    with pytest.raises(Malformed) as caught:
        read(text, name="f")
    return [
        f"{problem.spot.line}:{problem.spot.column} {problem.message}" for problem in caught.value.problems
    ]


def test_a_service_that_says_no_scale_means_one_copy_and_zero_means_none() -> None:
    assert service("command: [sleep]").scale == 1
    assert service("command: [sleep]\nscale: 0").scale == 0


def test_a_command_without_an_image_is_a_process() -> None:
    wanted = specs.ProcessSpec(command="sleep", args=["1", "2"])
    assert service("command: [sleep, '1']\nargs: ['2']").process == wanted
    assert service("process: {command: [sleep, '1'], args: ['2']}").process == wanted
    assert service("command: sleep\nargs: ['1', '2']").process == wanted
    assert service("image: nginx\ncommand: [a, b]").command == "a"


def test_one_resource_several_or_a_list_in_as_many_documents_as_one_likes() -> None:
    text = """
namespace: {name: prod}
services:
- {name: a, command: [x]}
- {name: b, command: [x], skip: true}
---
---
configmaps: [{name: c, data: {k: v}}]
secret: {name: s, data: [{key: k, value: v}], value: w}
"""
    items = read(text, name="f")
    assert [(item.kind, item.model.name) for item in items] == [
        ("namespace", "prod"),
        ("service", "a"),
        ("configmap", "c"),
        ("secret", "s"),
    ]
    assert items[-1].model.data == {"k": "v", "value": "w"}


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("[secret:db, configmap:c]", [("db", ""), ("", "c")]),
        ("secret:db", [("db", "")]),
        ("{{secret:db}}", [("db", "")]),
        ('["{{ configmap:c }}"]', [("", "c")]),
        ("{secretRef: db}", [("db", "")]),
        ("[{configRef: c, prefix: X_}, {secret: db}]", [("", "c"), ("db", "")]),
    ],
)
def test_env_from_takes_words_mappings_lists_and_braces(text: str, wanted: list[tuple[str, str]]) -> None:
    found = service(f"command: [x]\nenvFrom: {text}").env_from
    assert [(source.secret_name, source.configmap_name) for source in found] == wanted


def test_dependencies_are_words_or_mappings() -> None:
    text = (
        "command: [x]\ndependencies: [db, cache.prod.rune, 'secret:s', configmap:c, "
        "{service: q, readyWhen: Started, timeoutSeconds: 5, optional: true}, {name: n, namespace: m}]"
    )
    assert service(text).dependencies == [
        specs.DependencyRef(service="db"),
        specs.DependencyRef(service="cache", namespace="prod"),
        specs.DependencyRef(secret="s"),
        specs.DependencyRef(configmap="c"),
        specs.DependencyRef(
            service="q", ready_when=specs.ReadyWhen.STARTED, timeout_seconds=5, optional=True
        ),
        specs.DependencyRef(service="n", namespace="m"),
    ]


def test_a_probe_reads_as_the_published_format_spells_it() -> None:
    text = "command: [x]\nhealth: {readiness: {type: http, path: /, port: 80, intervalSeconds: 3}}"
    health = service(text).health
    assert health
    assert health.readiness == specs.Probe(type=specs.ProbeType.HTTP, path="/", port=80, period_seconds=3)


@pytest.mark.parametrize("text", ["no", "on", "1.10", "0777", "1e3", "22:22", "2026-01-02", "8080", "TRUE"])
def test_text_stays_the_text_that_was_written(text: str) -> None:
    assert service(f"command: [x]\nenv: {{KEY: {text}}}").env == {"KEY": text}


def test_a_service_may_use_everything_that_the_server_refuses_today() -> None:
    text = """image: nginx:1
resources: {cpu: {request: 0.5, limit: 1}, memory: {limit: 64Mi}}
secretMounts: [{name: s, secretName: db, mountPath: /s}]
configMounts: [{name: c, configName: app, mountPath: /c}]
configmapMounts: []
expose: {port: 80, host: a.example, tls: {secretName: t, auto: true}}
discovery: {mode: vip}
networkPolicy: {ingress: [{from: [{service: b}], ports: [80]}]}
volumes: [{name: v, mountPath: /v, claim: {name: c}}]
securityContext: {privileged: false, capDrop: [ALL]}
updateStrategy: rolling"""
    assert service(text.replace("configmapMounts: []\n", "")).configmap_mounts[0].configmap_name == "app"


def test_every_mistake_of_a_file_is_found_at_its_place() -> None:
    text = """service:
  name: api
  replicas: 2
  ports: [{port: 80800}, {port: 0777}]
  env: {EMPTY: , LIST: [1]}
  health: {liveness: {type: htp}}
  scale: "3"
servce: {}
"""
    assert messages(text) == [
        "3:3 service \"api\": unknown key 'replicas'; did you mean 'scale'?",
        '4:18 service "api": ports[0].port: must be int <= 65535',
        '4:33 service "api": ports[1].port: must be a whole number; 0777 begins with 0: write 777',
        '5:16 service "api": env.EMPTY: has no value; write "" for an empty text',
        '5:24 service "api": env.LIST: must be text, not a list',
        (
            "6:29 service \"api\": health.liveness.type: 'htp' is none of http, tcp, exec, command; "
            "did you mean 'http'?"
        ),
        '7:10 service "api": scale: must be a whole number, without quotes',
        "8:1 unknown top-level key 'servce'; did you mean 'service'?",
    ]


def test_a_problem_shows_its_line_with_a_caret_under_the_spot() -> None:
    with pytest.raises(Malformed) as caught:
        read("service:\n  name: api\n  nmae: x\n", name="app.yaml")
    assert str(caught.value) == (
        "app.yaml:3:3: service \"api\": unknown key 'nmae'; did you mean 'name'?\n  3 |   nmae: x\n    |   ^"
    )


@pytest.mark.parametrize("text, target", [("70", 70.0), ("0.5", 0.5)])
def test_a_target_is_a_number(text: str, target: float) -> None:
    (item,) = read(
        f"service:\n  name: a\n  command: [x]\n  autoscale: {{max: 2, target: {text}}}\n", name="f"
    )
    assert item.model.autoscale.target == target


@pytest.mark.parametrize("text", ["many", "'70'", "1e3", "0x1", "1_000", ".nan"])
def test_what_is_no_number_is_refused_where_one_belongs(text: str) -> None:
    (message, *_) = messages(
        f"service:\n  name: a\n  command: [x]\n  autoscale: {{max: 2, target: {text}}}\n"
    )
    assert "autoscale.target: must be a number" in message


@pytest.mark.parametrize("key", ["affinity", "registry", "imageRegistry"])
def test_what_this_release_has_nothing_for_is_refused_with_the_reason(key: str) -> None:
    (message,) = messages(f"service:\n  name: a\n  command: [x]\n  {key}: {{}}\n")
    assert f"{key} is not supported: " in message


@pytest.mark.parametrize(
    "text, words",
    [
        ("a: 1\na: 2", "stands here twice, first in line 1"),
        ("service: !!python/object:os.system x", "tags are not taken"),
        ("a: [", "this is not YAML"),
        ("a: *b", "there is no anchor &b"),
        ("a: &a [*a]", "stands inside what it names"),
        ("[" * 100, "nested more than 64 levels"),
        ("- a", "a file must be a mapping"),
        ("service: x", "must be a mapping or a list"),
        ("services: [x]", "a service must be a mapping"),
    ],
)
def test_what_is_no_file_of_ours_is_refused(text: str, words: str) -> None:
    assert words in "\n".join(messages(text))


def test_a_file_that_doubles_itself_again_and_again_is_stopped() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    assert "parts, aliases written out" in "\n".join(messages("\n".join(lines)))


def test_anchors_and_merges_are_written_out() -> None:
    text = """services:
- {name: a, command: [x], env: &env {A: one, B: two}}
- {name: b, command: [x], env: {<<: *env, B: three}}
"""
    assert read(text, name="f")[1].model.env == {"A": "one", "B": "three"}


def is_read_or_refused(text: str) -> bool:
    """It is read, or refused with details; anything else is raised and fails the test."""
    try:
        read(text, name="f")
    except InvalidArgument as error:
        return bool(error.details)
    return True


@given(st.text())
def test_any_text_is_read_or_refused_with_invalid_argument(text: str) -> None:
    assert is_read_or_refused(text)


KEYS = st.sampled_from(
    ["service", "services", "name", "process", "command", "ports", "port", "env", "envFrom", "health", "type",
     "readiness", "dependencies", "secret", "data", "scale", "skip", "<<", "expose", "namespace"]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | KEYS


def inside(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """A list or a mapping of these."""
    return st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4)


@given(st.recursive(LEAVES, inside, max_leaves=20))
def test_any_tree_is_read_or_refused_with_invalid_argument(tree: object) -> None:
    assert is_read_or_refused(yaml.safe_dump(tree))


def test_a_malformed_reference_of_a_variable_is_told_at_its_place() -> None:
    text = 'service:\n  name: a\n  process: {command: x}\n  env:\n    db_url: "pg://{{secret:db}}"\n'
    (found,) = check(read(text, name="app.yaml"))
    assert str(found.problem).startswith(
        "app.yaml:5:13: service \"a\": env.db_url: '{{secret:db}}' names no key: write {{secret:NAME/KEY}}"
    )


def test_a_key_that_the_files_do_not_have_is_told() -> None:
    text = (
        "service:\n  name: a\n  process: {command: x}\n  env: {A: '{{configmap:app/levle}}'}\n"
        "configmap:\n  name: app\n  data: {level: debug}\n"
    )
    (found,) = check(read(text, name="app.yaml"))
    assert "has no key 'levle'; did you mean 'level'?" in str(found.problem)
