"""The keeper: a small process that outlives runed and holds everything that must not end with it.

It starts workloads, waits for them and writes down what they say. It imports nothing but the standard
library (and little of it), since it stays in memory for months. runed talks to it through a socket; what
must survive even the keeper is in files (`records.py`) and in the kernel (pipes with names, cgroups).

It lives in the cgroup of the runed that started it. Under systemd that unit needs `KillMode=process` (or the
keeper dies with runed) and `Delegate=yes` (or it cannot make cgroups and falls back to /proc). Limits, known
and accepted: a kill -9 of the keeper between reading a chunk and writing it (tens of microseconds) loses the
chunk; a workload that ends while no keeper is there loses what is in its pipe, and its exit code.
"""
