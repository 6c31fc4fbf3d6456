"""Match features, each by a tiny catalogue in which the answer can be read off."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.catalogue.encoding import EntityEncoder
from model.catalogue.records import Records, assemble
from model.config import NetworkConfig
from model.events.engagement import Engagement
from model.features.matching import STEM_SHARE, MatchFeatures, empty_profile, stem_of
from model.text.normalise import words

COLUMNS = {"about": "text", "genres": "categories", "year": "number"}
ENTITIES: list[dict[str, object]] = [
    {"entity_id": "0", "display_name": "Toy Story", "about": "toys come alive", "genres": ["animation"], "year": 1995},
    {"entity_id": "1", "display_name": "Toy Soldiers", "about": "boys at a school", "genres": ["action"], "year": 1991},
    {"entity_id": "2", "display_name": "Heat", "about": "a story of cops", "genres": ["action", "crime"], "year": 1995},
    {"entity_id": "3", "display_name": "2001", "about": "", "genres": [], "year": 1968},
    {"entity_id": "4", "display_name": "Up"},
    {"entity_id": "5", "display_name": "?!", "about": "no words in the name", "genres": ["crime"], "year": 12.5},
]
TOY_STORY, TOY_SOLDIERS, HEAT, SPACE, UP, MARKS = range(6)
ENGAGEMENT_WIDTH = 4


@cache
def matcher() -> MatchFeatures:
    return _made()[0]


def catalogue() -> Records:
    return _made()[1]


@cache
def _made() -> tuple[MatchFeatures, Records]:
    config = NetworkConfig(text_width=4, text_buckets=2**12, engagement_width=ENGAGEMENT_WIDTH)
    encoder, arrays = EntityEncoder.fit(ENTITIES, COLUMNS, config, seed=0)
    z = np.zeros((6, ENGAGEMENT_WIDTH), np.float32)
    z[TOY_STORY, 0], z[TOY_SOLDIERS, 0], z[HEAT, 1] = 0.5, 0.25, 0.5
    inverse = (1 / (1 - (z**2).sum(1))).astype(np.float32)
    popularity = np.log1p(np.array([9, 3, 5, 0, 0, 0])).astype(np.float32)
    return MatchFeatures(encoder, countries=True), assemble(
        arrays, Engagement(z, inverse, popularity), np.zeros((6, 2), np.float32)
    )


def nobody() -> object:
    return empty_profile(ENGAGEMENT_WIDTH, 4, 1)


def features(
    query: str | None = None, source: int | None = None, liked: tuple[int, ...] = (), passed: tuple[int, ...] = ()
) -> dict[str, np.ndarray]:
    """Feature name → its value for each of the six entities."""
    table = computed(query, source, liked, passed)
    assert table.dtype == np.float32
    assert table.shape == (6, len(matcher().names))
    return dict(zip(matcher().names, table.T, strict=True))


def computed(
    query: str | None,
    source: int | None = None,
    liked: tuple[int, ...] = (),
    passed: tuple[int, ...] = (),
    candidates: Records | None = None,
) -> np.ndarray:
    records = catalogue()
    one = None if source is None else records.take(np.array([source]))
    profile = nobody()
    if liked or passed:
        labels = np.array([1.0] * len(liked) + [0.0] * len(passed), np.float32)
        profile = matcher().encode_history(records.take(np.array([*liked, *passed])), labels)
    return matcher()(matcher().encode_query(query), one, profile, records if candidates is None else candidates)


# ---- query --------------------------------------------------------------------------------------------------


def test_names_are_distinct_and_one_a_column() -> None:
    assert len(set(matcher().names)) == len(matcher().names)
    assert computed("toy").shape[1] == len(matcher().names)


def test_a_name_as_query_covers_that_name_alone() -> None:
    made = features("toy story")
    assert made["query_in_display_name"][TOY_STORY] == pytest.approx(1)
    assert made["exact_in_name"][TOY_STORY] == pytest.approx(1)
    assert made["name_in_query"][TOY_STORY] == pytest.approx(1)
    assert made["whole_query_in_name"].tolist() == [1, 0, 0, 0, 0, 0]
    assert made["whole_name_in_query"].tolist() == [1, 0, 0, 0, 0, 0]
    assert made["unexplained_words"].tolist() == [0, 1, 1, 2, 2, 2]


def test_coverage_weighs_words_by_their_idf() -> None:
    made = features("toy story")
    toy, story = (matcher().vocabulary.weight(word) for word in ("toy", "story"))
    # "toys" is another word; the last word, "story", covers itself in the text of Heat
    assert made["query_in_display_name"][TOY_SOLDIERS] == pytest.approx(toy / (toy + story))
    assert made["query_in_about"][HEAT] == pytest.approx(story / (toy + story))
    assert made["in_any_field"][HEAT] == pytest.approx(story / (toy + story))
    assert made["query_in_display_name"][HEAT] == 0


def test_the_last_word_counts_as_a_prefix() -> None:
    made = features("toy so")
    assert made["query_in_display_name"][TOY_SOLDIERS] == pytest.approx(1)
    assert made["whole_query_in_name"].tolist() == [0, 1, 0, 0, 0, 0]
    assert made["exact_in_name"][TOY_SOLDIERS] < 1
    assert made["unexplained_words"][TOY_SOLDIERS] == 0


def test_only_the_last_word_counts_as_a_prefix() -> None:
    made = features("so toy")
    assert made["query_in_display_name"][TOY_SOLDIERS] < 1
    assert made["unexplained_words"][TOY_SOLDIERS] == 1


def test_a_prefix_is_found_in_every_field() -> None:
    made = features("cri")
    assert made["query_in_genres"].tolist() == pytest.approx([0, 0, 1, 0, 0, 1])
    assert made["query_in_display_name"].tolist() == [0] * 6


def test_a_prefix_counts_although_another_word_of_the_query_starts_with_it() -> None:
    """ "story sto": somebody has typed one word and begins the next; "sto" is the beginning of "story"."""
    assert features("sto")["unexplained_words"][TOY_STORY] == 0
    assert features("toy sto")["unexplained_words"][TOY_STORY] == 0
    assert features("story sto")["unexplained_words"][TOY_STORY] == 0


def test_the_name_lies_within_a_longer_query() -> None:
    made = features("the film heat with cops")
    assert made["name_in_query"][HEAT] == pytest.approx(1)
    assert made["whole_name_in_query"].tolist() == [0, 0, 1, 0, 0, 0]
    assert made["whole_query_in_name"].tolist() == [0] * 6


def test_half_a_name_lies_in_the_query_by_weight() -> None:
    toy, soldiers = (matcher().vocabulary.weight(word) for word in ("toy", "soldiers"))
    assert features("soldiers")["name_in_query"][TOY_SOLDIERS] == pytest.approx(soldiers / (toy + soldiers))


def test_a_word_of_the_same_stem_covers_half() -> None:
    made = features("soldiering toy")
    soldiering, toy = (matcher().vocabulary.weight(word) for word in ("soldiering", "toy"))
    assert made["query_in_display_name"][TOY_SOLDIERS] == pytest.approx(
        (STEM_SHARE * soldiering + toy) / (soldiering + toy)
    )
    assert made["rarest_unexplained"][TOY_SOLDIERS] == 0
    assert made["rarest_unexplained"][TOY_STORY] == pytest.approx(1)  # the catalogue does not know "soldiering"
    assert made["exact_in_name"][TOY_SOLDIERS] == made["exact_in_name"][TOY_STORY]
    assert made["whole_query_in_name"].tolist() == [0] * 6
    assert features("criminal")["query_in_genres"][HEAT] == 0  # "crimi" is no beginning of "crime"


def test_a_word_beside_its_own_stem_counts_once() -> None:
    assert features("story stories")["query_in_display_name"].max() <= 1
    assert features("stories story")["query_in_display_name"][TOY_STORY] < 1  # "story" is taken by itself


@pytest.mark.parametrize(("word", "stem"), [("comedies", "comed"), ("robots", "robo"), ("toys", None), ("1995a", None)])
def test_stems(word: str, stem: str | None) -> None:
    assert stem_of(word) == stem


def test_a_year_is_a_word() -> None:
    made = features("1995")
    assert made["query_in_numbers"].tolist() == pytest.approx([1, 0, 1, 0, 0, 0])
    assert made["in_any_field"].tolist() == pytest.approx([1, 0, 1, 0, 0, 0])
    assert features("2001")["query_in_display_name"][SPACE] == pytest.approx(1)
    assert features("12")["query_in_numbers"].tolist() == [0] * 6  # no year


def test_the_rarest_unexplained_word() -> None:
    made = features("heat zzz")
    assert made["rarest_unexplained"].tolist() == pytest.approx([1] * 6)  # zzz is unknown: as rare as the rarest
    assert features("toy")["rarest_unexplained"][TOY_STORY] == 0
    weight = matcher().vocabulary.weight("toy") / matcher().vocabulary.unknown_idf
    assert features("toy")["rarest_unexplained"][HEAT] == pytest.approx(weight)


def test_dice_of_trigrams_by_hand() -> None:
    made = features("toy stories")
    # " toy stories " has 11 distinct trigrams, " toy story " 9; in common: " to" "toy" "oy " "y s" " st" "sto" "tor"
    assert made["name_dice"][TOY_STORY] == pytest.approx(2 * 7 / (11 + 9))
    assert made["grams_in_name"][TOY_STORY] == pytest.approx(7 / 11)
    assert made["name_in_grams"][TOY_STORY] == pytest.approx(7 / 9)
    assert features("toy story")["name_dice"][TOY_STORY] == pytest.approx(1)
    assert features("toy story")["name_dice"][UP] == 0


def test_text_is_nearest_to_the_entity_of_the_query() -> None:
    assert int(np.argmax(features("heat")["query_text"])) == HEAT


@pytest.mark.parametrize("query", [None, "", "   ", "?!", "🎬"])
def test_a_query_without_words_gives_zeros(query: str | None) -> None:
    made = features(query)
    for name, values in made.items():
        if name.startswith("query_") or name in (
            "name_dice",
            "exact_in_name",
            "unexplained_words",
            "whole_query_in_name",
        ):
            assert not values.any(), name


def test_case_accents_and_punctuation_do_not_matter() -> None:
    assert np.array_equal(computed("TÓY, story!"), computed("toy story"))


def test_a_query_of_very_many_words() -> None:
    made = features(" ".join(f"w{i}" for i in range(500)) + " heat")
    assert np.isfinite(np.stack(list(made.values()))).all()


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_query_gives_finite_features(query: str) -> None:
    table = computed(query)
    assert np.isfinite(table).all()
    assert (table[:, : len(matcher().fields)] <= 1 + 1e-5).all()


SOME_WORDS = ["toy", "toys", "to", "story", "sto", "so", "heat", "he", "2001", "1995", "crime", "a", "zzz", "u"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(SOME_WORDS), min_size=1, max_size=4, unique=True))
def test_coverage_of_the_name_is_what_the_definition_says(query: list[str]) -> None:
    """Every word that the name holds, and the last one also as the beginning of a word of the name."""
    if any(word.startswith(query[-1]) for word in query[:-1]):
        return  # has a test of its own
    weights = np.array([matcher().vocabulary.weight(word) for word in query])
    made = features(" ".join(query))["query_in_display_name"]
    for row, entity in enumerate(ENTITIES):
        name = words(str(entity["display_name"]))
        held = [word in name for word in query]
        held[-1] = any(word.startswith(query[-1]) for word in name)
        assert made[row] == pytest.approx(float(weights @ held / weights.sum()), abs=1e-5)


# ---- source -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [TOY_STORY, TOY_SOLDIERS, HEAT])
def test_a_source_overlaps_with_itself_wholly(source: int) -> None:
    made = features(source=source)
    for name in matcher().fields:
        assert made[f"source_{name}"][source] == pytest.approx(1, abs=1e-3), name
    assert made["source_text"][source] == pytest.approx(1, abs=1e-2)
    assert made["source_distance_year"][source] == 0
    assert made["source_cosine"][source] == pytest.approx(1, abs=1e-3)


def test_overlap_with_a_source_is_a_cosine_of_idf() -> None:
    made = features(source=TOY_STORY)
    toy, story, soldiers = (matcher().vocabulary.weight(word) for word in ("toy", "story", "soldiers"))
    cosine = toy**2 / (np.hypot(toy, story) * np.hypot(toy, soldiers))
    assert made["source_display_name"][TOY_SOLDIERS] == pytest.approx(cosine, abs=1e-4)
    assert made["source_display_name"][HEAT] == 0  # "story" is in the text of Heat, not in its name
    assert made["source_genres"].tolist() == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-5)
    assert made["source_numbers"].tolist() == pytest.approx([1, 0, 1, 0, 0, 0], abs=1e-5)


def test_distance_of_numbers_is_in_standard_scores() -> None:
    made = features(source=TOY_STORY)
    assert made["source_distance_year"][HEAT] == 0
    assert made["source_distance_year"][SPACE] > made["source_distance_year"][TOY_SOLDIERS] > 0


def test_co_engagement_with_the_source() -> None:
    made = features(source=TOY_STORY)
    z, inverse = catalogue().engagement, catalogue().inverse
    ease = z @ z[TOY_STORY] * inverse
    assert made["source_engagement"].tolist() == pytest.approx(np.arcsinh(100 * ease).tolist(), abs=1e-3)
    assert made["source_cosine"].tolist() == pytest.approx([1, 1, 0, 0, 0, 0], abs=1e-3)


def test_without_a_source_its_features_are_zero() -> None:
    assert not any(values.any() for name, values in features("toy").items() if name.startswith("source_"))


# ---- history ------------------------------------------------------------------------------------------------


def test_without_a_history_its_features_are_zero() -> None:
    made = features("toy", TOY_STORY)
    for name in ("liked", "liked_recent", "liked_last", "passed", "liked_cosine", "text_liked", "text_recent"):
        assert not made[name].any(), name
    assert not made["history_size"].any()


def test_what_was_liked_pulls_its_neighbours_and_what_was_passed_is_apart() -> None:
    made = features(liked=(TOY_STORY,), passed=(HEAT,))
    assert made["liked"][TOY_SOLDIERS] > 0
    assert made["liked"][HEAT] == 0
    assert made["passed"][HEAT] > 0
    assert made["passed"][TOY_SOLDIERS] == 0
    assert made["liked_cosine"][TOY_SOLDIERS] == pytest.approx(1, abs=1e-3)
    assert made["history_size"].tolist() == pytest.approx([np.log(2)] * 6)


def test_a_history_of_passed_entities_alone() -> None:
    made = features(passed=(HEAT,))
    assert not made["liked"].any()
    assert not made["text_liked"].any()
    assert made["history_size"].tolist() == [0] * 6


def test_recent_events_weigh_more() -> None:
    older, newer = features(liked=(TOY_STORY, HEAT)), features(liked=(HEAT, TOY_STORY))
    assert newer["liked_recent"][TOY_SOLDIERS] > older["liked_recent"][TOY_SOLDIERS]
    assert newer["liked"].tolist() == pytest.approx(older["liked"].tolist())
    long_ago = features(liked=(TOY_STORY, HEAT, HEAT, HEAT))
    assert long_ago["liked_last"][TOY_SOLDIERS] == 0


def test_numbers_of_the_history_are_compared_with_each_candidate() -> None:
    made = features(liked=(TOY_SOLDIERS,), passed=(HEAT,))
    year = catalogue().static[:, 0]
    mean, most = (year[TOY_SOLDIERS] + year[HEAT]) / 2, year[HEAT]  # 1991 and 1995
    np.testing.assert_allclose(made["history_mean_year"][SPACE], year[SPACE] - mean, rtol=1e-5)
    np.testing.assert_allclose(made["history_most_year"][SPACE], year[SPACE] - most, rtol=1e-5)
    assert made["history_most_year"][TOY_STORY] == 0
    assert made["history_mean_year"][UP] == 0  # its year is unknown


def test_a_history_without_numbers_compares_none() -> None:
    made = features(liked=(UP,))
    assert not made["history_mean_year"].any()
    assert not made["history_most_year"].any()


# ---- country ------------------------------------------------------------------------------------------------


def in_country(taste: list[float] | None, liked: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
    """Features of all for somebody in a country of this taste."""
    profile = nobody() if not liked else matcher().encode_history(catalogue().take(np.array(liked)), np.ones(1))
    profile = replace(profile, country=None if taste is None else np.array(taste, np.float32))
    table = matcher()(matcher().encode_query("toy"), None, profile, catalogue())
    return dict(zip(matcher().names, table.T, strict=True))


@pytest.mark.parametrize("liked", [(), (HEAT,)])
def test_what_a_country_likes_pulls_its_neighbours(liked: tuple[int, ...]) -> None:
    made, without = in_country([0.5, -0.5, 0, 0], liked), in_country(None, liked)
    pull = made.pop("liked_in_country")
    assert pull[TOY_STORY] > pull[TOY_SOLDIERS] > 0 > pull[HEAT]
    assert pull[[SPACE, UP, MARKS]].tolist() == [0, 0, 0]
    assert not without.pop("liked_in_country").any()
    for name, values in made.items():
        assert values.tolist() == without[name].tolist(), name


# ---- the entity alone, and independence ---------------------------------------------------------------------


def test_popularity_and_whoever_has_none() -> None:
    made = features()
    assert made["engaged_count"].tolist() == pytest.approx(np.log1p([9, 3, 5, 0, 0, 0]).tolist())
    assert made["never_engaged"].tolist() == [0, 0, 0, 1, 1, 1]


CONTEXTS = [
    ("toy sto", None, (), ()),
    ("heat", TOY_STORY, (HEAT,), (UP,)),
    (None, HEAT, (TOY_STORY, HEAT), ()),
    ("1995 story", None, (), (HEAT,)),
    (None, None, (), ()),
    ("zzz", MARKS, (), ()),
]


def test_scratch_tables_are_clean_after_each_call() -> None:
    first = [computed(*context) for context in CONTEXTS]
    for order in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [1, 1, 0, 3, 0, 2]):
        for number in order:
            assert np.array_equal(computed(*CONTEXTS[number]), first[number])
    fresh = MatchFeatures(matcher().encoder, countries=True)
    query = fresh.encode_query("toy sto")
    assert np.array_equal(fresh(query, None, nobody(), catalogue()), first[0])


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_order_of_candidates_does_not_matter(context: tuple[object, ...]) -> None:
    order = np.array([4, 2, 0, 5, 1, 3])
    shuffled = computed(*context, candidates=catalogue().take(order))
    np.testing.assert_allclose(shuffled, computed(*context)[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_candidate_does_not_depend_on_the_others(context: tuple[object, ...]) -> None:
    whole = computed(*context)
    for row in range(6):
        alone = computed(*context, candidates=catalogue().take(np.array([row])))
        np.testing.assert_allclose(alone[0], whole[row], rtol=1e-5, atol=1e-6)
    twice = computed(*context, candidates=catalogue().take(np.array([2, 2, 0])))
    np.testing.assert_allclose(twice, whole[[2, 2, 0]], rtol=1e-5, atol=1e-6)


def test_no_candidates() -> None:
    for context in CONTEXTS:
        assert computed(*context, candidates=catalogue().take(np.zeros(0, np.int64))).shape[0] == 0


def test_a_record_without_tokens_still_has_features() -> None:
    records = catalogue()
    bare = replace(records, text=np.zeros_like(records.text)).without_tokens()
    assert np.isfinite(computed("toy story", TOY_STORY, candidates=bare)).all()
