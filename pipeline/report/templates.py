"""The report's templates: everything that they print is escaped, and equal values give equal text."""

import functools
import typing
from pathlib import Path

if typing.TYPE_CHECKING:
    import jinja2


@functools.cache
def environment() -> "jinja2.Environment":
    """Return the environment of this folder's templates; an undefined name is an error.

    Jinja2 is imported here, because it takes 0.2 s and only rendering needs it.
    """
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "sort_keys": True}
    return made
