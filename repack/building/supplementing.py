"""What the configured mode adds to the wheels, once what it needs has been fetched."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from repack.errors import FetchError
from repack.plan import Supplement, emitted_version, refusal, requirements_of
from repack.smoke.requirements import requirements_for

if TYPE_CHECKING:
    from repack.building.supply import Supply
    from repack.config import Config
    from repack.inspect import Analysis

#: NVIDIA's wheels hold no Python and are the same for each.
_ANY_PYTHON = "3.12"
#: Codes of the errors that tell what an index does not have.
_NOT_THERE = {"no-such-version", "conflict"}


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
        added = vendor.require_distributions(analysis, supply.list_wheel)
    elif config.build.mode == "vendor":
        wheel = partial(supply.wheel, python=_ANY_PYTHON)
        suppliers = vendor.find_suppliers(config, analysis, wheel, supply.cache, supply.progress)
        version = emitted_version(config.build, analysis, _whole_label(config, label))
        added = vendor.carry_dlls(
            config, analysis, suppliers, supply.cache, version, url, timestamp
        )
    if config.build.driver_stub:
        stubs = vendor.stand_ins(analysis)
        added = replace(
            added,
            label=f"{added.label}.{stubs.label}",
            carried=(*added.carried, *stubs.carried),
            cargo=(*added.cargo, *stubs.cargo),
            findings=(*added.findings, *stubs.findings),
        )
    return added


def find_missing(config: Config, analysis: Analysis, supply: Supply) -> dict[str, str]:
    """Return the Pythons for which the index lacks what the wheel requires, with the reason.

    What is fetched is what the trial installs. An index that cannot be asked tells nothing here:
    the trial says so.
    """
    missing: dict[str, str] = {}
    if not config.smoke.enabled:
        return missing
    lines = requirements_of(analysis, Supplement())
    for python in config.build.python:
        if refusal(python, analysis):
            continue
        for requirement in requirements_for(lines, python, numpy_abi=analysis.numpy):
            try:
                supply.wheel(requirement, python)
            except FetchError as error:
                if error.code not in _NOT_THERE:
                    return missing
                missing[python] = f"it requires {requirement}, and {error.what}"
                break
    return missing


def _whole_label(config: Config, label: str) -> str:
    return f"{label}.stub" if config.build.driver_stub else label
