"""A synthetic data-parallel training job: computing that takes time, and what must be sent.

    plan         gradients, buckets, pipeline and experts, ranks and their connections, as a job
    steps        when in a step something is to be sent: arithmetic
    lanes        exchanges of one kind, one after the other
    program      the program of one rank: its steps, and what they took
    summary      the steps of all ranks as one table, and what was lost of the undisturbed rate
"""
