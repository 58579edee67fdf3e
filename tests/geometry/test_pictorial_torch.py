"""RPSM by torch, held against the compiled one."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.geometry import pictorial
from pipeline.heatmaps.compress import coarse_map, decompress, peak_patches
from pipeline.skeleton import get
from tests.geometry.test_pictorial import SEARCH, noisy

torch = pytest.importorskip("torch")
pictorial_torch = pytest.importorskip("pipeline.geometry.pictorial_torch")

GPU = pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")])


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("variant", ["published", "robust"])
@pytest.mark.parametrize(("name", "views", "size"), [("h36m_17", 4, (64, 64)), ("mpii_16", 3, (40, 56))])
def test_bodies_and_statuses_are_those_of_the_compiled_search(name, views, size, variant, device):
    _, arguments = noisy(get(name), views, size, 8, np.random.default_rng(5))
    maps, map_from_image, _, bodies = arguments
    centres, limb = bodies.centres, bodies.limb_mm
    maps[1, :, 4] = 0  # a joint without heat
    maps[2, 0, 0, :9] = np.nan
    map_from_image[3, 1] = np.nan  # a missing view
    centres[4] = np.nan
    limb[:3, 6] = np.nan  # a length that is not known
    limb[5:, 2] *= 1.1  # another person
    settings = replace(SEARCH, coarse_bins=10, variant=variant)
    expected, status = pictorial.search(*arguments, settings=settings)
    found, same = pictorial_torch.search(*arguments, settings=settings, device=device)
    np.testing.assert_array_equal(same, status)
    np.testing.assert_allclose(found, expected, atol=1e-3)  # mm
    assert set(status.ravel()) == {0, 5, 6}


def test_batches_change_nothing(monkeypatch):
    _, arguments = noisy(get("mpii_16"), 2, (32, 32), 7, np.random.default_rng(6))
    settings = replace(SEARCH, coarse_bins=6, refine_steps=3)
    whole, _ = pictorial_torch.search(*arguments, settings=settings, device="cpu")
    monkeypatch.setattr(pictorial_torch, "_BATCH", 3)
    asked = []
    maps, *others = arguments
    batched, _ = pictorial_torch.search(
        lambda rows: (asked.append(rows), maps[rows])[1], *others, settings, device="cpu"
    )
    assert [rows.stop - rows.start for rows in asked] == [3, 3, 1]
    np.testing.assert_allclose(batched, whole, atol=1e-6)


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("size", [(64, 64), (42, 31)])
def test_maps_are_restored_from_a_file_as_on_the_cpu(size, device):
    _, (maps, *_) = noisy(get("mpii_16"), 2, size, 3, np.random.default_rng(8))
    stored = *peak_patches(maps, 14), *coarse_map(maps)
    expected = decompress(*stored, size)
    found = pictorial_torch.whole(*stored, size, device=device).cpu().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
