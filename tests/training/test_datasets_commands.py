"""`uniugg data check` and `uniugg data pairs`: right data passes, wrong conventions are named, lists repeat."""

from __future__ import annotations

import json
from argparse import ArgumentParser

import cv2
import numpy as np
import pytest
from formats import arkit, prepared, scannet, shards, talks
from formats.rendered import rendered, write_grey, write_rgb

from training.config import DataConfig
from training.data import arkitscenes, cli
from training.data.covisibility import covisibility
from training.data.frame_folder import write_tables
from training.data.pair_list import DEFAULT_NAME, PairList
from training.data.pairs import MiningConfig, mine
from training.sources import open_source
from uniugg_core.config import preset
from uniugg_core.errors import UniuggError

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
EASY = MiningConfig(covisibility=(0.1, 1.0))


def uniugg_data(*words) -> int:
    parser = ArgumentParser()
    cli.configure(parser)
    return cli.run(parser.parse_args([str(word) for word in words]))


def invert_trajectory(folder) -> None:
    """As if somebody had written camera-to-world."""
    path = folder / "lowres_wide.traj"
    lines = []
    for line in path.read_text().splitlines():
        row = np.array(line.split(), float)
        turn = cv2.Rodrigues(row[1:4])[0]
        axis = cv2.Rodrigues(turn.T)[0].ravel()
        lines.append(" ".join(map(str, [row[0], *axis, *(-turn.T @ row[4:])])))
    path.write_text("\n".join(lines))


def write_frames(folder, poses) -> None:
    """The rendered room as a folder of frames with these poses."""
    scene = rendered()
    names = [f"{n:06d}" for n in range(len(scene))]
    for n, name in enumerate(names):
        write_rgb(folder / "color" / f"{name}.png", scene.image[n])
        write_grey(folder / "depth" / f"{name}.png", scene.millimetres(n))
    write_tables(folder, names, poses, np.repeat(scene.k[None], len(scene), 0), np.arange(len(scene)))


class TestCheck:
    def test_right_data_passes_and_is_shown(self, tmp_path, capsys):
        arkit.write_raw(tmp_path / "data", rendered())
        sheet = tmp_path / "sheet.png"
        assert uniugg_data("check", tmp_path / "data", "--sheet", sheet) == 0
        said = capsys.readouterr().out
        assert "ARKitScenes, raw" in said
        assert "looks right" in said
        assert cv2.imread(str(sheet)).shape[1] == 6 * 224 + 5 * 4

    def test_a_wrong_convention_is_named(self, tmp_path, capsys):
        invert_trajectory(arkit.write_raw(tmp_path, rendered()))
        assert uniugg_data("check", tmp_path) == 1
        said = capsys.readouterr().out
        assert "WRONG" in said
        assert "inverted" in said.partition("WRONG")[2]

    def test_what_is_missing_is_counted(self, tmp_path, capsys):
        scannet.write_dslr(tmp_path, rendered(), depth=False)
        assert uniugg_data("check", tmp_path, "--json") == 1
        (found,) = json.loads(capsys.readouterr().out)
        assert found["what"] == "ScanNet++, dslr"
        assert found["missing"] == {"pictures without depth": 4}
        assert "nothing can be tested" in found["wrong"][0]

    def test_a_scene_has_both_devices(self, tmp_path, capsys):
        scannet.write_dslr(tmp_path, rendered())
        scannet.write_iphone(tmp_path, rendered())
        assert uniugg_data("check", tmp_path, "--json") == 0
        assert [part["what"] for part in json.loads(capsys.readouterr().out)] == [
            "ScanNet++, dslr",
            "ScanNet++, iphone",
        ]
        assert uniugg_data("check", tmp_path, "--json", "--layout", "iphone") == 0
        assert len(json.loads(capsys.readouterr().out)) == 1

    def test_shards_conversations_and_pictures(self, tmp_path, capsys):
        shards.write_shard(tmp_path / "laion" / "00000.tar", 5, broken=(1,))
        talks.write_emova(tmp_path / "emova")
        talks.write_spar(tmp_path / "spar")
        shards.write_imagenet(tmp_path / "imagenet")
        for name, what in (
            ("laion", "shards (webdataset)"),
            ("emova", "LLaVA conversations"),
            ("spar", "SPAR, JSON lines"),
            ("imagenet", "pictures"),
        ):
            assert uniugg_data("check", tmp_path / name, "--json", "--sheet", tmp_path / f"{name}.png") == 0
            (found,) = json.loads(capsys.readouterr().out)
            assert found["what"] == what
            assert (tmp_path / f"{name}.png").is_file()
            if name == "laion":
                assert found["missing"] == {"samples left out (IMAGE_UNDECODABLE)": 1}

    def test_folders_of_frames_are_recordings_too(self, tmp_path, capsys):
        write_frames(tmp_path, rendered().pose)
        assert uniugg_data("check", tmp_path) == 0
        assert "folder of frames" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("name", "mistake"),
        [
            ("inverted", np.linalg.inv),
            ("y and z flipped (OpenGL, nerfstudio)", lambda pose: pose @ FLIP),
            ("inverted, then flipped", lambda pose: np.linalg.inv(pose @ FLIP)),
            ("y and z flipped (OpenGL, nerfstudio)", lambda pose: np.array(scannet.permuted(pose))),
        ],
    )
    def test_every_wrong_convention_is_told_from_the_others(self, tmp_path, capsys, name, mistake):
        write_frames(tmp_path, np.stack([mistake(pose) for pose in rendered().pose]))
        assert uniugg_data("check", tmp_path) == 1
        assert f"poses {name} would give 100%" in capsys.readouterr().out

    @pytest.mark.parametrize("scale", [0.1, 1000.0])
    def test_poses_in_another_unit_are_wrong(self, tmp_path, scale):
        poses = rendered().pose.copy()
        poses[:, :3, 3] *= scale
        write_frames(tmp_path, poses)
        assert uniugg_data("check", tmp_path) == 1

    def test_a_real_sensor_passes(self, tmp_path, capsys, repository):
        """Measured depth with holes and noise is not taken for a wrong convention, and a wrong one is still named."""
        real = repository / "tests" / "data" / "real_pair"
        cameras = json.loads((real / "cameras.json").read_text())
        for name in cameras["frames"]:
            write_rgb(tmp_path / "color" / f"{name}.jpg", cv2.imread(str(real / f"{name}.jpg"))[..., ::-1])
            write_grey(tmp_path / "depth" / f"{name}.png", cv2.imread(str(real / f"{name}_depth.png"), -1))
        poses, k = np.array(cameras["world_from_camera"]), np.array([cameras["matrix"]] * 2)
        write_tables(tmp_path, cameras["frames"], poses, k, np.arange(2.0))
        assert uniugg_data("check", tmp_path) == 0
        write_tables(tmp_path, cameras["frames"], np.linalg.inv(poses), k, np.arange(2.0))
        capsys.readouterr()
        assert uniugg_data("check", tmp_path) == 1
        assert "inverted" in capsys.readouterr().out.partition("WRONG")[2]

    def test_nothing_is_said_to_be_nothing(self, tmp_path):
        with pytest.raises(UniuggError, match="holds no"):
            uniugg_data("check", tmp_path)
        with pytest.raises(UniuggError, match="does not exist"):
            uniugg_data("check", tmp_path / "nowhere")


class TestPairs:
    def test_shares_are_those_of_full_size_depth(self, tmp_path):
        scene = rendered()
        arkit.write_raw(tmp_path, scene)
        pairs = mine(arkitscenes.READER, arkitscenes.find(tmp_path), EASY)
        assert len(pairs) == 6
        names = sorted(path.name for path in (tmp_path / "Training" / "41000001" / "lowres_wide").iterdir())
        numbers = [[names.index(name) for name in row] for row in zip(pairs.reference, pairs.target)]
        k = np.repeat(scene.k[None], len(scene), 0)
        true = covisibility(scene.depth, k, scene.pose, np.array(numbers), stride=1)
        np.testing.assert_allclose(pairs.covisibility[:, 0], true, atol=0.05)

    def test_several_processes_find_the_same(self, tmp_path):
        for video in ("41000001", "41000002"):
            arkit.write_raw(tmp_path, rendered(), video)
        (tmp_path / "Training" / "41000003").mkdir()
        (tmp_path / "Training" / "41000003" / "lowres_wide.traj").write_text("")
        scenes = arkitscenes.find(tmp_path)
        told = []
        config = MiningConfig(covisibility=(0.1, 1.0), most=3)
        one = mine(arkitscenes.READER, scenes, config, tell=lambda *words: told.append(words))
        two = mine(arkitscenes.READER, scenes, config, processes=2)
        assert one.scenes == two.scenes == ("Training/41000001", "Training/41000002")
        np.testing.assert_array_equal(one.reference, two.reference)
        np.testing.assert_array_equal(one.target, two.target)
        assert len(one) == 6
        assert "REQUEST_INVALID" in told[2][2]

    def test_the_command_writes_what_training_reads(self, tmp_path, capsys):
        arkit.write_raw(tmp_path, rendered())
        assert uniugg_data("pairs", tmp_path, "--covisibility", 0.1, 1.0, "--processes", 1) == 0
        assert "6 pairs of 1 of 1 scenes" in capsys.readouterr().out
        assert (tmp_path / DEFAULT_NAME).is_file()
        data = DataConfig(source="arkitscenes", path=str(tmp_path), options={"size": 32})
        pair = open_source(data, preset("tiny"), "train").pair(0)
        assert pair.reference.image.shape == (32, 32, 3)
        assert 0.1 < min(pair.covisibility)

    def test_a_set_s_own_pairs_are_taken_over(self, tmp_path, capsys):
        prepared.write_scannetpp(tmp_path, rendered())
        assert uniugg_data("pairs", tmp_path, "--listed", "--out", tmp_path / "own.json") == 0
        assert len(PairList.load(tmp_path / "own.json")) == 4

    @pytest.mark.parametrize("ending", ["npz", "json"])
    def test_lists_come_back(self, tmp_path, ending):
        pairs = PairList.collect(
            "x", [("s/1", [("a", "b", 0.5, 0.25)]), ("empty", []), ("s/2", [("c", "d", 1.0, 0.5)])]
        )
        pairs.save(tmp_path / f"list.{ending}")
        back = PairList.load(tmp_path / f"list.{ending}")
        assert back.scenes == ("s/1", "s/2")
        assert back.target.tolist() == ["b", "d"]
        np.testing.assert_allclose(back.covisibility, [[0.5, 0.25], [1.0, 0.5]])

    def test_a_list_of_another_layout_is_refused(self, tmp_path):
        arkit.write_raw(tmp_path, rendered())
        PairList.collect("ScanNet++, dslr", [("s", [("a", "b", 0.5, 0.5)])]).save(tmp_path / DEFAULT_NAME)
        with pytest.raises(UniuggError, match="is of 'ScanNet"):
            open_source(DataConfig(source="arkitscenes", path=str(tmp_path)), preset("tiny"), "train")
        (tmp_path / DEFAULT_NAME).write_bytes(b"PK no")
        with pytest.raises(UniuggError, match="no list of pairs"):
            open_source(DataConfig(source="arkitscenes", path=str(tmp_path)), preset("tiny"), "train")
