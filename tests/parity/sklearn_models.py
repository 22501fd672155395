"""Models of scikit-learn for test_readers.py: those that are read, and those that are refused.

Each function gives a model that has been fitted. Its inputs have a mean and a spread of their own,
so that a scaler that is left out would be seen.
"""

import warnings

import numpy as np
from model_marks import marks
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

READ, REFUSED, read, refused = marks()


def inputs(n=120, seed=0):
    """Samples (n, 6), far from 0 and of unequal spread."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 6)) * [0.1, 1, 5, 20, 3, 0.5] + [3, -1, 40, 100, 0, 2]


def classes(x, count=3):
    """Labels 0 … count − 1 that depend on the samples."""
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    return np.digitize(z[:, 0] + z[:, 1] * z[:, 2], [-0.5, 0.5][: count - 1])


def fitted(model, y=None):
    """The model after a short fit, which need not have converged."""
    x = inputs()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(x, classes(x) if y is None else y)


def classifier(**options):
    return MLPClassifier(hidden_layer_sizes=(7, 5), max_iter=20, random_state=0, **options)


def regressor(**options):
    return MLPRegressor(hidden_layer_sizes=(7, 5), max_iter=20, random_state=0, **options)


@read("softmax")
def three_classes():
    return fitted(classifier())


@read("sigmoid")
def two_classes():
    return fitted(classifier(), classes(inputs(), 2))


@read("sigmoid")
def two_classes_with_names():
    return fitted(classifier(), np.array(["no", "yes"])[classes(inputs(), 2)])


@read("sigmoid")
def several_labels_at_once():
    return fitted(classifier(), (inputs()[:, :3] > inputs()[:, :3].mean(axis=0)).astype(int))


@read("sigmoid")
def two_labels_at_once():
    return fitted(classifier(), (inputs()[:, :2] > inputs()[:, :2].mean(axis=0)).astype(int))


@read("softmax")
def classes_with_identity():
    return fitted(classifier(activation="identity"))


@read("identity")
def one_number():
    return fitted(regressor(), inputs()[:, 0])


@read("identity")
def two_numbers():
    return fitted(regressor(), inputs()[:, :2])


@read("identity")
def no_hidden_layer():
    return fitted(MLPRegressor(hidden_layer_sizes=(), max_iter=20, random_state=0), inputs()[:, 0])


@read("softmax")
def standard_scaler():
    return fitted(make_pipeline(StandardScaler(), classifier()))


@read("softmax")
def halves_of_a_standard_scaler():
    return fitted(
        make_pipeline(StandardScaler(with_std=False), StandardScaler(with_mean=False), classifier())
    )


@read("softmax")
def min_max_scaler():
    return fitted(make_pipeline(MinMaxScaler((-2, 1)), classifier()))


@read("softmax")
def min_max_scaler_that_clips():
    return fitted(make_pipeline(MinMaxScaler(clip=True), classifier()))


@read("softmax")
def max_abs_scaler():
    return fitted(make_pipeline(MaxAbsScaler(), classifier()))


@read("softmax")
def robust_scaler():
    return fitted(make_pipeline(RobustScaler(), classifier()))


@read("softmax")
def halves_of_a_robust_scaler():
    return fitted(
        make_pipeline(
            RobustScaler(with_scaling=False), RobustScaler(with_centering=False), classifier()
        )
    )


@read("identity")
def principal_components():
    return fitted(make_pipeline(StandardScaler(), PCA(4), regressor()), inputs()[:, 0])


@read("softmax")
def whitened_components():
    return fitted(make_pipeline(StandardScaler(), PCA(4, whiten=True), classifier()))


@read("softmax")
def pipelines_in_pipelines():
    before = Pipeline([("nothing", "passthrough"), ("scale", StandardScaler()), ("no", None)])
    return fitted(Pipeline([("before", before), ("pca", PCA(3)), ("mlp", classifier())]))


@read("softmax")
def a_constant_column():
    x = inputs()
    x[:, 2] = 4.0
    return make_pipeline(StandardScaler(), classifier(early_stopping=True)).fit(
        x, classes(inputs())
    )


@refused("MLPClassifier", "tanh")
def tanh():
    return fitted(classifier(activation="tanh"))


@refused("mlpclassifier", "MLPClassifier", "logistic")
def logistic():
    return fitted(make_pipeline(StandardScaler(), classifier(activation="logistic")))


@refused("normalizer", "Normalizer")
def samples_of_unit_length():
    return fitted(make_pipeline(Normalizer(), classifier()))


@refused("polynomialfeatures", "PolynomialFeatures")
def polynomials():
    return fitted(make_pipeline(PolynomialFeatures(), classifier()))


@refused("columntransformer", "ColumnTransformer")
def columns():
    some = ColumnTransformer([("scale", StandardScaler(), [0, 1])], remainder="passthrough")
    return fitted(make_pipeline(some, classifier()))


@refused("LogisticRegression", "MLPClassifier")
def another_model():
    return fitted(LogisticRegression(max_iter=20))


@refused("standardscaler", "StandardScaler")
def no_model_at_the_end():
    return fitted(make_pipeline(StandardScaler()))


@refused("MLPClassifier", "fit")
def a_model_that_was_not_fitted():
    return classifier()


@refused("standardscaler", "fit")
def a_pipeline_that_was_not_fitted():
    return make_pipeline(StandardScaler(), classifier())
