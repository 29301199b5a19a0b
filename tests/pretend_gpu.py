"""A pretend GPU: what fails on a GPU alone shows in tests on a machine without one.

    with pretend_gpu() as gpu:
        image = torch.rand(8, 8, device="cuda")
        image.numpy()  # TypeError, as on a GPU
    print(gpu.launches.total(), gpu.synchronisations)

Tensors of the pretend GPU report `cuda:0` to Python and hold CPU tensors, so that numbers are those of the CPU. What a
GPU refuses raises: tensors of two devices in one operation, `.numpy()` of a tensor on the GPU, a generator of the other
device, bfloat16 or float16 in operations for which CUDA has no such kernel. What costs time on a GPU is counted:
operations that launch kernels, and those at which the CPU waits for the GPU.

Of the project the module `learning.devices` alone is patched, so that a lease finds this GPU. Everything is undone at
the end of the block; only tensors that were made in it remain unusable.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.optim import optimizer as optimizers
from torch.overrides import TorchFunctionMode
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from workflow_scripts.learning import devices

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")

# Operations of the dispatcher at which the CPU waits: their result, or its shape, is needed there.
_WAITING = {
    *("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim"),
    *("unique_consecutive", "bincount", "_linalg_check_errors", "_coalesce"),
}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
_COPYING = {"copy_", "_foreach_copy_"}  # from device to device
# Elsewhere a CPU tensor without dimensions is taken for a number.
_WITHOUT_CPU_SCALARS = {"cat", "stack", "index_select", "gather", "scatter", "mm", "bmm", "addmm", "dot"}
_WITHOUT_LAUNCH = {"detach", "lift_fresh", "alias", "empty", "empty_like", "new_empty", "new_empty_strided"}
_WITHOUT_LAUNCH |= {"empty_strided", "_local_scalar_dense"}  # the latter is counted where the CPU waits
_CPU_ONLY = {"histogram", "_histogramdd_from_bin_cts", "histogramdd"}
_LOW_PRECISION = (torch.bfloat16, torch.float16)
_DOUBLE = (torch.float64, torch.complex128)
# Calls that autocast computes in float32 on a CPU; on a GPU they meet half precision, for which CUDA has no kernel.
_FULL_PRECISION = ("fft_", "linalg_", "cholesky", "quantile", "nanquantile", "polar", "view_as_complex", "complex")
_FULL_PRECISION += ("inverse", "pinverse", "stft", "istft")
_ANY_PRECISION = ("linalg_norm", "linalg_vector_norm", "linalg_vecdot", "linalg_cross")
_FROM_HOST = {"tensor", "as_tensor", "asarray", "new_tensor"}  # calls that copy numbers of Python


@dataclass
class Counts:
    """What the pretend GPU was asked for, by name of the operation.

    Attributes:
        launches: operations that start kernels; one that starts several counts once.
        synchronisations: at which the CPU waits for the GPU, copies between the two among them.
        float64: launches on more than a thousand numbers of double precision, which most GPUs compute slowly.
    """

    launches: Counter[str] = field(default_factory=Counter)
    synchronisations: Counter[str] = field(default_factory=Counter)
    float64: Counter[str] = field(default_factory=Counter)


class GpuTensor(Tensor):
    """A tensor of the pretend GPU: for torch's C++ code it is on the CPU; `stored` holds its numbers."""

    stored: Tensor

    @staticmethod
    def __new__(cls, stored: Tensor) -> "GpuTensor":
        layout: dict[str, Any] = {}
        if stored.layout == torch.strided:
            layout = {"strides": stored.stride(), "storage_offset": stored.storage_offset()}
        return Tensor._make_wrapper_subclass(
            cls, stored.shape, dtype=stored.dtype, layout=stored.layout, device=CPU, **layout
        )

    def __init__(self, stored: Tensor) -> None:
        self.stored = stored

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"pretend GPU: {operation} on a tensor that outlived its pretend_gpu()")

    def __repr__(self) -> str:
        return f"GpuTensor({tuple(self.stored.shape)}, {self.stored.dtype})"


class Generator(torch._C.Generator):
    """A generator that knows on which device it was made."""

    def __new__(cls, device: torch.device | str = CPU) -> "Generator":
        generator = super().__new__(cls, CPU)
        generator.made_on = GPU if _is_gpu(device) else CPU
        return generator

    @property
    def device(self) -> torch.device:
        return self.made_on


class _Autocast(torch.autocast):
    """Autocast of the GPU by that of the CPU."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


def _begin_without_gradients(self: torch.inference_mode) -> None:
    """Inference mode as no_grad: tensors of a subclass cannot be made in it. For decorated functions too."""
    self.gradients = torch.set_grad_enabled(torch.is_grad_enabled() and not self.mode)


def _end_without_gradients(self: torch.inference_mode, *error: Any) -> None:
    self.gradients.__exit__(*error)


class _Moved(torch.autograd.Function):
    """A copy of a tensor on the other device; its gradient goes the way back."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return tensor.stored.clone() if isinstance(tensor, GpuTensor) else GpuTensor(tensor.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Moved.apply(gradient)


class _Operations(TorchDispatchMode):
    """Below autograd: computes every operation on the stored tensors, refuses and counts."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self.counts = counts
        self.creates_on_gpu = False  # where an operation without tensors puts its result

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = list(_tensors((args, kwargs)))
        on_gpu = [tensor for tensor in tensors if isinstance(tensor, GpuTensor)]
        name = operation._schema.name.split("::")[1]
        if on_gpu and len(on_gpu) < len(tensors):
            self._refuse_mixing(name, args, tensors)
        is_gpu = bool(on_gpu) or (self.creates_on_gpu and not tensors)
        if is_gpu:
            _refuse_missing_kernel(name, on_gpu)
            self._count(operation, name, args, on_gpu)
        wrappers = {id(tensor.stored): tensor for tensor in on_gpu}

        def as_gpu(value: Any) -> Any:
            if not is_gpu or not isinstance(value, Tensor):
                return value
            if id(value) in wrappers:  # of an operation in place
                return wrappers[id(value)]
            # The wrapper could not show that the numbers are to be conjugated or negated
            return GpuTensor(value.resolve_conj().resolve_neg())

        return tree_map(as_gpu, operation(*tree_map(_stored, args), **tree_map(_stored, kwargs)))

    def _refuse_mixing(self, name: str, args: tuple, tensors: list[Tensor]) -> None:
        if name in _COPYING:
            self.counts.synchronisations[f"{name} between devices"] += 1
            return
        indices = args[1] if name in _INDEXING and isinstance(args[0], GpuTensor) else ()
        for tensor in tensors:
            if isinstance(tensor, GpuTensor):
                continue
            if any(tensor is index for index in indices):
                self.counts.synchronisations[f"{name} by an index on the CPU"] += 1
            elif tensor.dim() or name in _WITHOUT_CPU_SCALARS or name.startswith("_fused"):
                shapes = [(type(each).__name__, tuple(each.shape)) for each in tensors]
                raise RuntimeError(f"pretend GPU: {name} of tensors on cuda:0 and cpu: {shapes}")

    def _count(self, operation: Any, name: str, args: tuple, on_gpu: list[GpuTensor]) -> None:
        if name in _WAITING:
            self.counts.synchronisations[name] += 1
        # A number of the CPU is filled in where the mask holds, without counting how often it does
        fills = len(args) > 2 and not isinstance(args[2], GpuTensor)
        if name in _INDEXING and not fills and any(_is_mask(index) for index in args[1]):
            self.counts.synchronisations[f"{name} by a mask"] += 1
        if name == "repeat_interleave" and len(args) < 2:  # the length of the result is a sum on the GPU
            self.counts.synchronisations[name] += 1
        if operation.is_view or name in _WITHOUT_LAUNCH:
            return
        self.counts.launches[name] += 1
        if any(tensor.dtype in _DOUBLE and tensor.numel() > 1000 for tensor in on_gpu):
            self.counts.float64[name] += 1


class _Calls(TorchFunctionMode):
    """Above autograd: what Python sees of devices, moves between them, and generators."""

    def __init__(self, operations: _Operations) -> None:
        super().__init__()
        self.operations, self.counts = operations, operations.counts
        self.instead: dict[Callable, Callable] = {
            Tensor.device.__get__: lambda tensor: _device(tensor),
            Tensor.is_cuda.__get__: lambda tensor: isinstance(tensor, GpuTensor),
            Tensor.is_cpu.__get__: lambda tensor: not isinstance(tensor, GpuTensor),
            Tensor.get_device: lambda tensor: 0 if isinstance(tensor, GpuTensor) else -1,
            Tensor.pin_memory: lambda tensor: tensor,
            Tensor.cpu: lambda tensor, **options: self._to(tensor, CPU, **options),
            Tensor.cuda: lambda tensor, device=GPU, **options: self._to(tensor, GPU, **options),
            Tensor.to: self._to,
            Tensor.type_as: self._to,
            Tensor.numpy: _on_cpu_alone(Tensor.numpy),
            Tensor.__array__: _on_cpu_alone(Tensor.__array__),
            Tensor.tolist: self._tolist,
        }

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function in self.instead and args and isinstance(args[0], Tensor):
            return self.instead[function](*args, **kwargs)
        name = getattr(function, "__name__", "")
        on_gpu = [tensor for tensor in _tensors((args, kwargs)) if isinstance(tensor, GpuTensor)]
        device = kwargs.get("device")
        is_gpu = bool(on_gpu) if device is None else _is_gpu(device)
        if name in _FROM_HOST and (is_gpu or on_gpu):
            return self._from_host(function, args, kwargs, is_gpu)
        _refuse_half_precision(name, on_gpu)
        _refuse_other_generator(name, (*args, *kwargs.values()), is_gpu)
        if device is not None:
            kwargs["device"] = CPU
        with self._creating(is_gpu):
            return function(*args, **kwargs)

    @contextmanager
    def _creating(self, on_gpu: bool) -> Iterator[None]:
        before, self.operations.creates_on_gpu = self.operations.creates_on_gpu, on_gpu
        try:
            yield
        finally:
            self.operations.creates_on_gpu = before

    def _from_host(self, function: Callable, args: tuple, kwargs: dict, is_gpu: bool) -> Tensor:
        """torch.tensor and its like, from or to the GPU."""
        data = args[1] if function is Tensor.new_tensor else args[0]
        dtype = kwargs.get("dtype") or (args[0].dtype if function is Tensor.new_tensor else None)
        if isinstance(data, GpuTensor):
            return self._to(data, GPU if is_gpu else CPU, dtype)
        with self._creating(False):
            return self._to(torch.as_tensor(data, dtype=dtype), GPU if is_gpu else CPU)

    def _to(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Tensor.to with all its forms."""
        device, dtype, waits = _destination(args, kwargs)
        is_gpu = isinstance(tensor, GpuTensor)
        moves = device is not None and _is_gpu(device) != is_gpu
        if moves:
            if waits:
                self.counts.synchronisations["copy to the CPU" if is_gpu else "copy to the GPU"] += 1
            tensor = _Moved.apply(tensor)
        copies = kwargs.get("copy", False) and not moves
        form = {key: value for key, value in kwargs.items() if key == "memory_format"}
        if dtype is None and not copies and not form:
            return tensor
        with self._creating(isinstance(tensor, GpuTensor)):
            return Tensor.to(tensor, dtype or tensor.dtype, copy=copies, **form)

    def _tolist(self, tensor: Tensor) -> list:
        if isinstance(tensor, GpuTensor):
            self.counts.synchronisations["tolist"] += 1
        return _stored(tensor).tolist()


@contextmanager
def pretend_gpu() -> Iterator[Counts]:
    """Give this process one GPU that does not exist, until the end of the block; the counts grow as it works."""
    counts = Counts()
    operations = _Operations(counts)
    with ExitStack() as stack:
        for owner, name, value in _replacements(Path(stack.enter_context(tempfile.TemporaryDirectory()))):
            stack.enter_context(mock.patch.object(owner, name, value))
        stack.enter_context(mock.patch.dict(os.environ))  # a lease sets CUDA_VISIBLE_DEVICES
        # A module's parameters cannot become GPU tensors in place
        overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrite)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        # The modes hold for one thread, in which gradients are then computed too
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        stack.enter_context(operations)
        stack.enter_context(_Calls(operations))
        yield counts


def _replacements(folder: Path) -> Iterable[tuple[Any, str, Any]]:
    """What is patched: owner, name, value. `folder` holds the lock files of leases."""
    gpu = devices.Gpu("0", "pretend")
    return [
        (torch, "Generator", Generator),
        (torch.inference_mode, "__enter__", _begin_without_gradients),
        (torch.inference_mode, "__exit__", _end_without_gradients),
        (torch, "autocast", _Autocast),
        (torch.amp, "autocast", _Autocast),
        (torch.cuda, "is_bf16_supported", lambda *args, **kwargs: True),
        (torch.cuda, "device_count", lambda: 1),
        (torch.cuda, "synchronize", lambda *args: None),
        (devices, "visible_gpus", lambda: [gpu]),
        (devices, "lock_folder", lambda: folder),
        # As on a GPU, optimizers update many parameters in one operation
        (optimizers, "_foreach_supported_types", [*optimizers._foreach_supported_types, GpuTensor]),
        (_foreach_utils, "_foreach_supported_types", [*_foreach_utils._foreach_supported_types, GpuTensor]),
        (torch._C, "_group_tensors_by_device_and_dtype", _grouped),
    ]


def _grouped(columns: list[list], with_indices: bool = False) -> dict[tuple[torch.device, torch.dtype], tuple]:
    """Rows of lists of tensors, grouped by device and type of the first list; torch takes all for the CPU's."""
    groups: dict = {}
    for index, first in enumerate(columns[0]):
        lists, indices = groups.setdefault((_device(first), first.dtype), ([[] for _ in columns], []))
        indices.append(index)
        for column, members in zip(columns, lists, strict=True):
            members.extend(column[index : index + 1])
    return groups


def _tensors(values: Any) -> Iterator[Tensor]:
    """The tensors among arguments, in the order of the arguments."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))


def _stored(value: Any) -> Any:
    return value.stored if isinstance(value, GpuTensor) else value


def _device(tensor: Tensor) -> torch.device:
    return GPU if isinstance(tensor, GpuTensor) else CPU


def _is_gpu(device: torch.device | str | int) -> bool:
    return isinstance(device, int) or torch.device(device).type == "cuda"


def _on_cpu_alone(convert: Callable) -> Callable:
    """A conversion to numpy that refuses tensors of the GPU."""

    def converted(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if isinstance(tensor, GpuTensor):
            raise TypeError("pretend GPU: can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() first")
        return convert(tensor, *args, **kwargs)

    return converted


def _destination(args: tuple, kwargs: dict) -> tuple[torch.device | None, torch.dtype | None, bool]:
    """Device and type that the arguments of Tensor.to name, and whether a copy to it makes the CPU wait."""
    device, dtype, waits = None, kwargs.get("dtype"), not kwargs.get("non_blocking", False)
    for value in (*args, kwargs.get("device"), kwargs.get("other")):
        if isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, Tensor):
            device, dtype = _device(value), value.dtype
        elif isinstance(value, bool):
            waits = not value
        elif isinstance(value, torch.device | str | int):
            device = torch.device(value)
    return device, dtype, waits


def _is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype == torch.bool


def _refuse_missing_kernel(name: str, on_gpu: list[GpuTensor]) -> None:
    """Raise where CUDA has no kernel for the operation."""
    if name in _CPU_ONLY:
        raise NotImplementedError(f"pretend GPU: {name} has no kernel for CUDA")
    low = {tensor.dtype for tensor in on_gpu if tensor.dtype in _LOW_PRECISION}
    if low and ("fft" in name or any(tensor.layout != torch.strided for tensor in on_gpu)):
        kind = "a Fourier transform" if "fft" in name else "a sparse product"
        raise NotImplementedError(f"pretend GPU: {name}: CUDA has no kernel for {kind} of {low}")


def _refuse_half_precision(name: str, on_gpu: list[GpuTensor]) -> None:
    """Raise where the call gets half precision that autocast of the CPU turns to float32 and that of CUDA does not."""
    if name.startswith(_FULL_PRECISION) and not name.startswith(_ANY_PRECISION):
        low = {tensor.dtype for tensor in on_gpu if tensor.dtype in _LOW_PRECISION}
        if low:
            raise NotImplementedError(f"pretend GPU: {name}: CUDA has no kernel for {low}")


def _refuse_other_generator(name: str, values: tuple, is_gpu: bool) -> None:
    for value in values:
        if isinstance(value, torch._C.Generator) and _is_gpu(value.device) != is_gpu:
            where = "cuda:0" if is_gpu else "cpu"
            raise RuntimeError(f"pretend GPU: {name} on {where} with a generator on {value.device}")
