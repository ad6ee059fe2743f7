"""What people call: prune, profile, measure, apply, load. Each is imported on first use, since most need PyTorch."""
