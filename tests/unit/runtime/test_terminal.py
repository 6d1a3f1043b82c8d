"""The keys that detach, wherever they are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.terminal import Detaching

P, Q = b"\x10", b"\x11"


def fed(*chunks: bytes) -> tuple[bytes, bool]:
    detaching, passed = Detaching(), b""
    for chunk in chunks:
        data, over = detaching.feed(chunk)
        passed += data
        if over:
            return passed, True
    return passed, False


def test_detaching() -> None:
    assert fed(b"ab" + P + Q + b"c") == (b"ab", True)
    assert fed(b"a" + P, Q) == (b"a", True)
    assert fed(b"a" + P, b"b") == (b"a" + P + b"b", False), "one of them alone is passed on, with the next key"
    assert fed(P, P, Q) == (P, True)
    assert fed(Q + P) == (Q, False)


@given(st.lists(st.binary(max_size=4).map(lambda b: bytes(P[0] + byte % 3 for byte in b)), max_size=8))
def test_where_the_input_is_cut_does_not_matter(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    passed, over = fed(*chunks)
    assert over == (P + Q in whole)
    if over:
        assert passed == whole[: whole.index(P + Q)]
    else:
        assert whole.startswith(passed) and whole[len(passed) :] in (b"", P)
