"""Text that nobody wrote: plain English sentences, made from a seed, as prompts are filled."""

from __future__ import annotations

import random


def _words(text: str) -> list[str]:
    return text.split()


_DESCRIBING = _words(
    "quiet narrow patient heavy early clever distant broken gentle crowded honest sudden "
    "wooden shallow careful bitter golden hollow steady curious empty foreign modest northern "
    "pale rapid rough silent slow tall tidy warm weary wide young ancient brave calm dusty "
    "familiar"
)
_THINGS = _words(
    "garden river engine letter market window teacher harbour village signal bridge kitchen "
    "doctor forest ladder machine morning notebook office painter platform question railway "
    "season shepherd station stranger summer theatre traveller tunnel valley visitor "
    "warehouse weather winter writer archive bakery basket candle captain carpenter cellar "
    "clock corner courtyard customer dairy driver evening factory farmer ferry gallery guest "
    "island journey keeper lantern library lighthouse meadow merchant miller mountain "
    "neighbour orchard pilot postman printer quarry recipe reporter sailor sculptor stable "
    "student tailor tower vessel vineyard watchman"
)
_DOING = _words(
    "answers borrows brings builds carries changes chooses closes counts crosses describes "
    "draws empties explains finds follows gathers guards hides imagines joins keeps leaves "
    "lends measures mends misses moves names notices opens orders paints passes prepares "
    "praises reaches recalls repairs replaces rescues saves searches sells sends serves shows "
    "studies teaches visits warns"
)
_JOINING = _words("and while because although until before after whenever so but")
_WHEN = (
    "today",
    "again",
    "at noon",
    "in spring",
    "by night",
    "at once",
    "every week",
    "without a word",
    "for a friend",
    "near the border",
    "in the rain",
    "with great care",
)


def sentences(draw: random.Random, words: int) -> str:
    """Return whole sentences of at least `words` words, and of at most 20 more.

    A word has about 1.2 tokens in the usual vocabularies.
    """
    found: list[str] = []
    count = 0
    while count < words:
        sentence = f"{_clause(draw)} {draw.choice(_JOINING)} {_clause(draw)}"
        count += sentence.count(" ") + 1
        found.append(f"{sentence[0].upper()}{sentence[1:]}.")
    return " ".join(found)


def thing(draw: random.Random) -> str:
    """Return something to ask about: a few words."""
    return f"{draw.choice(_DESCRIBING)} {draw.choice(_THINGS)}"


def _clause(draw: random.Random) -> str:
    return f"the {thing(draw)} {draw.choice(_DOING)} the {thing(draw)} {draw.choice(_WHEN)}"
