r"""Finds the CUDA DLLs that this build of OpenCV needs, and tells Windows where they are.

`cv2/__init__.py` loads its native module inside `with loading():`. For each family of DLLs (npp,
cublas, cudnn, ...) the first directory that holds every file needed of it is registered, and only
that one: Windows searches several registered directories in no particular order. Looked through,
in this order:

1. OPENCV_CUDA_DLL_DIRS: directories, separated by `;`. One that is not there is an error.
2. CUDA_PATH: its bin\x64 (CUDA 13), then its bin.
3. PATH, unless OPENCV_CUDA_SEARCH_PATH=0.

Relative directories and the working directory are never taken. Off Windows nothing is done.
Put here by repack; standard library only, Python 3.6 and later.
"""

import os
import sys

# What this build needs, from the import tables of its DLLs. The literal is written by repack:
#   cuda       (major, minor) of the CUDA it was built with, minor None if not known; None: no CUDA
#   delayed    those of the files below that are loaded only when first called: import does without
#   driver     files that come with the NVIDIA driver, in System32: no directory helps
#   families   family -> its files needed, all of which have to be in one directory
#   in_wheel   DLLs that lie in the wheel itself
#   needed_by  file -> files of the wheel whose import tables name it
#   opencv     version of the wheel
BUILD = {
    "cuda": None,
    "delayed": (),
    "driver": (),
    "families": {},
    "in_wheel": (),
    "needed_by": {},
    "opencv": None,
}

OVERRIDE = "OPENCV_CUDA_DLL_DIRS"
SEARCH_PATH = "OPENCV_CUDA_SEARCH_PATH"


def _from_override():
    for directory in _split(os.environ.get(OVERRIDE, "")):
        yield directory, OVERRIDE


def _from_cuda_path():
    for root in _split(os.environ.get("CUDA_PATH", ""))[:1]:
        yield os.path.join(root, "bin", "x64"), "CUDA_PATH"
        yield os.path.join(root, "bin"), "CUDA_PATH"


def _from_path():
    if os.environ.get(SEARCH_PATH, "").strip() != "0":
        for directory in _split(os.environ.get("PATH", "")):
            yield directory, "PATH"


# The search order: each step yields (directory, where its name comes from), and is asked only as
# long as a family is missing.
ORDER = (_from_override, _from_cuda_path, _from_path)


class Search:
    """One walk through ORDER, with what was found and why other places were not taken."""

    def __init__(self):
        self.missing = dict(BUILD["families"])  # family -> files
        self.found = {}  # family -> (directory, source)
        self.refused = []  # (directory, source, reason)
        self._seen = set()
        if self.missing:
            self._walk()

    def _walk(self):
        for step in ORDER:
            for directory, source in step():
                # What was ordered is looked at whole: a mistake in it shall be heard of.
                if not self.missing and source != OVERRIDE:
                    return
                self._look(directory, source)

    def directories(self):
        """Return the directories found, each once, in the order found."""
        return list(dict.fromkeys(directory for directory, _ in self.found.values()))

    def _look(self, directory, source):
        """Take from `directory` the families that it holds whole, or keep the reason why none."""
        key = os.path.normcase(directory)
        if key in self._seen:
            return
        self._seen.add(key)
        names, reason = _listing(directory, source)
        if names is None:
            if source == OVERRIDE:
                raise ImportError(
                    '{} names "{}", which {}: correct it or unset it'.format(
                        OVERRIDE, directory, reason
                    ),
                    name="cv2",
                )
            self.refused.append((directory, source, reason))
            return
        for family, files in list(self.missing.items()):
            lacking = [name for name in files if name.lower() not in names]
            if not lacking:
                self.found[family] = (directory, source)
                del self.missing[family]
            elif len(lacking) < len(files):
                reason = "has no " + ", ".join(lacking)
                self.refused.append((directory, source, reason))
        if reason is None and directory not in self.directories():
            self.refused.append((directory, source, "holds none of the DLLs needed"))


def _listing(directory, source):
    """Return (the lower-case names in `directory`, None), or (None, the reason why not)."""
    drive, rest = os.path.splitdrive(directory)
    if not drive or rest[:1] not in ("\\", "/"):
        return None, "is not an absolute directory"
    try:
        if source != OVERRIDE and os.path.normcase(os.getcwd()) == os.path.normcase(directory):
            return None, "is the working directory"
        return {name.lower() for name in os.listdir(directory)}, None
    except FileNotFoundError:
        return None, "does not exist"
    except NotADirectoryError:
        return None, "is not a directory"
    except (OSError, ValueError) as error:
        return None, "cannot be read ({})".format(error)


def _split(value):
    """Return the directories in `value`, which `;` separates but for those inside quotes."""
    parts = value.split('"')
    parts[::2] = [part.replace(";", "\0") for part in parts[::2]]
    return [_clean(part) for part in "".join(parts).split("\0") if part.strip()]


def _clean(directory):
    """Return `directory` as Windows writes it, with its %VARIABLES% filled in."""
    if "%" in directory:
        directory = os.path.expandvars(directory)
    return os.path.normpath(directory.strip())


class _Loading:
    """Registers the directories on entry; after a failure, leaves nothing behind."""

    def __init__(self):
        self.search = None
        self._handles = []  # of os.add_dll_directory: a directory counts as long as its handle does
        self._entered = []  # what each `with` found, the innermost last

    def __enter__(self):
        if os.name != "nt":
            return
        if not self._entered and hasattr(sys, "OpenCV_LOADER"):
            # The loader says so while it works. It does not: an earlier failure left this behind.
            del sys.OpenCV_LOADER
        search = self.search or Search()
        self._entered.append(
            (
                list(sys.path),
                sys.modules.copy(),
                os.environ.get("PATH"),
                hasattr(sys, "OpenCV_LOADER"),
            )
        )
        if self.search is None:
            self.search = search
            self._register(search)

    def __exit__(self, kind, error, traceback):
        if os.name != "nt":
            return
        entered = self._entered.pop()
        if error is None:
            _drop_empty_entry(entered[2])
            return
        missing = _missing(self.search)
        _restore(*entered)
        if not self._entered:
            # The next import shall search anew: the cure may be there by then.
            for handle in self._handles:
                handle.close()
            self._handles, self.search = [], None
        # Only an ImportError about a native file is one that a DLL may be the reason of.
        if missing and type(error) is ImportError and (error.path or "").lower().endswith(".pyd"):
            message = "{} {}".format(error, missing)
            raise ImportError(message, name=error.name, path=error.path) from error

    def _register(self, search):
        directories = search.directories()
        if not directories:
            return
        for directory in directories:
            self._add(directory, search)
        # PATH is what counts before Python 3.8, and on every Python for what DLLs load by their
        # bare name, as cuDNN does its own parts.
        chosen = {os.path.normcase(directory) for directory in directories}
        rest = [
            entry
            for entry in os.environ.get("PATH", "").split(";")
            if os.path.normcase(os.path.normpath(entry.strip(' "'))) not in chosen
        ]
        os.environ["PATH"] = ";".join(directories + rest)

    def _add(self, directory, search):
        if hasattr(os, "add_dll_directory"):  # Python 3.8
            try:
                self._handles.append(os.add_dll_directory(directory))
            except OSError as error:
                search.refused.append((directory, "os.add_dll_directory", str(error)))


def _restore(path, modules, search_path, was_loading):
    """Put the process back to what it was before a native module failed to load."""
    sys.path[:] = path
    for name in [name for name in sys.modules if name == "cv2" or name.startswith("cv2.")]:
        if name not in modules:
            del sys.modules[name]
    for name, module in modules.items():
        if name == "cv2" or name.startswith("cv2."):
            sys.modules[name] = module
    if search_path is None:
        os.environ.pop("PATH", None)
    else:
        os.environ["PATH"] = search_path
    if not was_loading and hasattr(sys, "OpenCV_LOADER"):
        del sys.OpenCV_LOADER


def _drop_empty_entry(before):
    """Take an empty first entry out of PATH, if the loader put it there.

    It does where its config.py names no directory. Windows may take it for the working directory.
    """
    after = os.environ.get("PATH", "")
    if after.startswith(";") and not (before or "").startswith(";"):
        os.environ["PATH"] = after.lstrip(";")


def _missing(search):
    """Return a sentence on the DLLs that were found nowhere and would stop an import, or ""."""
    files = [
        name for files in search.missing.values() for name in files if name not in BUILD["delayed"]
    ]
    if not files:
        return ""
    cuda = BUILD["cuda"]
    off = os.environ.get(SEARCH_PATH, "").strip() == "0"
    return (
        "cv2 needs {}, found neither in {}, nor in CUDA_PATH, {}: set CUDA_PATH to a CUDA{} "
        "toolkit, or {} to the directories that hold {}."
    ).format(
        ", ".join(files),
        OVERRIDE,
        "and {} turns PATH off".format(SEARCH_PATH) if off else "nor on PATH",
        " {}".format(cuda[0]) if cuda else "",
        OVERRIDE,
        "it" if len(files) == 1 else "them",
    )


_loading = _Loading()


def loading():
    """Return a context in which cv2's native module finds its DLLs."""
    return _loading
