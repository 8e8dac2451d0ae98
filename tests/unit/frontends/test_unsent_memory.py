"""Memory that requests take beyond what they sent."""

from tensorhost.frontends.unsent_memory import Claim, UnsentMemory


def test_requests_together_take_so_much_and_one_alone_any_amount():
    memory = UnsentMemory(10)
    with Claim(memory) as first, Claim(memory) as second:
        assert first.take(6)
        assert not second.take(5)
        assert second.take(4)
    with Claim(memory) as alone, Claim(memory) as other:
        assert alone.take(1000)
        assert not other.take(1)
    assert Claim(memory).take(10)


def test_what_was_refused_or_given_back_is_not_given_back_again():
    memory = UnsentMemory(10)
    taken, refused, released = Claim(memory), Claim(memory), Claim(memory)
    assert taken.take(4)
    assert released.take(6)
    assert not refused.take(1)
    refused.release()
    released.release()
    released.release()
    assert not Claim(memory).take(7)
    assert Claim(memory).take(6)
