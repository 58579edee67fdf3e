import dataclasses

import numpy as np
import pytest
import torch

from pipeline import params
from pipeline.training.batches import Batch
from pipeline.training.losses import (
    Loss,
    coordinate_loss,
    foreground_mse,
    hard_joints_mse,
    joints_mse,
    loss_against_targets,
)


def batch_of(**fields):
    """Return a batch that has only some of its fields."""
    none = np.zeros(0)
    return Batch(**({field.name: none for field in dataclasses.fields(Batch)} | fields))


@pytest.fixture
def published():
    """The golden case of HRNet's losses: four images of 17 joints, 48 of the 68 count."""
    rng = np.random.RandomState(11)
    maps, targets, weights = rng.rand(4, 17, 64, 48), rng.rand(4, 17, 64, 48), rng.rand(4, 17, 1) > 0.3
    assert weights.sum() == 48
    return torch.from_numpy(maps), torch.from_numpy(targets), torch.from_numpy(weights[..., 0].astype(float))


def test_the_published_losses_to_the_last_digit(published):
    maps, targets, weights = published
    assert joints_mse(maps, targets, weights).item() == pytest.approx(0.05851507927627166, rel=1e-12)
    assert joints_mse(maps, targets, torch.ones_like(weights)).item() == pytest.approx(0.0827994431944788, rel=1e-12)
    assert hard_joints_mse(maps, targets, weights, 8).item() == pytest.approx(0.08376883343329328, rel=1e-12)


def test_the_loss_by_hand():
    maps, targets = torch.zeros(1, 2, 1, 2), torch.tensor([[[[1.0, 0.0]], [[0.0, 0.5]]]])
    # joint 0: (1 * (1 + 10) + 0) / 2 = 5.5; joint 1: (0 + 0.25 * (1 + 5)) / 2 = 0.75
    assert foreground_mse(maps, targets, torch.tensor([[1.0, 1.0]])).item() == pytest.approx((5.5 + 0.75) / 2)
    assert foreground_mse(maps, targets, torch.tensor([[0.0, 2.0]])).item() == pytest.approx(0.75)
    assert foreground_mse(maps, targets, torch.zeros(1, 2)).item() == 0


def test_the_sum_over_joints_is_twice_their_number_times_the_mean(published):
    maps, targets, weights = (tensor.float() for tensor in published)
    batch = batch_of(targets=targets.numpy(), weights=weights.numpy())
    mean = loss_against_targets([maps], batch, Loss(name="joints_mse"))
    assert loss_against_targets([maps], batch, Loss(name="summed_mse")).item() == pytest.approx(2 * 17 * mean.item())
    expected = sum(((maps[:, j] - targets[:, j]) * weights[:, j, None, None]).square().mean() for j in range(17))
    assert loss_against_targets([maps], batch, Loss(name="summed_mse")).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_every_stack_of_a_network_is_taught(published):
    maps, targets, weights = (tensor.float() for tensor in published)
    batch = batch_of(targets=targets.numpy(), weights=weights.numpy())
    one, other = (loss_against_targets([each], batch, Loss()) for each in (maps, targets))
    assert loss_against_targets([maps, targets], batch, Loss()).item() == pytest.approx((one + other).item())


def test_coordinates_by_hand():
    coordinates, targets = torch.tensor([[[0.1, 0.2, 0.3]], [[0.0, 0.0, 0.0]]]), torch.zeros(2, 1, 3)
    flat = torch.tensor([1.0, 1.0, 0.0]).expand(2, 1, 3)  # depth is not known
    assert coordinate_loss(coordinates, targets, flat, "L1").item() == pytest.approx(0.15)
    assert coordinate_loss(coordinates, targets, flat, "L2").item() == pytest.approx(0.025)


@pytest.mark.parametrize(("key", "value"), [("foreground_weight", -1.0), ("ohkm_top_k", 0)])
def test_a_loss_that_cannot_be_is_named(key, value):
    with pytest.raises(ValueError, match=f"loss.{key}"):
        params.build(Loss, {key: value}, "loss")


def test_coordinates_are_compared_with_the_points_that_targets_are_drawn_at_and_not_with_the_maps():
    targets, weights = np.zeros((1, 3, 4, 8), np.float32), np.array([[1.0, 0.5, 0.0]], np.float32)
    keypoints = np.array([[[4.0, 1.0], [0.0, 2.0], [np.nan, np.nan]]], np.float32)
    unknown = np.full((1, 3), np.nan, np.float32)
    batch = batch_of(targets=targets, weights=weights, keypoints=keypoints, depth=unknown)
    given = torch.zeros(1, 3, 3)  # the centre of the image, at some depth
    # joint 0 is off by (4 / 8 - .5, 1 / 4 - .5), joint 1 by (-.5, 0) and counts half
    assert loss_against_targets([given], batch, Loss(name="integral_l1")).item() == pytest.approx(0.25 + 0.25)
    assert loss_against_targets([given], batch, Loss(name="integral_l2")).item() == pytest.approx(0.25**2 + 0.25**2)
    relative = loss_against_targets([given], batch, Loss(name="integral_l1"), root=0)
    assert relative.item() == pytest.approx(0.5 * (0.5 + 0.25))
    # known depth counts as x does: joint 0 is a quarter of the width farther than the root, joint 1 half of it nearer
    deep = dataclasses.replace(batch, depth=np.array([[2.0, -4.0, np.nan]], np.float32))
    assert loss_against_targets([given], deep, Loss(name="integral_l1")).item() == pytest.approx(0.5 + 0.25 + 0.5 * 0.5)
    flat = loss_against_targets([given[..., :2]], deep, Loss(name="integral_l1"))
    assert flat.item() == pytest.approx(0.5)


@pytest.mark.parametrize(("loss", "coordinates"), [("foreground", True), ("integral_l1", False)])
def test_a_loss_knows_what_it_is_for(loss, coordinates):
    Loss(name=loss).require_for("a network", not coordinates, "retrain")
    with pytest.raises(ValueError, match=rf"retrain\.loss\.name: a network gives .* got {loss}"):
        Loss(name=loss).require_for("a network", coordinates, "retrain")
