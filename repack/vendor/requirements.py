"""`--mode depend`: the wheel asks pip for NVIDIA's own wheels."""

from repack.cargo import Supplement
from repack.dlls import Cuda, Kind, required
from repack.errors import InputError
from repack.inspect import Analysis, Need
from repack.plan import unpublished_dlls

#: The extra that brings cuDNN, where the binary can do without it.
EXTRA = "dnn"
_KINDS = {Kind.CUDA, Kind.CUDNN, Kind.VC_RUNTIME}


def dependencies(analysis: Analysis) -> Supplement:
    """Return what the wheel has to require; raises InputError where no distribution has a DLL.

    That is exactly the distributions of the DLLs that the binary asks for: what those load in
    their turn, NVIDIA's wheels require themselves. The driver is none of pip's business.
    """
    nowhere = unpublished_dlls(analysis)
    if nowhere:
        raise InputError(
            f"NVIDIA has no wheels with {', '.join(nowhere)}",
            code="no-distribution",
            file=analysis.wheel.path.name,
            hint="use --mode patch, and a toolkit on each machine",
        )
    major, exact = analysis.cuda_major, analysis.cuda_version
    if major is None:
        return Supplement(label="depend")
    needs = [need for need in analysis.needs if need.in_wheel is None and need.dll.kind in _KINDS]
    cuda = exact or (major, None)
    cudnn = [need for need in needs if need.dll.kind is Kind.CUDNN]
    optional = cudnn if all(need.delayed for need in cudnn) else []
    wanted = _requirements([need for need in needs if need not in optional], cuda)
    extra = _requirements(optional, cuda)
    return Supplement(
        label="depend",
        requires=(*wanted, *(f'{each}; extra == "{EXTRA}"' for each in extra)),
        extras=(EXTRA,) if extra else (),
    )


def _requirements(needs: list[Need], cuda: Cuda) -> list[str]:
    return sorted({required(need.dll, cuda) for need in needs} - {""})
