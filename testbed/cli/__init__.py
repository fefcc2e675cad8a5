"""The commands: one file per verb. They parse, print and exit; they decide nothing."""
