"""The commands: one file each, with its options, a pure function and a thin click wrapper.

Command modules import only click and light medimg modules at the top, and the rest inside
their functions: `--help` has to answer at once. Files beginning with `_` are no commands.
"""
