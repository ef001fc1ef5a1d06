"""What imagined views are told: which pixels count."""

from __future__ import annotations

import torch
from micro import ROOMS

from training.data.rooms import RoomsConfig, RoomsDataset
from training.data.views import PairBatch
from training.supervision import second_view_loss
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
