from __future__ import annotations

import threading

import pytest

from fmviz.engine.mailbox import Mailbox
from fmviz.engine.messages import Cancel, Hello


@pytest.fixture
def dropped():
    return []


@pytest.fixture
def mailbox(dropped):
    return Mailbox(dropped.append)


def test_requests_are_taken_in_their_order(mailbox, dropped):
    for number in range(3):
        mailbox.put(Hello(id=number))
    assert [mailbox.take(wait=False).id for _ in range(3)] == [0, 1, 2]
    assert mailbox.take(wait=False) is None
    assert dropped == []


def test_in_a_lane_the_newest_waiting_request_wins(mailbox, dropped):
    mailbox.put(Hello(id=1, lane="maps"))
    mailbox.put(Hello(id=2, lane="value"))
    mailbox.put(Hello(id=3, lane="maps"))
    assert dropped == [1]
    assert [mailbox.take(wait=False).id for _ in range(2)] == [2, 3]


def test_a_newer_request_cancels_the_running_one_of_its_lane_only(mailbox):
    mailbox.put(Hello(id=1, lane="run"))
    mailbox.put(Hello(id=2, lane="maps"))
    mailbox.take(wait=False)
    mailbox.take(wait=False)
    mailbox.put(Hello(id=3, lane="run"))
    assert mailbox.is_cancelled(1)
    assert not mailbox.is_cancelled(2)


def test_cancel_drops_a_waiting_request_and_itself(mailbox, dropped):
    mailbox.put(Hello(id=1))
    mailbox.put(Cancel(id=2, target=1))
    assert sorted(dropped) == [1, 2]
    assert mailbox.take(wait=False) is None


def test_cancel_marks_a_running_request_until_it_is_finished(mailbox, dropped):
    mailbox.put(Hello(id=1))
    mailbox.take(wait=False)
    mailbox.put(Cancel(id=2, target=1))
    assert mailbox.is_cancelled(1)
    assert dropped == [2]
    mailbox.finished(1)
    assert not mailbox.is_cancelled(1)


def test_cancelling_what_was_never_there_harms_nothing_later(mailbox, dropped):
    mailbox.put(Cancel(id=1, target=7))
    mailbox.put(Hello(id=7))
    assert mailbox.take(wait=False).id == 7
    assert not mailbox.is_cancelled(7)
    assert dropped == [1]


def test_closing_cancels_what_runs_and_wakes_who_waits(mailbox):
    mailbox.put(Hello(id=1))
    mailbox.take(wait=False)
    taken = []
    waiting = threading.Thread(target=lambda: taken.append(mailbox.take(wait=True)))
    waiting.start()
    mailbox.close()
    waiting.join(timeout=10)
    assert taken == [None]
    assert mailbox.is_cancelled(1)
