"""What works on this machine: packages, devices, places on disk. Each part is looked at alone."""
