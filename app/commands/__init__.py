"""What the subcommands of the command line do. Each file is imported only when its command runs."""
