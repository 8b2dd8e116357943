"""`cv2/_cuda_build.py`: the same bytes for the same facts, read by every Python since 3.6."""

from __future__ import annotations

import ast

from hypothesis import given
from hypothesis import strategies as st
from loading import BUILD

from repack.patching.build_module import build_module

VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=20), inner, max_size=4)
    ),
    max_leaves=20,
)


def value_of(content: bytes) -> object:
    (_, assignment) = ast.parse(content.decode("ascii"), feature_version=(3, 6)).body
    assert isinstance(assignment, ast.Assign)
    return ast.literal_eval(assignment.value)


@given(st.dictionaries(st.text(max_size=20), VALUES, max_size=4))
def test_it_is_ascii_and_reads_as_the_facts(facts: dict[str, object]) -> None:
    assert value_of(build_module(facts)) == facts


def test_the_order_of_keys_does_not_count() -> None:
    assert build_module(dict(reversed(BUILD.items()))) == build_module(BUILD)
