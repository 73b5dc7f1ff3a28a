"""Reference values for the statistics of comparisons: run with scipy, its output is reference.json beside it.

The statistic is the absolute difference of means and the alternative "greater", so that p is two-sided.
"""
import json, itertools
import numpy as np
from scipy import stats

rng = np.random.default_rng(12)
cases = []
for n_base, n_new, shift, spread in [(3, 3, 0.3, 0.1), (5, 5, 0.0, 0.3), (5, 5, 0.25, 0.1), (6, 4, 0.2, 0.2),
                                     (7, 7, 0.15, 0.2), (8, 8, 0.1, 0.1), (8, 8, -0.3, 0.15), (2, 9, 0.5, 0.2)]:
    base = np.round(np.exp(rng.standard_t(3, n_base) * spread + 2), 6)
    new = np.round(np.exp(rng.standard_t(3, n_new) * spread + 2 + shift), 6)
    a, b = np.log(base), np.log(new)
    test = stats.permutation_test((b, a), lambda x, y, axis: np.abs(x.mean(axis) - y.mean(axis)), vectorized=True,
                                  permutation_type="independent", alternative="greater", n_resamples=np.inf)
    cases.append({"kind": "unpaired", "base": base.tolist(), "new": new.tolist(), "p": float(test.pvalue)})
for n, shift, spread in [(4, 0.2, 0.1), (8, 0.1, 0.1), (8, 0.0, 0.2), (10, -0.15, 0.15), (12, 0.05, 0.08)]:
    base = np.round(np.exp(rng.normal(size=n) * 0.5 + 2), 6)
    new = np.round(base * np.exp(rng.standard_t(3, n) * spread + shift), 6)
    d = np.log(new) - np.log(base)
    test = stats.permutation_test((d,), lambda x, axis: np.abs(x.mean(axis)), vectorized=True,
                                  permutation_type="samples", alternative="greater", n_resamples=np.inf)
    cases.append({"kind": "paired", "base": base.tolist(), "new": new.tolist(), "p": float(test.pvalue)})
for values in ([0.001, 0.02, 0.03, 0.5], [0.04, 0.01, 0.01], [0.2], [0.9, 0.002, 0.3, 0.004, 0.02]):
    # scipy has no Holm: by its definition.
    order = np.argsort(values)
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, at in enumerate(order):
        largest = max(largest, min(1.0, values[at] * (len(values) - rank)))
        adjusted[at] = largest
    cases.append({"kind": "holm", "p": values, "adjusted": adjusted})
for values in ([1.0, 2.0, 4.0, 3.0], [5.5, 1.25, 9.0, 2.0, 7.0]):
    cases.append({"kind": "describe", "values": values, "median": float(np.median(values)),
                  "variation": float(stats.variation(values, ddof=1)), "modified_z_scale": float(stats.median_abs_deviation(values))})
print(json.dumps(cases, indent=1))
