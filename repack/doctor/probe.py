"""Runs inside the Python that is looked at: what it is, and what comes of its `import cv2`.

Standard library only, Python 3.6 and later. The job in argv[1] (JSON) names the task; the answer is
one marked line of ASCII. Only the task "import" imports cv2.
"""

import importlib.util
import json
import os
import sys
import sysconfig
from functools import lru_cache
from importlib.machinery import ExtensionFileLoader
from types import ModuleType

MARK = "@repack "
#: What else of a machine may be missing.
SYSTEM_DLLS = ("nvcuda.dll", "msvcp140.dll", "mfplat.dll")
#: What cv2's loaders import of NumPy before anything else.
NUMPY = ("numpy", "numpy.core", "numpy.core.multiarray")
MODULE_NOT_FOUND = 126


class Loaded(BaseException):
    """Ends an import where Windows has loaded the native module; no handler of errors takes it."""


def describe_python(job):
    """Return what this Python is, and where it would import cv2 from."""
    spec = importlib.util.find_spec("cv2")
    return {
        "version": "{}.{}.{}".format(*sys.version_info[:3]),
        "implementation": sys.implementation.name,
        "platform": sysconfig.get_platform(),
        "threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "executable": sys.executable or "",
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "path": [os.path.abspath(entry) for entry in sys.path],
        "origin": (spec and spec.origin) or "",
        "folders": list((spec and spec.submodule_search_locations) or ()),
    }


def try_import(job):
    """Return what comes of `import cv2` as it is, and what would come of it once it is fixed."""
    cuda_dlls = load_module(job["module"])
    report = cuda_dlls.load_report()
    report.read_imports = lru_cache(maxsize=None)(report.read_imports)  # they are followed twice
    attempt = cuda_dlls.Attempt(job["folder"], job["build"])
    windows, build = attempt.windows, attempt.search.build
    system = {name: find_dll(windows, name) for name in SYSTEM_DLLS}
    numpy, numpy_error = import_numpy()
    native, error = import_up_to_native(lambda path: find_load_error(report, attempt, path))
    modules = windows.list_modules()
    files = [name for names in build["families"].values() for name in names]
    attempt.prepare()
    return {
        "error": describe_error(error),
        "numpy": numpy,
        "numpy_error": describe_error(numpy_error),
        "numpy_fits": not report.find_numpy_causes(build),
        "system": system,
        "loaded": {name: modules[name.lower()] for name in files if name.lower() in modules},
        "fixed": explain(report, attempt, native, error),
    }


def load_module(path):
    """Return the run-time module, which knows no cv2 but the one that it will be told of."""
    spec = importlib.util.spec_from_file_location("cuda_dlls", path)
    module = sys.modules["cuda_dlls"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find_dll(windows, name):
    """Return where Windows loads a DLL from, "" where it does not."""
    handle = windows.load(name).handle
    path = windows.find_module(name) if handle else ""
    windows.free(handle)
    return path


def import_numpy():
    """Return NumPy's version and None, or "" and the error; then something stands in for it."""
    try:
        import numpy
    except Exception as error:
        sys.modules.update({name: ModuleType(name) for name in NUMPY})
        return "", error
    return numpy.__version__, None


def find_load_error(report, attempt, native):
    """Return the number with which Windows refuses to load the native module as things are, or 0.

    Where a DLL is found nowhere, nothing large has to be loaded to know that.
    """
    search, choices = attempt.search, attempt.search.choices
    search.choices = []  # which are not registered yet
    is_missing = bool(report.Walk(native, attempt).missing)
    search.choices = choices
    return MODULE_NOT_FOUND if is_missing else attempt.windows.load(native).number


def import_up_to_native(load):
    """Return the native module's path, "" where the loader comes to none, and the error or None.

    cv2's own loader runs; in place of the native module `load` takes its file, and returns 0 or
    Windows' error number. What the loader changes in the process is taken back.
    """
    natives, cookies, error = [], [], None
    create_module = ExtensionFileLoader.create_module
    add_directory = getattr(os, "add_dll_directory", None)
    search_path, import_path = os.environ.get("PATH", ""), list(sys.path)

    def load_file(loader, spec):
        if spec.name.rpartition(".")[2] != "cv2":
            return create_module(loader, spec)
        natives.append(spec.origin)
        number = load(spec.origin)
        if number == 0:
            raise Loaded
        text = "DLL load failed while importing cv2: error {}".format(number)
        raise ImportError(text, name="cv2", path=spec.origin)

    def register(directory):
        cookies.append(add_directory(directory))
        return cookies[-1]

    ExtensionFileLoader.create_module = load_file
    if add_directory:
        os.add_dll_directory = register
    try:
        import cv2  # noqa: F401 - its loader alone runs

        error = ImportError("nothing in it imports a native module", name="cv2")
    except Loaded:
        pass
    except Exception as raised:
        error = raised
    ExtensionFileLoader.create_module = create_module
    if add_directory:
        os.add_dll_directory = add_directory
    os.environ["PATH"], sys.path[:] = search_path, import_path
    for cookie in filter(lambda cookie: cookie.path, cookies):  # a fixed cv2 closes its own
        cookie.close()
    return "".join(natives[-1:]), error


def explain(report, attempt, native, error):
    """Return what a fixed cv2 does, in the words of the report that wheels carry."""
    causes = []
    if isinstance(error, ImportError):
        attempt.is_recursion = not native and error.name in (None, "cv2", "cv2.cv2")
        causes = report.find_causes(error, attempt)
    if native and not causes:
        error = None  # with these directories, Windows loads it
    explanation = report.Explanation(attempt, error, causes)
    facts = report.collect_facts(explanation, describe_error(error))
    attempt.release()
    details = explanation.describe_details()
    facts["clauses"], facts["cures"] = explanation.describe_causes(), explanation.find_cures()
    facts["details"] = [line for line in details if "cv2.cuda_dlls" not in line]
    return facts


def describe_error(error):
    """Return an exception as Python's last line of a traceback would begin, "" for None."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[:1]]) if error else ""


def import_genuinely(job):
    """Return the version of cv2, which is imported as a user does it, or the error."""
    try:
        import cv2
    except Exception as error:
        return {"version": "", "error": str(error) or repr(error)}
    return {"version": getattr(cv2, "__version__", ""), "error": ""}


TASKS = {"describe": describe_python, "try": try_import, "import": import_genuinely}

if __name__ == "__main__":
    # Python puts the folder of its program in front; nobody's cv2 is to be looked for in it.
    own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry and os.path.abspath(entry) != own]
    job = json.loads(sys.argv[1])
    sys.stdout.write("\n" + MARK + json.dumps(TASKS[job["task"]](job)) + "\n")
