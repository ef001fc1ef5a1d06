"""Rows that the UniUGG paper and its project page publish, to stand beside ours (arXiv 2508.11952)."""

from __future__ import annotations

__all__ = ["GENERATION", "UNDERSTANDING", "UNDERSTANDING_COLUMNS"]

# setting -> (FID, KID, LPIPS) on ARKitScenes and on ScanNet++
GENERATION: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "(a) RADIO encoder": ((64.16, 0.0518, 0.4904), (73.69, 0.0614, 0.4629)),
    "(b) MASt3R encoder": ((81.18, 0.0691, 0.5076), (86.79, 0.0803, 0.5242)),
    "(c) decoder not tuned": ((149.97, 0.1447, 0.5301), (168.05, 0.1686, 0.4945)),
    "(d) no diffusion": ((87.51, 0.0672, 0.4494), (114.93, 0.0955, 0.4345)),
    "CUT3R": ((138.54, 0.1128, 0.5758), (130.76, 0.1051, 0.5637)),
    "LVSM": ((269.45, 0.3088, 0.5067), (414.63, 0.5117, 0.5865)),
    "UniUGG": ((55.01, 0.0425, 0.4849), (55.64, 0.0442, 0.4263)),
}

# benchmark and figure of `uniugg eval score` -> heading
UNDERSTANDING_COLUMNS: dict[tuple[str, str], str] = {
    ("vsi-bench", "overall"): "VSI-Bench",
    ("blink", "overall"): "BLINK",
    ("3dsrbench", "overall"): "3DSRBench",
    ("spar-bench", "low"): "SPAR low",
    ("spar-bench", "middle"): "SPAR middle",
    ("spar-bench", "high"): "SPAR high",
    ("spar-bench", "overall"): "SPAR",
}
UNDERSTANDING: dict[str, tuple[float | None, ...]] = {
    "LLaVA-v1.5-7B": (18.0, 37.1, 38.1, 10.9, 26.5, 34.1, 23.7),
    "LLaVA-NeXT-7B": (20.6, 41.8, 48.4, 8.5, 4.8, 20.2, 13.2),
    "InternVL2.5-8B": (32.5, 54.8, 50.9, 29.5, 31.9, 43.8, 36.3),
    "Qwen2.5-VL-7B": (30.3, 56.4, 48.4, 28.8, 23.0, 40.3, 33.1),
    "GPT-4o": (34.0, 60.0, 44.2, 36.9, 26.5, 43.8, 38.1),
    "Janus-Pro-1B": (None, 38.9, 50.0, 10.7, 24.7, 30.8, 20.6),
    "Janus-Pro-7B": (None, 40.5, 53.7, 27.3, 24.6, 33.9, 28.6),
    "UniUGG-3B": (40.1, 43.6, 52.1, 50.8, 41.7, 45.7, 47.2),
}
