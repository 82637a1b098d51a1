"""How fast pdsync is, held against the straightforward pipeline on the same sandbox and the same data.

`python -m benchmarks` runs all of them and rewrites RESULTS.md; `python -m benchmarks NAME` runs one and prints it.
"""
