"""Maps of any shape and kind, drawn by hypothesis."""

import numpy as np
from hypothesis import strategies as st

from tests.plain import heatmaps as plain


@st.composite
def odd_maps(draw):
    """Return maps of any shape and kind: noise, plateaus (few levels), all negative, peaks at the border, some with NaN."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, columns = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    maps = rng.uniform(-1, draw(st.sampled_from([-0.1, 0.3, 1.0, 1.5])), (4, 2, rows, columns))
    maps[1] = np.round(maps[1] * 3) / 3  # plateaus
    maps[2] = plain.render(rng.uniform(-2, 22, (2, 2)), (columns, rows), 1.5)
    if draw(st.booleans()):
        maps[3, 0, rng.integers(rows), rng.integers(columns)] = np.nan
    return maps.astype(draw(st.sampled_from([np.float16, np.float32, np.float64])))
