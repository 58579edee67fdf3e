"""Human3.6M: three layouts give the same takes; every known defect is corrected with a note or refused with a sentence."""

import json
import math
import tarfile
from contextlib import closing, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import params
from pipeline.datasets import parallel
from pipeline.datasets.h36m import challenge, layouts, persons, release, selection
from pipeline.datasets.h36m import takes as takes_module
from pipeline.datasets.h36m.selection import H36m, SelectedTake
from pipeline.datasets.h36m.takes import ACTIONS, Take, published_box
from pipeline.geometry.triangulation import triangulate_dlt
from pipeline.target import human36m
from tests.worlds import h36m_world as worlds
from tests.worlds.h36m_world import World

EVERY = H36m(train_every=1, test_every=1, damaged="included")


@pytest.fixture
def made() -> World:
    return worlds.world()


@pytest.fixture
def records(tmp_path, made) -> Path:
    worlds.write_records(tmp_path, made)
    worlds.write_images(tmp_path, made)
    return tmp_path


def read(annotations: Path, place: Path | None = None, subjects=(1, 9)) -> tuple[list[Take], str]:
    with layouts.open_takes(annotations, place, subjects) as (takes, notes):
        for take in takes:
            take.labels()
        return takes, "\n".join(notes)


def image(take: Take, number: int) -> np.ndarray:
    """Return the first view's image of a frame."""
    (recording,) = human36m.recordings([SelectedTake(take, "test", np.arange(len(take.numbers)))], (), Path("."))
    with closing(recording.decoders([number])) as frames:
        return next(frames)[0]()


def require_right(takes: list[Take], made: World) -> None:
    """Require all frames of all takes, the cameras, and keypoints that triangulate to the joints."""
    assert [take.key for take in takes] == sorted(made.takes)
    for take in takes:
        labels = take.labels()
        assert take.numbers.tolist() == list(range(1, len(made.takes[take.key]) + 1))
        np.testing.assert_allclose(labels.joints, made.takes[take.key], atol=1e-3)  # mm
        np.testing.assert_allclose(labels.keypoints, made.keypoints(take.key), atol=1e-3)  # px
        undistorted = np.stack([c.undistort(labels.keypoints[:, v]) for v, c in enumerate(take.cameras)], axis=1)
        rig = np.stack([camera.image_from_world for camera in take.cameras])
        found = triangulate_dlt(undistorted, rig, np.ones(undistorted.shape[:-1]))
        np.testing.assert_allclose(found, made.takes[take.key], atol=0.05)  # mm


@pytest.mark.parametrize("protocol", [2, 3, 5])
@pytest.mark.parametrize("images", ["folder", "its root", "zip", "bare zip"])
def test_records_with_images_in_a_folder_or_a_zip(records, made, images, protocol):
    worlds.write_records(records, made, protocol=protocol)
    place = {
        "folder": lambda: records / "images",
        "its root": lambda: records,
        "zip": lambda: worlds.zip_images(records / "images"),
        "bare zip": lambda: worlds.zip_images(records / "images", inner=""),
    }[images]()
    takes, _ = read(records / "annot", place)
    require_right(takes, made)
    np.testing.assert_array_equal(
        image(takes[1], 2),
        cv2.imread(str(records / "images/s_01_act_02_subact_02_ca_01/s_01_act_02_subact_02_ca_01_000002.jpg")),
    )
    assert takes[0].cameras[0].size == worlds.SIZE


@pytest.mark.parametrize("kind", ["unpacked", "tgz", "zip", "h36m-fetch"])
def test_the_official_download(tmp_path, made, kind):
    worlds.write_release(tmp_path, made)
    if kind == "h36m-fetch":  # extracted/S1/Poses_D2_Positions
        for own in sorted(tmp_path.glob("S*")):
            for folder in sorted((own / "MyPoseFeatures").iterdir()):
                folder.rename(own / f"Poses_{folder.name}")
    elif kind != "unpacked":
        worlds.pack(tmp_path, kind)
    with layouts.open_takes(tmp_path / "metadata.xml", tmp_path, (1, 9)) as (takes, _):
        require_right(takes, made)
        assert (
            abs(image(takes[0], 3).astype(int) - made.images((1, 2, 1), 0)[2]).mean() < 6
        )  # grey values, a lossy codec


@pytest.mark.parametrize("zipped", [False, True])
def test_folders_with_matlab_meta(tmp_path, made, zipped):
    annotations, images = worlds.write_matlab(tmp_path, made), worlds.write_images(tmp_path, made)
    takes, notes = read(annotations, worlds.zip_images(images) if zipped else images)
    require_right(takes, made)
    assert notes == ""


def test_labels_alone_need_no_images(tmp_path, made):
    worlds.write_release(tmp_path / "b", made, videos=False)
    for annotations in (
        worlds.write_records(tmp_path / "a", made),
        tmp_path / "b",
        worlds.write_matlab(tmp_path / "c", made),
    ):
        require_right(read(annotations)[0], made)


def test_the_formula_of_the_lens_is_that_of_the_labels(tmp_path):
    for convention, words in (("h36m", "Human3.6M's own formula"), ("opencv", "OpenCV's formula")):
        made = worlds.world(convention=convention)
        takes, notes = read(worlds.write_records(tmp_path / convention, made))
        assert words in notes
        assert takes[0].cameras[0].convention == convention


# The traps of record files, one by one


def each_camera(change):
    def everywhere(records):
        seen = {}
        for record in records:
            camera = record["camera"]
            record["camera"] = seen.setdefault(id(camera), {**camera, **change(camera)})
            record["_keep"] = camera  # so that no id is used twice

    return everywhere


def each_record(change):
    return lambda records: [record.update(change(record)) for record in records]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (each_camera(lambda c: {"R": c["R"].T}), "R is transposed; mended"),
        (each_camera(lambda c: {"T": -c["R"] @ c["T"]}), "T is a translation and no camera centre; mended"),
        (
            each_camera(lambda c: {"R": c["R"].T, "T": -c["R"] @ c["T"]}),
            "R is transposed and T is a translation; mended",
        ),
        (each_camera(lambda c: {"R": c["R"][None], "T": c["T"][None]}), "R has the shape (1, 3, 3); read as (3, 3)"),
        (each_camera(lambda c: {"fx": float(c["fx"][0]), "k": c["k"][:, 0].tolist()}), ""),
        (each_record(lambda r: {"subject": f"S{r['subject']}"}), "subjects are text such as 'S1'; read as numbers"),
        (each_record(lambda r: {"subject": str(r["subject"])}), "subjects are text"),
        (each_record(lambda r: {"joints_3d": r["joints_3d_camera"]}), ""),
        (each_record(lambda r: {"image": r["image"].replace("/", "\\")}), ""),
        (each_record(lambda r: {"joints_2d": r["joints_2d"].astype(np.float32)[None]}), ""),
    ],
)
def test_what_can_be_mended_is_mended_with_a_line(tmp_path, made, change, sentence):
    takes, notes = read(worlds.write_records(tmp_path, made, change))
    require_right(takes, made)
    assert sentence in notes


def test_the_universal_skeleton_is_told_by_what_it_shows(tmp_path, made):
    takes, notes = read(worlds.write_records(tmp_path, made))
    require_right(takes, made)
    assert "px off the 2D labels: not the person's; not used" in notes
    with pytest.raises(ValueError, match=r"universal skeleton .*joints_3d_camera are needed"):
        read(worlds.write_records(tmp_path, made, lambda rs: [r.pop("joints_3d_camera") for r in rs]))


def test_older_records_have_true_poses_as_joints_3d(tmp_path, made):
    def older(records):
        for record in records:
            record["joints_3d"] = record.pop("joints_3d_camera")

    require_right(read(worlds.write_records(tmp_path, made, older))[0], made)


def test_poses_in_the_worlds_axes_are_seen(tmp_path, made):
    def in_world(records):
        for record in records:
            camera = record["camera"]
            record["joints_3d"] = record.pop("joints_3d_camera") @ camera["R"] + camera["T"][:, 0]

    takes, notes = read(worlds.write_records(tmp_path, made, in_world))
    require_right(takes, made)
    assert "joints_3d is in the world's axes" in notes


def test_no_distortion_is_believed_of_images_without_it(tmp_path, made):
    zero = each_camera(lambda c: {"k": 0, "p": 0})
    with pytest.raises(ValueError, match="no lens distortion, and the labels have"):
        read(worlds.write_records(tmp_path, made, zero))
    straight = worlds.undistorted(made)
    takes, notes = read(worlds.write_records(tmp_path, straight, zero))
    require_right(takes, straight)
    assert "k is 0; read as a lens without distortion" in notes


def test_labels_without_distortion_make_cameras_without(tmp_path, made):
    straight = worlds.undistorted(made)

    def labels_of_straightened_images(records):
        for record, plain in zip(records, worlds.record_list(straight), strict=True):
            record["joints_2d"] = plain["joints_2d"]

    takes, notes = read(worlds.write_records(tmp_path, made, labels_of_straightened_images))
    require_right(takes, straight)
    assert "the 2D labels are without lens distortion, so are the cameras; mended" in notes


def test_all_zero_records_are_left_out_with_their_moment(tmp_path, made):
    def zero(records):
        for record in records:
            if record["image"].endswith("s_09_act_02_subact_01_ca_03_000004.jpg"):
                record["joints_2d"], record["joints_3d_camera"] = np.zeros((17, 2)), np.zeros((17, 3))

    takes, notes = read(worlds.write_records(tmp_path, made, zero))
    take = next(take for take in takes if take.key == (9, 2, 1))
    assert take.numbers.tolist() == [1, 2, 3, 5, 6]
    np.testing.assert_allclose(take.labels().joints, made.takes[9, 2, 1][[0, 1, 2, 4, 5]], atol=1e-6)
    assert "1 of 120 records are all zero and left out" in notes
    assert "s_09_act_02_subact_01: 1 frame groups lack a view and are left out" in notes


def test_a_missing_video_takes_its_moments_along(tmp_path, made):
    def without(records):
        records[:] = [r for r in records if not r["image"].startswith("s_09_act_02_subact_02_ca_01")]

    takes, notes = read(worlds.write_records(tmp_path, made, without))
    assert (9, 2, 2) not in [take.key for take in takes]
    assert "s_09_act_02_subact_02: 7 frame groups lack a view" in notes


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (each_record(lambda r: {"joints_3d_camera": r["joints_3d_camera"] / 1000}), "another unit"),
        (each_camera(lambda c: {"R": np.eye(3)}), "the cameras agree on no pose"),
        (each_camera(lambda c: {"R": 2 * c["R"]}), "is no rotation"),
        (each_camera(lambda c: {"R": np.zeros((3, 4))}), r"expected numbers of the shape \(3, 3\)"),
        (each_camera(lambda c: {"fx": np.array([0.0])}), "expected positive px"),
        (each_camera(lambda c: {"k": [1.0, float("nan"), 0.0]}), "expected finite numbers|differs from"),
        (each_record(lambda r: {"camera": None}), "record 0: camera: expected a mapping"),
        (each_record(lambda r: {"subject": "nobody"}), "expected a whole number from 1 to 11"),
        (each_record(lambda r: {"camera_id": 4}), "camera_id: expected a whole number from 0 to 3"),
        (each_record(lambda r: {"image_id": 77}), "disagrees with the record"),
        (each_record(lambda r: {"image": "../../etc/passwd"}), "expected the name of a file inside"),
        (each_record(lambda r: {"joints_2d": np.zeros((16, 2))}), r"expected numbers of the shape \(17, 2\)"),
        (each_record(lambda r: {"joints_2d": np.zeros((17, 2))}), "every record is all zero"),
        (each_record(lambda r: {"joints_2d": r["joints_2d"] + 40}), "off their 2D labels"),
        (lambda rs: rs.append(rs[0]), "two records of"),
        (lambda rs: rs[3].pop("camera"), "record 3: 'camera' is missing"),
        (lambda rs: rs.insert(2, "text"), "'camera' is missing|expected a mapping"),
        (
            lambda rs: rs[1].update(camera={**rs[1]["camera"], "fx": np.array([300.0])}),
            "differs from the one of earlier",
        ),
    ],
)
def test_what_cannot_be_right_is_refused(tmp_path, made, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(worlds.write_records(tmp_path, made, change))


# The official download


@pytest.mark.parametrize("others", [("D2_Positions",), ()])
def test_only_the_universal_skeleton_is_refused_as_truth(tmp_path, made, others):
    worlds.write_release(tmp_path, made, (*others, "D3_Positions_mono_universal"), videos=False)
    with pytest.raises(ValueError, match="one skeleton for all subjects"):
        read(tmp_path)


def test_poses_of_the_cameras_alone_will_do(tmp_path, made):
    worlds.write_release(tmp_path, made, ("D2_Positions", "D3_Positions_mono"), videos=False)
    require_right(read(tmp_path)[0], made)


def test_videos_alone_are_a_target_without_labels(tmp_path, made):
    worlds.write_release(tmp_path, made, ())
    with layouts.open_takes(tmp_path / "metadata.xml", tmp_path, (1, 9)) as (takes, notes):
        assert [take.key for take in takes] == sorted(made.takes)
        assert "unchecked" in "\n".join(notes)
        with pytest.raises(ValueError, match="there are no 3D poses"):
            takes[0].labels()


@pytest.mark.parametrize("dropped", [1, 2, 60])
def test_frame_counts_are_compared(tmp_path, dropped):
    made = worlds.world(subjects=(1,), frames=65)
    worlds.write_release(tmp_path, made, videos=False)
    path = tmp_path / "S1/MyPoseFeatures/D2_Positions/Directions.60457274.cdf"
    path.unlink()
    worlds.write_cdf(path, worlds.of_32(made.keypoints((1, 2, 2))[:-dropped, 3]))
    if dropped == 60:
        with pytest.raises(
            ValueError, match=r"differ by 60 frames .*without one of its videos, s_01_act_02_subact_02 is left out"
        ):
            read(tmp_path, subjects=(1,))
        return
    takes, notes = read(tmp_path, subjects=(1,))
    assert [len(take.numbers) for take in takes] == [65, 66 - dropped, 67, 68]
    assert ("differ by 2 frames" in notes) == (dropped == 2)


def test_a_video_shorter_than_its_poses_is_noticed(tmp_path, made):
    worlds.write_release(tmp_path, made)
    path = tmp_path / "S9/Videos/Greeting 1.55011271.mp4"
    worlds.write_video(path, made.images((9, 5, 1), 1)[:-3])
    takes, notes = read(tmp_path / "metadata.xml", tmp_path)
    assert "s_09_act_05_subact_01: the files differ by 3 frames" in notes
    assert len(next(take for take in takes if take.key == (9, 5, 1)).numbers) == 5


def test_the_video_that_is_broken_in_many_copies(tmp_path):
    made = worlds.world(subjects=(11,))
    worlds.write_release(tmp_path, made)
    (tmp_path / "S11/Videos/Directions.54138969.mp4").write_bytes(b"broken")
    takes, notes = read(tmp_path / "metadata.xml", tmp_path, (11,))
    assert (11, 2, 2) not in [take.key for take in takes]
    assert "s_11_act_02_subact_02: " in notes
    (tmp_path / "S11/Videos/Greeting.54138969.mp4").write_bytes(b"broken")
    with pytest.raises(
        ValueError, match=r"Greeting.54138969.mp4: not a video .*without that file, s_11_act_05_subact_02 is left out"
    ):
        read(tmp_path / "metadata.xml", tmp_path, (11,))


def test_transposed_rotations_in_the_metadata_are_seen(tmp_path, made):
    worlds.write_release(tmp_path, made, videos=False)
    for key, angles in made.angles.items():
        made.angles[key] = worlds.euler(worlds.matrix(angles).T)
    worlds.write_metadata(tmp_path / "metadata.xml", made)
    takes, notes = read(tmp_path)
    require_right(takes, made)
    assert "R is transposed; mended" in notes


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<metadata><w0>[1 2]</w0></metadata>", "'mapping' is missing"),
        ("no xml", "not readable as XML"),
        ('<!DOCTYPE x [<!ENTITY a "aaaa">]><metadata>&a;</metadata>', "declares a document type"),
        (
            "<metadata><mapping/><actionnames/><dbcameras><index2id/></dbcameras><w0>[1 2]</w0></metadata>",
            "w0: expected 300 finite numbers, the cameras, got 2",
        ),
    ],
)
def test_metadata_that_is_none(tmp_path, text, sentence):
    (tmp_path / "metadata.xml").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read(tmp_path)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: path.write_bytes(b""), "not readable as a pose file"),
        (lambda path: path.write_bytes(b"\xcd\xf3\x00\x01" + bytes(600)), "not readable as a pose file"),
        (lambda path: worlds.write_cdf(path, np.zeros((1, 4, 96))), r"expected the variable Pose of \(1, frames, 64\)"),
        (lambda path: worlds.write_cdf(path, np.zeros((1, 4, 64)), variable="Points"), "with a variable Pose"),
        (lambda path: worlds.write_cdf(path, np.full((1, 4, 64), np.nan)), "finite poses"),
        (lambda path: worlds.write_cdf(path, np.zeros((1, 140_000, 64)), compressed=True), "unpacks to more than"),
    ],
)
def test_pose_files_that_are_none(tmp_path, write, sentence):
    write(tmp_path / "a.cdf")
    with pytest.raises(ValueError, match=sentence):
        release.read_cdf(tmp_path / "a.cdf", 2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_pose_file_is_a_sentence(tmp_path, data):
    path = tmp_path / "a.cdf"
    if not (tmp_path / "whole").exists():
        worlds.write_cdf(path, np.arange(3 * 64.0).reshape(1, 3, 64))
        path.rename(tmp_path / "whole")
    content = bytearray((tmp_path / "whole").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    with suppress(ValueError):
        assert release.read_cdf(path, 2).shape[1:] == (17, 2)


def test_what_archives_say_becomes_no_path(tmp_path, made):
    worlds.write_release(tmp_path / "b", made, videos=False)
    worlds.pack(tmp_path / "b")
    pose = tmp_path / "pose.cdf"
    worlds.write_cdf(pose, worlds.of_32(made.keypoints((1, 2, 1))[:, 0]))
    with tarfile.open(tmp_path / "b/Poses_D2_Positions_S1.tgz", "w:gz") as archive:
        for view, camera in enumerate(worlds.CAMERAS):
            link = tarfile.TarInfo(f"S1/MyPoseFeatures/D2_Positions/Directions.{camera}.cdf")
            link.type, link.linkname = tarfile.SYMTYPE, str(pose)
            archive.addfile(link)  # a link is no pose file
            worlds.write_cdf(pose, worlds.of_32(made.keypoints((1, 2, 1))[:, view]))
            archive.add(pose, f"../../../S1/MyPoseFeatures/D2_Positions/Directions 1.{camera}.cdf")
    before = sorted(tmp_path.rglob("*"))
    with layouts.open_takes(tmp_path / "b", None, (1,)) as (takes, _):
        assert takes[0].key == (1, 2, 1)
        np.testing.assert_allclose(takes[0].labels().keypoints, made.keypoints((1, 2, 1)))
    assert sorted(tmp_path.rglob("*")) == before


def test_poses_column_by_column(tmp_path, made):
    """As MATLAB writes them."""
    poses = worlds.of_32(made.takes[9, 5, 1])
    worlds.write_cdf(tmp_path / "a.cdf", poses, column_major=True)
    np.testing.assert_allclose(release.read_cdf(tmp_path / "a.cdf", 3), made.takes[9, 5, 1])


# matlab_meta.txt


@pytest.mark.parametrize(
    ("line", "text", "sentence"),
    [
        (1, "many", "line 1: number of frames"),
        (3, "R 1 0 0", r"line 3: expected numbers of the shape \(9,\)"),
        (3, "R 2 0 0 0 1 0 0 0 1", "is no rotation"),
        (5, "f 0 100", "focal lengths above 0"),
        (9, "jt_list " + " ".join("1" * 17), "line 9: expected the joints"),
        (12, "3 1 2 three", "line 12: expected numbers after the first word"),
        (1, "4000", "ends before frame 4000"),
    ],
)
def test_matlab_meta_that_cannot_be_right(tmp_path, made, line, text, sentence):
    annotations = worlds.write_matlab(tmp_path, made)
    for path in annotations.glob("s_01_act_02_subact_01_*/matlab_meta.txt"):
        lines = path.read_text().split("\n")
        lines[line - 1] = text
        path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=sentence):
        read(annotations)


def test_matlab_meta_with_rows_for_columns(tmp_path, made):
    annotations = worlds.write_matlab(tmp_path, made)
    for path in annotations.glob("*/matlab_meta.txt"):
        lines = path.read_text().split("\n")
        values = np.array(lines[2].split()[1:], dtype=float).reshape(3, 3).T.ravel()
        lines[2] = " ".join(["R", *map(repr, values.tolist())])
        path.write_text("\n".join(lines))
    takes, notes = read(annotations)
    require_right(takes, made)
    assert "R is transposed; mended" in notes


def test_matlab_moments_without_a_image_are_left_out(tmp_path, made):
    annotations, images = worlds.write_matlab(tmp_path, made), worlds.write_images(tmp_path, made)
    (images / worlds.name(9, 5, 1, 2) / worlds.name(9, 5, 1, 2, 4)).unlink()
    takes, notes = read(annotations, images)
    assert next(take for take in takes if take.key == (9, 5, 1)).numbers.tolist() == [1, 2, 3, 5, 6, 7, 8]
    assert "s_09_act_05_subact_01: 1 of 8 frame groups lack an image" in notes


# Which frames are used


def fake(subject: int, action: int, subaction: int, frames: int) -> Take:
    return Take(
        key=(subject, action, subaction),
        cameras=(),
        numbers=np.arange(1, frames + 1),
        footage=(),
        labels=lambda: pytest.fail("labels were read"),
    )


def test_every_so_many_frame_groups_counted_through_all_takes():
    takes = [fake(9, 2, 1, 100), fake(11, 2, 1, 50), fake(1, 2, 1, 12), fake(5, 2, 1, 9)]
    selected, notes = selection.select_frames(
        takes,
        H36m(train_subjects=(1, 5), test_subjects=(9, 11), train_every=5, test_every=64, damaged="excluded"),
    )
    assert [(each.take.name, each.split, each.numbers.tolist()) for each in selected] == [
        ("s_01_act_02_subact_01", "train", [1, 6, 11]),
        ("s_05_act_02_subact_01", "train", [4, 9]),
        ("s_09_act_02_subact_01", "test", [1, 65]),
        ("s_11_act_02_subact_01", "test", [29]),
    ]
    assert notes == []
    keys = selection.frame_keys(selected)
    assert keys.person.tolist() == ["S1"] * 3 + ["S5"] * 2 + ["S9"] * 2 + ["S11"]
    assert len(keys) == math.ceil(21 / 5) + math.ceil(150 / 64)


def test_the_published_count_of_test_groups():
    selected, _ = selection.select_frames(
        [fake(9, 2, 1, 137_661)],
        H36m(train_subjects=(), test_subjects=(9,), train_every=5, test_every=64, damaged="included"),
    )
    assert len(selection.frame_keys(selected)) == 2151


def test_leaving_damaged_takes_out_changes_no_other_frame():
    takes = [fake(9, 2, 1, 100), fake(9, 5, 2, 77), fake(9, 6, 1, 100), fake(11, 2, 2, 30), fake(11, 3, 1, 99)]
    kept = {}
    for damaged in ("included", "excluded"):
        selected, notes = selection.select_frames(
            takes,
            H36m(train_subjects=(), test_subjects=(9, 11), train_every=1, test_every=10, damaged=damaged),
        )
        kept[damaged] = {each.take.name: each.numbers.tolist() for each in selected}
    assert kept["included"]["s_09_act_06_subact_01"] == kept["excluded"]["s_09_act_06_subact_01"]
    assert set(kept["included"]) - set(kept["excluded"]) == {"s_09_act_05_subact_02", "s_11_act_02_subact_02"}
    assert any("s_09_act_05_subact_02: 8 of the selected" in note for note in notes)
    assert any("s_11_act_02_subact_02: 30 frame groups" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"train_subjects": (1, 9)}, "S9 is in train_subjects and in test_subjects"),
        ({"train_subjects": (2,)}, "expected subjects among 1, 5"),
        ({"train_subjects": (), "test_subjects": ()}, "expected subjects among"),
        ({"test_every": 0}, "test_every: expected at least 1"),
    ],
)
def test_choices_that_make_no_sense(change, sentence):
    values = {"train_subjects": (1,), "test_subjects": (9,), "train_every": 5, "test_every": 64}
    with pytest.raises(ValueError, match=sentence):
        params.build(H36m, values | change, "target.h36m")


def test_a_take_to_leave_out_must_be_there():
    config = H36m(
        train_subjects=(),
        test_subjects=(9,),
        train_every=1,
        test_every=1,
        damaged="included",
        leave_out=("s_09_act_03_subact_01",),
    )
    with pytest.raises(ValueError, match="there is no take 's_09_act_03_subact_01'"):
        selection.select_frames([fake(9, 2, 1, 3)], config)


# Boxes, ground truth, labelled persons, facts


def test_the_published_box(made):
    camera = made.rigs[9][2]
    root = made.takes[9, 2, 1][:1, 0]
    depth = camera.camera_from_world(root)[0, 2]
    x1, y1, x2, y2 = published_box(camera, root)[0]
    np.testing.assert_allclose([x2 - x1, y2 - y1], 2000 * np.diag(camera.K)[:2] / depth)  # px
    projected = camera.project(root, distorted=False)[0]
    np.testing.assert_allclose([(x1 + x2) / 2, (y1 + y2) / 2], projected + [0, 100 * camera.K[1, 1] / depth])


def test_ground_truth_is_looked_up_by_take_and_number(records, made):
    takes, _ = read(records / "annot")
    selected, _ = selection.select_frames(
        takes,
        H36m(train_subjects=(1,), test_subjects=(9,), train_every=2, test_every=3, damaged="included"),
    )
    keys = selection.frame_keys(selected)
    joints, head = selection.ground_truth(takes[:-1], keys)
    for row, (sequence, number) in enumerate(zip(keys.sequence, keys.number, strict=True)):
        key = tuple(int(sequence.split("_")[i]) for i in (1, 3, 5))
        if key == takes[-1].key:
            assert np.isnan(joints[row]).all() and np.isnan(head[row])
        else:
            np.testing.assert_allclose(joints[row], made.takes[key][number - 1], atol=1e-6)  # mm
            assert head[row] == 200


@pytest.mark.parametrize("layout", ["records", "videos"])
def test_labelled_persons_and_their_images(tmp_path, made, layout):
    if layout == "records":
        annotations = worlds.write_records(tmp_path, made)
        place = worlds.write_images(tmp_path, made)
    else:
        annotations = place = worlds.write_release(tmp_path, made)
    with layouts.open_takes(annotations, place, (1, 9)) as (takes, notes):
        selected, _ = selection.select_frames(
            takes,
            H36m(train_subjects=(1,), test_subjects=(9,), train_every=4, test_every=5, damaged="included"),
        )
        found = persons.labelled(selected, [annotations], notes)
        assert sorted(set(found.split.tolist())) == ["train", "valid"]
        assert len(found) == 4 * (8 + 6) == len(set(found.key.tolist()))
        row = 9
        words = str(found.image_name[row]).rpartition("/")[2].removesuffix(".jpg").replace("#", "_").split("_")
        subject, action, subaction, view, frame = (int(word) for word in (*words[1:9:2], words[-1]))
        key, view = (subject, action, subaction), view - 1
        np.testing.assert_allclose(found.keypoints[row], made.keypoints(key)[frame - 1, view], atol=1e-6)  # px
        images = [found.images.read(str(image)) for image in found.image_name]
        assert abs(images[row].astype(int) - made.images(key, view)[frame - 1]).mean() < 6  # grey values


def test_videos_are_read_by_several_threads(tmp_path, made):
    worlds.write_release(tmp_path, made)
    with layouts.open_takes(tmp_path, tmp_path, (1,)) as (takes, _):
        selected, _ = selection.select_frames(takes, EVERY)
        found = persons.labelled(selected, [tmp_path], ())
        alone = [image.sum() for image in map(found.images.read, found.image_name.tolist())]
        again = persons.labelled(selected, [tmp_path], ())
        together = [p.sum() for p in parallel.in_order(again.images.read, again.image_name.tolist(), threads=4)]
        assert alone == together
        third = persons.labelled(selected, [tmp_path], ())  # a killed stage goes on in the middle
        assert [third.images.read(image).sum() for image in third.image_name[50:].tolist()] == alone[50:]


def test_facts_count_and_compare(records):
    takes, _ = read(records / "annot")
    sentences = "\n".join(selection.facts(takes))
    assert "train: 4 takes of S1, 30 frame groups that all views have; every 5th: 6 frame groups" in sentences
    assert "9 of these frame groups are in S9's 1 damaged takes" in sentences
    assert "2,151" in sentences and "2,215" in sentences


def test_actions_are_called_as_in_the_metadata(tmp_path, made):
    metadata = release.read_metadata(worlds.write_metadata(tmp_path / "metadata.xml", made))
    assert {number: metadata.actions[number] for number in ACTIONS} == ACTIONS
    assert ACTIONS[7] == "Posing" and ACTIONS[14] == "Walking"


def test_nothing_of_human36m(tmp_path):
    with pytest.raises(ValueError, match=r"expected h36m_train.pkl or h36m_validation.pkl, metadata.xml"):
        read(tmp_path)


# The challenge


def test_the_challenge_is_laid_onto_what_was_seen(tmp_path, made):
    folder = worlds.write_challenge(tmp_path, made)
    assert challenge.is_here(folder)
    with pytest.raises(ValueError, match=r"no cameras and no 2D labels; expected detections.json"):
        challenge.read(folder)
    with pytest.raises(ValueError, match="no cameras, so that nothing can be triangulated"):
        read(folder)
    rng = np.random.default_rng(0)
    entries = []
    for part, key in (("Train", (1, 2, 1)), ("Val", (9, 2, 1))):
        for at, shown in enumerate(made.keypoints(key)[:, 0], start=1):
            seen = np.concatenate([shown + rng.normal(0, 0.3, shown.shape), np.ones((17, 1))], axis=1)
            entries.append(
                {"image_id": f"{part}/{at:05}", "category_id": 1, "keypoints": seen.ravel().tolist(), "score": 0.9}
            )
    (folder / "detections.json").write_text(json.dumps(entries[1:]))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hm36_eccv_challenge").symlink_to(folder, target_is_directory=True)
    assert challenge.is_here(tmp_path / "data")
    assert challenge.read(tmp_path / "data").key.tolist() == challenge.read(folder).key.tolist()
    found = challenge.read(folder)
    assert len(found) == 11 and "1 of 12 images have no detection" in found.notes[0]
    off = np.linalg.norm(found.keypoints[0] - made.keypoints((1, 2, 1))[1, 0], axis=-1)
    assert np.median(off) < 4  # px: perspective, which a similarity has not
    assert found.split.tolist() == ["train"] * 5 + ["valid"] * 6
    assert found.images.read(str(found.image_name[0])).shape == (202, 200, 3)
    poses = challenge.read_poses(folder)
    assert np.isnan(poses.joints[poses.part == "Test"]).all()


def test_an_alignment_is_the_similarity_that_made_it():
    rng = np.random.default_rng(0)
    pose = rng.normal(0, 300, (17, 2))
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    seen = np.concatenate([0.2 * pose @ turn + [120, 80], np.ones((17, 1))], axis=1)
    seen[3] = [0, 0, 0]  # not seen
    found = challenge.align(pose, seen)
    np.testing.assert_allclose(found.apply(pose), 0.2 * pose @ turn + [120, 80], atol=1e-9)
    assert challenge.align(pose, seen * [1, 1, 0]) is None


@pytest.mark.parametrize("text", ["", "1,2,3\n" * 16, "a,b,c\n" * 17, "1,2\n" * 17, "1,2,nan\n" * 17])
def test_poses_of_the_challenge_that_are_none(tmp_path, made, text):
    folder = worlds.write_challenge(tmp_path, made)
    (folder / "Val/POSE/00002.csv").write_text(text)
    with pytest.raises(ValueError, match=r"00002\.csv"):
        challenge.read_poses(folder)


# Damage of any kind


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5),
    st.lists(st.floats(), max_size=4), st.sampled_from([{}, [], (), np.zeros(0), np.zeros((17, 3)), np.array("x"), 10**400]),
)  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_records_are_sentences(tmp_path, made, data):
    def damage(records):
        for _ in range(data.draw(st.integers(1, 3))):
            record = records[data.draw(st.integers(0, len(records) - 1))]
            inner = record["camera"] if data.draw(st.booleans()) and isinstance(record.get("camera"), dict) else record
            key = data.draw(st.sampled_from(sorted(inner)))
            if data.draw(st.booleans()):
                inner[key] = data.draw(ANYTHING)
            else:
                inner.pop(key)

    with suppress(ValueError):
        damaged = worlds.write_records(tmp_path, made, lambda rs: damage(rs) if "image" in rs[0] else None)
        takes, _ = read(damaged)
        for take in takes:  # what is read all the same is right
            found = take.labels().joints
            expected = made.takes[take.key][take.numbers - 1]
            known = np.isfinite(found)
            np.testing.assert_allclose(found[known], expected[known], atol=1)  # mm


def test_a_number_beyond_all_floats_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="expected a whole number from 2 to 16"):
        takes_module.whole(10**400, "action", 2, 16)
    with pytest.raises(ValueError, match="expected numbers"):
        takes_module.numbers([10**400] * 3, (3,), "T")


@pytest.mark.parametrize("layout", ["metadata", "matlab"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_text_is_a_sentence(tmp_path_factory, layout, data):
    folder = tmp_path_factory.mktemp("damaged")
    made = worlds.world(subjects=(9,), frames=2)
    if layout == "metadata":
        worlds.write_release(folder, made, ("D2_Positions", "D3_Positions"), videos=False)
        path = folder / "metadata.xml"
    else:
        worlds.write_matlab(folder, made)
        path = folder / "annot" / worlds.name(9, 2, 1, data.draw(st.integers(0, 3))) / "matlab_meta.txt"
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))]))
    with suppress(ValueError):
        read(folder, subjects=(9,))
