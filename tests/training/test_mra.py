from __future__ import annotations

import math

import numpy as np
import pytest

from training.evaluation.mra import LIMITS, THRESHOLDS, mean_relative_accuracy, relative_error


def test_there_are_ten_thresholds_and_not_eleven() -> None:
    assert THRESHOLDS.shape == (10,)
    np.testing.assert_allclose(THRESHOLDS, [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
    assert LIMITS[0] == 0.5  # an error of exactly half counts for the first threshold


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        (10, 10, 1.0),
        (15, 10, 0.1),  # error 0.5 counts, for one threshold
        (5, 10, 0.1),
        (15.01, 10, 0.0),
        (11, 10, 0.9),  # error 0.1 meets the limit 0.1
        (12, 10, 0.6),  # error 0.2 misses the float limit 0.19999999999999996: 0.6, not 0.7
        (14.5, 10, 0.1),  # error 0.45 misses 0.44999999999999996
        (14, 10, 0.3),  # 0.4 meets 0.4
        (21, 20, 1.0),
        (0, 10, 0.0),
        (0, 0, 1.0),
        (0.3, 0, 0.5),  # truth 0: the plain difference
        (None, 3, 0.0),
        (math.nan, 3, 0.0),
        (math.inf, 3, 0.0),
    ],
)
def test_known_answers(prediction: float | None, truth: float, expected: float) -> None:
    assert mean_relative_accuracy(prediction, truth) == pytest.approx(expected, abs=1e-15)


def test_a_negative_truth_is_a_size_not_a_licence() -> None:
    assert relative_error(5, -1) == 6
    assert mean_relative_accuracy(5, -1) == 0
