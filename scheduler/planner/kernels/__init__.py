"""The planner's inner loops, compiled.

Plain loops over the arrays of a ``Problem``; what they compute is said in their docstrings, and
tests compare them with the same sums written out in NumPy.
"""
