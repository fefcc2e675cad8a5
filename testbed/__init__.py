"""A laboratory for MRC, the multipath RDMA transport, on one Linux machine."""

__version__ = "0.1.0"
