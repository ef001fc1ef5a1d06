from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import linalg

from training.evaluation.distances import frechet_distance, kernel_distance, load_features, polynomial_mmd
from uniugg_core.cli import main
from uniugg_core.errors import ErrorCode, UniuggError


def samples(count: int, width: int, seed: int, shift: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, width)) @ generator.normal(size=(width, width)) + shift


def textbook(first: np.ndarray, second: np.ndarray) -> float:
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    difference = first.mean(axis=0) - second.mean(axis=0)
    return float(difference @ difference + np.trace(one + two - 2 * linalg.sqrtm(one @ two).real))


@pytest.mark.parametrize(("n", "m", "width"), [(200, 150, 16), (80, 300, 48), (5000, 40, 8)])
def test_frechet_is_the_textbook_s(n: int, m: int, width: int) -> None:
    first, second = samples(n, width, 1), samples(m, width, 2, 0.3)
    assert frechet_distance(first, second) == pytest.approx(textbook(first, second), abs=1e-6)
    assert frechet_distance(second, first) == pytest.approx(frechet_distance(first, second), abs=1e-9)


def test_frechet_of_singular_covariances_is_exact() -> None:
    # Scaled copies have the root of the product known: the distance is (1 - s)^2 of the variance, whatever the rank
    for count, width in ((5, 64), (64, 64), (300, 64)):
        first = samples(count, width, 3)
        first[:, 10] = 0
        first[:, 11] = first[:, 12]
        first -= first.mean(axis=0)
        variance = np.square(first).sum() / (count - 1)
        assert frechet_distance(first, 3 * first) == pytest.approx(4 * variance, rel=1e-12)
        assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9 * variance)
        assert frechet_distance(first, first + 2) == pytest.approx(4 * width, rel=1e-9)


def test_frechet_of_constant_features_is_the_distance_of_means() -> None:
    assert frechet_distance(np.zeros((3, 2)), np.ones((4, 2))) == 2


def test_frechet_of_single_precision_features_is_computed_in_double() -> None:
    first, second = samples(50, 8, 4).astype(np.float32), samples(60, 8, 5).astype(np.float32)
    exact = frechet_distance(first.astype(np.float64), second.astype(np.float64))
    assert frechet_distance(first, second) == exact


def test_mmd_is_the_double_sum() -> None:
    first, second = samples(7, 3, 6), samples(5, 3, 7)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (x @ y / 3 + 1) ** 3

    within = [
        sum(kernel(a, b) for i, a in enumerate(v) for j, b in enumerate(v) if i != j) / (len(v) * (len(v) - 1))
        for v in (first, second)
    ]
    across = np.mean([kernel(a, b) for a in first for b in second])
    assert polynomial_mmd(first, second) == pytest.approx(within[0] + within[1] - 2 * across, rel=1e-12)


def test_kernel_distance_is_unbiased_and_not_clipped() -> None:
    generator = np.random.default_rng(0)
    values = [polynomial_mmd(generator.normal(size=(20, 4)), generator.normal(size=(20, 4))) for _ in range(200)]
    assert min(values) < 0 < max(values)
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))


def test_kernel_distance_subsets() -> None:
    first, second = samples(60, 4, 8), samples(50, 4, 9, 1.0)
    all_at_once = kernel_distance(first, second[:50], subsets=3, subset_size=1000, seed=1)
    assert all_at_once.subset_size == 50
    small = kernel_distance(first, second, subsets=200, subset_size=20, seed=1)
    assert small == kernel_distance(first, second, subsets=200, subset_size=20, seed=1)
    assert small != kernel_distance(first, second, subsets=200, subset_size=20, seed=2)
    assert small.whole == polynomial_mmd(first, second)
    assert abs(small.mean - small.whole) < 4 * small.std / np.sqrt(200)
    # of equal sizes, a subset of everything is everything, every time
    whole = kernel_distance(first[:50], second, subsets=4, subset_size=50)
    assert (whole.mean, whole.std) == (pytest.approx(whole.whole, rel=1e-12), pytest.approx(0, abs=1e-9))


def test_large_sets_are_worked_on_without_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = samples(30, 4, 8), samples(25, 4, 9)
    with_table = kernel_distance(first, second, subsets=5, subset_size=10)
    monkeypatch.setattr("training.evaluation.distances._TABLE", 0)
    monkeypatch.setattr("training.evaluation.distances._ROWS", 7)
    without = kernel_distance(first, second, subsets=5, subset_size=10)
    assert without.mean == pytest.approx(with_table.mean, rel=1e-10)
    assert without.std == pytest.approx(with_table.std, rel=1e-10)


@pytest.mark.parametrize(
    ("first", "second"),
    [(np.zeros((3, 2)), np.zeros((3, 4))), (np.zeros((1, 2)), np.zeros((3, 2))), (np.zeros(3), np.zeros((3, 1)))],
)
def test_shapes_are_refused(first: np.ndarray, second: np.ndarray) -> None:
    for distance in (frechet_distance, kernel_distance, polynomial_mmd):
        with pytest.raises(UniuggError) as caught:
            distance(first, second)
        assert caught.value.code == ErrorCode.REQUEST_INVALID
    with pytest.raises(UniuggError) as caught:
        frechet_distance(np.full((3, 2), np.nan), np.zeros((3, 2)))
    assert caught.value.code == ErrorCode.NON_FINITE


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = samples(40, 6, 1), samples(30, 6, 2)
    paths = [str(tmp_path / name) for name in ("a.npy", "b.npy")]
    np.save(paths[0], first.astype(np.float32))
    np.save(paths[1], second)
    assert main(["eval", "distances", "--features", *paths, "--json", "-"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["fid"] == frechet_distance(first.astype(np.float32), second)
    assert said["counts"] == [40, 30]
    assert said["kid_mean"] == kernel_distance(first.astype(np.float32), second).mean

    # other features by their name, never as FID
    assert main(["eval", "distances", "--features", *paths, "--name", "radio"]) == 0
    out = capsys.readouterr().out
    assert "Frechet distance" in out and "radio" in out
    assert "FID" not in out and "KID" not in out

    np.save(tmp_path / "bad.npy", np.array([{}], dtype=object), allow_pickle=True)
    for bad in (str(tmp_path / "bad.npy"), str(tmp_path / "none.npy")):
        assert main(["eval", "distances", "--features", paths[0], bad]) == 2
        assert "REQUEST_INVALID" in capsys.readouterr().err
    assert main(["eval", "distances", "--images", str(tmp_path), str(tmp_path)]) == 2
    assert "CHECKPOINT_MISSING" in capsys.readouterr().err


def test_features_of_more_dimensions_are_laid_out(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 3, 2), dtype=np.float16))
    assert load_features(tmp_path / "a.npy").shape == (4, 6)
