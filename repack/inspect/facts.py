"""What the run-time module has to know of a wheel: its `BUILD`."""

from collections.abc import Callable, Iterable

from repack.dlls.families import (
    Dll,
    Kind,
    classify,
    companions,
    cure,
    general_cures,
    index_requirement,
    key_of,
)
from repack.inspect.analysis import Analysis
from repack.record import Cargo


def build_facts(
    analysis: Analysis,
    carried: Iterable[Cargo] = (),
    left: Iterable[str] = (),
    help_url: str = "",
) -> dict[str, object]:
    """Return the facts of a build of the wheel.

    `carried` are the DLLs that are put into it, `left` those that these need of the machine;
    `help_url` is where the pages on the module's messages are served, "" for nowhere.
    """
    wheel, major = analysis.wheel, analysis.cuda_major
    cuda = analysis.cuda_version or (None if major is None else (major, None))
    outside = [need for need in analysis.needs if need.in_wheel is None]
    files = _list_toolkit_files(analysis, left)
    toolkit = [classify(name) for name in files]
    dlls = [*(need.dll for need in outside), *toolkit]
    cures = {dll.family: cure(dll, cuda) for dll in dlls}
    modules = analysis.cv2 or analysis.native
    places = [(dll.family, *dll.member.rpartition("/")[::2]) for dll in carried]
    return {
        "cuda": cuda,
        "cures": general_cures() | {family: text for family, text in cures.items() if text},
        "delayed": tuple(name for name, delayed in files.items() if delayed),
        "families": _by_family(toolkit, lambda dll: dll.name),
        "help_url": f"{help_url.rstrip('/')}/" if help_url else "",
        "kinds": {dll.key: dll.family for dll in dlls},
        "machine": analysis.images[modules[0]].machine if modules else "x86-64",
        "numpy": {None: None, "1": "numpy<2"}.get(analysis.numpy, "numpy"),
        "opencv": wheel.filename.version.public,
        "original": {"filename": wheel.path.name, "sha256": wheel.sha256},
        "others": tuple(
            need.dll.name for need in outside if need.dll.kind is Kind.UNKNOWN and not need.delayed
        ),
        "requires": _by_family(toolkit, lambda dll: major and index_requirement(dll, major)),
        "stand_ins": {name: folder for family, folder, name in places if family == "driver"},
        "vendored": tuple(sorted({folder for family, folder, _ in places if family != "driver"})),
    }


def _list_toolkit_files(analysis: Analysis, left: Iterable[str]) -> dict[str, bool]:
    """Return the DLLs of CUDA and cuDNN outside the wheel, True for those only delay-loaded.

    They are those that the binaries name, those that are `left` to the machine, and what these
    import in their turn.
    """
    inside = {key_of(member.rpartition("/")[2]) for member in analysis.images}
    files = [(need.dll.name, need.delayed) for need in analysis.toolkit_needs]
    files += [(name, False) for name in left]
    imported = [
        (partner, delayed) for name, delayed in files for partner in companions(classify(name))
    ]
    files += [(name, delayed) for name, delayed in imported if key_of(name) not in inside]
    names = {key_of(name): name for name, _ in reversed(files)}
    loaded = {key_of(name) for name, delayed in files if not delayed}
    return {names[key]: key not in loaded for key in sorted(names)}


def _by_family(
    dlls: Iterable[Dll], text_of: Callable[[Dll], str | int | None]
) -> dict[str, tuple[str, ...]]:
    """Return for each family the texts of its DLLs, each once."""
    families: dict[str, set[str]] = {}
    for dll in dlls:
        families.setdefault(dll.family, set()).add(str(text_of(dll) or ""))
    return {family: tuple(sorted(texts - {""})) for family, texts in families.items()}
