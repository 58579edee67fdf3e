"""Read a section of params.yaml into a stage's frozen dataclass. Keys are strict, and every mistake gets one sentence."""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MinLen, Unit

Section = TypeVar("Section")

# Old key -> the key that has its meaning now, both dotted; a whole section may stand here as well.
RENAMED: dict[str, str] = {
    "check_rig.most_shift": "check_rig.max_offset_frames",
    "rpsm.space_mm": "rpsm.cube_mm",
    "rpsm.first_bins": "rpsm.coarse_bins",
    "rpsm.next_bins": "rpsm.refine_bins",
    "rpsm.depth": "rpsm.refine_steps",
    "rpsm.floor": "rpsm.min_heat",
    "rpsm.semantics": "rpsm.variant",
    "smooth.longest_gap_s": "smooth.max_gap_s",
    "verdict.least_frames": "verdict.min_frames",
    "verdict.loss": "verdict.max_regression",
    "verdict.level": "verdict.confidence_level",
    "evaluate_2d.least_joint_score": "evaluate_2d.min_joint_score",
    "evaluate_2d.occlusion.swapped_axes": "evaluate_2d.occlusion.published_axis_bug",
    "evaluate_2d.shift": "evaluate_2d.shift_flipped",
    "evaluate_2d.suppression": "evaluate_2d.oks_nms_threshold",
    "report.picture_px": "report.image_px",
    "pretrain.schedule.warm_up": "training.schedule.warmup_fraction",
    "pretrain.schedule.average": "pretrain.schedule.ema_decay",
    "pretrain.schedule.decay": "training.schedule.lr_schedule",
    "pretrain.schedule.accumulate": "training.schedule.accumulation_steps",
    "pretrain.loss.foreground": "training.loss.foreground_weight",
    "pretrain.loss.hard_joints": "training.loss.ohkm_top_k",
    "pretrain.augment.rotation": "training.augment.rotation_std_deg",
    "pretrain.augment.turned": "training.augment.rotation_prob",
    "pretrain.augment.scale": "training.augment.scale_std",
    "pretrain.augment.flip": "training.augment.flip_prob",
    "pretrain.augment.occlusion.forget": "training.augment.occlusion.unlabel_hidden",
    "pretrain.augment.occlusion.swapped_axes": "training.augment.occlusion.published_axis_bug",
    "retrain.schedule.warm_up": "training.schedule.warmup_fraction",
    "retrain.schedule.average": "retrain.schedule.ema_decay",
    "retrain.schedule.decay": "training.schedule.lr_schedule",
    "retrain.schedule.accumulate": "training.schedule.accumulation_steps",
    "retrain.loss.foreground": "training.loss.foreground_weight",
    "retrain.loss.hard_joints": "training.loss.ohkm_top_k",
    "retrain.augment.rotation": "training.augment.rotation_std_deg",
    "retrain.augment.turned": "training.augment.rotation_prob",
    "retrain.augment.scale": "training.augment.scale_std",
    "retrain.augment.flip": "training.augment.flip_prob",
    "retrain.augment.occlusion.forget": "training.augment.occlusion.unlabel_hidden",
    "retrain.augment.occlusion.swapped_axes": "training.augment.occlusion.published_axis_bug",
    "retrain.target_share": "retrain.target_fraction",
    "source": "source_cache",
    "synthesize.gap": "synthesize.domain_gap",
    "synthesize.look.dull": "synthesize.look.clothing_dullness",
    "synthesize.trouble": "synthesize.corruptions",
    "target.units": "target.rig.units",
    "target.extrinsics": "target.rig.extrinsics",
    "target.up": "target.rig.up",
    "target.lens": "target.rig.lens",
    "target.frame_rates": "target.rig.frame_rates",
    "target.first_frame": "target.rig.first_frame",
    "target.last_frame": "target.rig.last_frame",
    "target.test_sequences": "target.rig.test_sequences",
    "target.test_last_frames": "target.rig.test_last_frames",
    "target.stride": "target.rig.frame_stride",
    "target.offsets": "target.rig.start_offsets",
    "target.offsets_in": "target.rig.start_offsets_in",
    "target.numbering": "target.rig.frame_matching",
    "target.detector": "target.detections_format",
    "target.truth_boxes_allowed": "target.h36m.truth_boxes_allowed",
}


def read(path: Path = Path("params.yaml")) -> dict[str, Any]:
    """Return the whole file as plain dicts, lists, texts and numbers.

    The file is YAML 1.2: `-S retrain.learning_rate=1e-5` writes `1e-05`, which is a float there and text in YAML 1.1.
    """
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; params are read from params.yaml") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"{path}: expected sections (a mapping), got {type(loaded).__name__}")
    return loaded


def load(section: type[Section], path: Path = Path("params.yaml"), name: str | None = None) -> Section:
    """Read one section of a params file into its dataclass.

    Args:
        section: a frozen dataclass; its fields are the section's keys, nested dataclasses are nested sections.
        path: the params file.
        name: the section's name, dotted for a nested one; by default the class's name in snake case.

    Raises:
        ValueError: a sentence that names the key, what was expected and what came.
    """
    name = name or snake(section.__name__)
    values = read(path)
    for old, new in RENAMED.items():
        if new == name and _has(values, old):
            raise ValueError(_renamed(old, new))
    if not _has(values, name):
        raise ValueError(f"{path}: the section '{name}' is missing")
    return select(section, values, name)


def select(section: type[Section], values: Mapping[str, Any], name: str) -> Section:
    """Return one section out of the values of a whole params file.

    A dataclass may name another section that it shares keys with, in its attribute `shared_section`: keys that its own section
    lacks are those of the shared one.
    """
    own: Any = values
    for part in name.split("."):
        own = own[part]
    shared_name = getattr(section, "shared_section", None)
    shared = values.get(shared_name) if shared_name else None
    if not (isinstance(shared, Mapping) and isinstance(own, Mapping)):
        return build(section, own, name)
    try:
        return build(section, _merged(shared, own), name)
    except ValueError as error:
        key, _, rest = str(error).partition(":")
        relative = key.removeprefix(f"{name}.")
        parameter = relative.split("[")[0]  # "milestones" of "milestones[0]"
        if _has(shared, parameter) and not _has(own, parameter):
            raise ValueError(f"{shared_name}.{relative}:{rest}") from None
        raise


def _merged(shared: Any, own: Any) -> Any:
    if not (isinstance(shared, Mapping) and isinstance(own, Mapping)):
        return own
    return {**shared, **{key: _merged(shared.get(key), value) for key, value in own.items()}}


def build(section: type[Section], values: Any, name: str) -> Section:
    """Make a dataclass from plain values: no unknown key, no missing key, no silent conversion but int to float.

    A field may bound its values: `Annotated[float, Ge(0), Lt(1)]`, `Annotated[int, Ge(1)] | None`. Beside the bounds,
    `Unit("px")` puts a unit into the sentence that refuses a value, and a text says why instead of naming the bounds.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{name}: expected a section with keys, got {values!r}")
    fields = {field.name: field for field in dataclasses.fields(section)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in values if key not in fields)
    for key in unknown:
        if new := _new_name(f"{name}.{key}"):
            raise ValueError(_renamed(f"{name}.{key}", new))
    if unknown:
        raise ValueError(f"{name}.{unknown[0]}: no such parameter; known ones are {', '.join(sorted(fields))}")
    has_default = {
        key
        for key, field in fields.items()
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    }
    missing = sorted(key for key in fields if key not in values and key not in has_default)
    if missing:
        raise ValueError(f"{name}.{missing[0]}: missing; the section needs {', '.join(sorted(fields))}")
    hints = typing.get_type_hints(section, include_extras=True)
    return section(**{key: _convert(value, hints[key], f"{name}.{key}") for key, value in values.items()})


def _convert(value: Any, hint: Any, name: str, nullable: bool = False) -> Any:
    """Return the value as what the annotation `hint` asks for; `nullable` tells a refusal that null is accepted, too."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is typing.Annotated:
        converted = _convert(value, arguments[0], name, nullable)
        _check(converted, arguments[1:], name, nullable or type(None) in typing.get_args(arguments[0]))
        return converted
    if origin in (typing.Union, types.UnionType):
        nullable = type(None) in arguments
        if value is None and nullable:
            return None
        choices = [choice for choice in arguments if choice is not type(None)]
        for choice in choices[:-1]:
            try:
                return _convert(value, choice, name, nullable)
            except ValueError:
                continue
        return _convert(value, choices[-1], name, nullable)
    if origin is typing.Literal:
        # Compare types too: True == 1, and 1 is not a truth value.
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise ValueError(f"{name}: expected one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{name}: expected a list, got {value!r}")
        items = arguments[:1] * len(value) if len(arguments) == 2 and arguments[1] is Ellipsis else arguments
        if len(items) != len(value):
            raise ValueError(f"{name}: expected {len(items)} values, got {len(value)}")
        return tuple(_convert(v, item, f"{name}[{i}]") for i, (v, item) in enumerate(zip(value, items, strict=True)))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{name}: expected a section with keys, got {value!r}")
        return {str(k): _convert(v, arguments[1], f"{name}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, name)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ValueError(f"{name}: expected a finite number, got {value}")
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint in (bool, str) and isinstance(value, hint):
        return value
    expected = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}.get(hint, str(hint))
    raise ValueError(f"{name}: expected {expected}, got {value!r}")


def _check(value: Any, metadata: Iterable[Any], name: str, nullable: bool) -> None:
    """Refuse a value outside of the bounds that stand beside its type."""
    if value is None:
        return
    bounds, unit, reason = [], "", ""
    for each in _flat(metadata):
        match each:
            case Unit(text):
                unit = f" {text}"
            case str():
                reason = each
            case _:
                bounds.append(each)
    if all(_holds(value, bound) for bound in bounds):
        return
    expected = reason or f"expected {_range(bounds)}{unit}{', or null' if nullable else ''}"
    raise ValueError(f"{name}: {expected}, got {list(value) if isinstance(value, tuple) else value}")


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for each in metadata:
        yield from each if isinstance(each, GroupedMetadata) else (each,)


def _holds(value: Any, bound: Any) -> bool:
    match bound:
        case Ge():
            return bool(value >= bound.ge)
        case Gt():
            return bool(value > bound.gt)
        case Le():
            return bool(value <= bound.le)
        case Lt():
            return bool(value < bound.lt)
        case MinLen():
            return len(value) >= bound.min_length
    raise TypeError(f"expected Ge, Gt, Le, Lt, Interval, MinLen, Unit or a text beside a type, got {bound!r}")


def _range(bounds: list[Any]) -> str:
    """Name the bounds in words: "0 to 4", "0 or more and less than 1", "more than 0"."""
    match bounds:
        case [Ge(low), Le(high)]:
            return f"{low} to {high}"
    return " and ".join(_words(bound) for bound in bounds)


def _words(bound: Any) -> str:
    match bound:
        case Ge():
            return "0 or more" if bound.ge == 0 else f"at least {bound.ge}"
        case Gt():
            return f"more than {bound.gt}"
        case Le():
            return f"at most {bound.le}"
        case Lt():
            return f"less than {bound.lt}"
    return f"a list of at least {bound.min_length}"


def _has(values: Any, name: str) -> bool:
    for part in name.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _new_name(old: str) -> str | None:
    """Return what a key is called now, None if it was not renamed; a round's own settings follow those of the section."""
    prefix = match[0] if (match := re.match(r"rounds\.\w+\.", old)) else ""
    new = RENAMED.get(old.removeprefix(prefix))
    return None if new is None else prefix + new


def _renamed(old: str, new: str) -> str:
    return f"`{old}` is called `{new}` now"


def snake(name: str) -> str:
    """Return a class name as the section that it is read from: CheckRig -> check_rig."""
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader with the scalars of YAML 1.2; a mapping has a key once."""

    yaml_implicit_resolvers: typing.ClassVar[dict[Any, Any]] = {}  # without those of YAML 1.1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key.value}' stands twice", key.start_mark
                    )
                seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def _int(loader: Any, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _float(loader: Any, node: yaml.ScalarNode) -> float:
    return float(re.sub(r"\.(?=inf|nan)|_", "", loader.construct_scalar(node).lower()))


for _tag, _first, _pattern in (
    ("null", ["~", "n", "N", ""], r"~|null|Null|NULL|"),
    ("bool", list("tTfF"), r"true|True|TRUE|false|False|FALSE"),
    ("int", list("-+0123456789"), r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+"),
    ("float", list("-+.0123456789"), r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?"),
    ("float", list("-+."), r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
    ("merge", ["<"], r"<<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)
