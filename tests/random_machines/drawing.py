r"""Random machines: where CUDA's DLLs lie, what is wrong with them, and what leads to them."""

from dataclasses import dataclass, field
from ntpath import dirname
from random import Random

from machines import PREFIX, SITE
from windowslab import CV2

VENDORED = rf"{SITE}\cv2.libs"
TORCH = rf"{SITE}\torchlike\lib"
PACKAGES = r"C:\packages"
ADDED = r"C:\added"
WORK = r"C:\work"
OVERRIDE, SEARCH_PATH = "OPENCV_CUDA_DLL_DIRS", "OPENCV_CUDA_SEARCH_PATH"
TOOLKITS = r"C:\Program Files\NVIDIA GPU Computing Toolkit\CUDA"
CUDNNS = r"C:\Program Files\NVIDIA\CUDNN"

DRIVER = "nvcuda.dll"
#: Family -> its files.
FAMILIES = {
    "cublas": ("cublasLt64_12.dll", "cublas64_12.dll"),
    "cudart": ("cudart64_12.dll",),
    "cudnn": ("cudnn64_9.dll",),
    "npp": ("nppc64_12.dll", "nppif64_12.dll"),
}
#: DLL -> what it imports itself.
IMPORTS = {"cublas64_12.dll": "cublasLt64_12.dll", "nppif64_12.dll": "nppc64_12.dll"}

# Nothing lacks a symbol: Wine, unlike Windows, loads it all the same.
SOUND, X86, CUT_OFF, PARTIAL = "sound", "x86", "cut off", "partial"
#: What is wrong with the files of a family in a directory -> how often.
STATES = {SOUND: 52, PARTIAL: 15, X86: 13, CUT_OFF: 10}

IN_TOOLKIT = ("bin", "bin", r"bin\x64", "", r"Library\bin")
IN_CUDNN = ("bin", r"bin\12.9", r"bin\12.9\x64", r"bin\11.8")
HERE = ("",)
WHEEL, NVIDIA, CONDA = "this wheel", "NVIDIA's wheels", "conda"
DEFAULT, PROGRAM, PATH = "default directory", "folder of the running program", "PATH"
OTHER_MAJOR = "CUDA_PATH_V11_8"
#: In DESIGN.md's order: the place -> what names it, mostly a variable ("" for nothing that counts),
#: and the subfolders that may hold DLLs.
PLACES = {
    r"C:\override": (OVERRIDE, ("", "bin", r"bin\x64")),
    VENDORED: (WHEEL, HERE),
    CV2: (WHEEL, HERE),
    rf"{SITE}\nvidia": (NVIDIA, (r"npp\bin", r"cudnn\bin", r"cu13\bin\x86_64")),
    rf"{PACKAGES}\nvidia": (NVIDIA, (r"cublas\bin", r"npp\bin")),
    rf"{PREFIX}\Library\bin": (CONDA, ("", "x64")),
    rf"{PREFIX}\bin": (CONDA, ("", "x64")),
    r"C:\toolkits\own": ("CUDA_PATH_V12_9", IN_TOOLKIT),
    r"C:\toolkits\path": ("CUDA_PATH", IN_TOOLKIT),
    r"C:\toolkits\home": ("CUDA_HOME", IN_TOOLKIT),
    r"C:\toolkits\12.4": ("CUDA_PATH_V12_4", IN_TOOLKIT),
    r"C:\toolkits\11.8": (OTHER_MAJOR, IN_TOOLKIT),
    r"C:\toolkits\cudnn": ("CUDNN_PATH", IN_CUDNN),
    rf"{TOOLKITS}\v12.9": (DEFAULT, ("bin", r"bin\x64")),
    rf"{TOOLKITS}\v12.4": (DEFAULT, ("bin",)),
    rf"{TOOLKITS}\v11.8": ("", ("bin",)),
    rf"{CUDNNS}\v9.5": (DEFAULT, IN_CUDNN),
    PREFIX: (PROGRAM, HERE),
    r"C:\path\1": (PATH, ("", "", "bin", "x64")),
    r"C:\path\2": (PATH, ("", "", "bin", "x64")),
    WORK: (PATH, HERE),
    ADDED: ("", HERE),
}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine; `files` maps paths to their states, `loaded` are paths loaded beforehand."""

    imports: tuple[str, ...]
    files: dict[str, str]
    env: dict[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    cwd: str = WORK
    loaded: tuple[str, ...] = ()
    has_stand_in: bool = False

    @property
    def families(self) -> dict[str, tuple[str, ...]]:
        """The families that cv2 needs: their files that load with it."""
        needed = {*self.imports, *(IMPORTS[name] for name in self.imports if name in IMPORTS)}
        families = {
            family: tuple(name for name in names if name in needed)
            for family, names in FAMILIES.items()
        }
        return {family: names for family, names in families.items() if names}

    @property
    def has_added(self) -> bool:
        """Whether the program registers a directory before it imports cv2."""
        return any(dirname(path) == ADDED for path in self.files)


def draw_machine(seed: int) -> Machine:
    """Return the machine of that seed."""
    random = Random(seed)  # noqa: S311 - nobody has to be unable to guess it
    names = [name for files in FAMILIES.values() for name in files]
    imports = random.sample(names, random.choice((1, 1, 2, 2, 3, 4)))
    if random.random() < 0.25:
        imports.append(DRIVER)
    places = random.sample(sorted(PLACES), random.choice((0, 1, 2, 2, 3, 4, 5, 6)))
    files: dict[str, str] = {}
    for place in places:
        for subfolder in random.choices(PLACES[place][1], k=random.choice((1, 1, 1, 2))):
            files |= _draw_files(random, rf"{place}\{subfolder}".rstrip("\\"), imports)
    if DRIVER in imports and random.random() < 0.4:
        folder = random.choice((PREFIX, ADDED, r"C:\path\1", TORCH))
        files[rf"{folder}\{DRIVER}"] = random.choice((SOUND, SOUND, X86, CUT_OFF))
    if random.random() < 0.25:
        files |= _draw_files(random, random.choice((TORCH, r"C:\app")), imports)
    folders = sorted({dirname(file) for file in files} - {CV2})
    return Machine(
        imports=tuple(imports),
        files=files,
        env=_draw_variables(random, places),
        path=_draw_path(random, places),
        cwd=random.choice(folders) if folders and random.random() < 0.15 else WORK,
        loaded=tuple(sorted(file for file in files if dirname(file) in (TORCH, r"C:\app"))),
        has_stand_in=DRIVER in imports and random.random() < 0.5,
    )


def _draw_files(random: Random, folder: str, imports: list[str]) -> dict[str, str]:
    """Return the files of one directory."""
    files: dict[str, str] = {}
    # What NVIDIA calls a directory after cuDNN holds that alone.
    for family in ("cudnn",) if "cudnn" in folder.lower() else FAMILIES:
        names = FAMILIES[family]
        if random.random() < (0.75 if set(names) & set(imports) else 0.15):
            state = random.choices(list(STATES), list(STATES.values()))[0]
            odd = random.choice(names)
            for name in names:
                if state != PARTIAL or name != odd:
                    is_sound = state == PARTIAL or (state == CUT_OFF and name != odd)
                    files[rf"{folder}\{name}"] = SOUND if is_sound else state
    return files


def _draw_variables(random: Random, places: list[str]) -> dict[str, str]:
    """Return the environment that leads to the places."""
    sources = {PLACES[place][0]: place for place in places}
    env = {name: sources[name] for name in sources if name.isupper() and name != PATH}
    if rf"{PACKAGES}\nvidia" in places:
        env["PYTHONPATH"] = PACKAGES
    if random.random() < 0.1:
        env[SEARCH_PATH] = "0"
    return env


def _draw_path(random: Random, places: list[str]) -> tuple[str, ...]:
    """Return the entries of PATH."""
    path = [place for place in places if PLACES[place][0] == PATH]
    if random.random() < 0.1:
        path.append(random.choice((".", r"..\toolkits\path\bin", r"C:\gone")))
    return tuple(random.sample(path, len(path)))
