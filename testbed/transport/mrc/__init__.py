"""MRC 1.0, the Multipath Reliable Connection, as a sans-IO core.

RoCE's reliable connection keeps packets of a queue pair in order on one path. MRC lets every
packet take a path of its own: the sender names it by an entropy value (EV), the receiver
places each packet the moment it comes, and only the *news* of a message is in order. What
follows from that is this package, from the wire up:

    wire/         every header and packet, encoded and decoded; the iCRC
    serial clock  numbers that wrap; the 16-bit time stamp
    srv6          from destination and EV to the list of uSIDs
    ev/           the paths of a QP: states, rotation, spares, probing, the way back
    reliability/  what was received, what is outstanding, what is lost, when to give up
    congestion nscc cc_config
                  the window, what moves it, and its parameters
    memory        registered buffers and their keys
    messages completion
                  work requests and how they end
    requester responder
                  the two halves of a queue pair; outgoing, silence: what a
                  requester puts on the wire, and when no answer means something
    qp qp_attributes profile_paths
                  its states, its attributes, its share in an EV profile
    control scheduler peers endpoint_packets endpoint_probes port_status
                  what an endpoint does for all its QPs
    endpoint      one NIC's engine: datagrams, ports and time in; datagrams and events out
    verbs ctl/    the application's and the controller's interface, after libmrc
    device        a host's device with default profiles, and how two of them connect

Arrows point up this list only. Nothing reads a clock, draws a random number of its own or
touches a socket: :mod:`.endpoint` says how it is driven. What public material leaves open
is decided in :mod:`.choices`, each decision in one place.
"""
