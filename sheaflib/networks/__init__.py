"""Feedforward networks: graphs of affine maps, selections (ReLU, max pooling) and an output;
their files.

May import: support.
In the paper: section 2, networks as compositions z = W a + b, a = ReLU(z).
"""
