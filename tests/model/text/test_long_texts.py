"""However long, many or odd the words of a catalogue are, a record stays small and its entity is found by its name.

A vocabulary that is larger than 22 bits can number keeps the words that most documents have; records keep names and
categories before texts.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.catalogue.encoding import MAX_TOKENS, EntityArrays, EntityEncoder
from model.catalogue.fields import split_fields
from model.catalogue.ids import IdTable, hashed
from model.catalogue.packed_text import Texts
from model.config import NetworkConfig
from model.features.match import MatchFeatures
from model.retrieval.lexical import LexicalIndex, Postings
from model.text import spellings
from model.text import vocabulary as vocabularies
from model.text.normalise import GRAM_CHARACTERS, LONGEST_WORD, normalise, trigrams, words
from model.text.vocabulary import FIELD_BITS, MOST, UNKNOWN, Vocabulary

COLUMNS = {"about": "text", "notes": "text", "kinds": "categories", "year": "number"}
LONG = " ".join(f"word{n}" for n in range(10_000))
CONFIG = NetworkConfig(text_width=4, text_buckets=2**10)
Row = dict[str, object]


def made(*entities: Row) -> tuple[EntityEncoder, EntityArrays]:
    """A catalogue of these and of one plain entity."""
    plain: Row = {"display_name": "Plain"}
    rows = [{"entity_id": str(n), **entity} for n, entity in enumerate([*entities, plain])]
    return EntityEncoder.fit(rows, COLUMNS, CONFIG, seed=0)


def found(encoder: EntityEncoder, arrays: EntityArrays, query: str) -> list[int]:
    """Rows that a search by words proposes."""
    count = len(arrays.tokens)
    postings = Postings.of(arrays.tokens, len(encoder.vocabulary.weights), np.zeros(count, np.float32))
    encoded = MatchFeatures(encoder).encode_query(query)
    return [int(row) for row in LexicalIndex(postings, encoder.vocabulary).search(encoded, count)]


def held(encoder: EntityEncoder, arrays: EntityArrays, word: str, row: int = 0) -> int:
    """The fields in which a record holds a word, as a mask; 0 = it does not."""
    codes = arrays.tokens.row(row).astype(np.int64)
    mine = codes[codes >> FIELD_BITS == encoder.vocabulary.id(word)]
    return int(mine[0]) & (1 << FIELD_BITS) - 1 if len(mine) else 0


# ── long texts ──────────────────────────────────────────────────────────────────────────────────────────────


def test_names_categories_and_years_stay_findable_behind_a_long_description() -> None:
    encoder, arrays = made({"display_name": "Heat Wave", "about": LONG, "kinds": ["heist", "neo noir"], "year": 1995})
    for query in ("heat", "wave", "heist", "noir", "1995"):
        assert found(encoder, arrays, query)[:1] == [0], query
    assert len(arrays.tokens.row(0)) <= MAX_TOKENS + GRAM_CHARACTERS + spellings.MOST


def test_texts_share_the_room_of_a_record_in_turns() -> None:
    encoder, arrays = made({"display_name": "Heat", "about": LONG, "notes": LONG.replace("word", "note")})
    kept = [sum(held(encoder, arrays, f"{stem}{n}") > 0 for n in range(10_000)) for stem in ("word", "note")]
    assert sum(kept) == MAX_TOKENS - 1
    assert abs(kept[0] - kept[1]) <= 1
    assert held(encoder, arrays, "word0")
    assert held(encoder, arrays, "note0")


def test_a_short_text_behind_a_long_one_is_kept_whole() -> None:
    encoder, arrays = made({"display_name": "Heat", "about": LONG, "notes": "shot in los angeles"})
    assert all(held(encoder, arrays, word) for word in ("shot", "in", "los", "angeles"))


@pytest.mark.parametrize(
    "entity",
    [
        {"display_name": LONG, "kinds": ["heist"]},
        {"display_name": "Heat", "kinds": [*(f"kind{n}" for n in range(5000)), "heist"][::-1]},
    ],
)
def test_a_long_name_leaves_room_for_categories_and_the_other_way_round(entity: Row) -> None:
    encoder, arrays = made(entity)
    name = words(str(entity["display_name"]))[0]
    assert held(encoder, arrays, name) & 1
    assert held(encoder, arrays, "heist")
    assert len(arrays.tokens.row(0)) <= MAX_TOKENS + GRAM_CHARACTERS + spellings.MOST


def test_a_word_that_is_kept_says_every_field_that_has_it() -> None:
    encoder, arrays = made({"display_name": "Heat", "about": f"{LONG} heat", "notes": f"{LONG} heat"})
    fields = encoder.fields
    assert held(encoder, arrays, "heat") == sum(1 << fields.index(f) for f in ("display_name", "about", "notes"))


@given(st.lists(st.text("ab ", max_size=12), max_size=4), st.lists(st.text("abc ", max_size=12), max_size=4))
def test_the_order_of_weight_loses_and_adds_no_word(kinds: list[str], about: list[str]) -> None:
    split = split_fields({"display_name": "a b", "about": " ".join(about), "kinds": kinds}, COLUMNS)
    by_field: list[set[str]] = [set() for _ in split.fields]
    for field, word in split.by_weight():
        by_field[field].add(word)
    assert by_field == [set(found) for found in split.fields]


# ── long and odd words ──────────────────────────────────────────────────────────────────────────────────────


def test_text_without_blanks_is_cut_and_found_by_its_beginning() -> None:
    blob = "aGVhdA" * 50_000
    encoder, arrays = made({"display_name": f"Heat {blob}", "about": blob})
    assert max(map(len, encoder.vocabulary.entries)) <= LONGEST_WORD
    assert found(encoder, arrays, blob)[:1] == found(encoder, arrays, "heat")[:1] == [0]
    assert found(encoder, arrays, blob[:30])[:1] == [0]


@given(st.text(max_size=400))
def test_words_are_short_and_stay_what_they_are(text: str) -> None:
    assert all(0 < len(word) <= LONGEST_WORD for word in words(text))
    assert normalise(normalise(text)) == normalise(text)


def test_a_long_name_has_few_trigrams_and_a_short_one_all() -> None:
    assert len(trigrams(words(LONG))) <= GRAM_CHARACTERS - 2
    assert len(trigrams(["abc" * 20])) <= len(trigrams(["".join(map(chr, range(97, 117)))])) == 20


@pytest.mark.parametrize("name", ["𠮷野家", "𝒳 𝒴", "𓀀𓀁 𓀂", "𞤀𞤣𞤤𞤢𞤥"])
def test_names_of_four_byte_letters_are_found_whole_and_by_their_first_letter(name: str) -> None:
    encoder, arrays = made({"display_name": name}, {"display_name": "heat 🎬"})
    assert found(encoder, arrays, name)[:1] == [0]
    assert found(encoder, arrays, words(name)[0][0])[:1] == [0]
    assert found(encoder, arrays, "🎬") == []


def test_long_ids_are_told_apart_and_cost_what_they_are_long() -> None:
    """All ids of a chunk are padded to the longest: 50,000 of them beside one of 1 MB were 50 GB."""
    long = "x" * 1_000_000
    ids = [*(str(n) for n in range(20_000)), long, f"{long}y"]
    table = IdTable.of(Texts.of(ids))
    assert table.find([long, f"{long}y", "7", f"{long}z"]).tolist() == [20_000, 20_001, 7, -1]
    assert hashed([b"7"], 0) == hashed([b"7", long.encode()], 0)[:1]


# ── large vocabularies ──────────────────────────────────────────────────────────────────────────────────────


def test_the_largest_id_of_a_vocabulary_fits_the_code_of_a_token() -> None:
    assert (MOST + UNKNOWN - 1) << FIELD_BITS | (1 << FIELD_BITS) - 1 == 2**32 - 1


@given(st.lists(st.lists(st.text("abc", min_size=1, max_size=3), max_size=5), max_size=9), st.integers(0, 6))
def test_a_vocabulary_keeps_what_most_documents_have(documents: list[list[str]], most: int) -> None:
    """A bound of 2²² would need four million words; any other shows the same."""
    frequency = Counter(word for document in documents for word in set(document))
    wanted = sorted(sorted(frequency, key=lambda word: (-frequency[word], word))[:most])
    vocabulary = Vocabulary.of(documents, most)
    assert vocabulary.entries == wanted
    whole = Vocabulary.of(documents)
    assert [vocabulary.weight(word) for word in wanted] == [whole.weight(word) for word in wanted]
    assert all(vocabulary.id(word) >= len(wanted) for word in frequency if word not in wanted)


def test_a_catalogue_with_more_words_than_fit_is_encoded_and_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bound of 60 words: what is left out shares hashed ids, and its entity is found by them."""
    of = Vocabulary.of
    monkeypatch.setattr(vocabularies.Vocabulary, "of", lambda documents: of(documents, most=60))
    encoder, arrays = made(*({"display_name": f"common w{n}", "about": f"x{n} common"} for n in range(100)))
    assert len(encoder.vocabulary) == 60
    assert "common" in encoder.vocabulary.entries
    assert found(encoder, arrays, "w99")[0] == 99
