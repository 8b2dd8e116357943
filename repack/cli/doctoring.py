"""What `repack doctor` and `repack fix` do; the docstring is their help."""

import argparse

from repack.cli.commands import Answer
from repack.console import Progress
from repack.doctor import diagnose, locate_package, open_target
from repack.doctor.fixing import apply_fix, list_changes, plan_fix, read_facts, undo_fix
from repack.process import format_command


def run_doctor(options: argparse.Namespace, progress: Progress) -> Answer:
    r"""Say why `import cv2` fails in a Python, or would, and what to do.

    Takes any installed cv2: untouched, fixed, built for the CPU, several over each other. The
    native module is loaded in a process of its own; nothing is changed. PYTHON is a python.exe or
    the folder of an environment; the default is the active environment, or the Python that `py`
    starts. The exit code is 1 if the import fails.

    Examples:
        repack doctor
        repack doctor .venv
        repack doctor C:\Python312\python.exe --env CUDA_PATH=D:\cuda12

    """
    words = ["repack", "fix", *([str(options.python)] if options.python else [])]
    words += [word for name, value in options.env for word in ("--env", f"{name}={value}")]
    with open_target(options.python, dict(options.env), progress) as target:
        answer = diagnose(target, format_command(words))
    cure = [] if answer["works"] else [f"To fix it: {answer['cure']}"]
    lines = [answer["verdict"], *cure, "", *answer["lines"]]
    return Answer(answer, lines, failed=not answer["works"])


def run_fix(options: argparse.Namespace, progress: Progress) -> Answer:
    """Give an installed cv2 what `repack build` gives a wheel, and import it.

    Edits the installed CUDA build so that it finds the CUDA DLLs, and adds what explains a failed
    import. pip can still uninstall it. After an interruption run it again. --undo restores all.

    Examples:
        repack fix
        repack fix .venv --dry-run
        repack fix .venv --undo

    """
    with open_target(options.python, dict(options.env), progress, task="describe") as target:
        package = locate_package(target)
        if options.undo:
            restored = undo_fix(package)
            return _answer("restored or removed", restored, "" if restored else "nothing to undo")
        files = plan_fix(package, read_facts(package))
        changed = list_changes(package, files)
        if options.dry_run:
            return _answer("would write", changed, "" if changed else "fixed already")
        apply_fix(package, files)
        seen = target.ask("import")
    ending = f"fails: {seen['crash']}" if seen["crash"] else f"works: OpenCV {seen['opencv']}"
    return _answer("wrote", changed, f"import cv2 {ending}", failed=bool(seen["crash"]))


def _answer(word: str, names: list[str], outcome: str, *, failed: bool = False) -> Answer:
    lines = [*(f"{word} {name}" for name in names), *([outcome] if outcome else [])]
    return Answer({"changed": names, "message": outcome}, lines, failed=failed)
