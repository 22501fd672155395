"""Networks of other libraries as a `Network`: files of ONNX, modules of PyTorch, models of
scikit-learn and Keras.

May import: support, networks.
In the paper: nowhere; section 2 says which networks have a sheaf.
"""
