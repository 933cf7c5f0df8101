"""Missing points keep their place through all three forms."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dianhuan_hub.store import curves_to_nan, nan_to_contract, nan_to_store, store_to_nan
from dianhuan_sdk import CURVE_TYPE

CURVES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 5), st.just(96)),
    elements=st.one_of(st.just(np.float32(np.nan)), st.floats(-1e5, 1e5, width=32)),
)


@given(CURVES)
def test_store_form_round_trip(kw):
    values, missing = nan_to_store(kw)
    assert not np.isnan(values.flatten().to_numpy()).any()
    np.testing.assert_array_equal(store_to_nan(values, missing), kw)
    assert missing.null_count == int((~np.isnan(kw).any(axis=1)).sum())


@given(CURVES, st.integers(0, 3))
def test_contract_form_round_trip_of_slices(kw, skip):
    column = nan_to_contract(kw)
    assert column.flatten().null_count == int(np.isnan(kw).sum())
    np.testing.assert_array_equal(curves_to_nan(column.slice(skip)), kw[skip:])


def test_null_row_is_all_missing():
    column = pa.array([[1.0] * 96, None, [None] * 95 + [2.0]], CURVE_TYPE)
    kw = curves_to_nan(column)
    assert (kw[0] == 1).all()
    assert np.isnan(kw[1]).all()
    assert np.isnan(kw[2, :95]).all()
    assert kw[2, 95] == 2
