"""The torchvision shim, and that importing the package loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

from uniugg_core._compat import ensure_torchvision


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout


def test_says_the_same_again():
    assert ensure_torchvision() == ensure_torchvision() in ("absent", "native", "python-only")


def test_transformers_and_diffusers_load_after_it():
    code = (
        "from uniugg_core._compat import ensure_torchvision; ensure_torchvision();"
        "from transformers import Qwen2ForCausalLM; from diffusers import UNet2DConditionModel; print('loaded')"
    )
    assert "loaded" in run(code)


def test_absent_torchvision_is_no_trouble():
    code = (
        "import importlib.util as u; f = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'torchvision' else f(name, *a);"
        "from uniugg_core._compat import ensure_torchvision; print(ensure_torchvision())"
    )
    assert run(code).strip() == "absent"


def test_importing_the_package_is_cheap():
    code = (
        "import sys, uniugg_core; dir(uniugg_core);"
        "print(sorted({'torch', 'numpy', 'cv2', 'transformers', 'diffusers'} & set(sys.modules)))"
    )
    assert run(code).strip() == "[]"


def test_every_public_name_resolves():
    import uniugg_core

    assert all(getattr(uniugg_core, name) is not None for name in uniugg_core.__all__)
