"""The table of what free texts choose, and what they do not."""

from __future__ import annotations

import pytest

from training.evaluation.answers import extract_letter, extract_number, final_text, is_refusal, split_option

FURNITURE = ["A. table", "B. chair", "C. office chair", "D. window"]

LETTERS = [
    ("B", "B"),
    ("b", "B"),
    ("(B)", "B"),
    ("(b)", "B"),
    ("B.", "B"),
    ("[B]", "B"),
    ("B)", "B"),
    ('"B"', "B"),
    ("**C**", "C"),
    ("**Answer:** C", "C"),
    ("`D`", "D"),
    ("B. chair", "B"),
    ("B. the chair", "B"),
    ("(B) chair", "B"),
    ("B: chair", "B"),
    ("B - chair", "B"),
    ("B\n\nThe chair is nearest.", "B"),
    ("B, because the table is farther.", "B"),
    ("Answer: b.", "B"),
    ("answer:B", "B"),
    ("Answer - (D)", "D"),
    ("The answer is B.", "B"),
    ("The correct answer is (C).", "C"),
    ("The correct option is D: window.", "D"),
    ("So the answer would be A.", "A"),
    ("My final answer: **A**", "A"),
    ("I choose (b)", "B"),
    ("I would go with C.", "C"),
    ("I'd pick option D.", "D"),
    ("It must be B.", "B"),
    ("Option B is correct.", "B"),
    ("B is the correct answer.", "B"),
    ("(C) is right, since it is nearest.", "C"),
    ("A is wrong. B is correct.", "B"),
    ("The answer is not A. The answer is D.", "D"),
    ("At first the answer is A. But looking closer, the answer is C.", "C"),
    ("The answer is A? No. Final answer: B", "B"),
    ("chair", "B"),
    ("The chair", "B"),
    ("the chair.", "B"),
    ("office chair", "C"),
    ("It is the office chair.", "C"),
    ("The object closest to the camera is the window.", "D"),
    ("There are a table and a chair. The window is nearest.", "D"),
    ("Not the table, the window", "D"),
    ("Comparing (A) with (B), the second is nearer. So (B).", "B"),
    ("The table is option A, the chair is option B.\nI think it is (B)", "B"),
    ("A. table\nB. chair\nC. office chair\nD. window\nThe answer is C.", "C"),
    ("Let me look at each.\nA. table: far\nB. chair: near\nIt is nearest.\nB", "B"),
    ("<think>The answer is A, or maybe B.</think>C", "C"),
    ("I reason: A first...</think>\n\nD", "D"),
    ("<think>A A A</think><answer>B</answer>", "B"),
    ("<answer> (c) </answer>", "C"),
    (r"Hence \boxed{D}", "D"),
    (r"$\boxed{\text{B}}$", "B"),
    ("I'm sorry, it is hard to see. My best guess is B.", "B"),
    ("Final Answer: D. window", "D"),
    ("The answer is option C, the office chair", "C"),
    ("Answer: the window", "D"),
    # nothing is chosen
    ("", None),
    ("   ", None),
    ("...", None),
    ("I'm sorry, I can't help with that.", None),
    ("I cannot determine the answer from the images.", None),
    ("It is not possible to tell which of A or B is nearer.", None),
    ("None of the above.", None),
    ("<think>The answer is B but wait", None),
    ("A. table\nB. chair\nC. office chair\nD. window", None),
    ("Either A or B.", None),
    ("table or window", None),
    ("E", None),
    ("The answer is E.", None),
    ("The answer is a lamp.", None),
    ("Because of the light", None),
    ("I think a lamp is there", None),
    ("42", None),
]


@pytest.mark.parametrize(("text", "letter"), LETTERS)
def test_letters(text: str, letter: str | None) -> None:
    assert extract_letter(text, FURNITURE) == letter


@pytest.mark.parametrize(("text", "letter"), [("J", "J"), ("Answer: C", "C"), ("K", None), ("A chair", None)])
def test_without_options_a_to_j_are_letters(text: str, letter: str | None) -> None:
    assert extract_letter(text) == letter


def test_options_without_letters_count_from_a() -> None:
    assert extract_letter("left", ["right", "left"]) == "B"
    assert extract_letter("(b)", ["right", "left"]) == "B"
    assert split_option("(C) a b", 0) == ("C", "a b")
    assert split_option("a b", 2) == ("C", "a b")


def test_an_option_that_is_a_refusal_can_be_chosen() -> None:
    assert extract_letter("Cannot determine the answer", ["left", "Cannot determine the answer"]) == "B"


NUMBERS = [
    ("3", 3.0),
    ("3.5 meters", 3.5),
    ("about 2 m", 2.0),
    ("There are two chairs.", 2.0),
    ("twenty-one", 21.0),
    ("1,200 cm", 1200.0),
    ("The room is 4 m by 5 m, so the answer is 20 m^2.", 20.0),
    ("4 m x 5 m = 20 square metres", 20.0),
    ("First 3, then 4, then 7", 7.0),
    ("<think>maybe 9</think> 4", 4.0),
    (r"\boxed{12.5}", 12.5),
    ("-1.5", -1.5),
    ("12 m2", 12.0),
    (".5", 0.5),
    ("1e2", 100.0),
    ("**3**.", 3.0),
    ("Answer: 3.", 3.0),
    ("I don't know", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_numbers(text: str, number: float | None) -> None:
    assert extract_number(text) == number


@pytest.mark.parametrize("loop", ["answer is the ", "A ", "(A) (B) ", "answer\n", "1 "])
def test_a_model_that_repeats_itself_is_read_in_linear_time(loop: str) -> None:
    # an unbounded pattern is quadratic here and would run into the time limit of every test
    text = loop * (200_000 // len(loop))
    extract_letter(text, FURNITURE)
    extract_number(text)


def test_refusals_and_what_is_left() -> None:
    assert is_refusal("I’m sorry, but I can’t assist with that.")
    assert not is_refusal("The chair can be seen.")
    assert final_text("<think>x</think> **B** ") == "B"
