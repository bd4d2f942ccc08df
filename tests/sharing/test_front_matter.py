"""The YAML of a card is read back as it was meant."""

import math

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from patch_forcing.sharing.front_matter import front_matter

WORDS = ["no", "null", "~", "1e5", "0x1", "1_0", "2026-11-30", "a: b", "a:", "- a", "# a", "a #b"]
WORDS += ["apache-2.0", "arxiv:2604.19141", "", " a ", "it's", "\x85\u2028", "é", "😀", "=", "on"]
texts = st.sampled_from(WORDS) | st.text(max_size=6)
scalars = texts | st.floats(allow_nan=False) | st.integers()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-z]{3,5}", fullmatch=True), inner, min_size=1)
    ),
    max_leaves=5,
)


@settings(max_examples=50)
@given(values)
def test_what_is_written_is_read_back(value):
    for written in ({"key": value}, {"rows": [value, [value]]}):
        assert yaml.safe_load(front_matter(written)) == written


def test_what_is_none_is_left_out_and_what_is_no_number_is_written():
    assert front_matter({"license": None, "tags": ["a-b"]}) == "tags:\n  - a-b"
    assert front_matter({"interval": [None, 1.5]}) == "interval:\n  - null\n  - 1.5"
    assert front_matter({"low": -math.inf, "high": math.inf}) == "low: -.inf\nhigh: .inf"
    assert math.isnan(yaml.safe_load(front_matter({"value": math.nan}))["value"])
