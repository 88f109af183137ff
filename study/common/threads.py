"""Results of many items, computed in threads, a few of them at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def in_threads(
    function: Callable[[S], T], items: Iterable[S], threads: int, ahead: int
) -> Iterator[T]:
    """Yield the results of `items` in their order; `ahead` more are being computed meanwhile.

    So memory does not grow with the number of items.
    """
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
