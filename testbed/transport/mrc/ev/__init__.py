"""The paths of a QP: which entropy value the next packet takes, and what becomes of each.

``states``: the state machine. ``rotation``: the order of use on one port. ``probing``:
leaving and coming back. ``pathset``: all of it for one QP. ``reverse``: the EVs that
acknowledgements take.
"""
