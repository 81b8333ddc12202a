"""Image locality: rather nodes that have the images already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scheduler.plugins.payloads import mapping, member, sequence, shown, text, whole
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
        if "images" not in mapping("images", payload, ["images"]):
            raise ValueError(f"images.images: it is missing in {shown(payload)}; give a list like ['repo/app:v1']")
        images = payload["images"]
        field = "images.images"
        if isinstance(images, Mapping):
            sizes = {text(field, image): whole(member(field, image), images[image], 0, _BYTES_MAX) for image in images}
        else:
            sizes = {text(field, image): 0 for image in sequence(field, images)}
        return {"images": dict(sorted(sizes.items()))}

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
