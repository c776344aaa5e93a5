from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.system.plain_yaml import VALUES, parse_yaml

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_plain_values_are_read_as_they_were_written(values: object) -> None:
    assert parse_yaml(yaml.safe_dump(values)) == values


def test_the_limit_is_on_values_not_on_signs() -> None:
    assert len(parse_yaml(f"[{'1,' * (VALUES - 1)}]")) == VALUES - 1
    with pytest.raises(ValueError, match="more than 20,000 values"):
        parse_yaml(f"[{'1,' * VALUES}]")


def test_what_an_alias_stands_for_is_counted_each_time() -> None:
    aliases = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 30)}]" for n in range(1, 4))
    with pytest.raises(ValueError, match="more than 20,000 values"):
        parse_yaml(f"a0: &a0 [1, 2]\n{aliases}\n")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!mine x"])
def test_a_tag_of_anything_but_plain_values_is_refused(tag: str) -> None:
    with pytest.raises(yaml.YAMLError):
        parse_yaml(tag)
