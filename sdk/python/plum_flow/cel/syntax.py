"""CEL's syntax: text to a tree.

    "self.items.all(i, i.size > 0)"  --parse-->  Call("all", Select(...), [Ident("i"), Call(">", ...)])

The grammar is that of the language definition (github.com/google/cel-spec, doc/langdef.md) with optional fields
(`a.?b`, `a[?b]`). Operators become calls of functions with the operator as their name. Macros are calls here.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from plum_flow.cel.errors import CompileError

MAX_LENGTH = 16_384
"""Characters of one expression."""
MAX_DEPTH = 60
"""Levels of nesting."""
MAX_CHAIN = 150
"""Operators, fields or methods in one chain: `a + b + c`, `a.b.c`."""


class Literal(NamedTuple):
    value: Any
    position: int


class Unsigned(int):
    """A value of CEL's type uint."""


class Ident(NamedTuple):
    name: str
    position: int


class Select(NamedTuple):
    operand: Any
    field: str
    position: int
    optional: bool = False


class Index(NamedTuple):
    operand: Any
    index: Any
    position: int
    optional: bool = False


class Call(NamedTuple):
    function: str
    target: Any
    """None for a function, the receiver for a method."""
    arguments: list[Any]
    position: int


class ListOf(NamedTuple):
    items: list[tuple[Any, bool]]
    """Each with whether it is optional."""
    position: int


class MapOf(NamedTuple):
    entries: list[tuple[Any, Any, bool]]
    position: int


_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
    |(?P<int>0[xX][0-9a-fA-F]+|\d+)(?P<unsigned>[uU])?
    |(?P<prefix>[rRbB]{0,2})(?P<quote>\"\"\"|'''|"|')
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |`(?P<escaped>[^`\n]+)`
    |(?P<operator>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}])""",
    re.VERBOSE,
)
_RESERVED = frozenset({
    "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace",
    "return", "var", "void", "while",
})  # fmt: skip
_RELATIONS = frozenset({"==", "!=", "<", "<=", ">", ">=", "in"})
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "?": "?", '"': '"', "'": "'", "`": "`",
}  # fmt: skip


class _Token(NamedTuple):
    kind: str
    """int, uint, float, string, bytes, name, operator, end"""
    value: Any
    position: int


def parse(text: str, names: Collection[str] = ()) -> Any:
    """The tree of an expression. `names` are variables, which may be words that CEL reserves. Raises `CompileError`."""
    if len(text) > MAX_LENGTH:
        raise CompileError(f"an expression may have {MAX_LENGTH} characters, this one has {len(text)}")
    return _Parser(_tokens(text), names).parse()


def _tokens(text: str) -> list[_Token]:
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise CompileError(f"unexpected character {text[at]!r}", at)
        if match["quote"]:
            value, end = _string(text, match.end(), match["quote"], match["prefix"].lower(), at)
            tokens.append(_Token("bytes" if "b" in match["prefix"].lower() else "string", value, at))
            at = end
            continue
        if match["int"]:
            base = 16 if match["int"][:2] in ("0x", "0X") else 10
            tokens.append(_Token("uint" if match["unsigned"] else "int", int(match["int"], base), at))
        elif match["float"]:
            tokens.append(_Token("float", float(match["float"]), at))
        elif match["name"]:
            tokens.append(_Token("name", match["name"], at))
        elif match["escaped"]:
            tokens.append(_Token("escaped", match["escaped"], at))
        elif match["operator"]:
            tokens.append(_Token("operator", match["operator"], at))
        at = match.end()
    tokens.append(_Token("end", "", len(text)))
    return tokens


def _string(text: str, at: int, quote: str, prefix: str, start: int) -> tuple[Any, int]:
    raw, binary = "r" in prefix, "b" in prefix
    out: list[str] = []
    while not text.startswith(quote, at):
        if at >= len(text) or (len(quote) == 1 and text[at] == "\n"):
            raise CompileError("a string is not closed", start)
        if text[at] == "\\" and not raw:
            piece, at = _escape(text, at + 1, binary)
            out.append(piece)
        else:
            piece = text[at]
            out.append(piece.encode().decode("latin-1") if binary else piece)
            at += 1
    value = "".join(out)
    return (value.encode("latin-1") if binary else value), at + len(quote)


def _escape(text: str, at: int, binary: bool) -> tuple[str, int]:
    letter = text[at] if at < len(text) else ""
    if letter in _ESCAPES and letter:
        return _ESCAPES[letter], at + 1
    width = {"x": 2, "X": 2, "u": 4, "U": 8}.get(letter, 0)
    digits = text[at + 1 : at + 1 + width] if width else text[at : at + 3]
    try:
        code = int(digits, 16 if width else 8)
        if len(digits) != (width or 3) or (binary and code > 255) or (binary and width > 2):
            raise ValueError
        return chr(code), at + (1 + width if width else 3)
    except (ValueError, OverflowError):
        raise CompileError(f"\\{letter} is no escape of a string", at - 1) from None


class _Parser:
    def __init__(self, tokens: list[_Token], names: Collection[str]) -> None:
        self._tokens = tokens
        self._reserved = _RESERVED.difference(names)
        self._at = 0
        self._depth = 0

    def parse(self) -> Any:
        tree = self._expression()
        token = self._peek()
        if token.kind != "end":
            raise CompileError(f"unexpected {token.value!r}", token.position)
        return tree

    # ---- tokens

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _accept(self, operator: str) -> _Token | None:
        token = self._tokens[self._at]
        if token.kind == "operator" and token.value == operator:
            self._at += 1
            return token
        return None

    def _expect(self, operator: str) -> _Token:
        token = self._accept(operator)
        if token is None:
            found = self._peek()
            shown = "the end" if found.kind == "end" else repr(found.value)
            raise CompileError(f"expected {operator!r}, found {shown}", found.position)
        return token

    # ---- grammar, loosest first

    def _expression(self) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise CompileError(f"nested more than {MAX_DEPTH} levels deep", self._peek().position)
        condition = self._binary(0)
        question = self._accept("?")
        if question is not None:
            yes = self._binary(0)
            self._expect(":")
            condition = Call("?:", None, [condition, yes, self._expression()], question.position)
        self._depth -= 1
        return condition

    def _binary(self, level: int) -> Any:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        operators = _LEVELS[level]
        for _ in range(MAX_CHAIN):
            token = self._peek()
            if token.value not in operators or token.kind not in ("operator", "name"):
                return left
            self._at += 1
            left = Call(token.value, None, [left, self._binary(level + 1)], token.position)
        raise CompileError(f"more than {MAX_CHAIN} operators in a row", self._peek().position)

    def _unary(self) -> Any:
        token = self._peek()
        if token.kind == "operator" and token.value in ("!", "-"):
            self._at += 1
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise CompileError(f"nested more than {MAX_DEPTH} levels deep", token.position)
            following = self._peek()
            if token.value == "-" and following.kind in ("int", "float"):
                self._at += 1
                self._depth -= 1
                return self._members(self._number(following, -following.value))
            operand = self._unary()
            self._depth -= 1
            return Call("!" if token.value == "!" else "negate", None, [operand], token.position)
        return self._members(self._primary())

    def _number(self, token: _Token, value: Any) -> Literal:
        if token.kind == "int" and not -(2**63) <= value < 2**63:
            raise CompileError(f"{value} does not fit into 64 bits", token.position)
        if token.kind == "uint" and value >= 2**64:
            raise CompileError(f"{value}u does not fit into 64 bits", token.position)
        return Literal(Unsigned(value) if token.kind == "uint" else value, token.position)

    def _members(self, left: Any) -> Any:
        for _ in range(MAX_CHAIN):
            dot = self._accept(".")
            if dot is not None:
                optional = self._accept("?") is not None
                token = self._next()
                if token.kind not in ("name", "escaped"):
                    raise CompileError("expected the name of a field or method", token.position)
                if not optional and token.kind == "name" and self._accept("("):
                    left = Call(token.value, left, self._arguments(), token.position)
                else:
                    left = Select(left, token.value, token.position, optional)
                continue
            bracket = self._accept("[")
            if bracket is None:
                return left
            optional = self._accept("?") is not None
            index = self._expression()
            self._expect("]")
            left = Index(left, index, bracket.position, optional)
        raise CompileError(f"more than {MAX_CHAIN} fields or methods in a row", self._peek().position)

    def _arguments(self) -> list[Any]:
        arguments: list[Any] = []
        while self._accept(")") is None:
            if arguments:
                self._expect(",")
            arguments.append(self._expression())
        return arguments

    def _primary(self) -> Any:
        token = self._next()
        if token.kind in ("int", "uint", "float"):
            return self._number(token, token.value)
        if token.kind in ("string", "bytes"):
            return Literal(token.value, token.position)
        if token.kind == "name":
            return self._named(token)
        if token.kind == "operator":
            if token.value == "(":
                inner = self._expression()
                self._expect(")")
                return inner
            if token.value == "[":
                return self._list(token.position)
            if token.value == "{":
                return self._map(token.position)
            if token.value == ".":
                return self._named(self._next())
        shown = "the end" if token.kind == "end" else repr(token.value)
        raise CompileError(f"unexpected {shown}", token.position)

    def _named(self, token: _Token) -> Any:
        name = token.value
        if token.kind != "name" or name in self._reserved or name == "in":
            raise CompileError(f"{name!r} is no name that can stand here", token.position)
        if name in _CONSTANTS:
            return Literal(_CONSTANTS[name], token.position)
        if self._accept("("):
            return Call(name, None, self._arguments(), token.position)
        return Ident(name, token.position)

    def _list(self, position: int) -> ListOf:
        items: list[tuple[Any, bool]] = []
        while self._accept("]") is None:
            if items:
                self._expect(",")
                if self._accept("]"):
                    break
            optional = self._accept("?") is not None
            items.append((self._expression(), optional))
        return ListOf(items, position)

    def _map(self, position: int) -> MapOf:
        entries: list[tuple[Any, Any, bool]] = []
        while self._accept("}") is None:
            if entries:
                self._expect(",")
                if self._accept("}"):
                    break
            optional = self._accept("?") is not None
            key = self._expression()
            self._expect(":")
            entries.append((key, self._expression(), optional))
        return MapOf(entries, position)


_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "null": None}
_LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"||"}),
    frozenset({"&&"}),
    _RELATIONS,
    frozenset({"+", "-"}),
    frozenset({"*", "/", "%"}),
)
