"""Ryu, in a process of its own: loads the forwarding plan into the switches."""
