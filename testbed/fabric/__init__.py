"""The emulated network: Mininet, Open vSwitch, Linux SRv6, switch ports, namespaces."""
