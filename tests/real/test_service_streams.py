"""Streams of several sources as one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from backends.real.service.streams import merged


async def count(stop: int, ended: list[int] | None = None) -> AsyncIterator[int]:
    try:
        for number in range(stop):
            await asyncio.sleep(0)
            yield number
    finally:
        if ended is not None:
            ended.append(stop)


async def fail() -> AsyncIterator[int]:
    yield 7
    raise ValueError("no such node")


async def for_ever(ended: list[int]) -> AsyncIterator[int]:
    try:
        await asyncio.Event().wait()
        yield 0
    finally:
        ended.append(0)


async def collect(stream: AsyncIterator[int]) -> list[int]:
    return [number async for number in stream]


@pytest.mark.parametrize("at_once", [1, 2, 9])
def test_everything_comes(at_once: int) -> None:
    assert sorted(asyncio.run(collect(merged([count(2), count(0), count(200)], at_once)))) == sorted(
        [*range(200), 0, 1]
    )
    assert asyncio.run(collect(merged([], at_once))) == []


def test_one_at_a_time_keeps_the_order() -> None:
    assert asyncio.run(collect(merged((count(stop) for stop in (2, 3)), 1))) == [0, 1, 0, 1, 2]


def test_an_error_ends_the_others() -> None:
    async def main() -> tuple[list[int], list[int]]:
        ended: list[int] = []
        found: list[int] = []
        try:
            async for number in merged([for_ever(ended), fail()], 2):
                found += [number]
        except ValueError:
            return found, ended
        raise AssertionError("the error does not come out")

    assert asyncio.run(main()) == ([7], [0])


def test_whoever_stops_listening_stops_them() -> None:
    async def main() -> list[int]:
        ended: list[int] = []
        async with contextlib.aclosing(merged([count(1000, ended), for_ever(ended)], 2)) as numbers:
            async for _ in numbers:
                break
        return ended

    assert sorted(asyncio.run(main())) == [0, 1000]
