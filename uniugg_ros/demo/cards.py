"""One picture for each request, that a person can judge: scenes as sheets, answers as cards."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from uniugg_core.cameras import square_crop
from uniugg_core.sheet import SheetText, font, scene_sheet

from .outcome import Outcome

__all__ = ["answer_card", "imagine_sheet", "printable", "wrapped"]

WIDTH, MARGIN = 1200, 24
PICTURE = 540  # pixels, the wider side of a card's picture
REAL = 448  # pixels, side of the real picture before the sheet scales it
INK, FAINT, PAPER, MARK = (28, 32, 38), (110, 118, 128), (255, 255, 255), (232, 118, 20)
WARNING_INK = (150, 60, 0)
ANSWER_INK, TRUTH_INK = (38, 110, 200), (27, 120, 55)
ANSWER_LINES = 8  # the whole answer is in answers.txt


def imagine_sheet(outcome: Outcome, warning: str | None) -> np.ndarray | None:
    """The page of a scene; None if the request brought none or its input is not known."""
    if outcome.scene is None or outcome.reference is None or outcome.target_from_reference is None:
        return None
    reference = outcome.pictures[outcome.reference]
    real = None
    if outcome.target is not None:
        target = outcome.pictures[outcome.target]
        real = square_crop(target.image, target.camera, REAL).image
    facts = [f"{outcome.via}, {outcome.milliseconds / 1000:.2f} s"]
    if outcome.updates:
        facts.append(f"{outcome.updates} progress messages")
    if outcome.seed is not None:
        facts.append(f"seed {outcome.seed}")
    spread = float(np.median(outcome.scene.spread[outcome.scene.source == 1])) if len(outcome.scene.points) else 0.0
    if spread > 0:
        facts.append(f"samples differ by {spread:.2f} m (median)")
    text = SheetText(f"{outcome.number}. {outcome.title}", tuple(facts), warning)
    return scene_sheet(
        reference.image,
        reference.camera,
        outcome.target_from_reference,
        outcome.scene,
        text,
        predicted=outcome.view,
        real=real,
    )


def answer_card(outcome: Outcome, warning: str | None) -> np.ndarray:
    """The picture that was asked about, with what the answer rests on, and the question and answer beside it."""
    card = Image.new("RGB", (WIDTH, 2 * MARGIN + PICTURE), PAPER)
    bottom = MARGIN
    if outcome.reference is not None:
        picture = _marked(outcome.pictures[outcome.reference].image, outcome.marks)
        card.paste(picture, (MARGIN, MARGIN))
        bottom += picture.height
    draw, left, top = ImageDraw.Draw(card), MARGIN * 2 + PICTURE, MARGIN
    facts = [outcome.via, f"{outcome.milliseconds / 1000:.2f} s", f"{outcome.tokens} tokens"]
    facts.append(f"confidence {outcome.confidence:.2f}")
    if outcome.value:
        facts.append(f"value {outcome.value}")
    rows = [(f"{outcome.number}. {outcome.title}", 24, INK), (", ".join(facts), 15, FAINT), ("", 8, INK)]
    rows += [(line, 20, INK) for line in wrapped(outcome.question, 20, WIDTH - MARGIN - left)]
    rows.append(("", 8, INK))
    answer = wrapped(printable(outcome.answer), 18, WIDTH - MARGIN - left) or ["(empty)"]
    rows += [(line, 18, ANSWER_INK) for line in answer[:ANSWER_LINES]]
    if outcome.truth:
        rows += [("", 8, INK), (f"true answer: {printable(outcome.truth)}", 16, TRUTH_INK)]
    if outcome.marks:
        rows += [("", 8, INK), ("circles: where the answer rests in the picture", 14, FAINT)]
    if warning:
        rows += [("", 8, INK), (warning, 15, WARNING_INK)]
    for words, size, color in rows:
        draw.text((left, top), words, color, font(size))
        top += round(size * 1.45)
    return np.asarray(card.crop((0, 0, WIDTH, max(top, bottom) + MARGIN)))


def printable(text: str) -> str:
    """`text` on one line, with what a font cannot show replaced by a middle dot."""
    return "".join(
        letter if letter.isprintable() and ord(letter) < 0x250 else "·" for letter in text.replace("\n", " ")
    )


def wrapped(text: str, size: int, width: int) -> list[str]:
    """`text` in lines of at most `width` pixels; words longer than a line are broken."""
    measure, lines, line = font(size), [], ""
    for word in text.split():
        while word:
            longer = f"{line} {word}" if line else word
            if measure.getlength(longer) <= width:
                line, word = longer, ""
            elif line:
                lines.append(line)
                line = ""
            else:
                fits = next(n for n in range(len(word), 0, -1) if n == 1 or measure.getlength(word[:n]) <= width)
                lines.append(word[:fits])
                word = word[fits:]
    return [*lines, line] if line else lines


def _marked(image: np.ndarray, marks: list[tuple[float, float, float]]) -> Image.Image:
    height, width = image.shape[:2]
    scale = PICTURE / max(height, width)
    picture = Image.fromarray(image).resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    most = max((weight for *_, weight in marks), default=1.0) or 1.0
    for u, v, weight in marks:
        radius = 6 + 18 * weight / most
        x, y = (u + 0.5) * scale, (v + 0.5) * scale
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=MARK, width=3)
    return picture
