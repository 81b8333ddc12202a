"""The command ``eru``: a thin layer over the Python calls of the same names.

Commands return an `Answer`; `main` prints it in the format asked for, and turns every error into one line and an exit
code.
"""
