"""Prepare target through its own command line: a rig on disk becomes crops, cameras in mm, detections; or one sentence."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline import crops
from pipeline.files.cameras import read_cameras, read_rigs
from pipeline.files.detections import Detections
from pipeline.files.frames import Frames
from pipeline.skeleton import get
from tests.worlds import raw_world
from tests.worlds.raw_world import Raw

RECORDING = Path(__file__).parents[2] / "../shared/data/recording"
needs_recording = pytest.mark.skipif(
    not RECORDING.is_dir(), reason="needs ../shared/data/recording, a real four-camera recording"
)


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return raw_world.write(tmp_path)


@pytest.fixture
def refused(raw: Raw, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the stage on what a test has damaged: it must end with one sentence and leave the earlier outputs alone."""

    def run(**params: object) -> str:
        raw.out.mkdir(exist_ok=True)
        earlier = [raw.out / name for name in ("target.h5", "cameras.toml", "detections.h5", "target.json")]
        for path in earlier:
            path.write_text("earlier")
        with pytest.raises(SystemExit) as ended:
            raw.prepare_target(monkeypatch, **params)
        assert ended.value.code == 1
        assert sorted(raw.out.iterdir()) == sorted(earlier)
        assert all(path.read_text() == "earlier" for path in earlier)
        sentence = capsys.readouterr().err.strip()
        assert sentence.startswith("error: ")
        assert "\n" not in sentence
        return sentence

    return run


def projected(cameras, joints: np.ndarray) -> np.ndarray:
    return np.stack([camera.project(joints) for camera in cameras], axis=1)


def test_every_joint_is_inside_the_box_and_the_crops_show_the_image(raw, monkeypatch, capsys):
    raw.prepare_target(monkeypatch)
    frames = Frames.read(raw.out / "target.h5")
    assert frames.views == ("Cam_01", "Cam_02", "Cam_03", "Cam_04")
    assert frames.keys.sequence.tolist() == ["take"] * 6
    assert frames.keys.number.tolist() == list(range(6))
    assert frames.keys.split.tolist() == ["train"] * 4 + ["test"] * 2
    assert frames.present.all()
    joints = projected(raw.cameras, raw_world.people(get("mpii_16").joint_names, 6))
    inside = (joints > frames.box[:, :, None, :2]) & (joints < frames.box[:, :, None, 2:])
    assert inside.all()
    crop = frames.image(3, 2)
    affine = frames.crop_from_image[3, 2]
    picture = cv2.imread(str(raw.views / "cam03/0003.png"))
    assert abs(crop.astype(int) - crops.warp(picture, affine, len(crop)).astype(int)).mean() < 4  # grey values: JPEG
    side = crops.transform(affine, frames.box[3, 2].reshape(2, 2))
    np.testing.assert_allclose(side[1] - side[0], 96, atol=1.0)  # px: target.cache_size
    assert "taken to be in mm" in capsys.readouterr().out


def test_cameras_come_out_in_mm_whatever_went_in(raw, monkeypatch):
    raw_world.write_calibration(raw.calibration, raw.cameras, scale=0.001)
    raw.prepare_target(monkeypatch)
    for camera, known in zip(read_cameras(raw.out / "cameras.toml"), raw.cameras, strict=True):
        np.testing.assert_allclose(camera.centre, known.centre, atol=1e-3)  # mm
        np.testing.assert_allclose(camera.R, known.R, atol=1e-9)
        np.testing.assert_allclose(camera.K, known.K)


def test_equal_bytes_for_any_number_of_workers(raw, monkeypatch):
    made = []
    for workers in ("1", "3"):
        monkeypatch.setenv("POSE_WORKERS", workers)
        raw.prepare_target(monkeypatch, detections_format="openpose_body_25b")
        made.append([path.read_bytes() for path in sorted(raw.out.iterdir())])
    assert made[0] == made[1]


def test_without_a_detector_there_are_no_detections(raw, monkeypatch):
    raw.prepare_target(monkeypatch)
    seen = Detections.read(raw.out / "detections.h5")
    assert seen.skeleton.name == "mpii_16"
    assert np.isnan(seen.keypoints).all()
    assert not seen.scores.any()


def test_the_person_of_interest_is_found_beside_a_bystander(raw, monkeypatch):
    raw.prepare_target(monkeypatch, detections_format="openpose_body_25b")
    seen = Detections.read(raw.out / "detections.h5")
    expected = projected(raw.cameras, raw_world.people(seen.skeleton.joint_names, 6))
    np.testing.assert_allclose(seen.keypoints[:, :, :-1], expected[:, :, :-1], atol=1e-6)  # px
    assert np.isnan(seen.keypoints[:, :, -1]).all()  # the joint that OpenPose did not find
    assert (seen.scores[:, :, -1] == 0).all()


def test_a_view_that_misses_the_person_has_no_detection(raw, monkeypatch):
    joints = raw_world.people(get("body_25b").joint_names, 6, (-900.0, 700.0))
    bystander = raw.cameras[2].project(joints[2])
    (raw.detections / "cam03_json/cam03.0002.json").write_text(raw_world.openpose([bystander]))
    raw.prepare_target(monkeypatch, detections_format="openpose_body_25b")
    seen = Detections.read(raw.out / "detections.h5")
    assert np.isnan(seen.keypoints[2, 2]).all()
    assert not seen.scores[2, 2].any()
    assert np.isfinite(seen.keypoints[2, [0, 1, 3], :-1]).all()


def test_boxes_are_made_from_joints_where_there_are_no_boxes(raw, monkeypatch):
    (raw.detections / "boxes.json").unlink()
    raw.prepare_target(monkeypatch, detections_format="openpose_body_25b", box_margin=0.5)
    box = Frames.read(raw.out / "target.h5").box
    joints = projected(raw.cameras, raw_world.people(get("body_25b").joint_names[:-1], 6))
    extent = (joints.max(2) - joints.min(2)).max(-1)
    np.testing.assert_allclose(box[..., 2] - box[..., 0], 1.5 * extent, rtol=1e-6)


def test_a_box_that_the_views_do_not_agree_on_is_filled_from_its_neighbours(raw, monkeypatch):
    entries = json.loads((raw.detections / "boxes.json").read_text())
    for entry in entries:
        if entry["image_id"] == "cam02/000003":
            entry["bbox"] = [5.0, 5.0, 40.0, 60.0]
        if entry["image_id"] == "cam03/000001":
            entry["score"] = 0.1
    (raw.detections / "boxes.json").write_text(json.dumps(entries))
    raw.prepare_target(monkeypatch)
    frames = Frames.read(raw.out / "target.h5")
    joints = projected(raw.cameras, raw_world.people(get("mpii_16").joint_names, 6))
    middle = (frames.box[..., :2] + frames.box[..., 2:]) / 2
    off = np.linalg.norm(middle - (joints.min(2) + joints.max(2)) / 2, axis=-1)
    assert off.max() < 40  # px of about 200
    assert json.loads((raw.out / "target.json").read_text())["boxes"] == {"detection": 22, "filled": 2}


def test_a_portrait_network_sees_a_person_as_large_as_a_square_one_does(raw, monkeypatch):
    """The detector's rectangle goes on beside its square, filled where its box is."""
    entries = json.loads((raw.detections / "boxes.json").read_text())
    gone = next(entry for entry in entries if entry["image_id"] == "cam02/000003")
    (raw.detections / "boxes.json").write_text(json.dumps([entry for entry in entries if entry is not gone]))
    raw.prepare_target(monkeypatch, box_margin=0.2)
    frames = Frames.read(raw.out / "target.h5")
    sides = frames.person_box[..., 2:] - frames.person_box[..., :2]
    for entry in entries:
        camera, number = entry["image_id"].split("/")
        row, view = np.flatnonzero(frames.keys.number == int(number))[0], int(camera[-1]) - 1
        tolerance = 0.1 if entry is gone else 1e-6
        np.testing.assert_allclose(sides[row, view], 1.2 * np.array(entry["bbox"][2:]), rtol=tolerance)
    tall = sides[..., 1] > sides[..., 0] * 4 / 3
    assert tall.any()
    portrait = crops.expand_to_aspect(frames.person_box, (192, 256))
    np.testing.assert_allclose((portrait[..., 3] - portrait[..., 1])[tall], sides[tall][:, 1])  # px
    np.testing.assert_allclose(crops.expand_to_aspect(frames.person_box, (256, 256)), frames.box, atol=1e-9)


def test_the_capture_volume_holds_the_person(raw, monkeypatch):
    shutil.rmtree(raw.detections)
    raw.detections.mkdir()
    raw.prepare_target(monkeypatch, boxes="volume")
    frames = Frames.read(raw.out / "target.h5")
    joints = projected(raw.cameras, raw_world.people(get("mpii_16").joint_names, 6))
    assert ((joints > frames.box[:, :, None, :2]) & (joints < frames.box[:, :, None, 2:])).all()
    scale = np.sqrt(abs(np.linalg.det(frames.crop_from_image[..., :2])))  # crop px an image px
    persons = (joints.max(2) - joints.min(2)).max(-1)
    assert (scale * persons > 96 / 1.5).all()  # px: a person is stored as large as from a detector's box
    raw.prepare_target(monkeypatch, boxes="volume", volume_mm=[-500, 500, -500, 500, 0, 1800])
    small = Frames.read(raw.out / "target.h5")
    assert (small.box[..., 2] - small.box[..., 0] <= frames.box[..., 2] - frames.box[..., 0]).all()


def test_stride_first_and_last_frame(raw, monkeypatch):
    raw.prepare_target(monkeypatch, frame_stride=2, first_frame=1, last_frame=4, test_last_frames=1)
    keys = Frames.read(raw.out / "target.h5").keys
    assert keys.number.tolist() == [1, 3]
    assert keys.split.tolist() == ["train", "test"]


def test_many_sequences_and_a_held_out_one(raw, monkeypatch):
    for name in ("b", "a"):
        shutil.copytree(raw.views, raw.root / "take/many" / name)
    shutil.move(raw.views, raw.root / "take/old")
    shutil.move(raw.root / "take/many", raw.views)
    entries = json.loads((raw.detections / "boxes.json").read_text())
    both = [entry | {"image_id": f"{name}/{entry['image_id']}"} for name in "ab" for entry in entries]
    (raw.detections / "boxes.json").write_text(json.dumps(both))
    raw.prepare_target(monkeypatch, test_sequences=["b"], test_last_frames=0)
    keys = Frames.read(raw.out / "target.h5").keys
    assert keys.sequence.tolist() == ["a"] * 6 + ["b"] * 6
    assert keys.split.tolist() == ["train"] * 6 + ["test"] * 6
    assert keys.person.tolist() == keys.sequence.tolist()


def test_chosen_views_come_in_the_order_asked_for(raw, monkeypatch):
    raw.prepare_target(monkeypatch, views=["cam03", "Cam-01"])
    assert Frames.read(raw.out / "target.h5").views == ("Cam_03", "Cam_01")


def test_videos_of_unequal_length_give_their_common_frames(tmp_path, monkeypatch, capsys):
    raw = raw_world.write(tmp_path, video=True)
    short = raw_world.draw((512, 512), [])
    raw_world.write_video(raw.views / "cam04.avi", [short] * 4)
    raw.prepare_target(monkeypatch)
    assert Frames.read(raw.out / "target.h5").keys.number.tolist() == [0, 1, 2, 3]
    out = capsys.readouterr().out
    assert "unequal frames (Cam_01 6, Cam_02 6, Cam_03 6, Cam_04 4); using the 4 common" in out


def test_a_video_that_was_shrunk_into_black_bars_is_read_in_the_calibration_s_px(tmp_path, monkeypatch, capsys):
    raw = raw_world.write(tmp_path)
    raw.prepare_target(monkeypatch)
    before = Frames.read(raw.out / "target.h5")
    for path in (raw.views / "cam02").iterdir():
        small = cv2.resize(cv2.imread(str(path)), (504, 504), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(path), cv2.copyMakeBorder(small, 4, 4, 0, 0, cv2.BORDER_CONSTANT))
    raw.prepare_target(monkeypatch)
    after = Frames.read(raw.out / "target.h5")
    np.testing.assert_array_equal(before.box, after.box)
    assert "black bars show that it is the whole image" in capsys.readouterr().out
    difference = abs(before.image(0, 1).astype(int) - after.image(0, 1).astype(int))
    assert difference.mean() < 3  # grey values; 4 px of shift would give 8


# --- views out of step, rigs and lenses of their own --------------------------------------------------------------------


def seconds_of(frames: int, shift: int = 0) -> list[np.ndarray]:
    """Return images whose grey value is 20 times their frame number."""
    return [np.full((512, 512, 3), 20 * (k + shift), np.uint8) for k in range(frames)]


def greys(raw: Raw, frame: int) -> list[int]:
    """The frame of each view's crop, by its middle."""
    frames = Frames.read(raw.out / "target.h5")
    crops_ = [frames.image(frame, view) for view in range(4)]
    return [round(float(np.median(crop[crop > 4])) / 20) for crop in crops_]


@pytest.fixture
def clocks(tmp_path: Path) -> Raw:
    """Videos that show their own frame numbers; cam02 began 3 frames early."""
    raw = raw_world.write(tmp_path, frames=9)
    for camera in raw.cameras:
        shutil.rmtree(raw.views / camera.name)
        count, first = (12, -3) if camera.name == "cam02" else (9, 0)
        raw_world.write_video(raw.views / f"{camera.name}.avi", seconds_of(count, max(first, 0))[: 12 if first else 9])
    return raw


@pytest.mark.parametrize(
    "params", [{"start_offsets": {"cam02": 3}}, {"start_offsets": {"cam02": 0.12}, "start_offsets_in": "seconds"}]
)
def test_a_view_that_began_earlier(clocks, monkeypatch, capsys, params):
    clocks.prepare_target(monkeypatch, boxes="volume", **params)
    assert Frames.read(clocks.out / "target.h5").keys.number.tolist() == list(range(9))
    assert greys(clocks, 2) == [2, 5, 2, 2]
    assert "the first frame groups are the views' own frames Cam_01 0, 1, 2, Cam_02 3, 4, 5" in capsys.readouterr().out


def test_a_view_with_twice_the_frame_rate(tmp_path, monkeypatch):
    raw = raw_world.write(tmp_path, frames=5)
    for camera in raw.cameras:
        shutil.rmtree(raw.views / camera.name)
        count = 10 if camera.name == "cam03" else 5
        raw_world.write_video(raw.views / f"{camera.name}.avi", seconds_of(count))
    rates = {"cam01": 25, "cam02": 25, "cam03": 50, "cam04": 25}
    raw.prepare_target(monkeypatch, boxes="volume", frame_rates=rates, test_last_frames=0)
    assert Frames.read(raw.out / "target.h5").keys.number.tolist() == [0, 1, 2, 3, 4]
    assert greys(raw, 3) == [3, 3, 6, 3]


def test_frame_rates_that_differ_need_a_param(tmp_path, monkeypatch, capsys):
    raw = raw_world.write(tmp_path, frames=4)
    for camera in raw.cameras:
        shutil.rmtree(raw.views / camera.name)
        path, rate = raw.views / f"{camera.name}.avi", 50 if camera.name == "cam03" else 25
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (512, 512))
        for picture in seconds_of(4):
            writer.write(picture)
        writer.release()
    with pytest.raises(SystemExit):
        raw.prepare_target(monkeypatch, boxes="volume")
    assert (
        "frame rates differ; give target.rig.frame_rates, {Cam_01: 25, Cam_02: 25, Cam_03: 50"
        in capsys.readouterr().err
    )


def test_images_that_are_numbered_from_elsewhere(raw, monkeypatch, refused):
    for path in sorted((raw.views / "cam01").iterdir(), reverse=True):
        path.rename(path.with_name(f"{int(path.stem) + 1:04d}.png"))
    assert "set target.rig.frame_matching: order if the first ones are one frame group" in refused()
    (raw.detections / "cam01_json").rename(raw.detections / "old")
    (raw.detections / "cam01_json").mkdir()
    for path in (raw.detections / "old").iterdir():
        number = int(path.stem.split(".")[1]) + 1
        shutil.copy(path, raw.detections / f"cam01_json/cam01.{number:04d}.json")
    shutil.rmtree(raw.detections / "old")
    (raw.detections / "boxes.json").unlink()
    raw.prepare_target(monkeypatch, frame_matching="order", detections_format="openpose_body_25b")
    seen = Detections.read(raw.out / "detections.h5")
    expected = projected(raw.cameras, raw_world.people(seen.skeleton.joint_names, 6))
    np.testing.assert_allclose(seen.keypoints[:, :, :-1], expected[:, :, :-1], atol=1e-6)  # px


def test_a_view_with_a_frame_offset_is_reported_and_not_shifted(tmp_path, monkeypatch, capsys):
    raw = raw_world.write(tmp_path, frames=30)
    files = sorted((raw.detections / "cam03_json").iterdir())
    texts = [path.read_text() for path in files]
    for path, text in zip(files, texts[:4] + texts, strict=False):
        path.write_text(text)
    raw.prepare_target(monkeypatch, detections_format="openpose_body_25b")
    assert "take: Cam_03 seems to be 4 frames early" in capsys.readouterr().out
    seen = Detections.read(raw.out / "detections.h5")
    found = np.isfinite(seen.keypoints[:, 2, 0, 0])
    late = projected(raw.cameras, raw_world.people(seen.skeleton.joint_names, 30))[:, 2]
    np.testing.assert_allclose(
        seen.keypoints[4:, 2, :-1][found[4:]], late[:-4, :-1][found[4:]], atol=1e-6
    )  # px: as it was


def test_a_rig_that_was_calibrated_anew_for_a_sequence(raw, monkeypatch):
    many = raw.root / "take/many"
    moved = tuple(replace(camera, centre=camera.centre + [800.0, 0, 0]) for camera in raw.cameras)
    (raw.root / "rigs").mkdir()
    for name, cameras in (("a", raw.cameras), ("b", moved)):
        shutil.copytree(raw.views, many / name)
        raw_world.write_calibration(raw.root / f"rigs/{name}.toml", cameras)
    again = replace(raw, root=raw.root)
    flags = {
        "calibration": raw.root / "rigs",
        "views": many,
        "detections": raw.detections,
        "out": raw.out / "target.h5",
        "cameras": raw.out / "cameras.toml",
        "joints": raw.out / "detections.h5",
        "metrics": raw.out / "target.json",
        "frame-list": raw.out / "frames.csv",
    }
    raw_world.run("prepare_target", flags, again.root, monkeypatch, boxes="volume")
    rigs = read_rigs(raw.out / "cameras.toml")
    frames = Frames.read(raw.out / "target.h5")
    groups = rigs.groups(frames.keys, frames.views, "test")
    assert [rows.tolist() for rows, _ in groups] == [list(range(6)), list(range(6, 12))]
    for (_, found), known in zip(groups, (raw.cameras, moved), strict=True):
        np.testing.assert_allclose(found[2].centre, known[2].centre, atol=1e-3)  # mm
    with pytest.raises(ValueError, match="holds 2 rigs, of a, b; expected one"):
        read_cameras(raw.out / "cameras.toml")


def test_a_fisheye_s_images_and_boxes_are_undistorted(raw, monkeypatch, capsys):
    """The third camera gets a fisheye: what it sees of the same person must come out where a camera without a lens sees it."""
    camera, lens = raw.cameras[2], np.array([0.08, -0.02, 0.004, -0.001])
    joints = raw_world.people(get("body_25b").joint_names, 6)
    ahead = camera.camera_from_world(joints).reshape(-1, 1, 3)
    shown = cv2.fisheye.projectPoints(ahead, np.zeros(3), np.zeros(3), camera.K, lens)[0].reshape(6, -1, 2)
    entries = json.loads((raw.detections / "boxes.json").read_text())
    for frame in range(6):
        cv2.imwrite(str(raw.views / f"cam03/{frame:04d}.png"), raw_world.draw(camera.size, [shown[frame]]))
        low, high = shown[frame].min(0), shown[frame].max(0)
        (entry,) = [each for each in entries if each["image_id"] == f"cam03/{frame:06d}"]
        entry["bbox"] = [*low.tolist(), *(high - low).tolist()]
    (raw.detections / "boxes.json").write_text(json.dumps(entries))
    parts = raw.calibration.read_text().split("[Cam_03]")
    table = re.sub(r"distortions = .*", f"distortions = {lens.tolist()}", parts[1], count=1).replace("false", "true", 1)
    raw.calibration.write_text(parts[0] + "[Cam_03]" + table)
    raw.prepare_target(monkeypatch)
    assert "camera Cam_03 has a fisheye: its images are undistorted" in capsys.readouterr().out
    straight = read_cameras(raw.out / "cameras.toml")[2]
    assert not straight.distortion.any()
    frames = Frames.read(raw.out / "target.h5")
    seen = straight.project(joints)
    assert ((seen > frames.box[:, 2, None, :2]) & (seen < frames.box[:, 2, None, 2:])).all()
    drawn = raw_world.draw(straight.size, [seen[1]])
    crop = frames.image(1, 2)
    expected = crops.warp(drawn, frames.crop_from_image[1, 2], len(crop))
    limb = (np.abs(expected.astype(int) - 140).max(-1) > 60) & (expected.max(-1) > 100)  # the figure's colour
    assert limb.sum() > 100
    assert np.abs(crop.astype(int) - expected)[limb].mean() < 25  # grey values; beside the figure it would be 80


def test_a_killed_run_goes_on_where_it_was(raw, monkeypatch):
    monkeypatch.setenv("POSE_SCRATCH", str(raw.root / "scratch"))
    raw.prepare_target(monkeypatch)
    whole = (raw.out / "target.h5").read_bytes()
    assert not [path for path in (raw.root / "scratch").iterdir() if path.is_dir()]
    shutil.rmtree(raw.out)
    cut, done = crops.warp, []

    class Killed(BaseException):
        pass

    def warp(*arguments):
        if len(done) == 10:
            raise Killed
        done.append(arguments)
        return cut(*arguments)

    monkeypatch.setenv("POSE_WORKERS", "1")
    monkeypatch.setattr(crops, "warp", warp)
    with pytest.raises(Killed):
        raw.prepare_target(monkeypatch)
    assert not (raw.out / "target.h5").exists()
    counted = []
    monkeypatch.setattr(crops, "warp", lambda *arguments: (counted.append(1), cut(*arguments))[1])
    raw.prepare_target(monkeypatch)
    assert (raw.out / "target.h5").read_bytes() == whole
    assert len(counted) < 24  # of 6 frames in 4 views


def test_another_calibration_s_layout_and_missing_sizes(raw, monkeypatch, capsys):
    from tests.calibration.test_formats import easymocap

    easymocap(raw.calibration.parent, raw.cameras)
    intri = raw.calibration.parent / "intri.yml"
    intri.write_text("\n".join(line for line in intri.read_text().splitlines() if not line.startswith(("H_", "W_"))))
    raw.calibration.unlink()
    moved = intri.parent / "calibration.toml"
    moved.mkdir()
    for name in ("intri.yml", "extri.yml"):
        shutil.move(intri.parent / name, moved / name)
    raw.prepare_target(monkeypatch)
    out = capsys.readouterr().out
    assert "EasyMocap's intri.yml and extri.yml, 4 cameras" in out
    assert "they have cam01 512x512" in out
    for camera, known in zip(read_cameras(raw.out / "cameras.toml"), raw.cameras, strict=True):
        np.testing.assert_allclose(camera.centre, known.centre, atol=1e-3)  # mm
    assert "EasyMocap" in (raw.out / "cameras.toml").read_text()


def test_a_dwarf_is_refused_for_its_units(raw, refused):
    raw_world.write_calibration(raw.calibration, raw.cameras, scale=0.1, units="mm")
    sentence = refused()
    assert "by their boxes the person is 0.1" in sentence
    assert "if its units were 10 times as large" in sentence


# --- impossible inputs -------------------------------------------------------------------------------------------


def test_an_unknown_parameter_is_named(raw, monkeypatch, capsys):
    text = raw_world.PARAMS.replace("    frame_stride: 1\n", "    frame_stride: 1\n    frame_strode: 2\n")
    monkeypatch.setattr(raw_world, "PARAMS", text)
    with pytest.raises(SystemExit):
        raw.prepare_target(monkeypatch)
    assert "target.rig.frame_strode: no such parameter" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("detector: none", "target.detections_format"),
        ("stride: 2", "target.rig.frame_stride"),
        ("units: m", "target.rig.units"),
    ],
)
def test_an_old_key_is_answered_with_its_new_name(raw, monkeypatch, capsys, old, new):
    text = raw_world.PARAMS.replace("  views: []\n", f"  views: []\n  {old}\n")
    monkeypatch.setattr(raw_world, "PARAMS", text)
    with pytest.raises(SystemExit):
        raw.prepare_target(monkeypatch)
    assert f"`target.{old.split(':')[0]}` is called `{new}` now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"frame_stride": 0}, "target.rig.frame_stride: expected at least 1, got 0"),
        ({"box_margin": -0.5}, "target.box_margin: expected 0 to 4, got -0.5"),
        ({"min_box_score": 1.5}, "target.min_box_score: expected 0 to 1, got 1.5"),
        ({"views": ["cam01"]}, "target.views: expected at least two views"),
        ({"views": ["cam01", "cam09"]}, "target.views: the view 'cam09' has no calibration"),
        ({"test_sequences": ["s9"]}, "there is no sequence 's9'; there are take"),
        ({"first_frame": 40}, "no frame of the sequence 'take' is left"),
        ({"last_frame": 2, "first_frame": 3}, "target.rig.last_frame: 2 is before"),
        ({"volume_mm": [0, 1, 2]}, "target.volume_mm: expected xmin xmax"),
        ({"volume_mm": [9000, 9500, 9000, 9500, 0, 10], "boxes": "volume"}, "is not inside the image of"),
        ({"detections_format": "openpose_body_25"}, None),
        ({"units": "m"}, "target.rig.units says m, but then the cameras stand"),
    ],
)
def test_impossible_params(refused, params, sentence):
    if sentence is not None:
        assert sentence in refused(**params)


def test_fewer_than_two_views(raw, refused):
    for name in ("cam02", "cam03", "cam04"):
        shutil.rmtree(raw.views / name)
    assert "has no images" in refused()
    raw_world.write_calibration(raw.calibration, raw.cameras[:1])
    assert "expected at least two cameras" in refused()


def test_a_calibration_that_lacks_a_camera(raw, refused):
    raw_world.write_calibration(raw.calibration, raw.cameras[:3])
    assert "cam04: the view has no calibration" in refused()


def test_a_camera_without_images(raw, refused):
    shutil.rmtree(raw.views / "cam03")
    assert "the camera Cam_03 of" in refused()


@pytest.mark.parametrize("wrong", [("cam02",), ("cam01", "cam03"), ("cam01", "cam02", "cam03", "cam04")])
@pytest.mark.parametrize("params", [{}, {"detections_format": "openpose_body_25b"}])
def test_transposed_rotations(raw, refused, wrong, params):
    raw_world.write_calibration(raw.calibration, raw.cameras, transposed=wrong)
    assert "transposed" in refused(**params)


def test_a_transposed_rotation_without_any_detection(raw, refused):
    raw_world.write_calibration(raw.calibration, raw.cameras, transposed=("cam03",))
    assert "the rotation of camera Cam_03 seems to be transposed" in refused(boxes="volume")


def test_metres_that_call_themselves_millimetres(raw, refused):
    raw_world.write_calibration(raw.calibration, raw.cameras, scale=0.001, units="mm")
    assert "metadata.units says mm, but then the cameras stand 0.00594 m apart; is it m?" in refused()


def test_ambiguous_units(raw, refused):
    raw_world.write_calibration(raw.calibration, raw.cameras, scale=0.02)
    assert "set target.rig.units" in refused()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[metadata]", "[metadata", "not readable as TOML"),
        ("matrix = ", "metrics = ", "the view has no calibration"),
        ("translation = ", "shift = ", "'translation' is missing"),
        ("size = [512.0, ", "size = [0, ", "size: expected"),
        ("distortions = [-0.1", "distortions = [nan", "distortions: expected finite numbers"),
        ("fisheye = false", 'convention = "other"', "convention: expected opencv or h36m"),
    ],
)
def test_a_broken_calibration(raw, refused, old, new, sentence):
    raw.calibration.write_text(raw.calibration.read_text().replace(old, new, 1))
    assert sentence in refused()


def test_broken_boxes(raw, refused):
    path = raw.detections / "boxes.json"
    entries = json.loads(path.read_text())
    path.write_text(path.read_text()[:-20])
    assert "boxes.json: not readable as json" in refused()
    path.write_text(json.dumps([entries[0] | {"bbox": [1, 2, 3, -4]}]))
    assert "entry 0: expected a bbox" in refused()
    path.write_text(json.dumps([entries[0] | {"image_id": 7}]))
    assert "image_id: expected <sequence>/<camera>/<number> or <camera>/<number>, got 7" in refused()
    path.write_text("[]")
    assert "no box of a person in any frame" in refused()


def test_broken_joints(raw, refused):
    path = raw.detections / "cam02_json/cam02.0002.json"
    text = path.read_text()
    path.write_text(text[:50])
    assert f"{path.name}: not readable as json" in refused(detections_format="openpose_body_25b")
    path.write_text(text.replace("0.8", "NaN", 1))
    assert "a joint is NaN" in refused(detections_format="openpose_body_25b")
    path.write_text(json.dumps({"people": [{"pose_keypoints_2d": [1, 2, 3]}]}))
    assert "expected 25 joints (body_25b) as x, y, score, got 1" in refused(detections_format="openpose_body_25b")
    shutil.rmtree(raw.detections / "cam02_json")
    assert "expected a folder Cam_02_json" in refused(detections_format="openpose_body_25b")


def test_a_truncated_image(raw, refused):
    path = raw.views / "cam03/0004.png"
    path.write_bytes(path.read_bytes()[:-300])
    assert "cam03/0004.png: the image is truncated" in refused()


def test_images_of_another_size(raw, refused):
    path = raw.views / "cam03/0002.png"
    cv2.imwrite(str(path), np.zeros((300, 400, 3), np.uint8))
    assert "frame 2 is 400x300, the view's first is 512x512" in refused()
    for path in (raw.views / "cam03").iterdir():
        cv2.imwrite(str(path), np.zeros((300, 400, 3), np.uint8))
    assert "the images are 400x300, the calibration is for 512x512" in refused()


def test_an_empty_video_and_a_broken_one(raw, refused):
    for camera in raw.cameras:
        shutil.rmtree(raw.views / camera.name)
        raw_world.write_video(raw.views / f"{camera.name}.avi", [raw_world.draw((512, 512), [])] * 6)
    whole = (raw.views / "cam02.avi").read_bytes()
    (raw.views / "cam02.avi").write_bytes(b"")
    assert "cam02.avi: the video is empty (0 bytes)" in refused()
    (raw.views / "cam02.avi").write_bytes(whole[:200])
    assert "cam02.avi: " in refused()


def test_no_common_frame(raw, refused):
    for number, path in enumerate(sorted((raw.views / "cam01").iterdir())):
        path.rename(path.with_name(f"{number + 100:04d}.png"))
    assert "no frame is in all views (Cam_01 100..105" in refused(frame_matching="names")
    assert "equally many images under other numbers (Cam_01 100..105, Cam_02 0..5" in refused()


# --- a real recording -----------------------------------------------------------------------------------------------


@needs_recording
def test_a_real_recording_is_prepared(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    flags = {
        "calibration": RECORDING / "Calib.toml",
        "views": RECORDING / "balancing/videos",
        "detections": RECORDING / "balancing/openpose",
        "out": out / "target.h5",
        "cameras": out / "cameras.toml",
        "joints": out / "detections.h5",
        "metrics": out / "target.json",
        "frame-list": out / "frames.txt",
    }
    params = {"detections_format": "openpose_body_25b", "frame_stride": 5, "test_last_frames": 6}
    raw_world.run("prepare_target", flags, tmp_path, monkeypatch, **params)
    printed = capsys.readouterr().out
    assert "taken to be in m" in printed
    assert printed.count("1080x1920, the calibration is for 1088x1920; black bars") == 2
    truth = {"truth": RECORDING / "balancing/peer.trc", "frames": out / "target.h5", "out": out / "truth.h5"}
    raw_world.run("prepare_truth", truth, tmp_path, monkeypatch, axes="zxy", frame_offset=-1, origin="peer")
    from pipeline.files.truth import Truth
    from pipeline.skeleton import reorder

    seen, peer = Detections.read(out / "detections.h5"), Truth.read(out / "truth.h5")
    assert seen.keys.sequence[0] == "balancing"
    assert peer.origin == "peer"
    points = reorder(seen.keypoints, peer.skeleton, seen.skeleton)
    expected = projected(read_cameras(out / "cameras.toml"), peer.joints)
    off = np.nanmedian(np.linalg.norm(points - expected, axis=-1), axis=-1)  # (frames, views) px
    assert off.max() < 60  # the bystander is some 300 px away
    assert 1200 < np.nanmedian(peer.joints[:, peer.skeleton.index("head_top"), 2]) < 2000  # mm, z is up
