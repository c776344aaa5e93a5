import pytest

from kresp3d.nn.layers.clip_shape import clip_axes, known_channels


def test_gives_the_axes_of_a_clip():
    assert clip_axes("layer", [None, 16, 8, None, 3]) == (None, 16, 8, None, 3)
    assert known_channels("layer", (None, None, None, None, 3)) == 3


@pytest.mark.parametrize("shape", [(), (2, 3, 4, 5), (1, 2, 3, 4, 5, 6)])
def test_refuses_another_number_of_axes_and_names_the_layer(shape):
    with pytest.raises(ValueError, match=f"motion: .* received {len(shape)} axes"):
        clip_axes("motion", shape)


def test_refuses_unknown_channels():
    with pytest.raises(ValueError, match="motion: expected a known number of channels"):
        known_channels("motion", (None, 2, 3, 3, None))
