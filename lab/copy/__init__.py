"""Copies, offload paths, the oracle and the contract."""
