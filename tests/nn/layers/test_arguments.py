import numpy as np
import pytest

from kresp3d.nn.layers.arguments import whole_number, whole_numbers


@pytest.mark.parametrize("value", [2, np.int64(2), np.uint8(2)])
def test_a_whole_number_becomes_an_int(value):
    found = whole_number("Layer", "step", value)
    assert found == 2 and type(found) is int


@pytest.mark.parametrize("value", [0, -3, 2.0, np.float32(2), "2", None, (2,)])
def test_what_is_no_whole_number_is_named(value):
    with pytest.raises(ValueError) as error:
        whole_number("Layer", "step", value)
    assert str(error.value) == f"Layer: step must be a whole number of at least 1, received {value!r}"


@pytest.mark.parametrize("values", [[1, 3], (1, 3), np.array([1, 3])])
def test_a_row_becomes_a_tuple_of_ints(values):
    found = whole_numbers("Layer", "blocks", values)
    assert found == (1, 3) and all(type(value) is int for value in found)


@pytest.mark.parametrize(
    "values", [3, None, "13", (), [], np.zeros((0,)), np.ones((2, 2), int), {1: 3}, (1, 0), (1, 2.0)]
)
def test_what_is_no_row_of_whole_numbers_is_refused(values):
    with pytest.raises(ValueError, match=r"Layer: (each of )?blocks must be"):
        whole_numbers("Layer", "blocks", values)
