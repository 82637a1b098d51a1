"""How fast pdsync is, held against the straightforward pipeline on the same sandbox and the same data.

`python -m benchmarks` measures all scenarios, `python -m benchmarks --only NAME` one of them; both write RESULTS.md
from what is kept of every scenario in figures.json.
"""
