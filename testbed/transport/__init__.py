"""Transport protocols as sans-IO cores: no socket, no clock, no randomness of their own."""
