"""Families of public checkpoints: how a file is recognised, and how its keys become those of the networks here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn


@dataclass(frozen=True)
class Family:
    """How files of one kind are recognised, and how their keys are renamed.

    Attributes:
        sign: a pattern of a key that each of these files has, and no file of the families above it in the table.
        fits: classes of networks that may be loaded from it.
        renames: (pattern, replacement), all applied in turn.
        extra: patterns of keys that the file may have and the network lacks.
    """

    sign: str
    fits: tuple[str, ...]
    renames: tuple[tuple[str, str], ...] = ()
    extra: tuple[str, ...] = ()


# The first family whose sign a file has is the file's.
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
            # torchvision nests each convolution with its norm
            (r"(features\.1\.conv)\.1\.(weight)$", r"\1.3.\2"),
            (r"(features\.1\.conv)\.2\.", r"\1.4."),
            (r"(features\.1\.conv)\.0\.([01])\.", r"\1.\2."),
            (r"(features\.(?!1\.)\d+\.conv)\.3\.", r"\1.7."),
            (r"(features\.(?!1\.)\d+\.conv)\.2\.", r"\1.6."),
            (r"(features\.(?!1\.)\d+\.conv)\.1\.0\.", r"\1.3."),
            (r"(features\.(?!1\.)\d+\.conv)\.1\.1\.", r"\1.4."),
            (r"(features\.(?!1\.)\d+\.conv)\.0\.([01])\.", r"\1.\2."),
        ),
        (r"mobilenetv2\.features\.18\..*", r"(mobilenetv2\.)?conv\..*", r"(mobilenetv2\.)?classifier\..*"),
    ),
    "PoseResNet": Family(r"deconv_layers\.0\.weight", ("PoseResNet", "MRHeatNet")),
    "ResNet (ImageNet)": Family(
        r"layer4\.0\.conv1\.weight",
        ("PoseResNet", "MRHeatNet", "MRFeaNet", "IntegralPose", "DirectPose", "KinematicPose"),
        (),
        (r"fc\.(weight|bias)",),
    ),
}
# Keys that may stay as initialised when a file starts a training.
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
# The layers whose outputs are one map, or three numbers, per joint.
LAST_LAYERS = r"(.*\.)?(final_layer|score_?\.\d+|head\.fc|s_(conv|deconv)\d+(\.\d+)?)\.\w+"


def family_of(path: Path, state: dict[str, torch.Tensor]) -> str:
    """Return the name of a file's family.

    Raises:
        ValueError: the weights are of no known network.
    """
    for name, family in FAMILIES.items():
        if any(re.fullmatch(family.sign, key) for key in state):
            return name
    raise ValueError(f"{path}: weights of no known network; its keys begin {', '.join(list(state)[:3])}")


def check_style(path: Path, model: nn.Module, style: str | None) -> None:
    """Refuse a file whose bottlenecks stride in another convolution than the network's."""
    trunk = next((module for module in model.modules() if hasattr(module, "style")), None)
    if trunk is None or "Bottleneck" not in {type(module).__name__ for module in trunk.modules()}:
        return
    style = style or ("caffe" if "caffe" in path.name else "pytorch")
    if style != trunk.style:
        raise ValueError(
            f"{path}: its bottlenecks stride as in {style}, the network's as in {trunk.style}: all shapes fit, and the "
            f"results would be wrong; set network.style to {style}, or name the file's style if its name misleads"
        )


def rename(path: Path, state: dict[str, torch.Tensor], rules: Sequence[tuple[str, str]]) -> dict[str, torch.Tensor]:
    """Return the tensors by their new keys. MobileNetV2's two layouts share names: its rules are for the nested one."""
    nested = any(re.search(r"features\.1\.conv\.0\.0\.weight$", key) for key in state)
    renamed: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        name = key
        for pattern, replacement in rules:
            if r"\.conv)" in pattern:
                if not nested:
                    continue
                changed = re.sub(pattern, replacement, name)
                if changed != name:
                    name = changed
                    break
            name = re.sub(pattern, replacement, name)
        if name in renamed:
            raise ValueError(f"{path}: {key} and another key both mean {name}")
        renamed[name] = value
    return renamed
