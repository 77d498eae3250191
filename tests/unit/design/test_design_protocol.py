from __future__ import annotations

import pickle

import numpy as np
import pytest

from scanwise.design import Protocol
from scanwise.errors import ScanwiseError


def random_protocols(n: int, seed: int) -> list[Protocol]:
    """Protocols of up to five modalities with up to nine shots, long runs and averages included."""
    rng = np.random.default_rng(seed)
    protocols = []
    for _ in range(n):
        names = rng.permutation(["a", "t2w", "rest_ecg", "dce_2", "z"])[: rng.integers(0, 6)]
        protocols.append(
            Protocol({str(name): rng.integers(0, rng.integers(1, 13), rng.integers(1, 10)) for name in names})
        )
    return protocols


def test_the_key_is_canonical():
    assert Protocol({"fluoroscopy": [1], "exercise": [1, 1, 1]}).key == "exercise=1x3 fluoroscopy=1"
    assert Protocol({"dwi": [0, 0, 4, 1, 1, 0]}).key == "dwi=0x2,4,1x2,0"
    assert Protocol().key == Protocol({"a": [0, 0]}).key == Protocol({"a": []}).key == "nothing"


def test_a_thousand_random_keys_read_back():
    protocols = random_protocols(1000, seed=3)
    assert all(Protocol.from_key(protocol.key) == protocol for protocol in protocols)
    assert all(Protocol(protocol.to_dict()) == protocol for protocol in protocols)
    assert len({protocol.key for protocol in protocols}) > 500, "the draw is not trivial"


def test_protocols_are_equal_exactly_where_their_counts_are():
    protocols = random_protocols(60, seed=4) + random_protocols(60, seed=4)
    for a in protocols:
        for b in protocols:
            assert (a == b) == (a.to_dict() == b.to_dict())
            assert a != b or hash(a) == hash(b)


def test_order_type_and_empty_modalities_do_not_matter():
    a = Protocol({"b": [1, 0], "a": (2,), "c": [0]})
    b = Protocol({"a": np.array([2.0]), "b": np.array([1, 0], dtype=np.uint8)})
    assert a == b
    assert len({a, b}) == 1
    assert a.modalities == ("a", "b")
    assert a != "a=2 b=1,0"


def test_a_protocol_survives_pickling():
    protocol = Protocol({"a": [1, 2]})
    assert pickle.loads(pickle.dumps(protocol)) == protocol  # noqa: S301


def test_counts_of_a_modality():
    protocol = Protocol({"dwi": [0, 3, 1]})
    assert protocol.counts("dwi") == (0, 3, 1)
    assert protocol.total("dwi") == 4
    assert protocol.counts("ct") == ()
    assert protocol.total("ct") == 0
    np.testing.assert_array_equal(protocol.array("dwi", 3), [0, 3, 1])
    np.testing.assert_array_equal(protocol.array("ct", 2), [0, 0])
    assert list(protocol.items()) == [("dwi", (0, 3, 1))]


def test_counts_for_another_shot_table_are_refused():
    with pytest.raises(ScanwiseError, match="'dwi' has 4 shots, but the protocol counts 3"):
        Protocol({"dwi": [0, 3, 1]}).array("dwi", 4)


@pytest.mark.parametrize("count", [-1, 0.5, float("nan"), float("inf"), True, np.bool_(True), "1", None])
def test_a_count_is_a_whole_number_from_zero(count):
    with pytest.raises(ScanwiseError, match="whole numbers >= 0, but 'dwi' has"):
        Protocol({"dwi": [1, count]})


@pytest.mark.parametrize("name", ["T2W", "t2 w", "2ch", "", "a=b", "naïve", "a\n"])
def test_a_name_that_would_break_the_key_is_refused(name):
    with pytest.raises(ScanwiseError, match="the name of a modality"):
        Protocol({name: [1]})


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "a=",
        "a=x3",
        "a=1x",
        "a=-1",
        "a=1.5",
        "A=1",
        "a=1,",
        "a=1 a=1",
        "a=1;b=1",
        "nothing a=1",
        "a = 1",
        "a=1x2x3",
    ],
)
def test_a_bad_key_is_refused_and_shown(key):
    with pytest.raises(ScanwiseError, match="a protocol key reads like"):
        Protocol.from_key(key)


def test_covers_is_a_partial_order():
    small, large, other = Protocol({"a": [1, 0]}), Protocol({"a": [2, 1], "b": [1]}), Protocol({"b": [2]})
    assert large.covers(small)
    assert large.covers(large)
    assert not small.covers(large)
    assert not large.covers(other)
    assert not other.covers(large)
    assert not Protocol({"a": [1, 2]}).covers(Protocol({"a": [2, 1]})), "more of one shot does not make up for another"
    assert small.covers(Protocol())
    assert not Protocol().covers(small)
    assert not small.covers(Protocol({"a": [1]})), "counts of another shot table are never covered"


def test_union_is_the_smallest_protocol_that_covers_both():
    a, b = Protocol({"x": [1, 0, 3], "y": [1]}), Protocol({"x": [0, 2, 1], "z": [1, 1]})
    union = a | b
    assert union == b | a == Protocol({"x": [1, 2, 3], "y": [1], "z": [1, 1]})
    assert union.covers(a)
    assert union.covers(b)
    assert a | a == a
    assert a | Protocol() == a
    with pytest.raises(ScanwiseError, match="3 shots in one protocol and 2 in the other"):
        a | Protocol({"x": [1, 1]})


def test_union_leaves_its_parts_alone_and_without_removes_one():
    a, b = Protocol({"x": [1]}), Protocol({"y": [1]})
    union = a | b
    assert (a.key, b.key) == ("x=1", "y=1")
    assert union.without("x") == b
    assert union.without("ct") == union
    assert union.modalities == ("x", "y")


def test_repr_reads_back():
    protocol = Protocol({"x": [1, 1]})
    assert repr(protocol) == "Protocol('x=1x2')"
