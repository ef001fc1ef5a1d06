from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from uniugg_core.models.layers import Attention, CrossAttention, PatchEmbed, Rope, Rope2d, attend, rotate


class TestRope:
    def test_known_angles(self) -> None:
        """Token (row 2, column 3) of a head of 8: rows turn entries 0..3, columns 4..7, frequencies 1 and 1/10."""
        rope = Rope2d(8, 100.0)((4, 5), torch.device("cpu"))
        angles = np.array([2, 0.2, 2, 0.2, 3, 0.3, 3, 0.3])
        np.testing.assert_allclose(rope.cos_NC[2 * 5 + 3], np.cos(angles), rtol=1e-6)
        np.testing.assert_allclose(rope.sin_NC[2 * 5 + 3], np.sin(angles), rtol=1e-6)

    def test_turns_pairs_half_a_half_apart(self) -> None:
        """Within the row half of a head of 8, entries i and i + 2 turn together, counter-clockwise."""
        tokens = torch.zeros(1, 1, 6, 8)
        tokens[..., 0] = 1.0
        turned = rotate(tokens, Rope2d(8, 100.0)((3, 2), torch.device("cpu")))[0, 0]
        for row in range(3):
            expected = [math.cos(row), 0, math.sin(row), 0, 0, 0, 0, 0]
            np.testing.assert_allclose(turned[row * 2 + 1], expected, atol=1e-6)

    @settings(max_examples=30, deadline=None)
    @given(
        st.tuples(st.integers(0, 8), st.integers(0, 11)),
        st.tuples(st.integers(0, 8), st.integers(0, 11)),
        st.tuples(st.integers(0, 7), st.integers(0, 5)),
        st.integers(0, 2**31),
    )
    def test_scores_depend_on_relative_position(
        self, one: tuple[int, int], other: tuple[int, int], shift: tuple[int, int], seed: int
    ) -> None:
        rows, columns = 16, 17
        rope = Rope2d(32, 100.0)((rows, columns), torch.device("cpu"))
        generator = torch.Generator().manual_seed(seed)
        q, k = torch.randn(2, 1, 1, 1, 32, generator=generator).expand(-1, -1, -1, rows * columns, -1)
        q, k = rotate(q, rope)[0, 0], rotate(k, rope)[0, 0]

        def score(a: tuple[int, int], b: tuple[int, int]) -> float:
            return float(q[a[0] * columns + a[1]] @ k[b[0] * columns + b[1]])

        moved = [(p[0] + shift[0], p[1] + shift[1]) for p in (one, other)]
        assert score(one, other) == pytest.approx(score(*moved), abs=2e-4)

    def test_keeps_length_and_type(self) -> None:
        tokens = torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))
        turned = rotate(tokens, Rope2d(16, 100.0)((3, 4), torch.device("cpu")))
        torch.testing.assert_close(turned.norm(dim=-1), tokens.norm(dim=-1))
        assert rotate(tokens.bfloat16(), Rope2d(16, 100.0)((3, 4), torch.device("cpu"))).dtype == torch.bfloat16

    def test_refuses_an_odd_head(self) -> None:
        with pytest.raises(ValueError, match="6"):
            Rope2d(6, 100.0)

    def test_cache_is_bounded_and_copies_start_empty(self) -> None:
        rope = Rope2d(8, 100.0)
        for rows in range(1, 30):
            rope((rows, 2), torch.device("cpu"))
        assert len(rope._tables) <= 8
        assert rope((3, 2), torch.device("cpu")) is rope((3, 2), torch.device("cpu"))
        assert not copy.deepcopy(rope)._tables

    def test_a_table_made_in_inference_serves_training(self) -> None:
        attention, rope = Attention(16, 2), Rope2d(8, 100.0)
        tokens = torch.randn(1, 6, 16, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            attention(tokens, rope((2, 3), tokens.device))
        attention(tokens, rope((2, 3), tokens.device)).sum().backward()
        assert attention.qkv.weight.grad is not None


class TestAttention:
    def window(self, row: int, column: int) -> Rope:
        """Positions of a 3 x 4 window at (row, column) of a larger grid."""
        rope = Rope2d(16, 100.0)((9, 11), torch.device("cpu"))
        return Rope(*(t.unflatten(0, (9, 11))[row : row + 3, column : column + 4].flatten(0, 1) for t in rope))

    def test_moving_all_tokens_together_changes_nothing(self) -> None:
        tokens, other = torch.randn(2, 2, 12, 32, generator=torch.Generator().manual_seed(0))
        own, cross = Attention(32, 2), CrossAttention(32, 2)
        with torch.no_grad():
            for layer in (*own.children(), *cross.children()):
                layer.weight.mul_(4)  # so that attention is far from uniform
            here, there = self.window(0, 0), self.window(5, 7)
            own_here, own_there = own(tokens, here), own(tokens, there)
            cross_here, cross_there = cross(tokens, other, here, here), cross(tokens, other, there, there)
            torch.testing.assert_close(own_here, own_there, rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(cross_here, cross_there, rtol=1e-3, atol=1e-3)
            assert not torch.allclose(own(tokens), own_here, atol=0.05)
            assert not torch.allclose(cross(tokens, other, here, there), cross_here, atol=0.05)


class TestPatchEmbed:
    @pytest.mark.parametrize("bias", [True, False])
    def test_equals_a_strided_convolution(self, bias: bool) -> None:
        embed = PatchEmbed(4, 7, bias=bias)
        image = torch.randn(2, 3, 12, 20, generator=torch.Generator().manual_seed(0))
        weight = embed.weight.view(7, 3, 4, 4)
        expected = torch.nn.functional.conv2d(image, weight, embed.bias, stride=4).flatten(2).transpose(1, 2)
        torch.testing.assert_close(embed(image), expected, rtol=1e-5, atol=1e-5)

    def test_order_is_channel_row_column(self) -> None:
        """A weight that picks one entry shows where it comes from."""
        embed = PatchEmbed(2, 1, bias=False)
        image = torch.arange(3 * 4 * 6, dtype=torch.float32).view(1, 3, 4, 6)
        with torch.no_grad():
            embed.weight.zero_()
            embed.weight[0, 1 * 4 + 1 * 2 + 0] = 1  # channel 1, row 1, column 0 of the patch
        tokens = embed(image)[0, :, 0].detach()
        expected = image[0, 1, 1::2, 0::2].flatten()
        assert torch.equal(tokens, expected)


class TestAttend:
    """The products in the open, where gradients are wanted, are torch's attention."""

    @pytest.mark.parametrize("kind", ["none", "seen", "added"])
    def test_same_numbers_and_gradients_as_torchs_kernel(self, kind: str) -> None:
        generator = torch.Generator().manual_seed(0)
        query, key, value = (torch.randn(2, 3, count, 8, generator=generator) for count in (5, 7, 7))
        mask = None
        if kind != "none":
            mask = torch.rand(2, 1, 5, 7, generator=generator) < 0.6
            mask[..., 0] = True
            if kind == "added":
                mask = torch.zeros(mask.shape).masked_fill(~mask, -1e4)
        results = []
        for function in (attend, lambda q, k, v, m: torch.nn.functional.scaled_dot_product_attention(q, k, v, m)):
            tensors = [tensor.clone().requires_grad_() for tensor in (query, key, value)]
            mixed = function(*tensors, mask)
            mixed.square().sum().backward()
            results.append([mixed.detach(), *(tensor.grad for tensor in tensors)])
        for ours, theirs in zip(*results):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)

    def test_what_sees_nothing_stays_finite(self) -> None:
        query, key, value = torch.randn(3, 1, 1, 4, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
        mask = torch.ones(4, 4, dtype=torch.bool)
        mask[2] = False
        mixed = attend(query, key, value, mask)
        gradient = torch.autograd.grad(mixed.sum(), query)[0]
        assert mixed.isfinite().all() and gradient.isfinite().all()

    def test_without_gradients_it_is_torchs_kernel_to_the_bit(self) -> None:
        query, key, value = torch.randn(3, 2, 3, 5, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
        expected = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        assert torch.equal(attend(query, key, value), expected)
