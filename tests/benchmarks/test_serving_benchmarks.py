"""The benchmarks of server and runtime: their client's connections, and graphs beside PyTorch."""

import json
import time

import pytest

from lilliput.benchmarks.serving import overload, parity

TEXT, ANSWER = "good", [[{"label": "positive", "score": 1.0}]]


class Transport:
    """Notes what is written."""

    def __init__(self):
        self.written = b""

    def write(self, data):
        self.written += data


@pytest.fixture
def connection():
    client = overload.Client(1, {TEXT: ANSWER})
    made = overload.Connection(client)
    made.connection_made(Transport())
    client.open = 1
    client.free.append(made)
    return made


def asked(connection):
    """What is seen of a request that the connection has sent."""
    seen = overload.Seen()
    connection.client.free.remove(connection)
    connection.ask(overload.Asked(TEXT, time.perf_counter(), seen))
    return seen


def reply(status, answers):
    body = json.dumps({"answers": answers}).encode()
    return b"HTTP/1.1 %d Any\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body


def test_an_idle_connection_that_the_server_closes_leaves_the_pool(connection):
    connection.connection_lost(None)
    assert connection.client.free == []
    assert connection.client.open == 0


def test_a_connection_that_is_lost_on_the_way_loses_a_reply(connection):
    seen = asked(connection)
    connection.connection_lost(None)
    assert (seen.lost, seen.accepted, connection.client.open) == (1, [], 0)


@pytest.mark.parametrize(
    ("status", "answers", "found"),
    [(200, ANSWER, (1, 0, 0, 0)), (200, [[]], (1, 0, 1, 0)), (429, None, (0, 1, 0, 0)), (500, None, (0, 0, 0, 1))],
)
def test_replies_are_counted_when_they_are_whole(connection, status, answers, found):
    seen = asked(connection)
    whole = reply(status, answers)
    connection.data_received(whole[:20])
    assert not connection.client.free
    connection.data_received(whole[20:])
    assert (len(seen.accepted), len(seen.refused), seen.wrong, seen.lost) == found
    assert connection.client.free == [connection]


def test_a_graph_is_as_near_to_pytorch_as_rounding_is(tiny_bundle):
    assert parity.difference(tiny_bundle, ["good", "bad", "a joy from start to finish"]) < 1e-4
