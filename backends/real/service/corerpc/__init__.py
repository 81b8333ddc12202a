"""Eru's wire: the 45 methods of CoreRPC, with the semantics and the status numbers of Eru's core."""
