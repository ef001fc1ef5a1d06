"""Training losses: one file a kind of supervision, every formula with its source.

``geometry`` (confidence-weighted pointmaps), ``matching`` (InfoNCE), ``semantics`` (distillation), ``appearance``
(L1 + SSIM + LPIPS).
"""
