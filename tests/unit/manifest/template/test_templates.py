"""Templates: what they become, every mistake at its place, secrets unseen, and no way to exhaust us."""

from __future__ import annotations

import base64
from typing import Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from promises import promise
from rune.manifest.template.evaluate import MOST_STEPS, render
from rune.manifest.template.output import Rendered
from rune.manifest.template.parse import parse
from rune.manifest.template.sealed import MASK, Sealed, masked, opened, sealed
from rune.positions.spots import Malformed

VALUES: dict[str, Any] = {
    "name": "web",
    "count": 3,
    "ratio": 0.5,
    "on": True,
    "off": False,
    "nothing": None,
    "list": ["a", "b"],
    "map": {"x": 1, "y": "z"},
    "my-key": "dashed",
    "password": Sealed("hunter2"),
}


def output(text: str, values: dict[str, Any] | None = None) -> Rendered:
    context = {"Values": VALUES if values is None else values, "Release": {"Name": "r"}}
    found, problems = render(parse(text, name="t"), context)
    assert not problems, problems
    return found


def became(text: str, values: dict[str, Any] | None = None) -> str:
    return output(text, values).text


def mistakes(text: str) -> list[str]:
    try:
        template = parse(text, name="t")
    except Malformed as error:
        problems = list(error.problems)
    else:
        _, problems = render(template, {"Values": VALUES})
    return [f"{one.spot.line}:{one.spot.column} {one.message}" for one in problems]


@promise("runesets.templates")
@pytest.mark.parametrize(
    "text, wanted",
    [
        ("a {{ .Values.name }} b", "a web b"),
        ("{{.Values.count}}{{ .Values.ratio }}{{ .Values.on }}", "30.5true"),
        ("a\n  {{- /* gone */ -}}\n b", "ab"),
        ("a {{- .Values.name -}} b", "awebb"),
        ("{{ if .Values.on }}y{{ else }}n{{ end }}{{ if .Values.off }}y{{ else }}n{{ end }}", "yn"),
        ("{{ if .Values.none }}1{{ else if .Values.map.x }}2{{ else }}3{{ end }}", "2"),
        ("{{ range .Values.list }}[{{ . }}]{{ end }}", "[a][b]"),
        ("{{ range $i, $v := .Values.list }}{{ $i }}{{ $v }}{{ end }}", "0a1b"),
        ("{{ range $k, $v := .Values.map }}{{ $k }}={{ $v }};{{ end }}", "x=1;y=z;"),
        ("{{ range .Values.none }}x{{ else }}none{{ end }}", "none"),
        ("{{ range .Values.list }}{{ $.Values.name }}{{ end }}", "webweb"),
        ("{{ with .Values.map }}{{ .y }}{{ end }}{{ with .Values.none }}x{{ else }}y{{ end }}", "zy"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        (
            '{{ define "n" }}<{{ .name }}>{{ end }}{{ include "n" .Values }}{{ template "n" .Values }}',
            "<web><web>",
        ),
        ('{{ index .Values "my-key" }}{{ index .Values.list 1 }}{{ (index .Values "map").y }}', "dashedbz"),
        (
            '{{ .Values.name | upper | quote }}{{ quote "a\\"b" }}{{ squote "it\'s" }}',
            '"WEB""a\\"b"\'it\'\'s\'',
        ),
        (
            '{{ default "d" .Values.none }}{{ .Values.nothing | default 4 }}{{ coalesce .Values.none "c" }}',
            "d4c",
        ),
        ("{{ .Values.map | toYaml | nindent 2 }}", "\n  x: 1\n  y: z"),
        ("{{ toJson .Values.map }}{{ len .Values.list }}", '{"x":1,"y":"z"}2'),
        ('{{ join "," .Values.list }}{{ "a,b" | splitList "," | toJson }}', 'a,b["a","b"]'),
        ('{{ printf "%s-%03d %q %v %%" .Values.name 7 "x" .Values.list }}', 'web-007 "x" ["a","b"] %'),
        ('{{ and 1 0 2 }}{{ or 0 "x" }}{{ not 0 }}{{ empty "" }}', "0xtruetrue"),
        ("{{ and .Values.off .Values.none.deeper }}", "false"),
        ('{{ eq .Values.name "web" "x" }}{{ ne 1 2 }}{{ lt 1 2 }}{{ ge 2 2 }}{{ gt "b" "a" }}', "true" * 5),
        ("{{ eq 1 true }}{{ eq 1 1.0 }}", "falsetrue"),
        (
            "{{ add 1 2 }}{{ sub 5 3 }}{{ mul 2 3 }}{{ div 7 2 }}{{ mod 7 2 }}{{ max 1 4 }}{{ min 1 4 }}",
            "3263141",
        ),
        (
            '{{ "x" | b64enc | b64dec }}{{ trim " a " }}{{ trimSuffix "b" "ab" }}{{ replace "a" "o" "bat" }}',
            "xaabot",
        ),
        (
            '{{ ternary "y" "n" .Values.on }}{{ hasKey .Values "name" }}{{ has "a" .Values.list }}',
            "ytruetrue",
        ),
        (
            '{{ contains "e" "web" }}{{ hasPrefix "w" "web" }}{{ trunc 2 "web" }}{{ title "web" }}',
            "truetrueweWeb",
        ),
        (
            '{{ (dict "a" (list 1 2)).a | first }}{{ list 1 2 | last }}{{ keys .Values.map | toJson }}',
            '12["x","y"]',
        ),
        ('{{ `raw "text"` }}{{ int "4" }}{{ toString 5 | quote }}', 'raw "text"4"5"'),
    ],
)
def test_a_template_becomes(text: str, wanted: str) -> None:
    assert became(text) == wanted


@promise("runesets.places")
@pytest.mark.parametrize(
    "text, wanted",
    [
        ("\n {{ .Values.nme }}", "2:5 there is no .Values.nme; did you mean 'name'?"),
        ("{{ .Values.map.q }}", "1:4 there is no .Values.map.q"),
        ("{{ .Values.name.first }}", "1:4 .Values.name is no mapping, so there is no 'first' in it"),
        ("{{ uper .Values.name }}", "1:4 there is no function 'uper'; did you mean 'upper'?"),
        ("{{ Values.name }}", "1:4 there is no function 'Values'; did you mean 'values'?"),
        ("{{ .Values.map }}", "1:1 a mapping has no text of its own; toYaml or toJson writes it out"),
        ("{{ .Values.nothing }}", "1:1 the value is null, which has no text; `default` gives one"),
        ("{{ upper }}", "1:4 upper takes 1 values, not 0"),
        ("{{ if .Values.on }}", "1:1 this if is not closed: {{ end }} is missing"),
        ("x{{ end }}", "1:2 this end closes nothing"),
        ("{{ else }}", "1:1 this else belongs to no if, with or range"),
        ("{{ .Values.name ", "1:1 this action is not closed: }} is missing"),
        ("{{ 'x' }}", '1:4 text stands in double quotes: "…"'),
        ("{{ .Values.my-key }}", '1:14 a key with a dash is read with index: {{ index .Values "my-key" }}'),
        ("{{ }}", "1:1 there is nothing in the braces"),
        ("{{ $x }}", "1:4 there is no variable $x here"),
        ("{{ $x = 1 }}", "1:1 there is no variable $x yet; := makes one"),
        ('{{ include "n" . }}', "1:4 there is no definition 'n'"),
        ('{{ required "say who" .Values.none }}', "1:4 say who"),
        ("{{ range .Values.name }}{{ end }}", "1:1 range goes through a list or a mapping"),
        ("{{ div 1 0 }}", "1:4 div: nothing can be divided by zero"),
        ("{{ quote (upper .Values.name }}", "1:10 this bracket is not closed"),
        ("{{ quote upper }}", "1:10 put the call of upper in brackets"),
        ("{{ .Values.name }} {{ .Values.name | }}", "1:20 a value is missing"),
        ('{{ b64dec "?" }}', "1:4 b64dec: this is not base64 of text"),
        ('{{ printf "%d" "x" }}', "1:4 printf: a whole number is needed, not this text"),
        ('{{ lt 1 "a" }}', "1:4 lt: a number and text cannot be compared; int or toString makes them alike"),
    ],
)
def test_a_mistake_is_told_at_its_place(text: str, wanted: str) -> None:
    assert mistakes(text) == [wanted]


def test_all_mistakes_are_told_at_once() -> None:
    assert len(mistakes("{{ .Values.a }}\n{{ .Values.b }}\n{{ upper .Values.list }}")) == 3
    assert len(mistakes("{{ nope }}\n{{ 'x' }}\n{{ }}")) == 3


@promise("runesets.sealed")
@pytest.mark.parametrize(
    "text",
    [
        "{{ .Values.password }}",
        "{{ .Values.password | b64enc | upper }}",
        '{{ printf "postgres://u:%s@db" .Values.password }}',
        "{{ toYaml .Values }}",
        '{{ define "n" }}{{ . }}{{ end }}{{ include "n" .Values.password | quote }}',
        "{{ $p := .Values.password }}{{ $p }}",
        "{{ range list .Values.password }}{{ . }}{{ end }}",
        '{{ index .Values "password" }}',
        '{{ default "x" .Values.password }}',
        '{{ (dict "a" .Values.password).a }}',
        '{{ ternary .Values.password "" true }}',
        "{{ sha256sum .Values.password }}",
        "{{ with .Values.password }}{{ . }}{{ end }}",
        "{{ and true .Values.password }}",
        '{{ join "," (list 1 .Values.password) }}',
    ],
)
def test_what_is_made_of_a_sensitive_value_is_not_shown(text: str) -> None:
    shown = output(text).shown
    assert MASK in shown
    assert "hunter2" not in shown
    assert base64.b64encode(b"hunter2").decode().upper() not in shown


def test_what_stands_beside_a_sensitive_value_is_shown() -> None:
    assert output("{{ .Values.name }} {{ .Values.password }}").shown == f"web {MASK}"
    assert output('{{ index .Values "name" }}').shown == "web"


@promise("runesets.bounded")
@pytest.mark.parametrize(
    "text",
    [
        "{{ $x := list 1 }}" + "{{ $x = list $x $x }}" * 40 + "{{ toJson $x }}",
        '{{ $x := "0123456789" }}' + '{{ $x = printf "%s%s" $x $x }}' * 40 + "{{ $x }}",
        '{{ $x := "aaaaaaaaaa" }}' + '{{ $x = replace "a" $x $x }}' * 10 + "{{ $x }}",
        '{{ define "n" }}{{ include "n" . }}{{ include "n" . }}{{ end }}{{ include "n" . }}',
        "{{ range $.Values.list }}" * 30 + "x" + "{{ end }}" * 30,
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ if 1 }}" * 5000,
        "{{ mul 9223372036854775807 9223372036854775807 }}",
        '{{ indent 101 "x" }}',
        '{{ printf "%999d" 1 | replace "" (printf "%999d" 1) | replace "" (printf "%999d" 1) }}',
    ],
)
def test_no_template_can_exhaust_us(text: str) -> None:
    assert mistakes(text)


def test_work_is_counted() -> None:
    values = {"list": list(range(1000))}
    nested = "{{ range $.Values.list }}" * 3 + "x" + "{{ end }}" * 3
    _, problems = render(parse(nested, name="t"), {"Values": values})
    assert f"more than {MOST_STEPS} steps" in problems[-1].message


def test_positions_of_the_output_are_those_of_the_template() -> None:
    found = output("a: 1\nb: {{ .Values.name }}\nc: {{ .Values.password }}\nd: x{{ .Values.count }}y\n")
    assert str(found.spot((1, 4), (1, 5))) == "t:1:4"
    assert str(found.spot((2, 4), (2, 7))) == "t:2:4"
    assert found.spot((3, 4), (3, 6)).is_sealed
    assert not found.spot((2, 1), (2, 2)).is_sealed
    assert str(found.spot((4, 6), (4, 7))) == "t:4:24"


words = st.sampled_from(
    ["{{", "}}", "{{-", "-}}", " ", "if ", "else", "end", "range ", "with ", "define ", '"n"', "include ",
     ".", ".Values", ".name", ".list", "$", "$x", ":=", "=", "|", "(", ")", ",", "quote ", "default ", "1",
     "index ", "-2.5", "true", "nil", "\n", "a: ", "/*", "*/", "`", "'", "\\", "list ", "dict ", "toYaml ",
     "printf ", "%d"]
)  # fmt: skip


def outcome(text: str) -> object:
    try:
        template = parse(text, name="t")
    except Malformed as error:
        return error.problems
    return render(template, {"Values": VALUES})


@promise("runesets.fuzz")
@given(st.lists(words, max_size=25).map("".join) | st.text(max_size=60))
def test_any_text_is_rendered_or_refused(text: str) -> None:
    assert outcome(text) is not None
    assert outcome("{{ " + text + " }}") is not None


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@given(plain)
def test_what_to_yaml_and_to_json_write_reads_as_the_same(value: object) -> None:
    values = {"v": value}
    assert yaml.safe_load(became("{{ toYaml .Values.v }}", values)) == value
    assert yaml.safe_load(became("x: {{ toJson .Values.v }}", values))["x"] == value


@given(texts)
def test_quoted_text_reads_as_the_same_text(text: str) -> None:
    assert yaml.safe_load("x: " + became("{{ quote .Values.v }}", {"v": text}))["x"] == text


@given(plain)
def test_sealing_is_undone_by_opening_and_hides_every_scalar(value: Any) -> None:
    assert opened(sealed(value)) == value
    assert set(_scalars(masked(sealed(value)))) <= {MASK, None}


def _scalars(value: Any) -> list[Any]:
    inside: list[Any] = [value]
    if isinstance(value, dict):
        inside = [*cast("dict[str, Any]", value).values()]
    elif isinstance(value, list):
        inside = cast("list[Any]", value)
    else:
        return inside
    return [found for inner in inside for found in _scalars(inner)]
