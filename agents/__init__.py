"""The daemon on a GPU host: measures, reports, and runs what its cluster should run."""
