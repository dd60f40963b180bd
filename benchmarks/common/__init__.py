"""What every benchmark needs: the machine, its memory, one thread, progress, tables."""
