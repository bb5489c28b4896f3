import os
import signal
import threading

from reconciler.agent.clock import SystemClock
from reconciler.agent.wakes import Wake, WakeQueue


def test_waiting_ends_without_a_wake_when_the_time_is_over() -> None:
    assert WakeQueue(SystemClock()).wait(0) == ()


def test_a_burst_of_one_kind_is_one_wake() -> None:
    wakes = WakeQueue(SystemClock())
    for _ in range(1000):
        wakes.put(Wake.NETLINK)
    wakes.put(Wake.REF)
    assert [event.wake for event in wakes.wait(0)] == [Wake.NETLINK, Wake.REF]


def test_a_kind_that_was_taken_can_come_again() -> None:
    wakes = WakeQueue(SystemClock())
    wakes.put(Wake.REF)
    wakes.wait(0)
    wakes.put(Wake.REF)
    assert [event.wake for event in wakes.wait(0)] == [Wake.REF]


def test_every_request_is_kept_because_each_wants_its_answer() -> None:
    wakes = WakeQueue(SystemClock())
    wakes.put(Wake.REQUEST, "one")
    wakes.put(Wake.REQUEST, "two")
    assert [event.request for event in wakes.wait(0)] == ["one", "two"]


def test_another_thread_wakes_who_waits() -> None:
    wakes = WakeQueue(SystemClock())
    timer = threading.Timer(0.05, wakes.putter(Wake.REF))
    timer.start()
    assert [event.wake for event in wakes.wait(60)] == [Wake.REF]
    timer.join()


def test_a_signal_wakes_who_waits() -> None:
    wakes = WakeQueue(SystemClock())
    before = signal.signal(signal.SIGHUP, lambda *_: wakes.put(Wake.HANGUP))
    timer = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGHUP))
    try:
        timer.start()
        assert [event.wake for event in wakes.wait(60)] == [Wake.HANGUP]
    finally:
        timer.join()
        signal.signal(signal.SIGHUP, before)
