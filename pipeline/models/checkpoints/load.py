"""Load public checkpoints with one strict loader.

A file either fits, except for the keys that a table lists as missing or extra, or is refused in a sentence. None of it is run.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline import params
from pipeline.models.build import KIND, Network
from pipeline.models.checkpoints.families import (
    FAMILIES,
    HEADS,
    LAST_LAYERS,
    check_style,
    family_of,
    rename,
)
from pipeline.models.kinematic import MOTIONS, PUBLISHED_OUTPUTS, KinematicPose

WRAPPERS = ("state_dict", "network", "model", "best_state_dict", "state_dict_base_model", "model_state_dict")
PREFIXES = ("module.", "model.", "net.", "_orig_mod.")  # _orig_mod: of torch.compile
_AVERAGED = "n_averaged"  # a number that torch's AveragedModel keeps beside its weights
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*m")
_COUNTER = r".*\.num_batches_tracked"  # files older than torch 0.4.1 lack it


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was loaded from a file: keys of the network, except `dropped`, which are the file's."""

    path: Path
    family: str
    matched: tuple[str, ...]
    kept: tuple[str, ...]  # stay as they were initialised
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        heads = sorted({key.split(".")[0] for key in self.kept if not re.fullmatch(_COUNTER, key)})
        kept = f"; newly initialised: {', '.join(heads)}" if heads else ""
        extra = f"; {len(self.dropped)} of the file's not needed" if self.dropped else ""
        return f"{self.path}: {self.family}, {len(self.matched)} tensors loaded{kept}{extra}"


def load_checkpoint(
    path: Path, model: nn.Module, *, start: bool = False, style: str | None = None, new_last_layer: bool = False
) -> Report:
    """Load a public file's weights into a network, or refuse them. A refused file leaves the network unchanged.

    Args:
        path: a state dict, bare or in one of the usual wrappers, of torch of any age.
        model: of `build.build`; its weights are replaced.
        start: the file starts a training: heads may be missing from it, and its last layer may be for other joints.
        style: where the file's bottlenecks stride, "pytorch" or "caffe", which no file states; None: from its name.
        new_last_layer: the last layer stays as it was initialised, because the file's is for other joints.

    Raises:
        ValueError: the file is absent, unreadable, or of another family, style or architecture.
    """
    state = read_tensors(path)
    family = family_of(path, state)
    rules, kind = FAMILIES[family], type(model).__name__
    if kind not in rules.fits:
        raise ValueError(f"{path}: these are weights of {family}, and the network is a {kind}")
    check_style(path, model, style)
    if family == "PoseResNet" and kind == "MRHeatNet":
        if not start:
            raise ValueError(
                f"{path}: these are weights of PoseResNet; they can only start the training of a MRHeatNet"
            )
        for i in range(9):
            state = rename(path, state, ((rf"^deconv_layers\.{i}\.", f"deconv{i // 3 + 1}.{i % 3}."),))
    if family == "cross-view fusion" and kind != "CrossViewFusion":
        state = {
            key.removeprefix("resnet."): value for key, value in state.items() if not key.startswith("aggre_layer.")
        }
    state = rename(path, state, rules.renames)
    if family == "ResNet (ImageNet)" and any(key.startswith("backbone.") for key in model.state_dict()):
        state = {key if key.startswith("fc.") else f"backbone.{key}": value for key, value in state.items()}
    if isinstance(model, KinematicPose) and len(state.get("head.fc.weight", ())) == PUBLISHED_OUTPUTS:
        state = _published_chain(state)
        if start and model.scale != "linear":
            raise ValueError(
                f"{path}: the scale of its skeleton is linear, the network's {model.scale}: set network.kinematic_scale to linear"
            )
        model.scale = "linear"
    if new_last_layer:
        state = {key: value for key, value in state.items() if not re.fullmatch(LAST_LAYERS, key)}
    return load_tensors(path, family, state, model, start)


def _published_chain(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return kinematic regression's weights without the dead outputs between the motions and the scale; bones in one axis."""
    used = {key: torch.cat([state[key][:MOTIONS], state[key][-1:]]) for key in ("head.fc.weight", "head.fc.bias")}
    return {**state, **used, **({"shape": state["shape"].flatten()} if "shape" in state else {})}


def read_own_model(path: Path) -> tuple[Network, dict[str, torch.Tensor]] | None:
    """Return the contents of a model file of this project; None for any other file."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001 - `read_tensors` names the reason
        return None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        return None
    weights = content.get("weights")
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise ValueError(f"{path}: a model file of this project without weights")
    return params.build(Network, content.get("network"), f"{path}: network"), weights


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return a file's tensors by key, without wrappers and prefixes. None of it is run.

    Raises:
        ValueError: the file is absent, not readable without running code, or without weights.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; expected a checkpoint")
    try:
        with torch.serialization.safe_globals(_allowed()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds, with one meaning to the user
        raise ValueError(f"{path}: not readable as a checkpoint of weights ({_reason(error)})") from None
    while isinstance(content, dict):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict) or not content or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise ValueError(f"{path}: expected tensors by name, bare or under {', '.join(WRAPPERS)}")
    state: dict[str, torch.Tensor] = {key: value for key, value in content.items() if key != _AVERAGED}
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    if all(key.startswith(("backbone.", "head.")) for key in state) and "head.final_layer.weight" in state:
        hr = "backbone.stage4.0.branches.0.0.conv1.weight" in state
        # MMPose's files have the trunks and heads of ours; integral regression's own layout has volumes, and is kept
        if hr or state["head.final_layer.weight"].shape[0] < 64:
            state = {key.removeprefix("backbone.").removeprefix("head."): value for key, value in state.items()}
    return state


def _reason(error: Exception) -> str:
    """Return the reason why torch refuses a file, without terminal codes and without its advice to run the file's code."""
    text = _TERMINAL_CODES.sub("", str(error))
    foreign = re.search(r"(?:GLOBAL|Unsupported (?:global|class|type)[: ]+(?:GLOBAL )?)\s*([\w.]+)", text)
    if foreign:
        return f"it contains {foreign[1]} besides tensors, which is not opened; save its weights alone"
    inner = re.search(r"WeightsUnpickler error:\s*([^\n]+)", text)
    if inner:
        return inner[1].split(" Check the documentation")[0].strip()[:200]
    return text.splitlines()[0][:200] if text else type(error).__name__


def _allowed() -> list[Any]:
    """Return the types in checkpoints of these code bases besides tensors: a score or a loss, as NumPy's numbers."""
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    kinds = (
        *(np.float64, np.float32, np.float16, np.bool_),
        *(np.int64, np.int32, np.int16, np.int8, np.uint64, np.uint32, np.uint16, np.uint8),
    )
    return [*((scalar, name) for name in names), np.dtype, *(type(np.dtype(kind)) for kind in kinds)]


def load_tensors(path: Path, family: str, state: dict[str, torch.Tensor], model: nn.Module, start: bool) -> Report:
    """Load tensors into a network if they fit, or refuse them; arguments as of `load_checkpoint`."""
    own = model.state_dict()
    extra = sorted(state.keys() - own.keys())
    may_have = (*(FAMILIES[family].extra if family in FAMILIES else ()), _COUNTER)
    unknown = [key for key in extra if not any(re.fullmatch(p, key) for p in may_have)]
    if unknown:
        raise ValueError(_sentence(path, family, f"has {unknown[0]}, which the network lacks", len(unknown)))
    may_miss = (_COUNTER, *(HEADS if start else ()))
    missing = sorted(own.keys() - state.keys())
    unmet = [key for key in missing if not any(re.fullmatch(p, key) for p in may_miss)]
    if unmet:
        hint = "" if start or "ImageNet" not in family else "; it can only start a training"
        raise ValueError(_sentence(path, family, f"lacks {unmet[0]}{hint}", len(unmet)))
    matched = sorted(own.keys() & state.keys())
    other = [key for key in matched if own[key].shape != state[key].shape]
    wrong = [key for key in other if not (start and re.fullmatch(LAST_LAYERS, key))]
    if wrong:
        shapes = f"{wrong[0]} is {_shape(state[wrong[0]])} in it, and {_shape(own[wrong[0]])} in the network"
        raise ValueError(_sentence(path, family, shapes, len(wrong)))
    matched = [key for key in matched if key not in other]
    broken = [key for key in matched if not bool(torch.isfinite(state[key]).all())]
    if broken:
        raise ValueError(f"{path}: {broken[0]} is not finite")
    model.load_state_dict({**own, **{key: state[key] for key in matched}})
    return Report(
        path=path, family=family, matched=tuple(matched), kept=tuple(sorted([*missing, *other])), dropped=tuple(extra)
    )


def _sentence(path: Path, family: str, what: str, count: int) -> str:
    more = f" (and {count - 1} more keys)" if count > 1 else ""
    return f"{path}: these weights of {family} are not for this architecture: the file {what}{more}"


def _shape(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
