"""Collectives on real tensors: what each rank sends to whom, and what it does with the rest.

    schedule       what one rank sends and receives, in which order: the contract below
    ring, tree,    algorithms: arithmetic that makes schedules
    direct
    catalogue      every operation with its algorithms, cost formulas and sources
    tensors        contents from a seed, reduced with numpy, checked to the last element
    exchange       one schedule under way on one rank
    group          a rank's connections: who is told what, and who was lost
    rankplan, joint  what plans and programs of ranks have in common
    mesh, layout   the connections between ranks; where data lies in their memory
    plan           a collective as a job
    collective     the program: sizes, warm-up, iterations, and what they took
    summary        what the ranks measured, as nccl-tests tells it
"""
