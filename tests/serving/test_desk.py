"""Admission by hand: who is answered, who is sent away, and that nobody's place is lost."""

import asyncio
import threading
import time

import pytest

from lilliput.serving.crew import Late, Threads
from lilliput.serving.desk import Closed, Desk, Refused


def run(scene):
    return asyncio.run(scene())


def desk_of(answer, workers=1, clock=time.monotonic, **settings):
    """A desk in front of threads."""
    return Desk(Threads(answer, workers, clock), clock=clock, **settings)


def test_answers_come_back_to_who_asked():
    async def scene():
        desk = desk_of(
            lambda inputs, options, go_on: [f"{one}{options['mark']}" for one in inputs],
            workers=3,
            queue=1000,
            timeout=3600,  # a pause while the first texts are answered makes 400 of them look like minutes
            delay=60,  # on a slow machine so many requests are a queue that has been standing
        )
        asked = [desk.ask([f"{i}a", f"{i}b"], {"mark": i}) for i in range(200)]
        assert await asyncio.gather(*asked) == [[f"{i}a{i}", f"{i}b{i}"] for i in range(200)]
        assert (desk.waiting, desk.requests) == (0, 0)

    run(scene)


def held(**settings):
    """A desk whose answers wait for an event."""
    go = threading.Event()

    def answer(inputs, options, go_on):
        assert go.wait(10)
        return list(inputs)

    return desk_of(answer, **{"queue": 3, "timeout": 9, **settings}), go


def test_a_full_queue_refuses_and_takes_again():
    async def scene():
        desk, go = held()
        first = [asyncio.create_task(desk.ask([number], {})) for number in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(Refused) as refused:
            await desk.ask([3], {})
        assert refused.value.retry_after >= 0.1
        go.set()
        assert await asyncio.gather(*first) == [[0], [1], [2]]
        assert await desk.ask([4], {}) == [4]

    run(scene)


def test_a_request_that_is_larger_than_the_queue_is_taken_when_nobody_waits():
    async def scene():
        desk, go = held(queue=2)
        go.set()
        assert await desk.ask(list(range(5)), {}) == list(range(5))

    run(scene)


class Clock:
    """A clock that is turned by hand."""

    now = 100.0

    def __call__(self):
        return self.now


def test_a_queue_that_stands_is_kept_short_until_there_is_a_break():
    """One worker, room for 50: after a tenth of a second without a break only 2 texts may be there."""
    clock = Clock()

    async def scene():
        desk, go = held(queue=50, clock=clock, timeout=99)
        tasks = [asyncio.create_task(desk.ask([number], {})) for number in range(10)]
        await asyncio.sleep(0.05)
        clock.now += 0.05
        tasks.append(asyncio.create_task(desk.ask([10], {})))  # a burst so far
        await asyncio.sleep(0.01)
        clock.now += 0.06
        with pytest.raises(Refused):
            await desk.ask([11], {})
        assert desk.standing
        go.set()
        await asyncio.gather(*tasks)
        go.clear()
        clock.now += 0.01  # the desk is free, but has not been for long
        tasks = [asyncio.create_task(desk.ask([number], {})) for number in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(Refused):
            await desk.ask([12], {})
        go.set()
        await asyncio.gather(*tasks)
        go.clear()
        clock.now += 0.2  # a break
        tasks = [asyncio.create_task(desk.ask([number], {})) for number in range(9)]
        await asyncio.sleep(0.05)
        go.set()
        assert await asyncio.gather(*tasks) == [[number] for number in range(9)]

    run(scene)


def test_who_would_come_too_late_is_refused_at_once():
    async def scene():
        desk, go = held(queue=100, timeout=1.0)
        desk.seconds_a_text = 0.3  # as it took of late
        waiting = [asyncio.create_task(desk.ask([number], {})) for number in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(Refused) as refused:  # 3 before it take 0.9 s, and itself 0.3 s
            await desk.ask([3], {})
        assert refused.value.retry_after == pytest.approx(0.9)
        go.set()
        await asyncio.gather(*waiting)

    run(scene)


def test_a_deadline_passes_and_what_nobody_waits_for_is_not_worked_on():
    worked = []

    async def scene():
        go = threading.Event()

        def answer(inputs, options, go_on):
            worked.append(inputs[0])
            go.wait(10)
            return list(inputs)

        desk = desk_of(answer, workers=1, queue=10, timeout=0.1)
        late = await asyncio.gather(*(desk.ask([n], {}) for n in range(2)), return_exceptions=True)
        assert [type(one) for one in late] == [Late, Late]
        assert desk.waiting == 2  # the thread is still at work on the first
        go.set()
        while desk.waiting:
            await asyncio.sleep(0.01)
        assert worked == [0]

    run(scene)


def test_draining_lets_requests_finish_and_takes_no_others():
    async def scene():
        desk, go = held()
        asked = asyncio.create_task(desk.ask([1], {}))
        await asyncio.sleep(0.05)
        ending = asyncio.create_task(desk.drain(9))
        await asyncio.sleep(0.05)
        with pytest.raises(Closed):
            await desk.ask([2], {})
        go.set()
        assert await asked == [1]
        assert await ending is True

    run(scene)


def test_draining_ends_when_its_time_is_over():
    async def scene():
        desk, go = held()
        asked = asyncio.create_task(desk.ask([1], {}))
        await asyncio.sleep(0.05)
        assert await desk.drain(0.05) is False
        go.set()
        await asked

    run(scene)


def test_what_is_late_is_not_worked_on_to_its_end():
    done = []

    async def scene():
        def answer(inputs, options, go_on):
            for one in inputs:
                if not go_on():
                    raise Late
                done.append(one)
                time.sleep(0.02)
            return inputs

        desk = desk_of(answer, workers=1, queue=100, timeout=0.1)
        with pytest.raises(Late):
            await desk.ask(list(range(100)), {})
        while desk.waiting:
            await asyncio.sleep(0.01)

    run(scene)
    assert 1 <= len(done) < 50


def test_an_error_of_an_answer_reaches_who_asked():
    async def scene():
        desk = desk_of(lambda inputs, options, go_on: 1 / 0, workers=1, queue=2, timeout=9)
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                await desk.ask([1], {})
        assert desk.waiting == 0

    run(scene)
