"""Random numbers by counter: each depends on nothing but its arguments, so nothing has to remember a stream."""

from __future__ import annotations

_MASK64 = (1 << 64) - 1


def uniform_draw(seed: int, number: int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments (SplitMix64, Steele et al., OOPSLA 2014)."""
    z = (seed * 0x9E3779B97F4A7C15 + (number + 1) * 0xBF58476D1CE4E5B9) & _MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
    return ((z ^ (z >> 31)) >> 11) / (1 << 53)
