"""Full-size proof that the readers and the networks compute what the published reference networks compute.

Inputs and a subset of the reference outputs are in ``golden/``; see ``rule_weights.py`` for the weights, and for
comparing with the whole outputs through ``UNIUGG_PARITY_DIR``. Each layout takes about 4 GB of memory.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rule_weights import RuleWeights, images, layout_shapes, reference

from uniugg_core.checkpoints import LAYOUTS

TOLERANCE = 1e-4  # of the spread (largest minus smallest) of each output


def run(layout: str) -> dict[str, np.ndarray]:
    """The network's outputs under the reference's names, unsampled."""
    checkpoint = LAYOUTS[layout].read(RuleWeights(layout_shapes(layout)))
    encoder, spatial = checkpoint.build_encoder(), checkpoint.build_spatial()
    batch = torch.from_numpy(np.stack(images())).permute(0, 3, 1, 2)
    with torch.inference_mode():
        encoded = encoder(encoder.normalise(batch))
        views = spatial(encoded.features[:1], encoded.features[1:], encoded.grid)
    found = {"features": encoded.features}
    if encoded.summary is not None:
        found["summary"] = encoded.summary
    for i, view in enumerate(views, start=1):
        found[f"view{i}_pts3d"] = view.points[0]
        found[f"view{i}_conf"] = view.confidence[0]
        found[f"view{i}_desc"] = view.descriptors[0]
        found[f"view{i}_desc_conf"] = view.descriptor_confidence[0]
        if view.colors is not None:
            found[f"view{i}_rgb"] = view.colors[0]
    return {name: value.numpy() for name, value in found.items()}


@pytest.mark.parametrize("layout", ["uniugg", "mast3r"])
def test_outputs_equal_the_reference(layout: str) -> None:
    found = run(layout)
    expected, strides = reference(layout)
    assert found.keys() == expected.keys()
    errors = {}
    for name, value in expected.items():
        kind = name.partition("_")[2] if name.startswith("view") else name
        sampled = found[name][strides[kind]]
        assert sampled.shape == value.shape, name
        errors[name] = float(np.abs(sampled - value).max() / (value.max() - value.min()))
    bad = {name: error for name, error in errors.items() if not error < TOLERANCE}
    assert not bad, f"errors relative to each output's spread: {bad}"
