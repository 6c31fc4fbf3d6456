"""The decoder turns any bytes into a body or into an error of the project's own, and limits nesting as a parser counts
it.
"""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.v1.schemas import HomepageBody, MoreLikeThisBody, RankBody, SearchBody
from app.errors import UnirankError
from app.http.decoding import decode, pointer, too_deep


def refusals(body: bytes) -> set[int]:
    """The statuses with which the decoders refuse; anything but a `UnirankError` is a failure."""
    statuses = set()
    for kind in (RankBody, SearchBody, MoreLikeThisBody, HomepageBody):
        try:
            decode(body, kind, 32)
        except UnirankError as error:
            statuses.add(error.status)
    return statuses


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_decode_or_raise_a_unirank_error(body):
    assert refusals(body) <= {400, 422}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
FIELDS = st.sampled_from([*RankBody.__struct_encode_fields__, *HomepageBody.__struct_encode_fields__])


@settings(deadline=None)
@given(st.dictionaries(FIELDS, JSON, max_size=5))
def test_any_json_decodes_or_raises_a_unirank_error(document):
    assert refusals(json.dumps(document).encode()) <= {422}


@settings(deadline=None)
@given(JSON)
def test_depth_is_counted_as_a_parser_counts_it(document):
    def deep(value: object) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(deep, inner), default=0)

    body = json.dumps(document).encode()
    assert not too_deep(body, max(deep(document), 0))
    if deep(document):
        assert too_deep(body, deep(document) - 1)


def test_pointers_escape_what_rfc_6901_asks_for():
    assert pointer("a~b", "c/d", 0) == "/a~0b/c~1d/0"
