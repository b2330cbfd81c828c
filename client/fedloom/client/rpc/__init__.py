"""The site's answers over a socket: gRPC on this machine, and nowhere else."""
