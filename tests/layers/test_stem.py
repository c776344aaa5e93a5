import pytest

from kresp3d.layers import Stem


@pytest.mark.parametrize(
    ("variant", "kernels", "weights"),
    [("p3d", [(7, 7, 3, 6), (3, 1, 6, 6)], 10), ("full3d", [(3, 7, 7, 3, 6)], 5)],
)
def test_has_the_kernels_of_table_1_and_passes_common_checks(check_layer, tmp_path, variant, kernels, weights):
    stem = Stem(6, variant)
    stem.build((None, 4, 10, 9, 3))
    assert [conv.conv.kernel.shape for conv in stem.convs] == kernels
    check_layer(lambda **kw: Stem(6, variant, **kw), (2, 4, 10, 9, 3), (2, 4, 5, 5, 6), weights, tmp_path)


def test_refuses_another_variant():
    with pytest.raises(ValueError, match="variant must be 'p3d' or 'full3d', received '3d'"):
        Stem(6, "3d")
