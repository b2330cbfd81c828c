"""Texts as the words that people read, each knowing which of the model's tokens are its own."""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from fedloom.server.evaluator.scorer import Scorer
from fedloom.shared.data.records import Record
from fedloom.shared.errors import EvaluationError

# Scripts that are written without spaces: each sign is a word.
_SIGNS = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)
# The owner of a token that is part of no word.
NOBODY = -1


@dataclass(frozen=True, kw_only=True)
class WordedText:
    """What the model reads of a text, in words. `gaps` stand before each word; `unread` is the
    rest, which was over the model's length.

    `owners` has, for each of the model's `tokens`, the number of its word, or `NOBODY`; `special`
    marks tokens that the tokenizer adds.
    """

    words: tuple[str, ...]
    gaps: tuple[str, ...]
    unread: str
    tokens: tuple[int, ...]
    owners: tuple[int, ...]
    special: tuple[bool, ...]

    @property
    def text(self) -> str:
        """All that the model reads."""
        return self.edited({})

    def without(self, places: Collection[int]) -> str:
        """The text with these words taken out."""
        return self.edited(dict.fromkeys(places, ""))

    def only(self, places: Collection[int]) -> str:
        """The text of these words alone."""
        return self.without([at for at in range(len(self.words)) if at not in places])

    def edited(self, changes: Mapping[int, str]) -> str:
        """The text with other words at these places; an empty one is taken out."""
        parts: list[str] = []
        owed = ""
        for at, (gap, word) in enumerate(zip(self.gaps, self.words, strict=True)):
            # A word that goes leaves its gap, so that its neighbours do not become one word.
            owed = owed or gap
            new = changes.get(at, word)
            if new:
                parts += [owed, new]
                owed = ""
        return "".join(parts).strip() if changes else "".join(parts)


def split_words(text: str) -> Iterator[tuple[int, int]]:
    """Beginning and end of each word: what stands between spaces, with marks at its ends apart."""
    for chunk in re.finditer(r"\S+", text):
        start, end = chunk.span()
        first, last = start, end
        while first < end and _is_mark(text[first]):
            first += 1
        while last > first and _is_mark(text[last - 1]):
            last -= 1
        if start < first:
            yield start, first
        for part in _SIGNS.finditer(text, first, last):
            yield part.span()
        if last > first and last < end:
            yield last, end


def read_words(scorer: Scorer, texts: Sequence[str]) -> list[WordedText]:
    """Each text as the scorer's model reads it, cut to the model's length.

    Raises:
        EvaluationError: the tokenizer does not know from where in the text a token comes.
    """
    encoded = _encode(scorer, texts)
    read = [max((end for _, end in offsets), default=0) for _, offsets, _ in encoded]
    cut = [text[:end] for text, end in zip(texts, read, strict=True)]
    # A word that was cut may have other tokens than its beginning had.
    again = _encode(scorer, cut)
    return [
        _worded(seen, text[end:], *parts)
        for seen, text, end, parts in zip(cut, texts, read, again, strict=True)
    ]


_Encoded = tuple[tuple[int, ...], list[tuple[int, int]], list[int]]


def _encode(scorer: Scorer, texts: Sequence[str]) -> list[_Encoded]:
    """Token ids, just as the task encodes them, with offsets and marks of special tokens."""
    tokenizer = scorer.tokenizer
    if not getattr(tokenizer, "is_fast", False):
        raise EvaluationError(
            "explanations: the tokenizer does not tell from where in the text a token comes, "
            "expected a fast one"
        )
    examples = scorer.encode([Record(text=text, label=0, unit="") for text in texts])
    longest = max((len(example.tokens) for example in examples), default=0)
    found = tokenizer(  # type: ignore[call-arg]
        list(texts),
        truncation=True,
        max_length=longest,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    offsets = cast(list[list[tuple[int, int]]], found["offset_mapping"])
    return [
        (example.tokens, *_of_same_length(len(example.tokens), places, special))
        for example, places, special in zip(
            examples, offsets, found["special_tokens_mask"], strict=True
        )
    ]


def _of_same_length(
    tokens: int, offsets: Sequence[tuple[int, int]], special: Sequence[int]
) -> tuple[list[tuple[int, int]], list[int]]:
    # A text of which the tokenizer keeps nothing still has a token.
    missing = tokens - len(offsets)
    return [*offsets, *[(0, 0)] * missing], [*special, *[1] * missing]


def _worded(
    text: str,
    unread: str,
    tokens: tuple[int, ...],
    offsets: list[tuple[int, int]],
    special: list[int],
) -> WordedText:
    spans = list(split_words(text))
    by_letter = [NOBODY] * len(text)
    for at, (start, end) in enumerate(spans):
        by_letter[start:end] = [at] * (end - start)
    ends = [0, *(end for _, end in spans)]
    return WordedText(
        words=tuple(text[start:end] for start, end in spans),
        gaps=tuple(text[ends[at] : start] for at, (start, _) in enumerate(spans)),
        unread=unread,
        tokens=tokens,
        owners=tuple(_owner(by_letter[start:end]) for start, end in offsets),
        special=tuple(map(bool, special)),
    )


def _owner(letters: Sequence[int]) -> int:
    """The word of the first letter that is part of one: some tokens begin with a space."""
    return next((at for at in letters if at != NOBODY), NOBODY)


def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "PS"
