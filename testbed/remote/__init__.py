"""SSH to the hosts: keys, sshd's files, connections, the agents' RPC client.

The only importer of paramiko. Emulated hosts and real ones look the same from
here up: an address, a pinned host key, a command that speaks RPC.
"""
