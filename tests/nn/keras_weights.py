"""The weights of a Keras network, in the terms of `reference.py`."""

import keras
import numpy as np


def randomise(model, seed=0):
    """Give every batch norm other statistics and scales than a new one's, and every bias a value."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            channels = layer.gamma.shape
            layer.set_weights(
                [
                    random.uniform(0.5, 1.5, channels),
                    random.normal(0, 0.3, channels),
                    random.normal(0, 0.3, channels),
                    random.uniform(0.5, 2, channels),
                ]
            )
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(random.normal(0, 0.3, layer.bias.shape))
    return model


def array(variable):
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float64)


def conv_norm(reference, model, name):
    """A convolution and its norm; a 2D kernel is brought to `[time, height, width, inputs, outputs]`."""
    conv, norm = model.get_layer(name), model.get_layer(f"{name}_norm")
    kernel = array(conv.kernel)
    if kernel.ndim == 4:
        kernel = kernel[:, None] if conv.kernel_size[0] > 1 else kernel[None]
    gamma, beta, mean, variance = map(array, (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance))
    return reference.ConvNorm(kernel, gamma, beta, mean, variance, norm.epsilon)


def middle(reference, model, name):
    names = {layer.name for layer in model.layers}
    if f"{name}_conv" in names:
        return conv_norm(reference, model, f"{name}_conv")
    attention = None
    if f"{name}_attention" in names:
        layer = model.get_layer(f"{name}_attention")
        attention = reference.Attention(array(layer.kernel), array(layer.bias))
    return reference.Module(
        conv_norm(reference, model, f"{name}_appearance"), conv_norm(reference, model, f"{name}_motion"), attention
    )


def bottleneck(reference, model, name, stride):
    names = {layer.name for layer in model.layers}
    has_shortcut = f"{name}_shortcut" in names
    return reference.Bottleneck(
        conv_norm(reference, model, f"{name}_reduce"),
        middle(reference, model, name),
        conv_norm(reference, model, f"{name}_restore"),
        conv_norm(reference, model, f"{name}_shortcut") if has_shortcut else None,
        stride,
    )


def network(reference, model, *, frames, step=1, blocks, **settings):
    """The whole of a `P3DResNet` whose arguments these are."""
    names = {layer.name for layer in model.layers}
    stems = {}
    for stream in ("rgb", "residual"):
        convs = [f"{stream}_stem_{part}" for part in ("appearance", "motion", "conv")]
        found = tuple(conv_norm(reference, model, name) for name in convs if name in names)
        if found:
            stems[stream] = reference.Stem(found)
    places = [(stage, block) for stage, count in enumerate(blocks) for block in range(count)]
    return reference.Network(
        stems,
        tuple(
            bottleneck(reference, model, f"res{stage + 2}_{block + 1}", 2 if stage and not block else 1)
            for stage, block in places
        ),
        *(reference.Dense(array(model.get_layer(n).kernel), array(model.get_layer(n).bias)) for n in ("fc1", "fc2")),
        frames=frames,
        step=step,
        stem_pool=settings.get("stem_pool", False),
        feature_residual=settings.get("feature_residual", True),
        attention_pool=settings.get("attention_pool", "space_time"),
    )
