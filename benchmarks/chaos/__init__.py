"""What becomes of events, calls and budget when parts of the system die: counted at both ends.

``python -m benchmarks.chaos [NAME ...]`` runs scenarios on a cluster, each for minutes,
and prints a table. Short forms of the same faults are tests, in `tests/chaos`.
"""
