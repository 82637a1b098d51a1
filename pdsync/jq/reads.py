"""What of a record jq expressions read, told from their texts: maybe more than they read, never less.

The text is read once, from left to right, and what each part gives is followed as the set of the record's values that
it may hand on: `.a.b` hands on one, `.a // .b` two, `"x"` none.  A value that is only stepped through (`.a` in `.a.b`)
is not read, one that anything else is done with is read as a whole.  What this does not understand (`label`, a function
with parameters or one that calls itself) reads the whole record; so does anything that jq would refuse.

Only what decides about reading is told apart: every operator but `|`, `,` and `//` reads its operands as a whole, so
that their precedence does not matter; every function but a few reads its input and its arguments as a whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Wanted:
    """What is read of one value: all of it (`whole`), or some members, should it be an object."""

    __slots__ = ("members", "whole")

    def __init__(self) -> None:
        self.members: dict[str, Wanted] = {}
        self.whole = False

    def member(self, name: str) -> Wanted:
        """What is read of a member."""
        return self.members.setdefault(name, Wanted())


def wanted_by(texts: Iterable[str]) -> Wanted:
    """What these expressions together read of the record that they are given."""
    record = Wanted()
    for text in texts:
        try:
            _Walk(text, record).through()
        except (_Unclear, RecursionError):
            record.whole = True
    return record


class _Unclear(Exception):
    """The text is not understood."""


_Values = frozenset[Wanted]
"""The record's values that a part may hand on."""

_NOTHING: _Values = frozenset()

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\\\r\n]*(?:\n|\Z))*")
"""Comments as well, but those in which jq's versions do not agree about where they end."""

_TOKEN = re.compile(
    r"""(?P<field>\.[A-Za-z_]\w*)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<variable>\$[A-Za-z_]\w*)
      | (?P<format>@[A-Za-z0-9_]+)
      | (?P<operator>\?//=? | //=? | [=!<>|+*/%-]= | \.\. | [][(){}.?;:,|=<>+*/%"-])
    """,
    re.ASCII | re.VERBOSE,
)
_STRING_PART = re.compile(r'[^"\\]*(?:\\[^(][^"\\]*)*', re.DOTALL)
_CONSTANT_STEP = re.compile(r'\[[ \t\r\n]*"([^"\\]*)"[ \t\r\n]*\]')
_PLAIN_STRING = re.compile(r'"([^"\\]*)"')
_CONSTANT_NAMES = {
    "has": re.compile(r'\([ \t\r\n]*"[^"\\]*"[ \t\r\n]*\)'),
    "getpath": re.compile(
        r'\([ \t\r\n]*\[[ \t\r\n]*"[^"\\]*"(?:[ \t\r\n]*,[ \t\r\n]*"[^"\\]*")*[ \t\r\n]*\][ \t\r\n]*\)'
    ),
}
"""What stands behind a function that looks at one member of its input, or at a path of them."""

_ASSIGNING = frozenset(["=", "|=", "+=", "-=", "*=", "/=", "%=", "//="])
"""Operators that hand on all they were given, changed."""

_READING = _ASSIGNING | {*"+-*/%<>", "==", "!=", "<=", ">=", "and", "or"}
"""Operators that read their operands."""

_HANDING_ON = frozenset([",", "//"])
"""Operators that hand on their operands."""

_KEYWORDS = frozenset(
    {"def", "label", "import", "include", "module", "__loc__", "as", "and", "or", "if", "then", "elif", "else", "end"}
    | {"reduce", "foreach", "try", "catch"}
)

_CONSTANTS = frozenset(["empty", "null", "true", "false"])
_GIVING_THE_LAST = frozenset(["first", "last", "limit"])
"""Functions that hand on what their last argument gives."""

_PASSING = _GIVING_THE_LAST | {"select", "error", "isempty", "range"}
"""Functions that do nothing with their input but give it to their arguments; `select` hands it on."""

_TESTING = frozenset(["any", "all"])
"""Functions that give what their first argument gives to their second, if there are two."""

_OF_A_PATTERN = {"[": 1, "{": 1, "]": -1, "}": -1, ",": 0, ":": 0}
"""The signs in a pattern, and how much deeper they lead."""

_MANY = 100
"""So many calls are followed: functions that call each other twice would make ever more."""


class _Function(NamedTuple):
    """A function without parameters: where its body begins, and what is known there."""

    at: int
    kind: str
    sign: str
    start: int
    variables: dict[str, _Values]
    functions: dict[str, _Function | None]


class _Walk:
    """The way through one text."""

    def __init__(self, text: str, record: Wanted) -> None:
        self._text = text
        self._at = 0
        self._record = record
        self._variables: dict[str, _Values] = {}
        self._functions: dict[str, _Function | None] = {}
        self._followed = 0
        self._in_function = False
        self._kind = self._sign = ""
        self._start = 0
        self._next()

    def through(self) -> None:
        """Mark what the expression reads."""
        _read(self._pipe(frozenset({self._record})))
        if self._kind != "end":
            raise _Unclear

    # --- tokens

    def _next(self) -> None:
        """Go on to the next token."""
        self._start = _space_end(self._text, self._at)
        found = _TOKEN.match(self._text, self._start)
        if found:
            self._kind, self._sign, self._at = str(found.lastgroup), found[0], found.end()
        elif self._start == len(self._text):
            self._kind = self._sign = "end"
        else:
            raise _Unclear

    def _accept(self, token: str) -> bool:
        """Go on if this is the next token, which is never the text of a string."""
        if self._sign != token or self._kind == "end":
            return False
        self._next()
        return True

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise _Unclear

    def _taken(self, kind: str) -> str:
        """The next token, which must be of this kind."""
        if self._kind != kind:
            raise _Unclear
        sign = self._sign
        self._next()
        return sign

    # --- grammar; each takes what `.` stands for and gives what is handed on

    def _pipe(self, given: _Values) -> _Values:
        found = given
        while True:
            found = self._defining(found) if self._accept("def") else self._sequence(found)
            if not self._accept("|"):
                return found

    def _defining(self, given: _Values) -> _Values:
        """`def NAME: BODY;` and the rest of the pipe; the body is gone through to find its end, and at each call."""
        outside, name = self._functions, self._taken("word")
        self._expect(":")
        self._functions = {**outside, name: None}
        function = _Function(self._at, self._kind, self._sign, self._start, self._variables, self._functions)
        self._count()
        self._pipe(_NOTHING)
        self._expect(";")
        self._functions = {**outside, name: function}
        found = self._pipe(given)
        self._functions = outside
        return found

    def _called(self, function: _Function | None, given: _Values) -> _Values:
        """What a function hands on of its input; None is one that calls itself."""
        if function is None:
            raise _Unclear
        self._count()
        here = _Function(self._at, self._kind, self._sign, self._start, self._variables, self._functions)
        self._go(function)
        found = self._pipe(given)
        self._go(here)
        return found

    def _go(self, place: _Function) -> None:
        self._at, self._kind, self._sign, self._start, self._variables, self._functions = place

    def _count(self) -> None:
        self._followed += 1
        if self._followed > _MANY:
            raise _Unclear

    def _sequence(self, given: _Values) -> _Values:
        """Terms with operators between them."""
        reads = self._accept("-")
        found = self._term(given)
        while self._sign in _HANDING_ON or self._sign in _READING:
            reads |= self._sign in _READING
            if self._sign in _ASSIGNING:
                _read(given.union(*self._variables.values()))
            self._next()
            reads |= self._accept("-")
            found |= self._term(given)
        return _read(found) if reads else found

    def _term(self, given: _Values) -> _Values:
        """A term with what is behind it; `TERM as $x | BODY` goes to the end of the pipe."""
        if self._accept("try"):
            return self._try(given)
        found = self._steps(self._head(given), given)
        if not self._accept("as"):
            return found
        names = self._names(found)
        self._expect("|")
        return self._bound(names, lambda: self._pipe(given))

    def _bound(self, names: dict[str, _Values], body: Callable[[], _Values]) -> _Values:
        """What a body gives in which variables stand for values."""
        outside = self._variables
        self._variables = {**outside, **names}
        found = body()
        self._variables = outside
        return found

    def _names(self, value: _Values) -> dict[str, _Values]:
        """The variables behind `as`: `$x`, or those of a pattern as `[$x, {name: $y}]`, which reads the value."""
        if self._kind == "variable":
            return {self._taken("variable"): value}
        _read(value)
        names: dict[str, _Values] = {}
        depth = 0
        while depth or not names:
            if self._kind == "variable":
                names[self._sign] = _NOTHING
            elif self._kind != "word" and self._sign not in _OF_A_PATTERN:
                raise _Unclear
            depth += _OF_A_PATTERN.get(self._sign, 0)
            self._next()
        return names

    def _try(self, given: _Values) -> _Values:
        found = self._steps(self._head(given), given)
        # An error says nothing of what was not read as a whole.
        return found | self._steps(self._head(_NOTHING), _NOTHING) if self._accept("catch") else found

    def _steps(self, found: _Values, given: _Values) -> _Values:
        while True:
            if self._kind == "field":
                found = _member(found, self._taken("field")[1:])
            elif self._sign == "[":
                found = self._brackets(found, given)
            elif self._sign == ".":
                found = self._dotted(found, given)
            elif not self._accept("?"):
                return found

    def _dotted(self, found: _Values, given: _Values) -> _Values:
        """`."name"` and `.[...]`, with the dot."""
        self._next()
        if self._sign == '"':
            return self._member_by_text(found)
        if self._sign == "[":
            return self._brackets(found, given)
        raise _Unclear

    def _brackets(self, found: _Values, given: _Values) -> _Values:
        """A step in brackets: by a name, or any other one, which reads the value as a whole."""
        constant = _CONSTANT_STEP.match(self._text, self._start)
        if constant:
            self._at = constant.end()
            self._next()
            return _member(found, constant[1])
        _read(found)
        self._expect("[")
        if self._sign not in ("]", ":"):
            _read(self._pipe(given))
        if self._accept(":") and self._sign != "]":
            _read(self._pipe(given))
        self._expect("]")
        return _NOTHING

    def _member_by_text(self, found: _Values) -> _Values:
        constant = _PLAIN_STRING.match(self._text, self._start)
        if not constant:
            raise _Unclear
        self._at = constant.end()
        self._next()
        return _member(found, constant[1])

    def _head(self, given: _Values) -> _Values:
        """The first part of a term."""
        if self._kind == "field":
            return _member(given, self._taken("field")[1:])
        if self._kind == "variable":
            return self._value_of(self._taken("variable"))
        if self._kind == "number":
            self._next()
            return _NOTHING
        if self._kind == "format":
            return self._format(given)
        if self._kind == "word":
            return self._word(given)
        return self._enclosed(given)

    def _value_of(self, variable: str) -> _Values:
        if variable not in self._variables:
            raise _Unclear
        found = self._variables[variable]
        # `path($x.a)` says in its error message what $x is, not only what $x.a is.
        return _read(found) if self._in_function else found

    def _format(self, given: _Values) -> _Values:
        self._next()
        return self._string(given) if self._sign == '"' else _read(given)

    def _enclosed(self, given: _Values) -> _Values:
        sign = self._sign
        if sign == '"':
            return self._string(given)
        if sign == ".":
            return self._dot(given)
        if sign == "{":
            return self._object(given)
        if sign == "..":
            self._next()
            return _read(given)
        if sign == "(":
            self._next()
            found = self._pipe(given)
            self._expect(")")
            return found
        self._expect("[")
        if self._sign != "]":
            _read(self._pipe(given))
        self._expect("]")
        return _NOTHING

    def _dot(self, given: _Values) -> _Values:
        """The dot that begins a term."""
        self._next()
        if self._sign == '"':
            return self._member_by_text(given)
        return given

    def _string(self, given: _Values) -> _Values:
        """A string, from its first quotation mark to its last; what is put into it is read."""
        position = self._start + 1
        while True:
            found = _STRING_PART.match(self._text, position)
            position = found.end() if found else position
            if self._text.startswith("\\(", position):
                self._at = position + 2
                self._next()
                _read(self._pipe(given))
                if self._sign != ")":
                    raise _Unclear
                position = self._start + 1
            elif self._text.startswith('"', position):
                self._at = position + 1
                self._next()
                return _NOTHING
            else:
                raise _Unclear

    def _object(self, given: _Values) -> _Values:
        self._expect("{")
        while self._sign != "}":
            self._entry(given)
            if not self._accept(",") and self._sign != "}":
                raise _Unclear
        self._expect("}")
        return _NOTHING

    def _entry(self, given: _Values) -> None:
        """One entry of an object: `name`, `$name`, or a key with its value."""
        if self._kind == "variable":
            _read(self._value_of(self._taken("variable")))
            return
        name = ""
        if self._kind == "word":
            name = self._taken("word")
        elif self._sign == '"':
            self._string(given)
        else:
            self._expect("(")
            _read(self._pipe(given))
            self._expect(")")
        short = _member(given, name) if name and self._sign != ":" else given
        _read(self._entry_value(given) if self._accept(":") else short)

    def _entry_value(self, given: _Values) -> _Values:
        found = given
        while True:
            reads = self._accept("-")
            found = self._steps(self._head(found), found)
            found = _read(found) if reads else found
            if not self._accept("|"):
                return found

    def _word(self, given: _Values) -> _Values:
        word = self._taken("word")
        if word == "if":
            return self._if(given)
        if word in ("reduce", "foreach"):
            return self._loop(given)
        if word in _KEYWORDS:
            raise _Unclear
        return self._call(word, given)

    def _if(self, given: _Values) -> _Values:
        _read(self._pipe(given))
        self._expect("then")
        found = self._pipe(given)
        if self._accept("elif"):
            return found | self._if(given)
        found |= self._pipe(given) if self._accept("else") else given
        self._expect("end")
        return found

    def _loop(self, given: _Values) -> _Values:
        """`reduce TERM as $x (START; STEP)` and `foreach`, whose result is read."""
        over = self._steps(self._head(given), given)
        self._expect("as")
        names = self._names(over)
        self._expect("(")

        def body() -> _Values:
            _read(self._pipe(given))
            while self._accept(";"):
                _read(self._pipe(_NOTHING))
            return _NOTHING

        self._bound(names, body)
        self._expect(")")
        return _NOTHING

    def _call(self, name: str, given: _Values) -> _Values:
        """A function; those that are not in a table may do anything with their input."""
        if self._sign != "(":
            return self._without_arguments(name, given)
        if name in _TESTING:
            return self._test(given)
        if name in _CONSTANT_NAMES and (constant := _CONSTANT_NAMES[name].match(self._text, self._start)):
            self._at = constant.end()
            self._next()
            found = _through(given, _PLAIN_STRING.findall(constant[0]))
            return _read(found) if name == "has" else found
        if name not in _PASSING:
            outside, self._in_function = self._in_function, True
            for argument in self._arguments(_read(given)):
                _read(argument)
            self._in_function = outside
            return _NOTHING
        arguments = self._arguments(given)
        handed_on = given if name == "select" else arguments.pop() if name in _GIVING_THE_LAST else _NOTHING
        for argument in arguments:
            _read(argument)
        return handed_on

    def _without_arguments(self, name: str, given: _Values) -> _Values:
        if name in self._functions:
            return self._called(self._functions[name], given)
        return _NOTHING if name in _CONSTANTS else _read(given)

    def _test(self, given: _Values) -> _Values:
        """`any(GENERATOR; CONDITION)`, or `any(CONDITION)` about the values in its input."""
        self._expect("(")
        found = self._pipe(given)
        if self._accept(";"):
            found = self._pipe(found)
        else:
            _read(given)
        self._expect(")")
        return _read(found)

    def _arguments(self, given: _Values) -> list[_Values]:
        self._expect("(")
        found = [self._pipe(given)]
        while self._accept(";"):
            found.append(self._pipe(given))
        self._expect(")")
        return found


def _space_end(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _member(values: _Values, name: str) -> _Values:
    return frozenset(value.member(name) for value in values)


def _through(values: _Values, names: Iterable[str]) -> _Values:
    for name in names:
        values = _member(values, name)
    return values


def _read(values: _Values) -> _Values:
    """The values are read; what comes of that is not theirs any more."""
    for value in values:
        value.whole = True
    return _NOTHING
