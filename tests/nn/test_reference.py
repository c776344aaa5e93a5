"""Hand-made cases that pin the NumPy reference itself: every expected number can be checked in the head."""

import numpy as np
import pytest

TAPS = [1, 10, 100]  # a kernel whose output shows, digit by digit, which input each tap saw


@pytest.fixture
def conv(reference):
    """Return a function that makes a ConvNorm whose batch norm only adds `beta`, with a given size in [t, h, w]."""

    def make(weights, size=(1, 1, 1), channels=(1, 1), beta=0.0):
        kernel = np.reshape(np.asarray(weights, float), (*size, *channels))
        one = np.ones(channels[1])
        return reference.ConvNorm(kernel, gamma=one, beta=beta * one, mean=0 * one, variance=one, epsilon=0.0)

    return make


def over(axis, values):
    """Return the values along "t", "h" or "w" of a [1, T, H, W, 1] array."""
    shape = [1, 1, 1, 1, 1]
    shape["bthwc".index(axis)] = len(values)
    return np.reshape(np.asarray(values, float), shape)


# === Convolution ===


def test_a_temporal_kernel_sees_past_present_and_future_with_zeros_outside(reference):
    kernel = np.reshape(TAPS, (3, 1, 1, 1, 1))
    y = reference.convolve(over("t", [1, 2, 4, 8]), kernel)
    # x(t-1) + 10 x(t) + 100 x(t+1)
    np.testing.assert_array_equal(y, over("t", [0 + 10 + 200, 1 + 20 + 400, 2 + 40 + 800, 4 + 80 + 0]))


def test_a_spatial_stride_does_not_skip_frames(reference):
    kernel = np.reshape(TAPS, (3, 1, 1, 1, 1))
    y = reference.convolve(over("t", [1, 2, 4, 8]), kernel, spatial_stride=2)
    np.testing.assert_array_equal(y, over("t", [210, 421, 842, 84]))


def test_a_spatial_kernel_is_not_flipped_and_keeps_rows_and_columns_apart(reference):
    point = np.zeros((1, 1, 3, 3, 1))
    point[0, 0, 1, 1] = 1
    kernel = np.arange(1, 10).reshape(1, 3, 3, 1, 1)
    y = reference.convolve(point, kernel)
    # The output at the top left sees the point under the kernel's bottom right.
    np.testing.assert_array_equal(y[0, 0, :, :, 0], [[9, 8, 7], [6, 5, 4], [3, 2, 1]])


def test_a_convolution_sums_over_input_channels(reference):
    kernel = np.reshape([[1, 10], [100, 1000]], (1, 1, 1, 2, 2))  # [Cin, Cout]
    y = reference.convolve(np.reshape([1, 2], (1, 1, 1, 1, 2)), kernel)
    np.testing.assert_array_equal(y.ravel(), [1 + 200, 10 + 2000])


@pytest.mark.parametrize("axis", ["h", "w"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # Even: total 1 = (2 - 1) * 2 + 3 - 4, none before and one after.
        ([1, 2, 3, 4], [1 + 20 + 300, 3 + 40 + 0]),
        # Odd: total 2 = (3 - 1) * 2 + 3 - 5, one before and one after.
        ([1, 2, 3, 4, 5], [0 + 10 + 200, 2 + 30 + 400, 4 + 50 + 0]),
    ],
)
def test_stride_2_pads_as_tensorflow_does(reference, axis, values, expected):
    kernel = over(axis, TAPS).reshape(*over(axis, TAPS).shape[1:4], 1, 1)
    y = reference.convolve(over(axis, values), kernel, spatial_stride=2)
    np.testing.assert_array_equal(y, over(axis, expected))


def test_a_kernel_of_7_with_stride_2_pads_two_before_and_three_after_an_even_size(reference):
    kernel = np.reshape(10.0 ** np.arange(7), (1, 1, 7, 1, 1))
    y = reference.convolve(over("w", [1, 2, 3, 4]), kernel, spatial_stride=2)
    # Padded: 0 0 1 2 3 4 0 0 0.
    np.testing.assert_array_equal(y, over("w", [4321_00, 4321]))


def test_a_1x1x1_with_stride_2_takes_every_other_pixel(reference):
    y = reference.convolve(over("w", [1, 2, 3, 4, 5]), np.ones((1, 1, 1, 1, 1)), spatial_stride=2)
    np.testing.assert_array_equal(y, over("w", [1, 3, 5]))


def test_batch_norm_uses_the_moving_statistics_for_each_channel(reference):
    parameters = reference.ConvNorm(
        kernel=np.ones((1, 1, 1, 1, 3)),
        gamma=np.array([3.0, 3.0, -1.0]),
        beta=np.array([1.0, -10.0, 0.5]),
        mean=np.array([1.0, 1.0, 2.0]),
        variance=np.array([4.0, 4.0, 9.0]) - 1e-5,
    )
    x = np.full((1, 1, 1, 1, 1), 5.0)
    # 3 (5 - 1) / 2 + 1,  3 (5 - 1) / 2 - 10,  -(5 - 2) / 3 + 0.5
    np.testing.assert_allclose(reference.conv_norm(x, parameters, relu=False).ravel(), [7, -4, -0.5])
    np.testing.assert_allclose(reference.conv_norm(x, parameters).ravel(), [7, 0, 0])


# === Max-pool ===


def test_max_pool_of_an_even_size_starts_at_the_corner_and_padding_never_wins(reference):
    x = -np.arange(1.0, 17).reshape(1, 1, 4, 4, 1)
    y = reference.max_pool(x)
    np.testing.assert_array_equal(y[0, 0, :, :, 0], [[-1, -3], [-9, -11]])


def test_max_pool_of_an_odd_size_is_centred(reference):
    y = reference.max_pool(np.arange(1.0, 10).reshape(1, 1, 3, 3, 1))
    np.testing.assert_array_equal(y[0, 0, :, :, 0], [[5, 6], [8, 9]])


def test_max_pool_keeps_frames_and_channels_apart(reference):
    x = np.arange(1.0, 5).reshape(1, 2, 1, 1, 2)
    np.testing.assert_array_equal(reference.max_pool(x), x)


# === Sec. 2.1: residual frames ===


@pytest.mark.parametrize(("step", "expected"), [(1, [247, 247, 4]), (2, [0, 243])])
def test_residual_frames_of_uint8_do_not_wrap_around(reference, step, expected):
    x = over("t", [250, 3, 250, 246]).astype(np.uint8)
    np.testing.assert_array_equal(reference.residual_frames(x, step), over("t", expected))


# === Sec. 2.2: the module ===


def test_the_feature_residual_looks_one_frame_ahead_and_ends_with_zero(reference):
    np.testing.assert_array_equal(reference.feature_residual(over("t", [1, 4, 2])), over("t", [3, 2, 0]))


def test_the_module_concatenates_appearance_motion_and_the_residual_of_the_motion_feature(reference, conv):
    # The motion convolution gives x(t+1) - 3, before ReLU.
    motion = conv([0, 0, 1], size=(3, 1, 1), beta=-3)
    appearance = conv([0, 0, 0, 0, 2, 0, 0, 0, 0], size=(1, 3, 3))
    f = over("t", [1, 2, 4])
    y = reference.pseudo_3d(f, reference.Module(appearance, motion, attention=None))
    f_s = [2, 4, 8]
    f_m = [0, 1, 0]  # ReLU of -1, 1, -3
    f_res = [1, 1, 0]  # neither 2, 4, 0 (before ReLU) nor 1, 2, 0 (of the input)
    np.testing.assert_array_equal(y[0, :, 0, 0], np.transpose([f_s, f_m, f_res]))


def test_the_module_without_the_feature_residual_has_two_features(reference, conv):
    module = reference.Module(conv(np.full(9, 0.5), (1, 3, 3)), conv(TAPS, (3, 1, 1)), attention=None)
    y = reference.pseudo_3d(over("t", [2, 4]), module, use_feature_residual=False)
    np.testing.assert_array_equal(y[0, :, 0, 0], [[1, 20 + 400], [2, 2 + 40]])


def test_the_stride_of_the_module_is_on_both_convolutions(reference, conv):
    module = reference.Module(conv(np.eye(3)[1], (1, 1, 3)), conv(TAPS, (3, 1, 1)), attention=None)
    y = reference.pseudo_3d(over("w", [1, 2, 3, 4]), module, spatial_stride=2)
    # The 1×3² has no padding before an even size, so its centre sees the second pixel; the 3×1² sees the first.
    np.testing.assert_array_equal(y[0, 0, 0], [[2, 10, 0], [4, 30, 0]])


def test_a_mask_without_weights_is_the_sigmoid_of_the_bias(reference):
    attention = reference.Attention(weight=np.zeros((2, 2)), bias=np.array([0.0, np.log(3)]))
    f = np.arange(8.0).reshape(1, 2, 2, 1, 2)
    mask = reference.attention_mask(f, attention)
    assert mask.shape == (1, 1, 1, 1, 2)
    np.testing.assert_allclose(mask.ravel(), [1 / 2, 3 / 4])
    np.testing.assert_allclose(reference.attend(f, attention), f * [1.5, 1.75])


def test_the_weight_of_the_mask_goes_from_rows_to_columns(reference):
    attention = reference.Attention(weight=np.array([[0, np.log(3)], [0, 0]]), bias=np.zeros(2))
    f = np.reshape([1.0, 5.0], (1, 1, 1, 1, 2))
    np.testing.assert_allclose(reference.attention_mask(f, attention).ravel(), [1 / 2, 3 / 4])


@pytest.mark.parametrize(("pool", "expected"), [("space_time", [3 / 4]), ("space", [1 / 2, 9 / 10])])
def test_the_mask_is_one_for_all_frames_or_one_for_each(reference, pool, expected):
    attention = reference.Attention(weight=np.full((1, 1), np.log(3)), bias=np.zeros(1))
    f = np.reshape([[-1.0, 1.0], [1.0, 3.0]], (1, 2, 2, 1, 1))  # means over space: 0 and 2; over all: 1
    mask = np.reshape(expected, (1, -1, 1, 1, 1))
    np.testing.assert_allclose(reference.attention_mask(f, attention, pool), mask)
    np.testing.assert_allclose(reference.attend(f, attention, pool), f * mask + f)


def test_clips_of_a_batch_have_masks_of_their_own(reference):
    attention = reference.Attention(weight=np.full((1, 1), np.log(3)), bias=np.zeros(1))
    f = np.reshape([0.0, 1.0], (2, 1, 1, 1, 1))
    np.testing.assert_allclose(reference.attention_mask(f, attention).ravel(), [1 / 2, 3 / 4])


def test_the_module_attends_to_all_three_features_with_the_given_pool(reference, conv):
    # f_s = 1, 3; f_m = 2, 6; f_res = 4, 0. The mask of f_res is sigmoid(log 3 * (pool(f_s) - 1)), the others 1/2.
    weight = np.zeros((3, 3))
    weight[0, 2] = np.log(3)
    attention = reference.Attention(weight, bias=np.array([0, 0, -np.log(3)]))
    module = reference.Module(conv([1]), conv([2]), attention)
    f = over("t", [1, 3])
    one_mask = reference.pseudo_3d(f, module)
    np.testing.assert_allclose(one_mask[0, :, 0, 0], [[1.5, 3, 4 * 1.75], [4.5, 9, 0]])
    a_mask_per_frame = reference.pseudo_3d(f, module, attention_pool="space")
    np.testing.assert_allclose(a_mask_per_frame[0, :, 0, 0], [[1.5, 3, 4 * 1.5], [4.5, 9, 0]])


# === Fig. 2 and Table 1: blocks and network ===


@pytest.fixture
def centre(conv):
    """The 3×3×3 that passes its centre."""
    return conv(np.eye(27)[13], size=(3, 3, 3))


def test_a_bottleneck_adds_its_input_before_the_last_relu(reference, conv, centre):
    x = over("t", [3, -3])
    block = reference.Bottleneck(reduce=conv([2]), middle=centre, restore=conv([-0.25]))
    # reduce: 6, 0 after ReLU; restore: -1.5, 0 without ReLU; sum: 1.5, -3
    np.testing.assert_array_equal(reference.bottleneck(x, block), over("t", [1.5, 0]))


def test_the_reducing_convolution_and_the_full_3d_middle_have_a_relu(reference, conv):
    middle = conv(-np.eye(27)[13], size=(3, 3, 3))
    block = reference.Bottleneck(reduce=conv([2]), middle=middle, restore=conv([1]))
    # reduce: 6, 0 (of -6); middle: 0 (of -6), 0; then the identity and the last ReLU
    np.testing.assert_array_equal(reference.bottleneck(over("t", [3, -3]), block), over("t", [3, 0]))


def test_a_strided_bottleneck_strides_its_middle_and_its_shortcut(reference, conv, centre):
    x = np.reshape([3.0, 0, 0, 5], (1, 1, 2, 2, 1))
    block = reference.Bottleneck(conv([1]), centre, restore=conv([2]), shortcut=conv([-1]), stride=2)
    # The middle's centre sees the pixel 5, the shortcut the pixel 3; the shortcut has no ReLU.
    np.testing.assert_array_equal(reference.bottleneck(x, block), over("t", [2 * 5 - 3]))


def test_a_bottleneck_restores_from_the_features_of_the_module(reference, conv):
    attention = reference.Attention(weight=np.zeros((3, 3)), bias=np.zeros(3))
    module = reference.Module(conv([1]), conv([1]), attention)
    block = reference.Bottleneck(conv([1]), module, restore=conv([2, 20, 200], channels=(3, 1)))
    y = reference.bottleneck(over("t", [1, 3]), block)
    # f_s = f_m = 1, 3 and f_res = 2, 0, each times 1.5; then the identity.
    np.testing.assert_allclose(y, over("t", [3 + 30 + 600 + 1, 9 + 90 + 0 + 3]))


def corner(size):
    """Return the weights of a t×7×7 kernel, non-zero where stride 2 puts the first of 2×2 pixels: two are padded."""
    weights = np.zeros((*size, 7, 7))
    weights[..., 2, 2] = TAPS if size == (3,) else [1]
    return weights


def test_the_stem_strides_once_and_rectifies_twice(reference, conv):
    x = np.zeros((1, 3, 2, 2, 1))
    x[0, :, 0, 0, 0] = [1, -2, 4]
    spatial, temporal = conv(corner((1,)), (1, 7, 7)), conv(TAPS, (3, 1, 1), beta=-100)
    y = reference.stem(x, reference.Stem((spatial, temporal)))
    # After the first ReLU 1, 0, 4; then 10 - 100, 1 + 400 - 100, 40 - 100.
    np.testing.assert_array_equal(y, over("t", [0, 301, 0]))


def test_the_stem_of_the_full_3d_baseline_is_one_convolution(reference, conv):
    x = np.zeros((1, 3, 2, 2, 1))
    x[0, :, 0, 0, 0] = [1, -2, 4]
    y = reference.stem(x, reference.Stem((conv(corner((3,)), (3, 7, 7)),)))
    # 10 - 200 is rectified, 1 - 20 + 400, -2 + 40
    np.testing.assert_array_equal(y, over("t", [0, 381, 38]))


@pytest.fixture
def tiny(reference, conv):
    """Return a function that makes a network for clips [B, 2+s, 1, 1, 3] whose stems pass the first colour."""

    def make(streams, fc1_bias=-1.0, **settings):
        weights = np.zeros((7, 7, 3))
        weights[3, 3, 0] = 1
        stem = reference.Stem((conv(weights, (1, 7, 7), channels=(3, 1)), conv([0, 1, 0], (3, 1, 1))))
        count = len(streams)
        fc1 = reference.Dense(np.eye(count), bias=np.full(count, fc1_bias))
        fc2 = reference.Dense(np.diag(TAPS[:count]), bias=np.full(count, 0.25))
        settings = {"blocks": (), "frames": 2} | settings
        return reference.Network(dict.fromkeys(streams, stem), fc1=fc1, fc2=fc2, **settings)

    return make


def clip(*reds):
    """Return a uint8 clip [1, T+s, 1, 1, 3] of one pixel; green and blue are never seen."""
    return np.array([[[[[red, 77, 99]]] for red in reds]], np.uint8)


@pytest.mark.parametrize("streams", [("rgb", "residual"), ("residual", "rgb")])
def test_a_network_scales_its_streams_and_puts_rgb_first(reference, tiny, streams):
    y = reference.network(clip(255, 255, 127), tiny(streams))
    # RGB: 1, 1, mean 1. Residual: 0, 128 / 32 = 4, mean 2. fc1: ReLU of 1 - 1, 2 - 1. fc2: times 1, 10, plus 0.25.
    np.testing.assert_allclose(y, [[0.25, 10.25]])


def test_rgb_alone_sees_only_the_first_frames(reference, tiny):
    network = tiny(["rgb"], fc1_bias=0.0, step=2)
    # The means of 0.6, 0 (the stem's ReLU of -0.6) and of 1, 1, whatever follows.
    np.testing.assert_allclose(reference.network(clip(204, 51, 9, 9), network), [[0.3 + 0.25]])
    np.testing.assert_allclose(reference.network(clip(255, 255, 0, 0), network), [[1 + 0.25]])


def test_the_residual_alone_uses_the_step(reference, tiny):
    y = reference.network(clip(0, 7, 64, 135), tiny(["residual"], step=2))
    # 64 / 32 and 128 / 32, mean 3, less 1.
    np.testing.assert_allclose(y, [[2.25]])


@pytest.mark.parametrize(
    ("feature_residual", "pool", "expected"),
    [(True, "space_time", (3 + 7.5) / 2), (True, "space", (3 + 7.8) / 2), (False, "space_time", (0 + 7.5) / 2)],
)
def test_a_network_passes_its_settings_to_its_blocks(reference, conv, tiny, feature_residual, pool, expected):
    # The stem gives 0, 4; then f_s = f_m = 0, 2 and f_res = 2, 0. The masks are 1/2; that of f_s is
    # sigmoid(log 3 * pool(f_s)): 3/4 over space and time, 9/10 over space in the second frame. The block restores
    # f_s + f_res and adds 0, 4.
    count = 3 if feature_residual else 2
    weight = np.zeros((count, count))
    weight[0, 0] = np.log(3)
    module = reference.Module(conv([1]), conv([1]), reference.Attention(weight, bias=np.zeros(count)))
    block = reference.Bottleneck(conv([0.5]), module, restore=conv([1, 0, 1][:count], channels=(count, 1)))
    network = tiny(["residual"], blocks=(block,), feature_residual=feature_residual, attention_pool=pool)
    np.testing.assert_allclose(reference.network(clip(0, 0, 128), network), [[expected - 1 + 0.25]])


def test_the_optional_pool_follows_the_stems(reference, tiny):
    frames = np.zeros((1, 3, 4, 4, 3), np.uint8)
    frames[0, 2, 3, 3] = 96
    # The stem sees pixels 1 and 3 of each axis: residuals 0, 0, 0, 3 in the last frame of two.
    mean, maximum = 3 / 4 / 2, 3 / 2
    assert mean < 1  # fc1 subtracts 1 and rectifies
    np.testing.assert_allclose(reference.network(frames, tiny(["residual"])), [[0.25]])
    np.testing.assert_allclose(reference.network(frames, tiny(["residual"], stem_pool=True)), [[maximum - 1 + 0.25]])
