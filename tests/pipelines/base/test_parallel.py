"""Order, laziness and errors of a pool, and that no process outlives it."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import active_children
from pathlib import Path

import pytest

from pipelines.base import parallel
from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.parallel import in_processes, usable_cores


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "usable_cores", lambda: 2)


def slow_square(number: int) -> tuple[int, int]:
    time.sleep(0.02 * (number % 3))
    return number * number, os.getpid()


def refuse(number: int, *, bad: int) -> int:
    if number == bad:
        raise CorruptFileError("Broken.", file=Path("a.png"), mend="Copy it again.")
    return number


def end_abruptly(number: int) -> None:
    os._exit(number)


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_results_come_in_order_from_other_processes() -> None:
    results = list(in_processes(slow_square, range(30), workers=2))
    assert [square for square, _ in results] == [n * n for n in range(30)]
    processes = {process for _, process in results}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert active_children() == []


def test_one_worker_is_this_process() -> None:
    assert list(in_processes(slow_square, range(4), workers=1)) == [(n * n, os.getpid()) for n in range(4)]


def test_beside_this_process_one_worker_is_another() -> None:
    ((square, process),) = in_processes(slow_square, [3], workers=1, beside=True)
    assert square == 9
    assert process != os.getpid()
    assert list(in_processes(slow_square, [3], workers=0, beside=True)) == [(9, os.getpid())]


def test_no_more_workers_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "usable_cores", lambda: 1)
    assert {process for _, process in in_processes(slow_square, range(4), workers=8)} == {os.getpid()}
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_gives_nothing(workers: int) -> None:
    assert list(in_processes(slow_square, [], workers=workers)) == []


def test_items_are_taken_only_as_results_are() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = in_processes(slow_square, items(), workers=2)
    assert taken == []
    for number in range(10):
        assert next(results)[0] == number * number
    assert len(taken) <= 20
    assert active_children()
    results.close()
    assert active_children() == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_arrives_whole(workers: int) -> None:
    with pytest.raises(CorruptFileError) as caught:
        list(in_processes(partial(refuse, bad=3), range(9), workers=workers))
    assert str(caught.value) == "Broken.\nFile: a.png\nMend: Copy it again."
    assert (caught.value.file, caught.value.mend) == (Path("a.png"), "Copy it again.")
    assert active_children() == []


def test_an_error_of_the_items_ends_the_pool() -> None:
    def items() -> Iterator[int]:
        yield from range(9)
        raise ConcatError("No more.")

    with pytest.raises(ConcatError, match="No more"):
        list(in_processes(slow_square, items(), workers=2))
    assert active_children() == []


def test_a_killed_worker_is_a_plain_error() -> None:
    with pytest.raises(ConcatError, match="ended from outside") as caught:
        list(in_processes(end_abruptly, [1, 2], workers=2))
    assert "memory" in (caught.value.mend or "")
    assert active_children() == []


SCRIPT = """
import os, time
from pipelines.base import parallel
parallel.usable_cores = lambda: 2

def show(number):
    os.write(1, f"{os.getpid()}\\n".encode())  # at once, so that the lines of two workers do not mix
    time.sleep(0.3)

if __name__ == "__main__":
    for _ in parallel.in_processes(show, range(10**6), workers=2):
        pass
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_an_interrupted_or_killed_parent(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which jobs in the background ignore
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert parent.stdout is not None
    assert parent.stderr is not None
    children: set[int] = set()
    while len(children) < 2:
        children.add(int(parent.stdout.readline()))
    if how is signal.SIGINT:
        os.killpg(parent.pid, how)  # as a terminal does: to all of them
    else:
        parent.kill()
    parent.wait(60)
    assert wait_for(lambda: not any(map(is_alive, children)))
    if how is signal.SIGINT:
        complaint = parent.stderr.read()
        assert complaint.count("KeyboardInterrupt") == 1, complaint
    parent.stdout.close()
    parent.stderr.close()


def test_more_files_may_be_opened_and_never_fewer() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
        parallel.allow_open_files(512)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(512, before[1]), before[1])
        parallel.allow_open_files(300)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(512, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
