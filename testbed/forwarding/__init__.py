"""From graph to forwarding: paths and their addresses, per-switch rules, a walk, a check.

Pure. ``paths`` is arithmetic on a spec and works at any size; ``plan`` writes down what
every switch must do, as a versioned file both data planes are programmed from; ``walk``
pushes a symbolic packet through a plan; ``check`` proves that every path arrives.
"""
