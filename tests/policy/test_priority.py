"""What a message may have of what its app asks for."""

import pytest

from relay.policy.priority import granted
from relay.policy.streams import Stream


@pytest.mark.parametrize("stream", [-9, 0, 4, 9])
def test_nobody_gets_more_than_his_stream_may_have(stream: int) -> None:
    of = Stream("news", "policies/streams.toml:1", priority=stream)
    assert granted(None, of) == stream
    assert [granted(asked, of) for asked in range(-9, 10)] == [min(asked, stream) for asked in range(-9, 10)]


def test_without_a_stream_it_is_the_usual_one_or_less() -> None:
    assert granted(None, None) == 0
    assert granted(9, None) == 0
    assert granted(-2, None) == -2
