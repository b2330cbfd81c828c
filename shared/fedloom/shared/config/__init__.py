"""The federation's configuration: one file for simulation and deployment."""
