"""Models of Keras, with PyTorch below it, for test_readers.py: those that are read and refused."""

import os

os.environ["KERAS_BACKEND"] = "torch"
import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers as L  # noqa: E402
from model_marks import marks  # noqa: E402

READ, REFUSED, read, refused = marks()


def randomised(model, seed=0):
    """The model with other numbers where Keras begins with 0 and 1."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = np.asarray(keras.ops.convert_to_numpy(weight))
        if (value == value.ravel()[0]).all() and value.dtype.kind == "f":
            weight.assign(rng.uniform(0.3, 1.2, value.shape))
    return model


def chain(shape, *parts):
    return keras.Sequential([keras.Input(shape), *parts])


@read("softmax")
def perceptron():
    return chain(
        (6,),
        L.Dense(9, activation="relu"),
        L.BatchNormalization(),
        L.Dropout(0.4),
        L.Dense(7),
        L.LeakyReLU(0.2),
        L.Dense(3, activation="softmax", name="classes"),
    )


@read("sigmoid")
def one_probability():
    return chain((6,), L.Dense(9), L.ReLU(), L.Dense(1), L.Activation("sigmoid"))


@read()
def a_square_kernel():
    """A kernel (3, 3, 3, 3), which fits in any order of its axes."""
    return chain((7, 6, 3), L.Conv2D(3, 3, name="square"), L.ReLU(), L.Flatten(), L.Dense(2))


@read("softmax")
def residual():
    x = keras.Input((8, 8, 2))
    a = L.BatchNormalization()(L.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(x))
    a = L.ReLU()(a)
    b = L.Conv2D(4, 3, padding="same", activation="relu", name="first")(a)
    b = L.BatchNormalization()(L.Conv2D(4, 3, padding="same", name="second")(b))
    a = L.MaxPooling2D(2)(L.ReLU()(L.Add()([a, b])))
    a = L.GlobalAveragePooling2D()(L.Concatenate()([a, L.Conv2D(3, 1, name="third")(a)]))
    return keras.Model(x, L.Softmax()(L.Dense(5, name="head")(a)))


@read()
def convolutions_of_all_kinds():
    return chain(
        (9, 8, 4),
        L.ZeroPadding2D(((1, 0), (2, 1))),
        L.DepthwiseConv2D(3, depth_multiplier=2),
        L.ReLU(max_value=6),
        L.Conv2D(6, (3, 2), strides=(2, 1), padding="same", groups=2),
        L.PReLU(shared_axes=[1, 2]),
        L.SeparableConv2D(4, 2, padding="same"),
        L.Conv2D(3, 2, dilation_rate=2),
        L.Flatten(),
    )


@read()
def strides_with_same_padding():
    """TensorFlow pads unevenly here, on the right more than on the left."""
    return chain(
        (8, 9, 2),
        L.Conv2D(3, 3, strides=2, padding="same"),
        L.ReLU(),
        L.MaxPooling2D(2, strides=2, padding="same"),
        L.AveragePooling2D(2, strides=1, padding="same"),
    )


@read()
def up_and_down():
    return chain(
        (4, 5, 2),
        L.Conv2DTranspose(3, 3, strides=2, padding="same"),
        L.ReLU(),
        L.Cropping2D(1),
        L.UpSampling2D(2),
        L.Conv2DTranspose(2, 2, strides=2),
    )


@read()
def bilinear():
    return chain((4, 5, 2), L.Conv2D(3, 2), L.ReLU(), L.UpSampling2D(2, interpolation="bilinear"))


@read()
def signals():
    return chain(
        (12, 3),
        L.Conv1D(4, 3, padding="causal", dilation_rate=2),
        L.ReLU(),
        L.MaxPooling1D(2),
        L.Conv1D(4, 2, strides=2),
        L.GlobalMaxPooling1D(),
        L.Dense(2),
    )


@read()
def moved():
    return chain(
        (4, 6),
        L.Permute((2, 1)),
        L.Dense(5, activation="relu"),
        L.Reshape((5, 6)),
        L.Dense(3),
        L.Flatten(),
        L.RepeatVector(2),
    )


@read()
def pixels_normalised_in_the_model():
    norm = L.Normalization(axis=-1, mean=[0.2, 0.4, 0.1], variance=[0.5, 2.0, 1.0])
    return chain((5, 5, 3), L.Rescaling(1 / 255, offset=-0.5), norm, L.Conv2D(2, 3), L.Flatten())


@read()
def extrema_of_branches():
    x = keras.Input((6,))
    a, b, c = (L.Dense(5, name=name)(x) for name in ("one", "two", "three"))
    return keras.Model(x, L.Subtract()([L.Maximum()([a, b]), L.Average()([b, c])]))


@read()
def shared_layers():
    x, part = keras.Input((6,)), L.Dense(6, activation="relu", name="shared")
    return keras.Model(x, L.Dense(2)(part(part(x))))


@read()
def models_in_models():
    inside = keras.Sequential([L.Dense(5, activation="relu", name="deep")], name="inside")
    return chain((6,), inside, L.Dense(2, name="head"))


@read()
def doubles():
    parts = (L.Dense, 8), (L.BatchNormalization,), (L.LeakyReLU, 0.3), (L.Dense, 3)
    made = [kind(*options, dtype="float64") for kind, *options in parts]
    return keras.Sequential([keras.Input((6,), dtype="float64"), *made])


@refused("Tanh 'dense.tanh'")
def tanh():
    return chain((6,), L.Dense(8, activation="tanh", name="dense"), L.Dense(3))


@refused("Gelu")
def gelu():
    return chain((6,), L.Dense(8, activation="gelu"), L.Dense(3))


@refused("Elu")
def elu():
    return chain((6,), L.Dense(8, activation="elu"), L.Dense(3))


@refused("reads what a softmax writes")
def softmax_inside():
    return chain((6,), L.Dense(8, activation="softmax"), L.Dense(3))


@refused("LayerNormalization")
def layer_normalization():
    return chain((6,), L.Dense(8), L.LayerNormalization(), L.Dense(3))


@refused("'lstm")
def lstm():
    return chain((5, 4), L.LSTM(3), L.Dense(2))


@refused("MatMul", "multi_head_attention")
def attention():
    x = keras.Input((5, 4))
    return keras.Model(x, L.MultiHeadAttention(2, 3)(x, x))


@refused("2 outputs")
def two_heads():
    x = keras.Input((6,))
    return keras.Model(x, [L.Dense(2)(x), L.Dense(3)(x)])


@refused("2 inputs")
def two_inputs():
    x, y = keras.Input((6,)), keras.Input((6,))
    return keras.Model([x, y], L.Add()([x, y]))


@refused("open", "example")
def a_size_that_is_open():
    return chain((None, None, 2), L.Conv2D(3, 3), L.GlobalAveragePooling2D())
