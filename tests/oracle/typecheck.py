"""Beartype for what has jaxtyping shapes in its signature: `--jaxtyping-packages=ROOM,...,typecheck.shapes`.

The public doors take anything and say in their own words what they refuse, which a type checker would forestall.
"""

import re

from beartype import BeartypeConf, beartype

SHAPED = re.compile(r"\b(Bool|Complex|Float|Inexact|Integer|Num|Real|Shaped)\[")
#: An int may stand for a float (PEP 484).
CHECKED = beartype(conf=BeartypeConf(is_pep484_tower=True))


def shapes(function):
    named = getattr(function, "__annotations__", {})
    return CHECKED(function) if any(SHAPED.search(str(hint)) for hint in named.values()) else function
