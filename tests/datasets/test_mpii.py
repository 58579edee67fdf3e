"""MPII from its json files and from its official mat: the same people, whichever it is."""

import contextlib
import json
import os
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from pipeline.datasets import mpii
from pipeline.datasets.records import census
from tests.worlds import people_world
from tests.worlds.people_world import JOINTS, mpii_person, mpii_record, release, structs

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path):
    return people_world.write_mpii(tmp_path / "mpii")


@pytest.fixture
def folder_of_json(tmp_path):
    return people_world.write_mpii(tmp_path / "json")


@pytest.fixture
def official(tmp_path):
    return people_world.write_mpii_mat(tmp_path / "mpii")


def write_list(folder, images, persons):
    """Tompson's list of who is for validation, both numbers from 1."""
    savemat(folder / "detections.mat", {"RELEASE_img_index": [images], "RELEASE_person_index": [persons]})


def test_the_official_mat_says_the_same_of_a_person_as_the_json(folder, tmp_path):
    one = mpii.read(folder)
    other = mpii.read(people_world.write_mpii_mat(tmp_path / "official"))
    row, same = one.key.tolist().index("a.jpg#0"), other.key.tolist().index("a.jpg#1")
    np.testing.assert_allclose(other.keypoints[same], one.keypoints[row])
    np.testing.assert_allclose(other.keypoints[same], JOINTS[:16])
    np.testing.assert_allclose(other.box[same], one.box[row])
    assert other.head[same] == one.head[one.split == "valid"][0] == 30  # px: 0.6 times the diagonal of 30 x 40


def test_the_validation_list_gives_the_published_split(official):
    write_list(official, [1], [1])
    records = mpii.read(official)
    assert dict(zip(records.key.tolist(), records.split.tolist(), strict=True)) == {
        "a.jpg#1": "valid", "b.jpg#1": "train", "b.jpg#2": "train",
    }  # fmt: skip
    write_list(official, [2], [2])
    records = mpii.read(official)
    assert dict(zip(records.key.tolist(), records.split.tolist(), strict=True)) == {
        "a.jpg#1": "train",
        "b.jpg#2": "valid",
    }
    assert any(
        "1 persons left out, as another person of their image is for validation" in note for note in records.notes
    )
    assert any("1 training images without an annotated person (c.jpg)" in note for note in records.notes)
    assert len(records.files) == 2


def test_without_the_list_whole_images_are_held_out_and_that_is_said(tmp_path):
    names = [f"{number:09d}.jpg" for number in range(400)]
    folder = tmp_path / "mpii"
    (folder / "images").mkdir(parents=True)
    content = release(*((name, [mpii_person(), mpii_person()], True) for name in names))
    savemat(folder / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": content})
    records = mpii.read(folder)
    held_out = set(records.image_name[records.split == "valid"].tolist())
    assert held_out.isdisjoint(records.image_name[records.split == "train"].tolist())
    assert 30 < len(held_out) < 75  # of 400, one in eight
    assert any("this is not the split of published numbers" in note for note in records.notes)


def test_people_without_points_scale_or_place_are_nobody(official):
    people = [mpii_person(scale=np.zeros((0, 0))), mpii_person(objpos=np.zeros((0, 0))), mpii_person()]
    people.append(mpii_person(annopoints=np.zeros((0, 0))))
    savemat(official / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release(("a.jpg", people, True))})
    assert mpii.read(official).key.tolist() == ["a.jpg#3"]


def test_only_people_who_stand_apart_where_that_is_asked_for(official, folder_of_json):
    records = mpii.read(official, single_person=True)
    assert records.key.tolist() == ["a.jpg#1", "b.jpg#1"]
    assert any("2 persons stand apart from others" in note for note in mpii.read(official).notes)
    with pytest.raises(ValueError, match="the json files do not say who stands apart"):
        mpii.read(folder_of_json, single_person=True)


def test_a_joint_that_is_there_twice_is_not_labelled(official):
    point = {"x": 5.0, "y": 6.0, "id": 3}
    person = mpii_person(annopoints=structs({"point": structs(point, point, point | {"id": 4})}))
    savemat(official / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release(("a.jpg", [person], True))})
    records = mpii.read(official)
    assert np.flatnonzero(np.isfinite(records.keypoints[0, :, 0])).tolist() == [4]
    assert any("1 keypoints that are there twice" in note for note in records.notes)


def test_the_mat_in_the_zip_that_is_downloaded(official):
    mat = official / "mpii_human_pose_v1_u12_1.mat"
    expected = mpii.read(official)
    with zipfile.ZipFile(official / "mpii_human_pose_v1_u12_2.zip", "w") as archive:
        archive.write(mat, f"mpii_human_pose_v1_u12_2/{mat.name}")
        archive.writestr("mpii_human_pose_v1_u12_2/README.md", "text")
    mat.unlink()
    np.testing.assert_array_equal(mpii.read(official).keypoints, expected.keypoints)


def test_either_spelling_and_the_folder_above(folder):
    expected = mpii.read(folder).key.tolist()
    (folder / "annot").rename(folder / "Annot")
    (folder / "images").rename(folder / "Images")
    folder.rename(folder.parent / "MPII")
    assert mpii.read(folder.parent / "MPII").key.tolist() == expected
    assert mpii.read(folder.parent / "mpii").key.tolist() == expected
    assert mpii.read(folder.parent).key.tolist() == expected


def test_the_images_as_they_are_unpacked_and_as_they_are_not(folder):
    (folder / "mpii_human_pose_v1").mkdir()
    (folder / "images").rename(folder / "mpii_human_pose_v1/images")
    assert mpii.read(folder).read_image(0).shape == (180, 200, 3)
    (folder / "mpii_human_pose_v1").rename(folder / "elsewhere")
    (folder / "mpii_human_pose_v1.tar.gz").touch()
    with pytest.raises(ValueError, match="unpack it first; single images cannot be read out of it"):
        mpii.read(folder)


def test_two_spellings_at_once_are_refused(folder):
    (folder / "Images").mkdir()
    (folder / "images").rename(folder / "IMAGES")
    with pytest.raises(ValueError, match="holds IMAGES and Images; expected one 'images'"):
        mpii.read(folder)


def test_the_test_set_has_no_keypoints(folder):
    people = [{key: value for key, value in mpii_record("c.jpg").items() if "joints" not in key}]
    (folder / "annot/test.json").write_text(json.dumps(people))
    records = mpii.read(folder, valid=("test",))
    assert np.isnan(records.keypoints[records.split == "valid"]).all()
    with pytest.raises(ValueError, match=r"MPII's test\.json has no keypoints to train on"):
        mpii.read(folder, train=("test",))


def test_training_on_train_and_validation_persons_together(folder):
    (folder / "annot/trainval.json").write_text(json.dumps([mpii_record("a.jpg"), mpii_record("c.jpg")]))
    records = mpii.read(folder, train=("trainval",), valid=())
    assert records.split.tolist() == ["train", "train"]
    assert census(mpii.read(folder, train=("trainval",))).shared_images == 1


def test_the_census_counts_what_is_there(folder):
    (folder / "images/a.jpg").unlink()
    counted = census(mpii.read(folder))
    assert counted.persons == {"train": 3, "valid": 1}
    assert counted.images == {"train": 2, "valid": 1}
    assert counted.absent_images == {"train": 1, "valid": 0}
    assert counted.labelled["train"]["right_ankle"] == 3


def pointing(**point):
    """A person with one labelled joint."""
    return mpii_person(annopoints=structs({"point": structs(point)}))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"annolist": np.zeros((0, 0))}, "expected an entry of RELEASE.img_train for each of annolist's 0 images, got 4"),
        ({"img_train": np.ones((1, 3))}, "for each of annolist's 4 images, got 3"),
        ({"single_person": np.ones((4, 1))}, "expected a cell of RELEASE.single_person for each of the 4 images"),
        ({"img_train": np.zeros((1, 4))}, "no image of the official training set has an annotated person"),
        (release(("../a.jpg", [mpii_person()], True)), "expected the name of a file inside"),
        (release(("a.jpg", [mpii_person(scale=-1.0)], True)), "scale must be positive, got -1.0"),
        (release(("a.jpg", [mpii_person(scale=np.nan)], True)), "'scale' holds NaN"),
        (release(("a.jpg", [mpii_person(scale="large")], True)), "'scale' holds something that is no number"),
        (release(("a.jpg", [mpii_person(scale=1e9)], True)), "px of no person"),
        (release(("a.jpg", [pointing(x=1.0, y=1.0, id=16)], True)), "id from 0 to 15, got 16"),
        (release(("a.jpg", [pointing(x=1.0, id=1)], True)), "expected a number as 'y'"),
        (release(*[("a.jpg", [mpii_person()], True)] * 2), "1 persons are there twice, the first is 'a.jpg#1'"),
    ],
)  # fmt: skip
def test_mats_that_cannot_be_right(tmp_path, changes, sentence):
    folder = people_world.write_mpii_mat(tmp_path / "mpii", **changes)
    with pytest.raises(ValueError) as raised:
        mpii.read(folder)
    assert sentence in str(raised.value)


@pytest.mark.parametrize("content", [{"other": 1}, {"RELEASE": 3}, {"RELEASE": {"version": "12"}}, {"RELEASE": "text"}])
def test_mats_of_something_else(official, content):
    savemat(official / "mpii_human_pose_v1_u12_1.mat", content)
    with pytest.raises(ValueError, match="RELEASE: expected one struct with annolist, img_train"):
        mpii.read(official)


@pytest.mark.parametrize(
    ("images", "persons", "sentence"),
    [
        ([1, 2], [1], "2 images for 1 persons"),
        ([9], [1], "image 9 of 4"),
        ([0], [1], "expected whole numbers from 1"),
        ([1.5], [1], "expected whole numbers from 1"),
    ],
)
def test_lists_that_cannot_be_right(official, images, persons, sentence):
    write_list(official, images, persons)
    with pytest.raises(ValueError, match=sentence):
        mpii.read(official)


def test_a_list_of_nobody_in_the_set_leaves_no_doubt(official):
    savemat(official / "detections.mat", {"other": 1})
    with pytest.raises(ValueError, match="expected the matrix 'RELEASE_img_index'"):
        mpii.read(official)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@quick
@given(field=st.sampled_from(["image", "center", "scale", "joints", "joints_vis"]), value=anything)
def test_whatever_a_field_holds_it_is_a_sentence_or_a_person(folder, field, value):
    (folder / "annot/train.json").write_text(json.dumps([mpii_record("a.jpg") | {field: value}]))
    try:
        records = mpii.read(folder)
    except ValueError:
        return
    assert records.box.shape == (2, 4)
    assert np.isfinite(records.box).all()


@quick
@given(content=st.binary(max_size=60) | anything.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_file_holds_it_is_a_sentence(folder, content):
    (folder / "annot/train.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"train\.json"):
        mpii.read(folder)


@quick
@pytest.mark.slow
@given(place=st.integers(0, 10**6), value=st.integers(0, 255), length=st.floats(0, 1))
def test_whatever_byte_of_a_mat_changed_nothing_breaks(official, place, value, length):
    path = official / "mpii_human_pose_v1_u12_1.mat"
    whole = path.read_bytes()
    broken = bytearray(whole if length > 0.5 else whole[: int(2 * length * len(whole))])
    if broken:
        broken[place % len(broken)] = value
    path.write_bytes(bytes(broken))
    with contextlib.suppress(ValueError):
        mpii.read(official)
    path.write_bytes(whole)


def test_systems_without_fork_read_the_same(official, monkeypatch):
    forked = mpii.read(official)
    monkeypatch.delattr(os, "fork")
    spawned = mpii.read(official)
    np.testing.assert_array_equal(spawned.keypoints, forked.keypoints)
    np.testing.assert_array_equal(spawned.image_name, forked.image_name)
