"""The main job, step after step: fetch, analyse, patch, plan, emit, try, settle."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING

import msgspec

from repack import __version__, files
from repack.building.supply import Supply
from repack.config import FileSource, SampleSource, require_source, source_date_epoch
from repack.fetch import locate
from repack.inspect import analyse, require_cv2, require_original, require_windows
from repack.results import BuildResult
from repack.wheel import parse_filename

if TYPE_CHECKING:
    from pathlib import Path

    from repack.config import Config
    from repack.console import Task
    from repack.inspect import Analysis

__all__ = ["Supply", "build", "look_through", "obtain_source", "sample_of", "timestamp"]

#: 1980-01-01, the first day that a ZIP archive can name.
_FIRST_DAY = 315_532_800
#: What takes long to import and is needed once the source is read; and so in one mode alone.
_IMPORTED = ("repack.building.making",)
_IMPORTED_TOO = {"vendor": ("repack.vendor.sbom",), "depend": ("repack.vendor",)}
#: The Python that opencv-contrib-python's stable-ABI wheel is resolved for.
_SAMPLE_PYTHON = "3.12"


def build(config: Config, supply: Supply, *, dry_run: bool) -> BuildResult:
    """Return what was made of the configured source; the wheels stand in `config.build.out`."""
    time = timestamp()
    path, url = _named_file(config) or obtain_source(config, supply)
    require_windows(parse_filename(path))
    analysis = _looked_through(path, config, supply)
    from repack.building.making import Made, carried_out, planned  # noqa: PLC0415 - as above
    from repack.record import write_record  # noqa: PLC0415 - the same

    plan = planned(config, analysis, supply, url=url, timestamp=time)
    made = Made() if dry_run else carried_out(config, supply, analysis, plan)
    record = msgspec.structs.replace(plan.record, wheels=made.wheels)
    changes = supply.keep()
    if not dry_run:
        write_record(record, config.build.out)
    return BuildResult(
        plan=plan,
        record=record,
        out=config.build.out,
        lock_changes=changes,
        dry_run=dry_run,
        unchanged=made.unchanged,
        remembered=made.remembered,
    )


def look_through(path: Path, config: Config, supply: Supply, task: Task | None = None) -> Analysis:
    """Return the analysis of the wheel at `path`; the content of a wheel is read once for all."""
    return analyse(
        path,
        pythons=config.build.python,
        allow_startup_hook=config.allow.startup_hook,
        task=task,
        memory=files.Memory(supply.cache.folder("seen")),
    )


def _looked_through(path: Path, config: Config, supply: Supply) -> Analysis:
    """Return the analysis of the wheel, which has a cv2."""
    with (
        # What comes next takes a tenth of the time to import, and the reading leaves room for it.
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="importing") as pool,
        supply.progress.task(f"Reading {path.name}", total=path.stat().st_size) as task,
    ):
        pool.map(import_module, (*_IMPORTED, *_IMPORTED_TOO.get(config.build.mode, ())))
        analysis = look_through(path, config, supply, task)
    require_cv2(analysis)
    require_original(analysis)
    return analysis


def _named_file(config: Config) -> tuple[Path, str] | None:
    """Return the file that the command line names, if it says of no hash: reading will tell it."""
    source = require_source(config)
    if isinstance(source, FileSource) and config.source_is_given and source.sha256 is None:
        return locate(source), f"file:{source.path.name}"
    return None


def obtain_source(config: Config, supply: Supply) -> tuple[Path, str]:
    """Return the verified wheel to start from, and where anybody may get it."""
    source = require_source(config)
    if not isinstance(source, SampleSource):
        # A file named on the command line is the very file that is meant; the lock of some
        # configuration has no say in it.
        fetched = supply.fetch(source, pinned=not config.source_is_given)
        return fetched.path, fetched.url
    base = supply.wheel(f"opencv-contrib-python=={source.opencv}", _SAMPLE_PYTHON)
    return sample_of(base.path, base.sha256, source, supply), base.url


def sample_of(base: Path, sha256: str, source: SampleSource, supply: Supply) -> Path:
    """Return the sample wheel made of the wheel `base`, from the cache where it is there."""
    key = hashlib.sha256(repr((__version__, sha256, source)).encode()).hexdigest()
    folder = supply.cache.folder(f"samples/{key}")
    memory = files.Memory(folder)
    there = next(folder.glob("*.whl"), None)
    if there and memory.recall("sample", str) == files.sha256_of(there):
        return there
    from repack.sample import make_sample  # noqa: PLC0415 - needed the first time alone

    with supply.progress.task(f"Making a sample CUDA {source.cuda} wheel", total=None):
        sample = make_sample(base, cuda=source.cuda, driver=source.driver, folder=folder)
    memory.keep("sample", files.sha256_of(sample))
    return sample


def timestamp() -> int:
    """Return the time of all members, in seconds since 1970: SOURCE_DATE_EPOCH, or 1980."""
    given = source_date_epoch()
    return _FIRST_DAY if given is None else given
