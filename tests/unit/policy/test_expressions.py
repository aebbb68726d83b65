"""Conditions: what they say, what they refuse, and that none is slow."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.policy.expressions import Absent, Expression, Unjudgeable
from rune.policy.grammar import BadExpression
from rune.policy.operators import Exhausted
from rune.policy.values import Opaque


def scope(**args: object) -> dict[str, Any]:
    return {
        "tool": {"name": "pay", "server": "bank"},
        "args": args,
        "agent": {"id": "a1", "tags": ["prod"]},
        "session": {"id": "s1"},
        "tags": ["prod"],
        "direction": "tool_call",
        "source": "web",
        "findings": [{"type": "jailbreak", "rule": "r", "severity": "high", "confidence": 0.9}],
    }


def holds(text: str, /, **args: object) -> bool:
    return Expression(text).holds(scope(**args))


@pytest.mark.parametrize(
    "text",
    [
        "tool.name == 'pay' && args.amount > 100",
        "args.amount >= 101 && args.amount != 100",
        "args.amount + 1 == 102 && args.amount - 1 == 100 && args.amount * 2 == 202",
        "7 / 2 == 3 && -7 / 2 == -3 && 7 % 3 == 1 && -7 % 3 == -1",
        "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9",
        "1.5 + 1 == 2.5 && 1 == 1.0 && 3.0 / 2 == 1.5 && -args.amount == -101",
        "'a' + 'b' == 'ab' && 'a' < 'b'",
        "args.to.exists(t, t.endsWith('@evil.com'))",
        "args.to.all(t, t.contains('@'))",
        "!args.to.all(t, t.endsWith('@corp.com'))",
        "args.deep.exists(d, d.list.exists(x, x == 2))",
        "args['amount'] == 101 && args.to[0].startsWith('bob')",
        "'prod' in tags && 'prod' in agent.tags && 'amount' in args",
        "args.amount in [100, 101]",
        "has(args.amount) && !has(args.nothing) && !has(args.nothing.deeper)",
        "size(args.to) == 2 && args.to.size() == 2 && size('äö') == 2",
        "args.note.matches('^h.*o$') && matches(args.note, 'ell')",
        r"args.note.matches(r'\w+')",
        "args.note.upperAscii() == 'HELLO' && 'ÄB'.lowerAscii() == 'Äb'",
        "int('12') == 12 && double('1.5') == 1.5 && int(2.9) == 2",
        "string(3) == '3' && string(true) == 'true' && string('x') == 'x'",
        "args.amount > 1000 ? false : true",
        "true || args.nothing && false || args.nothing",
        "args.nothing == 1 || true",
        "!(args.nothing == 1 && false)",
        "findings.exists(f, f.type == 'jailbreak' && f.confidence > 0.5)",
        "args.flag == true && args.none == null && true != 1 && [1, [2]] == [1, [2]]",
        "args.obj.a == 1",
        "source == 'web' && direction == 'tool_call' && session.id == 's1' // a remark",
        '"\\u0041\\n" == "A\\n"',
        "0x10 == 16 && 1e2 == 100.0",
        "args.in == 'reserved words may be fields'",
    ],
)
def test_expressions_that_hold(text: str) -> None:
    assert holds(
        text,
        amount=101,
        to=["bob@corp.com", "eve@evil.com"],
        note="hello",
        flag=True,
        none=None,
        obj={"a": 1},
        deep=[{"list": [1, 2]}],
        **{"in": "reserved words may be fields"},
    )


@pytest.mark.parametrize(
    "text",
    [
        "args.x > 1",
        "args.x.y",
        "args.list[3] == 1",
        "args['x'] == 1",
        "!(args.x == 1)",
        "args.x == 1 && true",
    ],
)
def test_what_is_not_there_is_absent(text: str) -> None:
    with pytest.raises(Absent):
        holds(text, list=[1])


@pytest.mark.parametrize(
    "text",
    [
        "args.text > 100",
        "args.text + 1 == 2",
        "args.flag > 0",
        "args.text",
        "args.n",
        "args.n && true",
        "args.nan > 1",
        "args.text.x == 1",
        "args.n.startsWith('1')",
        "args.n in 'text'",
        "args.n[0] == 1",
        "1 / 0 == 1",
        "1 % 0 == 1",
        "1.5 % 2 == 1",
        "args.big * args.big > 1",
        "9223372036854775807 + 1 > 0",
        "size(1) == 1",
        "int('x') == 1",
        "double('nan') == 1.0",
        "int(args.long) == 1",
        "string(args.list) == ''",
        "args.n.exists(x, true)",
        "!args.n",
        "args.n ? true : false",
        "args.opaque == 'x'",
        "args.opaque > 1",
        "-args.text == 1",
        "args.text[true] == 1",
        "args.long + args.long == 'x'",
        "args.list.exists(x, x > 'a')",
    ],
)
def test_values_that_do_not_fit_cannot_be_judged(text: str) -> None:
    values = {
        "text": "1000",
        "flag": True,
        "n": 5,
        "nan": float("nan"),
        "big": 2**62,
        "long": "9" * 40_000,
        "list": [1],
    }
    with pytest.raises(Unjudgeable) as caught:
        holds(text, opaque=Opaque("a Thing"), **values)
    assert not isinstance(caught.value, Absent)


def test_what_is_null_is_named() -> None:
    with pytest.raises(Unjudgeable, match="> between null and a number"):
        holds("args.none > 1", none=None)


def test_a_doubt_about_values_outweighs_an_absent_one() -> None:
    with pytest.raises(Unjudgeable, match="between text"):
        holds("args.absent == 1 && args.text > 1", text="x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "(1",
        "a",
        "tool.nam == ''",
        "tags.x",
        "args.x = 1",
        "args.x & 1",
        "nope(1)",
        "args.x.nope()",
        "size(1, 2)",
        "args.x.matches(args.y)",
        "args.x.matches('(')",
        "has(args)",
        "has(1)",
        "'unclosed",
        r"'\q'",
        "args.l.exists(args, true)",
        "args.l.exists(x, args.l.all(x, true))",
        "args.l.exists(1, true)",
        "while",
        "1 2",
        "args.x.y(",
        "9223372036854775808",
        "1e999",
        "x ? y",
        "__import__('os')",
        "args.__class__.mro()",
        "lambda: 1",
        "{'a': 1}",
        "a.b.c.d(e)",
        "b'x'",
        "1u",
        r"'\ud800'",
        "?",
        "[1,",
        "args.l.exists(x, args.l.exists(y, args.l.exists(z, true)))",
    ],
)
def test_what_is_not_an_expression_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(BadExpression) as caught:
        Expression(text)
    assert 0 <= caught.value.offset <= len(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 1000,
        "!" * 1000 + "true",
        "[" * 1000,
        "1" + " + 1" * 500,
        "true" + " && true" * 500,
        "a" * 5000,
        "-" * 4000 + "1",
        "true" + " ? true : true" * 200,
    ],
)
def test_size_and_depth_are_bounded(text: str) -> None:
    with pytest.raises(BadExpression):
        Expression(text)


def test_python_is_out_of_reach() -> None:
    for text in ("args.__class__", "args.keys", "tool.name.__len__", "args['__class__']"):
        with pytest.raises((Unjudgeable, BadExpression)):
            holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "args.l.exists(x, args.l.exists(y, x + y == -1))",
        "args.l.all(x, args.l == args.l)",
        "args.l.all(x, args.s.contains('nothing of this'))",
        "args.l.all(x, args.s.matches('(a|aa)+$') || true)",
        "args.l.all(x, -1 in args.l) || args.l.exists(x, -1 in args.l)",
        "args.deep == args.deep",
        " || ".join(["args.s.matches('(x+x+)+y')"] * 30),
    ],
)
def test_no_expression_is_slow(text: str) -> None:
    deep: list[Any] = list(range(40_000))
    values = {"l": list(range(40_000)), "s": "a" * 1_000_000, "deep": [deep, deep]}
    expression = Expression(text)
    start = time.perf_counter()
    with contextlib.suppress(Exhausted):
        assert expression.holds(scope(**values)) in {True, False}
    assert time.perf_counter() - start < 0.5


def test_a_guard_on_the_tools_name_is_known_beforehand() -> None:
    expression = Expression("tool.name == 'pay' && args.amount > 100")
    assert expression.may_hold({"name": "pay", "server": ""})
    assert not expression.may_hold({"name": "read", "server": ""})
    assert Expression("args.x > 1 || tool.name == 'pay'").may_hold({"name": "read", "server": ""})
    assert Expression("tool.name > 1").may_hold({"name": "read", "server": ""})


PIECES = st.sampled_from(
    [
        "args",
        "tool",
        ".",
        "name",
        "x",
        "[",
        "]",
        "(",
        ")",
        "1",
        "2.5",
        "'a'",
        "true",
        "null",
        "+",
        "-",
        "*",
        "/",
        "%",
        "<",
        "<=",
        "==",
        "!=",
        "&&",
        "||",
        "!",
        "?",
        ":",
        "in",
        "has",
        "size",
        "exists",
        "all",
        ",",
        "startsWith",
        "matches",
        "[1,2]",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(PIECES, max_size=14).map(" ".join) | st.text(max_size=30),
    st.dictionaries(st.sampled_from("xyz"), JSON),
)
def test_any_text_is_refused_or_gives_an_answer(text: str, args: dict[str, Any]) -> None:
    try:
        answer = Expression(text).holds(scope(**args))
    except (BadExpression, Unjudgeable):
        return
    assert answer in {True, False}


@given(JSON, JSON)
def test_equality_is_symmetric_and_denial_is_its_opposite(one: object, two: object) -> None:
    equal = holds("args.one == args.two", one=one, two=two)
    assert equal is holds("args.two == args.one", one=one, two=two)
    assert equal is not holds("args.one != args.two", one=one, two=two)
