# Writes test/diagnosis/trend.json: trends and their probabilities by SciPy, for tests of lib/diagnosis/trend.ts.
#   python3 scripts/figures/trend.py
import json
import pathlib

import numpy as np
from scipy import stats

rng = np.random.default_rng(1)
rows = []
for n in [4, 7, 10, 11, 25, 60]:
    for slope in [0, 0.1, -0.3]:
        y = np.round(slope * np.arange(n) + rng.normal(size=n), 6)
        exact = n <= 10
        row = {"values": y.tolist(), "slope": float(stats.theilslopes(y)[0])}
        if exact:
            # Kendall's tau of the values with their places, one-sided.
            for name, side in [("rising", "greater"), ("falling", "less")]:
                row[name] = float(stats.kendalltau(np.arange(n), y, method="exact", alternative=side).pvalue)
        rows.append(row)
normal = [{"z": z, "p": float(stats.norm.cdf(z))} for z in [-6, -3, -1.5, -0.1, 0, 0.3, 1, 2.5, 5]]
path = pathlib.Path(__file__).parents[2] / "test/diagnosis/trend.json"
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(json.dumps({"rows": rows, "normal": normal}) + "\n")
