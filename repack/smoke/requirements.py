"""What has to be installed beside a wheel before it can be imported."""

import email
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from repack.errors import FetchError
from repack.fetch import Fetched
from repack.fetch.supply import Supply
from repack.wheel import select_requirements

#: Codes of the errors that tell what an index does not have.
_NOT_THERE = {"no-such-version", "conflict"}


def requirements_for(requires: Iterable[str], python: str, *, numpy_abi: str | None) -> list[str]:
    """Return the index requirements of a wheel with these Requires-Dist lines on `python`.

    NumPy is always among them, since cv2 imports it; and it is never one that the ABI, which
    the binary was built for, rules out ("1", "2" or None for not known).
    """
    specifiers: dict[str, set[str]] = {"numpy": {"<2"} if numpy_abi == "1" else set()}
    for requirement in select_requirements(requires, python):
        name = canonicalize_name(requirement.name)
        specifiers.setdefault(name, set()).update(filter(None, [str(requirement.specifier)]))
    return [f"{name}{','.join(sorted(specifiers[name]))}" for name in sorted(specifiers)]


def fetch_requirements(
    requirements: Sequence[str], python: str, supply: Supply
) -> Iterator[Fetched]:
    """Yield the wheels for `requirements`; raises FetchError where one cannot be had.

    NVIDIA's wheels require others of theirs in their turn.
    """
    waiting = list(requirements)
    names: set[str] = set()
    for requirement in waiting:
        name = canonicalize_name(Requirement(requirement).name)
        if name in names:
            continue
        names.add(name)
        wheel = supply.wheel(requirement, python)
        yield wheel
        if name.startswith("nvidia-"):
            with zipfile.ZipFile(wheel.path) as archive:
                (member,) = [path for path in archive.namelist() if path.endswith("/METADATA")]
                metadata = email.message_from_bytes(archive.read(member))
            lines = select_requirements(metadata.get_all("Requires-Dist", []), python)
            waiting += [f"{line.name}{line.specifier}" for line in lines]


def find_missing(requirements: Mapping[str, Sequence[str]], supply: Supply) -> dict[str, str]:
    """Return the Pythons for which the index lacks what is required on them, with the reason.

    An index that cannot be asked tells nothing here: the trial says so.
    """
    missing: dict[str, str] = {}
    for python, lines in requirements.items():
        for requirement in lines:
            try:
                supply.wheel(requirement, python)
            except FetchError as error:
                if error.code not in _NOT_THERE:
                    return missing
                missing[python] = f"it requires {requirement}, and {error.what}"
                break
    return missing
