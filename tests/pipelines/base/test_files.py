"""Several runs that share a cache."""

import threading
from pathlib import Path

from pipelines.base.files import alone


def test_one_waits_until_the_other_has_made_it(tmp_path: Path) -> None:
    path, order = tmp_path / "cache/store.zarr", []
    inside, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with alone(path):
            inside.set()
            go_on.wait(10)
            path.mkdir()
            order.append("made")

    def second() -> None:
        with alone(path):
            order.append("found" if path.exists() else "missing")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    threads[1].join(0.2)
    assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert order == ["made", "found"]
