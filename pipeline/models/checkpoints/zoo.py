"""The zoo: public checkpoints, and the properties of each besides its weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.models import build
from pipeline.models.build import Network
from pipeline.models.checkpoints.load import load_checkpoint, read_own_model
from pipeline.models.network import PoseNetwork
from pipeline.models.resnet import DEPTHS


@dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """A public file.

    Attributes:
        path: as its authors lay it out, under their `models/pytorch`.
        network: its architecture, input size, joint order and preprocessing; None if it only starts a training.
        sigma: heatmap px, of the Gaussians that it learned.
        shift: whether the flip test of its published score moves the mirrored maps one pixel to the right.
        score: as published, with its measure; None if none is.
    """

    path: str
    network: Network | None
    sigma: float | None = None
    shift: bool = False
    score: str | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedModel:
    """A trained network, of this project or public.

    Attributes:
        network: its architecture.
        model: in evaluation mode; of a network that fuses views, the network of a single view.
        shift: whether its flip test moves the mirrored maps by a pixel.
        published: whether it learned crops and maps in the published px, see training/batches.py.
        score: of a public file, as published.
    """

    network: Network
    model: PoseNetwork
    shift: bool = False
    published: bool = False
    score: str | None = None


def load_model(path: Path, zoo: str | None = None) -> LoadedModel:
    """Return the network of a model file of this project, or of a public checkpoint that can be used as it is.

    Args:
        path: a public file is recognised by its folder and name, as its authors laid them out.
        zoo: `pose_coco/pose_hrnet_w32_256x192.pth`, for a public file with another folder or name.

    Raises:
        ValueError: the file is absent, unknown, or has weights that do not fit.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; expected a model, or a public checkpoint")
    if read_own_model(path) is not None:
        if zoo is not None:
            raise ValueError(f"--zoo: {path} is a model file of this project, and says itself what it is")
        network, model = build.load(path)
        return LoadedModel(network=network, model=model.single_view)
    try:
        known = zoo_entry(zoo or str(path))
    except ValueError as error:
        raise ValueError(f"{error}{'' if zoo else '; say with --zoo which of these the file is'}") from None
    if known.network is None:
        raise ValueError(f"{path}: weights of ImageNet can only start a training (data.init)")
    model = build.build(known.network)
    load_checkpoint(path, model, style=known.network.style)
    return LoadedModel(network=known.network, model=model.eval(), shift=known.shift, published=True, score=known.score)


def zoo_entry(path: str) -> ZooEntry:
    """Return the zoo's entry of a file, by the end of its path: `pose_coco/pose_hrnet_w32_256x192.pth`.

    Raises:
        ValueError: there is none.
    """
    tail = "/".join(Path(path).parts[-2:])
    if tail not in ZOO:
        raise ValueError(f"{path}: no published checkpoint has this folder and name; known ones are {', '.join(ZOO)}")
    return ZOO[tail]


def _resnet(name: Any, depth: int, size: tuple[int, int], joints: str, preprocessing: Any, **more: Any) -> Network:
    block, layers = DEPTHS[depth]
    return Network(
        name=name,
        block=block,  # type: ignore[arg-type]
        layers=layers,
        width=64,
        deconv_channels=256,
        input_size=size[0],
        input_height=size[1],
        skeleton=joints,
        preprocessing=preprocessing,
        **more,
    )


def _zoo() -> dict[str, ZooEntry]:
    entries = [ZooEntry(path=f"imagenet/{name}", network=None) for name in _IMAGENET]
    for depth, ap in ((50, ("70.4", "72.2")), (101, ("71.4", "73.6")), (152, ("72.0", "74.3"))):
        for size, sigma, score in (((192, 256), 2.0, ap[0]), ((288, 384), 3.0, ap[1])):
            network = _resnet("poseresnet", depth, size, "coco_17", "imagenet_bgr")
            for suffix in ("pth", "pth.tar"):
                path = f"pose_coco/pose_resnet_{depth}_{size[1]}x{size[0]}.{suffix}"
                entries.append(
                    ZooEntry(
                        path=path, network=network, sigma=sigma, score=f"COCO val2017 AP {score}, detected boxes (56.4)"
                    )
                )
    mpii = {50: ("88.532", "89.066"), 101: ("89.131", "90.003"), 152: ("89.620", "90.200")}
    for depth, pckh in mpii.items():
        # the second name contains 256x192, but its networks have inputs of 256x256
        for name, side, sigma, score in (
            (f"pose_resnet_{depth}_256x256.pth", 256, 2.0, pckh[0]),
            (f"pose_resnet_{depth}_256x192.pth.tar", 256, 2.0, pckh[0]),
            (f"pose_resnet_{depth}_384x384.pth.tar", 384, 3.0, pckh[1]),
        ):
            network = _resnet("poseresnet", depth, (side, side), "mpii_16", "imagenet_bgr")
            entries.append(
                ZooEntry(path=f"pose_mpii/{name}", network=network, sigma=sigma, score=f"MPII val PCKh@0.5 {score}")
            )
    for width, ap in ((32, ("74.4", "75.8")), (48, ("75.1", "76.3"))):
        for size, sigma, score in (((192, 256), 2.0, ap[0]), ((288, 384), 3.0, ap[1])):
            path = f"pose_coco/pose_hrnet_w{width}_{size[1]}x{size[0]}.pth"
            text = f"COCO val2017 AP {score}, detected boxes (56.4)"
            entries.append(
                ZooEntry(path=path, network=_hrnet(width, size, "coco_17"), sigma=sigma, shift=True, score=text)
            )
        text_or_none = "MPII val PCKh@0.5 90.3" if width == 32 else None
        path = f"pose_mpii/pose_hrnet_w{width}_256x256.pth"
        network = _hrnet(width, (256, 256), "mpii_16")
        entries.append(ZooEntry(path=path, network=network, sigma=2.0, shift=True, score=text_or_none))
    for name in ("mrheat1", "mrheat2", "mrfea1", "mrfea2"):
        for depth in (50, 101, 152):
            for folder, size, joints in (("coco", (192, 256), "coco_17"), ("mpii", (256, 256), "mpii_16")):
                if folder == "coco" and depth != 50 and name != "mrfea2":
                    continue
                path = f"mr_pose_{folder}/{name}_pose_resnet_{depth}_256x192.pth.tar"
                network = _resnet(name, depth, size, joints, "imagenet_bgr")
                entries.append(ZooEntry(path=path, network=network, sigma=2.0))
    for part in ("train", "trainval"):
        network = _resnet("integral", 152, (288, 384), "h36m_18", "imagenet_rgb", depth_bins=72)
        path = f"integral/model_chall_{part}_152ft_384x288.pth.tar"
        entries.append(
            ZooEntry(path=path, network=network)
        )  # scores are published, but none with the name of this file
    return {each.path: each for each in entries}


def _hrnet(width: int, size: tuple[int, int], joints: str) -> Network:
    block, layers = DEPTHS[50]  # not used by HRNet
    return Network(
        name="hrnet",
        block=block,  # type: ignore[arg-type]
        layers=layers,
        width=width,
        deconv_channels=256,
        input_size=size[0],
        input_height=size[1],
        skeleton=joints,
        preprocessing="imagenet_rgb",
    )


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
