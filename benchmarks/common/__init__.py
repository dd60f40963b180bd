"""What every benchmark needs: the machine, one thread, progress, tables."""
