"""What a report says that was measured for an earlier call."""

from types import SimpleNamespace

from lilliput.benchmarks.report import RunFacts
from lilliput.compressing.shipping import Shipping


def test_a_report_that_is_reused_has_the_command_and_the_wish_of_this_call():
    facts = RunFacts("compress --speedup 8", ["compress --speedup 8"], {"compress": {"speedup": 8}}, not_measured=["x"])
    made = {
        "command": "compress --speedup 6",
        "recipe": {"commands": [], "config": {}},
        "not_measured": [],
        "models": [1],
    }
    assert Shipping.as_asked_now(SimpleNamespace(_facts=lambda members: facts), made, {}) == {
        "command": "compress --speedup 8",
        "recipe": {"commands": ["compress --speedup 8"], "config": {"compress": {"speedup": 8}}},
        "not_measured": ["x"],
        "models": [1],
    }
