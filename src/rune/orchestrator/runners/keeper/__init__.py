"""The keeper: a small process that outlives runed and holds everything that must not end with it.

It starts workloads, waits for them and writes down what they say. It imports nothing but the standard
library (and little of it), since it stays in memory for months. runed talks to it through a socket; what
must survive even the keeper is in files (`records.py`) and in the kernel (pipes with names, cgroups).
"""
