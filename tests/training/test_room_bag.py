"""A drive through a room as a bag: read back by the readers that read recordings, and true."""

from __future__ import annotations

import json

import numpy as np
import pytest

from training.data.bags.dataset import BagsConfig, BagsDataset
from training.data.cli import SUBCOMMANDS
from training.data.room_bag import room_drive
from uniugg_core import cli
from uniugg_ros.demo.recorded import known_questions, read_pictures, room_bag

FRAMES, SIZE = 8, 96


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    out = tmp_path_factory.mktemp("room") / "room"
    line = ["data", "room-bag", str(out), "--room", "3", "--frames", str(FRAMES), "--size", str(SIZE)]
    assert cli.main([*line, "--questions", "4"]) == 0
    return out


def test_pictures_depth_and_poses_are_those_of_the_drive(room):
    drive, pictures = room_drive(3, FRAMES, SIZE), read_pictures(room / "bag")
    assert len(pictures) == FRAMES
    for number, picture in enumerate(pictures):
        np.testing.assert_allclose(picture.fixed_from_camera, drive.world_from_camera[number], atol=1e-6)
        np.testing.assert_allclose(picture.camera.matrix, drive.intrinsics)
        np.testing.assert_allclose(picture.depth, drive.depth[number], atol=6e-4)
        assert (
            np.abs(picture.image.astype(int) - drive.image[number]).mean() < 8
        )  # JPEG; colours in another order would be tens apart
    steps = np.linalg.norm(np.diff([picture.fixed_from_camera[:3, 3] for picture in pictures], axis=0), axis=1)
    assert steps.max() < 0.4, "one drive, without jumps"


def test_it_becomes_training_data_whose_geometry_agrees(room, tmp_path):
    line = ["data", "from-bag", str(room / "bag"), str(tmp_path / "out"), "--workers", "1", "--quiet"]
    assert cli.main([*line, "--min-shift", "0.01", "--min-turn", "0.5", "--max-overlap", "0.99"]) == 0
    dataset = BagsDataset(tmp_path / "out", BagsConfig(size=48, held_out=0))
    batch = dataset.batch("pair", range(4))
    assert (batch["depth"] > 0).float().mean() > 0.95


def test_questions_with_known_answers(room):
    known = known_questions(room / "bag")
    assert len(known) == 4 and all(0 <= item.picture < FRAMES for item in known)
    assert json.loads((room / "questions.json").read_text())[0]["answer"] == known[0].answer


def test_nothing_is_overwritten_and_nonsense_is_refused(room, capsys):
    assert cli.main(["data", "room-bag", str(room)]) == 2
    assert "exists" in capsys.readouterr().err
    assert cli.main(["data", "room-bag", str(room.parent / "other"), "--frames", "0"]) == 2
    assert "room-bag" in SUBCOMMANDS


def test_the_room_that_ships_is_what_its_readme_says():
    bag = room_bag()
    assert bag is not None
    pictures, drive = read_pictures(bag), room_drive(8, 24, 360)
    assert len(pictures) == 24
    np.testing.assert_allclose([picture.fixed_from_camera for picture in pictures], drive.world_from_camera, atol=1e-6)
    assert len(known_questions(bag)) == 8
