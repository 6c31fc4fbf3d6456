"""Text is normalised, split and hashed alike in every process; the examples in docstrings of model/ run, too."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import model
from model.catalogue.ragged import Ragged, concatenate
from model.text.latent import TextVectors, hashed_bag
from model.text.normalise import normalise, pieces, stable_hash, tokens_of_name, trigrams, words
from model.text.vocabulary import Vocabulary

MODULES = sorted(module.name for module in pkgutil.walk_packages(model.__path__, "model."))
WORDS = st.text(alphabet="abcé字", min_size=1, max_size=5)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


# ---- words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t\n", []),
        ("?!…", []),
        ("WALL·E", ["wall", "e"]),
        ("Schindler's  List", ["schindlers", "list"]),
        ("Schindler’s List", ["schindlers", "list"]),
        ("'quoted'", ["quoted"]),
        ("Straße", ["strasse"]),
        ("İstanbul", ["istanbul"]),
        ("ﬁlm Ⅳ", ["film", "iv"]),
        ("七人の侍", ["七人", "人の", "の侍"]),
        ("侍", ["侍"]),
        ("我在北京2", ["我在", "在北", "北京", "2"]),
        ("ﾄﾄﾛ", ["トト", "トロ"]),
        ("แฟนฉัน", ["แฟ", "ฟน", "นฉั", "ฉัน"]),
        ("살인의 추억", ["살인의", "추억"]),
        ("Człowiek Þrestir Æon Đavolji øre œuvre", ["czlowiek", "threstir", "aeon", "davolji", "ore", "oeuvre"]),
        ("Ayı AYI", ["ayi", "ayi"]),
        ("بـاب المُومياء", ["باب", "المومياء"]),
        ("בִּיקוּר", ["ביקור"]),
        ("Ёжик", ["ежик"]),
        ("in\u00adcep\u200btion", ["inception"]),
        ("O´Brien′s ʻOhana", ["obriens", "ohana"]),
        ("Brand™ № 5", ["brand", "no", "5"]),
        ("ｉｎｃｅｐｔｉｏｎ", ["inception"]),
        ("C++ and C# on .NET, X+Y", ["c++", "and", "c#", "on", ".net", "x", "y"]),
        ("é c++ x.c# ...and so", ["e", "c++", "x", "c#", "and", "so"]),
        ("+++", []),
        ("S.W.A.T., e.t. & K.G.F: 1", ["swat", "et", "kgf", "1"]),
        ("J.R.R. Tolkien, U.S.A.", ["jrr", "tolkien", "usa"]),
        ("С.С.С.Р. x.y 3.14.15", ["ссср", "x", "y", "3", "14", "15"]),
        ("𝓗𝓮𝓪𝓽 𝐈𝐈", ["heat", "ii"]),
        ("Брат 2", ["брат", "2"]),
        ("🎬 Heat 🔥", ["heat"]),
        ("\u202eHeat\u202c", ["heat"]),
    ],
)
def test_text_is_split_into_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize("word", ["हिन्दी", "தமிழ்"])
def test_words_of_scripts_with_vowel_signs_stay_whole(word: str) -> None:
    """Vowel signs are marks (Mc, Mn), which `\\w` does not match."""
    assert len(words(word)) == 1


@pytest.mark.parametrize("form", ["Ame\u0301lie", "Am\u00e9lie", "AMÉLIE"])
def test_words_do_not_depend_on_the_unicode_form(form: str) -> None:
    assert words(form) == ["amelie"]


@given(st.text(max_size=40))
def test_normalise_is_idempotent(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    "name",
    [
        "Toy Story 2",
        "Amélie",
        "Ame\u0301lie",
        "İstanbul",
        "WALL·E",
        "七人の侍",
        "C++",
        "Brand™ №5",
        "Ayı",
        "é .NET",
        "E.T. the",
    ],
)
def test_a_name_as_a_query_has_the_words_of_the_name(name: str) -> None:
    assert words(tokens_of_name(name)) == words(name)


@pytest.mark.parametrize("name", ["Schindler's List", "Ocean’s Eleven"])
def test_a_name_with_an_apostrophe_as_a_query_has_the_words_of_the_name(name: str) -> None:
    """The imputed query of more-like-this must cover the name that it was made from."""
    assert words(tokens_of_name(name)) == words(name)


@pytest.mark.parametrize(("name", "query"), [("Toy Story 2", "toy story 2"), ("  Heat ", "heat"), ("…", ""), ("", "")])
def test_a_name_as_a_query_is_lower_cased_words_joined_by_spaces(name: str, query: str) -> None:
    assert tokens_of_name(name) == query


def test_trigrams_run_over_the_blanks_between_words() -> None:
    assert trigrams(["a", "b"]) == {" a ", "a b", " b "}
    assert trigrams([]) == set()


def test_pieces_are_words_pairs_and_grams() -> None:
    assert list(pieces(["toy", "story"], character_grams=False)) == ["toy", "story", "toy story"]
    grams = set(pieces(["up"], character_grams=True))
    assert grams == {"up", "#<up", "#up>", "#<up>"}
    assert list(pieces([], character_grams=True)) == []


def test_the_hash_is_the_same_in_every_process() -> None:
    assert stable_hash("a") == 0xE8B7BE43  # CRC-32
    assert stable_hash("\ud800") == stable_hash("\ud800")


# ---- text vectors -------------------------------------------------------------------------------------------


def _bag(name: str) -> tuple[np.ndarray, np.ndarray]:
    return hashed_bag([words(name)], [], 2**10)


def test_text_vectors_have_length_one_and_nothing_gives_zeros() -> None:
    names = ["toy story", "toy soldiers", "heat", "city of god", "city hall", "story of a city"]
    vectors = TextVectors.fit([_bag(name) for name in names], 2**10, 8, seed=0)
    lengths = [float(np.linalg.norm(vectors.vector(_bag(name)))) for name in names]
    assert lengths == pytest.approx([1.0] * len(names), abs=1e-5)
    assert not vectors.vector(_bag("")).any()
    assert np.isfinite(vectors.table).all()


def test_a_query_is_nearest_to_the_name_it_misspells() -> None:
    names = ["toy story", "toy soldiers", "heat", "city of god", "city hall", "night on earth"]
    vectors = TextVectors.fit([_bag(name) for name in names], 2**10, 6, seed=0)
    table = np.stack([vectors.vector(_bag(name)) for name in names])
    assert int(np.argmax(table @ vectors.vector(_bag("toy storry")))) == 0
    assert int(np.argmax(table @ vectors.vector(_bag("nights on earth")))) == 5


def test_entities_of_the_same_text_do_not_drown_the_others() -> None:
    """Fewer distinct texts than dimensions: the directions without any text must not weigh more than the others."""
    names = ["heat", "toy story", "up"]
    bags = [_bag(name) for name in names]
    once, repeated = (TextVectors.fit(some, 2**10, 16, seed=0) for some in (bags, bags * 8))
    assert np.isfinite(repeated.table).all()
    for vectors in (once, repeated):
        table = np.stack([vectors.vector(bag) for bag in bags])
        likeness = np.stack([table @ vectors.vector(_bag(query)) for query in ("heet", "toy stor", "ups")])
        np.testing.assert_allclose(likeness, np.eye(3), atol=0.1)


# ---- vocabulary ---------------------------------------------------------------------------------------------


@given(st.lists(st.lists(WORDS, max_size=4), max_size=6), WORDS)
def test_a_prefix_is_a_range_of_ids(documents: list[list[str]], prefix: str) -> None:
    vocabulary = Vocabulary.of(documents)
    start, end = vocabulary.prefix_range(prefix)
    inside = [entry for entry in vocabulary.entries if entry.startswith(prefix)]
    assert vocabulary.entries[start:end] == inside
    assert vocabulary.entries == sorted({word for document in documents for word in document})


def test_a_prefix_range_is_empty_for_an_unknown_word_and_whole_for_no_word() -> None:
    vocabulary = Vocabulary.of([["story", "store", "toy"]])
    start, end = vocabulary.prefix_range("xyz")
    assert start == end
    assert vocabulary.prefix_range("") == (0, 3)
    assert vocabulary.prefix_range("toy") == (2, 3)


def test_rare_words_weigh_more_and_unknown_ones_as_much_as_the_rarest() -> None:
    vocabulary = Vocabulary.of([["the", "heat"], ["the", "the", "toy"], ["the"]])
    assert vocabulary.weight("heat") == pytest.approx(np.log1p(3))
    assert vocabulary.weight("the") == pytest.approx(np.log1p(1))  # once a document
    assert vocabulary.weight("never") == vocabulary.weight("toy") == vocabulary.unknown_idf


def test_unknown_words_share_hashed_ids_behind_the_known_ones() -> None:
    vocabulary = Vocabulary.of([["heat", "\x01hea"]])
    assert vocabulary.id("heat") == 1
    assert len(vocabulary) <= vocabulary.id("never") < len(vocabulary.weights)
    assert vocabulary.id("never") == Vocabulary.of([["heat", "toy"]]).id("never")
    assert vocabulary.gram_id("hea") == 0
    assert vocabulary.gram_id("nev") is None


def test_an_empty_vocabulary_finds_no_prefix_and_weighs_every_word_one() -> None:
    vocabulary = Vocabulary.of([])
    assert len(vocabulary) == 0
    assert vocabulary.prefix_range("a") == (0, 0)
    assert vocabulary.weight("a") == 1.0


# ---- ragged -------------------------------------------------------------------------------------------------

ROWS = st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=4), max_size=6)


@given(ROWS, st.data())
def test_ragged_take_gives_the_rows_asked_for(rows: list[list[int]], data: st.DataObject) -> None:
    ragged = Ragged.of(rows)
    assert [ragged.row(i).tolist() for i in range(len(ragged))] == rows
    picks = data.draw(st.lists(st.sampled_from(range(len(rows))), max_size=8)) if rows else []
    taken = ragged.take(np.array(picks, np.int64))
    assert [taken.row(i).tolist() for i in range(len(taken))] == [rows[i] for i in picks]
    assert taken.owners().tolist() == [place for place, i in enumerate(picks) for _ in rows[i]]


@given(ROWS, ROWS)
def test_ragged_concatenate_stacks(first: list[list[int]], second: list[list[int]]) -> None:
    both = concatenate([Ragged.of(first), Ragged.of(second)])
    assert [both.row(i).tolist() for i in range(len(both))] == first + second
