"""What the user wants: raw text from files and options, resolved to frozen models.

Raw and resolved are two shapes. Resolving rejects what it does not know, reports all
faults at once with where, key, value and what is allowed, and raises UsageError.
"""
