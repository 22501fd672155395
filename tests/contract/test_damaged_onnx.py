"""A damaged file of ONNX is read as a network that computes, or refused with what is wrong."""

import random
import time
import tracemalloc
import warnings

import numpy as np
import onnx
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from onnx_files import SOUND, bytes_changed, meaning_changed

from sheaflib import Network, read

SECONDS, BYTES = 5, 2**30  # that a file may take


def read_or_refused(content):
    """The file is refused by a ValueError with words in it, or its network computes."""
    tracemalloc.start()
    start = time.process_time()
    try:
        with warnings.catch_warnings(action="ignore"):
            network = read(content)
    except ValueError as error:
        assert len(str(error)) > 15, repr(error)
    else:
        assert isinstance(network, Network) and network.difference < 1e-2
        assert np.isfinite(network(np.zeros((1, network.n_in)))).all()
    finally:
        spent, most = time.process_time() - start, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert spent < SECONDS and most < BYTES


@pytest.mark.parametrize("name", SOUND)
def test_the_files_are_sound(name):
    assert read(SOUND[name]).difference < 1e-5


@examples(40)
@given(st.sampled_from(sorted(SOUND)), st.integers(0, 2**32 - 1))
def test_any_bytes_of_a_file_changed(name, seed):
    read_or_refused(bytes_changed(random.Random(seed), SOUND[name]))


@examples(85)
@given(st.sampled_from(sorted(SOUND)), st.integers(0, 2**32 - 1))
def test_anything_that_a_file_says_changed(name, seed):
    proto = onnx.load_model_from_string(SOUND[name])
    meaning_changed(random.Random(seed), proto)
    read_or_refused(proto.SerializeToString())
