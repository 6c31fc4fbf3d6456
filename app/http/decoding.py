"""Decodes bytes into typed bodies: strict JSON, every refusal with a JSON pointer. Knows no surface.

msgspec decodes and checks in one pass; the body is read again only if msgspec refuses it, to find the reason. This runs
on the event loop, so its cost is bounded for any body: the number of values is limited, and only small bodies are read
value by value. A larger body is searched as bytes, and the answer gives a byte position instead of a pointer.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidRequestError, MalformedBodyError, UnirankError, invalid

T = TypeVar("T")

MOST_VALUES = 150_000  # of a body; a body of 2 MB within the other limits holds a few tens of thousands
_EXPLAINED_BYTES = 32_768  # bodies up to this size are read value by value to find a fault: 4 ms at worst
_NOT_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))
_ESCAPED_BACKSLASH, _ESCAPED_QUOTE = b"\\\\", b'\\"'  # a backslash and a quote, escaped
_NUL = b"\\u0000"
_LITERALS = (b"NaN", b"Infinity")
_RAW_SURROGATE = re.compile(rb"\xed[\xa0-\xbf]")
_LONE_AT_END = re.compile(rb'\\u[dD][89abAB][0-9a-fA-F]{2}"')  # msgspec reports a body with this end as truncated
_SURROGATE = re.compile("[\ud800-\udfff]")
_AT_BYTE = re.compile(r"\(byte (\d+)\)")
_PATH_PART = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]")
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING_FIELD = re.compile(r"Object missing required field `(.*)`")
_PATH_MARK = " - at `"


def decoder(kind: type[T], default: bytes = b"") -> Callable[[bytes, int], T]:
    """`decode` for bodies of one type; `default` replaces an empty body."""
    return lambda body, max_depth: decode(body or default, kind, max_depth)


def decode(body: bytes, kind: type[T], max_depth: int) -> T:
    """Decode `body` as a `kind`. Raises `MalformedBodyError` or `InvalidRequestError`."""
    if too_many(body):
        raise invalid("", "too_many", f"more than {MOST_VALUES} values")
    if too_deep(body, max_depth):
        raise invalid("", "too_deep", f"nested deeper than {max_depth}")
    try:
        decoded = _decoder(kind).decode(body)
    except msgspec.ValidationError as error:
        fault = _fault_by_value(body) if len(body) <= _EXPLAINED_BYTES else None
        raise fault or _from_message(str(error), body) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        malformed = MalformedBodyError(f"the body is not JSON in UTF-8: {error}")
        raise _text_fault(body, error) or malformed from error
    if _NUL in body and (text_fault := _text_fault(body)):
        raise text_fault
    return decoded


def decode_query(query: bytes, allowed: frozenset[str]) -> dict[str, str]:
    """The parameters of a query string, each at most once. Raises `InvalidRequestError`."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError as error:
        raise invalid("", "malformed_query", "the query string is not percent-encoded UTF-8") from error
    values: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            raise invalid(pointer(name), "unknown_field", f"unknown parameter; known: {', '.join(sorted(allowed))}")
        if name in values:
            raise invalid(pointer(name), "duplicate_field", "given more than once")
        if "\0" in value:
            raise invalid(pointer(name), "nul", "a NUL character")
        values[name] = value
    return values


def convert(values: dict[str, object], kind: type[T]) -> T:
    """Convert values that are not from JSON, under the same contract. Raises `InvalidRequestError`."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise _from_message(str(error)) from error


def too_many(body: bytes) -> bool:
    """Whether a body may hold more than `MOST_VALUES` values. Counts commas, brackets, quotes and escapes, including
    those inside strings."""
    if len(body) <= MOST_VALUES:
        return False
    codes = np.frombuffer(body, np.uint8)
    values = _count(codes == ord(",")) + _count(_opening(body))
    if max(values, _count(codes == ord('"')) // 4) > MOST_VALUES:  # a key and a string value have four quotes
        return True
    escapes = (codes[:-1] == ord("\\")) & ((codes[1:] == ord("\\")) | (codes[1:] == ord('"')))
    return _count(escapes) > MOST_VALUES // 2


def _opening(marks: bytes) -> NDArray[np.bool_]:
    """Which bytes are an opening bracket or brace; the two differ in one bit."""
    opening: NDArray[np.bool_] = (np.frombuffer(marks, np.uint8) | 0x20) == ord("{")
    return opening


def _count(marked: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(marked))


def too_deep(body: bytes, limit: int) -> bool:
    """Whether arrays and objects nest deeper than `limit`; brackets inside strings do not count.

    >>> too_deep(b'{"a": ["[[["]}', 2), too_deep(b'{"a": [[]]}', 2)
    (False, True)
    """
    marks = body.translate(None, _NOT_BRACKETS)
    if _count(_opening(marks)) <= limit:
        return False
    if b"\\" in body:
        marks = body.replace(_ESCAPED_BACKSLASH, b"").replace(_ESCAPED_QUOTE, b"").translate(None, _NOT_BRACKETS)
    codes, opening = np.frombuffer(marks, np.uint8), _opening(marks)
    outside = ~np.cumsum(codes == ord('"'), dtype=np.uint8).view(np.int8) & 1  # an even number of quotes before
    steps = (opening.view(np.int8) - ((codes | 0x20) == ord("}")).view(np.int8)) * outside
    return bool(np.cumsum(steps, dtype=np.int16).max(initial=0) > limit)  # before it overflows, it exceeds the limit


def pointer(*parts: str | int) -> str:
    """A JSON pointer (RFC 6901).

    >>> pointer("a/b", 3)
    '/a~1b/3'
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {}


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """The cached decoder of a type: creating one costs far more than decoding with it."""
    if kind not in _DECODERS:
        _DECODERS[kind] = msgspec.json.Decoder(kind)
    return _DECODERS[kind]


def _from_message(message: str, body: bytes = b"") -> InvalidRequestError:
    """A message of msgspec, ``Expected `str`, got `int` - at `$.context.task` ``, as a fault with a pointer."""
    what, _, where = message.rpartition(_PATH_MARK)
    what, path = (what, where) if what else (message, "$")
    if b"`" in body and _PATH_MARK.encode() in body:  # a key in the body may look like msgspec's path
        return invalid("", _fault_code(what), message)
    parts: list[str | int] = [name or int(index) for name, index in _PATH_PART.findall(path)]
    if unknown := _UNKNOWN_FIELD.fullmatch(what):
        return invalid(pointer(*parts, unknown[1]), "unknown_field", what)
    if missing := _MISSING_FIELD.fullmatch(what):
        return invalid(pointer(*parts, missing[1]), "missing_field", what)
    return invalid(pointer(*parts), _fault_code(what), what)


def _fault_code(what: str) -> str:
    if what.startswith("Number out of range"):
        return "not_finite"
    return "wrong_type" if ", got " in what else "wrong_value"


def _text_fault(body: bytes, error: Exception | None = None) -> UnirankError | None:
    """The first value that JSON parsers may accept but the service refuses: NaN, infinity, lone surrogate, NUL.

    `error`: why msgspec cannot read this body; None = it can, so only NUL is possible.
    """
    if len(body) <= _EXPLAINED_BYTES:
        return _fault_by_value(body)
    code, place = _fault_by_byte(body, error)
    return invalid("", code, f"{_DETAILS[code]}, near byte {place}") if code else None


def _fault_by_value(body: bytes) -> UnirankError | None:
    try:
        document = json.loads(body.decode("utf-8", "surrogatepass"), strict=False)
    except (ValueError, RecursionError):
        return None
    if (fault := _first_fault(document)) is None:
        return None
    code, reversed_path = fault
    return invalid(pointer(*reversed(reversed_path)), code, _DETAILS[code])


def _fault_by_byte(body: bytes, error: Exception | None) -> tuple[str, int]:
    """The code of a fault and its approximate byte position; an empty code = no fault found."""
    if error is None:  # after removing escaped backslashes, each backslash starts an escape
        return "nul" if (place := body.replace(_ESCAPED_BACKSLASH, b"__").find(_NUL)) >= 0 else "", place
    if isinstance(error, UnicodeDecodeError):
        return "lone_surrogate" if _RAW_SURROGATE.match(error.object, error.start) else "", error.start
    place = int(match[1]) if (match := _AT_BYTE.search(str(error))) else len(body)
    if "surrogate" in str(error) or _LONE_AT_END.search(body, max(0, len(body) - 16)):
        return "lone_surrogate", place
    if body.startswith(_LITERALS, place):
        return "not_finite", place
    return "nul" if body.startswith(b"\0", place) else "", place


_DETAILS = {
    "not_finite": "NaN, an infinity, or a number out of range",
    "nul": "text with a nul",
    "lone_surrogate": "text with a lone surrogate",
}


def _first_fault(value: object) -> tuple[str, list[str | int]] | None:
    """The code of the first fault in `value`, and its path, innermost part first. The depth was checked before."""
    if isinstance(value, str):
        return (code, []) if (code := _text_code(value)) else None
    if isinstance(value, float):
        return None if math.isfinite(value) else ("not_finite", [])
    if isinstance(value, dict):
        return _first_child_fault(value.items(), named=True)
    return _first_child_fault(enumerate(value), named=False) if isinstance(value, list) else None


def _first_child_fault(children: Iterable[tuple[Any, object]], named: bool) -> tuple[str, list[str | int]] | None:
    """The first fault in the children of an object or array; `named` = check their names, too."""
    for part, child in children:
        fault = (_first_fault(part) if named else None) or _first_fault(child)
        if fault is not None:
            fault[1].append(part)
            return fault
    return None


def _text_code(text: str) -> str | None:
    if "\0" in text:
        return "nul"
    return None if text.isascii() or _SURROGATE.search(text) is None else "lone_surrogate"
