"""Plans for property tests: everything that a plan can say."""

from __future__ import annotations

from hypothesis import strategies as st

from hwloop.spec.density import DENSITY_MODELS, Density
from hwloop.spec.plan import LayerPlan, Plan
from hwloop.spec.pruning import BlockPattern

fraction = st.floats(0, 1, allow_nan=False)
density = st.one_of(
    fraction,
    st.builds(lambda keep, extra: BlockPattern(keep, keep + extra), st.integers(1, 9), st.integers(0, 9)),
    st.builds(Density, st.sampled_from(DENSITY_MODELS[:3]), fraction, st.integers(0, 5)),
)
bits = st.none() | st.integers(1, 64)
share = st.builds(
    LayerPlan,
    density,
    fraction,
    bits,
    bits,
    st.none() | st.integers(1, 64) | st.sets(st.integers(0, 64), min_size=1).map(tuple),
    st.none() | st.integers(1, 64) | st.tuples(st.integers(1, 64), st.integers(1, 64)),
) | st.just(LayerPlan(removed=True))
plans = st.builds(
    Plan,
    st.dictionaries(st.sampled_from(["a", "b.0", "c#2", "d e"]), share).map(lambda d: tuple(d.items())),
    st.sampled_from(["", "p=0.7"]),
)
