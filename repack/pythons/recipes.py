"""What the Windows Pythons for Wine are put together from: exact files, exact contents."""

from __future__ import annotations

from dataclasses import dataclass

from repack.pythons.maven import Artifact

PANDA3D = "panda3d==1.10.16"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The two files that make one Windows Python.

    panda3d's wheel holds the official CPython DLLs and extension modules; the jar holds
    python.exe and the standard library. The jar's own DLL is patched so that a failing import
    is tried once more with PATH, which would hide the very fault that is looked for.
    """

    #: "3.12"
    version: str
    #: That of the DLL: "3.12.10"
    full_version: str
    panda3d_sha256: str
    jar: Artifact

    @property
    def dll(self) -> str:
        """The name of the DLL that is Python: "python312"."""
        return f"python{self.version.replace('.', '')}"


def _recipe(full_version: str, panda3d_sha256: str, jar: str, size: int, sha256: str) -> Recipe:
    return Recipe(
        version=full_version.rpartition(".")[0],
        full_version=full_version,
        panda3d_sha256=panda3d_sha256,
        jar=Artifact(
            group="org.bytedeco",
            name="cpython",
            version=jar,
            classifier="windows-x86_64",
            size=size,
            sha256=sha256,
        ),
    )


RECIPES = (
    _recipe(
        "3.7.9",
        "a04d91d02e7d0140be4c5b73ad4cd063dc5e97b584447d11b2bf92c5172e010b",
        "3.7.9-1.5.4",
        22_417_124,
        "6c92ec3af6463c474d154948043c09d3c9d7dc1a1970185c7827ca53fbd61bdb",
    ),
    _recipe(
        "3.9.13",
        "11e5f1cd734827ca7925eaab993aaa06c9ac3e0b4d933fd44a99f048803702a1",
        "3.9.6-1.5.6",
        24_308_710,
        "84935ae94d433b806265d01c0e14562ba3e5de73d21c9bb5d5b9e4e7a792d4a7",
    ),
    _recipe(
        "3.10.11",
        "3f5e084314a842875f9fbb2d6276c4bf80faa277592d90620a3b90717c4847e5",
        "3.10.8-1.5.8",
        25_061_482,
        "1e7d342425c87184fbedd8754045db556c63765678a0f11b4539465642ab018b",
    ),
    _recipe(
        "3.11.9",
        "37acfb92655c4226879f95c988e2ef1449a53c54486d6c1ebc00e2772429af82",
        "3.11.3-1.5.9",
        25_789_697,
        "3263a50b256447bb7b9e604d6587627e419891370fc33b94469e6a06ff4de834",
    ),
    _recipe(
        "3.12.10",
        "f6493e2ecc0d1b7c1556a999556e5278cbc9484fe5fe1e159a1ccc02b870b18f",
        "3.12.1-1.5.10",
        24_176_666,
        "e69bc4491c311e19ea7169bafc5efbbe03b980d69c6962b049daf1fcb4913391",
    ),
    _recipe(
        "3.13.11",
        "0e505261bb58d8402d0099c291f1a3459acfdd38f3e7d666e72aa2e1ea5dc46f",
        "3.13.5-1.5.12",
        23_988_748,
        "cfe5502ffa7ea369be707b6d88bf68344732a7800450665080fb4267c01bfeae",
    ),
    _recipe(
        "3.14.2",
        "0978ca7d2953d37ed3ed8d99abd1ee77bbfc75fe6ea47019d0f5f5dad830d853",
        "3.14.3-1.5.13",
        25_083_376,
        "3291bf3d8f405335ac21dbe55780521fdfd295b0f9f43f7e6e8c55bedd709cb3",
    ),
)
