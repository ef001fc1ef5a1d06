"""The messages as source, as compiled, and as other readers compute them are the same messages."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from uniugg_core.errors import ErrorCode

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "ros2_ws" / "src" / "uniugg_interfaces"
DEFINITIONS = sorted(p for kind in ("msg", "srv", "action") for p in (SOURCE / kind).iterdir())
CONSTANT = re.compile(r"^uint16 ([A-Z_]+)=(\d+)", re.MULTILINE)
TF_MESSAGE_HASH = "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"  # that of real tf2_msgs


def compiled_share() -> Path:
    """Where rosidl put the compiled package's descriptions: the wheels' prefix, or a ROS workspace."""
    package = Path(importlib.import_module("uniugg_interfaces").__file__ or "")
    for parent in (Path(sys.prefix), *package.parents):
        if (parent / "share" / "uniugg_interfaces" / "package.xml").is_file():
            return parent / "share"
    pytest.skip("the compiled package has no share folder here")


def type_hash(path: Path, name: str) -> str:
    hashes = {entry["type_name"]: entry["hash_string"] for entry in json.loads(path.read_text())["type_hashes"]}
    return hashes[name]


def test_error_codes_are_the_constants_of_status() -> None:
    text = (SOURCE / "msg" / "Status.msg").read_text()
    constants = {name: int(number) for name, number in CONSTANT.findall(text)}
    assert constants == {code.name: code.value for code in ErrorCode}


def test_error_codes_are_the_constants_of_the_compiled_status() -> None:
    from uniugg_interfaces.msg import Status

    assert {code.name: getattr(Status, code.name) for code in ErrorCode} == {c.name: c.value for c in ErrorCode}


def test_every_definition_is_compiled() -> None:
    cmake = (SOURCE / "CMakeLists.txt").read_text()
    for path in DEFINITIONS:
        relative = f"{path.parent.name}/{path.name}"
        assert f'"{relative}"' in cmake
        module = importlib.import_module(f"uniugg_interfaces.{path.parent.name}")
        assert hasattr(module, path.stem), relative


def test_compiled_fields_are_those_of_the_source() -> None:
    """Fails when the definitions changed and `make interfaces` did not run."""
    from uniugg_interfaces.msg import Evidence, StageTiming, Status

    for message in (Evidence, StageTiming, Status):
        text = (SOURCE / "msg" / f"{message.__name__}.msg").read_text()
        lines = [line.split("#")[0].split() for line in text.splitlines()]
        fields = [words[1] for words in lines if len(words) == 2 and "=" not in words[1]]
        assert list(message.get_fields_and_field_types()) == fields


@pytest.mark.parametrize("name", ["Evidence", "StageTiming", "Status"])
def test_hash_computed_from_the_source_is_the_compiled_one(name: str) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in sorted((SOURCE / "msg").iterdir()):
        store.register(get_types_from_msg(path.read_text(), f"uniugg_interfaces/msg/{path.stem}"))
    full = f"uniugg_interfaces/msg/{name}"
    written = type_hash(compiled_share() / "uniugg_interfaces" / "msg" / f"{name}.json", full)
    assert store.hash_rihs01(full) == written


@pytest.mark.parametrize(
    ("name", "parts"),
    [("srv/AskSpatial", ("Request", "Response")), ("srv/Imagine", ("Request", "Response"))],
)
def test_hash_of_service_parts(name: str, parts: tuple[str, str]) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in sorted((SOURCE / "msg").iterdir()):
        store.register(get_types_from_msg(path.read_text(), f"uniugg_interfaces/msg/{path.stem}"))
    kind, stem = name.split("/")
    texts = (SOURCE / kind / f"{stem}.srv").read_text().split("\n---\n")
    share = compiled_share() / "uniugg_interfaces" / kind
    for part, text in zip(parts, texts):
        text = re.sub(r"^(Status|StageTiming|Evidence)\b", r"uniugg_interfaces/\1", text, flags=re.MULTILINE)
        alias = f"uniugg_interfaces/{kind}/{stem}_{part}"
        (fields,) = get_types_from_msg(text, alias).values()  # its own key would say msg/ for srv/
        store.register({alias: fields})
        assert store.hash_rihs01(alias) == type_hash(share / f"{stem}.json", alias)


def test_the_stand_in_for_tf2_msgs_is_the_real_type() -> None:
    path = compiled_share() / "tf2_msgs" / "msg" / "TFMessage.json"
    if not path.is_file():
        pytest.skip("a ROS installation brings its own tf2_msgs")
    assert type_hash(path, "tf2_msgs/msg/TFMessage") == TF_MESSAGE_HASH


def test_the_stand_in_is_never_built_on_a_robot() -> None:
    folder = ROOT / "tools" / "tf2_msgs_standin"
    assert (folder / "COLCON_IGNORE").is_file()
    assert not list((ROOT / "ros2_ws" / "src").glob("*tf2*"))


def test_both_wheel_recipes_are_the_same() -> None:
    own = (SOURCE / "wheels.cmake").read_text()
    assert own == (ROOT / "tools" / "tf2_msgs_standin" / "wheels.cmake").read_text()
