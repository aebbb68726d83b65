"""Reading policies as people write them, and telling what is wrong with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.errors import InvalidArgument
from rune.policy.document import parse
from rune.policy.model import RULE_TYPES, SCANNERS

EXAMPLE = """\
version: "1.0"
name: production
agents: [support-*]
tags: [prod]
mode: enforce
rules:
  - name: block-injection
    scanner: prompt_injection
    min_confidence: 0.6
    direction: input
    action: block
    severity: critical
  - {name: tools, type: tool_allowlist, tools: [search, "read_*"], action: block, severity: high}
  - {name: no-rm, type: tool_denylist, tools: [delete_file], action: block, severity: critical}
  - {name: slow, type: rate_limit, max_calls: 100, window_seconds: 60, per: agent, action: block}
  - {name: no-pii, type: data_protection, patterns: [ssn, email], direction: output, action: block}
  - {name: paths, type: argument_match, tool: write_file, argument: path, not_matches: "^/workspace/"}
  - {name: budget, type: budget, max_steps: 50, max_tokens: 200000, per: session, action: block}
  - {name: chain, type: sequence, steps: [read_secret, http_post], within_seconds: 300, action: block}
  - {name: taint, type: flow, from: [web, email, rag, "tool:fetch_*"], to: ["tool:send_*", "tool:pay"]}
  - {name: net, type: network_allowlist, domains: ["*.example.com"], action: block}
  - {name: custom, when: "tool.name == 'pay' && args.amount > 100", action: require_approval}
mcp: {servers: {files: {allowed_tools: [read_file], blocked_tools: [write_file]}}}
"""


def violations(rules: str, head: str = "") -> dict[str, str]:
    """What is wrong, by field, for rules that start in line 3 (4 with a head)."""
    with pytest.raises(InvalidArgument) as caught:
        parse(f'version: "1.0"\n{head}rules:\n{rules}')
    return {violation.field: violation.description for violation in caught.value.details}


def test_a_policy_with_every_kind_of_rule_is_read() -> None:
    document = parse(EXAMPLE)
    assert len(document.rules) == 11
    assert document.mcp["files"].allowed_tools == ("read_file",)
    assert document.positions["rules[0].scanner"] == (8, 14)


def test_severity_is_medium_and_action_block_unless_said() -> None:
    rule = parse('version: "1.0"\nrules: [{name: a, scanner: any}]').rules[0]
    assert (rule.severity, rule.action) == ("medium", "block")


@pytest.mark.parametrize("version", ['"1.0"', "1.0", "1"])
def test_the_version_may_lack_its_quotes(version: str) -> None:
    assert parse(f"version: {version}\nrules: []").version == "1.0"


@pytest.mark.parametrize("text", ["rules: []", 'version: "2.0"\nrules: []', "version: true\nrules: []"])
def test_another_version_or_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="version"):
        parse(text)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "~"])
def test_an_empty_document_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="document is empty"):
        parse(text)


@pytest.mark.parametrize("text", ["[]", "just words", "12"])
def test_a_policy_is_a_mapping(text: str) -> None:
    with pytest.raises(InvalidArgument, match="a policy is a mapping"):
        parse(text)


def test_rules_that_are_missing_or_no_list_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="rules is missing"):
        parse('version: "1.0"')
    with pytest.raises(InvalidArgument, match="rules is a list"):
        parse('version: "1.0"\nrules: {a: 1}')


def test_an_mcp_section_alone_is_a_policy() -> None:
    assert parse('version: "1.0"\nmcp: {servers: {a: {blocked_tools: [x]}}}').rules == []


def test_an_unknown_key_is_told_with_its_place_and_the_nearest_word() -> None:
    found = violations("  - name: a\n    scanner: any\n    severty: high\n")
    assert found["rules[0].severty"].startswith(
        "line 5, column 5: unknown key 'severty'; did you mean 'severity'?"
    )


def test_an_unknown_scanner_is_told_with_the_nearest_word() -> None:
    found = violations("  - {name: a, scanner: promt-injection}\n")
    start = "line 3, column 24: unknown scanner 'promt-injection'; did you mean 'prompt_injection'?"
    assert found["rules[0].scanner"].startswith(start)


def test_an_unknown_type_is_told_with_the_nearest_word() -> None:
    assert (
        "did you mean 'tool_allowlist'?"
        in violations("  - {name: a, type: tool_alowlist}\n")["rules[0].type"]
    )


def test_a_scanner_under_type_is_told_where_it_belongs() -> None:
    assert "write scanner: jailbreak" in violations("  - {name: a, type: jailbreak}\n")["rules[0].type"]


@pytest.mark.parametrize(
    "field, word, near",
    [("action", "blok", "block"), ("severity", "hi", "high"), ("direction", "in", "input")],
)
def test_an_unknown_word_is_told_with_the_nearest_one(field: str, word: str, near: str) -> None:
    assert near in violations(f"  - {{name: a, scanner: any, {field}: {word}}}\n")[f"rules[0].{field}"]


def test_a_misspelt_selector_is_told_as_one() -> None:
    found = violations("  - {name: a, scaner: any}\n")
    assert "did you mean 'scanner'?" in found["rules[0].scaner"]


@pytest.mark.parametrize(
    "rule",
    [
        "{name: a}",
        "{name: a, scanner: any, type: budget, max_steps: 1}",
        "{name: a, when: 'true', scanner: any}",
    ],
)
def test_a_rule_has_exactly_one_of_scanner_type_and_when(rule: str) -> None:
    assert "exactly one of scanner, type, when" in violations(f"  - {rule}\n")["rules[0]"]


def test_a_name_used_twice_is_told_with_the_first_line() -> None:
    found = violations("  - {name: a, scanner: any}\n  - {name: a, scanner: pii}\n")
    assert found["rules[1].name"].startswith("line 4, column 12: the name 'a' is already taken, in line 3")


def test_a_rule_without_a_name_is_refused() -> None:
    assert "name is missing" in violations("  - {scanner: any}\n")["rules[0]"]


def test_a_name_that_is_no_text_is_refused_with_the_remedy() -> None:
    assert 'write "12"' in violations("  - {name: 12, scanner: any}\n")["rules[0].name"]


def test_a_boolean_among_tools_is_pointed_at() -> None:
    found = violations("  - {name: a, type: tool_denylist, tools: [x, true]}\n")
    assert found["rules[0].tools[1]"].startswith("line 3, column 47: is true or false, and text is needed")


def test_old_booleans_are_names_of_tools_and_no_booleans() -> None:
    rule = parse('version: "1.0"\nrules: [{name: on, type: tool_denylist, tools: [no, off]}]').rules[0]
    assert rule.name == "on"
    base = "{name: a, type: argument_match, argument: x, not_matches: y, optional: "
    assert "write true or false" in violations(f"  - {base}yes}}\n")["rules[0].optional"]


@pytest.mark.parametrize("regex", ["(", "a(?=b)", r"(a)\\1", "x{2000}", "a" * 1025])
def test_a_regex_that_is_not_linear_or_not_one_is_refused(regex: str) -> None:
    found = violations(f'  - {{name: a, type: argument_match, argument: p, matches: "{regex}"}}\n')
    assert "rules[0].matches" in found


@pytest.mark.parametrize(
    "expression, column",
    [("tool.nam == 1", 27), ("args.x >", 30), ("nope(1)", 21), ("a.b", 21), ("args.x.matches('(')", 37)],
)
def test_an_expression_is_pointed_into(expression: str, column: int) -> None:
    found = violations(f'  - {{name: a, when: "{expression}"}}\n')
    assert found["rules[0].when"].startswith(f"line 3, column {column}: ")


def test_an_expression_over_several_lines_is_pointed_at_as_a_whole() -> None:
    found = violations("  - name: a\n    when: |\n      args.x ==\n")
    assert found["rules[0].when"].startswith("line 4, column 11: ")


@pytest.mark.parametrize(
    "rule, field",
    [
        ("type: argument_match, argument: x", ""),
        ("type: argument_match, argument: x, matches: a, not_matches: b", ""),
        ("type: argument_match, argument: x, matches: a, optional: true", ".optional"),
        ("type: budget", ""),
        ("type: budget, max_steps: 0", ".max_steps"),
        ("type: tool_denylist, tools: []", ".tools"),
        ("type: rate_limit, max_calls: 0, window_seconds: 60", ".max_calls"),
        ("type: rate_limit, max_calls: 1, window_seconds: 0", ".window_seconds"),
        ("type: rate_limit, max_calls: 1, window_seconds: 60, per: minute", ".per"),
        ("type: data_protection, patterns: [snn]", ".patterns[0]"),
        ("type: sequence, steps: [one]", ".steps"),
        ("type: flow, from: [wbe], to: ['tool:x']", ".from[0]"),
        ("type: flow, from: [web], to: [x]", ".to[0]"),
        ("type: network_allowlist, domains: ['https://x.y']", ".domains[0]"),
        ("type: network_allowlist, domains: ['a b']", ".domains[0]"),
        ("type: network_allowlist, domains: ['10.0.0.0/99']", ".domains[0]"),
        ("type: network_allowlist, domains: [], schemes: ['HTTPS://']", ".schemes[0]"),
        ("scanner: any, min_confidence: 2", ".min_confidence"),
        ("scanner: 3", ".scanner"),
    ],
)
def test_a_field_with_a_senseless_value_is_refused(rule: str, field: str) -> None:
    assert f"rules[0]{field}" in violations(f"  - {{name: a, {rule}}}\n")


def test_everything_wrong_is_told_at_once() -> None:
    found = violations(
        "  - {name: a, scanner: x1}\n  - {name: b, type: y1}\n  - {name: c, when: ')'}\n",
        head="mode: maybe\n",
    )
    assert set(found) == {"mode", "rules[0].scanner", "rules[1].type", "rules[2].when"}


def test_scanner_tool_access_is_an_allowlist() -> None:
    rule = parse('version: "1.0"\nrules: [{name: a, scanner: tool_access, allowed_tools: [x]}]').rules[0]
    assert type(rule) is RULE_TYPES["tool_allowlist"]
    found = violations("  - {name: a, scanner: tool_access, allowed_tools: [1]}\n")
    assert found["rules[0].tools[0]"].startswith("line 3, column 53: ")


def test_a_server_of_the_mcp_section_has_two_keys() -> None:
    with pytest.raises(InvalidArgument, match="unknown key 'allow'; did you mean 'allowed_tools'"):
        parse('version: "1.0"\nmcp: {servers: {a: {allow: [x]}}}')


def test_names_of_the_mcp_section_are_reserved() -> None:
    assert (
        "for the mcp section"
        in violations("  - {name: mcp.a.allowed_tools, scanner: any}\n")["rules[0].name"]
    )


def test_too_many_rules_are_refused() -> None:
    rules = "".join(f"  - {{name: r{n}, scanner: any}}\n" for n in range(501))
    assert "too many" in violations(rules)["rules[500]"]


@pytest.mark.parametrize("scanner", sorted(SCANNERS))
def test_every_scanner_is_known(scanner: str) -> None:
    assert parse(f'version: "1.0"\nrules: [{{name: a, scanner: {scanner}}}]').rules


PIECES = st.sampled_from(
    [
        "version: ",
        '"1.0"',
        "rules:",
        "\n",
        "  - ",
        "name: ",
        "a",
        "scanner: ",
        "any",
        "type: ",
        "flow",
        "from: [",
        "]",
        "when: ",
        "'x'",
        "{",
        "}",
        ", ",
        "tools: ",
        "[*]",
        "mcp: ",
        "servers: ",
        "&a ",
        "*a",
        "max_steps: ",
        "1",
        "true",
        "\t",
        "action: ",
        "é",
    ]
)


@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=80) | st.binary(max_size=80))
def test_whatever_is_parsed_nothing_but_invalid_argument_comes_out(source: str | bytes) -> None:
    try:
        parse(source)
    except InvalidArgument as error:
        told = error.details
    else:
        return
    assert told
    assert all(violation.description.startswith(("line ", "and ")) for violation in told)


@given(st.data())
def test_damage_to_a_good_policy_is_told_with_a_place(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(EXAMPLE) - 1))
    end = data.draw(st.integers(start, min(len(EXAMPLE), start + 12)))
    text = EXAMPLE[:start] + data.draw(st.text(max_size=4)) + EXAMPLE[end:]
    try:
        parse(text)
    except InvalidArgument as error:
        told = error.details
    else:
        return
    assert all(violation.description.startswith(("line ", "and ")) for violation in told)


def test_a_server_has_a_short_name_and_there_are_not_too_many() -> None:
    many = ", ".join(f"s{n}: {{}}" for n in range(251))
    for servers in (many, f"{'x' * 101}: {{}}", '"": {}'):
        with pytest.raises(InvalidArgument, match=r"too many|1 to 100 characters"):
            parse(f'version: "1.0"\nmcp: {{servers: {{{servers}}}}}')


@pytest.mark.parametrize("rule", ["~", "[]", "5", "word", "true"])
def test_a_rule_is_a_mapping(rule: str) -> None:
    assert "a rule is a mapping" in violations(f"  - {rule}\n")["rules[0]"]


def test_scanner_tool_access_may_say_tools_too() -> None:
    assert parse('version: "1.0"\nrules: [{name: a, scanner: tool_access, tools: [x]}]').rules


def test_an_empty_mcp_section_is_nothing() -> None:
    assert parse('version: "1.0"\nrules: []\nmcp:').mcp == {}


def test_more_problems_than_anybody_reads_are_counted() -> None:
    rules = "".join(f"  - {{name: r{n}, scanner: nope}}\n" for n in range(60))
    with pytest.raises(InvalidArgument, match="and 10 more problems; mend these first"):
        parse(f'version: "1.0"\nrules:\n{rules}')
