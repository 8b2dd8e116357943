"""Which Pythons a wheel's tags serve, and which NumPy its requirements leave them."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from packaging.requirements import Requirement
from packaging.specifiers import Specifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name

from repack.wheel.metadata import parse_requirement, select_requirements

#: Python 3.8 dropped the "m" from its ABI tag (PEP 3149).
_FIRST_WITHOUT_M = 8
#: Python 3.x -> the first NumPy that has a wheel for it; later Pythons have no earlier one.
_FIRST_NUMPY = {9: "1.19.3", 10: "1.21.2", 11: "1.23.2", 12: "1.26.0", 13: "2.1.0", 14: "2.3.2"}
#: The Pythons 3.x for which there is a NumPy 2, and those to come.
_PYTHONS_OF_NUMPY_2 = range(9, 20)


def minor_of(python: str) -> int:
    """Return 12 for "3.12", and 14 for "3.14t"."""
    return int(python.removeprefix("3.").removesuffix("t"))


def tag_of(python: str, platform: str) -> Tag:
    """Return the tag of a wheel for one Python alone: cp312-cp312, cp314-cp314t, cp37-cp37m."""
    minor = minor_of(python)
    flag = "t" if python.endswith("t") else "m" if minor < _FIRST_WITHOUT_M else ""
    return Tag(f"cp3{minor}", f"cp3{minor}{flag}", platform)


def supported_tags(python: str, platforms: Sequence[str]) -> list[Tag]:
    """Return the tags of the wheels that a Python takes, the one it prefers first."""
    version, own = (3, minor_of(python)), tag_of(python, "")
    return [
        *cpython_tags(version, abis=[own.abi], platforms=platforms),
        *compatible_tags(version, interpreter=own.interpreter, platforms=platforms),
    ]


def serves(tags: Collection[Tag], python: str) -> bool:
    """Return whether a Python takes a wheel with these tags."""
    supported = supported_tags(python, sorted({tag.platform for tag in tags}))
    return any(tag in supported for tag in tags)


def python_dlls(tag: Tag) -> frozenset[str]:
    """Return the DLLs of Python's that a module with that tag may be linked to."""
    threads = "t" if tag.abi.endswith("t") else ""
    names = {f"python3{threads}.dll"}
    if not tag.abi.startswith("abi3"):
        names.add(f"python{tag.interpreter[2:]}{threads}.dll")
    return frozenset(names)


def is_numpy(line: str) -> bool:
    """Return whether a Requires-Dist line is for NumPy."""
    requirement = parse_requirement(line)
    return requirement is not None and canonicalize_name(requirement.name) == "numpy"


def correct_requirements(requires: Iterable[str], abi: str) -> tuple[str, ...]:
    """Return the Requires-Dist lines as a binary needs them that is built for NumPy's `abi`.

    One built for NumPy 1 does not import with NumPy 2. One built for NumPy 2 imports with all that
    came after it: where an upper bound leaves a Python without any NumPy, it goes. It goes for
    every Python: PDM takes one NumPy for all, and finds none where two lines have none in common.
    """
    lines = [_lift_bounds(line) if abi == "2" else line for line in requires]
    if abi == "2" and not any(map(is_numpy, lines)):
        lines.append("numpy")
    if abi == "1" and any(lets_in_numpy_2(lines, f"3.{minor}") for minor in _PYTHONS_OF_NUMPY_2):
        lines.append("numpy<2")
    return tuple(lines)


def lets_in_numpy_2(requires: Iterable[str], python: str) -> bool:
    """Return whether the Requires-Dist lines let in a NumPy 2, where that Python has one."""
    below = any(True for line in requires for _ in _bounds_below("2.0.0", line, python))
    return minor_of(python) in _PYTHONS_OF_NUMPY_2 and not below


def leaves_no_numpy(line: str, python: str) -> bool:
    """Return whether no NumPy that the line lets in has a wheel for that Python."""
    first = _FIRST_NUMPY.get(min(minor_of(python), max(_FIRST_NUMPY)))
    return first is not None and any(_bounds_below(first, line, python))


def _bounds_below(first: str, line: str, python: str) -> Iterator[Specifier]:
    """Yield the bounds by which a line lets in no NumPy from `first` on, on that Python."""
    from_first_on = SpecifierSet(f">={first}")
    for requirement in select_requirements([line] if is_numpy(line) else [], python):
        for bound in requirement.specifier:
            if (SpecifierSet([bound]) & from_first_on).is_unsatisfiable():
                yield bound


def _lift_bounds(line: str) -> str:
    """Return the line without the bounds that leave a Python without any NumPy."""
    excluding = [
        bound
        for minor, first in _FIRST_NUMPY.items()
        for bound in _bounds_below(first, line, f"3.{minor}")
    ]
    if not excluding:
        return line
    requirement = Requirement(line)
    kept = [str(bound) for bound in requirement.specifier if bound not in excluding]
    requirement.specifier = SpecifierSet(",".join(kept))
    return str(requirement)
