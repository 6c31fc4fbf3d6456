"""What a ranking leaves out or puts behind."""
