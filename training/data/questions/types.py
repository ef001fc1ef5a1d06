"""What a question is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..graph import SceneObject

__all__ = [
    "LETTERS",
    "Exhibition",
    "Matrix",
    "Mention",
    "Question",
    "Spot",
    "because",
    "choice",
    "length",
    "lettered",
    "metres",
    "numeric",
    "places",
]

Matrix = tuple[tuple[float, ...], ...]

Mention = tuple[int, int, tuple[int, ...]]  # a name in a text: where it begins and ends, ids of what it names

Spot = tuple[float, float, float]  # x, y, z in metres, in a camera's optical frame

LETTERS = "ABCDEFGH"


@dataclass(frozen=True)
class Exhibition:
    """What an exercise shows without pictures: things, or marked points, and the cameras that see them.

    Attributes:
        names: of the things, as the question's text has them; "(x, y)" is a marked point.
        spots: for each thing and each view where it is in the frame of that view's camera; None: not in that view.
        half: tangent of half the cameras' field of view.
        cameras: first_from_camera of every view.
        surfaces: for each thing and view the metres from the other camera, the commanded one or the other view's, to
            what that one sees in the thing's direction; None: the thing itself.
        radii: of the things, which are balls where it matters how far they are apart; none: they are points.
        sides: of the things, width, depth and height in metres, where it matters how large they are; none: untold.
        counts: how many there are of each, where that matters; none: untold.
    """

    names: tuple[str, ...]
    spots: tuple[tuple[Spot | None, ...], ...]
    half: float
    cameras: tuple[Matrix, ...]
    surfaces: tuple[tuple[float | None, ...], ...] = ()
    radii: tuple[float, ...] = ()
    sides: tuple[Spot, ...] = ()
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Question:
    """A question about one or two views of a pair, and its true answer.

    ``views`` are the pictures to show, in order; where there are two, the text calls them frame 1 and frame 2. Points
    in texts are (x, y) on a scale of 0 to 100 from the upper left corner.
    """

    text: str
    answer: str  # what the model should say: "2.3 m", "left", "B"
    kind: str  # "numeric", "choice", or "words" (for lessons, not for tests)
    family: str  # what it asks for; see `training.data.questions.FAMILIES`
    views: tuple[int, ...] = (0,)  # 0 is the pair's reference, 1 its target
    value: float | None = None  # the number in `answer` (numeric)
    unit: str = ""  # "m", "cm", "deg", "m2" or "" (counts)
    options: tuple[str, ...] = ()  # choice: all options; lettered ones stand in the text as "A. ..."
    correct: int = -1  # choice: index into `options`
    asks: str = ""  # which of its family's questions it is: a key of `wording.PHRASES`; "": there is one kind
    reason: str = ""  # what the answer follows from: "the chair 1.2 m, the table 3.0 m"
    objects: tuple[int, ...] = ()  # evidence: object ids of the scene graph
    points: tuple[tuple[int, int, int], ...] = ()  # evidence: (view, x, y) of marked points
    mentions: tuple[Mention, ...] = ()  # names in `text`
    things: tuple[SceneObject | None, ...] = ()  # what `mentions` name; None where it is several things
    shown: Exhibition | None = None  # instead of pictures; `mentions` are numbers of its things then
    target_from_reference: Matrix | None = None  # commanded pose that the question is about, (4, 4)

    @property
    def spoken(self) -> str:
        """What a model is taught to say: the reason, where there is one, then the answer.

        A small model learns to look things up, one at a time, long before it learns to compare them unsaid.
        """
        return f"{self.reason}: {self.answer}" if self.reason else self.answer

    @property
    def lettered(self) -> bool:
        """Whether the answer is an option's letter."""
        return self.kind == "choice" and self.answer in LETTERS and self.answer != ""


def numeric(
    family: str, text: str, value: float, unit: str, digits: int, views: tuple[int, ...], **evidence: object
) -> Question:
    """A question whose answer is a number, rounded to `digits` decimals."""
    rounded = round(value, digits)
    shown = f"{rounded:.{digits}f}" if digits > 0 else str(int(rounded))
    answer = f"{shown} {unit}" if unit else shown
    return Question(text, answer, "numeric", family, views, float(shown), unit, **evidence)  # type: ignore[arg-type]


def metres(family: str, text: str, value: float, views: tuple[int, ...], **evidence: object) -> Question:
    """A question whose answer is a length in metres: to the decimetre, below one metre to the centimetre."""
    return numeric(family, text, value, "m", _digits(value), views, **evidence)


def because(names: Iterable[str], lengths: Iterable[float]) -> str:
    """A reason by lengths in metres.

    >>> because(("the chair", "the table"), (1.23, 0.456))
    'the chair 1.2 m, the table 0.46 m'
    """
    return ", ".join(f"{name} {length(value)}" for name, value in zip(names, lengths))


def verdicts(inside: Iterable[bool]) -> str:
    """A reason by which of the lettered options are in view.

    >>> verdicts((True, False))
    'A in, B out'
    """
    return ", ".join(f"{letter} {'in' if flag else 'out'}" for letter, flag in zip(LETTERS, inside))


def places(names: Iterable[str], spots: Iterable[tuple[float, float]]) -> str:
    """A reason by places on the floor, metres to the right and ahead of who looks.

    >>> places(("the chair", "the table"), ((-0.31, 1.2), (0.0, 2.04)))
    'the chair (-0.3, 1.2), the table (0.0, 2.0)'
    """
    # adding 0.0 makes -0.0 positive
    return ", ".join(f"{name} ({round(x, 1) + 0.0:.1f}, {round(y, 1) + 0.0:.1f})" for name, (x, y) in zip(names, spots))


def length(metres: float) -> str:
    """A length as answers say it: to the decimetre, below one metre to the centimetre."""
    return f"{metres:.{_digits(metres)}f} m"


def _digits(length: float) -> int:
    return 1 if length >= 0.995 else 2


def choice(
    family: str, text: str, options: tuple[str, ...], correct: int, views: tuple[int, ...], **evidence: object
) -> Question:
    """A question whose answer is one of the options, said in words."""
    return Question(text, options[correct], "choice", family, views, options=options, correct=correct, **evidence)  # type: ignore[arg-type]


def lettered(
    family: str, text: str, options: tuple[str, ...], correct: int, views: tuple[int, ...], **evidence: object
) -> Question:
    """A question whose answer is the letter of one of the options, which are added to the text."""
    listed = " ".join(f"{LETTERS[k]}. {option}" for k, option in enumerate(options))
    return Question(
        f"{text} {listed}",
        LETTERS[correct],
        "choice",
        family,
        views,
        options=options,
        correct=correct,
        **evidence,  # type: ignore[arg-type]
    )
