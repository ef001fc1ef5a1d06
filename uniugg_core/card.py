"""The model card that travels with a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

from .config import ModelConfig

__all__ = ["model_card"]

_USE = """```python
from uniugg_core import Observation, UniUGGPipeline, parse_motion

pipeline = UniUGGPipeline.from_pretrained("this/folder")
observation = Observation(image)  # (H, W, 3) uint8, and its Camera if you have one
scene = pipeline.imagine(observation, parse_motion("yaw right 40"), seed=0)
scene.save("scene.ply")
print(pipeline.answer([observation], "How far is the chair?").text)
```"""


def model_card(config: ModelConfig, counts: Mapping[str, int]) -> str:
    """Markdown with what the model is, its sizes and how to load it.

    Args:
        config: of the model.
        counts: stored numbers of each part.
    """
    rows = "\n".join(f"| {part} | {count:,} |" for part, count in counts.items())
    state = (
        "The weights come from training."
        if config.trained
        else "**The weights are random: scenes are noise and answers are gibberish.** They serve tests and timings."
    )
    latent = "x".join(map(str, config.latent_shape))
    generation = config.generation
    steps = f"{generation.steps} steps"
    if generation.single_steps:
        steps += f" ({generation.single_steps} for a single sample)"
    return f"""---
license: apache-2.0
library_name: uniugg
tags: [spatial-understanding, novel-view-generation, robotics]
---

# UniUGG {config.name}

One image and a target camera pose in; coloured points of the scene as seen from both, and answers to spatial
questions, out (UniUGG, arXiv 2508.11952, an independent implementation).

{state}

- works on a square crop of {config.image_size} pixels, {config.grid} x {config.grid} tokens, latent {latent}
- scheduler {generation.scheduler}, {steps}, guidance {generation.guidance}

| part | parameters |
|---|---:|
{rows}
| total | {sum(counts.values()):,} |

{_USE}
"""
