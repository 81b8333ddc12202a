"""Studies: published results, reproduced with one command each."""
