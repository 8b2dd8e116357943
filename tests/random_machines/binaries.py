"""The DLLs of a machine: PE files of a few hundred bytes."""

from __future__ import annotations

from functools import cache

from windowslab import dll

from random_machines.drawing import ARM64, CUT_OFF, IMPORTS, X86


@cache
def make_file(name: str, state: str) -> bytes:
    """Return a DLL in that state."""
    imports = {IMPORTS[name]: ["f"]} if name in IMPORTS else None
    machine = state if state in {X86, ARM64} else "x86-64"
    content = dll("f", imports=imports, machine=machine)
    return content[: len(content) // 2] if state == CUT_OFF else content
