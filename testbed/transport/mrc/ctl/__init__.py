"""The controller API of MRC in Python: device-wide profiles, EV events, ports and probes.

It mirrors mrc_ctl.h (facts sheet section 7). One privileged ``Controller`` per device
(device.py) holds profiles of three kinds, each under a 64-bit id that reaches
applications out of band, and all with one life cycle (profile.py). Ports count from 1 in
this package's interface towards the controller, and from 0 in the one towards the engine.
"""
