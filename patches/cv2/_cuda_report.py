"""Explains why the native module of cv2 does not load, and what to do about it.

Loaded by cuda_dlls.py only when an import failed, or when somebody asks. It follows the load-time
imports of the native module as Windows does: from the tables of the files, and by asking Windows
what is loaded and what can be loaded. What it finds are causes: a code and what it is about. The
sentences, cures and pages for each code stand in the tables below. Standard library only, Python
3.6 and later.
"""

import importlib.machinery
import importlib.util
import mmap
import os
import re
import sys
from collections import namedtuple

if __package__:
    from . import cuda_dlls
# Outside of the package, whoever loads this file has put `cuda_dlls` into it.

# What stops an import. `names` are those of DLLs, or of symbols; `askers` are, for each of them,
# the files that need it.
Cause = namedtuple("Cause", "code kind names file askers detail")
NO_NATIVE, OTHER_PYTHON, OTHER_FOLDER = "no-native", "other-python", "other-folder"
OTHER_PROCESS, NUMPY = "process", "numpy"
MISSING, LOST, SPLIT, REJECTED, SYMBOL = "missing", "lost", "split", "rejected", "symbol"
FAILED_START, ERROR, OVERRIDE = "failed-start", "error", "override"

CAUSES = {
    NO_NATIVE: "{detail} is missing from {file}",
    OTHER_PYTHON: "{file} is for {detail}, and this is {python}",
    OTHER_FOLDER: "{file} is in no folder that cv2/config*.py names",
    OTHER_PROCESS: "this Python is {detail}, and {file} is not",
    NUMPY: "NumPy {detail} is installed, and this build needs {names}",
    MISSING: "{names} {was} not found",
    LOST: "{names}, which came with cv2, {verb} gone",
    SPLIT: "no directory holds {names} and all that is needed with it",
    REJECTED: "in {file}, {names} {verb} {fault}",
    SYMBOL: "{file} has no {names}, which {askers} needs",
    FAILED_START: "{file} fails to start (error 1114)",
    ERROR: "{file} does not load: {error}",
    OVERRIDE: 'OPENCV_CUDA_DLL_DIRS names "{file}", which {fault}',
}

# Where no DLL is the matter.
PLAIN_CAUSES = (NO_NATIVE, OTHER_PYTHON, OTHER_FOLDER, NUMPY, OVERRIDE)
DLL_HEAD, PLAIN_HEAD = "DLL load failed while importing {}", "import of {} failed"

# What is wrong with a directory or a file, by cuda_dlls' reasons.
TRUSTED = ", which only OPENCV_CUDA_DLL_DIRS may name"
PLACE_FAULTS = {
    cuda_dlls.NOT_ABSOLUTE: "is not an absolute directory",
    cuda_dlls.ABSENT: "does not exist",
    cuda_dlls.UNREADABLE: "is no directory that can be read",
    cuda_dlls.WORKING_DIRECTORY: "is the working directory, or a subfolder of it" + TRUSTED,
    cuda_dlls.WRITABLE_BY_ALL: "is in a folder that every user may write to" + TRUSTED,
    cuda_dlls.HOLDS_NONE: "holds none of the DLLs",
    cuda_dlls.HOLDS_PART: "has no {file}",
    cuda_dlls.OTHER_VERSION: "holds {file}, which is another version",
}
FILE_FAULTS = {
    cuda_dlls.NO_DLL: "not in the format of a DLL",
    cuda_dlls.PLACEHOLDER: "not fetched from Git LFS yet",
    cuda_dlls.CUT_OFF: "cut off",
    cuda_dlls.OTHER_MACHINE: "for {machine}",
    cuda_dlls.UNREADABLE: "unreadable ({detail})",
}
# The page that says more about why a place was not taken; the first that applies.
FAULT_PAGES = {
    cuda_dlls.OTHER_MACHINE: "processor",
    cuda_dlls.CUT_OFF: "damaged",
    cuda_dlls.NO_DLL: "damaged",
    cuda_dlls.PLACEHOLDER: "damaged",
    cuda_dlls.UNREADABLE: "damaged",
    cuda_dlls.OTHER_VERSION: "version",
    cuda_dlls.HOLDS_PART: "part",
}
CAUSE_PAGES = {
    NO_NATIVE: "missing-native",
    OTHER_PYTHON: "missing-native",
    OTHER_FOLDER: "missing-native",
    OTHER_PROCESS: "processor",
    NUMPY: "numpy",
    LOST: "missing-native",
    SPLIT: "part",
    FAILED_START: "failed-start",
    ERROR: "error",
    OVERRIDE: "override",
}
# What else of a machine may be missing, as it is called in a report.
SYSTEM = {
    "nvcuda.dll": "NVIDIA's driver",
    "msvcp140.dll": "Visual C++ run-time",
    "mfplat.dll": "Media Foundation",
}
MACHINES = {"x86": "32-bit Windows (x86)", "x86-64": "x86-64", "arm64": "ARM64"}
PROCESSES = {"x86": "32-bit", "x86-64": "64-bit (x86-64)", "arm64": "for ARM64"}

# Windows' error numbers that tell enough by themselves: what they mean, what to do.
# https://learn.microsoft.com/windows/win32/debug/system-error-codes
PROC_NOT_FOUND, DLL_INIT_FAILED = 127, 1114
POLICY = "allow it in Smart App Control or your organisation's policy (Windows Security says more)"
ANTIVIRUS = "restore it from the quarantine of the antivirus program, and exclude its folder there"
REINSTALL = "install it again"
ERRORS = {
    5: ("access is denied", "give yourself the right to read and execute it"),
    8: ("there is not enough memory", "close other programs"),
    14: ("there is not enough memory", "close other programs"),
    21: ("the drive is not ready", "connect the drive that it lies on"),
    32: ("another program keeps it locked", "close that program, or wait for it"),
    53: ("its network share is not reachable", "connect the share that it lies on"),
    59: ("the network failed", "copy it to a local drive"),
    64: ("its network share is gone", "copy it to a local drive"),
    65: ("access to its network share is denied", "copy it to a local drive"),
    67: ("its network share is not known", "connect the share that it lies on"),
    87: ("this Windows lacks update KB2533623", "install that update"),
    182: ("a DLL lacks a function that it asks for by number", "bring the DLLs to one version"),
    206: ("its path is too long", "move the environment to a shorter path"),
    216: ("it is for another version of Windows", "take a build for this Windows"),
    225: ("Windows takes it for a virus", ANTIVIRUS),
    226: ("Windows removed it as a virus", ANTIVIRUS),
    577: ("Windows cannot verify its signature", POLICY),
    998: ("it accesses memory that it may not", REINSTALL),
    1260: ("a policy of your organisation blocks it", POLICY),
    1392: ("the file is damaged", REINSTALL),
    1450: ("Windows has not enough resources", "close other programs"),
    1455: ("the paging file is too small", "close other programs, or enlarge the paging file"),
    4551: ("Smart App Control or a policy blocks it", POLICY),
    14001: ("its side-by-side configuration is wrong", "repair the Visual C++ redistributable"),
}
CLOUD = ("OneDrive or the like does not deliver it", 'choose "Always keep on this device" for it')
ERRORS.update(dict.fromkeys(range(358, 399), CLOUD))
ERRORS.update(dict.fromkeys(range(4552, 4570), ERRORS[4551]))

# What to do where a file is no good, by where it comes from: the cure has to reach that place.
INSTALL_CURE = "python -m pip install {requirements}"
NVIDIA_CURE = "python -m pip install --upgrade --force-reinstall {requirements}"
TOOLKIT_CURE = "update or replace what is in {folder}, or {cure}"
ORIGIN_CURES = {
    cuda_dlls.NVIDIA: NVIDIA_CURE,
    cuda_dlls.CONDA: "conda update --all, or install again by conda what brought {file}",
    cuda_dlls.WHEEL: "python -m pip install --force-reinstall --no-deps {distribution}",
    cuda_dlls.OVERRIDE: "correct OPENCV_CUDA_DLL_DIRS, or replace {file}",
    cuda_dlls.PROGRAM: "remove or replace {file}",
    cuda_dlls.PATH: "remove or replace {file}",
    cuda_dlls.LOADED: "import cv2 before what loads {file}, or update that package",
    "windows": "update Windows: this build needs a later one",
    "elsewhere": "remove or replace {file}",
}
# Most machines have these without the DLLs, so that only what is odd about them is told.
USUAL_SOURCES = (
    cuda_dlls.WHEEL,
    cuda_dlls.NVIDIA,
    cuda_dlls.CONDA,
    cuda_dlls.DEFAULT,
    cuda_dlls.PROGRAM,
    cuda_dlls.PATH,
)
UNREADABLE_CURE = "give yourself the right to read {file}"
UNKNOWN_CURE = (
    "set OPENCV_CUDA_DLL_DIRS to the directory that holds it, or ask whoever built this wheel"
)
# A frozen program has no pip, and its user no say in what it brings; but these come with Windows
# and the drivers.
FROZEN_CURE = "tell the maker of this program that {fact}"
MACHINE_KINDS = ("driver", "opencl", "vulkan", "media-foundation", "windows", "api-set")
RUNTIME_CURE = "update {program}, or remove or replace {file} beside it"
NATIVE_CURE = (
    "python -m pip install --force-reinstall --no-deps {distribution}; where it goes missing "
    "again, look into the quarantine of the antivirus program"
)
CAUSE_CURES = {
    NO_NATIVE: NATIVE_CURE,
    OTHER_PYTHON: NATIVE_CURE,
    OTHER_FOLDER: NATIVE_CURE,
    LOST: NATIVE_CURE,
    OTHER_PROCESS: "install a Python that is {names}",
    NUMPY: 'python -m pip install "{names}"',
    OVERRIDE: "correct it or unset it",
}

API_SETS = ("api-ms-", "ext-ms-")  # names of sets of functions, not of files
PYTHON = "Python {}.{}".format(*sys.version_info[:2])
PYTHON_DLLS = ("python3.dll", "python{}{}.dll".format(*sys.version_info[:2]))

Request = namedtuple("Request", "name askers")
Import = namedtuple("Import", "dll symbols")
# The file that answers to a name: None where none does, "" where Windows knows one and this module
# does not.
Answer = namedtuple("Answer", "file is_of_windows")
Link = namedtuple("Link", "asker file symbols is_of_windows")


def explain(error, attempt):
    """Return an Explanation of the error that an attempt at the native import ended with."""
    return Explanation(attempt, error, find_causes(error, attempt))


def find_causes(error, attempt):
    """Return the causes of an ImportError, none where it says enough by itself."""
    bad_override = attempt.search.bad_override
    if bad_override:
        return [Cause(OVERRIDE, "", (), bad_override.file, (), bad_override)]
    if cuda_dlls.__package__ and cuda_dlls.BUILD is cuda_dlls.UNKNOWN_BUILD:
        return [name_lost_file("_cuda_build.py", attempt.search)]
    path, name = error.path or "", error.name or ""
    if path.lower().endswith(".pyd"):
        return find_load_causes(path, attempt)
    is_of_loader = attempt.is_recursion or "OpenCV loader: " in str(error)
    # With a path it is about a name in that file.
    if is_of_loader or (name in ("cv2", "cv2.cv2") and not path):
        return find_native_causes(attempt.search)
    if name.startswith("cv2.") and not path:
        return [name_lost_file(name.rpartition(".")[2] + ".py", attempt.search)]
    return find_numpy_causes(attempt.search.build)


class Explanation:
    """The causes of a failure and what is to be told about them."""

    def __init__(self, attempt, error, causes):
        self.attempt, self.error, self.causes = attempt, error, causes
        self.search, self.windows = attempt.search, attempt.windows
        self.build, self._python = self.search.build, find_python(self.search)

    def describe(self):
        """Return the whole text of the error, the original one where no cause is known."""
        if not self.causes:
            return str(self.error) if self.error else ""
        is_plain = all(cause.code in PLAIN_CAUSES for cause in self.causes)
        name = getattr(self.error, "name", None) or "cv2"
        name = "cv2" if name.startswith("cv2.") else name
        head = (PLAIN_HEAD if is_plain else DLL_HEAD).format(name)
        clauses, cures = "; ".join(self.describe_causes()), "; ".join(self.find_cures())
        first = "{}: {}. To fix it: {}.".format(head, clauses, cures)
        text = "\n  ".join([first, *self.describe_details()])
        return text.replace("python -m ", (self._python or "python") + " -m ")

    def describe_causes(self):
        """Return the causes as parts of a sentence, all missing names in one."""
        missing = [cause for cause in self.causes if cause.code == MISSING]
        names = sorted(name for cause in missing for name in cause.names)
        rest = [cause for cause in self.causes if cause.code != MISSING]
        causes = [cause._replace(names=names) for cause in missing[:1]] + rest
        return [self.describe_cause(cause) for cause in causes]

    def describe_cause(self, cause):
        """Return one cause as part of a sentence."""
        fault, sentence = "", ""
        if cause.code == REJECTED:
            fault = describe_file_fault(cause.detail)
        elif cause.code == OVERRIDE:
            fault = PLACE_FAULTS[cause.detail.reason]
        elif cause.code == ERROR:
            sentence = ERRORS.get(cause.detail, (_windows_words(cause.detail),))[0]
        return CAUSES[cause.code].format(
            names=", ".join(cause.names),
            verb="is" if len(cause.names) == 1 else "are",
            was="was" if len(cause.names) == 1 else "were",
            file=cause.file,
            askers=", ".join(sorted({os.path.basename(path) for path in sum(cause.askers, ())})),
            detail=cause.detail,
            fault=fault,
            error="{} (error {})".format(sentence, cause.detail),
            python=PYTHON,
        )

    def describe_details(self):
        """Return the further lines: who needs what, where it was looked for, what else is wrong."""
        lines = self._describe_askers()
        kinds = {cause.kind for cause in self.causes if cause.code in (MISSING, SPLIT, REJECTED)}
        families = kinds & set(self.build["families"])
        if families:
            lines += describe_places(self.search, families) + describe_search(self.build)
        lines += self._describe_unsearched_places()
        for path in self._find_files_to_replace():
            if self._is_loaded(path):
                file = " ".join(filter(None, (path, read_version(path))))
                lines.append("{} is still loaded: start Python again after the fix".format(file))
        lines += describe_distributions(self.search)
        if self._python:
            lines.append("what is chosen, and why: python -m cv2.cuda_dlls")
            lines += self._describe_pip()
        return lines + describe_pages(self.build, self.find_pages())

    def _describe_askers(self):
        """Return lines on who needs the DLLs that are missing."""
        names = {}  # files -> names of the DLLs that they need
        for cause in self.causes:
            if cause.code in (MISSING, LOST, SPLIT):
                for name, askers in zip(cause.names, cause.askers):
                    files = ", ".join(sorted(map(os.path.basename, askers)))
                    names.setdefault(files, []).append(name)
        return ["needed by {}: {}".format(files, ", ".join(names[files])) for files in names]

    def _describe_pip(self):
        """Return a line where a cure asks for pip and there is none: uv and Poetry bring none."""
        is_asked = any("python -m pip" in cure for cure in self.find_cures())
        if not is_asked or importlib.util.find_spec("pip"):
            return []
        return ["this Python has no pip: use what installed cv2 instead, such as uv pip"]

    def find_cures(self):
        """Return what to do, each thing once."""
        causes, cures = self.causes, []
        if not self._python:
            theirs = [cause for cause in causes if self._is_of_program(cause)]
            facts = [self._describe_for_maker(cause) for cause in theirs]
            cures = [FROZEN_CURE.format(fact=" and ".join(facts))] if facts else []
            causes = [cause for cause in causes if cause not in theirs]
        missing = [cause for cause in causes if cause.code in (MISSING, SPLIT)]
        rest = [cause for cause in causes if cause not in missing]
        cures += [self._cure_missing(missing)] if missing else []
        return list(dict.fromkeys(cures + [self._cure_cause(cause) for cause in rest]))

    def _describe_for_maker(self, cause):
        is_missing = cause.code == MISSING
        return "it lacks " + ", ".join(cause.names) if is_missing else self.describe_cause(cause)

    def _is_of_program(self, cause):
        """Return whether a frozen program brought, or did not bring, what is the matter."""
        return cause.kind not in MACHINE_KINDS and cause.code not in (ERROR, OVERRIDE)

    def find_pages(self):
        """Return the names of the pages that say more."""
        pages = []
        for cause in self.causes:
            refusals = self.search.refusals
            reasons = {refused.fault.reason for refused in refusals if refused.family == cause.kind}
            telling = [FAULT_PAGES[reason] for reason in FAULT_PAGES if reason in reasons]
            if cause.code == MISSING:
                pages += telling[:1] or ["missing-" + self._group(cause.kind)]
            elif cause.code == REJECTED:
                pages.append(FAULT_PAGES[cause.detail.reason])
            elif cause.code == SYMBOL:
                is_loaded = self._find_origin(cause.file) == cuda_dlls.LOADED
                pages.append("loaded-first" if is_loaded else "symbol")
            else:
                pages.append(CAUSE_PAGES[cause.code])
        return pages + ["several-opencv"] * (len(find_distributions(self.search)) > 1)

    def _group(self, kind):
        """Return which page on missing DLLs a kind has."""
        if kind in self.build["families"]:
            return "cudnn" if kind == "cudnn" else "cuda"
        return kind if kind in self.build["cures"] else "unknown"

    def _cure_missing(self, causes):
        """Return how to get missing DLLs: one command for all of NVIDIA's wheels, or settings."""
        kinds = sorted({cause.kind for cause in causes})
        ways = []
        requirements = self._requirements(kinds)
        if requirements:
            # Of what is installed already, whatever is left of it, pip installs nothing.
            cure = NVIDIA_CURE if self._is_installed(requirements) else INSTALL_CURE
            ways.append(cure.format(requirements=requirements))
        cures = [self.build["cures"].get(kind, UNKNOWN_CURE) for kind in kinds]
        return ", or ".join([*ways, " and ".join(dict.fromkeys(cures))])

    def _cure_cause(self, cause):
        """Return what to do about a cause that is no missing DLL."""
        if cause.code in CAUSE_CURES:
            names, distribution = ", ".join(cause.names), self._distribution()
            return CAUSE_CURES[cause.code].format(names=names, distribution=distribution)
        if cause.code == ERROR and cause.detail in ERRORS:
            return ERRORS[cause.detail][1]
        if cause.code == FAILED_START:
            return self._cure_failed_start()
        return self._cure_file(cause)

    def _cure_file(self, cause):
        """Return what to do about files that are no good, where they lie."""
        is_folder = cause.code == REJECTED
        folder = cause.file if is_folder else os.path.dirname(cause.file)
        paths = [os.path.join(folder, name) for name in cause.names] if is_folder else [cause.file]
        origin, requirements = self._find_origin(paths[0]), self._requirements([cause.kind])
        if origin == cuda_dlls.NVIDIA and not requirements:
            origin = "elsewhere"
        cure = ORIGIN_CURES.get(origin, TOOLKIT_CURE)
        if is_folder and cause.detail.reason == cuda_dlls.UNREADABLE:
            cure = UNREADABLE_CURE
        return cure.format(
            file=" and ".join(paths),
            folder=folder,
            requirements=requirements,
            distribution=self._distribution(),
            cure=self.build["cures"].get(cause.kind, UNKNOWN_CURE),
        )

    def _cure_failed_start(self):
        """Return what to do where a DLL fails to start: mostly an old C++ run-time is loaded."""
        runtime = self.windows.find_module("msvcp140.dll")
        folder, program = os.path.dirname(runtime or ""), self.search.program_folder()
        is_python = _is_same(program, getattr(sys, "prefix", None) or "")
        in_program, in_system = (
            _is_same(folder, place) for place in (program, cuda_dlls.system_folder())
        )
        if not runtime or in_system or (in_program and is_python):
            return self.build["cures"].get("vc-runtime", UNKNOWN_CURE)
        cure = RUNTIME_CURE if in_program else ORIGIN_CURES[cuda_dlls.LOADED]
        return cure.format(file=runtime, program=self.windows.find_program())

    def _requirements(self, kinds):
        """Return the requirements of NVIDIA's wheels of these families, as typed on a line."""
        names = sorted({name for kind in kinds for name in self.build["requires"].get(kind, ())})
        return " ".join('"{}"'.format(name) for name in names)

    def _is_installed(self, requirements):
        """Return whether one of these distributions is installed."""
        names = {name.replace("-", "_") for name in re.findall('"([a-z0-9-]+)', requirements)}
        folders = [self.search.root, *cuda_dlls.list_import_folders()]
        present = [name for folder in folders for name in self.search.list_directory(folder).names]
        infos = [name for name in present if name.endswith(".dist-info")]
        return not names.isdisjoint(name.partition("-")[0] for name in infos)

    def _distribution(self):
        """Return the requirement that has pip install this wheel again."""
        distributions = find_distributions(self.search)
        original = self.build["original"].get("filename", "opencv_python-").partition("-")[0]
        return distributions[0].replace(" ", "==") if distributions else original.replace("_", "-")

    def _find_origin(self, file):
        """Return the source that a file comes from, "windows", or "elsewhere"."""
        folder = os.path.dirname(file)
        places = list(self.search.choices) + list(self.search.refusals)
        sources = [place.source for place in places if _is_same(place.directory, folder)]
        if sources:
            return sources[0]
        if _is_same(folder, cuda_dlls.system_folder()):
            return "windows"
        if _is_same(folder, self.search.program_folder()):
            return cuda_dlls.PROGRAM
        return cuda_dlls.WHEEL if _is_below(folder, self.search.folder) else "elsewhere"

    def _find_files_to_replace(self):
        """Return the files that a cure needs others for."""
        files = [cause.file for cause in self.causes if cause.code == SYMBOL]
        if any(cause.code == FAILED_START for cause in self.causes):
            files.append(self.windows.find_module("msvcp140.dll") or "")
        return dict.fromkeys(filter(None, files))

    def _is_loaded(self, file):
        loaded = self.windows.find_module(os.path.basename(file))
        return bool(loaded) and _is_same(loaded, file)

    def _describe_unsearched_places(self):
        """Return lines on folders that hold what is missing, and where Windows does not look."""
        missing = [cause for cause in self.causes if cause.code == MISSING]
        names = {name.lower() for cause in missing for name in cause.names}
        if not names:
            return []
        entries = [os.path.dirname(str(getattr(sys, "executable", ""))), *sys.path]
        entries += os.environ.get("PATH", "").split(";")
        folders = [os.path.abspath(entry) for entry in entries if isinstance(entry, str)]
        searched = [refused.directory for refused in self.search.refusals]
        lines = []
        for folder in dict.fromkeys(folders):
            held = names & set(self.search.list_directory(folder).names)
            if held and not any(_is_same(folder, place) for place in searched):
                text = "holds {}, but Windows looks beside the running program, {}: {}"
                program = self.windows.find_program()
                lines.append(text.format(", ".join(sorted(held)), program, folder))
        return lines


# Causes


def find_native_causes(search):
    """Return the cause where cv2's loader finds no native module."""
    usable_names = {"cv2" + suffix for suffix in importlib.machinery.EXTENSION_SUFFIXES}
    natives = find_native_modules(search.folder)
    usable = [path for path in natives if os.path.basename(path).lower() in usable_names]
    if usable:
        return [Cause(OTHER_FOLDER, "", (), usable[0], (), "")]
    if natives:
        python = _python_of(os.path.basename(natives[0]))
        return [Cause(OTHER_PYTHON, "", (), natives[0], (), python)]
    return [name_lost_file("the native module (cv2*.pyd)", search)]


def name_lost_file(name, search):
    """Return the cause that a file of cv2 is gone."""
    return Cause(NO_NATIVE, "", (), search.folder, (), name)


def find_native_modules(folder):
    """Return the paths of cv2*.pyd in the folder of cv2 and below it, sorted."""
    paths = [
        os.path.join(directory, name)
        for directory, _, names in os.walk(folder)
        for name in names
        if name.lower().startswith("cv2") and name.lower().endswith(".pyd")
    ]
    return sorted(paths)


def find_numpy_causes(build):
    """Return the cause where the NumPy that is loaded is not one that the build works with."""
    numpy = sys.modules.get("numpy")
    version = getattr(numpy, "__version__", "")
    wanted = build["numpy"] or "numpy"
    bounds = [bound for bound in wanted[len("numpy") :].split(",") if bound]
    if not version or all(_meets(version, bound) for bound in bounds):
        return []
    return [Cause(NUMPY, "", (wanted,), "", (), version)]


def _meets(version, bound):
    limit = bound.lstrip("<>=")
    is_later = _version_parts(version) >= _version_parts(limit)
    return is_later if bound.startswith(">=") else not is_later


def _version_parts(version):
    parts = version.split(".")[:2]
    return [int("".join(filter(str.isdecimal, part)) or 0) for part in parts]


def find_load_causes(native, attempt):
    """Return why a native module that is there does not load."""
    process = read_machine_of(attempt.windows.find_program())
    machine = read_machine_of(native)
    if process and machine and process != machine and cuda_dlls.find_fault(native, process):
        wanted = PROCESSES.get(machine, machine)
        return [Cause(OTHER_PROCESS, "", (wanted,), native, (), PROCESSES.get(process, process))]
    walk = Walk(native, attempt)
    causes = walk.find_missing() + walk.find_rejected() + walk.explain_numbers(walk.errors)
    if causes:
        return causes
    number = attempt.windows.try_to_load(native)
    failures = dict(attempt.failures, **({native: number} if number else {}))
    if number is None or PROC_NOT_FOUND in failures.values():
        causes = walk.find_lacking_symbols(is_certain=number is not None)
    return causes or find_error_causes(walk, failures)


def find_error_causes(walk, failures):
    """Return the cause that an error number tells, of the first file in the order of loading."""
    if DLL_INIT_FAILED in failures.values():
        # A DLL fails as well where one that it needs fails to start.
        starts = [path for path in walk.files if walk.windows.try_to_load(path) == DLL_INIT_FAILED]
        askers = {link.asker for link in walk.links if link.file in starts}
        roots = [path for path in starts if path not in askers] or starts
        return [Cause(FAILED_START, "", (), path, (), DLL_INIT_FAILED) for path in roots[:1]]
    return walk.explain_numbers(failures)[:1]


def read_machine_of(path):
    """Return the processor that a program or DLL is for, or None."""
    try:
        with open(path, "rb") as file:
            file.seek(60)
            file.seek(int.from_bytes(file.read(4), "little"))
            header = file.read(24)
    except (OSError, TypeError, ValueError):
        return None
    return cuda_dlls.read_machine(header) if header[:4] == b"PE\0\0" else None


class Walk:
    """Follows load-time imports from the native module, as Windows' loader does."""

    def __init__(self, native, attempt):
        self.search, self.windows = attempt.search, attempt.windows
        self.build = self.search.build
        self.machine = read_machine_of(self.windows.find_program()) or read_machine_of(native)
        self.files = [native]
        self.faults = {}  # path -> Fault
        self.missing = {}  # lower-case name -> Request
        self.errors = {}  # name -> error number of a file that Windows finds and this does not
        self.links = []
        self._answers = {}  # lower-case name -> Answer; Windows takes its time for each
        self._places = self._list_places(native)
        for path in self.files:  # it grows meanwhile
            self._follow(path)

    def _list_places(self, native):
        """Return the directories that Windows searches, but for its own."""
        places = [os.path.dirname(native), self.search.program_folder()]
        places += self.search.directories()
        if not hasattr(os, "add_dll_directory"):
            places += os.environ.get("PATH", "").split(";")
        return [place for place in places if place]

    def _follow(self, path):
        fault = cuda_dlls.find_fault(path, self.machine)
        if fault:
            self.faults[path] = fault
            return
        for name, symbols in read_imports(path):
            if name.lower() not in self._answers:
                self._answers[name.lower()] = self._resolve(name)
            answer = self._answers[name.lower()]
            if answer.file is None:
                self.missing.setdefault(name.lower(), Request(name, [])).askers.append(path)
            elif answer.file:
                self.links.append(Link(path, answer.file, symbols, answer.is_of_windows))
                if answer.file not in self.files and not answer.is_of_windows:
                    self.files.append(answer.file)

    def _resolve(self, name):
        """Return the Answer to a name."""
        system = cuda_dlls.system_folder()
        if name.lower().startswith(API_SETS):
            return Answer(None if self._is_not_found(name) else "", is_of_windows=True)
        files = self._list_files(name)
        fitting = [path for path in files if not self._is_passed_over(path)]
        loaded = self.windows.find_module(name)
        if loaded:
            return Answer(loaded, _is_same(os.path.dirname(loaded), system))
        if fitting and not _is_same(os.path.dirname(fitting[0]), system):
            return Answer(fitting[0], is_of_windows=False)
        if name.lower() in self.search.list_directory(system).names:
            # One of Windows' own may be there and yet not load: it needs others.
            path = os.path.join(system, name)
            return Answer(None if self._is_not_found(name) else path, is_of_windows=True)
        return Answer(self._ask_windows(name, files), is_of_windows=False)

    def _ask_windows(self, name, passed_over):
        """Return the file of an Answer to a name that no file in a known place answers to."""
        number = self.windows.try_to_load(name)
        if number == 0:
            return ""  # in a directory that somebody else registered
        is_explained = passed_over or name.lower() in self.search.faulty_files
        if is_explained or number in (None, cuda_dlls.ERROR_MOD_NOT_FOUND):
            return passed_over[0] if passed_over else None
        self.errors[name] = number
        return ""

    def _list_files(self, name):
        """Return the files of that name in the places that Windows searches, in order."""
        listings = [(place, self.search.list_directory(place).names) for place in self._places]
        key = name.lower()
        return [os.path.join(place, names[key]) for place, names in listings if key in names]

    def _is_passed_over(self, path):
        """Return whether a search passes over a file, as it does over one for another processor."""
        fault = cuda_dlls.find_fault(path, self.machine)
        return bool(fault) and fault.reason == cuda_dlls.OTHER_MACHINE

    def _is_not_found(self, name):
        return self.windows.try_to_load(name) == cuda_dlls.ERROR_MOD_NOT_FOUND

    def find_missing(self):
        """Return causes for the names that nothing answers to.

        Of a family that is in no directory whole, only those names are causes that no place holds.
        """
        causes = merge([self._explain_missing(*self.missing[key]) for key in sorted(self.missing)])
        unheld = {cause.kind for cause in causes if cause.code != SPLIT}
        return [cause for cause in causes if cause.code != SPLIT or cause.kind not in unheld]

    def _explain_missing(self, name, askers):
        kind, needed_by = self.find_kind(name, askers[0]), [tuple(askers)]
        if kind == "python" and name.lower() not in PYTHON_DLLS:
            return Cause(OTHER_PYTHON, kind, [name], askers[0], needed_by, _python_of(name))
        if name.lower() in self.search.sound_files:
            return Cause(SPLIT, kind, [name], "", needed_by, "")
        fault = self.search.faulty_files.get(name.lower())
        if fault:
            return reject(kind, fault, needed_by)
        code = LOST if name.lower() in find_lost_dlls(self.search) else MISSING
        return Cause(code, kind, [name], "", needed_by, "")

    def find_kind(self, name, asker):
        """Return what a DLL is: what the build says, or what the file is that needs it."""
        kinds = self.build["kinds"]
        of_asker = kinds.get(os.path.basename(asker).lower(), "unknown")
        if name.lower().startswith(API_SETS):
            return "api-set"
        return kinds.get(name.lower(), of_asker)

    def find_rejected(self):
        """Return causes for the files that Windows finds and does not accept."""
        faults = sorted(self.faults.items())
        kinds = [self.find_kind(os.path.basename(path), path) for path, _ in faults]
        return merge([reject(kind, fault, [()]) for kind, (_, fault) in zip(kinds, faults)])

    def explain_numbers(self, numbers):
        """Return a cause for each file, or name, whose error number is given."""
        return [
            Cause(ERROR, self.find_kind(os.path.basename(file), file), (), file, (), number)
            for file, number in numbers.items()
        ]

    def find_lacking_symbols(self, is_certain):
        """Return a cause for each file that lacks what is asked of it.

        Windows' own DLLs give symbols in other ways too, so that only its error number is certain.
        """
        exports, causes = {}, []
        for link in self.links:
            is_satisfied = self.windows.find_module(os.path.basename(link.asker))
            if is_satisfied or (link.is_of_windows and not is_certain):
                continue
            if link.file not in exports:
                exports[link.file] = read_exports(link.file)
            lacking = sorted(set(link.symbols) - exports[link.file])
            if lacking:
                kind = self.find_kind(os.path.basename(link.file), link.asker)
                more = ["{} more".format(len(lacking) - 3)] if len(lacking) > 3 else []
                names = lacking[:3] + more
                causes.append(Cause(SYMBOL, kind, names, link.file, [(link.asker,)], ""))
        return causes


def reject(kind, fault, needed_by):
    """Return the cause that a file is no good."""
    folder, name = os.path.split(fault.file)
    return Cause(REJECTED, kind, [name], folder, needed_by, fault._replace(file=""))


def merge(causes):
    """Return the causes, in one those that differ by their names only."""
    merged = {}
    for cause in causes:
        key = cause._replace(names=(), askers=())
        first = merged.setdefault(key, cause._replace(names=[], askers=[]))
        first.names.extend(cause.names)
        first.askers.extend(cause.askers)
    return list(merged.values())


# PE files


class Image:
    """The import and export tables of a PE file."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        header = self._number(60)
        optional = header + 24
        is_64_bit = self._number(optional, 2) == 0x20B
        self._width = 8 if is_64_bit else 4
        self._directories = optional + (112 if is_64_bit else 96)
        first = optional + self._number(header + 20, 2)
        count = self._number(header + 6, 2)
        self._sections = range(first, first + 40 * count, 40)

    def read_imports(self):
        """Yield an Import for each DLL that is asked for."""
        row = self._offset(self._number(self._directories + 8))
        while row and self._number(row + 12):
            table = self._offset(self._number(row) or self._number(row + 16))
            yield Import(self._text(self._number(row + 12)), self._read_symbols(table))
            row += 20

    def _read_symbols(self, table):
        symbols, by_number = [], 1 << (8 * self._width - 1)
        while self._number(table, self._width):
            value = self._number(table, self._width)
            if not value & by_number:
                symbols.append(self._text(value + 2))
            table += self._width
        return symbols

    def read_exports(self):
        """Return the names of the symbols that are offered."""
        table = self._offset(self._number(self._directories))
        if not table:
            return set()
        names = self._offset(self._number(table + 32))
        count = self._number(table + 24)
        return {self._text(self._number(names + 4 * number)) for number in range(count)}

    def read_version(self):
        """Return the version of the file, "" if it has none: it stands behind a mark of its own."""
        mark = self._content.find(b"\xbd\x04\xef\xfe")
        numbers = [self._number(mark + 8 + place, 2) for place in (2, 0, 6, 4)]
        return ".".join(map(str, numbers)) if mark >= 0 else ""

    def _number(self, offset, size=4):
        return int.from_bytes(self._content[offset : offset + size], "little")

    def _text(self, address):
        start = self._offset(address)
        return self._content[start : self._content.find(b"\0", start)].decode("latin-1")

    def _offset(self, address):
        """Return where in the file an address of the loaded image lies, 0 if nowhere."""
        for row in self._sections:
            size, start, raw_size, offset = (self._number(row + 8 + 4 * n) for n in range(4))
            if start <= address < start + max(size, raw_size):
                return offset + address - start
        return 0


def read_imports(path):
    """Return the Imports of a file."""
    return list(Image(path).read_imports())


def read_exports(path):
    """Return the symbols that a file offers."""
    return Image(path).read_exports()


def read_version(path):
    """Return the version that a file says it is, "" if none."""
    try:
        return Image(path).read_version()
    except (OSError, ValueError):  # it was loaded, and is gone
        return ""


# Words


def describe_file_fault(fault):
    """Return what is wrong with a file, after its name."""
    machine = MACHINES.get(fault.detail, fault.detail)
    return FILE_FAULTS[fault.reason].format(detail=fault.detail, machine=machine)


def describe_place_fault(fault):
    """Return why a place is not taken, after its name."""
    if fault.reason in FILE_FAULTS and fault.file:
        name = os.path.basename(fault.file)
        return "its {} is {}".format(name, describe_file_fault(fault))
    return PLACE_FAULTS[fault.reason].format(file=fault.file)


def describe_places(search, families):
    """Return lines on the places that were not taken for `families`, one for each reason."""
    reasons = {}
    for refused in search.refusals:
        is_dull = refused.fault.reason in (cuda_dlls.ABSENT, cuda_dlls.HOLDS_NONE)
        is_concerned = refused.family in families or not refused.family
        if is_concerned and not (is_dull and refused.source in USUAL_SOURCES):
            place = "{} ({})".format(refused.directory, refused.source)
            text = describe_place_fault(refused.fault)
            reasons.setdefault((is_dull, text), {})[place] = None
    ordered = sorted(reasons.items())  # the telling reasons first
    return ["{}: {}".format(text, "; ".join(places)) for (_, text), places in ordered]


def describe_search(build):
    """Return lines on the places that are looked at everywhere, and on what is not set."""
    is_path_off = os.environ.get(cuda_dlls.SEARCH_PATH, "").strip() == "0"
    sources = USUAL_SOURCES[:-1] if is_path_off else USUAL_SOURCES
    lines = ["looked for as well in: {}".format(", ".join(sources))]
    names = [cuda_dlls.OVERRIDE, *cuda_dlls.cuda_variables(build)]
    unset = [name for name in names if not os.environ.get(name, "").strip()]
    if unset:
        lines.append("not set: {}".format(", ".join(unset)))
    if is_path_off:
        lines.append("{}=0 keeps PATH from being searched".format(cuda_dlls.SEARCH_PATH))
    return lines


def find_distributions(search):
    """Return the distributions of OpenCV beside cv2, as "name version"."""
    return sorted(find_infos(search).values())


def find_infos(search):
    """Return the folders of the distributions of OpenCV beside cv2, and "name version" of each."""
    infos = {}
    for name in search.list_directory(search.root).names.values():
        stem, _, kind = name.rpartition(".")
        parts = stem.split("-")
        is_opencv = name.lower().startswith("opencv") and len(parts) > 1
        if is_opencv and kind in ("dist-info", "egg-info") and _has_cv2(search, name):
            infos[name] = "{} {}".format(parts[0].replace("_", "-"), parts[1])
    return infos


def _has_cv2(search, name):
    """Return whether a distribution brought cv2; what has lost its RECORD may have."""
    members = _read_record(search, name)
    return not members or any(member.startswith("cv2/") for member in members)


def find_lost_dlls(search):
    """Return the lower-case names of the DLLs that came with cv2 and are not there any more."""
    names = search.list_directory(search.root).names
    folders = [names[name] for name in names if name.startswith("opencv")]
    members = [member for folder in folders for member in _read_record(search, folder)]
    dlls = [member for member in members if member.lower().endswith(".dll")]
    lost = [dll for dll in dlls if not os.path.exists(os.path.join(search.root, dll))]
    return {os.path.basename(dll).lower() for dll in lost}


def _read_record(search, name):
    """Return the members that a distribution brought, as its RECORD has them."""
    try:
        with open(os.path.join(search.root, name, "RECORD"), "rb") as file:
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [line.rsplit(",", 2)[0].strip('"') for line in lines]


def describe_distributions(search):
    """Return a line where several distributions of OpenCV are installed over each other."""
    infos = find_infos(search)
    if len(infos) < 2:
        return []
    # pip uninstalls none of several where one of them has no RECORD.
    broken = sorted(name for name in infos if not _read_record(search, name))
    names = sorted(infos[name].partition(" ")[0] for name in infos if name not in broken)
    uninstall = "python -m pip uninstall -y {}".format(" ".join(dict.fromkeys(names)))
    steps = ["remove {}".format(os.path.join(search.root, name)) for name in broken]
    # Of two versions of one distribution pip uninstalls one at a time.
    steps += [uninstall] * max(map(names.count, names), default=0)
    steps.append("install the one you want again")
    text = "installed over each other: {}. To repair it: {}"
    return [text.format(", ".join(sorted(infos.values())), ", then ".join(steps))]


def describe_pages(build, pages):
    """Return a line with addresses, where whoever built the wheel gave one."""
    base = build["help_url"]
    addresses = dict.fromkeys("{}{}/".format(base, page) for page in pages)
    return ["More: {}".format(" ".join(addresses))] if base and pages else []


def find_python(search):
    """Return how this Python is called on a command line, None where its program has no pip."""
    program = search.windows.find_program() or "python"
    if cuda_dlls.is_frozen():
        return None
    if os.path.basename(program).lower().startswith("python"):
        return "python"
    # A host program. Of its Python, python.exe may be there; Maya's and Houdini's are called else.
    prefix, executable = (str(getattr(sys, name, "")) for name in ("prefix", "executable"))
    for path in (executable, os.path.join(prefix, "python.exe")):
        folder, name = os.path.split(path.lower())
        if name.startswith("python") and name in search.list_directory(folder).names:
            return '"{}"'.format(path)
    return '"{}"'.format(program) if importlib.util.find_spec("pip") else None


def _windows_words(number):
    """Return what Windows itself says of an error number."""
    try:
        import ctypes

        return ctypes.FormatError(number).strip().rstrip(".").replace("%1", "it")
    except Exception:  # no ctypes
        return "Windows does not say why"


def _python_of(name):
    """Return the Python that a file was made for, told by its name: cv2.cp39-..., python39.dll."""
    version = name.partition(".cp")[2].partition("-")[0] or name.lower().partition("python")[2]
    digits = "".join(filter(str.isdecimal, version))
    python = "Python {}.{}".format(digits[0], digits[1:]) if digits else "another Python"
    # Without a lock, for debugging, for another processor.
    return "another build of " + PYTHON if python == PYTHON else python


def _is_same(path, other):
    """Return whether two paths name one file or directory."""
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return os.path.normcase(path) == os.path.normcase(other)


def _is_below(path, folder):
    return (os.path.normcase(path) + "\\").startswith(os.path.normcase(folder) + "\\")


# The report of `python -m cv2.cuda_dlls`


def print_report(explanation, message, arguments):
    """Print what is chosen and why; `message` is the text of the error, "" where cv2 imports."""
    facts = collect_facts(explanation, message)
    if "--json" in arguments:
        import json

        lines = [json.dumps(facts, indent=2)]
    else:
        lines = format_report(explanation, facts)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    text = "\n".join(lines)
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=sys.stdout)


def collect_facts(explanation, message):
    """Return the report as a JSON object."""
    search, build, windows = explanation.search, explanation.build, explanation.windows
    drivers = [name for name, kind in build["kinds"].items() if kind == "driver"]
    names = [cuda_dlls.OVERRIDE, *cuda_dlls.cuda_variables(build), "PATH"]
    chosen = [dict(choice._asdict()) for choice in list_answers(search, windows)]
    families = build["families"]
    missing = set(families) - {choice["family"] for choice in chosen}
    return {
        "version": 1,
        "imports": not message,
        "message": message,
        "cv2": search.folder,
        "python": describe_python(windows),
        "program": windows.find_program(),
        "build": build,
        "chosen": chosen,
        "missing": {family: families[family] for family in sorted(missing)},
        "causes": [collect_cause(explanation, cause) for cause in explanation.causes],
        "refused": [collect_refusal(refused) for refused in search.refusals],
        "drivers": {name: windows.find_module(name) for name in drivers},
        "stand_ins": explanation.attempt.stand_ins,
        "system": {name: windows.find_module(name) for name in SYSTEM},
        "numpy": getattr(sys.modules.get("numpy"), "__version__", ""),
        "distributions": find_distributions(search),
        "variables": {name: os.environ.get(name) for name in names},
    }


def list_answers(search, windows):
    """Return the choices, and for families that are not chosen the files that Windows found."""
    choices, modules = list(search.choices), windows.list_modules()
    chosen = {choice.family for choice in choices}
    for family in set(search.build["families"]) - chosen:
        loaded = cuda_dlls.find_loaded(modules, search.files_of(family))
        choices += [
            cuda_dlls.Choice(family, directory, "found by Windows", files)
            for directory, files in loaded.items()
        ]
    return sorted(choices)


def collect_cause(explanation, cause):
    """Return a cause as a JSON object."""
    return {
        "code": cause.code,
        "names": list(cause.names),
        "file": cause.file,
        "needed_by": [list(askers) for askers in cause.askers],
        "text": explanation.describe_cause(cause),
    }


def collect_refusal(refused):
    """Return a place that was not taken as a JSON object."""
    return {
        "directory": refused.directory,
        "source": refused.source,
        "family": refused.family,
        "reason": refused.fault.reason,
        "file": refused.fault.file,
    }


def format_report(explanation, facts):
    """Return the lines of the report for people."""
    search, build = explanation.search, explanation.build
    lines = [
        "cv2 {} ({})".format(build["opencv"], facts["cv2"]),
        "Python {} ({})".format(facts["python"], facts["program"]),
        *describe_machine(facts),
    ]
    if facts["message"]:
        return [*lines, "import cv2 fails: " + facts["message"]]
    lines += ["import cv2 works", *describe_distributions(search)]
    places = describe_places(search, set(build["families"]))
    return [*lines, "not taken:", *("  " + line for line in places)] if places else lines


def describe_machine(facts):
    """Return the lines of the report on what the build needs, and where that comes from."""
    build = facts["build"]
    version = ".".join(str(part) for part in build["cuda"] or () if part is not None)
    # Of a native module that cannot be read nothing is known.
    lines = ["CUDA: {}".format(version or "none, for the CPU only")] if build["kinds"] else []
    lines += ["{family}: {directory} ({source})".format(**choice) for choice in facts["chosen"]]
    lines += [
        "{}: not found: {}".format(family, ", ".join(names))
        for family, names in facts["missing"].items()
    ]
    lines += [
        "{}: {}".format(name, path or "not loaded")
        for name, path in facts["drivers"].items()
        if name not in SYSTEM
    ]
    lines += [
        "{}: a stand-in, which says that there is no device".format(path)
        for path in facts["stand_ins"]
    ]
    numpy = build["numpy"] or "numpy"
    lines.append("NumPy: {} (needed: {})".format(facts["numpy"] or "not loaded", numpy))
    system = facts["system"]
    return lines + ["{}: {}".format(SYSTEM[name], system[name] or "not loaded") for name in system]


def describe_python(windows):
    """Return the version of this Python, and of which kind it is."""
    prefix, base = (str(getattr(sys, name, "")) for name in ("prefix", "base_prefix"))
    kinds = [
        ("free-threaded", "free-threading" in sys.version),
        ("virtual environment", prefix != base),
        ("conda", os.path.isdir(os.path.join(prefix, "conda-meta"))),
        ("Microsoft Store", "windowsapps" in base.lower()),
    ]
    machine = PROCESSES.get(read_machine_of(windows.find_program()), "")
    words = [sys.version.split()[0], machine] + [name for name, holds in kinds if holds]
    return ", ".join(filter(None, words))
