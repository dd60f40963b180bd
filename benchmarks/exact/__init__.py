"""The certified blend against brute force on real collections."""
