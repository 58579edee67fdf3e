"""Large networks whose weights are never drawn, because the test that builds them sets all of them, or reads none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


@contextmanager
def no_draws() -> Iterator[None]:
    """Within it, torch's random initialisations leave memory as it is."""
    names = ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_", "trunc_normal_", "xavier_uniform_")
    kept = {name: getattr(nn.init, name) for name in names}

    def leave(tensor: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        return tensor

    try:
        for name in names:
            setattr(nn.init, name, leave)
        yield
    finally:
        for name, function in kept.items():
            setattr(nn.init, name, function)


def undrawn(make: Callable[[], Model]) -> Model:
    """Return a network with arbitrary weights."""
    with no_draws():
        return make()
