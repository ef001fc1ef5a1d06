"""Orthogonal updates, whatever the processor."""

from __future__ import annotations

import pytest
import torch

from training import muon
from training.muon import Muon, orthogonalized
from uniugg_core import precision
from uniugg_core.precision import fast_bf16


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=[False, True], ids=["fp32", "bf16"])
def processor(request, monkeypatch):
    """One that has instructions for bfloat16, or none."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": request.param})
    assert fast_bf16(torch.device("cpu")) is request.param
    return request.param


@pytest.mark.parametrize("shape", [(3, 6, 9), (3, 9, 6), (1, 5, 5)])
def test_singular_values_are_about_one_and_directions_stay(shape, processor):
    updates = 1e-3 * drawn(*shape)
    turned = orthogonalized(updates)
    assert turned.dtype == updates.dtype and turned.shape == updates.shape
    values = torch.linalg.svdvals(turned)
    assert values.min() > 0.5 and values.max() < 1.3
    u, _, vh = torch.linalg.svd(updates, full_matrices=False)
    assert (torch.linalg.matrix_norm(turned - u @ vh, 2) < 0.5).all()


def test_singular_values_go_through_the_polynomial(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {})
    updates = drawn(2, 5, 8).double()
    u, values, vh = torch.linalg.svd(updates, full_matrices=False)
    values = values / values.norm(dim=-1, keepdim=True)
    for _ in range(3):
        values = 3.4445 * values - 4.775 * values**3 + 2.0315 * values**5
    wanted = u @ torch.diag_embed(values) @ vh
    torch.testing.assert_close(orthogonalized(updates, steps=3), wanted, atol=1e-5, rtol=0)


def test_what_is_turned_is_turned_alike(processor):
    torch.testing.assert_close(orthogonalized(drawn(2, 4, 7)).mT, orthogonalized(drawn(2, 4, 7).mT), atol=0.02, rtol=0)


@pytest.mark.parametrize("together", [muon._TOGETHER, 13], ids=["all together", "one by one"])
def test_steps_are_those_of_torch(together, processor, monkeypatch):
    monkeypatch.setattr(muon, "_TOGETHER", together)
    shapes = [(4, 3), (3, 4), (4, 3), (5, 5)]
    mine, theirs = ([torch.nn.Parameter(drawn(*shape, seed=k)) for k, shape in enumerate(shapes)] for _ in range(2))
    start = [parameter.detach().clone() for parameter in mine]
    idle = torch.nn.Parameter(drawn(2, 2))
    optimizer = Muon([{"params": [*mine, idle], "weight_decay": 0.1}], 0.05)
    other = torch.optim.Muon(theirs, lr=0.05, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        for k, (a, b) in enumerate(zip(mine, theirs)):
            a.grad = b.grad = drawn(*a.shape, seed=100 * step + k)
        optimizer.step()
        other.step()
    for a, b, begin in zip(mine, theirs, start):
        moved = (b - begin).norm()
        assert moved > 0.05 and (a - b).norm() < 0.02 * moved  # bfloat16 has three digits
    assert torch.equal(idle, drawn(2, 2))  # without a gradient nothing learns


def test_other_devices_are_asked_themselves(monkeypatch):
    monkeypatch.setattr(precision.torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert fast_bf16(torch.device("cuda"))
    assert not fast_bf16(torch.device("mps"))
