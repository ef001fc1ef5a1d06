"""The command `uniugg`: listing, choosing, options, refusals, and the two jobs on a real model of the smallest kind."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import types

import numpy as np
import pytest

from uniugg_core import cli
from uniugg_core.cameras import Camera, inverse_rigid, motion, quaternion_from_matrix
from uniugg_core.commands import common
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import load_image, save_image
from uniugg_core.scene import IMAGINED, Scene


@pytest.fixture
def picture(tmp_path):
    rng = np.random.default_rng(0)
    return save_image(tmp_path / "room.png", rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))


def parsed(add, *arguments, **options):
    parser = argparse.ArgumentParser()
    add(parser, **options)
    return parser.parse_args(list(arguments))


class TestFront:
    def test_help_lists_every_command_and_imports_no_network(self):
        code = (
            "import sys\nfrom uniugg_core.cli import main\n"
            "try: main(['--help'])\nexcept SystemExit: pass\n"
            "heavy = {'torch', 'numpy', 'cv2', 'rclpy', 'viser'} & set(sys.modules)\n"
            "sys.exit(f'imported {heavy}' if heavy else 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        for name in ("info", "imagine", "ask", "convert", "demo", "view"):
            assert f"\n    {name} " in done.stdout
        assert "not available" not in done.stdout and "no description" not in done.stdout

    def test_every_registered_command_keeps_the_contract(self):
        for command in cli.commands().values():
            module = command.load()
            module.configure(argparse.ArgumentParser())
            assert callable(module.run), command.name
            assert 10 < len(command.summary) < 80, command.summary

    def test_a_misspelt_command_is_named_with_the_nearest(self, capsys):
        assert cli.main(["imagin"]) == 2
        assert "'imagin'; did you mean 'imagine'?" in capsys.readouterr().err

    def test_no_command_prints_the_help(self, capsys):
        assert cli.main([]) == 2
        assert "imagine" in capsys.readouterr().out

    def test_a_missing_module_does_not_break_the_listing(self):
        assert "no module" in cli.Command("gone", "uniugg_core.commands.gone").summary
        assert "no module" in cli.Command("gone", "uniugg_core.config.deeper").summary

    @pytest.mark.parametrize(
        ("raised", "status", "line"),
        [
            (UniuggError(ErrorCode.POSE_INVALID, "x is 1"), 2, "error: POSE_INVALID: x is 1\n"),
            (KeyboardInterrupt(), 130, "interrupted\n"),
        ],
    )
    def test_what_run_raises_becomes_one_line_and_a_status(self, monkeypatch, capsys, raised, status, line):
        def run(args):
            raise raised

        module = types.SimpleNamespace(__doc__="Fails.", configure=lambda parser: None, run=run)
        monkeypatch.setattr(cli.Command, "load", lambda self: module)
        monkeypatch.setattr(cli, "commands", lambda: {"fail": cli.Command("fail", "uniugg_core.commands.info")})
        assert cli.main(["fail"]) == status
        assert capsys.readouterr().err == line


class TestOptions:
    def test_the_same_pose_in_four_ways(self, tmp_path):
        expected = motion(yaw=math.radians(30), forward=0.5)
        pose = inverse_rigid(expected)
        matrix_file, pose_file = tmp_path / "matrix.json", tmp_path / "pose.json"
        matrix_file.write_text(json.dumps({"target_from_reference": expected.tolist()}))
        orientation = quaternion_from_matrix(pose).tolist()
        pose_file.write_text(json.dumps({"position": pose[:3, 3].tolist(), "orientation": orientation}))
        numbers = " ".join(str(value) for value in expected.reshape(-1))
        for arguments in (
            ("--pose", "forward 0.5, yaw right 30"),
            ("--matrix", numbers),
            ("--pose-file", str(matrix_file)),
            ("--pose-file", str(pose_file)),
        ):
            args = parsed(common.add_pose_options, *arguments, required=True)
            np.testing.assert_allclose(common.read_pose(args), expected, atol=1e-12)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--pose", "sideways a bit"),
            ("--matrix", "1 2 3"),
            ("--matrix", "a b"),
            ("--matrix", " ".join(["2"] * 16)),
            ("--pose-file", "no/such/file.json"),
        ],
    )
    def test_a_wrong_pose_is_refused(self, arguments):
        with pytest.raises(UniuggError) as caught:
            common.read_pose(parsed(common.add_pose_options, *arguments, required=True))
        assert caught.value.code == ErrorCode.POSE_INVALID

    def test_a_pose_file_of_something_else_is_refused(self, tmp_path):
        path = tmp_path / "pose.json"
        for text in ("{}", "[1, 2]", "not json", '{"target_from_reference": [1]}'):
            path.write_text(text)
            with pytest.raises(UniuggError, match="POSE_INVALID"):
                common.read_pose(parsed(common.add_pose_options, "--pose-file", str(path), required=True))

    def test_no_pose_is_none_where_it_is_not_required(self):
        assert common.read_pose(parsed(common.add_pose_options, required=False)) is None

    def test_cameras(self, tmp_path):
        info = tmp_path / "camera.yaml"
        info.write_text(
            "image_width: 640\nimage_height: 480\ndistortion_model: plumb_bob\n"
            "camera_matrix: {rows: 3, cols: 3, data: [500, 0, 320, 0, 510, 240, 0, 0, 1]}\n"
            "distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0, 0, 0, 0]}\n"
        )
        pinhole = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])

        def read(*arguments):
            return common.read_camera(parsed(common.add_camera_options, *arguments), 640, 480)

        assert read() is None
        assert read("--camera", "500,510,320,240") == Camera(640, 480, pinhole)
        assert read("--fov", "90").matrix[0, 0] == pytest.approx(320)
        assert read("--camera-info", str(info)) == Camera(640, 480, pinhole, (0.1, 0, 0, 0, 0), "plumb_bob")
        for arguments, code in (
            (("--camera", "1,2,3"), ErrorCode.CAMERA_INFO_INVALID),
            (("--camera", "a,b,c,d"), ErrorCode.CAMERA_INFO_INVALID),
            (("--fov", "180"), ErrorCode.CAMERA_INFO_INVALID),
            (("--camera-info", "no/such.yaml"), ErrorCode.CAMERA_INFO_INVALID),
        ):
            with pytest.raises(UniuggError) as caught:
                read(*arguments)
            assert caught.value.code == code
        with pytest.raises(UniuggError, match="CAMERA_INFO_MISMATCH"):
            common.read_camera(parsed(common.add_camera_options, "--camera-info", str(info)), 320, 240)

    def test_json_values(self, tmp_path):
        value = {"a": np.array([1.5, math.nan]), 2: (np.int64(3), tmp_path), "e": ErrorCode.BUSY}
        text = json.dumps(common.to_json(value), allow_nan=False)
        assert json.loads(text) == {"a": [1.5, None], "2": [3, str(tmp_path)], "e": 501}


class TestCommands:
    def test_info_counts_the_parts_of_the_paper(self, capsys):
        assert cli.main(["info", "--preset", "paper", "--json"]) == 0
        description = json.loads(capsys.readouterr().out)
        parts = description["parameters"]
        assert parts["encoder"] == 319_881_216
        assert parts["spatial_decoder"] == 388_302_478
        assert parts["denoiser"] == 859_520_964
        assert parts["language_model"] == 3_085_938_688
        assert parts["total"] == sum(count for name, count in parts.items() if name != "total")
        assert description["bytes_bf16"]["total"] == 2 * parts["total"]
        assert description["image"] == [3, 224, 224] and description["latent"] == [4, 28, 28]

    def test_info_of_the_tiny_model_as_a_table(self, capsys):
        assert cli.main(["info"]) == 0
        text = capsys.readouterr().out
        assert text.startswith("tiny, untrained") and "MiB" in text and "10 x 10 x 6" in text

    def test_info_of_a_preset_that_does_not_exist(self, capsys):
        assert cli.main(["info", "--preset", "huge"]) == 2
        assert capsys.readouterr().err.startswith("error: CHECKPOINT_MISSING: no preset 'huge'")

    def test_imagine_writes_the_scene_and_pictures_of_it(self, picture, tmp_path, capsys):
        out = tmp_path / "out"
        arguments = [
            "imagine",
            str(picture),
            "--pose",
            "yaw right 20",
            "--preset",
            "tiny",
            "--steps",
            "2",
            "--seed",
            "5",
        ]
        assert cli.main([*arguments, "--out", str(out)]) == 0
        said = capsys.readouterr()
        assert common.UNTRAINED_NOTE in said.err and "60 degrees was assumed" in said.err
        result = json.loads((out / "result.json").read_text())
        assert result["seed"] == 5 and result["camera_assumed"] and not result["model"]["trained"]
        assert {"encode", "condition", "denoise", "decode", "total"} <= set(result["timings_ms"])
        for name in result["files"]:
            assert (out / name).stat().st_size > 100, name
        scene = Scene.load(out / "scene.ply")
        assert len(scene) == result["points"]
        assert int((scene.source == IMAGINED).sum()) == result["points_imagined"] > 0
        assert load_image(out / "sheet.png").shape[1] == 1200
        again = tmp_path / "again"
        assert cli.main([*arguments, "--out", str(again)]) == 0
        np.testing.assert_array_equal(Scene.load(again / "scene.npz").points, Scene.load(out / "scene.npz").points)

    def test_ask_in_plain_words_as_stream_and_as_json(self, picture, capsys):
        arguments = ["ask", str(picture), "How far is it?", "--preset", "tiny", "--max-new-tokens", "4"]
        assert cli.main(arguments) == 0
        plain = capsys.readouterr().out
        assert cli.main([*arguments, "--stream"]) == 0
        assert capsys.readouterr().out == plain
        assert cli.main([*arguments, "--json", "--evidence"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert plain.startswith(answer["text"]) and answer["tokens"] == 4 and answer["truncated"]
        assert answer["evidence"] and all(0 <= place["u"] < 120 for place in answer["evidence"])

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (["ask", "no/such.png", "Where?"], "IMAGE_MISSING"),
            (["imagine", "no/such.png", "--pose", "stay", "--out", "unused"], "IMAGE_MISSING"),
            (["info", "--model", "no/such/folder"], "CHECKPOINT_MISSING"),
        ],
    )
    def test_a_user_error_is_one_coded_line(self, arguments, code, capsys):
        assert cli.main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {code}: ") and error.count("\n") == 1

    def test_an_empty_question_is_refused(self, picture, capsys):
        assert cli.main(["ask", str(picture), " ", "--preset", "tiny"]) == 2
        assert "error: QUESTION_EMPTY" in capsys.readouterr().err

    def test_a_word_where_a_number_belongs_is_argparse_s_error(self, picture, capsys):
        with pytest.raises(SystemExit) as caught:
            cli.main(["imagine", str(picture), "--pose", "stay", "--out", "x", "--steps", "none"])
        assert caught.value.code == 2
        assert "is not a whole number above 0" in capsys.readouterr().err
