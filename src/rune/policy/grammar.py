"""Parses the part of CEL that `when` understands into a small tree.

Everything about the tree is bounded here (length of the text, nodes, depth, loops within loops), so that
whoever evaluates it can recurse without a second thought.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import msgspec

MAX_LENGTH = 4096
MAX_NODES = 400
MAX_DEPTH = 30
MAX_LOOPS = 2
INT_LIMIT = 2**63

_TOKEN = re.compile(
    r"""
      (?P<space>[\ \t\r\n]+|//[^\n]*)
    | (?P<float>(?:[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+))
    | (?P<int>0[xX][0-9a-fA-F]+|[0-9]+)
    | (?P<raw>[rR](?:"[^"\n]*"|'[^'\n]*'))
    | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>&&|\|\||==|!=|<=|>=|[-<>+*/%!?:.,()\[\]])
    """,
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "`": "`", "?": "?"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_RESERVED = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"==", "!=", "<", "<=", ">", ">=", "in"}),
    frozenset({"+", "-"}),
    frozenset({"*", "/", "%"}),
)


_CHARACTERS = (range(0xD800), range(0xE000, 0x110000))


class BadExpression(ValueError):
    """The text is not an expression that this product understands; `offset` is the place in it."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class Literal(msgspec.Struct, frozen=True):
    """A string, number, boolean or null."""

    value: Any  # one of the five JSON scalars
    offset: int


class Name(msgspec.Struct, frozen=True):
    """A variable."""

    name: str
    offset: int


class Member(msgspec.Struct, frozen=True):
    """`target.field`."""

    target: Node
    field: str
    offset: int


class Call(msgspec.Struct, frozen=True):
    """An operator, a function or a method: all are a name and what it is applied to."""

    name: str
    parts: tuple[Node, ...]
    offset: int


class Loop(msgspec.Struct, frozen=True):
    """`items.exists(x, body)` or `items.all(x, body)`."""

    kind: str
    items: Node
    variable: str
    body: Node
    offset: int


Node = Literal | Name | Member | Call | Loop
METHODS: dict[str, int] = {
    "startsWith": 1, "endsWith": 1, "contains": 1, "matches": 1, "size": 0, "lowerAscii": 0, "upperAscii": 0,
}  # fmt: skip
FUNCTIONS: dict[str, int] = {"size": 1, "int": 1, "double": 1, "string": 1, "matches": 2}
LOOPS = frozenset({"exists", "all"})


class _Token(NamedTuple):
    kind: str
    text: str
    offset: int


def parse(text: str) -> Node:
    """The tree of an expression; raises BadExpression."""
    if len(text) > MAX_LENGTH:
        raise BadExpression(f"{len(text)} characters are too many; the limit is {MAX_LENGTH}", 0)
    parser = _Parser(_tokens(text))
    tree = parser.ternary()
    parser.expect("end")
    return tree


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    offset = 0
    while offset < len(text):
        found = _TOKEN.match(text, offset)
        if found is None:
            hint = {"=": "; compare with ==", "&": "; write &&", "|": "; write ||"}.get(text[offset], "")
            raise BadExpression(f"{text[offset]!r} has no meaning here{hint}", offset)
        kind = found.lastgroup or ""
        word = found.group()
        if kind != "space":
            tokens.append(_Token(word if kind == "sign" or word == "in" else kind, word, offset))
        offset = found.end()
    tokens.append(_Token("end", "", len(text)))
    return tokens


def _unquote(token: _Token) -> str:
    def replace(found: re.Match[str]) -> str:
        code = found[1] or found[2] or found[3]
        if code:
            number = int(code, 16)
            if not any(number in characters for characters in _CHARACTERS):
                raise BadExpression(f"{found[0]} is not a character", token.offset + found.start())
            return chr(number)
        if found[4] not in _ESCAPES:
            raise BadExpression(
                f"unknown escape {found[0]!r}; for a regular expression write r'…'",
                token.offset + found.start(),
            )
        return _ESCAPES[found[4]]

    return _ESCAPE.sub(replace, token.text[1:-1])


class _Parser:
    """Recursive descent over the tokens; `_deeper` bounds the recursion and `_made` the tree."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._nodes = self._depth = self._loops = 0
        self._depths: dict[int, int] = {}
        self._kept: list[Node] = []  # keeps the ids in _depths unique

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        self._at += 1
        return token

    def _skip(self, kind: str) -> bool:
        found = self._next.kind == kind
        self._at += found
        return found

    def expect(self, kind: str) -> _Token:
        if self._next.kind != kind:
            shown = "the end" if self._next.kind == "end" else repr(self._next.text)
            wanted = "the end" if kind == "end" else f"a {kind}" if kind.isalpha() else repr(kind)
            raise BadExpression(f"expected {wanted}, found {shown}", self._next.offset)
        return self._take()

    def _made(self, node: Node, *parts: Node) -> Node:
        """Count the node; refuse a tree that is too large or too deep to walk recursively."""
        self._nodes += 1
        depth = 1 + max((self._depths[id(part)] for part in parts), default=0)
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise BadExpression("the expression is too large; split it into several rules", node.offset)
        self._depths[id(node)] = depth
        self._kept.append(node)
        return node

    def _deeper(self, parse_inner: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadExpression(f"nested more than {MAX_DEPTH} deep", self._next.offset)
        node = parse_inner()
        self._depth -= 1
        return node

    def _call(self, name: str, parts: tuple[Node, ...], offset: int) -> Node:
        return self._made(Call(name, parts, offset), *parts)

    def ternary(self) -> Node:
        return self._deeper(self._ternary)

    def _ternary(self) -> Node:
        test = self._flat("||", lambda: self._flat("&&", lambda: self._binary(0)))
        if not self._skip("?"):
            return test
        yes = self.ternary()
        self.expect(":")
        return self._call("?:", (test, yes, self.ternary()), test.offset)

    def _flat(self, sign: str, inner: Callable[[], Node]) -> Node:
        """A chain of the same logical operator as one node, so that its length adds no depth."""
        parts = [inner()]
        while self._skip(sign):
            parts.append(inner())
        return parts[0] if len(parts) == 1 else self._call(sign, tuple(parts), parts[0].offset)

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while self._next.kind in _LEVELS[level]:
            sign = self._take()
            left = self._call(sign.kind, (left, self._binary(level + 1)), sign.offset)
        return left

    def _unary(self) -> Node:
        token = self._next
        if token.kind not in {"!", "-"}:
            return self._member()
        self._take()
        name = "!" if token.kind == "!" else "negate"
        return self._call(name, (self._deeper(self._unary),), token.offset)

    def _member(self) -> Node:
        node = self._primary()
        while self._next.kind in {".", "["}:
            sign = self._take()
            if sign.kind == "[":
                node = self._call("[]", (node, self.ternary()), sign.offset)
                self.expect("]")
                continue
            field = self._field()
            if self._next.kind == "(":
                node = self._method(node, field)
            else:
                node = self._made(Member(node, field.text, field.offset), node)
        return node

    def _field(self) -> _Token:
        """What may follow a dot; a reserved word may, since arguments have such names."""
        return self._take() if self._next.kind == "in" else self.expect("name")

    def _method(self, target: Node, name: _Token) -> Node:
        if name.text in LOOPS:
            return self._loop(target, name)
        parts = self._arguments()
        self._check_known(name, METHODS, len(parts))
        return self._call(name.text, (target, *parts), name.offset)

    def _loop(self, items: Node, name: _Token) -> Node:
        self._loops += 1
        if self._loops > MAX_LOOPS:
            raise BadExpression(f"{name.text} inside more than one loop", name.offset)
        self.expect("(")
        variable = self.expect("name")
        self.expect(",")
        body = self.ternary()
        self.expect(")")
        self._loops -= 1
        return self._made(Loop(name.text, items, variable.text, body, variable.offset), items, body)

    def _arguments(self, close: str = ")") -> tuple[Node, ...]:
        if close == ")":
            self.expect("(")
        parts: list[Node] = []
        while not self._skip(close):
            parts.append(self.ternary())
            if self._next.kind != close:
                self.expect(",")
        return tuple(parts)

    def _check_known(self, name: _Token, known: dict[str, int], given: int) -> None:
        if name.text not in known:
            raise BadExpression(
                f"unknown function {name.text!r}; known: {', '.join(sorted(known))}", name.offset
            )
        if known[name.text] != given:
            raise BadExpression(f"{name.text} takes {known[name.text]} arguments, not {given}", name.offset)

    def _primary(self) -> Node:
        token = self._take()
        match token.kind:
            case "(":
                node = self.ternary()
                self.expect(")")
                return node
            case "[":
                return self._call("list", self._arguments("]"), token.offset)
            case "name":
                return self._named(token)
            case "int" | "float" | "string" | "raw":
                return self._made(Literal(_constant(token), token.offset))
            case _:
                shown = "the end" if token.kind == "end" else repr(token.text)
                raise BadExpression(f"expected a value, found {shown}", token.offset)

    def _named(self, token: _Token) -> Node:
        if token.text in {"true", "false", "null"}:
            value = None if token.text == "null" else token.text == "true"
            return self._made(Literal(value, token.offset))
        if token.text in _RESERVED:
            raise BadExpression(f"{token.text!r} is a reserved word", token.offset)
        if self._next.kind != "(":
            return self._made(Name(token.text, token.offset))
        parts = self._arguments()
        if token.text == "has":
            return self._has(token, parts)
        self._check_known(token, FUNCTIONS, len(parts))
        return self._call(token.text, parts, token.offset)

    def _has(self, token: _Token, parts: tuple[Node, ...]) -> Node:
        if len(parts) != 1 or not isinstance(parts[0], Member):
            raise BadExpression("has() takes one field, such as has(args.amount)", token.offset)
        return self._call("has", parts, token.offset)


def _constant(token: _Token) -> str | int | float:
    match token.kind:
        case "string":
            return _unquote(token)
        case "raw":
            return token.text[2:-1]
        case "float":
            return _finite(token)
        case _:
            digits = token.text
            number = int(digits, 16) if digits[:2].lower() == "0x" else int(digits[:40])
            if number >= INT_LIMIT:
                _too_large(token)
            return number


def _finite(token: _Token) -> float:
    number = float(token.text)
    if number == float("inf"):
        _too_large(token)
    return number


def _too_large(token: _Token) -> NoReturn:
    raise BadExpression(f"{token.text[:40]} is too large a number", token.offset)
