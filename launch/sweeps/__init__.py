"""Examples of sweeps, for python -m launch.sweep."""
