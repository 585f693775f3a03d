"""A function over many items on several cores: in order, in flat memory, and without a process left behind."""

import multiprocessing
import os
import pickle
import resource
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, Final, TypeVar

from pipelines.base.errors import ConcatError

_WAITING_PER_WORKER: Final = 4

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def usable_cores() -> int:
    """How many cores this process may use, which in a container or batch job can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def allow_open_files(wanted: int = 1 << 16) -> None:
    """Lets this process and those it starts open so many files, or as many as the system lets anyone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def paying_workers(items: int, *, worth: int) -> int:
    """As many processes as pay for so many items, of which `worth` take as long as a process takes to start."""
    return min(usable_cores(), 1 + items // worth)


def in_processes(
    function: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int, beside: bool = False
) -> Generator[_Result, None, None]:
    """Yields `function(item)` for every item, in their order, computed by `workers` processes.

    Only a few items per worker are taken ahead of the result that is being waited for, so neither items nor results
    pile up. The processes end when the last result is taken, when the iterator is closed, and at any error; what
    `function` raises is raised here. They never hear Ctrl-C: this process does, and ends them.

    Args:
        function: can be pickled; goes to each process once, so it may carry a large context (`functools.partial`).
        items: can be pickled, each a piece of work of at least some milliseconds.
        workers: number of processes, bounded by `usable_cores`; 1 means in this process.
        beside: this process has work of its own meanwhile, so 1 means one other process, and 0 this one.

    Raises:
        ConcatError: a process was killed; or whatever `function` raises.
    """
    workers = min(workers, usable_cores())
    if workers < (1 if beside else 2):
        yield from map(function, items)
        return
    # spawn: a fork of a process that runs torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    carried = pickle.dumps(function, pickle.HIGHEST_PROTOCOL)  # here, not once for each process
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare_worker, initargs=(carried,))
    waiting: deque[Future[Any]] = deque()
    try:
        for item in items:
            with interrupts_held_back():  # a process may be started here
                waiting.append(pool.submit(_run_in_worker, item))
            if len(waiting) == _WAITING_PER_WORKER * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise ConcatError(
            "A worker process was ended from outside.", mend="It may have run out of memory; use fewer workers."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Ctrl-C waits meanwhile; processes and threads started here never hear it."""
    resource_tracker.ensure_running()  # it would let interrupts through again if it were started below
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Called in a worker: it ends when its parent does, which if it was killed can no longer end it."""
    threading.Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


_function: Callable[[Any], Any]  # in a worker: what it runs


def _prepare_worker(carried: bytes) -> None:
    global _function
    end_with_parent()
    _function = pickle.loads(carried)
    if "torch" in sys.modules:  # the workers are what runs side by side; threads of each would only contend
        sys.modules["torch"].set_num_threads(1)


def _run_in_worker(item: Any) -> Any:
    return _function(item)
