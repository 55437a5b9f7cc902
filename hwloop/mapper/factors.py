"""All ways to spread one dimension over the slots of a mapspace: the tables that the search indexes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd, isqrt

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.mapspace import X_AXIS, Mapspace

FULL, SPATIAL, COARSE = 2, 1, 0
MANY_BOUNDS = 2000
SMALL = 3  # dimensions up to this size take divisors only, unless constraints leave none
MANY = 10  # times the limit: so many rows cost more time than they are worth, neighbours among them differ little
Options = tuple[tuple[int, ...], ...]  # one tuple a way: signed bound by slot, negative for Y
SlotKey = tuple[int, int, tuple[int, ...], tuple[int, int], int]


@dataclass(frozen=True)
class FactorTable:
    """The ways to spread one dimension; `n` of them.

    Attributes:
        bounds: `(n, slot)` int64 loop bounds, innermost slot first.
        on_y: `(n, slot)` bool: the spatial loop lies on Y.
        passes: `(n,)` product of the temporal bounds.
        effective: `(n, slot)` average passes: the bounds, less what the last, incomplete passes leave out. Their product is
            the dimension.
        extents: `(n, slot)` iterations that the slot and those inside it cover, at most the dimension.
        imperfect: `(n,)` bool: some bound does not divide.
    """

    bounds: NDArray[np.int64]
    on_y: NDArray[np.bool_]
    passes: NDArray[np.float64]
    effective: NDArray[np.float64]
    extents: NDArray[np.float64]
    imperfect: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.bounds)


def divisors(n: int) -> list[int]:
    """Divisors of `n`, ascending."""
    out = [1]
    for prime, power in prime_factors(n).items():
        out = [d * prime**k for d in out for k in range(power + 1)]
    return sorted(out)


def prime_factors(n: int) -> dict[int, int]:
    """Powers of the primes that divide `n`, by trial up to a thousand and Pollard's rho beyond (BIT 15, 1975)."""
    out: dict[int, int] = {}
    for p in range(2, 1000):
        while n % p == 0:
            out[p] = out.get(p, 0) + 1
            n //= p
    rest = [n] if n > 1 else []
    while rest:
        m = rest.pop()
        if m < 1000**2 or _is_prime(m):
            out[m] = out.get(m, 0) + 1
        else:
            d = _split_composite(m)
            rest += [d, m // d]
    return out


def _is_prime(n: int) -> bool:
    """Miller and Rabin's test, exact below 3.3e24 with these bases (Sorenson and Webster, Math. Comp. 86, 2017)."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41):
        x = pow(base, odd, n)
        if x not in (1, n - 1) and all((x := x * x % n) != n - 1 for _ in range(twos - 1)):
            return False
    return True


def _split_composite(n: int) -> int:
    """A divisor of a composite number."""
    for step in range(1, n):
        slow = fast = 2
        divisor = 1
        while divisor == 1:
            slow = (slow * slow + step) % n
            fast = (fast * fast + step) % n
            fast = (fast * fast + step) % n
            divisor = gcd(slow - fast, n)
        if divisor != n:
            return divisor
    raise ValueError(f"{n} is prime")


def ceilings(n: int) -> list[int]:
    """The bounds worth trying on `n` iterations: the least bound for every possible number of passes, ascending.

    There are about twice the root of `n`; of more than `MANY_BOUNDS` only the divisors and an even sample by size are given.
    """
    root = isqrt(n) + 1
    if 2 * root > MANY_BOUNDS:
        passes = {int(n ** (k / MANY_BOUNDS)) for k in range(MANY_BOUNDS)}
        return sorted({*divisors(n), *(-(-n // k) for k in passes)})
    few = {-(-n // k) for k in range(1, root + 1)}
    return sorted(few | {v for v in range(1, min(root, n) + 1) if -(-n // (-(-n // v))) == v})


def factor_tables(
    space: Mapspace, imperfect: bool, limit: int, reach: NDArray[np.int64] | None = None
) -> tuple[FactorTable, ...]:
    """One table for each dimension of the problem.

    Args:
        space: the mapspace.
        imperfect: whether one bound of a dimension may leave an incomplete last pass.
        limit: rows of a table before imperfect bounds are thinned out; where perfect ones are more, only spatial bounds may be
            imperfect, and where they are four times more, temporal ones beside these take few values.
        reach: `(level, dimension)` the most iterations that a tile of the level can hold; rows beyond it are left out unless
            that leaves none.

    Raises:
        InfeasibleMappingError: a dimension that its constrained factors cannot make up.
    """
    tables = []
    for d, (name, size) in enumerate(space.problem.sizes.items()):
        free = tuple((s.low[d], s.high[d], s.axes[d] if s.spatial else (), s.room, 1) for s in space.slots)
        keys = free
        if reach is not None:
            left = [-(-size // int(reach[s.level, d])) for s in space.slots]
            keys = tuple((*key[:4], n) for key, n in zip(free, left, strict=True))
        whole = COARSE if _count(size, keys) > MANY * limit else FULL
        rows = perfect = _spread(size, keys, 0, whole) or _spread(size, free, 0, FULL)
        if (imperfect and size > SMALL) or not perfect:
            known = set(perfect)
            detail = (
                COARSE
                if size > MANY_BOUNDS**2 // 4
                else FULL
                if len(perfect) <= limit
                else SPATIAL
                if whole == FULL and len(perfect) <= 4 * limit
                else COARSE
            )
            extra = tuple(row for row in _spread(size, keys, 1, detail) if row not in known)
            rows = perfect + _thin(extra, limit - min(len(perfect), limit // 2))
        for budget in range(2, len(keys)):  # constraints may force several incomplete passes
            rows = rows or _spread(size, free, budget, FULL)
        if not rows:
            storage = space.architecture.storage
            held = ", ".join(
                f"{storage[s.level].name} {s.low[d]}" + ("" if s.low[d] == s.high[d] else f" to {s.high[d]}")
                for s in reversed(space.slots)
                if (s.low[d], s.high[d]) != (1, size)
            )
            raise InfeasibleMappingError(f"{name} is {size}: no factors that the constraints allow make it up ({held})")
        tables.append(_table(rows, size, tuple(s.spatial for s in space.slots)))
    return tuple(tables)


def _thin(rows: Options, limit: int) -> Options:
    if len(rows) <= limit:
        return rows
    step = len(rows) / limit
    return tuple(rows[int(k * step)] for k in range(limit))


@lru_cache(maxsize=4096)
def _spread(size: int, keys: tuple[SlotKey, ...], budget: int, detail: int) -> Options:
    """Signed bounds by slot, innermost first; at most `budget` of them leave an incomplete last pass.

    Args:
        size: iterations to spread.
        keys: by slot low, high, axes, room and the least number of passes that must be left for the slots outside it.
        budget: imperfect bounds at most.
        detail: `FULL`, `SPATIAL` (only spatial bounds may be imperfect) or `COARSE` (and temporal bounds take few values).
    """
    if not keys:
        return ((),) if size == 1 else ()
    low, high, axes, room, least_left = keys[0]
    if len(keys) == 1:
        values = [size]
    elif low == high:
        values = [low]
    else:
        values = ceilings(size) if budget and (axes or detail == FULL) else divisors(size)
        if detail == COARSE and not axes and len(values) > 4:
            values = [values[0], values[len(values) // 3], values[2 * len(values) // 3], values[-1]]
        if budget and axes:
            values = sorted({*values, *(n for n in room if 1 < n <= size)})
    out = []
    for value in values:
        if not low <= value <= min(high, size):
            continue
        cost = 1 if size % value else 0
        if cost > budget:
            continue
        if -(-size // value) < least_left:
            break
        signs = [1] if not axes or value == 1 else [1 if a == X_AXIS else -1 for a in axes if value <= room[a - 1]]
        for rest in _spread(-(-size // value), keys[1:], budget - cost, detail):
            out += [(sign * value, *rest) for sign in signs]
    return tuple(out)


@lru_cache(maxsize=4096)
def _count(size: int, keys: tuple[SlotKey, ...]) -> int:
    """How many rows `_spread` makes of perfect bounds, axes left out."""
    if not keys:
        return int(size == 1)
    low, high, _, _, least_left = keys[0]
    return sum(_count(size // n, keys[1:]) for n in divisors(size) if low <= n <= high and size // n >= least_left)


def _table(rows: Options, size: int, spatial: tuple[bool, ...]) -> FactorTable:
    signed = np.array(rows, np.int64).reshape(len(rows), len(spatial))
    bounds = np.abs(signed)
    covered = np.minimum(np.cumprod(bounds, axis=1), size).astype(np.float64)
    before = np.concatenate([np.ones((len(rows), 1)), covered[:, :-1]], axis=1)
    temporal = ~np.array(spatial)
    passes = np.prod(bounds[:, temporal], axis=1).astype(np.float64)
    imperfect = np.prod(bounds, axis=1) != size
    return FactorTable(bounds, signed < 0, passes, covered / before, covered, imperfect)


def remainders(bounds: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The bound of each slot's last pass, as Timeloop derives it from the innermost slot outward.

    Args:
        bounds: `(batch, slot)`, innermost first.
        size: the dimension.

    Returns:
        `(batch, slot)`; equal to the bound where it divides what is left.
    """
    rest = np.full(len(bounds), size, np.int64)
    out = np.empty_like(bounds)
    for s in range(bounds.shape[1]):
        left = rest % bounds[:, s]
        out[:, s] = np.where(left == 0, bounds[:, s], left)
        rest = -(-rest // bounds[:, s])
    return out
