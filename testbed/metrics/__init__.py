"""What is measured: the values that counters are read into."""
