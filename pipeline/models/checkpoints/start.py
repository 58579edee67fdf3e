"""Start a training from a checkpoint: ImageNet weights, a public pose network, or a model file of this project."""

import re
from pathlib import Path

from pipeline import skeleton
from pipeline.models.build import Network
from pipeline.models.checkpoints.families import LAST_LAYERS, family_of
from pipeline.models.checkpoints.load import Report, load_checkpoint, load_tensors, read_own_model, read_tensors
from pipeline.models.checkpoints.zoo import ZOO
from pipeline.models.network import PoseNetwork

FROM_SCRATCH = b"from scratch\n"  # the content of the file that stands for no checkpoint


def start_from(path: Path, network: Network, model: PoseNetwork) -> str:
    """Start a training with the weights of an ImageNet file, a public pose checkpoint or a model file of this project.

    The last layer stays as initialised if the file is known to have other joints. A network with fusion starts from one without,
    and the other way round.

    Args:
        path: of a checkpoint; a file with only the text "from scratch" leaves the network as it is.
        network: what the model was built from.
        model: of `build.build`.

    Returns:
        A sentence on the tensors that were loaded and those that were not; "" from scratch.

    Raises:
        ValueError: as `load_checkpoint`; or a model file of this project has another architecture.
    """
    if not path.is_file():
        raise ValueError(f"data.init: {path}: there is no such file; expected a checkpoint to start the training from")
    if _from_scratch(path):
        return ""
    own = read_own_model(path)
    if own is None:
        target = (
            model.single_view if _fused(model) and family_of(path, read_tensors(path)) != "cross-view fusion" else model
        )
        tail = "/".join(path.parts[-2:])
        known = ZOO[tail].network if tail in ZOO else None
        return _report(
            load_checkpoint(path, target, start=True, new_last_layer=_joints_differ(known, network)), known, network
        )
    theirs, weights = own
    for key in _SHAPES.get(network.name, _SHAPES["mrheat"]):
        if getattr(theirs, key) != getattr(network, key):
            raise ValueError(
                f"data.init: {path}: its network.{key} is {getattr(theirs, key)}, that of params.yaml"
                f" {getattr(network, key)}"
            )
    fused = any(key.startswith("aggre_layer.") for key in weights)
    state = weights
    if fused and not _fused(model):
        state = {key.removeprefix("resnet."): v for key, v in weights.items() if not key.startswith("aggre_layer.")}
    target = model.single_view if _fused(model) and not fused else model
    if _joints_differ(theirs, network):
        state = {key: value for key, value in state.items() if not re.fullmatch(LAST_LAYERS, key)}
    return _report(load_tensors(path, network.name, state, target, start=True), theirs, network)


# Keys that must be equal in a model file of this project, by architecture.
_RESNET = ("name", "block", "layers", "width")
_SHAPES = {
    "mrheat": (*_RESNET, "deconv_channels", "style"),
    "poseresnet": (*_RESNET, "deconv_channels", "style", "deconv_kernels", "final_kernel", "deconv_bias"),
    "hrnet": ("name", "width"),
    "hourglass": ("name", "stacks"),
    "mobilenetv2": ("name", "deconv_channels"),
    "integral": (*_RESNET, "deconv_channels", "depth_bins"),
    "direct": _RESNET,
    "kinematic": (*_RESNET, "kinematic_scale"),
    "mrfea1": (*_RESNET, "style"),
    "mrfea2": (*_RESNET, "style"),
}


def _from_scratch(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(FROM_SCRATCH) + 1) == FROM_SCRATCH


def brings_fusion(path: Path) -> bool:
    """Return whether a checkpoint has layers of cross-view fusion, and not just a network of single views."""
    if not path.is_file() or _from_scratch(path):
        return False
    own = read_own_model(path)
    return any(key.startswith("aggre_layer.") for key in (read_tensors(path) if own is None else own[1]))


def _fused(model: PoseNetwork) -> bool:
    return model.single_view is not model


def _joints_differ(known: Network | None, network: Network) -> bool:
    return known is not None and skeleton.get(known.skeleton).joint_names != skeleton.get(network.skeleton).joint_names


def _report(report: Report, known: Network | None, network: Network) -> str:
    """Return the report, with a warning if the file's network had another preprocessing."""
    if known is None or known.preprocessing == network.preprocessing:
        return str(report)
    return f"{report}; it saw images as {known.preprocessing}, and network.preprocessing is {network.preprocessing}"
