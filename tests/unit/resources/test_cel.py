"""CEL: what expressions mean, what is refused before they run, and that every evaluation ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plum_flow.cel import (
    DYN,
    Budget,
    CompileError,
    CostError,
    EvaluationError,
    compile_expression,
    type_of,
)

SELF = {
    "n": 3, "f": 1.5, "t": "héllo", "yes": True, "none": None, "list": [1, 2, 3], "texts": ["b", "a"],
    "map": {"a": 1, "b": 2}, "items": [{"name": "x", "size": 1}, {"name": "y", "size": 5}],
}  # fmt: skip


def value_of(expression: str, **values: Any) -> Any:
    values = values or {"self": SELF}
    return compile_expression(expression, dict.fromkeys(values, DYN)).evaluate(values, Budget(100_000))


TRUE = r"""
1 + 2 * 3 == 7
(1 + 2) * 3 == 9
-7 / 2 == -3 && -7 % 2 == -1
7 % -2 == 1
2.0 * 3.0 == 6.0
1u + 2u == 3u
0x1F == 31
1e3 == 1000.0
1 == 1.0 && 1 < 1.5 && 2u > 1
!(true == dyn(1)) && !(dyn('1') == dyn(1))
'a' + 'b' == 'ab'
'it\'s' == "it's"
r'\d' == '\\d' && '\x41' == 'A' && '\u00e9' == 'é' && '\101' == 'A'
b'abc' + b'd' == b'abcd' && bytes('é') == b'\303\251' && string(b'abc') == 'abc'
'''a
b''' == 'a\nb'
true ? true : false
false || true && true
[1, 2] + [3] == [1, 2, 3]
[1, [2]] == [1, [2]] && [1] != [1, 1]
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}
2 in [1, 2] && !(5 in [1, 2]) && 'a' in {'a': 1}
self.n == 3 && self['n'] == 3
has(self.n) && !has(self.missing) && !has(self.none)
self.list[0] == 1 && self.map['a'] == 1 && self.map.b == 2
self.items[1].size == 5
size(self.list) == 3 && self.t.size() == 5 && size(b'abc') == 3 && {}.size() == 0
self.list.all(x, x > 0) && !self.list.all(x, x > 1)
self.list.exists(x, x == 2) && !self.list.exists(x, x == 9)
self.list.exists_one(x, x == 2) && !self.list.exists_one(x, x > 1)
self.list.map(x, x * 2) == [2, 4, 6]
self.list.map(x, x > 1, x * 2) == [4, 6]
self.list.filter(x, x != 2) == [1, 3]
self.map.all(k, k in ['a', 'b']) && self.map.exists(k, self.map[k] == 2)
self.list.all(i, x, x == i + 1) && self.map.all(k, v, v > 0)
self.list.transformList(i, x, x + i) == [1, 3, 5]
self.map.transformMap(k, v, v + 1) == {'a': 2, 'b': 3}
[[1, 2], [3]].all(x, x.all(y, y > 0))
self.list.all(x, self.list.exists(y, y == x))
true || 1 / 0 == 1
1 / 0 == 1 || true
!(false && 1 / 0 == 1) && !(1 / 0 == 1 && false)
[1, 0].exists(x, 1 / x == 1) && ![0, 2].all(x, 1 / x == 1)
int('42') == 42 && int(3.9) == 3 && int(-3.9) == -3 && uint(3) == 3u && double('1.5') == 1.5
string(1) == '1' && string(1.5) == '1.5' && string(true) == 'true' && string(2.0) == '2'
bool('true') && type(1) == int && type('') == string && type(null) == null_type && type([]) == list && type({}) == map
'hello'.contains('ell') && 'hello'.startsWith('he') && 'hello'.endsWith('lo')
'hello'.matches('^h.*o$') && matches('a1', '[a-z][0-9]') && !'x'.matches('^y')
'hello'.charAt(1) == 'e' && 'hello'.charAt(5) == '' && 'hello'.indexOf('l') == 2 && 'hello'.lastIndexOf('l') == 3
'hello'.indexOf('l', 3) == 3 && 'hello'.indexOf('z') == -1
'HeLLo'.lowerAscii() == 'hello' && 'é'.upperAscii() == 'é' && '  a '.trim() == 'a'
'a-b-c'.replace('-', '+') == 'a+b+c' && 'a-b-c'.replace('-', '+', 1) == 'a+b-c'
'a,b'.split(',') == ['a', 'b'] && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'ab'.split('') == ['a', 'b']
'hello'.substring(1) == 'ello' && 'hello'.substring(1, 3) == 'el' && ['a', 'b'].join('-') == 'a-b' && ['a'].join() == 'a'
'%s has %d, %.2f, %x, %%'.format(['a', 3, 1.5, 255]) == 'a has 3, 1.50, ff, %'
'abc123de4'.find('[0-9]+') == '123' && 'abc'.find('[0-9]') == '' && 'a1b22'.findAll('[0-9]+') == ['1', '22']
'a1b2'.findAll('[0-9]', 1) == ['1']
[1, 2, 3].isSorted() && !['b', 'a'].isSorted() && [3, 1].min() == 1 && [3, 1].max() == 3 && [1, 2].sum() == 3
[1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2 && [].sum() == 0
sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && sets.intersects([1], [1, 2]) && !sets.intersects([1], [])
timestamp('2026-01-02T03:04:05Z').getFullYear() == 2026 && timestamp('2026-01-02T03:04:05Z').getMonth() == 0
timestamp('2026-01-02T23:30:00Z').getHours('+01:00') == 0 && timestamp('2026-01-04T00:00:00Z').getDayOfWeek() == 0
timestamp('2026-01-02T00:00:00Z') + duration('24h') == timestamp('2026-01-03T00:00:00Z')
timestamp('2026-01-03T00:00:00Z') - timestamp('2026-01-02T00:00:00Z') == duration('24h')
duration('90m') > duration('1h') && duration('90m').getMinutes() == 90 && duration('1h30m').getHours() == 1
quantity('1.5Gi').isGreaterThan(quantity('1G')) && quantity('500m').add(quantity('500m')).compareTo(quantity('1')) == 0
isQuantity('2Ki') && !isQuantity('2Zi') && quantity('3').asInteger() == 3 && quantity('1k').sub(1).isInteger()
quantity('-1').sign() == -1 && quantity('1500m').asApproximateFloat() == 1.5
isIP('10.0.0.1') && isIP('::1') && !isIP('10.0.0') && ip('127.0.0.1').isLoopback() && ip('::1').family() == 6
ip.isCanonical('::1') && !ip.isCanonical('0::1') && string(ip('10.0.0.1')) == '10.0.0.1' && ip('10.1.1.1').isGlobalUnicast()
cidr('10.0.0.0/8').containsIP('10.1.1.1') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !isCIDR('10.0.0.0')
cidr('10.1.2.3/8').prefixLength() == 8 && string(cidr('10.1.2.3/8').masked()) == '10.0.0.0/8'
url('https://a.b:8080/p/q?x=1').getPort() == '8080' && url('https://a.b:8080/p').getHostname() == 'a.b' && isURL('/a')
url('https://a.b/p?x=1&x=2').getQuery() == {'x': ['1', '2']} && url('http://a/p q').getEscapedPath() == '/p%20q'
!format.dns1123Label().validate('abc').hasValue() && format.dns1123Label().validate('A_').hasValue()
self.?n.orValue(0) == 3 && self.?missing.orValue(7) == 7 && self.?missing.?deeper.orValue('x') == 'x'
self.list[?9].orValue(0) == 0 && self.map[?'a'].value() == 1 && optional.of(1).hasValue() && !optional.none().hasValue()
[?self.?n, ?self.?missing] == [3] && {?'a': self.?missing} == {} && optional.none().or(optional.of(2)).value() == 2
self.?n.optMap(v, v + 1).orValue(0) == 4 && optional.ofNonZeroValue('') == optional.none()
[] == [] && {} == {} && null == null && self.none == null
"""


@pytest.mark.parametrize("expression", [line for line in TRUE.replace("'''a\nb'''", "'''a\\nb'''").strip().split("\n") if line])
def test_what_expressions_mean(expression: str) -> None:
    assert value_of(expression) is True


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("-9223372036854775808 - 1", "integer overflow"),
        ("0u - 1u", "unsigned integer overflow"),
        ("self.missing", "no such key: missing"),
        ("self.list[9]", "index out of bounds: 9"),
        ("self.map['z']", "no such key: z"),
        ("self.n + self.t", "no such overload: _+_(int, string)"),
        ("self.t < self.n", "no such overload"),
        ("int('x')", "is no integer"),
        ("timestamp('x')", "is no time"),
        ("duration('x')", "is no duration"),
        ("quantity('x')", "is no quantity"),
        ("ip('x')", "is no IP address"),
        ("'a'.matches('(')", "no regular expression"),
        ("'a'.matches('(?=a)')", "no regular expression"),
        ("[].min()", "empty list"),
        ("optional.none().value()", "dereference"),
        ("'abc'.substring(2, 1)", "index out of range"),
        ("'%d'.format([])", "more clauses"),
        ("self.n.all(x, true)", "no such overload"),
        ("self.t ? 1 : 2", "no such overload"),
        ("!self.n", "no such overload"),
    ],
)
def test_what_has_no_value_says_why(expression: str, words: str) -> None:
    with pytest.raises(EvaluationError) as error:
        value_of(expression)
    assert words in str(error.value)


SCHEMA = {
    "type": "object",
    "properties": {
        "min": {"type": "integer"},
        "ratio": {"type": "number"},
        "names": {"type": "array", "items": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "until": {"type": "string", "format": "date-time"},
        "every": {"type": "string", "format": "duration"},
        "data": {"type": "string", "format": "byte"},
        "port": {"x-kubernetes-int-or-string": True},
        "in": {"type": "string"},
        "a-b.c/d": {"type": "string"},
        "x__y": {"type": "string"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "times": {"type": "array", "items": {"type": "string", "format": "date-time"}},
    },
}
DATA = {
    "min": 1, "ratio": 2, "names": ["a"], "labels": {"k": "v"}, "until": "2026-01-02T00:00:00Z", "every": "1h", "data": "YWJj",
    "port": "http", "in": "x", "a-b.c/d": "y", "x__y": "z", "set": ["a", "b"], "times": ["2026-01-02T00:00:00Z"],
}  # fmt: skip


def typed(expression: str) -> Any:
    return compile_expression(expression, {"self": type_of(SCHEMA)}).evaluate({"self": DATA}, Budget(100_000))


@pytest.mark.parametrize(
    "expression",
    [
        "self.ratio / 4.0 == 0.5",
        "self.until < timestamp('2027-01-01T00:00:00Z') && self.every == duration('60m')",
        "self.data == b'abc'",
        "self.port == 'http' && type(self.port) == string",
        "self.__in__ == 'x' && self.a__dash__b__dot__c__slash__d == 'y' && self.x__underscores__y == 'z'",
        "self.set == ['b', 'a'] && (self.set + ['b', 'c']).size() == 3",
        "self.times.all(t, t.getFullYear() == 2026)",
        "self.labels.all(k, self.labels[k].size() < 5) && 'k' in self.labels",
        "self.names.map(n, n + '!').join(',') == 'a!'",
    ],
)
def test_values_of_a_schema_have_its_types(expression: str) -> None:
    assert typed(expression) is True


@pytest.mark.parametrize(
    ("expression", "words", "position"),
    [
        ("self.zz > 1", "undefined field 'zz'", 5),
        ("self.min + 'a'", "found no matching overload for '_+_' applied to '(int, string)'", 9),
        ("self.min == 'a'", "found no matching overload for '_==_' applied to '(int, string)'", 9),
        ("self.min.startsWith('a')", "found no matching overload for 'startsWith' applied to '(int, string)'", 9),
        ("self.names.all(n, n > 1)", "found no matching overload for '_>_' applied to '(string, int)'", 20),
        ("self.min.all(x, true)", "cannot be range of a comprehension", 9),
        ("self.names.all(1, true)", "must be a simple name", 15),
        ("other", "undeclared reference to 'other'", 0),
        ("nonsense(1)", "undeclared reference to 'nonsense'", 0),
        ("self.names.x", "does not support field selection", 11),
        ("has(self)", "invalid argument to has() macro", 0),
        ("1 +", "unexpected the end", 3),
        ("(1", "expected ')'", 2),
        ("'a", "a string is not closed", 0),
        ("a ? b", "expected ':'", 5),
        ("1 2", "unexpected 2", 2),
        ("for", "'for' is no name", 0),
        ("9223372036854775808", "does not fit into 64 bits", 0),
        ("#", "unexpected character '#'", 0),
        ("'\\q'", "is no escape", 1),
        ("(" * 100 + "1" + ")" * 100, "levels deep", 60),
        ("!" * 200 + "true", "levels deep", None),
        ("1" + "+1" * 1000, "in a row", None),
        ("self" + ".labels" * 1000, "in a row", None),
        ("1" * 20_000, "characters", 0),
    ],
)
def test_what_can_never_run_is_refused_with_its_place(expression: str, words: str, position: int | None) -> None:
    with pytest.raises(CompileError) as error:
        compile_expression(expression, {"self": type_of(SCHEMA)})
    assert words in str(error.value)
    assert position is None or error.value.position == position


@pytest.mark.parametrize(
    "expression",
    [
        "self.all(a, self.all(b, self.all(c, self.all(d, a + b + c + d >= 0))))",
        "self.map(a, self.map(b, self.map(c, 'xxxxxxxxxx')))",
        "self.map(a, self).map(b, b.map(c, self)).size() > 0",
        "self.exists(a, self.exists(b, self.exists(c, self == self && false)))",
        "self.all(x, string(self.map(y, string(y)).join('-').replace('1', '1111111111')).size() > x)",
        "self.all(x, self.map(y, string(y)).join('x').matches('(0|1|2|3|4|5)*(x+x+)+y') || true)",
        "self.all(a, sets.contains(self, self) && sets.equivalent(self, self))",
    ],
)
def test_expensive_expressions_end_with_an_error_after_bounded_work(expression: str) -> None:
    budget = Budget(100_000)
    values = {"self": list(range(400))}
    program = compile_expression(expression, {"self": DYN})

    with pytest.raises(EvaluationError):
        program.evaluate(values, budget)
    assert budget.left < 0 or "string" in expression


def test_texts_do_not_grow_without_bound() -> None:
    doubled = "self" + ".map(x, x + x)" * 40
    with pytest.raises(EvaluationError):
        compile_expression(doubled + ".size() > 0", {"self": DYN}).evaluate({"self": ["x" * 1000]}, Budget(10**9))


NAMES = st.sampled_from(["self", "x", "y", "self.n", "self.list", "self.t", "self.map", "self.items", "self.missing"])
ATOMS = st.one_of(
    NAMES,
    st.integers(-5, 10**19).map(str),
    st.sampled_from(["true", "false", "null", "'a'", "''", "1.5", "2u", "b'x'", "[]", "{}", "duration('1h')"]),
)
OPERATORS = st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", "<=", "&&", "||", "in"])
METHODS = st.sampled_from(["size", "trim", "min", "sum", "hasValue", "isSorted", "getHours", "lowerAscii", "join", "value"])
MACROS = st.sampled_from(["all", "exists", "exists_one", "map", "filter"])


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, OPERATORS, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("{}.{}()".format, inner, METHODS),
        st.builds("{}.{}({}, {})".format, inner, MACROS, st.sampled_from("xy"), inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{}.?field.orValue({})".format, inner, inner),
        st.builds("string({})".format, inner),
        st.builds("{}.matches({})".format, inner, inner),
    )


@settings(max_examples=400)
@given(st.recursive(ATOMS, larger, max_leaves=25))
def test_any_expression_over_any_value_ends_with_a_value_or_a_declared_error(expression: str) -> None:
    budget = Budget(20_000)
    try:
        program = compile_expression(expression, {"self": DYN})
        program.evaluate({"self": SELF}, budget)
    except (CompileError, EvaluationError):
        pass


@settings(max_examples=300)
@given(st.text(alphabet="self.x()[]{}?:&|=!<>+-*/%'\"\\0123456789abu \n,in", max_size=60))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        compile_expression(text, {"self": DYN})
    except CompileError:
        pass


def test_a_budget_is_shared_by_everything_that_spends_it() -> None:
    program = compile_expression("self.list.all(x, x > 0)", {"self": DYN})
    budget = Budget(60)
    program.evaluate({"self": SELF}, budget)
    spent = 60 - budget.left

    assert spent >= len(SELF["list"])  # type: ignore[arg-type]
    with pytest.raises(CostError):
        for _ in range(60):
            program.evaluate({"self": SELF}, budget)


def test_durations_of_the_schema_are_durations() -> None:
    assert typed("self.every") == timedelta(hours=1)
