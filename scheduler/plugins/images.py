"""Image locality: rather nodes that have the images already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scheduler.ports import NodeColumns, NodeFacts, ResourcePlugin
from scheduler.types import FloatArray

_BYTES_MAX = 1 << 53


class ImagesPlugin(ResourcePlugin):
    """Prefers nodes by the share of the asked images that they have; it rules out none.

    Payload: ``{"images": ["repo/app:v1", ...]}``, or with sizes in bytes ``{"images": {"repo/app:v1": 73400320}}``, 0
    where unknown. The sizes that nodes know say nothing about the images they lack, so only these are used.
    """

    name = "images"
    uses_images = True
    examples = ({"images": ["web:1"]}, {"images": {"web:1": 70 << 20, "db:2": 1 << 30}})

    def parse(self, payload: Any) -> dict[str, dict[str, int]]:
        """Sort images, drop repeats, give those without a size the size 0."""
        if not isinstance(payload, Mapping) or list(payload) != ["images"]:
            raise ValueError(f"images: {payload!r} must be a mapping with the field images alone")
        images = payload["images"]
        if isinstance(images, str) or not isinstance(images, Mapping | Sequence):
            raise ValueError(f"images.images: {images!r} is not a list of images, e.g. ['repo/app:v1']")
        sizes = images if isinstance(images, Mapping) else dict.fromkeys(_checked(images), 0)
        for image, size in sizes.items():
            if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _BYTES_MAX:
                raise ValueError(f"images.images.{image}: {size!r} must be a number of bytes from 0 to {_BYTES_MAX}")
        return {"images": dict(sorted((image, sizes[image]) for image in _checked(sizes)))}

    def score(self, request: Mapping[str, Any], nodes: NodeColumns, facts: NodeFacts) -> FloatArray | None:
        """The share of the asked images that the row has: of their bytes, or of their number if a size is unknown.

        None if no image is asked.
        """
        images: Mapping[str, int] = request["images"]
        if not images:
            return None
        weights = images if all(images.values()) else dict.fromkeys(images, 1)
        present = np.zeros(len(nodes.rows), dtype=np.int64)
        held = [facts.images(row) for row in nodes.rows.tolist()]
        for image, weight in weights.items():
            present += weight * np.fromiter((image in there for there in held), dtype=np.bool_, count=len(held))
        score: FloatArray = present / sum(weights.values())
        return score


def _checked(images: Any) -> list[str]:
    for image in images:
        if not isinstance(image, str) or not image:
            raise ValueError(f"images.images: {image!r} must be the name of an image, e.g. 'repo/app:v1'")
    return list(images)
