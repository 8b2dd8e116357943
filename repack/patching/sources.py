"""Python files as bytes and as trees."""

import ast
import warnings

from repack.errors import PatchError


def parse(content: bytes) -> ast.Module:
    """Return the tree of a Python file, in the encoding that it declares.

    PatchError names the line that the running Python cannot read.
    """
    try:
        with warnings.catch_warnings():
            # An invalid escape in somebody else's config.py does not concern our caller.
            warnings.simplefilter("ignore")
            return ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        reason = getattr(error, "msg", error)
        raise PatchError(
            f"{f'line {line} is' if line else 'is'} not Python that can be read: {reason}",
            code="syntax",
            hint="correct the line, or take the file from where it was published",
        ) from error
