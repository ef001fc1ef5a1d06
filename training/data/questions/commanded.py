"""Questions about what would be seen from a commanded pose: the reference is shown, the target knows the answer."""

from __future__ import annotations

from random import Random

from ..graph import SceneObject
from .motions import motion_between
from .sight import TRACE, Sight
from .types import Matrix, Question, choice, lettered, metres, verdicts
from .wording import phrase

__all__ = ["MAKERS"]

PLAIN = 0.008  # share of the target picture from which a thing counts as in view


def visible_then(sight: Sight, rng: Random) -> Question | None:
    """Which of some things seen now will be in view then, or which will not."""
    kept, lost = _kept_and_lost(sight)
    if rng.random() < 0.5:
        key, right, wrong = "commanded_visible", kept, lost
    else:
        key, right, wrong = "commanded_hidden", lost, kept
    if not right or not wrong:
        return None
    answer = rng.choice(right)
    options = [answer, *rng.sample(wrong, min(len(wrong), 3))]
    rng.shuffle(options)
    text = phrase(rng, key, command=_command(sight, rng))
    names, ids = tuple(sight.spoken[item.id] for item in options), tuple(item.id for item in options)
    correct, evidence = options.index(answer), {"objects": ids, "target_from_reference": _pose(sight)}
    reason = verdicts(item in kept for item in options)
    return lettered("commanded_view", text, names, correct, (0,), reason=reason, **evidence)


def side_then(sight: Sight, rng: Random) -> Question | None:
    """In which third of the picture a thing will be."""
    kept, _ = _kept_and_lost(sight)
    if not kept:
        return None
    item = rng.choice(kept)
    x = sight.middle(item.id, 1)[0]
    if min(abs(x - 1 / 3), abs(x - 2 / 3)) < 0.07:
        return None
    text = phrase(rng, "commanded_side", command=_command(sight, rng), a=sight.spoken[item.id])
    correct = 0 if x < 1 / 3 else 1 if x < 2 / 3 else 2
    options = ("left", "middle", "right")
    evidence = {"objects": (item.id,), "target_from_reference": _pose(sight), "reason": f"at {round(100 * x)}"}
    return choice("commanded_side", text, options, correct, (0,), **evidence)


def distance_then(sight: Sight, rng: Random) -> Question | None:
    """How far a thing will be."""
    kept, _ = _kept_and_lost(sight)
    if not kept:
        return None
    item = rng.choice(kept)
    text = phrase(rng, "commanded_distance", command=_command(sight, rng), a=sight.spoken[item.id])
    return metres(
        "commanded_distance",
        text,
        sight.distance(item.id, 1),
        (0,),
        objects=(item.id,),
        target_from_reference=_pose(sight),
    )


def _kept_and_lost(sight: Sight) -> tuple[list[SceneObject], list[SceneObject]]:
    """Things seen and named now that are plainly in view then, and those of which nothing is."""
    then = sight.share(1)
    kept = [item for item in sight.named if then[item.id] >= PLAIN]
    lost = [item for item in sight.named if then[item.id] < TRACE]
    return kept, lost


def _command(sight: Sight, rng: Random) -> str:
    """Words for the motion to the target; small motions, which rounding would falsify, are left to the pose."""
    move = motion_between(sight.pair.target_from_reference)
    said = move.rounded()
    exact = abs(move.roll) < 5 and (abs(said.yaw) >= 10 or said.distance >= 0.3)
    if exact and rng.random() < 0.5:
        return phrase(rng, "command", motion=said.words())
    return phrase(rng, "command_pose")


def _pose(sight: Sight) -> Matrix:
    return tuple(tuple(float(value) for value in row) for row in sight.pair.target_from_reference)


MAKERS = {"commanded_view": visible_then, "commanded_side": side_then, "commanded_distance": distance_then}
