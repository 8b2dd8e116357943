"""What the configured mode adds to the wheels, once what it needs has been fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repack.cargo import Supplement, joined
from repack.dlls import key_of
from repack.errors import ConfigError
from repack.fetch.pip import check_index
from repack.plan import emitted_version, index_requirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from repack.building.supply import Supply
    from repack.config import Config
    from repack.inspect import Analysis
    from repack.vendor import Rules, Supplier

#: NVIDIA's wheels hold no Python and are the same for each.
_ANY_PYTHON = "3.12"


def supplement(
    config: Config, analysis: Analysis, supply: Supply, *, url: str, timestamp: int
) -> Supplement:
    """Return what the mode adds; `url` is where anybody may get the source.

    Raises RepackError where something that it needs cannot be had, or may not be done.
    """
    label = {"patch": "patched", "depend": "depend", "vendor": "vendored"}[config.build.mode]
    added = Supplement(label=label)
    if config.build.mode == "patch" and not config.build.driver_stub:
        return added
    # What only some modes need is imported for them alone.
    from repack import vendor  # noqa: PLC0415

    if config.build.mode == "depend":
        added = vendor.dependencies(analysis)
    elif config.build.mode == "vendor":
        origin = vendor.Origin(
            version=emitted_version(config.build, analysis, _whole_label(config, label)),
            url=url,
            timestamp=timestamp,
        )
        rules = _rules(config)
        suppliers = _suppliers(config, analysis, supply, rules)
        added = vendor.vendored(analysis, suppliers, rules, origin, supply.cache)
    if config.build.driver_stub:
        added = joined(added, vendor.stand_ins(analysis))
    return added


def check_requirements(requires: Iterable[str], pythons: Sequence[str], supply: Supply) -> None:
    """Raise FetchError for a requirement that the index has no Windows wheel for."""
    if supply.offline:
        return
    plain = [line.partition(";")[0] for line in requires]
    for python in pythons:
        of_python = [line for line in plain if python == pythons[0] or not _is_nvidia(line)]
        if of_python:
            check_index(of_python, python=python, progress=supply.progress)


def _is_nvidia(requirement: str) -> bool:
    return requirement.startswith("nvidia-")


def _whole_label(config: Config, label: str) -> str:
    return f"{label}.stub" if config.build.driver_stub else label


def _rules(config: Config) -> Rules:
    from repack.vendor import Rules  # noqa: PLC0415 - as above

    unlisted = frozenset(map(key_of, config.allow.unlisted_dlls))
    return Rules(families=config.vendor.families, unlisted=unlisted)


def _suppliers(config: Config, analysis: Analysis, supply: Supply, rules: Rules) -> list[Supplier]:
    """Return the directories that are configured, and wheels with what these do not hold."""
    from repack import vendor  # noqa: PLC0415 - as above

    cache = supply.cache
    folders = [vendor.folder_supplier(each, cache) for each in config.vendor.dll_dirs]
    there = {key for folder in folders for key in folder.parts}
    wanted = config.vendor.dlls
    if wanted == "auto":
        major = analysis.cuda_major
        missing = [dll for dll in vendor.wanted_dlls(analysis, rules) if dll.key not in there]
        if missing and major is None:
            raise ConfigError(
                "which CUDA the wheel was built with cannot be told from its binaries",
                code="no-cuda-major",
                file=analysis.wheel.path.name,
                hint="name the DLLs' directory under vendor.dll-dirs",
            )
        found = {index_requirement(dll, major or 0) for dll in missing}
        wanted = tuple(sorted(found - {""}))
    fetched = [supply.wheel(requirement, _ANY_PYTHON) for requirement in wanted]
    wheels = [vendor.wheel_supplier(each, cache, supply.progress) for each in fetched]
    return [*folders, *wheels]
