"""The command line ``palm``: the algorithm, and what a cluster says of Portfolios.

Also ``kubectl palm``. Each command parses, calls a pure function of `palm`, and prints: a table for
people, JSON for programs. What is read is bounded, checked and refused with file, field, value and
rule.
"""
