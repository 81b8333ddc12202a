"""Names for the few plain types that everything shares."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

NodeIndex: TypeAlias = int
"""A row of the columns. Not a node's name: that is its ``node_id``."""

Int64Array: TypeAlias = npt.NDArray[np.int64]
Int32Array: TypeAlias = npt.NDArray[np.int32]
FloatArray: TypeAlias = npt.NDArray[np.float64]
MaskArray: TypeAlias = npt.NDArray[np.uint8]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
