"""Packs weights for the native kernels: the block formats as they are, floats converted or quantised when asked to.

The exact maps of ggml's formats and the quantisers are native/src/packing.cpp and quantize.cpp.
"""

from __future__ import annotations

from inglenook.errors import CheckpointError
from inglenook.ops import _native
from inglenook.ops.weights import HostTensor, WeightFormat


def pack_matrix(store: _native.WeightStore, tensor: HostTensor, format: WeightFormat) -> _native.PackedWeight:
    """Pack a matrix, [out_features, in_features], into `store`, which keeps it in memory.

    Raises CheckpointError, naming the tensor, where its encoding can't be kept in this format, its bytes are too few
    or too many, or a value is too large for the format.
    """
    out_features, in_features = tensor.shape
    try:
        return store.pack(tensor.data, tensor.encoding, format, out_features, in_features)
    except ValueError as error:
        raise CheckpointError(f"The weight {tensor.name} can't be packed: {error}.") from error
