"""What imagined views are told: which pixels count."""

from __future__ import annotations

import pytest
import torch
from micro import ROOMS

from training.data.rooms import RoomsConfig, RoomsDataset
from training.data.views import PairBatch
from training.supervision import SpatialWeights, second_view_loss, spatial_loss
from uniugg_core.models.decoder import ViewOutput


def test_what_the_reference_sees_counts_as_often_as_wanted() -> None:
    rooms = RoomsDataset(RoomsConfig(size=32, **ROOMS), "train")
    truth = PairBatch.collate([rooms.pair(number) for number in range(2)])
    seen = truth.seen()[:, 1]
    unseen = truth.valid[:, 1] & ~seen
    assert seen.any() and unseen.any()
    true = truth.points_in_reference()[:, 1]

    def loss(wrong: torch.Tensor, share: float, rows: tuple[bool, bool] = (True, True)) -> float:
        points = torch.where(wrong[..., None], 2 * true + 1, true)
        view = ViewOutput(points, torch.ones(points.shape[:3]), None)
        generator = torch.Generator().manual_seed(0)
        return float(second_view_loss(view, truth, torch.tensor(rows), generator, seen_share=share))

    assert loss(seen, 0.0) < 1e-5 < loss(unseen, 0.0)
    assert loss(seen, 1.0) > 1e-2 and loss(unseen, 1.0) > 1e-2
    some, all_of_it = (loss(seen, share) for share in (0.25, 1.0))
    assert 0 < some < 0.8 * all_of_it
    assert loss(unseen, 0.25) > loss(unseen, 1.0)
    assert loss(seen | unseen, 1.0, (False, False)) == 0.0


def test_what_is_small_and_what_is_hard_may_count_more() -> None:
    rooms = RoomsDataset(RoomsConfig(size=32, **ROOMS), "train")
    truth = PairBatch.collate([rooms.pair(number) for number in range(2)])
    true, valid, ids = truth.points_in_reference(), truth.valid, truth.instances
    assert ids is not None
    most = torch.stack([picture.bincount().argmax() for picture in ids.flatten(0, 1).flatten(1)])
    rare = ids != most.view(2, 2, 1, 1)

    def parts(wrong: torch.Tensor, **weights: float) -> tuple[float, dict[str, torch.Tensor]]:
        points = torch.where((wrong & valid)[..., None], 1.5 * true, true)
        views = tuple(ViewOutput(points[:, k], torch.full(points.shape[:1] + (32, 32), 2.0), None) for k in range(2))
        asked = SpatialWeights(alpha=0.2, rgb=0, rgb_l1=1, rgb_ssim=0, rgb_lpips=0, log_points=True, **weights)
        loss, figures = spatial_loss(views, truth, truth.image01(), asked)
        return float(loss), figures

    alike, balanced = (float(parts(rare, balance=balance)[1]["regression"]) for balance in (0.0, 0.5))
    assert balanced > 1.05 * alike
    assert float(parts(rare, log_unit=0.1)[1]["regression"]) > 1.2 * alike, "far from 0, logarithms grow faster"
    loss, figures = parts(rare, plain=3.0)
    assert loss == pytest.approx(float(figures["points"] + 3 * figures["regression"]))
    truth = PairBatch.from_dict({name: value for name, value in truth.to_dict().items() if name != "instances"})
    assert float(parts(rare, balance=0.5)[1]["regression"]) == pytest.approx(alike), "nobody says what is a thing"
