"""
The nine networks in plain Keras, as the released implementation writes them: what the package's own are measured against.

Nothing here is of the package, so nothing that makes the package's layers faster helps the baseline. With the package's weights
(`copy_weights`) each gives the package's outputs, which tests/test_benchmarks.py proves.
"""

import keras
import numpy as np
from keras import layers, ops

_serialisable = keras.saving.register_keras_serializable(package="plain")


def _norm(x, activation="relu"):
    return layers.Activation(activation)(layers.BatchNormalization()(x))


def filters() -> list[np.ndarray]:
    """Return the 17 hand-crafted filters: increase, decrease, peaks."""
    lengths = (2, 4, 8, 16, 32, 64)
    increase = [np.where(np.arange(n) % 2 == 0, -1.0, 1.0) for n in lengths]
    bumps = [(np.arange(1, n // 4 + 1) / (n // 4)) ** 2 for n in lengths[1:]]
    bumps = [np.concatenate([rise, rise[::-1]]) for rise in bumps]
    return [*increase, *(-w for w in increase), *(np.concatenate([-b, 2 * b, -b]) for b in bumps)]


def _hand_crafted(x, per_channel: bool):
    """Filter with layers that are not trained: each channel alone, or all at once."""
    found = []
    for w in filters():
        options = {"kernel_size": len(w), "padding": "same", "use_bias": False, "trainable": False}
        layer = layers.DepthwiseConv1D(**options) if per_channel else layers.Conv1D(1, **options)
        found.append(layer(x))
        layer.set_weights([np.broadcast_to(w.reshape(-1, 1, 1), layer.kernel.shape)])
    return layers.ReLU()(layers.Concatenate()(found))


def _fcn(x, skeleton):
    for n_filters, size in ((128, 8), (256, 5), (128, 3)):
        x = _norm(layers.Conv1D(n_filters, size, padding="same")(x))
    return layers.GlobalAveragePooling1D()(x)


def _h_inception(x, skeleton):
    hand_crafted, shortcut = _hand_crafted(x, per_channel=False), x
    for number in range(6):
        narrow = layers.Conv1D(32, 1, padding="same")(x)
        parallel = [layers.Conv1D(32, size, padding="same")(narrow) for size in (40, 20, 10)]
        parallel.append(layers.Conv1D(32, 1, padding="same")(layers.MaxPooling1D(3, strides=1, padding="same")(x)))
        x = _norm(layers.Concatenate()(parallel + [hand_crafted] * (number == 0)))
        if number % 3 == 2:
            residual = layers.BatchNormalization()(layers.Conv1D(x.shape[-1], 1, use_bias=False)(shortcut))
            x = shortcut = layers.ReLU()(layers.Add()([residual, x]))
    return layers.GlobalAveragePooling1D()(x)


def _litemv(x, skeleton):
    def separable(size, dilation=1):
        return layers.SeparableConv1D(32, size, dilation_rate=dilation, padding="same", use_bias=False)

    x = _norm(layers.Concatenate()([*(separable(size)(x) for size in (40, 20, 10)), _hand_crafted(x, per_channel=True)]))
    for size, dilation in ((20, 2), (10, 4)):
        x = _norm(separable(size, dilation)(x))
    return layers.GlobalAveragePooling1D()(x)


@_serialisable
class Positions(layers.Layer):
    """Add sines and cosines of the frame's number."""

    def __init__(self, length_aware=False, **kwargs):
        super().__init__(**kwargs)
        self.length_aware = length_aware

    def build(self, shape):
        _, length, size = shape
        angle = np.arange(length)[:, None] * 10000.0 ** (-np.arange(0, size, 2) / size) * (size / length if self.length_aware else 1)
        table = np.empty((length, size))
        table[:, 0::2], table[:, 1::2] = np.sin(angle), np.cos(angle[:, : size // 2])
        self.table = table.astype("float32")

    def call(self, x):
        return x + self.table

    def get_config(self):
        return super().get_config() | {"length_aware": self.length_aware}


@_serialisable
class RelativeAttention(layers.Layer):
    """Eight heads, and a learnt bias for each distance that is gathered for each pair of frames."""

    def build(self, shape):
        _, length, size = shape
        self.bias = self.add_weight((2 * length - 1, 8), "zeros")
        self.key, self.value, self.query = (self.add_weight((size, size), "glorot_uniform") for _ in range(3))
        frame = np.arange(length)
        self.distances = (frame[None, :] - frame[:, None]).ravel() + length - 1

    def call(self, x):
        _, length, size = x.shape

        def heads(matrix):
            return ops.transpose(ops.reshape(ops.matmul(x, matrix), (-1, length, 8, size // 8)), (0, 2, 1, 3))

        key, value, query = heads(self.key), heads(self.value), heads(self.query)
        weight = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * size**-0.5)
        bias = ops.reshape(ops.take(self.bias, self.distances, axis=0), (8, length, length))
        return ops.reshape(ops.transpose(ops.matmul(weight + bias, value), (0, 2, 1, 3)), (-1, length, size))


def _convtran(x, skeleton):
    length, n_channels = x.shape[1:]
    x = layers.Reshape((length, n_channels, 1))(x)
    x = _norm(layers.Conv2D(64, (8, 1), padding="same")(x), "gelu")
    x = _norm(layers.Conv2D(16, (1, n_channels))(x), "gelu")
    x = layers.Dropout(0.01)(Positions(length_aware=True)(layers.Reshape((length, 16))(x)))
    x = layers.LayerNormalization(epsilon=1e-5)(layers.Add()([x, layers.LayerNormalization()(RelativeAttention()(x))]))
    inner = layers.Dropout(0.01)(layers.Dense(256, activation="relu")(x))
    inner = layers.Dropout(0.01)(layers.Dense(16)(inner))
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-5)(layers.Add()([x, inner])))


def _convlstm(x, skeleton):
    x = layers.Reshape((*x.shape[1:], 1))(x)
    for _ in range(4):
        x = layers.Conv2D(64, (5, 1), activation="relu")(x)
    x = layers.Reshape((x.shape[1], x.shape[2] * 64))(x)
    x = layers.Dropout(0.5)(layers.LSTM(128, return_sequences=True)(x))
    return layers.Dropout(0.5)(layers.LSTM(128)(x))


def _gru(x, skeleton):
    return layers.Dense(30, activation="tanh")(layers.GRU(128)(layers.GRU(128, return_sequences=True)(x)))


def _vantran(x, skeleton):
    x = layers.Dropout(0.1)(Positions()(layers.Dense(256)(x)))
    for _ in range(4):
        attention = layers.Dropout(0.1)(layers.MultiHeadAttention(4, 256)(x, x))
        x = layers.Add()([x, layers.LayerNormalization(epsilon=1e-6)(attention)])
        inner = layers.Dropout(0.1)(layers.Dense(256)(layers.Dense(1024, activation="gelu")(x)))
        x = layers.Add()([x, layers.LayerNormalization(epsilon=1e-6)(inner)])
    return layers.GlobalAveragePooling1D()(x)


def _disjoint_cnn(x, skeleton):
    def convolution(x, size, padding):
        return _norm(layers.Conv2D(64, size, padding=padding, kernel_initializer="he_uniform")(x), "elu")

    x = layers.Reshape((*x.shape[1:], 1))(x)
    for number, length in enumerate((8, 5, None, 3)):
        if number:
            x = layers.Permute((1, 3, 2))(x)
        if length:
            x = convolution(x, (length, 1), "same")
        x = convolution(x, (1, x.shape[2]), "valid")
    return layers.Dense(128, activation="relu")(layers.GlobalAveragePooling2D()(layers.MaxPooling2D((5, 1))(x)))


@_serialisable
class GraphProduct(layers.Layer):
    """Average maps over the joints within reach, with a softmax of states as weights."""

    def __init__(self, mask, **kwargs):
        super().__init__(**kwargs)
        self.mask = np.array(mask, "float32")

    def call(self, state, maps):
        weight = ops.softmax(ops.leaky_relu(state, 0.2) + self.mask)
        return ops.einsum("ntij,ntjc->ntic", weight, maps)

    def get_config(self):
        return super().get_config() | {"mask": self.mask.tolist()}


def _stgcn(x, skeleton):
    n_joints, n_dims, tree = skeleton
    links = np.eye(n_joints, dtype=int)
    for chain in tree:
        links[chain[:-1], chain[1:]] = links[chain[1:], chain[:-1]] = 1

    def convolution(x, n_filters, size):
        return layers.Conv2D(n_filters, (size, 1), padding="same", activation="relu")(x)

    def module(z):
        joined, products = layers.Concatenate()([z, convolution(z, 64, 9)]), []
        for hop in (1, 2):
            maps = convolution(joined, 64, 1)
            # one LSTM for all joints: a convolutional one, with kernels of one joint
            state = layers.Reshape((*maps.shape[1:3], 1, 64))(maps)
            state = layers.ConvLSTM2D(n_joints, (1, 1), return_sequences=True)(state)
            state = layers.Reshape((maps.shape[1], n_joints, n_joints))(state)
            mask = np.where(np.linalg.matrix_power(links, hop) > 0, hop - 1.0, -1e9)
            products.append(GraphProduct(mask.tolist())(state, maps))
        x, found = layers.Concatenate()(products), []
        for size in (9, 15, 20):
            x = layers.Dropout(0.25)(convolution(x, 16, size))
            found.append(x)
        return layers.Concatenate()(found)

    x = module(layers.Reshape((x.shape[1], n_joints, n_dims))(x))
    for _ in range(2):
        x = layers.Add()([x, module(x)])
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x)
    for units, more in ((80, True), (40, True), (40, True), (80, False)):
        x = layers.Dropout(0.25)(layers.LSTM(units, return_sequences=more)(x))
    return x


PLAIN = {
    "FCN": _fcn, "H-Inception": _h_inception, "LITEMV": _litemv, "ConvTran": _convtran, "ConvLSTM": _convlstm, "GRU": _gru,
    "VanTran": _vantran, "DisjointCNN": _disjoint_cnn, "STGCN": _stgcn,
}


def build(model: str, n_timepoints: int, n_channels: int, n_classes: int, skeleton: tuple[int, int, list[list[int]]]) -> keras.Model:
    """Build a network that classifies; the skeleton is the number of joints, of values of each, and the chains of its tree."""
    recording = keras.Input((n_timepoints, n_channels))
    features = PLAIN[model](recording, skeleton)
    return keras.Model(recording, layers.Dense(n_classes, activation="softmax", name="head")(features))


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Give a plain network the weights of the package's; those of the hand-crafted filters it has already."""
    own = [w for layer in target.layers for w in layer.weights if w.trainable or "moving" in w.path]
    for variable, value in zip(own, source.get_weights(), strict=True):
        variable.assign(value.reshape(variable.shape))
