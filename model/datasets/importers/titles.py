"""Film titles in MovieLens notation → clean name, year, alternative titles, franchise. Pure functions on text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from model.text.normalise import words

_YEAR = re.compile(r"\s*\((\d{4})(?:[-–]\s*(?:\d{4})?)?\)\s*$")
_LAST_PARENTHESES = re.compile(r"\s*\(([^()]*)\)\s*$")
_TRAILING_ARTICLE = re.compile(
    r"^(?P<rest>.+), (?P<article>The|A|An|"
    r"Le|La|Les|L'|El|Los|Las|Il|Lo|Gli|Der|Die|Das|Det|Den|De|En|Et|Un|Une|Una)$"
)
_ALSO_KNOWN_AS = re.compile(r"^a\.?k\.?a\.?:?\s+", re.IGNORECASE)
_SUBTITLE = re.compile(r"\s*(?::|\s[-–]\s|,?\s+(?:part|episode|chapter|vol|volume)\b).*$", re.IGNORECASE)
_NUMERAL = re.compile(r"^(?:\d{1,2}|i{2,3}|iv|vi{0,3}|ix|xi{0,3})$")
_ARTICLES = frozenset({"the", "a", "an"})
_GENERIC = frozenset({"love", "home", "american", "night", "dead", "man", "girl", "lost", "black", "house"})


@dataclass(frozen=True, slots=True)
class Title:
    """A film's clean name; `year` is None and `others` empty if the source has none."""

    name: str
    year: int | None
    others: tuple[str, ...] = ()


def parse_title(raw: str) -> Title:
    """Split a MovieLens title.

    >>> parse_title("City of Lost Children, The (Cité des enfants perdus, La) (1995)")
    Title(name='The City of Lost Children', year=1995, others=('La Cité des enfants perdus',))
    """
    rest, year = raw.strip(), None
    if (match := _YEAR.search(rest)) is not None:
        rest, year = rest[: match.start()], int(match.group(1))
    others: list[str] = []
    while (match := _LAST_PARENTHESES.search(rest)) is not None and match.start() > 0:
        rest = rest[: match.start()]
        others.insert(0, article_first(_ALSO_KNOWN_AS.sub("", match.group(1).strip())))
    name = article_first(rest) or raw.strip()
    return Title(name, year, tuple(other for other in others if other and other != name))


def article_first(title: str) -> str:
    """Move a trailing article to the front.

    >>> article_first("Matrix, The"), article_first("Atalante, L'")
    ('The Matrix', "L'Atalante")
    """
    match = _TRAILING_ARTICLE.match(title.strip())
    if match is None:
        return title.strip()
    gap = "" if match["article"].endswith("'") else " "
    return f"{match['article']}{gap}{match['rest']}"


def article_free(name: str) -> str:
    """The words of a name without a leading English article.

    >>> article_free("The Room")
    'room'
    """
    parts = words(name)
    return " ".join(parts[1:] if len(parts) > 1 and parts[0] in _ARTICLES else parts)


def franchise_of(name: str) -> str | None:
    """The words that films of one series share at the front of their names, or None if there are too few.

    >>> franchise_of("Toy Story 2"), franchise_of("Star Trek II: The Wrath of Khan"), franchise_of("Heat 2")
    ('toy story', 'star trek', 'heat')
    >>> franchise_of("Indiana Jones and the Temple of Doom"), franchise_of("Beauty and the Beast")
    ('indiana jones', 'beauty and the beast')
    """
    parts = article_free(_SUBTITLE.sub("", name) or name).split()
    for index in range(2, len(parts) - 2):
        if parts[index : index + 2] == ["and", "the"]:
            parts = parts[:index]
            break
    while parts[1:] and _NUMERAL.match(parts[-1]):
        parts = parts[:-1]
    key = " ".join(parts)
    return None if len(key) < 4 or key in _GENERIC or key.isdigit() else key
