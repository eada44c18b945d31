"""The pool of daemon threads, and what it does when no further thread can be started."""

from __future__ import annotations

import threading

import pytest

from echat_eval.concurrency.own_faults import is_own_fault
from echat_eval.concurrency.threads import DaemonThread, Threads


def started_at_most(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only so many threads of a pool start, as under a limit of the system."""
    start, left = threading.Thread.start, [count]

    def limited(thread: threading.Thread) -> None:
        if thread.name == "pool":
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)


def test_jobs_run_on_the_threads_that_could_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    started_at_most(1, monkeypatch)
    threads = Threads(4, "pool")
    jobs = [threads.submit(pow, 2, n) for n in range(9)]
    assert [job.result(timeout=5) for job in jobs] == [2**n for n in range(9)]
    threads.shutdown()


def test_a_thread_without_memory_for_its_first_step_is_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echat_eval.concurrency.threads.START_TIMEOUT", 0.1)
    # The new thread ends before it sets the event for which `start` waits.
    monkeypatch.setattr(threading.Thread, "_bootstrap_inner", lambda thread: None)
    thread = DaemonThread(lambda: None)
    with pytest.raises(RuntimeError, match="can't start new thread") as caught:
        thread.start()
    assert is_own_fault(caught.value)


def test_without_any_thread_a_job_is_refused_and_the_next_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(1, "pool")
    with monkeypatch.context() as limited:
        started_at_most(0, limited)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threads.submit(pow, 2, 3)
    assert threads.submit(pow, 2, 4).result(timeout=5) == 16
    threads.shutdown()
