"""The torch side: tracing a model to a workload, pruning, quantising, coding, retraining, and measuring accuracy.

Calling this package, `hwloop.compress(...)`, runs the whole two-stage search: it is `hwloop.run.compress`.
"""

from hwloop.packages import make_callable

make_callable(__name__, "hwloop.run", "compress")
