"""Plain frozen values and the job state machine. Imports nothing else of ours."""
