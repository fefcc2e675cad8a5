"""Traffic programs over the verbs API. Pure: no socket, no clock, no randomness of their own.

The same program runs in the simulator and in the agent of an emulated host. From the bottom:

    params        reading JSON; the error of this package
    evshare       how many EVs of a plane a queue pair uses
    connections   a host's ends: QPs, buffers, what the peers must be told
    program       what a program is: it posts, and hears of what completes
    content       what is in the buffers, and whether all of it arrived
    timeline statistics
                  amounts over time in bounded memory; what latencies are summed up as
    write_bandwidth write_latency
                  point to point: as much as goes through, and one write at a time
    placement     which host is which rank
    recorder      what a host's queue pairs do, as rows
    application   a program on an endpoint, in the shape simulator and agent drive
    job           a workload planned for its hosts, and how a host makes its program
    narrowing     a planned job whose queue pairs use a share of the EVs

    collectives/  all-reduce and the others, on real tensors
    training/     steps of compute with gradients, pipeline and experts between them

A run: plan a job; on each host ``HostSetup(context, plan.ends, ...)``; exchange what
``describe()`` says (``Job.swap``) and ``connect``; ``Application(setup,
make_program(plan.program, setup.channels))``; ``start``, and drive it until its program
``is_done`` on every host; ``result``; exchange its rows and ``verify``.
"""
