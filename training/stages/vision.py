"""The vision parts under their names in a checkpoint, and what stages 1 and 2 do with them alike."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from uniugg_core._compat import ensure_torchvision
from uniugg_core.config import ModelConfig
from uniugg_core.models.decoder import SpatialDecoder
from uniugg_core.models.encoder import EncoderOutput, build_encoder
from uniugg_core.models.vae import SpatialVAE

__all__ = ["Vision", "freeze_unread", "load_lpips", "to_unit", "token_head"]


class Vision(nn.Module):
    """Encoder, spatial decoder and, from stage 2 on, Spatial-VAE: the names are those of the whole model.

    Args:
        config: sizes.
        seed: of the fresh weights; the global generator is left as it was.
        spatial: with the spatial decoder (a teacher has none).
        vae: with the Spatial-VAE.
    """

    def __init__(self, config: ModelConfig, seed: int, *, spatial: bool = True, vae: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = build_encoder(config.encoder)
            if spatial:
                self.spatial = SpatialDecoder(config.decoder, config.encoder.width, config.encoder.patch)
            if vae:
                self.vae = SpatialVAE(config.vae, config.encoder.width)

    def encode(
        self, images01: Tensor, matrix: Tensor | None = None, position_generator: torch.Generator | None = None
    ) -> EncoderOutput:
        """Features of pictures (B, 3, H, W) in [0, 1] with these calibrations (B, 3, 3), where they are known."""
        return self.encoder(self.encoder.normalise(images01), matrix=matrix, position_generator=position_generator)


def token_head(width: int, said: int) -> nn.Module:
    """What tokens (..., width) say in training alone: (..., said), class logits or whatever else."""
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, said))


def freeze_unread(spatial: SpatialDecoder, *, colors: bool, descriptors: bool) -> None:
    """Takes out of training what no loss reaches, since DDP waits for the gradient of everything that learns.

    Args:
        spatial: the decoder.
        colors, descriptors: whether a loss reads them. The coarsest fusion has no path to add to in any case.
    """
    for head in (spatial.head_a, spatial.head_b):
        unread = [head.dpt.fusion[-1].lateral_unit]
        if not colors and head.colors is not None:
            unread.append(head.colors)
        if not descriptors and head.descriptors is not None:
            unread.append(head.descriptors)
        for module in unread:
            module.requires_grad_(False).eval()


def to_unit(images: Tensor) -> Tensor:
    """uint8 pictures to float32 in [0, 1]; others as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def load_lpips(weight: float, notes: list[str]) -> nn.Module | None:
    """The frozen AlexNet LPIPS, or None if it is not wanted, not installed, or its weights are not on this machine.

    What is missing is added to `notes`: the colour loss then is L1 + SSIM.
    """
    if not weight:
        return None
    ensure_torchvision()
    with contextlib.suppress(Exception):  # import, file and network errors of three packages
        import lpips

        network = lpips.LPIPS(net="alex", verbose=False)
        return network.requires_grad_(False).eval()
    notes.append("LPIPS is not available here (package or weights missing): the colour loss is L1 + SSIM")
    return None
