"""Fuzzing: the core in random worlds with random faults, watched by a model that shares no code with it.

`scenario` draws what a seed exercises, `work` what is asked for, `machines` what engines answer, `world` what happens
and when, `model` what may follow from it, `trial` runs one seed, `campaign` many of them.
"""
