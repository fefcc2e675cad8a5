"""MRC 1.0, the Multipath Reliable Connection, as a sans-IO core.

RoCE's reliable connection keeps packets of a queue pair in order on one path. MRC lets every
packet take a path of its own: the sender names it by an entropy value (EV), the receiver
places each packet the moment it comes, and only the *news* of a message is in order. What
follows from that is this package, from the wire up:

    errors choices rng
                  what calls refuse with, what was decided, what randomness is
    notes         rare moments, as they are kept for somebody who records them
    serial clock  numbers that wrap; the 16-bit time stamp
    wire/         every header and packet, encoded and decoded; the iCRC
    srv6          from destination and EV to the list of uSIDs
    ev/           the paths of a QP: states, rotation, spares, probing, the way back
    messages completion memory
                  work requests, how they end, and the buffers they name
    reliability/  what was received, what is outstanding, what is lost, when to give up
    cc_config congestion nscc
                  the window's parameters, its books, and what moves it
    control       answers that wait for a port
    outgoing silence requester responder
                  the two halves of a queue pair; what a requester puts on the wire,
                  and when no answer means something
    ctl/          the controller's interface: profiles, events, probes
    qp qp_attributes profile_paths
                  a queue pair's states, its attributes, its share in an EV profile
    scheduler port_status endpoint_probes endpoint_packets peers
                  what an endpoint does for all its QPs
    endpoint      one NIC's engine: datagrams, ports and time in; datagrams and events out
    verbs         the application's interface, after libmrc
    controls      what a controller denied towards a peer, and the ports it disabled
    device        a host's device with default profiles, and how two of them connect

Imports point up this list only (a test reads them). Nothing reads a clock, draws a random
number of its own or touches a socket: :mod:`.endpoint` says how it is driven. What public
material leaves open is decided in :mod:`.choices`, each decision in one place.
"""
