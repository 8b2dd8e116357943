"""The pages of a static index in a browser: what a person sees where pip reads links."""

from pathlib import Path

import msgspec
import pytest
from browsing import check_looks, contrasts, opened
from playwright.sync_api import Browser

from repack.index.page import format_project_page, format_root_page
from repack.index.project import Facts, File, make_project

NAME = "opencv-contrib-python"
ALL = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
SUMMARY = "Wrapper package for OpenCV python bindings."
NVIDIA = ("cublas", "cuda-runtime", "cudnn", "cufft", "npp")


def wheels(
    version: str, mode: str, *, yanked: str | bool = False, cuda: str = "12.9", size: int = 0
) -> tuple[File, ...]:
    """Return the wheels of a version, one for each Python."""
    requires = ["numpy>=2; python_version>='3.9'", "numpy<2; python_version<'3.9'"]
    if mode == "depend":
        requires += [f"nvidia-{name}-cu12<13,>=12.9" for name in NVIDIA]
    return tuple(
        File(
            filename=f"opencv_contrib_python-{version}-{tag}-{tag}-win_amd64.whl",
            size=size + 182_334_101,
            url=f"opencv_contrib_python-{version}-{tag}-{tag}-win_amd64.whl",
            hashes={"sha256": f"{number:x}" * 64},
            upload_time="2026-11-24T09:30:00Z",
            requires_python=f"=={python}.*",
            core_metadata={"sha256": "ab" * 32},
            yanked=yanked,
            facts=Facts(
                summary=SUMMARY,
                requires=tuple(requires),
                mode=mode,
                cuda=cuda,
                driver_stub=mode == "vendor",
                seen=((python, "not-run" if python == "3.14" else "passed"),),
            ),
        )
        for number, python in enumerate(ALL, 1)
        for tag in [f"cp{python.replace('.', '')}"]
    )


SEVERAL = make_project(
    NAME,
    (
        *wheels("4.13.0.90+cu129.vendor", "vendor", size=1_400_000_000),
        *wheels("4.13.0.90+cu129.patch", "patch"),
        *wheels("4.13.0.90+cu129.depend", "depend"),
        *wheels("4.12.0.88+cu126", "patch", cuda="12.6", yanked="built for the wrong driver: " * 3),
    ),
)
#: Names as long as file systems take them, and files that no build is known of.
STRANGE = make_project(
    NAME,
    (
        *wheels("5.0rc1", "patch"),
        *wheels("4.13.0.90+cu129.team.x86.windows.server.2025.internal.build.20261124", "depend"),
        File(
            filename="opencv_contrib_python-4.11.0.86-cp37-abi3-win_amd64.whl",
            url="opencv_contrib_python-4.11.0.86-cp37-abi3-win_amd64.whl",
            size=46_000,
            hashes={"sha256": "0" * 64},
            upload_time="2025-01-01T00:00:00Z",
        ),
        File(
            filename="opencv_contrib_python-4.10.0.tar.gz",
            url="opencv_contrib_python-4.10.0.tar.gz",
            size=46_000_000,
            hashes={"sha256": "0" * 64},
            upload_time="2025-01-01T00:00:00Z",
            yanked=True,
        ),
    ),
)
LONG = "a-package-whose-name-" + "goes-on-" * 12 + "end"
URL = "https://index.example.com/team/simple/"
PAGES = {
    "project": format_project_page(SEVERAL, URL),
    "strange": format_project_page(STRANGE, ""),
    "root": format_root_page([SEVERAL, msgspec.structs.replace(STRANGE, name=LONG)]),
}


@pytest.mark.browser
def test_the_pages_answer_what_there_is_and_nothing_is_cut(chrome: Browser, tmp_path: Path) -> None:
    for name, content in PAGES.items():
        file = tmp_path / f"{name}.html"
        file.write_bytes(content)
        for width in (360, 1400):
            with opened(chrome, file, width=width) as page:
                check_looks(page)
                page.emulate_media(color_scheme="dark")
                assert contrasts(page) >= 4.5
    with opened(chrome, tmp_path / "project.html") as page:
        rows = [
            [cell.inner_text() for cell in row.locator("th, td").all()]
            for row in page.locator(".overview tbody tr").all()
        ]
        command = page.locator(".install pre").first.inner_text()
    on, tested = "3.9 to 3.14", "imports on 3.9 to 3.13; not run on 3.14"
    carries = "carries the CUDA DLLs, has stand-ins for the driver"
    finds = "finds the CUDA DLLs on the machine"
    assert rows == [
        ["4.13.0.90+cu129.vendor", "12.9", carries, on, tested],
        ["4.13.0.90+cu129.patch", "12.9", finds, on, tested],
        ["4.13.0.90+cu129.depend", "12.9", "requires NVIDIA's wheels", on, tested],
        ["4.12.0.88+cu126 Yanked", "12.6", finds, on, tested],
    ]
    assert command.endswith(f"--index-url {URL} {NAME}==4.13.0.90+cu129.vendor")


def test_what_is_to_be_installed_is_what_an_installer_would_choose() -> None:
    assert b"<h2>Install 4.13.0.90+cu129.team." in PAGES["strange"]
    yanked = msgspec.structs.replace(SEVERAL, files=SEVERAL.files[:6])
    assert b"<h2>Install" not in format_project_page(yanked, URL)


def test_a_file_that_failed_somewhere_or_was_not_tried_is_not_called_tested() -> None:
    file = wheels("1.0", "patch")[0]
    failed = msgspec.structs.replace(file, facts=Facts(mode="patch", seen=(("3.9", "failed"),)))
    untried = msgspec.structs.replace(file, facts=Facts())
    for files, text in (
        ((file,), '"passed"><span class="label">Tested: </span>imports on 3.9<'),
        ((file, failed), '"failed"><span class="label">Tested: </span>imports on 3.9; does not'),
        ((file, untried), '"open"><span class="label">Tested: </span>imports on 3.9; some files'),
        ((untried,), '"open"><span class="label">Tested: </span>not known<'),
    ):
        shown = format_project_page(make_project(NAME, files), URL).decode()
        assert text in shown
