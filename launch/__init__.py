"""Starts runs: on this machine, on TPU VMs, on GKE, and sweeps of them. Imports nothing of mathrl's numerics."""
