"""Evaluates the jq of mapping rules: fast, bounded, closed to everything but the record it is given.

    program.py    a rule -> the text of one jq program whose answer tells every expression's outcome apart
    reads.py      the texts of expressions -> what they read of a record
    excerpt.py    a record -> what is read of it, for jq to parse no more than that
    plain.py      constants and plain paths, which need no jq
    worker.py     the other process: compiles and runs programs on raw records, and nothing else
    frames.py     how the two processes talk
    pool.py       starts, feeds, bounds and replaces the workers
    ahead.py      records are mapped while others are still read
    rule_worker.py  the process that does it, whole rules at a time
    cells.py      what became of one expression
    evaluate.py   a rule and its records -> answers; finds the expression to blame when a worker had to be stopped
    reading.py    an answer -> entities, failures and problems
    tracing.py    one record, value by value
    problems.py   equal problems of thousands of records -> one Diagnostic

jq (libjq) runs in other processes only: it holds Python's lock while it computes, ends the process when memory runs
out, and a program that does not end can only be killed.
"""
