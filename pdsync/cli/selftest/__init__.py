"""`pdsync selftest`: real commands against the embedded sandbox, and what becomes of them when all goes wrong.

processes   runs command lines, each in a process of its own
stage       a small company, a catalog, a plan with a change of every sort, and how all is when it is done
faults      the table of what goes wrong
matrix      every fault at every point, and what must hold afterwards
table       what is printed
"""
