"""The process on a host: owns its data ports, answers the instance over stdin/stdout.

Standard library only, one thread, one event loop, so that 64 of them start in
seconds and idle in a gigabyte. `frames`, `probewire`, `prober`, `rtt` and
`config` are pure; `port`, `carrier`, `channel` and `loop` each own one kind of
file descriptor; `service` joins them.
"""
