"""Trains the small tokenizer that ships in ``uniugg_core/assets/tokenizer``.

    python -m training.tokenizer uniugg_core/assets/tokenizer

Byte-level BPE in Qwen2's layout, so nothing is ever unknown and a real Qwen2.5 folder takes its place without a
change. The corpus is made here: questions and answers of the spatial benchmark families (counting, distance, size,
direction, appearance order, camera motion, view change), names of indoor things, units, and common English words.
Qwen2's splitting rule keeps digits single, so numbers are read and written digit by digit.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from uniugg_core.tokenizer import SPECIAL_TOKENS, SPLIT_PATTERN

__all__ = ["corpus", "main", "train"]

ENTRIES = 2048  # embedding rows of the `tiny` preset

THINGS = """
air conditioner|armchair|backpack|bag|ball|basket|bathtub|bed|bench|bin|blanket|blinds|board|book|bookshelf|bottle|bowl|
box|broom|bucket|cabinet|candle|carpet|ceiling|chair|clock|closet|coat rack|coffee machine|coffee table|computer|
computer tower|cone|container|copier|couch|counter|cube|cup|curtain|cushion|cylinder|desk|dishwasher|door|doorframe|
drawer|dresser|dryer|fan|faucet|fireplace|floor|flower|fridge|frame|glass|guitar|headphones|heater|jacket|kettle|
keyboard|kitchen|knife|ladder|lamp|laptop|light|light switch|locker|mat|microwave|mirror|monitor|mouse|mug|nightstand|
office chair|oven|painting|pan|paper|phone|piano|picture|pillar|pillow|pipe|plant|plate|poster|pot|power socket|printer|
projector|radiator|refrigerator|rug|scale|shelf|shoe|shower|sink|sofa|speaker|sphere|stool|stove|suitcase|table|telephone|
television|tissue box|toaster|toilet|toilet paper|towel|toy|trash can|tray|tv|tv monitor|umbrella|vacuum cleaner|vase|
wall|wardrobe|washing machine|whiteboard|window|window frame|windowsill
""".replace("\n", "").split("|")

COLOURS = (
    "red green blue yellow orange purple pink brown black white grey beige teal cyan magenta olive dark light".split()
)
MATERIALS = (
    "wooden metal plastic glass leather fabric striped checkered plain round square rectangular tall low wide narrow"
)
MATERIALS = MATERIALS.split()
ROOMS = "room|kitchen|bathroom|bedroom|living room|office|hallway|meeting room|corridor|studio|classroom|garage".split(
    "|"
)
LENGTHS = "m cm mm meters meter metres metre centimeters centimeter centimetres feet inches".split()
SIDES = "left|right|front|back|front-left|front-right|back-left|back-right|above|below|behind|in front".split("|")
MOTIONS = (
    "move_left move_right move_up move_down move_forward move_backward rotate_left rotate_right rotate_up rotate_down"
)
MOTIONS = MOTIONS.split()
TURNS = (
    "turn left|turn right|turn back|go forward|go backward|step left|step right|look up|look down|yaw left|yaw right"
)
TURNS = TURNS.split("|")

QUESTIONS = (
    "These are frames of a video. How many {thing}(s) are in this room?",
    "How many {thing}s are there in the picture? Answer with a number.",
    "How many {colour} objects can you see?",
    "Measuring from the closest point of each object, what is the distance between the {thing} and the {thing} (in "
    "{unit})?",
    "What is the length of the longest dimension (length, width, or height) of the {thing}, measured in centimeters?",
    "What is the size of this {room} (in square meters)? If multiple rooms are shown, estimate the size of the "
    "combined space.",
    "How far is the {colour} {thing} from the camera? Answer in {unit}.",
    "What is the depth of the {thing} at the marked point, in {unit}?",
    "How high is the {thing} above the floor?",
    "How wide is the {colour} {thing}?",
    "Measuring from the closest point of each object, which of these objects (A {thing}, B {thing}, C {thing}, D "
    "{thing}) is the closest to the {thing}?",
    "Which object is farther from the camera, the {thing} or the {colour} {thing}?",
    "Which is nearer, the {thing} or the {thing}?",
    "If I am standing by the {thing} and facing the {thing}, is the {thing} to my {side}, {side}, or {side}? The "
    "directions refer to the quadrants of a Cartesian plane.",
    "Is the {thing} to the {side} of the {colour} {thing}?",
    "Is there a {colour} {thing} in the {room}?",
    "What is {side} of the {thing}?",
    "What colour is the {thing}? What color is the {material} {thing}?",
    "What will be the first-time appearance order of the following categories in the video: {thing}, {thing}, "
    "{thing}, {thing}?",
    "You are a robot beginning at the {thing} and facing the {thing}. You want to navigate to the {thing}. You will "
    "perform the following actions: 1. [please fill in] 2. Go forward until the {thing} 3. [please fill in]. Choose "
    "from the options.",
    "How did the camera move from Frame 1 to Frame 2? Estimate the translation and the rotation.",
    "Which frame was taken first? In Frame 2, where is the {thing} of Frame 1?",
    "Imagine the camera moves {number} {unit} to the {side} and turns {integer} degrees. Describe what you would see.",
    "After the camera has turned {integer} degrees to the {side}, is the {thing} still visible?",
    "From the new view, how far is the {thing}? Describe the scene under this transformation.",
    "Describe the {room}. Describe the picture in one sentence.",
    "Please answer the question using a single word or phrase.",
    "Answer with the option's letter from the given choices directly. Options: A. {side} B. {side} C. {side} D. {side}",
)

ANSWERS = (
    "{integer}",
    "{number} {unit}",
    "{number}",
    "About {number} {unit}.",
    "It is about {number} meters away.",
    "The {thing} is {number} m from the camera.",
    "The {colour} {thing} is {number} m to the {side} and {number} m in front of the {thing}.",
    "{number} square meters",
    "A. {side}",
    "B",
    "C. {thing}",
    "D. {thing}, {thing}, {thing}, {thing}",
    "Yes.",
    "No.",
    "No, it is not visible.",
    "Yes, it is behind the {thing}.",
    "The {thing}.",
    "The {colour} {thing} is closer.",
    "{colour}",
    "to the {side} of the {thing}",
    "{motion}:{number},{motion}:{number},{motion}:{number}",
    "{turn}, {turn} and {turn} {integer} degrees",
    "The camera moved {number} {unit} forward and turned {integer} degrees to the {side}.",
    "A {room} with a {colour} {thing} on the {side} and a {material} {thing} near the {thing}.",
    "There is a {material} {thing} against the wall, a {colour} {thing} next to it and a {thing} on the floor.",
    "I cannot tell from this picture.",
)

WORDS = """
the of and to a in is that it was for on are as with his they at be this from have or by one had not but what all were
when we there can an your which their said if do will each about how up out them then she many some so these would
other into has more her two like him see time could no make than first been its who now people my made over did down
only way find use may water long little very after words called just where most know get through back much before go
good new write our used me man too any day same right look think also around another came come work three word must
because does part even place well such here take why things help put years different away again off went old number
great tell men say small every found still between name should home big give air line set own under read last never us
left end along while might next sound below saw something thought both few those always looked show large often
together asked house world going want school important until form food keep children feet land side without boy once
animals life enough took sometimes four head above kind began almost live page got earth need far hand high year
mother light parts country father let night following picture being study second eyes soon times story boys since
white days ever paper hard near sentence better best across during today others however sure means knew try told young
sun thing whole hear example heard several change answer room sea against top turned learn point city play toward five
using himself usually money seen car morning given trees corner middle closest farthest nearest distance length width
height depth size area volume angle direction position rotation translation degrees view camera image frame scene
object objects visible hidden behind front facing standing scale metric approximately roughly exactly between shortest
longest tallest largest smallest higher lower closer farther wider narrower half twice same equal total count please
estimate describe compare choose option letter phrase single question space plane ground centre center edge surface
robot navigate reach grasp pick place carry open close empty full free blocked path obstacle safe zero one two three
four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred half quarter
""".split()

FIELDS = {
    "thing": THINGS,
    "colour": COLOURS,
    "material": MATERIALS,
    "room": ROOMS,
    "unit": LENGTHS,
    "side": SIDES,
    "motion": MOTIONS,
    "turn": TURNS,
}


def corpus(lines: int = 30_000, seed: int = 0) -> Iterator[str]:
    """Made-up lines of text, the same for the same `seed`: two thirds questions and answers, one third common words."""
    draw = random.Random(seed)

    class _Fill(dict):
        def __missing__(self, name: str) -> str:
            if name == "number":
                return f"{draw.uniform(0, 9):.{draw.choice((1, 2))}f}"
            if name == "integer":
                return str(draw.randrange(1, 180))
            return draw.choice(FIELDS[name])

    for _ in range(lines):
        kind = draw.randrange(3)
        if kind == 2:
            words = draw.choices(WORDS, k=12)
            words[0] = words[0].capitalize()
            yield " ".join(words) + "."
        else:
            yield draw.choice((QUESTIONS, ANSWERS)[kind]).format_map(_Fill())


def train(entries: int = ENTRIES, *, lines: int = 30_000, seed: int = 0) -> tuple[dict[str, int], list[str]]:
    """Trains the merges.

    Returns:
        The vocabulary without the special tokens (they come after it), and the merges as lines of ``merges.txt``.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=entries - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(lines, seed), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return model["vocab"], merges


def write(folder: Path, vocabulary: dict[str, int], merges: list[str]) -> None:
    """Writes a Qwen2 tokenizer folder: vocab.json, merges.txt, tokenizer_config.json and config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    ordered = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    added = {
        str(len(ordered) + i): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for i, token in enumerate(SPECIAL_TOKENS)
    }
    settings = {
        "added_tokens_decoder": added,
        "additional_special_tokens": list(SPECIAL_TOKENS[1:]),
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 8192,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    (folder / "vocab.json").write_text(json.dumps(ordered, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the tokenizer files go")
    parser.add_argument("--entries", type=int, default=ENTRIES, help="tokens in all, special ones included")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    write(options.folder, *train(options.entries, seed=options.seed))


if __name__ == "__main__":
    main()
