"""What synthetic data is worth, against held-out real patients."""
