"""The words of questions: several phrasings for everything that is asked.

Slots are filled with ``str.format``; ``{where}`` is "in the image", "in frame 2", "in the two frames" and the like.
Phrasings without it are for a single picture, if others have it.
"""

from __future__ import annotations

from random import Random

__all__ = ["PHRASES", "phrase", "where"]

PHRASES: dict[str, tuple[str, ...]] = {
    "count": (
        "How many {things} are {where}?",
        "How many {things} can be seen {where}?",
        "Count the {things} {where}.",
        "What is the number of {things} visible {where}?",
        "Tell me how many {things} you see {where}.",
        "How many {things} are there?",
        "How many {things} do you see?",
    ),
    "roll_call": ("Where are {things}?", "Show me {things}."),
    "object_distance": (
        "What is the distance between {a} and {b} in metres?",
        "How far apart are {a} and {b}, in metres?",
        "How many metres lie between {a} and {b}, measured from their closest points?",
        "Measuring from the closest points, how far is {a} from {b} in metres?",
        "Estimate the shortest distance from {a} to {b} in metres.",
        "How far is {a} from {b}?",
        "How far apart are {a} and {b}?",
        "What is the distance between {a} and {b}?",
    ),
    "camera_distance": (
        "How far is {a} from the camera in metres?",
        "What is the distance from the camera to {a}, in metres?",
        "How many metres away is the nearest visible point of {a}?",
        "Estimate the distance to {a} in metres.",
        "How close is {a} to the camera, in metres?",
        "How far away is {a}?",
        "How far is {a}?",
        "What is the distance to {a}?",
        "How far is it to {a}?",
    ),
    "relative_distance": (
        "Which of these is closest to {a}?",
        "Measured from the closest points, which of these objects is nearest to {a}?",
        "Which one stands closest to {a}?",
        "Of the following, which has the smallest distance to {a}?",
        "Which is nearest to {a}?",
    ),
    "object_size": (
        "What is the length of the longest side of {a}, in centimetres?",
        "How long is the longest dimension of {a} in centimetres?",
        "How large is {a} along its longest side, in centimetres?",
        "Give the longest dimension (length, width or height) of {a} in centimetres.",
        "How long is {a}?",
        "How big is {a}?",
    ),
    "object_height": (
        "How tall is {a} in centimetres?",
        "What is the height of {a}, in centimetres?",
        "Estimate the height of {a} in centimetres.",
        "From its lowest to its highest point, how many centimetres does {a} measure?",
        "How tall is {a}?",
        "How high is {a}?",
    ),
    "room_size": (
        "What is the size of this room in square metres?",
        "How large is the floor of this room, in square metres?",
        "Estimate the floor area of the room in square metres.",
        "How many square metres does this room have?",
        "How big is this room?",
        "How large is the room?",
    ),
    "direction_side": (
        "If I stand at {a} and face {b}, is {c} to my left or to my right?",
        "Standing by {a} and looking at {b}: is {c} on the left or on the right?",
        "From {a}, facing {b}, is {c} left or right?",
    ),
    "direction_back": (
        "If I stand at {a} and face {b}, is {c} to my left, right or back (more than 135 degrees away)?",
        "Standing by {a} and looking at {b}: is {c} to the left, right or back?",
        "From {a}, facing {b}, is {c} to the left, to the right or at my back?",
    ),
    "direction_quadrant": (
        "If I stand at {a} and face {b}, is {c} to my front-left, front-right, back-left or back-right?",
        "Standing by {a} and looking at {b}, where is {c}: front-left, front-right, back-left or back-right?",
        "From {a}, facing {b}, where is {c}: front-left, front-right, back-left or back-right?",
    ),
    "image_side": (
        "Is {a} to the left or to the right of {b} {where}?",
        "Seen from the camera, is {a} left or right of {b} {where}?",
        "On which side of {b} does {a} appear {where}, left or right?",
        "Is {a} left or right of {b}?",
    ),
    "depth_order": (
        "Which is closer to the camera {where}: {a} or {b}?",
        "Which of the two is nearer {where}, {a} or {b}?",
        "{where_cap}, is {a} or {b} closer to the camera?",
        "Which is closer, {a} or {b}?",
        "What is nearer, {a} or {b}?",
    ),
    "nearest": (
        "Which of these objects is closest to the camera {where}?",
        "Which one is nearest to the camera {where}?",
        "{where_cap}, which of these has the smallest distance to the camera?",
        "Which of these is nearest?",
        "Which is closest to the camera?",
    ),
    "farthest": (
        "Which of these objects is farthest from the camera {where}?",
        "Which one is the most distant {where}?",
        "{where_cap}, which of these has the largest distance to the camera?",
        "Which of these is farthest away?",
    ),
    "on_top": (
        "Which of these is on {a}?",
        "What stands on {a}?",
        "Which of the following things is on top of {a}?",
    ),
    "inventory": (
        "What do you see {where}?",
        "List the things {where} from left to right with their distances.",
        "What is {where}, and how far away is it?",
        "What do you see?",
        "What is there?",
    ),
    "appearance": (
        "In which frame can {a} be seen: frame 1, frame 2 or both?",
        "Is {a} visible in frame 1, in frame 2 or in both?",
        "Where does {a} appear: frame 1, frame 2 or both?",
    ),
    "commanded_visible": (
        "{command}: which of these will be in view?",
        "{command}: which of these objects will the camera see?",
        "{command}: which one can then still be seen?",
    ),
    "commanded_hidden": (
        "{command}: which of these will be out of sight?",
        "{command}: which of these objects will no longer be visible?",
        "{command}: which one can then not be seen any more?",
    ),
    "commanded_side": (
        "{command}: will {a} be in the left, middle or right third of the image?",
        "{command}: where will {a} appear, left, middle or right?",
        "{command}: in which third of the picture is {a} then: left, middle or right?",
    ),
    "commanded_distance": (
        "{command}: how far is {a} from the camera then, in metres?",
        "{command}: what will be the distance to {a} in metres?",
        "{command}: how many metres away is the nearest visible point of {a}?",
    ),
    "commanded_point": (
        "{command}: how far is the surface now at ({x}, {y}) from the camera then, in metres?",
        "{command}: what will be the distance from the camera to the point now at ({x}, {y}), in metres?",
        "{command}: how many metres from the camera is what is now at ({x}, {y})?",
    ),
    "point_depth": (
        "What is the depth of the point at ({x}, {y}) {where}, in metres?",
        "How many metres in front of the camera is the surface at ({x}, {y}) {where}?",
        "Give the depth at ({x}, {y}) {where} in metres.",
        "How deep is the scene at ({x}, {y}) {where}, in metres?",
        "How far away is the point at ({x}, {y})?",
        "How deep is it at ({x}, {y})?",
    ),
    "region_depth": (
        "What is the typical depth inside the box from ({x0}, {y0}) to ({x1}, {y1}) {where}, in metres?",
        "Give the median depth of the region ({x0}, {y0}) to ({x1}, {y1}) {where} in metres.",
        "How many metres in front of the camera is the area between ({x0}, {y0}) and ({x1}, {y1}) {where}?",
    ),
    "point_order": (
        "Which of these points {where} is closest to the camera?",
        "Which point is nearest {where}?",
        "{where_cap}, which of these points has the smallest depth?",
        "Which of these points is closest?",
    ),
    "point_pair_order": (
        "Which point is closer to the camera {where}, ({x0}, {y0}) or ({x1}, {y1})?",
        "{where_cap}, is ({x0}, {y0}) or ({x1}, {y1}) nearer to the camera?",
        "Which is closer, ({x0}, {y0}) or ({x1}, {y1})?",
    ),
    "point_distance": (
        "How far apart in space are the points at ({x0}, {y0}) and ({x1}, {y1}) {where}, in metres?",
        "What is the distance in metres between the surfaces at ({x0}, {y0}) and ({x1}, {y1}) {where}?",
        "Estimate the 3-D distance from ({x0}, {y0}) to ({x1}, {y1}) {where} in metres.",
        "How far is it from ({x0}, {y0}) to ({x1}, {y1})?",
    ),
    "cross_distance": (
        "How far is the point at ({x0}, {y0}) in frame 1 from the point at ({x1}, {y1}) in frame 2, in metres?",
        "What is the distance in metres between ({x0}, {y0}) of frame 1 and ({x1}, {y1}) of frame 2?",
    ),
    "camera_shift": (
        "How far did the camera move between frame 1 and frame 2, in metres?",
        "What is the distance between the camera positions of the two frames, in metres?",
        "By how many metres did the camera move from frame 1 to frame 2?",
        "How far did the camera move?",
    ),
    "camera_turn": (
        "By how many degrees did the camera turn between frame 1 and frame 2?",
        "What is the angle between the viewing directions of the two frames, in degrees?",
        "How many degrees did the camera rotate from frame 1 to frame 2?",
    ),
    "turn_side": (
        "Did the camera turn left or right from frame 1 to frame 2?",
        "From frame 1 to frame 2, did the view turn to the left or to the right?",
        "In which direction did the camera turn between the frames, left or right?",
        "Did the camera turn left or right?",
    ),
    "shift_side": (
        "In which direction did the camera mainly move from frame 1 to frame 2: forward, backward, left or right?",
        "Seen from frame 1, did the camera move forward, backward, left or right?",
        "Which way did the camera mostly move between the frames: forward, backward, left or right?",
    ),
    "other_camera": (
        "Seen from the camera of frame 1, is the camera of frame 2 to the left or to the right?",
        "Where was frame 2 taken, to the left or to the right of frame 1's camera?",
    ),
    "view_change": (
        "Which motion takes the camera from frame 1 to frame 2?",
        "How did the camera move between frame 1 and frame 2?",
        "Which of these describes the change of view from frame 1 to frame 2?",
    ),
    "visible": (
        "Can the surface at ({x}, {y}) in frame {f} be seen in frame {g}, yes or no?",
        "Is the point at ({x}, {y}) of frame {f} visible in frame {g}, yes or no?",
        "Does frame {g} show the point that is at ({x}, {y}) in frame {f}, yes or no?",
    ),
    "match": (
        "Where in frame {g} is the point that is at ({x}, {y}) in frame {f}?",
        "Which point of frame {g} shows the same place as ({x}, {y}) in frame {f}?",
        "The point at ({x}, {y}) in frame {f} appears where in frame {g}?",
    ),
    "nearer_camera": (
        "Which camera is closer to the point at ({x}, {y}) in frame {f}, that of frame 1 or that of frame 2?",
        "The surface at ({x}, {y}) in frame {f}: was the camera closer to it in frame 1 or in frame 2?",
    ),
    "command": (
        'After the motion "{motion}"',
        "If the camera moves like this: {motion}",
        "Suppose the camera does this: {motion}",
    ),
    "command_pose": (
        "From the commanded pose",
        "Seen from the commanded viewpoint",
        "After moving to the commanded pose",
    ),
}


def phrase(rng: Random, key: str, **slots: object) -> str:
    """One of the phrasings of `key` with its slots filled.

    >>> phrase(Random(0), "room_size").endswith("?") or True
    True
    """
    phrasings = PHRASES[key]
    if "where" in slots:
        place = str(slots["where"])
        slots["where_cap"] = place[:1].upper() + place[1:]
        if "frame" in place:
            phrasings = tuple(text for text in phrasings if "{where" in text)
    return rng.choice(phrasings).format(**slots)


def where(rng: Random, views: tuple[int, ...], shown: int | None = None) -> str:
    """ "in the image" for one picture, "in frame 2" for one of two, "in the two frames" for both together."""
    if len(views) == 1:
        return rng.choice(("in the image", "in this image", "in the picture", "in this view"))
    if shown is None:
        return rng.choice(("in the two frames", "in the frames together", "in frame 1 and frame 2 together"))
    return f"in frame {views.index(shown) + 1}"
