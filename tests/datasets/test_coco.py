"""COCO's people: which are selected, the places of their images, and damaged files."""

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import crops
from pipeline.datasets import coco
from pipeline.datasets.records import census
from pipeline.training.batches import network_input
from tests.worlds import people_world
from tests.worlds.people_world import JOINTS, coco_person

REAL = Path(__file__).parents[3] / "shared/data/coco"
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path):
    return people_world.write_coco(tmp_path / "coco")


def put(folder, people, images=((9, "000000000009.jpg"),), name="val2017"):
    path = folder / f"annotations/person_keypoints_{name}.json"
    path.write_text(json.dumps(people_world.coco(list(images), people)))


def test_crowds_and_people_without_keypoints_area_or_image_do_not_count(folder):
    records = coco.read(folder)
    assert records.key.tolist() == [
        "train2017/000000000009.jpg#2",
        "train2017/000000000009.jpg#3",
        "train2017/000000000025.jpg#1",
        "val2017/000000000785.jpg#8",
    ]
    assert records.split.tolist() == ["train"] * 3 + ["valid"]
    assert records.notes[0].endswith("4 annotations left out (crowds, no keypoint, no area, no box)")
    assert census(records).absent_images == {"train": 0, "valid": 0}


def test_a_keypoint_counts_where_its_flag_is_not_zero(folder):
    records = coco.read(folder)
    names = records.skeleton.joint_names
    assert [names[joint] for joint in np.flatnonzero(np.isnan(records.keypoints[0, :, 0]))] == ["left_ear"]
    np.testing.assert_allclose(records.keypoints[0, 4], JOINTS[4])  # px, from 0, the right ear, which is occluded


def test_boxes_are_cut_to_the_image_and_a_quarter_larger(folder):
    records = coco.read(folder)
    # x 50 to 130, y 30 to 150: centre (90, 90), the longer side 120
    np.testing.assert_allclose(records.box[0], [90 - 75, 90 - 75, 90 + 75, 90 + 75])
    np.testing.assert_allclose(records.extent[0], [1.25 * 80, 1.25 * 120])
    np.testing.assert_allclose(records.extent.max(axis=1), records.box[:, 2] - records.box[:, 0])
    # x 150 to 199 (cut), y 100 to 159
    np.testing.assert_allclose(records.box[1], crops.square(np.array([150, 100, 199, 159]), 0.25))


@pytest.mark.parametrize(
    "layout", ["images/set", "set", "zip in images", "zip with a folder", "zip without", "all in images", "inner twice"]
)
def test_wherever_the_images_lie(folder, layout):
    expected = coco.read(folder)
    image = expected.images.read("val2017/000000000785.jpg")
    source = folder / "images/val2017"
    match layout:
        case "set":
            source.rename(folder / "val2017")
        case "zip in images" | "zip with a folder" | "zip without":
            place = folder / "images" if layout == "zip in images" else folder
            with zipfile.ZipFile(place / "val2017.zip", "w") as archive:
                for path in source.iterdir():
                    archive.write(path, path.name if layout == "zip without" else f"val2017/{path.name}")
            for path in source.iterdir():
                path.unlink()
            source.rmdir()
        case "all in images":
            for path in source.iterdir():
                path.rename(folder / "images" / path.name)
            source.rmdir()
        case "inner twice":
            source.rename(folder / "images/moved")
            (folder / "images/val2017").mkdir()
            (folder / "images/moved").rename(folder / "images/val2017/val2017")
    (folder / "annotations").rename(folder / "annot")
    records = coco.read(folder)
    assert records.key.tolist() == expected.key.tolist()
    np.testing.assert_array_equal(records.images.read("val2017/000000000785.jpg"), image)


def test_an_image_of_another_size_is_not_the_annotated_one(folder):
    records = coco.read(folder)
    row = records.split.tolist().index("valid")
    assert records.read_image(row).shape == (180, 200, 3)
    path = folder / "images/val2017/000000000785.jpg"
    cv2.imwrite(str(path), cv2.resize(records.read_image(row), (100, 90)))
    with pytest.raises(ValueError, match=r"000000000785\.jpg: is 100x90 px, the annotations speak of 200x180"):
        records.read_image(row)


def box(image=785, **changes):
    return {"image_id": image, "category_id": 1, "bbox": [10.0, 20.0, 40.0, 80.0], "score": 0.9} | changes


def test_detected_boxes_stand_for_the_people_of_the_validation_set(folder):
    boxes = [box(), box(score=0.2), box(category_id=2), box(bbox=[0, 0, 10, 10])]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    records = coco.read(folder, train=(), detections="boxes.json", min_score=0.5)
    assert records.key.tolist() == ["val2017/000000000785.jpg#d0", "val2017/000000000785.jpg#d3"]
    np.testing.assert_allclose(records.box[0], [30 - 50, 60 - 50, 30 + 50, 60 + 50])  # px
    assert records.score.tolist() == [0.9, 0.9]
    assert np.isnan(records.keypoints).all()
    assert len(records.files) == 2


def test_test_dev_has_boxes_and_no_labels(folder):
    info = {"images": people_world.coco([(1, "000000000001.jpg")], [])["images"]}
    (folder / "annotations/image_info_test-dev2017.json").write_text(json.dumps(info))
    people_world.write_images(folder / "images/test2017", ["000000000001.jpg"])
    (folder / "boxes.json").write_text(json.dumps([box(1)]))
    with pytest.raises(
        ValueError, match="'test-dev2017' has no labels, and no detection file says where its persons are"
    ):
        coco.read(folder, train=(), valid=("test-dev2017",))
    records = coco.read(folder, train=(), valid=("test-dev2017",), detections="boxes.json")
    assert records.images.read(str(records.image_name[0])).shape == (180, 200, 3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (box(3), "box 0: of the image 3, which the set does not have"),
        (box(bbox=[1, 2, -3, 4]), "box 0: expected positive sides"),
        (box(bbox=[1, 2, 3]), r"expected 'bbox' of shape \(4,\), got \(3,\)"),
        (box(score="high"), "'score' holds something that is no number"),
        ({"image_id": 785}, "expected image_id, category_id, bbox and score"),
        (7, "expected image_id, category_id, bbox and score"),
    ],
)
def test_detections_that_cannot_be_right(folder, change, sentence):
    (folder / "boxes.json").write_text(json.dumps([change]))
    with pytest.raises(ValueError, match=sentence):
        coco.read(folder, train=(), detections="boxes.json")
    with pytest.raises(ValueError, match="expected the name of a file inside"):
        coco.read(folder, train=(), detections="../boxes.json")


@pytest.mark.parametrize(
    ("people", "sentence"),
    [
        ([coco_person(1, 9), coco_person(1, 9)], "'annotations' holds the id 1 twice"),
        ([coco_person(1, 7)], "annotation 1: of the image 7, which the file does not have"),
        ([coco_person(1, 9, category_id=3)], "of the category 3, which the file does not have"),
        ([coco_person(1, 9, iscrowd=7)], "expected iscrowd 0 or 1, got 7"),
        ([coco_person(1, 9, keypoints=[1, 2, 2])], r"expected 'keypoints' of shape \(51,\), got \(3,\)"),
        ([coco_person(1, 9, keypoints=[1, 2, 3] * 17)], "expected flags 0, 1 or 2 of the keypoints"),
        ([coco_person(1, 9, bbox=["a", 1, 2, 3])], "'bbox' holds something that is no number"),
        ([coco_person(1, 9, id="one")], "expected a whole number as 'id', got 'one'"),
        ([], "there is no person with a keypoint"),
    ],
)
def test_annotations_that_cannot_be_right(folder, people, sentence):
    put(folder, people)
    with pytest.raises(ValueError, match=sentence):
        coco.read(folder, train=())


def test_images_that_cannot_be_right(folder):
    for images, sentence in [
        ([(9, "a.jpg"), (9, "b.jpg")], "'images' holds the id 9 twice"),
        ([(9, "a.jpg"), (8, "a.jpg")], "1 images have a file_name that is taken"),
        ([(10**30, "a.jpg")], "expected a whole number as 'id'"),
        ([(9, "../a.jpg")], "expected the name of a file inside"),
    ]:
        put(folder, [coco_person(1, 9)], images)
        with pytest.raises(ValueError, match=sentence):
            coco.read(folder, train=())


def test_other_keypoints_are_not_taken_for_these(folder):
    content = people_world.coco([(9, "a.jpg")], [coco_person(1, 9)])
    content["categories"][0]["keypoints"].reverse()
    (folder / "annotations/person_keypoints_val2017.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="expected COCO's 17 keypoints in their order"):
        coco.read(folder, train=())


def test_sets_that_are_not_there(folder, tmp_path):
    with pytest.raises(ValueError, match=r"person_keypoints_train2014\.json"):
        coco.read(folder, train=("train2014",))
    with pytest.raises(ValueError, match="expected the name of a set"):
        coco.read(folder, train=("../train2017",))
    with pytest.raises(ValueError, match="a set is named twice"):
        coco.read(folder, train=("val2017",))
    with pytest.raises(ValueError, match="there is no such folder"):
        coco.read(tmp_path / "nowhere")
    (folder / "images").rename(folder / "pictures")
    with pytest.raises(ValueError, match="there are no images; looked for"):
        coco.read(folder)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real images of shared/data/coco")
def test_the_real_images():
    records = coco.read(REAL, train=(), valid=("cc",))
    counted = census(records)
    assert (counted.persons, counted.images, counted.absent_images) == ({"valid": 44}, {"valid": 17}, {"valid": 0})
    for row in range(len(records)):
        height, width, _ = records.read_image(row).shape
        known = records.keypoints[row][np.isfinite(records.keypoints[row, :, 0])]
        assert ((known >= 0) & (known < [width, height])).all()
        inside = (known >= records.box[row, :2]) & (known <= records.box[row, 2:])
        assert inside.all(axis=1).mean() > 0.8


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real images of shared/data/coco")
@pytest.mark.parametrize("size", [(192, 256), (288, 384)])
def test_a_public_network_sees_the_published_crop_of_every_real_person(size):
    """By centre and scale and three points through OpenCV, as in the published code."""
    records = coco.read(REAL, train=(), valid=("cc",))
    content = json.loads((REAL / "person_keypoints_cc.json").read_text())
    boxes = {str(annotation["id"]): annotation["bbox"] for annotation in content["annotations"]}
    for row, key in enumerate(records.key):
        x, y, wide, high = boxes[key.split("#")[1]]
        image = records.read_image(row)
        low = np.maximum([x, y], 0)
        sides = np.minimum(low + [wide - 1, high - 1], [image.shape[1] - 1, image.shape[0] - 1]) - low
        centre, aspect = low + sides / 2, size[0] / size[1]
        seen = np.maximum(sides, sides[::-1] * [aspect, 1 / aspect]) * 1.25
        up, left = centre - [0, seen[0] / 2], centre - [seen[0] / 2, seen[0] / 2]
        middle, half = np.array(size) / 2, size[0] / 2
        points = (
            np.array(each, np.float32) for each in ([centre, up, left], [middle, middle - [0, half], middle - half])
        )
        expected = cv2.warpAffine(image, cv2.getAffineTransform(*points), size, flags=cv2.INTER_LINEAR)
        low, high = ((records.box[row, :2] + records.box[row, 2:] + sign * records.extent[row]) / 2 for sign in (-1, 1))
        cut, image_from_map = network_input(
            image, np.eye(3)[:2], np.concatenate([low, high]), size, stride=4, published=True
        )
        assert abs(cut.astype(int) - expected).mean() < 0.05  # grey levels; OpenCV's affine is of float32 points
        np.testing.assert_allclose(image_from_map[:, 2], centre - seen / 2, atol=1e-9)
        np.testing.assert_allclose(np.diag(image_from_map[:, :2]), 4 * seen / size, atol=1e-9)


FIELDS = ["id", "image_id", "category_id", "iscrowd", "bbox", "area", "keypoints", "file_name", "width", "name"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@quick
@given(
    section=st.sampled_from(["images", "annotations", "categories"]),
    field=st.sampled_from(FIELDS),
    value=anything,
)
def test_whatever_a_field_holds_it_is_a_sentence_or_people(folder, section, field, value):
    content = people_world.coco([(9, "000000000009.jpg")], [coco_person(1, 9)])
    content[section][0][field] = value
    (folder / "annotations/person_keypoints_val2017.json").write_text(json.dumps(content))
    try:
        records = coco.read(folder, train=())
    except ValueError:
        return
    assert np.isfinite(records.box).all()


@quick
@given(content=st.binary(max_size=60) | anything.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_file_holds_it_is_a_sentence(folder, content):
    (folder / "annotations/person_keypoints_val2017.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"val2017\.json"):
        coco.read(folder, train=())


@quick
@given(value=anything)
def test_whatever_a_detector_says_it_is_a_sentence(folder, value):
    (folder / "boxes.json").write_text(json.dumps([value]))
    with pytest.raises(ValueError, match=r"boxes\.json"):
        coco.read(folder, train=(), detections="boxes.json")
