"""Data that neither git nor the graph has, and its place as a temporary folder of DVC sees it.

`dvc exp run --temp` and `--queue` run in a copy of what git tracks, in a folder of their own. `data/raw`, `models/` and
`../shared` are not there, and DVC looks for a stage's dependencies itself, so no stage can put that right. The rule: a
relative path of params.yaml is meant from the checkout that the run is started from. `absolute_paths` applies it: what it
returns is for that run alone (`tools.preset --temp`), and is never written into the checkout's params.yaml or dvc.lock.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import params


def absolute_paths(values: Mapping[str, Any], checkout: Path) -> dict[str, Any]:
    """Return the data paths of params that a temporary folder lacks, absolute, in the form of params.yaml.

    Args:
        values: of params.yaml: the section `data`, and `sources.<name>.path`.
        checkout: the root of the repository, with its dvc.yaml.

    Returns:
        `data` and `sources` with those paths alone. Paths that git tracks, that a stage makes, that are absolute or that do
        not exist are left out.
    """
    made = _outputs(checkout)

    def place(path: Any) -> str | None:
        if not isinstance(path, str) or Path(path).is_absolute() or not (checkout / path).exists():
            return None
        normal = os.path.normpath(path)
        if any(normal == out or normal.startswith(f"{out}/") for out in made) or _in_git(normal, checkout):
            return None
        return os.path.normpath(checkout.absolute() / path)  # links stay: a link to another disk may be moved

    data = {key: there for key, path in values.get("data", {}).items() if (there := place(path))}
    sources = {
        name: {"path": there} for name, each in values.get("sources", {}).items() if (there := place(each.get("path")))
    }
    return ({"data": data} if data else {}) | ({"sources": sources} if sources else {})


def _outputs(checkout: Path) -> list[str]:
    """Return the paths that stages make, those with a template left out."""
    found = []
    for stage in params.read(checkout / "dvc.yaml")["stages"].values():
        for entry in stage.get("do", stage).get("outs", []):
            path = entry if isinstance(entry, str) else next(iter(entry))
            found += [os.path.normpath(path)] if "$" not in path else []
    return found


def _in_git(path: str, checkout: Path) -> bool:
    if path.startswith(".."):
        return False
    listed = subprocess.run(["git", "ls-files", "--", path], cwd=checkout, capture_output=True, text=True, check=False)
    return bool(listed.stdout)
