"""What starts runs: new log files, the clock, changed upstream assets; and what speaks up when one fails."""
