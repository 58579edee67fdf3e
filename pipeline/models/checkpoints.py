"""Public checkpoints: one strict loader, and what has to be known of each file besides its weights.

A file either fits, but for what a table says may be missing or extra, or is refused in a sentence. Nothing in it is run.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline import params, skeleton
from pipeline.models import build
from pipeline.models.build import KIND, Network
from pipeline.models.resnet import DEPTHS

WRAPPERS = ("state_dict", "network", "model", "best_state_dict", "state_dict_base_model")
PREFIXES = ("module.", "model.")
_COUNTER = r".*\.num_batches_tracked"  # absent from files older than torch 0.4.1


@dataclass(frozen=True)
class Entry:
    """A public file.

    Attributes:
        path: as the systems' authors lay it out, under their `models/pytorch`.
        network: its architecture, input size, joint order and preprocessing; None for the start of a training.
        sigma: heatmap px, of the Gaussians that it learned.
        flip, shift: whether its published score has the flip test, with the mirrored maps one pixel to the right.
        score: as published, with its measure; None where none is.
    """

    path: str
    network: Network | None
    sigma: float | None = None
    flip: bool = True
    shift: bool = False
    score: str | None = None


@dataclass(frozen=True)
class Report:
    """What a file gave to a network: keys of the network, but for `dropped`, which are the file's."""

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


@dataclass(frozen=True)
class Family:
    """How files of one kind are recognised, and what is done to their keys.

    Attributes:
        sign: a pattern of a key that each of these files has, and none of the families above it in the table.
        fits: classes of networks that may be loaded from it.
        renames: (pattern, replacement), all applied in turn.
        extra: what the file may have, and the network not.
    """

    sign: str
    fits: tuple[str, ...]
    renames: tuple[tuple[str, str], ...] = ()
    extra: tuple[str, ...] = ()


# In this order: the first whose sign a file has is its family.
FAMILIES = {
    "cross-view fusion": Family(
        r"resnet\.conv1\.weight",
        ("CrossViewFusion", "PoseResNet", "HRNet"),
    ),
    "hourglass": Family(r"hg\.0\.hg\.0\.3\..*", ("StackedHourglass",)),
    "HRNet": Family(
        r"stage4\.0\.fuse_layers\..*",
        ("HRNet",),
        (),
        (
            r"(incre_modules|downsamp_modules|classifier)\..*",
            r"final_layer\.[01]\..*",
            r"stage4\.2\.fuse_layers\.[123]\..*",
        ),
    ),
    "integral regression": Family(
        r"(backbone\.conv1|head\.(features\.9|final_layer))\.weight",
        ("IntegralPose", "DirectPose", "KinematicPose"),
        (
            (r"^head\.features\.9\.", "head.final_layer."),
            (r"^head\.features\.", "head.deconv_layers."),
            (r"^head\.kin_layer\.shape$", "shape"),
        ),
        (r"head\.kin_layer\.(M|v|reorder_idx)", "shape"),
    ),
    "MRHeatNet": Family(r"s_conv1\.0\.weight", ("MRHeatNet",)),
    "MRFeaNet": Family(r"deconv11\.0\.weight", ("MRFeaNet",)),
    "MobileNetV2": Family(
        r"(mobilenetv2\.)?features\.0\.0\.weight",
        ("PoseMobileNetV2",),
        (
            (r"^features\.", "mobilenetv2.features."),
            # torchvision puts each convolution with its norm into a box of its own
            (r"(features\.1\.conv)\.1\.(weight)$", r"\1.3.\2"),
            (r"(features\.1\.conv)\.2\.", r"\1.4."),
            (r"(features\.1\.conv)\.0\.([01])\.", r"\1.\2."),
            (r"(features\.(?!1\.)\d+\.conv)\.3\.", r"\1.7."),
            (r"(features\.(?!1\.)\d+\.conv)\.2\.", r"\1.6."),
            (r"(features\.(?!1\.)\d+\.conv)\.1\.0\.", r"\1.3."),
            (r"(features\.(?!1\.)\d+\.conv)\.1\.1\.", r"\1.4."),
            (r"(features\.(?!1\.)\d+\.conv)\.0\.([01])\.", r"\1.\2."),
        ),
        (r"mobilenetv2\.features\.18\..*", r"mobilenetv2\.conv\..*", r"(mobilenetv2\.)?classifier\..*"),
    ),
    "PoseResNet": Family(r"deconv_layers\.0\.weight", ("PoseResNet", "MRHeatNet")),
    "ResNet (ImageNet)": Family(
        r"layer4\.0\.conv1\.weight",
        ("PoseResNet", "MRHeatNet", "MRFeaNet", "IntegralPose", "DirectPose", "KinematicPose"),
        (),
        (r"fc\.(weight|bias)",),
    ),
}
# What a start of a training may leave as initialised. HRNet's last exchange and head come from nowhere else.
HEADS = (
    r"deconv_layers\..*",
    r"deconv\d+\..*",
    r"s_(conv|deconv)\d+\..*",
    r"final_layer\..*",
    r"head\..*",
    r"shape",
    r"aggre_layer\..*",
    r"score_?\..*",
)
# One map, or three numbers, a joint.
_LAST = r"(.*\.)?(final_layer|score_?\.\d+|head\.fc|s_(conv|deconv)\d+(\.\d+)?)\.\w+"
FROM_SCRATCH = b"from scratch\n"  # what the file says that stands for no file at all


def load_checkpoint(
    path: Path, model: nn.Module, start: bool = False, style: str | None = None, anew: bool = False
) -> Report:
    """Put a public file's weights into a network, or say why they do not fit. The network changes only if they do.

    Args:
        path: a state dict, bare or in one of the usual wrappers, of torch of any age.
        model: of `build.build`; its weights are replaced.
        start: the file starts a training: heads may be missing from it, and its last layer may be for other joints.
        style: where the file's bottlenecks stride, "pytorch" or "caffe", which no file tells; None: from its name.
        anew: a start leaves the last layer as it was initialised, because the file's is for other joints.

    Raises:
        ValueError: absent, unreadable, of another family, style or architecture.
    """
    state = read(path)
    family = _family(path, state)
    rules, kind = FAMILIES[family], type(model).__name__
    if kind not in rules.fits:
        raise ValueError(f"{path}: these are weights of {family}, and the network is a {kind}")
    _check_style(path, model, style)
    if family == "PoseResNet" and kind == "MRHeatNet":
        if not start:
            raise ValueError(
                f"{path}: these are weights of PoseResNet; they can only start the training of a MRHeatNet"
            )
        for i in range(9):
            state = _renamed(path, state, ((rf"^deconv_layers\.{i}\.", f"deconv{i // 3 + 1}.{i % 3}."),))
    if family == "cross-view fusion" and kind != "CrossViewFusion":
        state = {
            key.removeprefix("resnet."): value for key, value in state.items() if not key.startswith("aggre_layer.")
        }
    state = _renamed(path, state, rules.renames)
    if family == "ResNet (ImageNet)" and any(key.startswith("backbone.") for key in model.state_dict()):
        state = {key if key.startswith("fc.") else f"backbone.{key}": value for key, value in state.items()}
    if anew:
        state = {key: value for key, value in state.items() if not re.fullmatch(_LAST, key)}
    return _put(path, family, state, model, start)


def start_from(path: Path, network: Network, model: nn.Module) -> str:
    """Give a training what an ImageNet file, a public pose checkpoint or a model file of ours knows already.

    The last layer stays as initialised where the file's joints are known to be others; a network with fusion takes one
    without, and the other way round.

    Args:
        path: of a checkpoint; a file that only says "from scratch" leaves the network as it is.
        network: what the model was built from.
        model: of `build.build`.

    Returns:
        What was loaded and what was not, in a sentence; "" from scratch.

    Raises:
        ValueError: as `load_checkpoint`; or a model of ours has another architecture.
    """
    if not path.is_file():
        raise ValueError(f"data.init: {path}: there is no such file; expected a checkpoint to start the training from")
    if _from_scratch(path):
        return ""
    own = _own(path)
    if own is None:
        target = model.resnet if _fused(model) and _family(path, read(path)) != "cross-view fusion" else model
        assert isinstance(target, nn.Module)
        tail = "/".join(path.parts[-2:])
        known = ZOO[tail].network if tail in ZOO else None
        return _told(load_checkpoint(path, target, start=True, anew=_joints_differ(known, network)), known, network)
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
    target = model.resnet if _fused(model) and not fused else model
    assert isinstance(target, nn.Module)
    if _joints_differ(theirs, network):
        state = {key: value for key, value in state.items() if not re.fullmatch(_LAST, key)}
    return _told(_put(path, network.name, state, target, start=True), theirs, network)


# What has to be equal in a model file of ours, by architecture.
_RESNET = ("name", "block", "layers", "width")
_SHAPES = {
    "mrheat": (*_RESNET, "deconv_channels", "style"),
    "poseresnet": (*_RESNET, "deconv_channels", "style", "deconv_kernels", "final_kernel", "deconv_bias"),
    "hrnet": ("name", "width"),
    "hourglass": ("name", "stacks"),
    "mobilenetv2": ("name", "deconv_channels"),
    "integral": (*_RESNET, "deconv_channels", "depth_bins"),
    "direct": _RESNET,
    "kinematic": _RESNET,
    "mrfea1": (*_RESNET, "style"),
    "mrfea2": (*_RESNET, "style"),
}


def _from_scratch(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(FROM_SCRATCH) + 1) == FROM_SCRATCH


def brings_fusion(path: Path) -> bool:
    """Whether a checkpoint has layers of cross-view fusion, and not just a network of single views."""
    if not path.is_file() or _from_scratch(path):
        return False
    own = _own(path)
    return any(key.startswith("aggre_layer.") for key in (read(path) if own is None else own[1]))


def _own(path: Path) -> tuple[Network, dict[str, torch.Tensor]] | None:
    """What a model file of `build.save` holds; None for any other file."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001 - `read` says what is wrong
        return None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        return None
    weights = content.get("weights")
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise ValueError(f"{path}: a model file of this project without weights")
    return params.build(Network, content.get("network"), f"{path}: network"), weights


def _fused(model: nn.Module) -> bool:
    return type(model).__name__ == "CrossViewFusion"


def _joints_differ(known: Network | None, network: Network) -> bool:
    return known is not None and skeleton.get(known.skeleton).joint_names != skeleton.get(network.skeleton).joint_names


def _told(report: Report, known: Network | None, network: Network) -> str:
    """The report, and what a network that sees pictures otherwise than the file's did should know."""
    if known is None or known.preprocessing == network.preprocessing:
        return str(report)
    return f"{report}; it saw pictures as {known.preprocessing}, and network.preprocessing is {network.preprocessing}"


def read(path: Path) -> dict[str, torch.Tensor]:
    """A file's tensors by key, out of their wrappers and without prefixes; nothing of it is run.

    Raises:
        ValueError: absent, not readable without running something, or without weights.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; expected a checkpoint")
    try:
        with torch.serialization.safe_globals(_allowed()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds; to the user all mean the same
        text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ValueError(f"{path}: not readable as a checkpoint of weights ({text})") from None
    while isinstance(content, dict):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict) or not content or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise ValueError(f"{path}: expected tensors by name, bare or under {', '.join(WRAPPERS)}")
    state: dict[str, torch.Tensor] = content
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    if all(key.startswith(("backbone.", "head.")) for key in state) and "head.final_layer.weight" in state:
        hr = "backbone.stage4.0.branches.0.0.conv1.weight" in state
        # MMPose's, whose trunks and heads are ours; integral regression's own layout has volumes, and stays
        if hr or state["head.final_layer.weight"].shape[0] < 64:
            state = {key.removeprefix("backbone.").removeprefix("head."): value for key, value in state.items()}
    return state


def _allowed() -> list[Any]:
    """What checkpoints of these code bases hold besides tensors: a score or a loss, as NumPy's numbers."""
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    kinds = (np.float64, np.float32, np.int64, np.int32, np.bool_)
    return [*((scalar, name) for name in names), np.dtype, *(type(np.dtype(kind)) for kind in kinds)]


def _family(path: Path, state: dict[str, torch.Tensor]) -> str:
    for name, family in FAMILIES.items():
        if any(re.fullmatch(family.sign, key) for key in state):
            return name
    raise ValueError(f"{path}: weights of no known network; its keys begin {', '.join(list(state)[:3])}")


def _check_style(path: Path, model: nn.Module, style: str | None) -> None:
    trunk = next((module for module in model.modules() if hasattr(module, "style")), None)
    if trunk is None or "Bottleneck" not in {type(module).__name__ for module in trunk.modules()}:
        return
    style = style or ("caffe" if "caffe" in path.name else "pytorch")
    if style != trunk.style:
        raise ValueError(
            f"{path}: its bottlenecks stride as in {style}, the network's as in {trunk.style}: all shapes fit, and the "
            f"results would be wrong; set network.style to {style}, or name the file's style if its name misleads"
        )


def _renamed(path: Path, state: dict[str, torch.Tensor], rules: Sequence[tuple[str, str]]) -> dict[str, torch.Tensor]:
    """MobileNetV2's two layouts share names: its rules hold only for files with torchvision's boxes."""
    boxed = any(re.search(r"features\.1\.conv\.0\.0\.weight$", key) for key in state)
    found: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        name = key
        for pattern, replacement in rules:
            if r"\.conv)" in pattern:
                if not boxed:
                    continue
                changed = re.sub(pattern, replacement, name)
                if changed != name:
                    name = changed
                    break
            name = re.sub(pattern, replacement, name)
        if name in found:
            raise ValueError(f"{path}: {key} and another key both mean {name}")
        found[name] = value
    return found


def _put(path: Path, family: str, state: dict[str, torch.Tensor], model: nn.Module, start: bool) -> Report:
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
    wrong = [key for key in other if not (start and re.fullmatch(_LAST, key))]
    if wrong:
        shapes = f"{wrong[0]} is {_shape(state[wrong[0]])} in it, and {_shape(own[wrong[0]])} in the network"
        raise ValueError(_sentence(path, family, shapes, len(wrong)))
    matched = [key for key in matched if key not in other]
    broken = [key for key in matched if not bool(torch.isfinite(state[key]).all())]
    if broken:
        raise ValueError(f"{path}: {broken[0]} is not finite")
    model.load_state_dict({**own, **{key: state[key] for key in matched}})
    return Report(path, family, tuple(matched), tuple(sorted([*missing, *other])), tuple(extra))


def _sentence(path: Path, family: str, what: str, count: int) -> str:
    more = f" (and {count - 1} more keys)" if count > 1 else ""
    return f"{path}: these weights of {family} are not for this architecture: the file {what}{more}"


def _shape(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"


@dataclass(frozen=True, eq=False)
class Finished:
    """A network that has learned, of this project or public.

    Attributes:
        network: what it is.
        model: in evaluation mode; of one that fuses views, what sees a single one.
        shift: whether its flip test moves the mirrored maps by a pixel.
        published: whether it learned crops and maps in the published px, see training/batches.py.
        score: of a public file, as published.
    """

    network: Network
    model: nn.Module
    shift: bool = False
    published: bool = False
    score: str | None = None


def finished(path: Path, zoo: str | None = None) -> Finished:
    """A model file of ours, or a public checkpoint that can be used as it is.

    Args:
        path: of a public file, its folder and name say what it is, as its authors laid them out.
        zoo: `pose_coco/pose_hrnet_w32_256x192.pth`, where folder and name do not; None: they do.

    Raises:
        ValueError: absent; neither ours nor known; or the weights do not fit what the file should be.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; expected a model, or a public checkpoint")
    if _own(path) is not None:
        if zoo is not None:
            raise ValueError(f"--zoo: {path} is a model file of this project, and says itself what it is")
        network, model = build.load(path)
        return Finished(network, build.single_view(model))
    try:
        known = entry(zoo or str(path))
    except ValueError as error:
        raise ValueError(f"{error}{'' if zoo else '; say with --zoo which of these the file is'}") from None
    if known.network is None:
        raise ValueError(f"{path}: weights of ImageNet can only start a training (data.init)")
    model = build.build(known.network)
    load_checkpoint(path, model, style=known.network.style)
    return Finished(known.network, model.eval(), known.shift, True, known.score)


def entry(path: str) -> Entry:
    """The zoo's entry of a file, by the end of its path: `pose_coco/pose_hrnet_w32_256x192.pth`.

    Raises:
        ValueError: there is none.
    """
    tail = "/".join(Path(path).parts[-2:])
    if tail not in ZOO:
        raise ValueError(f"{path}: no published checkpoint has this folder and name; known ones are {', '.join(ZOO)}")
    return ZOO[tail]


def _resnet(name: str, depth: int, size: tuple[int, int], joints: str, preprocessing: str, **more: Any) -> Network:
    block, layers = DEPTHS[depth]
    given = {"width": 64, "deconv_channels": 256, "input_size": size[0], "input_height": size[1], "skeleton": joints}
    return Network(name, block, layers, **given, preprocessing=preprocessing, **more)  # type: ignore[arg-type]


def _zoo() -> dict[str, Entry]:
    found = [Entry(f"imagenet/{name}", None) for name in _IMAGENET]
    for depth, ap in ((50, ("70.4", "72.2")), (101, ("71.4", "73.6")), (152, ("72.0", "74.3"))):
        for size, sigma, score in (((192, 256), 2.0, ap[0]), ((288, 384), 3.0, ap[1])):
            network = _resnet("poseresnet", depth, size, "coco_17", "imagenet_bgr")
            for suffix in ("pth", "pth.tar"):
                path = f"pose_coco/pose_resnet_{depth}_{size[1]}x{size[0]}.{suffix}"
                found.append(Entry(path, network, sigma, score=f"COCO val2017 AP {score}, detected boxes (56.4)"))
    mpii = {50: ("88.532", "89.066"), 101: ("89.131", "90.003"), 152: ("89.620", "90.200")}
    for depth, pckh in mpii.items():
        # the second name says 256x192, of networks that see 256x256
        for name, side, sigma, score in (
            (f"pose_resnet_{depth}_256x256.pth", 256, 2.0, pckh[0]),
            (f"pose_resnet_{depth}_256x192.pth.tar", 256, 2.0, pckh[0]),
            (f"pose_resnet_{depth}_384x384.pth.tar", 384, 3.0, pckh[1]),
        ):
            network = _resnet("poseresnet", depth, (side, side), "mpii_16", "imagenet_bgr")
            found.append(Entry(f"pose_mpii/{name}", network, sigma, score=f"MPII val PCKh@0.5 {score}"))
    for width, ap in ((32, ("74.4", "75.8")), (48, ("75.1", "76.3"))):
        for size, sigma, score in (((192, 256), 2.0, ap[0]), ((288, 384), 3.0, ap[1])):
            path = f"pose_coco/pose_hrnet_w{width}_{size[1]}x{size[0]}.pth"
            text = f"COCO val2017 AP {score}, detected boxes (56.4)"
            found.append(Entry(path, _hrnet(width, size, "coco_17"), sigma, shift=True, score=text))
        text_or_none = "MPII val PCKh@0.5 90.3" if width == 32 else None
        path = f"pose_mpii/pose_hrnet_w{width}_256x256.pth"
        found.append(Entry(path, _hrnet(width, (256, 256), "mpii_16"), 2.0, shift=True, score=text_or_none))
    for name in ("mrheat1", "mrheat2", "mrfea1", "mrfea2"):
        for depth in (50, 101, 152):
            for folder, size, joints in (("coco", (192, 256), "coco_17"), ("mpii", (256, 256), "mpii_16")):
                if folder == "coco" and depth != 50 and name != "mrfea2":
                    continue
                path = f"mr_pose_{folder}/{name}_pose_resnet_{depth}_256x192.pth.tar"
                found.append(Entry(path, _resnet(name, depth, size, joints, "imagenet_bgr"), 2.0))
    for part in ("train", "trainval"):
        network = _resnet("integral", 152, (288, 384), "h36m_18", "imagenet_rgb", depth_bins=72)
        path = f"integral/model_chall_{part}_152ft_384x288.pth.tar"
        found.append(Entry(path, network))  # scores are published, but not which of them is this file's
    return {each.path: each for each in found}


def _hrnet(width: int, size: tuple[int, int], joints: str) -> Network:
    block, layers = DEPTHS[50]  # not used by HRNet
    sizes = {"deconv_channels": 256, "input_size": size[0], "skeleton": joints, "input_height": size[1]}
    return Network("hrnet", block, layers, width, **sizes, preprocessing="imagenet_rgb")  # type: ignore[arg-type]


_IMAGENET = (
    "resnet18-5c106cde.pth",
    "resnet34-333f7ec4.pth",
    "resnet50-19c8e357.pth",
    "resnet101-5d3b4d8f.pth",
    "resnet152-b121ed2d.pth",
    "resnet50-caffe.pth.tar",
    "resnet101-caffe.pth.tar",
    "resnet152-caffe.pth.tar",
    "hrnet_w32-36af842e.pth",
    "hrnet_w48-8ef0771d.pth",
    "mobilenet_v2.pth.tar",
    "mobilenet_v2-b0353104.pth",
)
ZOO = _zoo()
