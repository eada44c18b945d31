"""Quantiles of Student's t and of the beta distribution for single numbers, without scipy.

A run's own leaderboard needs nothing else of scipy, whose import takes longer than the leaderboard. Arrays of
quantiles, as in power and bounds, come from `scipy.special`.

The incomplete beta function is Lentz's evaluation of its continued fraction (Press et al. (2007), Numerical
Recipes, 6.4), with the logarithm of the beta function from Stirling's series where its arguments are large.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

__all__ = ["beta_quantile", "beta_share", "student_quantile", "student_tail"]

_TINY = 1e-300
_EPSILON = 2.0**-53
#: Degrees of freedom above which the normal quantile and four corrections are exact to the last digits.
_MANY = 10_000.0
#: From here on Stirling's series is exact to the last digits.
_LARGE = 10.0
#: Coefficients of Stirling's series for log gamma, in 1 / x, 1 / x^3, ...
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


@lru_cache(maxsize=4096)
def student_quantile(df: float, p: float) -> float:
    """Return the value below which Student's t with `df` degrees of freedom lies with probability `p`.

    >>> round(student_quantile(9.0, 0.975), 4), round(student_quantile(1e9, 0.975), 4)
    (2.2622, 1.96)
    """
    if math.isnan(df) or not df > 0 or not 0 < p < 1:
        return math.nan
    if p == 0.5:
        return 0.0
    if df > _MANY:
        return _nearly_normal(df, NormalDist().inv_cdf(p))
    tail = min(p, 1 - p)
    if df * tail > 0.5:  # the share between -t and t, which is not small
        y = beta_quantile(0.5, df / 2, 1 - 2 * tail)
        t = math.sqrt(df * y / (1 - y))
    else:
        x = beta_quantile(df / 2, 0.5, 2 * tail)
        t = math.sqrt(df * (1 - x) / x)
    return -t if p < 0.5 else t


def _nearly_normal(df: float, z: float) -> float:
    """Return a quantile of Student's t from the normal one (Abramowitz and Stegun (1964), 26.7.5)."""
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / df ** (k + 1) for k, term in enumerate(terms))


def student_tail(df: float, t: float) -> float:
    """Return the probability that Student's t with `df` degrees of freedom is below `t`."""
    beyond = beta_share(df / 2, 0.5, df / (df + t * t)) / 2
    return beyond if t <= 0 else 1 - beyond


def beta_quantile(a: float, b: float, p: float) -> float:
    """Return the value below which a beta variable with parameters `a` and `b` lies with probability `p`."""
    low, high = 0.0, 1.0
    x = a / (a + b)
    for _ in range(400):
        error = beta_share(a, b, x) - p
        low, high = (x, high) if error < 0 else (low, x)
        density = math.exp(_log_power(a, b, x)) / (x * (1 - x)) if 0 < x < 1 else 0.0
        step = error / density if density else math.inf
        following = x - step
        if not low < following < high:  # Newton's step leaves the bracket: halve it, small values by ratio
            following = math.sqrt(low * high) if 0 < low < high / 4 else (low + high) / 2
            following = following if low > 0 or high > 1e-3 else high / 64
        if abs(following - x) <= 2 * _EPSILON * x or error == 0:
            return x if error == 0 else following
        x = following
    return x


def beta_share(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function: the share of a beta variable below `x`."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _continued(b, a, 1 - x) * math.exp(_log_power(a, b, x)) / b
    return _continued(a, b, x) * math.exp(_log_power(a, b, x)) / a


def _continued(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, 10_000):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _not_zero(1 + factor * d)
            c = _not_zero(1 + factor / c)
            found *= c * d
        if abs(c * d - 1) <= _EPSILON:
            break
    return found


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _log_power(a: float, b: float, x: float) -> float:
    """Return log(x^a (1 - x)^b / B(a, b)), of which no large parts cancel."""
    if a > b:
        return _log_power_of(b, a, 1 - x, x)
    return _log_power_of(a, b, x, 1 - x)


def _log_power_of(a: float, b: float, x: float, y: float) -> float:
    """Return the same for a <= b and y = 1 - x."""
    if b < _LARGE:
        beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
        return a * math.log(x) + b * _log(y, x) - beta
    both = a + b
    rest = _stirling_rest(b) - _stirling_rest(both)
    if a < _LARGE:  # log gamma(b) - log gamma(a + b) by Stirling's series
        ratio = (b - 0.5) * -math.log1p(a / b) - a * math.log(both) + a + rest
        return a * math.log(x) + b * _log(y, x) - math.lgamma(a) - ratio
    half = 0.5 * (math.log(a / (2 * math.pi)) + math.log(b / both))
    return _deviance(a, x * both) + _deviance(b, y * both) + half - _stirling_rest(a) - rest


def _log(y: float, x: float) -> float:
    """Return log y of y = 1 - x."""
    return math.log1p(-x) if x < 0.5 else math.log(y)


def _deviance(count: float, expected: float) -> float:
    """Return count x log(expected / count)."""
    return count * math.log1p((expected - count) / count)


def _stirling_rest(x: float) -> float:
    """Return log gamma(x) - ((x - 1/2) log x - x + log(2 pi) / 2)."""
    return sum(c / x ** (2 * k + 1) for k, c in enumerate(_STIRLING))
