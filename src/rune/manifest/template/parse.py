"""From words to a template; every mistake is told, not the first alone."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import msgspec

from rune.manifest.template.functions import FUNCTIONS
from rune.manifest.template.nodes import (
    Assign,
    Block,
    Call,
    Expression,
    Literal,
    Path,
    Print,
    Statement,
    Template,
    Text,
    Variable,
)
from rune.manifest.template.scan import Action, Token, scan
from rune.positions.spots import Malformed, Problem

DEEPEST = 32
MOST_ACTIONS = 20_000
_BLOCKS = ("if", "with", "range", "define")
_WORDS = (*_BLOCKS, "else", "end", "template", "include")
_CONSTANTS = {"true": True, "false": False, "nil": None}


class Wrong(Exception):
    """A mistake at a place."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset, self.message = offset, message


def parse(text: str, *, name: str) -> Template:
    """The template of a text; raises Malformed with everything that is wrong in it."""
    template = Template.of(name, text)
    parser = _Parser(template)
    for number, part in enumerate(scan(text)):
        if number > MOST_ACTIONS:
            parser.note(part.offset, f"the template has more than {MOST_ACTIONS} parts")
            break
        if isinstance(part, Action):
            parser.action(part)
        else:
            parser.body.append(Text(part.offset, part.text))
    parser.finish()
    if parser.problems:
        raise Malformed(parser.problems)
    return template


class _Parser:
    """Puts statements into the block that is open."""

    def __init__(self, template: Template) -> None:
        self.problems: list[Problem] = []
        self.body: list[Statement] = template.body
        self._template = template
        self._open: list[tuple[Block, list[Statement], bool]] = []
        """Blocks, the list that goes on after each, and whether it belongs to an `else if`."""

    def note(self, offset: int, message: str) -> None:
        self.problems.append(self._template.problem(offset, message))

    def finish(self) -> None:
        """Tell of blocks that are still open, unless something else explains them."""
        if not self.problems:
            for block, _after, is_chained in self._open:
                if not is_chained:
                    self.note(block.offset, f"this {block.word} is not closed: {{{{ end }}}} is missing")

    def action(self, action: Action) -> None:
        """One action."""
        wrong = action.wrong or (None if action.tokens else (action.offset, "there is nothing in the braces"))
        try:
            if not wrong:
                self._statement(action)
        except Wrong as found:
            wrong = found.offset, found.message
        if wrong:
            self.note(*wrong)
            if action.tokens and action.tokens[0].text in _BLOCKS:
                self._enter(Block(action.offset, action.tokens[0].text))

    def _statement(self, action: Action) -> None:
        first, rest = action.tokens[0], action.tokens[1:]
        if first.kind == "word" and first.text in _BLOCKS:
            self._block(action.offset, first.text, rest)
        elif first.kind == "word" and first.text == "else":
            self._else(action, rest)
        elif first.kind == "word" and first.text == "end":
            self._end(action, rest)
        elif first.kind == "word" and first.text == "template":
            words = Words(rest, action.offset)
            self.body.append(Print(action.offset, words.call(Token("word", "include", first.offset))))
        elif first.kind == "variable" and rest and rest[0].text in (":=", "="):
            value = Words(rest[1:], action.offset).whole()
            self.body.append(Assign(action.offset, first.text, value, rest[0].text == ":="))
        else:
            self.body.append(Print(action.offset, Words(action.tokens, action.offset).whole()))

    def _block(self, offset: int, word: str, rest: tuple[Token, ...]) -> None:
        if word == "define":
            if len(rest) != 1 or rest[0].kind not in ("text", "raw"):
                raise Wrong(offset, 'write {{ define "name" }}')
            if self._open:
                raise Wrong(offset, "a define stands outside of other blocks")
            block = Block(offset, word, names=(_text(rest[0]),))
            self._template.defines[block.names[0]] = block
            self._enter(block, is_shown=False)
            return
        names, rest = _names(rest, word)
        self._enter(Block(offset, word, Words(rest, offset).whole(), names))

    def _enter(self, block: Block, *, is_shown: bool = True, is_chained: bool = False) -> None:
        if is_shown:
            self.body.append(block)
        if len(self._open) >= DEEPEST:
            self.note(block.offset, f"blocks stand more than {DEEPEST} deep in each other")
        self._open.append((block, self.body, is_chained))
        self.body = block.body

    def _else(self, action: Action, rest: tuple[Token, ...]) -> None:
        block = self._open[-1][0] if self._open else None
        if block is None or block.word == "define" or self.body is block.otherwise:
            raise Wrong(action.offset, "this else belongs to no if, with or range")
        self.body = block.otherwise
        if rest and rest[0].text in ("if", "with"):
            inner = Block(action.offset, rest[0].text, Words(rest[1:], action.offset).whole())
            self._enter(inner, is_chained=True)
        elif rest:
            raise Wrong(rest[0].offset, "after else stands nothing, or if and a condition")

    def _end(self, action: Action, rest: tuple[Token, ...]) -> None:
        if rest:
            raise Wrong(rest[0].offset, "after end stands nothing")
        if not self._open:
            if not self.problems:
                raise Wrong(action.offset, "this end closes nothing")
            return
        is_chained = True
        while is_chained and self._open:
            _block, self.body, is_chained = self._open.pop()


def _names(tokens: tuple[Token, ...], word: str) -> tuple[tuple[str, ...], tuple[Token, ...]]:
    """The variables before `:=`, and what follows it."""
    at = next((number for number, token in enumerate(tokens) if token.kind == "define"), None)
    if at is None:
        return (), tokens
    names = [token for token in tokens[:at] if token.text != ","]
    most = 2 if word == "range" else 1
    if not 0 < len(names) <= most or any(token.kind != "variable" or token.text == "$" for token in names):
        raise Wrong(tokens[0].offset, f"before := stand at most {most} variables, such as $item")
    return tuple(token.text for token in names), tokens[at + 1 :]


class Words:
    """The words of one action, taken from the left."""

    def __init__(self, tokens: Iterable[Token], offset: int) -> None:
        self._tokens = list(tokens)
        self._at, self._deep = 0, 0
        self._offset = offset

    def whole(self) -> Expression:
        """All words as one expression."""
        found = self._pipe()
        left = self._peek()
        if left:
            raise Wrong(left.offset, f"{left.text!r} does not belong here")
        return found

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> Token:
        token = self._peek()
        if token is None:
            raise Wrong(self._offset, "a value is missing")
        self._at += 1
        return token

    def _pipe(self) -> Expression:
        self._deep += 1
        if self._deep > DEEPEST:
            raise Wrong(self._offset, f"more than {DEEPEST} brackets stand in each other")
        found = self._command()
        while (token := self._peek()) and token.text == "|" and token.kind == "mark":
            self._at += 1
            function = self._next()
            if function.kind != "word":
                raise Wrong(function.offset, "behind | stands a function, such as quote")
            found = self.call(function, piped=(found,))
        self._deep -= 1
        return found

    def _command(self) -> Expression:
        token = self._peek()
        if token and token.kind == "word" and token.text not in _CONSTANTS:
            self._at += 1
            return self.call(token)
        return self._operand()

    def call(self, token: Token, piped: tuple[Expression, ...] = ()) -> Call:
        """A function with its operands."""
        known = FUNCTIONS.get(token.text)
        if known is None:
            raise Wrong(token.offset, f"there is no function {token.text!r}{_near(token.text)}")
        given: list[Expression] = []
        while (following := self._peek()) and following.text not in ("|", ")"):
            given.append(self._operand())
        count = len(given) + len(piped)
        if not known.least <= count <= known.most:
            most = "" if known.most == known.least else " or more" if known.most > 99 else f" to {known.most}"  # noqa: PLR2004 - no function has that many
            raise Wrong(token.offset, f"{token.text} takes {known.least}{most} values, not {count}")
        return Call(token.offset, token.text, (*given, *piped))

    def _operand(self) -> Expression:
        token = self._next()
        found = self._start(token)
        names: list[str] = []
        while (following := self._peek()) and following.kind == "field" and not following.is_apart:
            names.append(following.text[1:])
            self._at += 1
        if not names:
            return found
        if isinstance(found, Path):
            return Path(token.offset, found.base, (*found.names, *names))
        return Path(token.offset, found, tuple(names))

    def _bracket(self, opening: Token) -> Expression:
        found = self._pipe()
        closing = self._peek()
        if not closing or closing.text != ")":
            raise Wrong(opening.offset, "this bracket is not closed")
        self._at += 1
        return found

    def _start(self, token: Token) -> Expression:
        match token.kind, token.text:
            case "field", text:
                return Path(token.offset, Variable(token.offset, "."), (text[1:],))
            case "mark", ".":
                return Variable(token.offset, ".")
            case "mark", "(":
                return self._bracket(token)
            case "variable", text:
                return Variable(token.offset, text)
            case "text" | "raw", _:
                return Literal(token.offset, _text(token))
            case "number", text:
                return Literal(token.offset, float(text) if "." in text else int(text))
            case "word", text if text in _CONSTANTS:
                return Literal(token.offset, _CONSTANTS[text])
            case _:
                raise Wrong(token.offset, _no_value(token))


def _no_value(token: Token) -> str:
    if token.text in FUNCTIONS:
        return f"put the call of {token.text} in brackets"
    if token.kind == "word":
        return f"{token.text!r} is no value{_meant(token.text)}"
    return f"{token.text!r} does not belong here"


def _text(token: Token) -> str:
    if token.kind == "raw":
        return token.text[1:-1]
    try:
        return msgspec.json.decode(token.text.replace("\t", "\\t"), type=str)
    except msgspec.DecodeError as error:
        raise Wrong(
            token.offset, 'this text has an escape that is none: write \\" \\\\ \\n or \\t'
        ) from error


def _near(word: str) -> str:
    near = difflib.get_close_matches(word[:64], [*FUNCTIONS, *_WORDS], n=1)
    return f"; did you mean {near[0]!r}?" if near else _meant(word)


def _meant(word: str) -> str:
    return f"; values are read as .Values.{word}, and text stands in double quotes"
