"""Calibrations in the layouts of the field's tools: every one gives the same rig, or one sentence.

Files are written as their tools write them, OpenCV's by OpenCV. The rigs are a ring of cameras and the real recording's.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.calibration import conventions, formats
from pipeline.calibration.conventions import Settings
from pipeline.calibration.description import simplified
from pipeline.calibration.reading import read_calibration
from pipeline.files.cameras import read_cameras, write_cameras
from pipeline.geometry.camera import Camera
from tests.conftest import camera_looking_at
from tests.worlds import raw_world

CALIB = Path(__file__).parents[2] / "../shared/data/recording/Calib.toml"
needs_recording = pytest.mark.skipif(not CALIB.is_file(), reason="needs ../shared/data/recording, a real recording")
Writer = Callable[[Path, tuple[Camera, ...]], Path]


def storage(path: Path, values: Mapping[str, Any]) -> Path:
    """A file of OpenCV's FileStorage, written by it."""
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)

    def put(name: str, value: Any) -> None:
        if isinstance(value, dict):
            file.startWriteStruct(name, cv2.FileNode_MAP)
            for key, item in value.items():
                put(key, item)
            file.endWriteStruct()
        elif isinstance(value, list):
            file.startWriteStruct(name, cv2.FileNode_SEQ)
            for item in value:
                put("", item)
            file.endWriteStruct()
        else:
            file.write(name, value)

    for key, value in values.items():
        put(key, value)
    file.release()
    return path


def rodrigues(R: np.ndarray) -> np.ndarray:
    return Rotation.from_matrix(R).as_rotvec()


def pose2sim(folder: Path, cameras: tuple[Camera, ...]) -> Path:
    raw_world.write_calibration(folder / "Calib.toml", cameras, scale=0.001)
    return folder / "Calib.toml"


def ours(folder: Path, cameras: tuple[Camera, ...]) -> Path:
    entries = [
        {
            "name": c.name,
            "size": c.size,
            "matrix": c.K.tolist(),
            "distortions": c.distortion.tolist(),
            "rotation": rodrigues(c.R).tolist(),
            "translation": (c.translation / 10).tolist(),
        }
        for c in cameras
    ]
    (folder / "rig.json").write_text(json.dumps({"units": "cm", "cameras": entries}))
    return folder / "rig.json"


def caliscope(folder: Path, cameras: tuple[Camera, ...]) -> Path:
    text = ""
    for number, c in enumerate(cameras):
        text += (
            f"[cameras.{number}]\ncam_id = {number}\nname = '{c.name}'\nsize = {list(c.size)}\nrotation_count = 0\n"
            f"error = 0.3\nmatrix = {c.K.tolist()}\ndistortions = {c.distortion.tolist()}\nfisheye = false\n"
            f"translation = {(c.translation / 1000).tolist()}\nrotation = {rodrigues(c.R).tolist()}\n"
        )
    (folder / "camera_array.toml").write_text(text)
    return folder / "camera_array.toml"


def easymocap(folder: Path, cameras: tuple[Camera, ...]) -> Path:
    intri: dict[str, object] = {"names": [c.name for c in cameras]}
    extri: dict[str, object] = {"names": [c.name for c in cameras]}
    for c in cameras:
        intri |= {f"K_{c.name}": c.K, f"dist_{c.name}": c.distortion[None]}
        intri |= {f"H_{c.name}": c.size[1], f"W_{c.name}": c.size[0]}
        extri |= {
            f"R_{c.name}": rodrigues(c.R)[:, None],
            f"Rot_{c.name}": c.R,
            f"T_{c.name}": c.translation[:, None] / 1000,
        }
    storage(folder / "intri.yml", intri)
    storage(folder / "extri.yml", extri)
    return folder


def opencv(suffix: str, inverse: bool) -> Writer:
    """One file, a mapping per camera, rotations from or to the world: OpenCV has no rule."""

    def write(folder: Path, cameras: tuple[Camera, ...]) -> Path:
        tables = {
            f"c{c.name}": {
                "camera_matrix": c.K,
                "distortion_coefficients": c.distortion[None],
                "image_width": c.size[0],
                "image_height": c.size[1],
                "R": c.R.T if inverse else c.R,
                "t": (c.centre if inverse else c.translation)[:, None] / 1000,
                "name": c.name,
            }
            for c in cameras
        }
        return storage(folder / f"rig.{suffix}", tables)

    return write


def a_file_per_camera(folder: Path, cameras: tuple[Camera, ...]) -> Path:
    for c in cameras:
        values = {"K": c.K, "D": c.distortion[:, None], "rvec": rodrigues(c.R)[:, None], "tvec": c.translation[:, None]}
        storage(folder / f"{c.name}.xml", values | {"image_width": c.size[0], "image_height": c.size[1]})
    return folder


def multiview(folder: Path, cameras: tuple[Camera, ...]) -> Path:
    values: dict[str, object] = {
        "Ks": [c.K for c in cameras],
        "distortions": [c.distortion[None] for c in cameras],
        "Rs": [c.R for c in cameras],
        "Ts": [c.translation[:, None] for c in cameras],
        "image_sizes": [list(c.size) for c in cameras],
        "is_fisheye": [0 for _ in cameras],
        "names": [c.name for c in cameras],
    }
    return storage(folder / "multiview.yml", values)


def qualisys(folder: Path, cameras: tuple[Camera, ...]) -> Path:
    text = '<?xml version="1.0"?>\n<calibration calibrated="true"><cameras>\n'
    for c in cameras:
        axes = np.diag([1.0, -1.0, -1.0]) @ c.R
        r = " ".join(f'r{i + 1}{j + 1}="{float(axes[i, j])!r}"' for i in range(3) for j in range(3))
        x, y, z = (float(value) for value in c.centre)
        k1, k2, p1, p2, k3 = (float(value) for value in c.distortion)
        text += (
            f'<camera active="1" serial="{c.name}" model="Miqus Video" viewrotation="0">'
            f'<fov_video left="0" top="0" right="{c.size[0] - 1}" bottom="{c.size[1] - 1}"/>'
            f'<transform x="{x!r}" y="{y!r}" z="{z!r}" {r}/>'
            f'<intrinsic focalLengthU="{float(64 * c.K[0, 0])!r}" focalLengthV="{float(64 * c.K[1, 1])!r}" '
            f'centerPointU="{float(64 * c.K[0, 2])!r}" centerPointV="{float(64 * c.K[1, 2])!r}" skew="0" '
            f'radialDistortion1="{k1!r}" radialDistortion2="{k2!r}" radialDistortion3="{k3!r}" '
            f'tangentalDistortion1="{p1!r}" tangentalDistortion2="{p2!r}"/></camera>\n'
        )
    (folder / "rig.qca.txt").write_text(text + "</cameras></calibration>")
    return folder / "rig.qca.txt"


Y_DOWN = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # z up from Panoptic's axes


def panoptic(folder: Path, cameras: tuple[Camera, ...]) -> Path:
    entries = [
        {
            "name": c.name,
            "type": "hd",
            "resolution": c.size,
            "panel": 0,
            "node": node,
            "K": c.K.tolist(),
            "distCoef": c.distortion.tolist(),
            "R": (c.R @ Y_DOWN).tolist(),
            "t": (c.translation[:, None] / 10).tolist(),
        }
        for node, c in enumerate(cameras)
    ]
    (folder / "calibration_x.json").write_text(json.dumps({"calibDataSource": "x", "cameras": entries}))
    return folder / "calibration_x.json"


def own(folder: Path, cameras: tuple[Camera, ...]) -> Path:
    write_cameras(folder / "cameras.toml", cameras)
    return folder / "cameras.toml"


WRITERS: dict[str, Writer] = {
    "pose2sim": pose2sim,
    "caliscope": caliscope,
    "easymocap": easymocap,
    "opencv yml": opencv("yml", False),
    "opencv yml to world": opencv("yml", True),
    "opencv xml": opencv("xml", False),
    "opencv xml to world": opencv("xml", True),
    "opencv json": opencv("json", False),
    "opencv json to world": opencv("json", True),
    "opencv a file per camera": a_file_per_camera,
    "opencv multiview": multiview,
    "qualisys": qualisys,
    "panoptic": panoptic,
    "ours": ours,
    "cameras.toml": own,
}


def ring(count: int = 4) -> tuple[Camera, ...]:
    """Cameras 4 m around (0, 0, 1000), uneven, a little off level, with a lens each."""
    cameras = []
    for number in range(count):
        angle = 2 * np.pi * number / count + 0.3
        centre = np.array([4000 * np.cos(angle), 4000 * np.sin(angle), 1500.0 + 90 * number])
        camera = camera_looking_at(np.array([0.0, 0.0, 1000.0]), centre, f"cam{number}")
        lens = np.array([-0.2 + 0.01 * number, 0.1, 1e-3, -2e-3, 0.0])
        cameras.append(replace(camera, distortion=lens))
    return tuple(cameras)


def max_difference_px(camera: Camera, expected_camera: Camera) -> float:
    """px, the most that two cameras differ in the volume that they show."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1000, 1000, 7)] * 3), axis=-1).reshape(-1, 3) + [0, 0, 1000]
    keypoints, expected = camera.project(grid), expected_camera.project(grid)
    both = np.isfinite(keypoints).all(axis=-1) & np.isfinite(expected).all(axis=-1)
    assert both.mean() > 0.5
    return float(np.abs(keypoints - expected)[both].max())


def outcome(call: Callable[[], Any]) -> tuple[Any, str]:
    """What a reader gives, or the sentence that it refuses with. Other exceptions are the test's failure."""
    try:
        return call(), ""
    except ValueError as error:
        return None, str(error)


@pytest.mark.parametrize("layout", WRITERS)
def test_a_rig_comes_out_of_every_layout(tmp_path, layout):
    cameras = ring()
    calibration = read_calibration(WRITERS[layout](tmp_path, cameras))
    assert calibration.doubts == ()
    assert not calibration.undistortions
    for camera, expected_camera in zip(calibration.cameras, cameras, strict=True):
        assert (simplified(camera.name), camera.size) == (expected_camera.name, expected_camera.size)
        if layout == "pose2sim":  # writes four coefficients
            expected_camera = replace(
                expected_camera, name=camera.name, distortion=expected_camera.distortion * [1, 1, 1, 1, 0]
            )
        assert max_difference_px(camera, expected_camera) < 1e-6  # px


@needs_recording
@pytest.mark.parametrize("layout", WRITERS)
def test_the_recording_s_rig_comes_out_of_every_layout(tmp_path, layout):
    cameras = read_calibration(CALIB).cameras
    calibration = read_calibration(WRITERS[layout](tmp_path, cameras))
    assert calibration.doubts == ()
    for camera, expected_camera in zip(calibration.cameras, cameras, strict=True):
        assert max_difference_px(camera, replace(expected_camera, name=camera.name)) < 1e-6  # px


def test_conclusions_are_in_the_notes(tmp_path):
    notes = " ".join(read_calibration(opencv("yml", True)(tmp_path, ring())).notes)
    assert "taken to be world_from_camera, because only then do the cameras stand upright" in notes
    assert "taken to be in m" in notes
    notes = " ".join(read_calibration(panoptic(tmp_path, ring())).notes)
    assert "Panoptic Studio's JSON, 4 cameras" in notes
    assert "-y points up in the file's world" in notes
    assert "units are cm" in notes


@pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
def test_the_upward_axis_is_recognised(tmp_path, up):
    cameras = ring()
    turn = conventions.z_up_from(up)
    assert np.linalg.det(turn) == 1
    tilted = tuple(replace(c, R=c.R @ turn, centre=turn.T @ c.centre) for c in cameras)
    calibration = read_calibration(ours(tmp_path, tilted))
    for camera, expected_camera in zip(calibration.cameras, cameras, strict=True):
        assert max_difference_px(camera, expected_camera) < 1e-6  # px


@pytest.mark.parametrize("first", range(4))
def test_a_world_that_is_one_camera_s_is_turned(tmp_path, first):
    """Anipose and FreeMoCap calibrate so: the world's y is down, its z is ahead of that camera."""
    cameras = ring()
    one = cameras[first]
    there = tuple(replace(c, R=c.R @ one.R.T, centre=one.R @ (c.centre - one.centre)) for c in cameras)
    calibration = read_calibration(pose2sim(tmp_path, there))
    assert calibration.doubts == ()
    assert "-y points up" in " ".join(calibration.notes)
    heights = np.array([camera.centre[2] for camera in calibration.cameras])
    expected_camera = np.array([camera.centre[2] for camera in cameras])
    assert (
        np.abs(heights - expected_camera - (heights - expected_camera).mean()).max() < 900
    )  # mm: that camera's own tilt remains


def test_a_world_that_leans_needs_a_setting(tmp_path):
    turn = Rotation.from_euler("xy", [45, 45], degrees=True).as_matrix()
    tilted = tuple(replace(c, R=c.R @ turn, centre=turn.T @ c.centre) for c in ring())
    path = ours(tmp_path, tilted)
    (doubt,) = read_calibration(path).doubts
    assert doubt.endswith("which axis of the calibration's world points up; set target.rig.up")
    assert read_calibration(path, Settings(up="z")).doubts == ()


def test_two_cameras_side_by_side_do_not_tell_which_way_they_are_given(tmp_path):
    aim = np.array([0.0, 0.0, 1000.0])
    pair = tuple(camera_looking_at(aim, np.array([x, -4000.0, 1000.0]), f"c{x + 300:.0f}") for x in (-300.0, 300.0))
    world = pair[0]
    stereo = tuple(replace(c, R=c.R @ world.R.T, centre=world.R @ (c.centre - world.centre)) for c in pair)
    path = opencv("yml", False)(tmp_path, stereo)
    with pytest.raises(ValueError, match=r"upright around a common place both ways; set target.rig.extrinsics"):
        read_calibration(path)
    calibration = read_calibration(path, Settings(extrinsics="camera_from_world"))
    apart = np.linalg.norm(calibration.cameras[0].centre - calibration.cameras[1].centre)
    assert apart == pytest.approx(600)  # mm
    assert "-y points up" in " ".join(calibration.notes)


def test_a_file_the_wrong_way_round_is_refused(tmp_path):
    inverse = tuple(replace(c, R=c.R.T, centre=-c.R @ c.centre) for c in ring())
    with pytest.raises(ValueError, match="only as world_from_camera do the cameras stand upright"):
        read_calibration(ours(tmp_path, inverse))


def test_centimetres_and_close_rigs(tmp_path):
    cameras = tuple(replace(c, centre=c.centre / 10) for c in ring())  # mm, read as if cm
    path = opencv("yml", False)(tmp_path, tuple(replace(c, centre=c.centre * 1000) for c in cameras))
    with pytest.raises(ValueError, match=r"the units may be cm or mm.*set target.rig.units"):
        read_calibration(path)
    calibration = read_calibration(path, Settings(units="cm"))
    assert max_difference_px(calibration.cameras[1], ring()[1]) < 1e-6


def test_sizes_are_taken_from_the_images_where_the_file_has_none(tmp_path):
    path = easymocap(tmp_path, ring())
    lines = [line for line in (path / "intri.yml").read_text().splitlines() if not line.startswith(("H_", "W_"))]
    (path / "intri.yml").write_text("\n".join(lines))
    calibration = read_calibration(path, image_size=lambda name: (640, 480))
    assert {camera.size for camera in calibration.cameras} == {(640, 480)}
    assert "they have cam0 640x480" in " ".join(calibration.notes)


# --- lenses ---------------------------------------------------------------------------------------------------------

LENSES = {
    "fisheye": (True, [0.05, -0.01, 0.004, -0.001]),
    "rational": (False, [0.3, 0.1, 1e-3, -1e-3, 0.01, 0.6, 0.2, 0.02]),
    "thin prism": (False, [0.1, 0.05, 1e-3, -1e-3, 0.01, 0.3, 0.1, 0.02, 1e-3, 1e-4, -1e-3, 1e-4]),
    "tilted": (False, [0.1, 0.05, 1e-3, -1e-3, 0.01, 0.3, 0.1, 0.02, 1e-3, 1e-4, -1e-3, 1e-4, 0.01, -0.02]),
}


@pytest.mark.parametrize("lens", LENSES)
def test_a_lens_of_many_coefficients_is_undistorted(tmp_path, lens):
    fisheye, coefficients = LENSES[lens]
    cameras = ring()
    path = ours(tmp_path, cameras)
    loaded = json.loads(path.read_text())
    loaded["cameras"][2] |= {"distortions": coefficients, "fisheye": fisheye}
    path.write_text(json.dumps(loaded))
    calibration = read_calibration(path)
    assert list(calibration.undistortions) == ["cam2"]
    undistortion, expected_camera = calibration.undistortions["cam2"], cameras[2]
    points = np.random.default_rng(1).uniform(-900, 900, (200, 3)) + [0, 0, 1000]
    ahead = expected_camera.camera_from_world(points)[:, None]
    still, lens_values = np.zeros(3), np.array(coefficients)
    project = cv2.fisheye.projectPoints if fisheye else cv2.projectPoints
    keypoints = project(ahead, still, still, expected_camera.K, lens_values)[0].reshape(-1, 2)
    expected = calibration.cameras[2].project(points)
    np.testing.assert_allclose(undistortion.undistorted_from_image(keypoints), expected, atol=1e-6)  # px
    np.testing.assert_allclose(undistortion.image_from_undistorted(expected), keypoints, atol=1e-6)
    width, height = calibration.cameras[2].size
    assert ((expected > 0) & (expected < [width, height])).all()


def test_an_undistorted_crop_shows_straight_lines(tmp_path):
    """A wall with a dot every 150 px of the undistorted image, as a fisheye shows it; the crop has the dots where they belong."""
    path = ours(tmp_path, ring())
    loaded = json.loads(path.read_text())
    loaded["cameras"][0] |= {"distortions": LENSES["fisheye"][1], "fisheye": True}
    path.write_text(json.dumps(loaded))
    undistortion = read_calibration(path).undistortions["cam0"]
    width, height = undistortion.lens.size
    dots = np.array(
        [
            [undistortion.camera.K[0, 2] + x, undistortion.camera.K[1, 2] + y]
            for x in (-150, 0, 150)
            for y in (-150, 0, 150)
        ]
    )
    image = np.zeros((height, width, 3), np.uint8)
    for x, y in undistortion.image_from_undistorted(dots):
        cv2.circle(image, (round(16 * x), round(16 * y)), 5 * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
    crop_from_undistorted = np.array([[0.5, 0, 100 - dots[4, 0] / 2], [0, 0.5, 100 - dots[4, 1] / 2]])
    crop = undistortion.cut(image, crop_from_undistorted, np.eye(2, 3), 200)
    _, _, _, middles = cv2.connectedComponentsWithStats((crop[..., 0] > 100).astype(np.uint8))
    expected = dots * 0.5 + crop_from_undistorted[:, 2]
    detected = middles[1:]
    assert len(detected) == 9
    nearest = np.linalg.norm(detected[:, None] - expected, axis=-1).min(axis=0)
    assert nearest.max() < 0.6  # px


def test_four_numbers_that_may_be_a_fisheye_s_need_a_setting(tmp_path):
    path = opencv("yml", False)(
        tmp_path, tuple(replace(c, distortion=np.array([0.1, 0.2, -0.3, 0.1, 0])) for c in ring())
    )
    path.write_text(path.read_text().replace("cols: 5", "cols: 4").replace(", 0. ]\n      image", " ]\n      image"))
    with pytest.raises(ValueError, match=r"target\.lens|should have 1 x 4 numbers"):
        read_calibration(path)


# --- impossible files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("c.xml", '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "a document type"),
        ("c.xml", "<opencv_storage>", "not readable as XML"),
        ("c.yml", "a: !!python/object/apply:os.system ['true']", "not readable as YAML"),
        ("c.yml", "a: &a [1]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(3)), "expected cameras"),
        ("c.json", "[" * 100000, "nested too deep"),
        ("c.json", "{}", "expected cameras"),
        ("c.toml", "a = 1", "expected at least two cameras"),
        ("c.bin", "abc", "by the file's suffix"),
        ("c.qca.txt", "<calibration/>", "expected Qualisys"),
        ("intri.yml", "K_1: 1", "extri.yml: there is no such file"),
    ],
)
def test_a_file_that_is_no_calibration_is_refused_with_a_sentence(tmp_path, name, text, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_calibration(tmp_path / name)


def test_aliases_do_not_multiply(tmp_path):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    (tmp_path / "c.yml").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="nested deeper than"):
        read_calibration(tmp_path / "c.yml")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(key=st.sampled_from(["name", "size", "matrix", "distortions", "rotation", "translation", "fisheye"]), value=JUNK)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_in_our_json_is_refused_with_a_sentence_or_changes_nothing(tmp_path, key, value):
    path = ours(tmp_path, ring())
    loaded = json.loads(path.read_text())
    loaded["cameras"][1][key] = value
    path.write_text(json.dumps(loaded))
    calibration, refusal = outcome(lambda: read_calibration(path))
    if calibration is None:
        assert str(path) in refusal or "camera" in refusal
        return
    assert all(np.isfinite(camera.K).all() and camera.size[0] > 0 for camera in calibration.cameras)


@pytest.mark.parametrize("layout", ["pose2sim", "easymocap", "opencv yml", "opencv xml", "qualisys", "panoptic"])
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_give_a_sentence(tmp_path, layout, data):
    path = WRITERS[layout](tmp_path, ring(3))
    file = path / "extri.yml" if path.is_dir() else path
    text = file.read_text()
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 40)))
    junk = data.draw(st.sampled_from(["", "nan", "[", "<", "\n", "1e999", '"', "- ", "!!binary x", "&amp;", "\0"]))
    file.write_text(text[:start] + junk + text[stop:])
    calibration, refusal = outcome(lambda: read_calibration(path))
    if calibration is None:
        assert len(refusal) > 20
    else:
        assert all(np.isfinite(camera.centre).all() for camera in calibration.cameras)


def test_every_layout_is_recognised_by_its_content_not_its_name(tmp_path):
    path = qualisys(tmp_path, ring())
    moved = path.rename(tmp_path / "anything.xml")
    assert formats.read(moved).layout == "Qualisys"
    path = panoptic(tmp_path, ring()).rename(tmp_path / "rig.json")
    assert formats.read(path).layout == "Panoptic Studio's JSON"


def test_a_folder_of_rigs_is_told_from_a_rig_of_files(tmp_path):
    (tmp_path / "rigs").mkdir()
    for sequence in ("s1", "s2"):
        ours(tmp_path, ring()).rename(tmp_path / f"rigs/{sequence}.json")
    assert formats.is_rig_per_sequence(tmp_path / "rigs")
    assert list(formats.rig_paths(tmp_path / "rigs")) == ["s1", "s2"]
    (tmp_path / "one").mkdir()
    assert not formats.is_rig_per_sequence(a_file_per_camera(tmp_path / "one", ring()))


def test_cameras_toml_reads_itself(tmp_path):
    cameras = ring()
    write_cameras(tmp_path / "c.toml", cameras)
    for camera, expected_camera in zip(read_cameras(tmp_path / "c.toml"), cameras, strict=True):
        assert max_difference_px(camera, expected_camera) < 1e-6
