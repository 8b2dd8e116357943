"""The genuine loaders of OpenCV, and what is made of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from machines import BUILD

from repack.patching import patch_wheel

DATA = Path(__file__).with_name("data")
#: Each text that cv2/__init__.py has had on the index, by the first release seen with it.
LOADERS = {path.stem: path.read_bytes() for path in sorted(DATA.glob("loaders/*.txt"))}
#: The same for the files that it reads, since 3.4.16 and 4.5.4, by release and member.
CONFIGS = {
    folder.name: {f"cv2/{path.stem}": path.read_bytes() for path in sorted(folder.iterdir())}
    for folder in sorted(DATA.glob("configs/*"))
}
INIT = "cv2/__init__.py"


def patch(
    texts: Mapping[str, bytes], folders: Iterable[Path] = ()
) -> tuple[dict[str, bytes], list[str]]:
    """Return what is made of a wheel with these members, whose content is `texts`."""
    members = {*texts, "cv2/cv2.pyd"}
    return patch_wheel(members, texts.__getitem__, BUILD, folders=tuple(folders), file="team.whl")
