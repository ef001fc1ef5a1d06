"""Class names of the procedural rooms; a class's id is its place in this tuple, and id 0 means nothing."""

from __future__ import annotations

__all__ = ["CLASSES", "CLASS_ID", "PLURAL", "STRUCTURE"]

CLASSES: tuple[str, ...] = (
    "nothing",
    "floor",
    "wall",
    "ceiling",
    "door",
    "window",
    "curtain",
    "radiator",
    "chair",
    "armchair",
    "sofa",
    "stool",
    "bed",
    "table",
    "coffee table",
    "desk",
    "cabinet",
    "nightstand",
    "wardrobe",
    "shelf",
    "fridge",
    "tv",
    "monitor",
    "laptop",
    "lamp",
    "ceiling light",
    "plant",
    "box",
    "bin",
    "rug",
    "painting",
    "clock",
    "cushion",
    "books",
    "vase",
    "bottle",
    "ball",
    "suitcase",
)

CLASS_ID: dict[str, int] = {name: number for number, name in enumerate(CLASSES)}

STRUCTURE: frozenset[str] = frozenset({"nothing", "floor", "wall", "ceiling"})

_ODD_PLURALS = {
    "shelf": "shelves",
    "box": "boxes",
    "books": "sets of books",
    "bottle": "bottles",
    "radiator": "radiators",
}

PLURAL: dict[str, str] = {name: _ODD_PLURALS.get(name, name + "s") for name in CLASSES}
