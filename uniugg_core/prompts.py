"""The order of tokens in front of the language model: control tokens, pictures, transform queries, words.

A prompt is a sequence of pieces: token numbers, or a slot that the embeddings of a picture or of the transform queries
fill. Words of people only ever come in as plain text, so no question can open a message of its own.

The layout is the chat form of Qwen2.5 without a system message (UniUGG figure 3 for the order; the details are ours):

    <|im_start|>user\\n [picture] \\n [queries] \\n question <|im_end|>\\n<|im_start|>assistant\\n answer <|im_end|>\\n

A question may name a place of a picture as "(x, y)", whole numbers from 0 (left, top) to 100. Models that are shown
such places get a slot for each picture behind it; models whose words look, behind every name that finds something. A
question that speaks of one picture, "in frame 2", gets slots for that one alone, and so does a place, "(x, y) in frame
2". Models that are told where cameras stood get a slot for each later picture behind a question about several.

Several pictures are written as ``Frame 1:`` [picture] and so on. Generation reads the condition at the queries of
``<|im_start|>user\\n [picture] \\n [queries]``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .outputs import Turn
from .tokenizer import SpatialTokenizer

__all__ = [
    "CameraSlot",
    "ImageSlot",
    "MarkSlot",
    "NameSlot",
    "Piece",
    "Prompt",
    "QuerySlot",
    "condition_prefix",
    "pictures_of",
    "question_prompt",
    "segments",
    "shared_pieces",
]


@dataclass(frozen=True)
class ImageSlot:
    """Stands for the tokens of picture number `index`."""

    index: int


@dataclass(frozen=True)
class QuerySlot:
    """Stands for the transform queries."""


@dataclass(frozen=True)
class MarkSlot:
    """Stands for what is at (x, y), each 0 to 100, of picture number `index`."""

    index: int
    x: int
    y: int


@dataclass(frozen=True)
class NameSlot:
    """Stands for what a name, `number` of its prompt, found in picture number `index`."""

    index: int
    number: int


@dataclass(frozen=True)
class CameraSlot:
    """Stands for where the camera of picture number `index` was and looked, as the first picture's camera has it."""

    index: int


Piece = tuple[int, ...] | ImageSlot | QuerySlot | MarkSlot | NameSlot | CameraSlot

_PLACE = re.compile(r"\((\d{1,2}|100), ?(\d{1,2}|100)\)")
_FRAMES = r"\bframes? [0-9]{1,4}\b(?:(?:,|,? and|,? or) [0-9]{1,4}\b)*"  # "frame 2", "frames 1 and 2"
_FRAME = re.compile(_FRAMES, re.IGNORECASE)
_FROM_FRAME = re.compile(rf"\bseen from {_FRAMES}", re.IGNORECASE)  # where somebody stands, not what he looks at
_OF_FRAME = re.compile(rf",? (?:in|of) {_FRAMES}", re.IGNORECASE)


@dataclass(frozen=True)
class Prompt:
    """Pieces in order, and the answer that training wants after them (with its closing token)."""

    pieces: tuple[Piece, ...]
    answer: tuple[int, ...] = ()
    before: int = 0  # pieces before the first question
    about: Mapping[Piece, tuple[int, ...]] = field(default_factory=dict)  # pictures that a question's words speak of

    @property
    def text_tokens(self) -> int:
        """Number of tokens that are words and not slots; the answer is not counted."""
        return sum(len(piece) for piece in self.pieces if isinstance(piece, tuple))

    @property
    def words(self) -> tuple[tuple[int, ...], ...]:
        """What is said once everything was shown, question by question, each text once."""
        return tuple(dict.fromkeys(piece for piece in self.pieces[self.before :] if isinstance(piece, tuple)))

    @property
    def marks(self) -> tuple[MarkSlot, ...]:
        """The places it shows, each once."""
        return tuple(dict.fromkeys(piece for piece in self.pieces if isinstance(piece, MarkSlot)))

    @property
    def cameras(self) -> tuple[CameraSlot, ...]:
        """The cameras it tells of, each once."""
        return tuple(dict.fromkeys(piece for piece in self.pieces if isinstance(piece, CameraSlot)))


def condition_prefix(tokenizer: SpatialTokenizer) -> Prompt:
    """What stands before the transform queries of a generation."""
    newline = tuple(tokenizer.encode("\n"))
    return Prompt(((tokenizer.im_start, *tokenizer.encode("user\n")), ImageSlot(0), newline))


def question_prompt(
    tokenizer: SpatialTokenizer,
    question: str,
    *,
    images: int = 1,
    history: Sequence[Turn] = (),
    with_queries: bool = False,
    with_marks: bool = False,
    with_cameras: bool = False,
    answer: str | None = None,
) -> Prompt:
    """The prompt of a question about `images` pictures, up to where the answer begins.

    Args:
        history: earlier turns, oldest first; the pictures stand in the first user message.
        with_queries: puts the transform queries after the pictures, for questions about a view from elsewhere.
        with_marks: shows what is at the places that it names, for models with ``language.marks``.
        with_cameras: tells where later pictures were taken from, for models with ``language.situated``.
        answer: for training, the wanted answer.
    """
    encode = tokenizer.encode
    newline = tuple(encode("\n"))
    pieces: list[Piece] = [(tokenizer.im_start, *encode("user\n"))]
    for index in range(images):
        if images > 1:
            pieces.append(tuple(encode(f"Frame {index + 1}: ")))
        pieces += [ImageSlot(index), newline]
    if with_queries:
        pieces += [QuerySlot(), newline]

    before = len(pieces)
    to_answer = (tokenizer.im_end, *newline, tokenizer.im_start, *encode("assistant\n"))
    to_question = (tokenizer.im_end, *newline, tokenizer.im_start, *encode("user\n"))
    about: dict[Piece, tuple[int, ...]] = {}

    def ask(text: str) -> None:
        cameras = _cameras(text, images) if with_cameras else []
        asked = _asked(tokenizer, text, images, with_marks, () if cameras else to_answer)
        for piece in asked:  # two questions may have words in common
            about[piece] = tuple(sorted({*about.get(piece, ()), *pictures_of(text, images)}))
        pieces.extend([*asked, *cameras, *([to_answer] if cameras else [])])

    for turn in history:
        ask(turn.question)
        pieces.append((*encode(turn.answer), *to_question))
    ask(question)
    wanted = () if answer is None else (*encode(answer), tokenizer.im_end)
    return Prompt(tuple(pieces), wanted, before, about)


def pictures_of(question: str, images: int) -> tuple[int, ...]:
    """Which of `images` pictures a question speaks of, by their numbers; all if it does not say.

    >>> pictures_of("In frame 2, how far away is the chair?", 2), pictures_of("How far away is it?", 2)
    ((1,), (0, 1))
    >>> pictures_of("Seen from frame 1, where did the camera go?", 2)
    (0, 1)
    """
    named = _FRAME.findall(_FROM_FRAME.sub("", question))
    said = {int(number) - 1 for one in named for number in re.findall("[0-9]+", one)}
    return tuple(index for index in range(images) if index in said) or tuple(range(images))


def _asked(tokenizer: SpatialTokenizer, text: str, images: int, with_marks: bool, then: tuple[int, ...]) -> list[Piece]:
    """A question's words and the places between them; the last piece ends with `then`."""
    pieces: list[Piece] = []
    *marked, last = segments(text, with_marks)
    for start, end in marked:
        pieces.append(tuple(tokenizer.encode(text[start:end])))
        x, y = map(int, _PLACE.search(text, start).groups())  # type: ignore[union-attr]
        own = _OF_FRAME.match(text, end)
        pieces += [MarkSlot(index, x, y) for index in pictures_of(own[0] if own else text, images)]
    return [*pieces, (*tokenizer.encode(text[last[0] :]), *then)]


def _cameras(text: str, images: int) -> list[Piece]:
    """Slots for the later ones of the pictures, where a question is about several."""
    about = pictures_of(text, images)
    return [CameraSlot(index) for index in about if index and len(about) > 1]


def segments(text: str, with_marks: bool) -> list[tuple[int, int]]:
    """Where the pieces of a question begin and end in its text: each but the last one ends with a place."""
    ends = [place.end() for place in _PLACE.finditer(text)] if with_marks else []
    return list(zip([0, *ends], [*ends, len(text)]))


def shared_pieces(prompts: Sequence[Prompt]) -> int:
    """How many pieces the prompts begin with alike; the last one of each is always its own."""
    shared = 0
    for alike in zip(*(prompt.pieces[:-1] for prompt in prompts)):
        if any(piece != alike[0] for piece in alike) or not isinstance(alike[0], (tuple, ImageSlot)):
            break  # the slots of two prompts look alike, what fills them need not
        shared += 1
    return shared
