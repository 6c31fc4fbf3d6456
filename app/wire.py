"""Bytes to typed bodies: JSON decoded strictly, every refusal with a JSON pointer. Knows no surface.

msgspec decodes and checks in one pass; only where it refuses is the body read again, slowly, to say why.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from app.errors import InvalidRequestError, MalformedBodyError, UnirankError, invalid

T = TypeVar("T")

_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # possessive: linear on hostile bytes
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_NUL = b"\\u0000"
_SEGMENT = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]")
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING_FIELD = re.compile(r"Object missing required field `(.*)`")


def decode(body: bytes, kind: type[T], max_depth: int) -> T:
    """`body` as a `kind`. Raises `MalformedBodyError` or `InvalidRequestError`."""
    if too_deep(body, max_depth):
        raise invalid("", "too_deep", f"nested deeper than {max_depth}")
    try:
        decoded = _decoder(kind).decode(body)
    except msgspec.ValidationError as error:
        raise _text_fault(body) or _as_fault(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _text_fault(body) or MalformedBodyError(f"the body is not JSON in UTF-8: {error}") from error
    if _NUL in body and (fault := _text_fault(body)):
        raise fault
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
    """Values that came another way than JSON, held to the same contract. Raises `InvalidRequestError`."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise _as_fault(str(error)) from error


def too_deep(body: bytes, limit: int) -> bool:
    """Whether arrays and objects nest deeper than `limit`; brackets inside strings do not count.

    >>> too_deep(b'{"a": ["[[["]}', 2), too_deep(b'{"a": [[]]}', 2)
    (False, True)
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    deep = 0
    for byte in _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS):
        deep += 1 if byte in b"[{" else -1
        if deep > limit:
            return True
    return False


def pointer(*parts: str | int) -> str:
    """A JSON pointer (RFC 6901).

    >>> pointer("a/b", 3)
    '/a~1b/3'
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {}


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Made once a type: making one costs far more than decoding with it."""
    if kind not in _DECODERS:
        _DECODERS[kind] = msgspec.json.Decoder(kind)
    return _DECODERS[kind]


def _as_fault(message: str) -> InvalidRequestError:
    """msgspec's ``Expected `str`, got `int` - at `$.context.task` `` as a fault with a pointer."""
    what, _, where = message.rpartition(" - at ")
    what, path = (what, where) if what else (message, "$")
    parts: list[str | int] = [name or int(index) for name, index in _SEGMENT.findall(path)]
    if unknown := _UNKNOWN_FIELD.fullmatch(what):
        return invalid(pointer(*parts, unknown[1]), "unknown_field", what)
    if missing := _MISSING_FIELD.fullmatch(what):
        return invalid(pointer(*parts, missing[1]), "missing_field", what)
    return invalid(pointer(*parts), _code(what), what)


def _code(what: str) -> str:
    if what.startswith("Number out of range"):
        return "not_finite"
    return "wrong_type" if ", got " in what else "wrong_value"


def _text_fault(body: bytes) -> UnirankError | None:
    """What JSON text may hold and we refuse: NaN, infinities, lone surrogates, NUL."""
    try:
        document = json.loads(body.decode("utf-8", "surrogatepass"), strict=False)
    except (ValueError, RecursionError):
        return None
    for parts, value in _leaves(document, ()):
        if isinstance(value, float) and not math.isfinite(value):
            return invalid(pointer(*parts), "not_finite", "NaN, an infinity, or a number out of range")
        if isinstance(value, str) and (code := _bad_text(value)):
            return invalid(pointer(*parts), code, f"text with a {code.replace('_', ' ')}")
    return None


def _bad_text(text: str) -> str | None:
    if "\0" in text:
        return "nul"
    return "lone_surrogate" if any("\ud800" <= character <= "\udfff" for character in text) else None


def _leaves(value: object, parts: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """Every scalar and every key below `value`, with its path. Depth was checked before."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield (*parts, key), key
            yield from _leaves(child, (*parts, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _leaves(child, (*parts, index))
    else:
        yield parts, value
