r"""Random machines: where CUDA's DLLs lie, what is wrong with them, and what leads to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

PYTHON = r"C:\Python312"
SITE = rf"{PYTHON}\Lib\site-packages"
CV2 = rf"{SITE}\cv2"
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
#: Library -> what NVIDIA calls it in its wheels.
NVIDIA_NAMES = {"cublas": "cublas", "cudart": "cuda_runtime", "cudnn": "cudnn", "npp": "npp"}

# Nothing lacks a symbol: Wine, unlike Windows, loads it all the same.
SOUND, X86, ARM64, CUT_OFF = "sound", "x86", "arm64", "cut off"
PARTIAL, OTHER_VERSION = "partial", "other version"
#: What is wrong with the files of a family in a directory -> how often.
STATES = {SOUND: 52, PARTIAL: 15, X86: 8, ARM64: 5, CUT_OFF: 10, OTHER_VERSION: 7}

IN_TOOLKIT = ("bin", "bin", r"bin\x64", "", r"Library\bin")
IN_CUDNN = ("bin", r"bin\12.9", r"bin\12.9\x64", r"bin\11.8")
HERE = ("",)
#: The place -> the variable that leads to it ("" for none), and the subfolders that may hold DLLs.
PLACES = {
    r"C:\override": (OVERRIDE, ("", "bin", r"bin\x64")),
    VENDORED: ("", HERE),
    CV2: ("", HERE),
    rf"{SITE}\nvidia": ("", HERE),
    rf"{SITE}\nvidia\cu13": ("", (r"bin\x86_64",)),
    rf"{PACKAGES}\nvidia": ("PYTHONPATH", HERE),
    rf"{PYTHON}\Library": ("", ("bin", r"bin\x64")),
    rf"{PYTHON}\bin": ("", ("", "x64")),
    r"C:\toolkits\own": ("CUDA_PATH_V12_9", IN_TOOLKIT),
    r"C:\toolkits\path": ("CUDA_PATH", IN_TOOLKIT),
    r"C:\toolkits\home": ("CUDA_HOME", IN_TOOLKIT),
    r"C:\toolkits\12.4": ("CUDA_PATH_V12_4", IN_TOOLKIT),
    r"C:\toolkits\11.8": ("CUDA_PATH_V11_8", IN_TOOLKIT),
    r"C:\toolkits\cudnn": ("CUDNN_PATH", IN_CUDNN),
    rf"{TOOLKITS}\v12.9": ("", ("bin", r"bin\x64")),
    rf"{TOOLKITS}\v12.4": ("", ("bin",)),
    rf"{TOOLKITS}\v11.8": ("", ("bin",)),
    rf"{CUDNNS}\v9.5": ("", IN_CUDNN),
    PYTHON: ("", HERE),
    r"C:\path\1": ("PATH", ("", "", "bin", "x64")),
    r"C:\path\2": ("PATH", ("", "", "bin", "x64")),
    WORK: ("PATH", HERE),
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
        return {
            family: files
            for family, names in FAMILIES.items()
            if (files := tuple(name for name in names if name in needed))
        }

    @property
    def has_added(self) -> bool:
        """Whether the program registers a directory before it imports cv2."""
        return any(folder_of(path) == ADDED for path in self.files)

    def describe(self) -> str:
        """Return the machine in a few lines."""
        lines = [f"  cv2 imports {' '.join(self.imports)}"]
        if self.has_stand_in:
            lines.append(f"  a stand-in for {DRIVER}")
        lines += [f"  {path}: {state}" for path, state in self.files.items()]
        lines += [f"  {name}={value}" for name, value in self.env.items()]
        lines += [f"  PATH={';'.join(self.path)}"] if self.path else []
        lines += [f"  working directory: {self.cwd}"] if self.cwd != WORK else []
        lines += [f"  loaded before: {path}" for path in self.loaded]
        return "\n".join(lines)


def folder_of(path: str) -> str:
    """Return the directory of a Windows path."""
    return path.rpartition("\\")[0]


def name_of(path: str) -> str:
    """Return the file name of a Windows path."""
    return path.rpartition("\\")[2]


def draw_machine(seed: int) -> Machine:
    """Return the machine of that seed."""
    random = Random(seed)  # noqa: S311 - nobody has to be unable to guess it
    imports = _draw_imports(random)
    has_stand_in = DRIVER in imports and random.random() < 0.5
    places = random.sample(sorted(PLACES), random.choice((0, 1, 2, 2, 3, 4, 5, 6)))
    files: dict[str, str] = {}
    for place in places:
        files |= _draw_place(random, place, imports)
    if DRIVER in imports and random.random() < 0.4:
        folder = random.choice((PYTHON, ADDED, r"C:\path\1", TORCH))
        files[rf"{folder}\{DRIVER}"] = random.choice((SOUND, SOUND, X86, CUT_OFF))
    if random.random() < 0.25:
        files |= _draw_files(random, random.choice((TORCH, r"C:\app")), imports)
    env, path = _draw_variables(random, places)
    folders = sorted({folder_of(file) for file in files} - {CV2})
    return Machine(
        imports=imports,
        files=files,
        env=env,
        path=path,
        cwd=random.choice(folders) if folders and random.random() < 0.15 else WORK,
        loaded=tuple(sorted(file for file in files if folder_of(file) in (TORCH, r"C:\app"))),
        has_stand_in=has_stand_in,
    )


def _draw_imports(random: Random) -> tuple[str, ...]:
    """Return what the native module imports."""
    names = [name for files in FAMILIES.values() for name in files]
    imports = random.sample(names, random.choice((1, 1, 2, 2, 3, 4)))
    if random.random() < 0.25:
        imports.append(DRIVER)
    return tuple(imports)


def _draw_place(random: Random, place: str, imports: tuple[str, ...]) -> dict[str, str]:
    """Return the files of a place that the search knows."""
    if name_of(place) == "nvidia":
        files = _draw_files(random, place, imports)
        return {
            rf"{place}\{_find_library(file)}\bin\{name_of(file)}": files[file] for file in files
        }
    only = ("cudnn",) if "cudnn" in place.lower() else tuple(FAMILIES)
    files = {}
    for subfolder in random.choices(PLACES[place][1], k=random.choice((1, 1, 1, 2))):
        folder = rf"{place}\{subfolder}" if subfolder else place
        files |= _draw_files(random, folder, imports, only)
    return files


def _find_library(file: str) -> str:
    """Return the folder in which NVIDIA's wheels have a DLL."""
    stem = name_of(file).partition("64_")[0].lower()
    return next(NVIDIA_NAMES[family] for family in FAMILIES if stem.startswith(family))


def _draw_files(
    random: Random,
    folder: str,
    imports: tuple[str, ...],
    families: tuple[str, ...] = tuple(FAMILIES),
) -> dict[str, str]:
    """Return the files of one directory."""
    files: dict[str, str] = {}
    for family in families:
        is_needed = bool(set(FAMILIES[family]) & set(imports))
        if random.random() < (0.75 if is_needed else 0.15):
            state = random.choices(list(STATES), list(STATES.values()))[0]
            files |= _draw_family(random, folder, family, state)
    return files


def _draw_family(random: Random, folder: str, family: str, state: str) -> dict[str, str]:
    """Return the files of one family in a directory."""
    names = FAMILIES[family]
    odd = random.choice(names)
    if state == OTHER_VERSION:
        others = [name.replace("_12.", "_11.").replace("_9.", "_8.") for name in names]
        return {rf"{folder}\{name}": SOUND for name in others}
    if state == PARTIAL:
        return {rf"{folder}\{name}": SOUND for name in names if name != odd}
    if state == CUT_OFF:
        return {rf"{folder}\{name}": state if name == odd else SOUND for name in names}
    return {rf"{folder}\{name}": state for name in names}


def _draw_variables(random: Random, places: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the environment that leads to the places, and the entries of PATH."""
    env: dict[str, str] = {}
    path = []
    for place in places:
        variable = PLACES[place][0]
        if variable == "PATH":
            path.append(place)
        elif variable:
            env[variable] = PACKAGES if variable == "PYTHONPATH" else place
    if random.random() < 0.1:
        path.append(random.choice((".", r"..\toolkits\path\bin", r"C:\gone")))
    if random.random() < 0.1:
        env[SEARCH_PATH] = "0"
    return env, tuple(random.sample(path, len(path)))
