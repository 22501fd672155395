"""The colours of all figures: one colour has one meaning, through the whole book.

Kinds of edges and methods share no colour. All are told apart by people who are colour-blind
(Okabe and Ito's palette for edges, Tol's muted one for methods).
"""

EDGE_COLOURS = {
    "affine": "#0072B2",
    "activation": "#E69F00",
    "projection": "#009E73",
    "output": "#CC79A7",
    "penalty": "#D55E00",
}
METHOD_COLOURS = {
    "sheaf": "#332288",
    "gradient descent": "#999933",
    "backpropagation": "#000000",
    "equilibrium": "#882255",
    "scikit-learn": "#44AA99",
}
NULL = "0.7"  # a method against itself, labels permuted, no fault: what chance alone gives
VERDICT_COLOURS = {
    "holds": "#009E73",
    "measured": "#56B4E9",
    "refuted": "#D55E00",
    "fails": "#000000",
}
# the first, second, … of what is compared and has no colour of its own
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DISCORD = "plasma"  # how much discord an edge has: bright is much
