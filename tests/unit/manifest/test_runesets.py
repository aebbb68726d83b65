"""Runesets: what their file says, which value wins, and secrets that no message repeats."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promises import promise
from rune.errors import InvalidArgument
from rune.manifest.documents import Item
from rune.manifest.lint import check
from rune.manifest.runesets.layers import Given
from rune.manifest.runesets.rendering import Release, items, load, rendered, unused
from rune.positions.spots import Malformed

HEAD = 'name: web\nversion: "1.0"\n'
DECLARED = (
    HEAD
    + """values:
- {name: replicas, type: int}
- {name: db.password, type: string, sensitive: true}
- {name: labels, type: map}
"""
)
SECRET = "hunter2-and-more"
SERVICE = "service: {name: a, command: [x], scale: {{ .Values.replicas }}}"


def files(
    template: str = SERVICE, *, about: str = DECLARED, values: str = "replicas: 1"
) -> Mapping[str, bytes]:
    texts = {"runeset.yaml": about, "values.yaml": values, "templates/a.yaml.tmpl": template}
    return {name: text.encode() for name, text in texts.items()}


def told(found: Mapping[str, bytes], **given: object) -> str:
    """Everything that is said about the runeset."""
    try:
        outputs = rendered(load(found, origin="web"), Given(**given), Release())  # pyright: ignore[reportArgumentType] - as Given has it
    except InvalidArgument as error:
        return error.message
    return "\n".join(map(str, items(outputs)[1]))


def made(found: Mapping[str, bytes], **given: object) -> list[Item]:
    outputs = rendered(load(found, origin="web"), Given(**given), Release(name="r", namespace="n"))  # pyright: ignore[reportArgumentType] - as Given has it
    declared, problems = items(outputs)
    assert not problems
    return declared


@promise("runesets.precedence")
@pytest.mark.parametrize(
    "given, scale",
    [
        ({}, 2),
        ({"files": [("f", b"replicas: 3")]}, 3),
        ({"files": [("f", b"replicas: 3"), ("g", b"replicas: 4")]}, 4),
        ({"files": [("f", b"replicas: 3")], "settings": [("replicas", "5")]}, 5),
        ({"settings": [("replicas", "5"), ("replicas", "6")]}, 6),
    ],
)
def test_set_wins_over_files_and_files_over_values_yaml_and_that_over_defaults(
    given: Mapping[str, object], scale: int
) -> None:
    about = HEAD + "values: [{name: replicas, type: int, default: 1}]"
    assert made(files(about=about, values="replicas: 2"), **given)[0].model.scale == scale
    assert made(files(about=about, values=""))[0].model.scale == 1


def test_mappings_are_put_together_and_lists_are_replaced() -> None:
    template = (
        "configmap: {name: c, data: {M: {{ toJson .Values.m | quote }}, L: {{ toJson .Values.l | quote }}}}"
    )
    found = files(template, about=HEAD, values="m: {a: 1, b: 2}\nl: [1, 2]")
    data = made(found, files=[("f", b"m: {b: 3}\nl: [9]")])[0].model.data
    assert data == {"M": '{"a":1,"b":3}', "L": "[9]"}


def test_a_template_knows_its_release_and_its_runeset() -> None:
    template = (
        "configmap: {name: c, data: {A: {{ .Release.Name }}, B: {{ .Release.Namespace }}, "
        "C: {{ .Runeset.Name }}, D: {{ .Runeset.Version | quote }}}}"
    )
    assert made(files(template))[0].model.data == {"A": "r", "B": "n", "C": "web", "D": "1.0"}


@pytest.mark.parametrize(
    "given, words",
    [
        (
            {"settings": [("replica", "1")]},
            "--set replica: there is no value 'replica'; did you mean 'replicas'?",
        ),
        ({"settings": [("replicas", "many")]}, "--set replicas must be a whole number"),
        ({"settings": [("a..b", "1")]}, "a name is words with dots between them"),
        ({"settings": [("labels", "{a: ")]}, "this is no list and no mapping"),
        ({"files": [("f", b"replicas: two")]}, "f:1:1: replicas must be a whole number\n  1 | replicas"),
        ({"files": [("f", b"x: 1\nreplicas: 2")]}, "f:1:1: there is no value 'x'"),
        ({"files": [("f", b"- 1")]}, "f:1:1: values must be a mapping"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(given: Mapping[str, object], words: str) -> None:
    about = DECLARED.replace("- {name: db.password, type: string, sensitive: true}\n", "")
    assert words in told(files(about=about), **given)


def test_any_key_may_be_given_to_an_empty_mapping() -> None:
    template = "configmap: {name: c, data: {{ toJson .Values.labels }}}"
    found = files(template, values="labels: {}")
    assert made(found, settings=[("labels.team", "a")])[0].model.data == {"team": "a"}


def test_text_stays_text_where_values_yaml_has_text() -> None:
    template = "configmap: {name: c, data: {A: {{ quote .Values.tag }}}}"
    found = files(template, about=HEAD, values='tag: "1.10"')
    assert made(found, settings=[("tag", "1.20")])[0].model.data == {"A": "1.20"}


def test_a_required_value_must_be_given() -> None:
    about = HEAD + "values:\n- {name: key, required: true}"
    assert "web/runeset.yaml:4:3: key is required" in told(files(SERVICE, about=about))
    assert not told(files(SERVICE, about=about), settings=[("key", "x")])


@promise("runesets.metadata")
@pytest.mark.parametrize(
    "about, words",
    [
        ("version: '1'", "runeset.yaml:1:1: name is missing"),
        ("name: web\nversion: 1.0", 'runeset.yaml:2:10: version must be text; write "1.0" in quotes'),
        ("name: Web\nversion: '1'", "runeset.yaml:1:7: a name has lower-case letters"),
        (HEAD + "vallues: []", "runeset.yaml:3:1: unknown key 'vallues'; did you mean 'values'?"),
        (HEAD + "values: [{name: a, tpye: int}]", "unknown key 'tpye'; did you mean 'type'?"),
        (HEAD + "values: [{name: a, type: strng}]", "'strng' is none of string"),
        (HEAD + "values: [{name: a, type: int, default: x}]", "the default of a must be a whole number"),
        (HEAD + "values: [{name: a}, {name: a}]", "a is declared twice"),
        (HEAD + "values: [{name: 'a b'}]", "a value's name is words with dots"),
        (HEAD + "values: [{name: a, sensitive: 1}]", "sensitive must be true or false"),
        (HEAD + "maintainers: [{mail: x}]", "unknown key 'mail'; did you mean 'email'?"),
        ("- a", "must be a mapping with name"),
        ("name: [", "this is not YAML"),
    ],
)
def test_a_mistake_in_runeset_yaml_is_told_at_its_place(about: str, words: str) -> None:
    assert words in told(files(about=about))


def test_a_folder_without_templates_or_without_its_file_is_no_runeset() -> None:
    assert "there is no runeset.yaml" in told({"templates/a.yaml.tmpl": b""})
    assert "there is no templates/*.yaml.tmpl" in told({"runeset.yaml": HEAD.encode()})


@promise("runesets.origin")
def test_a_mistake_in_what_a_template_gives_is_told_at_its_place_in_the_template() -> None:
    template = "service:\n  name: a\n  command: [x]\n  scale: {{ .Values.replicas }}\n  scal: 1\n"
    message = told(files(template, values="replicas: lots", about=HEAD))
    assert (
        "web/templates/a.yaml.tmpl:4:10: service \"a\": scale: must be a whole number, not 'lots'" in message
    )
    assert "4 |   scale: {{ .Values.replicas }}" in message
    assert "a.yaml.tmpl:5:3: service \"a\": unknown key 'scal'; did you mean 'scale'?" in message


SPOILED = [
    "service: {name: a, command: [x], scale: SECRET}",
    "service: {name: a, command: [x], SECRET: 1}",
    "service: {name: SECRET, command: [x], scal: 1}",
    "SECRET: 1",
    "service: {name: a, command: [x], ports: [{port: 1, protocol: SECRET}]}",
    "service: {name: a, command: [x], health: {liveness: {type: SECRET}}}",
    "service: {name: a, command: [x], env: {A: *SECRET}}",
    "service: {name: a, command: [x], env: {A: !SECRET x}}",
    "service: {name: a, command: [x], env: { SECRET: [1], SECRET: 2}}",
    "service: {name: a, command: [x], restartPolicy: pre-SECRET-post}",
    "service: {name: a, command: [x], dependencies: [SECRET, SECRET.b.c]}",
    'service: {name: a, command: "SECRET \'"}\n',
    "service: {name: a, image: i, command: [x], resources: {cpu: {limit: SECRET}}}",
    "service: {name: a, command: [x], env: {A: [SECRET}}",
]


@promise("runesets.sealed")
@pytest.mark.parametrize("template", SPOILED)
def test_no_message_repeats_a_sensitive_value(template: str) -> None:
    found = files(template.replace("SECRET", "{{ .Values.db.password }}"))
    outputs = rendered(load(found, origin="web"), Given(settings=[("db.password", SECRET)]), Release())
    declared, problems = items(outputs)
    said = [str(problem) for problem in problems]
    said += [str(finding.problem) for finding in check(declared)]
    assert said
    assert not [line for line in said if SECRET in line or "hunter2" in line]
    assert SECRET not in "".join(output.shown for output in outputs)


@pytest.mark.parametrize("text", [f"replicas: [{SECRET}", f"db: {{password: [{SECRET}]}}", f"x: {SECRET}"])
def test_a_file_of_values_that_may_be_sensitive_is_not_quoted(text: str) -> None:
    message = told(files(), files=[("secrets.yaml", text.encode())])
    assert message.startswith("secrets.yaml:")
    assert SECRET not in message


def test_a_value_that_no_template_reads_is_noticed() -> None:
    found = files(
        "service: {name: a, command: [x], scale: {{ .Values.replicas }}, labels: {{ toJson .Values.labels }}}"
    )
    assert [problem.path for problem in unused(load(found, origin="web"))] == ["db.password"]


names = st.sampled_from(["name", "version", "values", "maintainers", "description", "x"])
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | names,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@promise("runesets.fuzz")
@given(st.binary(max_size=80) | trees.map(repr).map(str.encode), st.binary(max_size=80), st.text(max_size=30))
def test_any_runeset_is_read_or_refused(about: bytes, values: bytes, setting: str) -> None:
    found = {"runeset.yaml": about, "values.yaml": values, "templates/a.yaml.tmpl": b"{{ toYaml .Values }}"}
    told(found, settings=[("a.b", setting)])
    told({**found, "runeset.yaml": HEAD.encode()}, settings=[("a.b", setting)], files=[("f", about)])


def test_malformed_is_an_invalid_argument() -> None:
    with pytest.raises(Malformed):
        load({}, origin="web")
