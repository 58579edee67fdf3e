"""Code: one small text per stage with a digest of everything of ours that the stage runs.

The other stages depend on their text, not on source files, so an edit reruns what runs the edited code and nothing else.
`git diff code/` shows which files made a stage run again. Comments, docstrings and layout do not count.
"""

from pathlib import Path

from pipeline import cli, code
from pipeline.files import atomic


def main(*, out: Path) -> None:
    """Write the texts.

    Args:
        out: the folder of the texts, `<stage>.txt`.
    """
    texts = {source.stem: code.text(source) for source in code.stages()}
    out.mkdir(parents=True, exist_ok=True)
    for stale in set(out.glob("*.txt")) - {out / f"{stage}.txt" for stage in texts}:
        stale.unlink()
    for stage, text in texts.items():
        atomic.write_text(out / f"{stage}.txt", text)
    print(f"{out}: digests of the code of {len(texts)} stages")


if __name__ == "__main__":
    cli.run(main)
